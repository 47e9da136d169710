/* SPDX-License-Identifier: ISC */
/* Lines of a text file, checked. */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H

#include "source.h"

#include <stdio.h>

struct input {
	FILE *file;
	const char *path; /* for people */
	char *line;	  /* without its newline */
	size_t room;
	uint64_t number; /* of the line, from 1 */
	char *error;	 /* SOURCE_ERROR bytes */
};

/* Return: 0 or negative errno. */
int input_open(struct input *input, const char *path, char *error);
/* Return: 1; 0 at the end; negative errno, -EBADMSG for a NUL or a last line that is cut off. */
int input_line(struct input *input);
/* Say what is wrong with the line.  Return: -EBADMSG. */
int input_bad(struct input *input, const char *format, ...) __attribute__((format(printf, 2, 3)));
void input_close(struct input *input);

/* Read a hexadecimal number of 1 to 16 digits and move on.  Return: was there one? */
bool input_hex(const char **at, uint64_t *number);

#endif
