/* SPDX-License-Identifier: ISC */
#include "input.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int input_open(struct input *input, const char *path, char *error)
{
	bool standard = !strcmp(path, "-");

	*input = (struct input){ .path = standard ? "standard input" : path, .error = error };
	input->file = standard ? stdin : fopen(path, "re");
	if (input->file)
		return 0;
	snprintf(error, SOURCE_ERROR, "%s: %s", path, strerror(errno));
	return -errno;
}

int input_line(struct input *input)
{
	ssize_t length;

	errno = 0;
	length = getline(&input->line, &input->room, input->file);
	if (length < 0) {
		int error = errno;

		if (!error)
			return 0;
		snprintf(input->error, SOURCE_ERROR, "%s: %s", input->path, strerror(error));
		return -error;
	}
	input->number++;
	if (strlen(input->line) != (size_t)length)
		return input_bad(input, "a byte that is no text");
	if (input->line[length - 1] != '\n')
		return input_bad(input, "cut off in the middle of a line");
	input->line[length - 1] = '\0';
	return 1;
}

int input_bad(struct input *input, const char *format, ...)
{
	int n = snprintf(input->error, SOURCE_ERROR, "%.300s: line %" PRIu64 ": ", input->path, input->number);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(input->error + n, SOURCE_ERROR - (size_t)n, format, arguments);
	va_end(arguments);
	return -EBADMSG;
}

void input_close(struct input *input)
{
	if (input->file && input->file != stdin)
		fclose(input->file);
	free(input->line);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool input_hex(const char **at, uint64_t *number)
{
	const char *from = *at;

	*number = 0;
	while (digit_of(**at) >= 0) {
		if (*at - from == 16)
			return false;
		*number = *number << 4 | (uint64_t)digit_of(*(*at)++);
	}
	return *at != from;
}
