/* SPDX-License-Identifier: ISC */
/*
 * Threads on one map: owners that write, map, unmap, protect, wire, wipe and advise their own pages; readers and pokers
 * that fault everywhere; forkers; a thread that swaps out.
 *
 * The oracle: each page has one owner, who numbers what it does to it.  What somebody reads must be the page's state at
 * some moment between before and after the read: the number of a write that is not older than the last event that was
 * over before, or the initial state, if some event made it so.  A child must show a state between before and after its
 * fork, and not change any more.  The embedder stops at an entry that comes after the end of its mapping, or writable
 * after the protect that forbids it.
 */
#include "fault_world.h"
#include "fixture.h"

#include <sched.h>
#include <time.h>

#define OWNERS 2
#define STRIPE 40u /* pages of each owner */
#define TOTAL (OWNERS * STRIPE)
#define BASE UINT64_C(0x100000)
#define AT(n) (BASE + (uint64_t)(n)*PAGE)
#define OBJECT UINT64_C(0x4000000000000000)
#define CHILD UINT64_C(0x2000000000000000)

/*
 * Pages that suffice although no grace period ends for long.  A thread goes on until LIMIT things wait in its context:
 * anons, or nodes that nobody else has any more, each with `shown` pages at most, which is what a map shows; as many
 * nodes are being taken apart; one call adds two to that.  The main thread drops nothing meanwhile: its part is for
 * what is in use.  (Nodes of the maps are limited to the same number: with few, changes of maps would be refused.)
 */
#define LIMIT 256u
#define PAGES(threads, shown) (((threads) + 1) * (2 * LIMIT + 2) * (shown))

#define MAY_ENTER 1u
#define MAY_WRITE 2u

struct arena {
	struct fixture fixture;
	struct fault_world world;
	struct cleave_map map;
	struct sim_object *object;
	struct cleave_word begun[TOTAL];  /* the event that may have happened */
	struct cleave_word done[TOTAL];	  /* the event that surely has */
	struct cleave_word zeroed[TOTAL]; /* the last one begun that made the page as it was at first */
	struct cleave_word allowed[TOTAL];
	struct cleave_word32 owners; /* at work */
	struct cleave_word reads;
	struct cleave_word forks;
	struct cleave_word stays;
	struct cleave_word evicted;
	struct cleave_fault_counters counters;
	pthread_mutex_t lock;
};

static struct arena it;

static uint64_t load(struct cleave_word *word)
{
	return __atomic_load_n(&word->word, __ATOMIC_SEQ_CST);
}

static void store(struct cleave_word *word, uint64_t value)
{
	__atomic_store_n(&word->word, value, __ATOMIC_SEQ_CST);
}

static void add(struct cleave_word *word, uint64_t value)
{
	__atomic_fetch_add(&word->word, value, __ATOMIC_RELAXED);
}

static bool at_work(void)
{
	return __atomic_load_n(&it.owners.word, __ATOMIC_ACQUIRE) != 0;
}

static bool may_enter(void *context, uint64_t number, unsigned int protection)
{
	uint64_t allowed = load(&it.allowed[number]);

	(void)context;
	return (allowed & MAY_ENTER) && (!(protection & CLEAVE_PROT_WRITE) || (allowed & MAY_WRITE));
}

static void begin_thread(struct cleave_space_thread *thread, struct worker *worker)
{
	fault_thread_start(&it.world, thread, worker_self(worker));
}

static void end_thread(struct cleave_space_thread *thread)
{
	const uint64_t *from = (const uint64_t *)&thread->counters;
	uint64_t *to = (uint64_t *)&it.counters;

	pthread_mutex_lock(&it.lock);
	for (size_t i = 0; i < sizeof(thread->counters) / sizeof(*from); i++)
		to[i] += from[i];
	pthread_mutex_unlock(&it.lock);
	fault_thread_stop(thread);
}

/* ---- What may be read ---- */

static uint64_t word_of(uint64_t n, uint64_t number)
{
	return (n + 1) << 40 | number;
}

/* `before`: done, before it was read. */
static void check_value(uint64_t n, uint64_t value, uint64_t before)
{
	uint64_t number = value & ((UINT64_C(1) << 40) - 1);

	if (value == 0 || (value & OBJECT)) {
		uint64_t zeroed = load(&it.zeroed[n]);

		CHECK(value == 0 || value == OBJECT + n * PAGE, "page %llu shows %#llx of an object", LL(n), LL(value));
		CHECK(zeroed >= before, "page %llu shows %#llx after event %llu; it was last made so by %llu", LL(n),
		      LL(value), LL(before), LL(zeroed));
		return;
	}
	CHECK(value >> 40 == n + 1, "page %llu shows %#llx, of another page", LL(n), LL(value));
	CHECK(number >= before, "page %llu shows write %llu after event %llu", LL(n), LL(number), LL(before));
	CHECK(number <= load(&it.begun[n]), "page %llu shows write %llu of the future", LL(n), LL(number));
}

static void read_page(uint64_t n)
{
	uint64_t before = load(&it.done[n]), value;
	int result = fault_read(&it.world, &it.map, AT(n), &value);

	CHECK(result == 0 || result == -EFAULT || result == -EACCES, "%d", result);
	if (!result)
		check_value(n, value, before);
}

static void read_pages(struct worker *worker)
{
	struct cleave_space_thread thread;
	uint64_t n = 0;

	begin_thread(&thread, worker);
	for (; at_work(); n++) {
		uint64_t page = rng_below(&worker->rng, TOTAL);

		check_context("reader, page %llu", LL(page));
		if (rng_one_in(&worker->rng, 4)) { /* a write fault, of which nothing is written */
			int result = cleave_fault(&thread, &it.map, AT(page), CLEAVE_PROT_WRITE);

			CHECK(result == 0 || result == -EFAULT || result == -EACCES, "%d", result);
		} else {
			read_page(page);
		}
		cleave_section_quiescent(&worker->record);
	}
	add(&it.reads, n);
	end_thread(&thread);
}

/* ---- Owners ---- */

struct owner {
	struct cleave_space_thread thread;
	struct worker *worker;
	uint64_t base;
	unsigned int protection[STRIPE]; /* + 1; 0: not mapped */
	bool wired[STRIPE];
};

static void begin_event(uint64_t n, bool initial)
{
	uint64_t number = it.begun[n].word + 1;

	if (initial)
		store(&it.zeroed[n], number);
	store(&it.begun[n], number);
}

static void end_event(uint64_t n)
{
	store(&it.done[n], it.begun[n].word);
}

static void allow(struct owner *owner, uint64_t from, uint64_t to, bool taken)
{
	for (uint64_t i = from; i < to; i++) {
		unsigned int protection = owner->protection[i];
		uint64_t wanted = protection < 2 ? 0 : (protection - 1) & 2 ? MAY_ENTER | MAY_WRITE : MAY_ENTER;
		uint64_t n = owner->base + i, now = load(&it.allowed[n]);

		/* Rights come before the call that gives them, and go after the one that takes them. */
		store(&it.allowed[n], taken ? wanted : now | wanted);
		if (taken) {
			unsigned int shown;

			if (fault_shows(&it.world, &it.map, AT(n), &shown)) {
				CHECK(wanted, "page %llu is shown after its end", LL(n));
				CHECK((wanted & MAY_WRITE) || !(shown & CLEAVE_PROT_WRITE), "page %llu can be written",
				      LL(n));
			}
		}
	}
}

static void own_map(struct owner *owner, uint64_t from, uint64_t to, bool backed)
{
	uint64_t first = owner->base + from;
	struct cleave_map_request request = fault_request(AT(first), to - from, RW);
	int result;

	request.flags |= CLEAVE_MAP_REPLACE;
	if (backed) {
		request.object = it.object;
		request.offset = first * PAGE;
		add(&it.object->refs, 1);
	}
	for (uint64_t i = from; i < to; i++) {
		begin_event(owner->base + i, true);
		owner->protection[i] = RW + 1;
		owner->wired[i] = false;
	}
	allow(owner, from, to, false);
	result = cleave_map_map(&it.map, &owner->thread.map, &request);
	CHECK(result == 0, "map: %d", result);
	for (uint64_t i = from; i < to; i++)
		end_event(owner->base + i);
}

static void own_unmap(struct owner *owner, uint64_t from, uint64_t to)
{
	int result;

	for (uint64_t i = from; i < to; i++) {
		begin_event(owner->base + i, true);
		owner->protection[i] = 0;
		owner->wired[i] = false;
	}
	result = cleave_map_unmap(&it.map, &owner->thread.map, AT(owner->base + from), AT(owner->base + to), 0);
	CHECK(result == 0, "unmap: %d", result);
	for (uint64_t i = from; i < to; i++)
		end_event(owner->base + i);
	allow(owner, from, to, true);
}

static void own_protect(struct owner *owner, uint64_t from, uint64_t to, unsigned int protection)
{
	int result;

	for (uint64_t i = from; i < to; i++)
		if (owner->protection[i])
			owner->protection[i] = protection + 1;
	if (protection == CLEAVE_PROT_NONE)
		for (uint64_t i = from; i < to; i++)
			owner->wired[i] = false;
	allow(owner, from, to, false);
	result = cleave_map_protect(&it.map, &owner->thread.map, AT(owner->base + from), AT(owner->base + to),
				    protection, 0, 0);
	CHECK(result == 0, "protect: %d", result);
	allow(owner, from, to, true);
}

static void own_free(struct owner *owner, uint64_t from, uint64_t to)
{
	int result;

	for (uint64_t i = from; i < to; i++)
		if (!owner->protection[i] || owner->wired[i])
			return;
	for (uint64_t i = from; i < to; i++)
		begin_event(owner->base + i, true);
	result = cleave_map_clean(&it.map, &owner->thread.map, AT(owner->base + from), AT(owner->base + to),
				  CLEAVE_CLEAN_FREE);
	CHECK(result == 0, "clean: %d", result);
	for (uint64_t i = from; i < to; i++)
		end_event(owner->base + i);
}

static void own_wire(struct owner *owner, uint64_t from, uint64_t to, bool wire)
{
	int result;

	for (uint64_t i = from; i < to; i++)
		if (owner->protection[i] < 2)
			return;
	result = wire ? cleave_map_wire(&it.map, &owner->thread.map, AT(owner->base + from), AT(owner->base + to))
		      : cleave_map_unwire(&it.map, &owner->thread.map, AT(owner->base + from), AT(owner->base + to));
	CHECK(result == 0, "wire: %d", result);
	for (uint64_t i = from; i < to; i++)
		owner->wired[i] = wire;
}

static void own_write(struct owner *owner, uint64_t i)
{
	uint64_t n = owner->base + i, value;
	int result;

	if (owner->protection[i] != RW + 1)
		return;
	begin_event(n, false);
	result = fault_write(&it.world, &it.map, AT(n), word_of(n, it.begun[n].word));
	CHECK(result == 0, "write: %d", result);
	end_event(n);
	result = fault_read(&it.world, &it.map, AT(n), &value);
	CHECK(result == 0 && value == word_of(n, it.begun[n].word), "page %llu: %d, wrote %#llx, reads %#llx", LL(n),
	      result, LL(word_of(n, it.begun[n].word)), LL(value));
}

static void own_pages(struct worker *worker)
{
	struct owner *owner = calloc(1, sizeof(*owner));

	CHECK(owner != NULL, "memory");
	begin_thread(&owner->thread, worker);
	owner->worker = worker;
	owner->base = worker->number * (uint64_t)STRIPE;
	own_map(owner, 0, STRIPE, false);
	for (uint64_t left = test_scaled(12000); left || load(&it.forks) < 20; left -= left > 0) {
		uint64_t from = rng_below(&worker->rng, STRIPE), to = from + 1 + rng_below(&worker->rng, 8);
		uint64_t what = rng_below(&worker->rng, 64);

		if (to > STRIPE)
			to = STRIPE;
		check_context("owner %u, %llu to go, %llu on [%llu, %llu)", worker->number, LL(left), LL(what),
			      LL(owner->base + from), LL(owner->base + to));
		switch (what) {
		case 0:
		case 1:
			own_map(owner, from, to, false);
			break;
		case 2:
			own_map(owner, from, to, true);
			break;
		case 3:
		case 4:
			own_unmap(owner, from, to);
			if (rng_one_in(&worker->rng, 2)) /* at once again, with what was just freed */
				own_map(owner, from, to, false);
			break;
		case 5:
		case 6:
			own_protect(owner, from, to, CLEAVE_PROT_READ);
			break;
		case 7:
			own_protect(owner, from, to, CLEAVE_PROT_NONE);
			break;
		case 8:
		case 9:
		case 10:
			own_protect(owner, from, to, RW);
			break;
		case 11:
		case 12:
			own_free(owner, from, to);
			break;
		case 13:
			own_wire(owner, from, to, true);
			break;
		case 14:
			own_wire(owner, from, to, false);
			break;
		case 15:
			CHECK(cleave_map_advise(&it.map, &owner->thread.map, AT(owner->base + from),
						AT(owner->base + to), (unsigned int)rng_below(&worker->rng, 3)) == 0,
			      "advise");
			break;
		case 16:
			(void)cleave_map_clip_start(&it.map, &owner->thread.map, AT(owner->base + from), NULL);
			break;
		default:
			own_write(owner, from);
		}
		cleave_section_quiescent(&worker->record);
	}
	end_thread(&owner->thread);
	free(owner);
	__atomic_fetch_sub(&it.owners.word, 1, __ATOMIC_RELEASE);
}

/* ---- Forkers ---- */

static void check_child(struct worker *worker, struct cleave_space_thread *thread, struct cleave_map *child,
			const uint64_t *before)
{
	static _Thread_local uint64_t seen[TOTAL];
	static _Thread_local int results[TOTAL];
	uint64_t value;

	for (uint64_t n = 0; n < TOTAL; n++) {
		results[n] = fault_read(&it.world, child, AT(n), &seen[n]);
		if (!results[n])
			check_value(n, seen[n], before[n]);
		cleave_section_quiescent(&worker->record);
	}
	for (uint64_t n = 0; n < TOTAL; n++) {
		if (!results[n] && rng_one_in(&worker->rng, 3)) {
			int result = fault_write(&it.world, child, AT(n), CHILD | n);

			CHECK(result == 0 || result == -EACCES, "write in the child: %d", result);
			if (!result)
				seen[n] = CHILD | n;
		}
		cleave_section_quiescent(&worker->record);
	}
	for (uint64_t n = 0; n < TOTAL; n++) {
		int result = fault_read(&it.world, child, AT(n), &value);

		CHECK(result == results[n], "page %llu of the child: %d, then %d", LL(n), results[n], result);
		CHECK(result || value == seen[n], "page %llu of the child showed %#llx, then %#llx", LL(n), LL(seen[n]),
		      LL(value));
		cleave_section_quiescent(&worker->record);
	}
	(void)thread;
}

static void fork_maps(struct worker *worker)
{
	struct cleave_space_thread thread;
	uint64_t *before = calloc(TOTAL, sizeof(*before));

	CHECK(before != NULL, "memory");
	begin_thread(&thread, worker);
	while (at_work()) {
		struct cleave_map *child = calloc(1, sizeof(*child));
		int result;

		CHECK(child != NULL, "memory");
		check_context("forker %u", worker->number);
		for (uint64_t n = 0; n < TOTAL; n++)
			before[n] = load(&it.done[n]);
		fault_table_add(&it.world, child, BASE, TOTAL);
		result = cleave_map_fork(&it.map, &thread.map, child);
		CHECK(result == 0, "fork: %d", result);
		check_child(worker, &thread, child, before);
		CHECK(cleave_map_unmap(child, &thread.map, BASE, AT(TOTAL), 0) == 0, "exit");
		cleave_map_destroy(child, &thread.map);
		fault_table_drop(&it.world, child);
		free(child);
		add(&it.forks, 1);
	}
	free(before);
	end_thread(&thread);
}

/* ---- Swap ---- */

static void swap_pages(struct worker *worker)
{
	struct cleave_space_thread thread;
	uint64_t evicted = 0;

	begin_thread(&thread, worker);
	while (at_work()) {
		uint32_t numbers[16];

		check_context("swapper");
		for (unsigned int i = 0; i < 16; i++)
			numbers[i] = 1 + (uint32_t)rng_below(&worker->rng, 400);
		evicted += fault_evict(&it.world, numbers, 16);
		if (rng_one_in(&worker->rng, 4))
			fault_object_evict(&it.world, it.object, rng_below(&worker->rng, TOTAL) * PAGE);
		cleave_section_quiescent(&worker->record);
	}
	add(&it.evicted, evicted);
	end_thread(&thread);
}

/* ---- All of it ---- */

static void run_all(bool zero)
{
	struct cleave_map_config config = { .min = BASE, .max = AT(TOTAL), .page_shift = 12 };
	static void (*const jobs[])(struct worker * worker) = { own_pages,  own_pages, read_pages,
								read_pages, fork_maps, swap_pages };
	enum { JOBS = sizeof(jobs) / sizeof(jobs[0]) };
	struct worker workers[JOBS];
	struct cleave_space_thread thread;

	memset(&it, 0, sizeof(it));
	pthread_mutex_init(&it.lock, NULL);
	fixture_start(&it.fixture, LIMIT);
	fault_world_start(&it.world, &it.fixture.domain.domain, PAGES(JOBS, TOTAL), zero);
	fault_thread_start(&it.world, &thread, &it.fixture.main.thread);
	CHECK(cleave_map_init(&it.map, &thread.map, &config) == 0, "map");
	fault_table_add(&it.world, &it.map, BASE, TOTAL)->may_enter = may_enter;
	it.object = fault_object(&it.world, OBJECT, TOTAL, true);
	it.owners.word = OWNERS;
	for (unsigned int i = 0; i < JOBS; i++)
		worker_start(&workers[i], &it.fixture, i, jobs[i], NULL);
	for (unsigned int i = 0; i < JOBS; i++)
		worker_join(&workers[i]);
	printf("%llu reads, %llu forks; %llu fills, %llu promotions, %llu copies, %llu in place, %llu ahead; %llu "
	       "swapped "
	       "out, %llu in; %llu restarts, %llu waits, %llu with the range locked; at most %llu pages\n",
	       LL(it.reads.word), LL(it.forks.word), LL(it.counters.fills), LL(it.counters.promotions),
	       LL(it.counters.copies), LL(it.counters.in_place), LL(it.counters.ahead), LL(it.evicted.word),
	       LL(it.counters.swap_ins), LL(it.counters.restarts), LL(it.counters.waits), LL(it.counters.locked),
	       LL(it.world.peak.word));
	CHECK(cleave_map_unmap(&it.map, &thread.map, BASE, AT(TOTAL), 0) == 0, "unmap");
	cleave_map_destroy(&it.map, &thread.map);
	fault_table_drop(&it.world, &it.map);
	cleave_space_flush(&thread);
	fault_object_put(&it.world, it.object);
	fault_thread_stop(&thread);
	fault_world_stop(&it.world);
	fixture_stop(&it.fixture);
	pthread_mutex_destroy(&it.lock);
}

static void every_read_is_of_some_moment(void **state)
{
	(void)state;
	run_all(false);
}

static void the_same_with_a_zero_page(void **state)
{
	(void)state;
	run_all(true);
}

/* ---- Shared memory: several maps write the same pages, and are forked ---- */

#define FAMILY 3
#define SHARED 24u

struct family {
	struct cleave_map *maps[FAMILY];
	struct cleave_word round; /* pages are counted up by all */
};

static struct family family;

/* Each page is a counter: every member adds to it under the page's lock, reading through its own map. */
static pthread_mutex_t counter_locks[SHARED];
static uint64_t counters[SHARED];

/* Whoever has it may wait for a grace period, and that for this thread. */
static void lock_counter(struct worker *worker, uint64_t n)
{
	while (pthread_mutex_trylock(&counter_locks[n])) {
		cleave_section_quiescent(&worker->record);
		sched_yield();
	}
}

static void count_up(struct worker *worker)
{
	struct cleave_map *map = family.maps[worker->number];
	struct cleave_space_thread thread;

	begin_thread(&thread, worker);
	for (uint64_t left = test_scaled(6000); left || load(&it.forks) < 30 || load(&it.stays) < 3; left -= left > 0) {
		uint64_t n = rng_below(&worker->rng, SHARED), value = 0;
		int result;

		check_context("member %u, page %llu", worker->number, LL(n));
		lock_counter(worker, n);
		result = fault_read(&it.world, map, AT(n), &value);
		CHECK(result == 0 && value == counters[n], "%d: page %llu shows %llu instead of %llu", result, LL(n),
		      LL(value), LL(counters[n]));
		result = fault_write(&it.world, map, AT(n), ++counters[n]);
		CHECK(result == 0, "write: %d", result);
		pthread_mutex_unlock(&counter_locks[n]);
		cleave_section_quiescent(&worker->record);
	}
	end_thread(&thread);
	__atomic_fetch_sub(&it.owners.word, 1, __ATOMIC_RELEASE);
}

/* Copies of the shared memory: a child's pages show what was between before and after, and stay so. */
static void copy_shared(struct worker *worker)
{
	struct cleave_map *map = family.maps[0];
	struct cleave_space_thread thread;
	uint64_t before[SHARED], seen[SHARED], after;

	begin_thread(&thread, worker);
	CHECK(cleave_map_inherit(map, &thread.map, BASE, AT(SHARED), CLEAVE_INHERIT_COPY) == 0, "inherit");
	while (at_work()) {
		struct cleave_map *child = calloc(1, sizeof(*child));
		int result;

		CHECK(child != NULL, "memory");
		check_context("copier");
		for (unsigned int n = 0; n < SHARED; n++) {
			lock_counter(worker, n);
			before[n] = counters[n];
			pthread_mutex_unlock(&counter_locks[n]);
		}
		fault_table_add(&it.world, child, BASE, SHARED);
		result = cleave_map_fork(map, &thread.map, child);
		CHECK(result == 0, "fork: %d", result);
		for (unsigned int round = 0; round < 2; round++)
			for (unsigned int n = 0; n < SHARED; n++) {
				uint64_t value;

				result = fault_read(&it.world, child, AT(n), &value);
				CHECK(result == 0, "read: %d", result);
				lock_counter(worker, n);
				after = counters[n];
				pthread_mutex_unlock(&counter_locks[n]);
				CHECK(value >= before[n] && value <= after,
				      "page %u of the copy shows %llu, not %llu to %llu", n, LL(value), LL(before[n]),
				      LL(after));
				CHECK(round == 0 || value == seen[n], "page %u of the copy showed %llu, then %llu", n,
				      LL(seen[n]), LL(value));
				seen[n] = value;
				cleave_section_quiescent(&worker->record);
			}
		CHECK(cleave_map_unmap(child, &thread.map, BASE, AT(SHARED), 0) == 0, "exit");
		cleave_map_destroy(child, &thread.map);
		fault_table_drop(&it.world, child);
		free(child);
		add(&it.forks, 1);
	}
	end_thread(&thread);
}

/*
 * A reader that is not scheduled for long, as it seems: it stays in its section until copies are no longer made,
 * because whoever makes them waits.
 */
static void stay_inside(struct worker *worker)
{
	while (at_work()) {
		uint64_t forks = load(&it.forks);

		cleave_section_enter(&worker->record);
		for (unsigned int idle = 0; at_work() && idle < 10; idle++) {
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
			if (load(&it.forks) != forks)
				idle = 0;
			forks = load(&it.forks);
		}
		cleave_section_leave(&worker->record);
		cleave_section_quiescent(&worker->record);
		add(&it.stays, 1);
	}
}

static void shared_pages_are_one(void **state)
{
	struct cleave_map_config config = { .min = BASE, .max = AT(SHARED), .page_shift = 12 };
	static void (*const jobs[])(struct worker * worker) = { count_up,    count_up,	 count_up,
								copy_shared, swap_pages, stay_inside };
	enum { JOBS = sizeof(jobs) / sizeof(jobs[0]) };
	struct worker workers[JOBS];
	struct cleave_map_request request;
	struct cleave_space_thread thread;

	(void)state;
	memset(&it, 0, sizeof(it));
	memset(counters, 0, sizeof(counters));
	pthread_mutex_init(&it.lock, NULL);
	for (unsigned int n = 0; n < SHARED; n++)
		pthread_mutex_init(&counter_locks[n], NULL);
	fixture_start(&it.fixture, LIMIT);
	fault_world_start(&it.world, &it.fixture.domain.domain, PAGES(JOBS, SHARED) + TOTAL, false);
	fault_thread_start(&it.world, &thread, &it.fixture.main.thread);
	it.object = fault_object(&it.world, 0, TOTAL, true);
	for (unsigned int i = 0; i < FAMILY; i++) {
		family.maps[i] = calloc(1, sizeof(struct cleave_map));
		CHECK(family.maps[i] != NULL, "memory");
		fault_table_add(&it.world, family.maps[i], BASE, SHARED);
	}
	CHECK(cleave_map_init(family.maps[0], &thread.map, &config) == 0, "map");
	request = fault_request(BASE, SHARED, RW);
	request.inheritance = CLEAVE_INHERIT_SHARE;
	request.advice = CLEAVE_ADVICE_NORMAL;
	CHECK(cleave_map_map(family.maps[0], &thread.map, &request) == 0, "map");
	for (unsigned int i = 1; i < FAMILY; i++)
		CHECK(cleave_map_fork(family.maps[i - 1], &thread.map, family.maps[i]) == 0, "fork");
	it.owners.word = FAMILY;
	for (unsigned int i = 0; i < JOBS; i++)
		worker_start(&workers[i], &it.fixture, i, jobs[i], NULL);
	for (unsigned int i = 0; i < JOBS; i++)
		worker_join(&workers[i]);
	printf("%llu copies of the family's memory; %llu pages copied, %llu in place; %llu swapped out, %llu in; "
	       "at most %llu pages\n",
	       LL(it.forks.word), LL(it.counters.copies), LL(it.counters.in_place), LL(it.evicted.word),
	       LL(it.counters.swap_ins), LL(it.world.peak.word));
	for (unsigned int i = 0; i < FAMILY; i++) {
		CHECK(cleave_map_unmap(family.maps[i], &thread.map, BASE, AT(SHARED), 0) == 0, "unmap");
		cleave_map_destroy(family.maps[i], &thread.map);
		fault_table_drop(&it.world, family.maps[i]);
		free(family.maps[i]);
	}
	fault_object_put(&it.world, it.object);
	fault_thread_stop(&thread);
	fault_world_stop(&it.world);
	fixture_stop(&it.fixture);
	pthread_mutex_destroy(&it.lock);
	for (unsigned int n = 0; n < SHARED; n++)
		pthread_mutex_destroy(&counter_locks[n]);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_read_is_of_some_moment),
		cmocka_unit_test(the_same_with_a_zero_page),
		cmocka_unit_test(shared_pages_are_one),
	};

	return RUN_TESTS(tests, argc, argv);
}
