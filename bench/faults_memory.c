/* SPDX-License-Identifier: ISC */
/* Memory for the fault paths: lists of each thread's own, cut from large pieces. */
#include "faults.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLASSES 128 /* by lines; the first one is half a line */

static _Thread_local struct {
	char *next;
	char *end;
	void *list[CLASSES];
} store;

/* Of all threads. */
static struct piece {
	struct piece *next;
	char pad[64 - sizeof(struct piece *)];
} *pieces;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void faults_stock(size_t bytes)
{
	struct piece *piece;

	if ((size_t)(store.end - store.next) >= bytes)
		return;
	piece = need(aligned_alloc(64, (sizeof(*piece) + bytes + 63) & ~(size_t)63));
	store.next = (char *)(piece + 1);
	store.end = store.next + bytes;
	memset(store.next, 1, bytes);
	pthread_mutex_lock(&lock);
	piece->next = pieces;
	pieces = piece;
	pthread_mutex_unlock(&lock);
}

void faults_forget(void)
{
	while (pieces) {
		struct piece *piece = pieces;

		pieces = piece->next;
		free(piece);
	}
	memset(&store, 0, sizeof(store));
}

static size_t rounded(size_t size)
{
	return size <= 32 ? 32 : (size + 63) & ~(size_t)63;
}

void *faults_alloc(size_t size)
{
	size_t step = rounded(size), class = step / 64;
	void *at;

	if (class >= CLASSES)
		return aligned_alloc(64, step);
	at = store.list[class];
	if (at) {
		memcpy(&store.list[class], at, sizeof(void *));
		return at;
	}
	if ((size_t)(store.end - store.next) < step + 64)
		faults_stock((size_t)1 << 22);
	if (step >= 64)
		store.next = (char *)(((uintptr_t)store.next + 63) & ~(uintptr_t)63);
	at = store.next;
	store.next += step;
	return at;
}

void faults_free(void *at, size_t size)
{
	size_t step = rounded(size), class = step / 64;

	if (class >= CLASSES) {
		free(at);
		return;
	}
	memcpy(at, &store.list[class], sizeof(void *));
	store.list[class] = at;
}

static int enter_nothing(void *map, uint64_t addr, uint64_t page)
{
	(void)map;
	(void)addr;
	(void)page;
	return 0;
}

int (*volatile faults_enter)(void *map, uint64_t addr, uint64_t page) = enter_nothing;
