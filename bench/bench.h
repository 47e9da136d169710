/* SPDX-License-Identifier: ISC */
/*
 * What is measured: an implementation is a table of functions, each of which does a batch.  An implementation leaves
 * out (NULL) what it has not got.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include "layout.h"

#include <cleave/cleave.h>

#ifdef __cplusplus
extern "C" {
#endif

struct bench_counters {
	uint64_t copies; /* leaves copied only because nothing in them was free yet */
	uint64_t splits;
	uint64_t waits; /* for grace periods */
};

static inline uint64_t bench_sum(uint64_t first, uint64_t last, const void *value)
{
	return (first ^ last) + (uint64_t)(uintptr_t)value;
}

/* Where nodes lie: side by side; as malloc() has them; in huge pages. */
enum bench_nodes { BENCH_PACKED, BENCH_APART, BENCH_IN_HUGE_PAGES };

struct bench_impl {
	const char *name;
	const char *search; /* cleave: the walk by name; NULL for the best one */
	enum bench_nodes nodes; /* cleave */
	const char *notes;  /* what an expert wants to know about it; NULL: nothing */
	bool peer;	    /* not this library, and no limit either */
	size_t largest;	    /* of more entries changes take O(n) for too long; 0: they do not */
	bool concurrent;    /* threads may use it at once, for all that it has */

	/* An index of the layout's entries: put in one by one in `order`, or all at once if that is NULL. */
	void *(*make)(const struct bench_impl *impl, const struct layout *layout, const struct cleave_entry *order);
	void (*destroy)(void *index);

	/* This thread's handle.  Between online and offline it runs operations, else it holds up nobody. */
	void *(*attach)(void *index);
	void (*detach)(void *thread);
	void (*online)(void *thread);
	void (*offline)(void *thread);

	/* The sum of the values found / the last value found: each address is addrs[i] + (the last value & zero). */
	uint64_t (*lookup)(void *thread, const uint64_t *addrs, size_t n);
	/* As lookup and chase, where a call for the value alone is another one than for the whole entry. */
	uint64_t (*lookup_value)(void *thread, const uint64_t *addrs, size_t n);
	uint64_t (*chase_value)(void *thread, const uint64_t *addrs, size_t n, uint64_t zero);
	/* As lookup, several at once. */
	uint64_t (*lookup_many)(void *thread, const uint64_t *addrs, size_t n);
	/* As lookup, but each in a read section, or under the lock, of its own. */
	uint64_t (*lookup_each)(void *thread, const uint64_t *addrs, size_t n);
	/* As lookup, of entries' first addresses, where nothing else can be found. */
	uint64_t (*lookup_first)(void *thread, const uint64_t *addrs, size_t n);
	uint64_t (*chase)(void *thread, const uint64_t *addrs, size_t n, uint64_t zero);

	/* These return how many operations failed. */
	size_t (*clip)(void *thread, const uint64_t *addrs, size_t n);
	size_t (*unclip)(void *thread, const uint64_t *addrs, size_t n);
	size_t (*clip_unclip)(void *thread, const uint64_t *addrs, size_t n); /* one after the other, n times */
	size_t (*erase)(void *thread, const struct cleave_entry *entries, size_t n);
	size_t (*insert)(void *thread, const struct cleave_entry *entries, size_t n);
	size_t (*store)(void *thread, const struct cleave_entry *entries, size_t n);
	size_t (*find)(void *thread, const struct cleave_request *requests, size_t n);
	size_t (*alloc)(void *thread, const struct cleave_request *requests, struct cleave_entry *made, size_t n);

	/* The number of entries; adds bench_sum() of each to *sum, so that what a scan yields is used. */
	size_t (*iterate)(void *thread, uint64_t *sum);
	void (*size)(void *thread, size_t *entries, size_t *bytes);
	void (*counters)(void *thread, struct bench_counters *counters);
};

/* The read section alone: n times in and out. */
struct bench_section {
	const char *name;
	void (*run)(size_t n); /* registers this thread by itself */
	void (*start)(void);
	void (*stop)(void);
};

extern const struct bench_impl bench_memb, bench_memb_scalar, bench_memb_huge, bench_qsbr, bench_ck;
extern const struct bench_section section_memb, section_memb_inline, section_qsbr_inline, section_bp, section_bp_inline,
	section_ck;

#ifdef __cplusplus
}
#endif
#endif
