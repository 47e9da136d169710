/* SPDX-License-Identifier: ISC */
/* What becomes of a picture.  Each writes to `file`; whether that went well is for the caller to ask the file. */
#ifndef TOOLS_SHOW_H
#define TOOLS_SHOW_H

#include "picture.h"

#include <stdio.h>

/* A line a mapping, as procmap and pmap print them; with `gaps` what is free in between, too. */
void show_text(const struct picture *picture, FILE *file, bool gaps);
void show_json(const struct picture *picture, FILE *file);
void show_svg(const struct picture *picture, FILE *file);

/*
 * The character at *at, which is moved behind it: a code point; 0 at the end; 0xfffd for bytes that are no UTF-8 or not
 * for people.  Names of files can be any bytes.
 */
uint32_t show_character(const char **at);

#endif
