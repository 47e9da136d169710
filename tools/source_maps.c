/* SPDX-License-Identifier: ISC */
/* The lines of /proc/PID/maps: START-END PERMISSIONS OFFSET DEVICE INODE NAME, END exclusive. */
#include "input.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static bool starts_with(const char *text, const char *start)
{
	return !strncmp(text, start, strlen(start));
}

/* What a mapping is, by its name and permissions. */
static enum picture_kind kind_of(const struct picture_piece *piece, const char *name)
{
	if (starts_with(name, "[heap"))
		return PICTURE_HEAP;
	if (starts_with(name, "[stack"))
		return PICTURE_STACK;
	if (piece->shared && (starts_with(name, "/dev/zero") || starts_with(name, "/SYSV") ||
			      starts_with(name, "/memfd:") || starts_with(name, "/dev/shm/")))
		return PICTURE_SHARED;
	if (*name == '[' && !starts_with(name, "[anon"))
		return PICTURE_SPECIAL;
	if (*name && *name != '[')
		return PICTURE_FILE;
	return piece->protection ? PICTURE_ANONYMOUS : PICTURE_RESERVED;
}

/* "rw-p" */
static bool read_permissions(const char **at, struct picture_piece *piece)
{
	static const char letters[] = "rwx";
	const char *text = *at;

	for (unsigned int i = 0; i < 3; i++) {
		if (text[i] != letters[i] && text[i] != '-')
			return false;
		if (text[i] == letters[i])
			piece->protection |= 1u << i;
	}
	if (text[3] != 'p' && text[3] != 's')
		return false;
	piece->shared = text[3] == 's';
	*at += 4;
	return true;
}

static bool expect(const char **at, char c)
{
	if (**at != c)
		return false;
	(*at)++;
	return true;
}

static int read_line(struct input *input, struct picture *picture)
{
	struct picture_piece piece = { .first = 0 };
	const char *at = input->line;
	uint64_t end, major, minor;
	int error;

	if (!input_hex(&at, &piece.first) || !expect(&at, '-') || !input_hex(&at, &end) || !expect(&at, ' '))
		return input_bad(input, "no address range");
	if (end <= piece.first)
		return input_bad(input, "a range that ends where it begins, or before");
	if (!read_permissions(&at, &piece) || !expect(&at, ' '))
		return input_bad(input, "no permissions (like r-xp) after the addresses");
	if (!input_hex(&at, &piece.offset) || !expect(&at, ' '))
		return input_bad(input, "no offset");
	if (!input_hex(&at, &major) || !expect(&at, ':') || !input_hex(&at, &minor) || !expect(&at, ' '))
		return input_bad(input, "no device");
	if (!strspn(at, "0123456789"))
		return input_bad(input, "no inode");
	at += strspn(at, "0123456789");
	if (*at && *at != ' ')
		return input_bad(input, "an inode that is no number");
	at += strspn(at, " ");
	piece.last = end - 1;
	piece.kind = kind_of(&piece, at);
	error = picture_add(picture, &piece, *at ? at : NULL);
	if (error == -EINVAL)
		return input_bad(input, "a mapping below the end of the one before");
	return error;
}

static int read_all(struct picture *picture, const char *path, char error[SOURCE_ERROR])
{
	struct input input;
	int got = input_open(&input, path, error);

	while (!got) {
		got = input_line(&input);
		if (got <= 0)
			break;
		got = read_line(&input, picture);
	}
	input_close(&input);
	if (got == -ENOMEM)
		snprintf(error, SOURCE_ERROR, "out of memory");
	return got;
}

int source_maps(struct picture *picture, const char *path, char error[SOURCE_ERROR])
{
	const char *name = strcmp(path, "-") ? path : "standard input";
	int got = read_all(picture, path, error);

	if (!got && !picture->count) {
		snprintf(error, SOURCE_ERROR, "%.300s: no mapping in it", name);
		return -EBADMSG;
	}
	snprintf(picture->title, sizeof(picture->title), "%.300s", name);
	return got;
}

static void read_command(uint64_t pid, char command[64])
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/comm", pid);
	file = fopen(path, "re");
	if (!file || !fgets(command, 64, file))
		strcpy(command, "?");
	command[strcspn(command, "\n")] = '\0';
	if (file)
		fclose(file);
}

int source_process(struct picture *picture, uint64_t pid, char error[SOURCE_ERROR])
{
	char path[64], command[64];
	int got;

	snprintf(path, sizeof(path), "/proc/%" PRIu64 "/maps", pid);
	got = read_all(picture, path, error);
	if (got == -ENOENT || got == -ESRCH) {
		snprintf(error, SOURCE_ERROR, "there is no process %" PRIu64, pid);
	} else if (!got && !picture->count) {
		snprintf(error, SOURCE_ERROR, "process %" PRIu64 " has no mappings: it has ended, or is the kernel's",
			 pid);
		got = -ESRCH;
	}
	read_command(pid, command);
	snprintf(picture->title, sizeof(picture->title), "%s (process %" PRIu64 ")", command, pid);
	return got;
}
