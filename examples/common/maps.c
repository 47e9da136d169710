/* SPDX-License-Identifier: ISC */
/* Reading /proc/PID/maps, line by line. */
#include "maps.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "trap.h"

int maps_open(struct maps_file *file, const char *path)
{
	long fd = sys3(SYS_open, path, O_RDONLY | O_CLOEXEC, 0);

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

static bool is(const char *name, const char *other)
{
	while (*name && *name == *other) {
		name++;
		other++;
	}
	return *name == *other;
}

/* "start-end perms offset major:minor inode  path" */
bool maps_next(struct maps_file *file, struct line *line)
{
	char name[16]; /* longer ones are no names of interest */
	unsigned int n = 0;
	uint64_t major_number;
	char c;

	line->start = number(file, 16, &c);
	if (c != '-')
		return false;
	line->end = number(file, 16, &c);
	line->protection = (uint8_t)(next_char(file) == 'r' ? PROT_READ : 0);
	line->protection |= (uint8_t)(next_char(file) == 'w' ? PROT_WRITE : 0);
	line->protection |= (uint8_t)(next_char(file) == 'x' ? PROT_EXEC : 0);
	line->shared = next_char(file) == 's';
	(void)next_char(file);
	line->offset = number(file, 16, &c);
	major_number = number(file, 16, &c);
	line->device = major_number << 32 | number(file, 16, &c);
	line->inode = number(file, 10, &c);
	while (c == ' ')
		c = next_char(file);
	for (; c != '\n'; c = next_char(file))
		if (n < sizeof(name) - 1)
			name[n++] = c;
	name[n] = '\0';
	line->named = n > 0;
	line->stack = is(name, "[stack]");
	line->heap = is(name, "[heap]");
	return true;
}
