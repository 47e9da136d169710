/* SPDX-License-Identifier: ISC */
/*
 * The compile-time half of the port contract (../port.h) for the simulator (sim.h): each access to a shared word is
 * decided by a scheduler and a memory model, and tells its place in the source.
 *
 * Accesses to cells are only checked for races.  They need no scheduling point: in a program without races nobody can
 * tell when a plain access happened, and one race is a failure.
 */
#ifndef CLEAVE_PLATFORM_H
#define CLEAVE_PLATFORM_H

#include <errno.h>
#include <string.h>

struct sim_site {
	const char *file;
	const char *function;
	int line;
};

#define SIM_SITE                                                                                         \
	(__extension__({                                                                                 \
		static const struct sim_site site_ = { __FILE__, __extension__ __FUNCTION__, __LINE__ }; \
		&site_;                                                                                  \
	}))

uint64_t sim_load(const void *word, unsigned int size, int order, const struct sim_site *site);
void sim_store(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site);
uint64_t sim_exchange(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site);
uint64_t sim_fetch_add(void *word, unsigned int size, uint64_t value, int order, const struct sim_site *site);
bool sim_cas(void *word, unsigned int size, uint64_t *expected, uint64_t value, int ok, int fail,
	     const struct sim_site *site);
void sim_cell(const void *cell, bool write, const struct sim_site *site);
/*
 * Of what others take for a barrier (U8): since the last time the thread made a read-modify-write, and was outside.  A
 * release.
 */
void sim_count(uint64_t *counter, const struct sim_site *site);
_Noreturn void sim_broken(const char *rule, const struct sim_site *site);

#define PORT_RELAXED 0
#define PORT_ACQUIRE 1
#define PORT_RELEASE 2
#define PORT_ACQ_REL 3
#define PORT_SEQ_CST 4

#define SIM_TYPE(p) __typeof__((p)->word)

#define PORT_LOAD(p, order) ((SIM_TYPE(p))sim_load(&(p)->word, sizeof((p)->word), order, SIM_SITE))
#define PORT_STORE(p, value, order) sim_store(&(p)->word, sizeof((p)->word), (uint64_t)(value), order, SIM_SITE)
#define PORT_EXCHANGE(p, value, order) \
	__extension__(                 \
		{ (SIM_TYPE(p)) sim_exchange(&(p)->word, sizeof((p)->word), (uint64_t)(value), order, SIM_SITE); })
#define PORT_FETCH_ADD(p, value, order) \
	__extension__(                  \
		{ (SIM_TYPE(p)) sim_fetch_add(&(p)->word, sizeof((p)->word), (uint64_t)(value), order, SIM_SITE); })
#define PORT_CAS(p, expected, value, ok, fail)                                                                        \
	(__extension__({                                                                                              \
		uint64_t expected_ = (uint64_t) * (expected);                                                         \
		bool ok_ = sim_cas(&(p)->word, sizeof((p)->word), &expected_, (uint64_t)(value), ok, fail, SIM_SITE); \
		*(expected) = (SIM_TYPE(p))expected_;                                                                 \
		ok_;                                                                                                  \
	}))

#define PORT_COPY(to, from) PORT_STORE(to, PORT_LOAD(from, PORT_RELAXED), PORT_RELAXED)
#define PORT_CELL_READ(x) (*(sim_cell(&(x), false, SIM_SITE), &(x)))
#define PORT_CELL_WRITE(x, v) (sim_cell(&(x), true, SIM_SITE), (x) = (v))

#define PORT_PAUSE() ((void)0)
#define PORT_YIELD() ((void)0)
#ifndef PORT_SPINS
#define PORT_SPINS 1 /* a waiter parks at once: locks block, nothing spins */
#endif

/* Small, so that a handful of entries makes several levels, and few steps lead to what patience delays. */
#ifndef PORT_CELLS
#define PORT_CELLS 4u
#endif
#ifndef PORT_FANOUT
#define PORT_FANOUT 4u
#endif
#define PORT_LEVELS 6
#define PORT_BATCH 1u
#define PORT_PATIENCE 1u
#define PORT_RELEASES 1u
#define PORT_COVER_TRIES 2u
#define PORT_RESTLESS 1u

#define PORT_DEBUG 1
#define PORT_ASSERT(condition, rule) ((condition) ? (void)0 : sim_broken(rule, SIM_SITE))

#define PORT_COUNT(counter) ((void)(counter)++)
#define PORT_COUNT_RELEASE(counter) sim_count(&(counter), SIM_SITE)
#define PORT_BITS(word, from, count) ((word) >> (from) & ((UINT64_C(1) << (count)) - 1))
#define PORT_PREFETCH(address) ((void)(address))
#define PORT_LIKELY(x) __builtin_expect(!!(x), 1)
#define PORT_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define PORT_ALWAYS_INLINE inline __attribute__((always_inline))
#define PORT_NO_INLINE __attribute__((noinline))

#endif
