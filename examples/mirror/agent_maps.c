/* SPDX-License-Identifier: ISC */
/* Reading /proc/PID/maps, line by line. */
#include "agent.h"

#include <fcntl.h>
#include <sys/syscall.h>

int maps_open(struct maps_file *file)
{
	/* Of the thread: the process's first one, for which /proc/self stands, may have ended. */
	long fd = sys3(SYS_open, "/proc/thread-self/maps", O_RDONLY | O_CLOEXEC, 0);

	file->at = file->have = 0;
	file->fd = (int)fd;
	return fd < 0 ? (int)fd : 0;
}

void maps_close(struct maps_file *file)
{
	sys3(SYS_close, file->fd, 0, 0);
}

void maps_rewind(struct maps_file *file)
{
	sys3(SYS_lseek, file->fd, 0, 0);
	file->at = file->have = 0;
}

/* '\n' at the end of the file. */
static char next_char(struct maps_file *file)
{
	if (file->at == file->have) {
		long n = sys3(SYS_read, file->fd, file->buffer, sizeof(file->buffer));

		file->at = 0;
		file->have = n > 0 ? (size_t)n : 0;
		if (n <= 0)
			return '\n';
	}
	return file->buffer[file->at++];
}

static uint64_t number(struct maps_file *file, unsigned int base, char *after)
{
	uint64_t value = 0;

	for (;;) {
		unsigned int digit;
		char c = next_char(file);

		if (c >= '0' && c <= '9')
			digit = (unsigned int)(c - '0');
		else if (base == 16 && c >= 'a' && c <= 'f')
			digit = (unsigned int)(c - 'a') + 10;
		else {
			*after = c;
			return value;
		}
		value = value * base + digit;
	}
}

/* "start-end perms offset major:minor inode  path" */
bool maps_next(struct maps_file *file, struct line *line)
{
	static const char stack[] = "[stack]";
	unsigned int matched = 0;
	uint64_t major_number;
	char c;

	line->start = number(file, 16, &c);
	if (c != '-')
		return false;
	line->end = number(file, 16, &c);
	line->protection = (uint8_t)(next_char(file) == 'r' ? CLEAVE_PROT_READ : 0);
	line->protection |= (uint8_t)(next_char(file) == 'w' ? CLEAVE_PROT_WRITE : 0);
	line->protection |= (uint8_t)(next_char(file) == 'x' ? CLEAVE_PROT_EXEC : 0);
	line->shared = next_char(file) == 's';
	(void)next_char(file);
	line->offset = number(file, 16, &c);
	major_number = number(file, 16, &c);
	line->device = major_number << 32 | number(file, 16, &c);
	line->inode = number(file, 10, &c);
	while (c == ' ')
		c = next_char(file);
	line->stack = false;
	for (; c != '\n'; c = next_char(file)) {
		if (matched < sizeof(stack) - 1 && c == stack[matched])
			matched++;
		else
			matched = sizeof(stack);
	}
	line->stack = matched == sizeof(stack) - 1;
	return true;
}
