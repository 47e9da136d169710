/* SPDX-License-Identifier: ISC */
/* Thread records, found by the thread's number: a thread that was just made has no thread-local storage. */
#include "agent.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#define REACH 16u /* records near its first choice that a thread looks through for its own */

static uint32_t owner[RECORDS]; /* [a] thread number; 0: free */
static uint8_t ready[RECORDS];	/* [owner] registered with the library */

_Static_assert(RECORDS * sizeof(struct record) <= MIRROR_ARENA_AT - MIRROR_RECORDS_AT, "they fit");

static struct record *records(void)
{
	return (struct record *)(uintptr_t)MIRROR_RECORDS_AT;
}

int records_open(void)
{
	long at = sys6(SYS_mmap, MIRROR_RECORDS_AT, page_up(RECORDS * sizeof(struct record)), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);

	return at == (long)MIRROR_RECORDS_AT ? 0 : -ENOMEM;
}

static uint32_t home(uint32_t thread)
{
	return thread % RECORDS;
}

static bool find_own(uint32_t thread, uint32_t *index)
{
	for (uint32_t i = 0; i < REACH; i++) {
		*index = (home(thread) + i) % RECORDS;
		if (__atomic_load_n(&owner[*index], __ATOMIC_RELAXED) == thread)
			return true;
	}
	return false;
}

static bool claim(uint32_t thread, uint32_t *index)
{
	for (uint32_t i = 0; i < REACH; i++) {
		uint32_t nobody = 0;

		*index = (home(thread) + i) % RECORDS;
		/* Acquire: what its last owner did with the record; pairs with the release in record_put(). */
		if (__atomic_compare_exchange_n(&owner[*index], &nobody, thread, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
	}
	return false;
}

struct record *record_get(void)
{
	uint32_t thread = thread_number(), index;
	struct record *record;

	/* All near are taken: only with thousands of threads.  Some will end. */
	while (!find_own(thread, &index) && !claim(thread, &index))
		nap(1000);
	record = &records()[index];
	if (!ready[index]) {
		cleave_ck_register(&record->ck, &agent.ck);
		cleave_map_thread_init(&record->thread, &agent.maps, &record->ck.thread);
		ready[index] = 1;
	}
	return record;
}

/* The record keeps its caches for the next owner. */
void record_put(struct record *record)
{
	__atomic_store_n(&owner[record - records()], 0, __ATOMIC_RELEASE);
}

void records_forked(const struct record *own)
{
	for (uint32_t i = 0; i < RECORDS; i++)
		if (i != own - records() && (owner[i] || ready[i])) {
			owner[i] = 0;
			ready[i] = 0;
		}
}
