/* SPDX-License-Identifier: ISC */
#include "record_maps.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

static int
append(struct map_lines *lines, const struct map_line *line)
{
	if (lines->count == lines->room) {
		size_t room = lines->room ? 2 * lines->room : 64;
		struct map_line *grown = realloc(lines->line, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		lines->line = grown;
		lines->room = room;
	}
	lines->line[lines->count++] = *line;
	return 0;
}

/* "start-end perms offset major:minor inode  path"; false if @text is no such line. */
static bool
parse_line(const char *text, struct map_line *line)
{
	unsigned long start, end, offset, inode;
	unsigned major_number, minor_number;
	char perms[5];

	if (sscanf(text, "%lx-%lx %4s %lx %x:%x %lu", &start, &end, perms, &offset,
		   &major_number, &minor_number, &inode) != 7)
		return false;
	line->start = start;
	line->end = end;
	line->offset = offset;
	line->device = makedev(major_number, minor_number);
	line->inode = inode;
	line->attributes = (perms[0] == 'r' ? PROT_READ : 0U) |
			   (perms[1] == 'w' ? PROT_WRITE : 0U) |
			   (perms[2] == 'x' ? PROT_EXEC : 0U) |
			   (perms[3] == 's' ? MAP_LINE_SHARED : 0U);
	return true;
}

/* Hand the lines of a file of the process to @take, until it fails. */
static int
read_lines(struct map_lines *lines, pid_t process, const char *name,
	   int (*take)(struct map_lines *lines, struct map_line *line, const char *text))
{
	struct map_line line = { 0 };
	char path[64], *text = NULL;
	size_t room = 0;
	int error = 0;
	FILE *file;

	lines->count = 0;
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)process, name);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (!error && getline(&text, &room, file) > 0)
		error = take(lines, &line, text);
	free(text);
	fclose(file);
	return error;
}

static int
take_mapping(struct map_lines *lines, struct map_line *line, const char *text)
{
	return parse_line(text, line) ? append(lines, line) : -EINVAL;
}

/* The flags follow the mapping that they are of. */
static int
take_growing(struct map_lines *lines, struct map_line *line, const char *text)
{
	if (parse_line(text, line) || strncmp(text, "VmFlags:", 8) || !strstr(text, " gd"))
		return 0;
	line->attributes |= MAP_LINE_GROWS_DOWN;
	return append(lines, line);
}

int
map_lines_read(struct map_lines *lines, pid_t process)
{
	return read_lines(lines, process, "maps", take_mapping);
}

/* Only smaps tells which mappings grow down ("gd"); it is slow, so this is called rarely. */
int
map_lines_read_growing(struct map_lines *lines, pid_t process)
{
	return read_lines(lines, process, "smaps", take_growing);
}

int
map_lines_copy(struct map_lines *to, const struct map_lines *from)
{
	int error = 0;

	to->count = 0;
	for (size_t i = 0; !error && i < from->count; i++)
		error = append(to, &from->line[i]);
	return error;
}

void
map_lines_free(struct map_lines *lines)
{
	free(lines->line);
	*lines = (struct map_lines){ 0 };
}

const struct map_line *
map_lines_find(const struct map_lines *lines, uint64_t address)
{
	size_t low = 0, high = lines->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (lines->line[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < lines->count ? &lines->line[low] : NULL;
}
