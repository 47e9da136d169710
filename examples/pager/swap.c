/* SPDX-License-Identifier: ISC */
/* The file that pages are written to.  A place is a page of it, with a count of who names it; place 0 is all zeros. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pager.h"

static struct {
	pthread_mutex_t lock;
	int fd;
	uint32_t size;	  /* [lock] places in the arrays */
	uint32_t next;	  /* [lock] the first that was never used */
	uint32_t nfree;	  /* [lock] */
	uint32_t *free;	  /* [lock] */
	uint32_t *counts; /* [lock] */
	uint64_t used;	  /* [lock] */
} swap = { .lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1, .next = 1 };

int swap_open(const char *path)
{
	char name[4096];

	swap.fd = open(path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (swap.fd >= 0)
		return 0;
	/* A file system without nameless files. */
	if ((size_t)snprintf(name, sizeof(name), "%s/cleave-pager.XXXXXX", path) >= sizeof(name))
		return -ENAMETOOLONG;
	swap.fd = mkostemp(name, O_CLOEXEC);
	if (swap.fd < 0)
		return -errno;
	unlink(name);
	return 0;
}

/* Called with the lock held. */
static bool grow(void)
{
	uint32_t size = swap.size ? 2 * swap.size : 4096;
	uint32_t *counts = realloc(swap.counts, size * sizeof(*counts)), *free;

	if (!counts)
		return false;
	swap.counts = counts;
	free = realloc(swap.free, size * sizeof(*free));
	if (!free)
		return false;
	swap.free = free;
	swap.size = size;
	return true;
}

uint32_t swap_get(void)
{
	uint32_t place = 0;

	pthread_mutex_lock(&swap.lock);
	if (swap.nfree)
		place = swap.free[--swap.nfree];
	else if (swap.next < swap.size || (swap.size < UINT32_MAX / 4 && grow()))
		place = swap.next++;
	if (place) {
		swap.counts[place] = 1;
		swap.used++;
	}
	pthread_mutex_unlock(&swap.lock);
	return place;
}

void swap_ref(uint32_t place)
{
	if (!place)
		return;
	pthread_mutex_lock(&swap.lock);
	swap.counts[place]++;
	pthread_mutex_unlock(&swap.lock);
}

void swap_unref(uint32_t place)
{
	if (!place)
		return;
	pthread_mutex_lock(&swap.lock);
	if (--swap.counts[place] == 0) {
		swap.free[swap.nfree++] = place;
		swap.used--;
	}
	pthread_mutex_unlock(&swap.lock);
}

int swap_read(uint32_t place, void *page)
{
	if (!place) {
		memset(page, 0, PAGE);
		return 0;
	}
	return pread(swap.fd, page, PAGE, (off_t)(place * PAGE)) == (ssize_t)PAGE ? 0 : -EIO;
}

int swap_write(uint32_t place, const void *page)
{
	return pwrite(swap.fd, page, PAGE, (off_t)(place * PAGE)) == (ssize_t)PAGE ? 0 : -EIO;
}

uint64_t swap_used(void)
{
	uint64_t used;

	pthread_mutex_lock(&swap.lock);
	used = swap.used;
	pthread_mutex_unlock(&swap.lock);
	return used;
}
