/* SPDX-License-Identifier: ISC */
/* What programs do, through faults: many threads in one mapping, forks beside writers, swap-off beside everything. */
#include "fault_world.h"
#include "fixture.h"

#define BASE (UINT64_C(1) << 32)
#define AT(n) (BASE + (uint64_t)(n)*PAGE)

static struct fixture fixture;
static struct fault_world world;
static struct cleave_space_thread main_thread;
static struct cleave_map map;

static void start(uint64_t pages, uint32_t npages)
{
	struct cleave_map_config config = { .min = BASE, .max = AT(pages), .page_shift = 12 };

	fixture_start(&fixture, 0);
	fault_world_start(&world, &fixture.domain.domain, npages, false);
	fault_thread_start(&world, &main_thread, &fixture.main.thread);
	CHECK(cleave_map_init(&map, &main_thread.map, &config) == 0, "map");
	fault_table_add(&world, &map, BASE, pages);
}

static void stop(uint64_t pages)
{
	CHECK(cleave_map_unmap(&map, &main_thread.map, BASE, AT(pages), 0) == 0, "unmap");
	cleave_map_destroy(&map, &main_thread.map);
	fault_table_drop(&world, &map);
	fault_thread_stop(&main_thread);
	fault_world_stop(&world);
	fixture_stop(&fixture);
}

static void map_pages(uint64_t from, uint64_t n, unsigned int inheritance)
{
	struct cleave_map_request request = fault_request(AT(from), n, RW);

	request.inheritance = (uint8_t)inheritance;
	CHECK(cleave_map_map(&map, &main_thread.map, &request) == 0, "map");
}

static struct cleave_anon *store_at(uint64_t n)
{
	struct cleave_map_entry entry;

	cleave_section_enter(&fixture.main);
	CHECK(cleave_map_lookup_rcu(&map, AT(n), &entry), "page %llu is not mapped", LL(n));
	cleave_section_leave(&fixture.main);
	return cleave_space_store(&entry.attributes);
}

/* ---- 3 ---- */

#define SEGMENT 65536u

struct faults {
	unsigned int threads;
	int pattern; /* 0 blocks, 1 interleaved, 2 all the same */
	struct cleave_word fills;
};

static void fault_segment(struct worker *worker)
{
	struct faults *faults = worker->context;
	struct cleave_space_thread thread;
	uint64_t share = SEGMENT / faults->threads;

	fault_thread_start(&world, &thread, worker_self(worker));
	for (uint64_t i = 0; i < (faults->pattern == 2 ? SEGMENT : share); i++) {
		uint64_t n = faults->pattern == 0   ? worker->number * share + i
			     : faults->pattern == 1 ? i * faults->threads + worker->number
						    : i;
		int result = cleave_fault(&thread, &map, AT(n), i % 3 ? CLEAVE_PROT_WRITE : CLEAVE_PROT_READ);

		CHECK(result == 0, "page %llu: %d", LL(n), result);
		cleave_section_quiescent(&worker->record);
	}
	__atomic_fetch_add(&faults->fills.word, thread.counters.fills, __ATOMIC_RELAXED);
	fault_thread_stop(&thread);
}

static void scenario_3_each_page_gets_one_anon_whoever_faults(void **state)
{
	static const char *const names[] = { "blocks", "interleaved", "same page" };
	struct worker workers[8];

	(void)state;
	start(SEGMENT, SEGMENT + 1000);
	for (int pattern = 0; pattern < 3; pattern++) {
		for (unsigned int threads = 1; threads <= 8; threads *= 2) {
			struct faults faults = { threads, pattern, { 0 } };
			uint64_t count;

			map_pages(0, SEGMENT, CLEAVE_INHERIT_COPY);
			workers_run(&fixture, workers, threads, fault_segment, &faults);
			cleave_section_enter(&fixture.main);
			count = cleave_anon_count_rcu(store_at(0));
			cleave_section_leave(&fixture.main);
			CHECK(count == SEGMENT, "%llu anons", LL(count));
			CHECK(faults.fills.word == SEGMENT, "%llu fills", LL(faults.fills.word));
			CHECK(world.live.word == SEGMENT + (main_thread.spare != NULL), "%llu pages",
			      LL(world.live.word));
			for (uint64_t n = 0; n < SEGMENT; n++)
				CHECK(fault_shows(&world, &map, AT(n), NULL), "page %llu is not shown", LL(n));
			CHECK(cleave_map_unmap(&map, &main_thread.map, BASE, AT(SEGMENT), 0) == 0, "unmap");
			cleave_space_flush(&main_thread);
		}
		printf("%s: %u anons with 1 to 8 threads\n", names[pattern], SEGMENT);
	}
	stop(SEGMENT);
}

/* ---- 8 ---- */

#define SPARSE 65536u /* slots of the segment */
#define STEP 4u	      /* one page of so many is populated */
#define FORKS 100u
#define WRITERS 4u
/*
 * All versions of the segment that may be there at a time: the parent's, the child's, and those of which something
 * waits in a writer's context, perhaps a whole old tree.  The main thread waits for a grace period after each fork, so
 * that nothing waits from more than three of them, even if the writer does not run for a while.
 */
#define VERSIONS (2 + 3 * WRITERS)

static struct cleave_word32 writing;

static void write_segment(struct worker *worker)
{
	struct cleave_space_thread thread;
	uint64_t n = 0;

	fault_thread_start(&world, &thread, worker_self(worker));
	while (__atomic_load_n(&writing.word, __ATOMIC_ACQUIRE)) {
		uint64_t page = rng_below(&worker->rng, SPARSE / STEP / WRITERS) * WRITERS + worker->number;

		/* Its own pages count up. */
		CHECK(fault_write(&world, &map, AT(page * STEP), ++n << 8 | worker->number) == 0, "write");
		cleave_section_quiescent(&worker->record);
	}
	fault_thread_stop(&thread);
}

static void scenario_8_forks_beside_writers(void **state)
{
	struct worker workers[WRITERS];
	uint64_t copies, most = 0;

	(void)state;
	start(SPARSE + 64, VERSIONS * SPARSE / STEP);
	map_pages(0, SPARSE, CLEAVE_INHERIT_COPY);
	map_pages(SPARSE, 16, CLEAVE_INHERIT_ZERO);
	map_pages(SPARSE + 32, 16, CLEAVE_INHERIT_SHARE);
	for (uint64_t n = 0; n < SPARSE + 48; n += n < SPARSE ? STEP : 1)
		if (n < SPARSE + 16 || n >= SPARSE + 32)
			CHECK(fault_write(&world, &map, AT(n), n < SPARSE ? n / STEP % WRITERS : 77) == 0, "populate");
	writing.word = 1;
	for (unsigned int i = 0; i < WRITERS; i++)
		worker_start(&workers[i], &fixture, i, write_segment, NULL);
	for (unsigned int i = 0; i < FORKS; i++) {
		struct cleave_map *child = calloc(1, sizeof(*child));
		struct rng rng = { .state = i };
		uint64_t value, again;

		CHECK(child != NULL, "memory");
		fault_table_add(&world, child, BASE, SPARSE + 64);
		CHECK(cleave_map_fork(&map, &main_thread.map, child) == 0, "fork");
		/* The child's first write copies one path and one page. */
		copies = main_thread.context->copies;
		CHECK(fault_write(&world, child, AT(STEP), 1 << 30) == 0, "write");
		copies = main_thread.context->copies - copies;
		most = copies > most ? copies : most;
		for (unsigned int k = 0; k < 50; k++) {
			uint64_t page = rng_below(&rng, SPARSE / STEP);

			CHECK(fault_read(&world, child, AT(page * STEP), &value) == 0, "read");
			CHECK(page == 1 || (value & 255) == page % WRITERS, "page %llu says %#llx", LL(page),
			      LL(value));
			CHECK(fault_read(&world, child, AT(page * STEP), &again) == 0 && again == value,
			      "a child changes");
		}
		CHECK(fault_read(&world, child, AT(SPARSE), &value) == 0 && value == 0, "ZERO");
		CHECK(fault_read(&world, child, AT(SPARSE + 40), &value) == 0 && value == 77 + i, "SHARE");
		CHECK(fault_write(&world, child, AT(SPARSE + 40), 78 + i) == 0, "SHARE");
		CHECK(cleave_map_unmap(child, &main_thread.map, BASE, AT(SPARSE + 64), 0) == 0, "exit");
		cleave_map_destroy(child, &main_thread.map);
		fault_table_drop(&world, child);
		free(child);
		cleave_space_flush(&main_thread);
		cleave_section_quiescent(&fixture.main);
	}
	__atomic_store_n(&writing.word, 0, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < WRITERS; i++)
		worker_join(&workers[i]);
	printf("%u forks beside %u writers: at most %llu nodes copied by a child's first write\n", FORKS, WRITERS,
	       LL(most));
	CHECK(most <= 4, "levels");
	stop(SPARSE + 64);
}

/* ---- 10 ---- */

#define STORES 300u
#define SLOTS 64u

struct storm {
	struct cleave_word32 on;
	struct cleave_word visited;
};

static struct storm storm;

/* Faults everywhere, advice that frees in the upper quarter. */
static void storm_faults(struct worker *worker)
{
	struct cleave_space_thread thread;
	uint64_t value;

	fault_thread_start(&world, &thread, worker_self(worker));
	while (__atomic_load_n(&storm.on.word, __ATOMIC_ACQUIRE)) {
		uint64_t n = rng_below(&worker->rng, STORES * SLOTS);
		int result;

		if (worker->number >= 4) {
			uint64_t from = n - n % SLOTS + SLOTS / 4 * 3;

			result = cleave_map_clean(&map, &thread.map, AT(from), AT(from + 8), CLEAVE_CLEAN_FREE);
			CHECK(result == 0 || result == -EFAULT, "clean: %d", result);
		} else if (n % SLOTS < SLOTS / 2) {
			result = fault_read(&world, &map, AT(n), &value);
			CHECK(result == -EFAULT || (result == 0 && value == n + 1), "%d: page %llu says %llu", result,
			      LL(n), LL(value));
		} else {
			result = fault_write(&world, &map, AT(n), n + 1);
			CHECK(result == 0 || result == -EFAULT, "write: %d", result);
		}
		cleave_section_quiescent(&worker->record);
	}
	fault_thread_stop(&thread);
}

static bool swapped(struct cleave_anon_walker *walker, uint64_t content)
{
	(void)walker;
	return CLEAVE_ANON_IS_SWAPPED(content);
}

static int bring_in(struct cleave_anon_walker *walker, uint64_t content, uint64_t *fresh)
{
	(void)walker;
	*fresh = world.ops.page_get(&world.ops);
	CHECK(*fresh != 0, "a page");
	__atomic_fetch_add(&storm.visited.word, 1, __ATOMIC_RELAXED);
	return world.ops.page_in(&world.ops, content, *fresh);
}

static void scenario_10_swap_off_beside_a_storm(void **state)
{
	struct cleave_anon_walker walker = { .match = swapped, .visit = bring_in };
	struct worker workers[6];
	uint64_t tokens, evicted = 0;

	(void)state;
	start(STORES * SLOTS, 3 * STORES * SLOTS);
	for (uint64_t store = 0; store < STORES; store++)
		map_pages(store * SLOTS, SLOTS, CLEAVE_INHERIT_COPY);
	for (uint64_t n = 0; n < STORES * SLOTS; n++)
		CHECK(fault_write(&world, &map, AT(n), n + 1) == 0, "populate");
	for (uint64_t n = 0; n < STORES * SLOTS; n += 3) {
		uint32_t page = (uint32_t)fault_shows(&world, &map, AT(n), NULL);

		evicted += fault_evict(&world, &page, 1);
	}
	CHECK(evicted == STORES * SLOTS / 3, "%llu swapped out", LL(evicted));
	tokens = world.tokens.word;
	storm.visited.word = 0;
	storm.on.word = 1;
	for (unsigned int i = 0; i < 6; i++)
		worker_start(&workers[i], &fixture, i, storm_faults, NULL);
	/* Exits beside the walk. */
	for (uint64_t store = 0; store < STORES / 10; store++)
		CHECK(cleave_map_unmap(&map, &main_thread.map, AT(store * 10 * SLOTS), AT((store * 10 + 1) * SLOTS),
				       0) == 0,
		      "exit");
	CHECK(cleave_anon_walk(main_thread.context, &walker) == 0, "walk");
	__atomic_store_n(&storm.on.word, 0, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < 6; i++)
		worker_join(&workers[i]);
	cleave_space_flush(&main_thread);
	CHECK(world.tokens.word == 0, "%llu tokens are left", LL(world.tokens.word));
	CHECK(walker.visited == storm.visited.word && walker.visited <= tokens, "each once");
	printf("%llu of %llu tokens were brought in by the walker, the others by faults, or went\n", LL(walker.visited),
	       LL(tokens));
	stop(STORES * SLOTS);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scenario_3_each_page_gets_one_anon_whoever_faults),
		cmocka_unit_test(scenario_8_forks_beside_writers),
		cmocka_unit_test(scenario_10_swap_off_beside_a_storm),
	};

	return RUN_TESTS(tests, argc, argv);
}
