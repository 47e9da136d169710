/* SPDX-License-Identifier: ISC */
/* An address space as it is shown: sorted pieces that do not overlap.  Addresses are inclusive: the last one exists. */
#ifndef TOOLS_PICTURE_H
#define TOOLS_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PICTURE_READ 1u
#define PICTURE_WRITE 2u
#define PICTURE_EXEC 4u
#define PICTURE_UNKNOWN 8u /* a dump of the index does not say */
#define PICTURE_PROTECTIONS 9u

enum picture_kind {
	PICTURE_ANONYMOUS,
	PICTURE_HEAP,
	PICTURE_STACK,
	PICTURE_FILE,
	PICTURE_SHARED,	  /* memory that others see, too */
	PICTURE_RESERVED, /* anonymous, no access */
	PICTURE_SPECIAL,  /* the kernel's own */
	PICTURE_VALUE,	  /* an entry of an index */
	PICTURE_KINDS
};

struct picture_piece {
	uint64_t first;
	uint64_t last;
	uint64_t offset; /* in what it maps */
	uint64_t leaf;	 /* of the index, numbered from 1; 0: unknown */
	unsigned int protection;
	bool shared;
	enum picture_kind kind;
	char *name; /* its own, or NULL */
};

struct picture {
	char title[512];
	struct picture_piece *piece;
	size_t count;
	size_t room;
};

/* Number and bytes of pieces that have something in common. */
struct picture_sum {
	uint64_t pieces;
	uint64_t bytes;
};

struct picture_sums {
	struct picture_sum all;
	struct picture_sum kind[PICTURE_KINDS];
	struct picture_sum protection[PICTURE_PROTECTIONS];
};

extern const char *const picture_kind_names[PICTURE_KINDS];

/*
 * Add a piece above all others, with a copy of `name` (may be NULL).
 * Return: 0; -ENOMEM; -EINVAL: it ends before it begins, or begins below the end of the one before.
 */
int picture_add(struct picture *picture, const struct picture_piece *piece, const char *name);
void picture_free(struct picture *picture);
void picture_sum(const struct picture *picture, struct picture_sums *sums);

/* "rw-p"; "?" where it is unknown. */
const char *picture_protection(const struct picture_piece *piece, char text[5]);
/* "rw-", of the sums. */
const char *picture_protection_name(unsigned int protection, char text[5]);

/* Bytes in [first, last]; 2^64 of them are shown as 2^64 - 1. */
static inline uint64_t picture_bytes(uint64_t first, uint64_t last)
{
	return last - first == UINT64_MAX ? UINT64_MAX : last - first + 1;
}

/* "64K", "1.5G"; exact where a short number is. */
const char *picture_size(uint64_t bytes, char text[16]);

#endif
