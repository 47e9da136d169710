/* SPDX-License-Identifier: ISC */
#include "picture.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const picture_kind_names[PICTURE_KINDS] = {
	[PICTURE_ANONYMOUS] = "anonymous", [PICTURE_HEAP] = "heap",	[PICTURE_STACK] = "stack",
	[PICTURE_FILE] = "file",	   [PICTURE_SHARED] = "shared", [PICTURE_RESERVED] = "reserved",
	[PICTURE_SPECIAL] = "special",	   [PICTURE_VALUE] = "value",
};

int picture_add(struct picture *picture, const struct picture_piece *piece, const char *name)
{
	struct picture_piece *to;

	if (piece->last < piece->first || (picture->count && piece->first <= picture->piece[picture->count - 1].last))
		return -EINVAL;
	if (picture->count == picture->room) {
		size_t room = picture->room ? 2 * picture->room : 256;
		struct picture_piece *grown = realloc(picture->piece, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		picture->piece = grown;
		picture->room = room;
	}
	to = &picture->piece[picture->count];
	*to = *piece;
	to->name = name ? strdup(name) : NULL;
	if (name && !to->name)
		return -ENOMEM;
	picture->count++;
	return 0;
}

void picture_free(struct picture *picture)
{
	for (size_t i = 0; i < picture->count; i++)
		free(picture->piece[i].name);
	free(picture->piece);
}

static void add_to(struct picture_sum *sum, uint64_t bytes)
{
	sum->pieces++;
	sum->bytes = bytes > UINT64_MAX - sum->bytes ? UINT64_MAX : sum->bytes + bytes;
}

void picture_sum(const struct picture *picture, struct picture_sums *sums)
{
	memset(sums, 0, sizeof(*sums));
	for (size_t i = 0; i < picture->count; i++) {
		const struct picture_piece *piece = &picture->piece[i];
		uint64_t bytes = picture_bytes(piece->first, piece->last);

		add_to(&sums->all, bytes);
		add_to(&sums->kind[piece->kind], bytes);
		add_to(&sums->protection[piece->protection], bytes);
	}
}

const char *picture_protection_name(unsigned int protection, char text[5])
{
	if (protection & PICTURE_UNKNOWN)
		return strcpy(text, "?");
	text[0] = protection & PICTURE_READ ? 'r' : '-';
	text[1] = protection & PICTURE_WRITE ? 'w' : '-';
	text[2] = protection & PICTURE_EXEC ? 'x' : '-';
	text[3] = '\0';
	return text;
}

const char *picture_protection(const struct picture_piece *piece, char text[5])
{
	picture_protection_name(piece->protection, text);
	if (!(piece->protection & PICTURE_UNKNOWN))
		strcat(text, piece->shared ? "s" : "p");
	return text;
}

const char *picture_size(uint64_t bytes, char text[16])
{
	static const char units[] = "BKMGTPE";
	unsigned int unit = 0;
	double size = (double)bytes;

	while (size >= 1024 && units[unit + 1]) {
		size /= 1024;
		unit++;
	}
	if (unit && bytes % (UINT64_C(1) << 10 * unit))
		snprintf(text, 16, "%.*f%c", size < 10 ? 2 : size < 100 ? 1 : 0, size, units[unit]);
	else
		snprintf(text, 16, "%.0f%c", size, units[unit]);
	return text;
}
