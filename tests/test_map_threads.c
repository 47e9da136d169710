/* SPDX-License-Identifier: ISC */
/* Writers map, unmap, protect, wire and fork beside readers; at rest everything adds up. */
#include "fixture.h"
#include "map_world.h"

#define WRITERS 4
#define READERS 3
#define STRIPE 64 /* pages that one writer owns */
#define COMMON 32 /* pages that all fight for, above the stripes */
#define BASE UINT64_C(0x100000)

struct arena {
	struct fixture *fixture;
	struct embedder embedder;
	struct cleave_maps maps;
	struct cleave_map map;
	struct cleave_word32 stop;
	struct cleave_word32 writers;
	uint64_t forks;
	uint64_t lookups;
	uint64_t found;
};

static void say(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	fprintf(stderr, "\t%s\n", text);
}

static uint64_t page_at(uint64_t n)
{
	return BASE + n * PAGE;
}

static int map_range(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t from, uint64_t to,
		     unsigned int protection, bool replace)
{
	struct cleave_map_request request = {
		.addr = page_at(from),
		.size = (to - from) * PAGE,
		.flags = CLEAVE_MAP_FIXED | (replace ? CLEAVE_MAP_REPLACE : 0),
		.entry_flags = CLEAVE_MAP_COW,
		.protection = (uint8_t)protection,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};

	return cleave_map_map(map, thread, &request);
}

static void fork_and_exit(struct arena *arena, struct cleave_map_thread *thread)
{
	struct cleave_map *child = malloc(sizeof(*child));
	struct cleave_lines lines = { say };

	CHECK(child != NULL, "memory");
	CHECK(cleave_map_fork(&arena->map, thread, child) == 0, "fork");
	CHECK(cleave_map_verify(child, thread, &lines) == 0, "child");
	/* Nobody else sees the child: its windows go with promises, as elsewhere. */
	CHECK(cleave_map_unmap(child, thread, child->config.min, child->config.max, CLEAVE_MAP_REMOVE_HOLES) == 0,
	      "exit");
	cleave_map_destroy(child, thread);
	free(child);
	__atomic_fetch_add(&arena->forks, 1, __ATOMIC_RELAXED);
}

/* In its own stripe a writer knows what it has done; in the common part anything may happen. */
static void write_maps(struct worker *worker)
{
	struct arena *arena = worker->context;
	struct cleave_map_thread thread;
	struct cleave_map *map = &arena->map;
	uint8_t mine[STRIPE] = { 0 }; /* protection + 1; 0: not mapped */
	uint64_t base = (uint64_t)worker->number * STRIPE;

	cleave_map_thread_init(&thread, &arena->maps, worker_self(worker));
	for (uint64_t n = test_scaled(8000); n; n--) {
		uint64_t from = rng_below(&worker->rng, STRIPE), to = from + 1 + rng_below(&worker->rng, STRIPE - from);
		unsigned int protection = (unsigned int)rng_below(&worker->rng, 4);
		bool common = rng_one_in(&worker->rng, 4), all = true, any = false;
		int result, verb = (int)rng_below(&worker->rng, 8);

		check_context("writer %u, %llu to go, verb %d, [%llu, %llu)", worker->number, (unsigned long long)n,
			      verb, (unsigned long long)from, (unsigned long long)to);
		if (rng_one_in(&worker->rng, 200)) {
			fork_and_exit(arena, &thread);
			continue;
		}
		if (common) {
			from = WRITERS * STRIPE + from % COMMON;
			to = from + 1 + to % 4;
			switch (verb) {
			case 0:
				result = map_range(map, &thread, from, to, protection, true);
				break;
			case 1:
				result = cleave_map_unmap(map, &thread, page_at(from), page_at(to), 0);
				break;
			case 2:
				result = cleave_map_wire(map, &thread, page_at(from), page_at(to));
				break;
			case 3:
				result = cleave_map_unwire(map, &thread, page_at(from), page_at(to));
				break;
			case 4:
				result = cleave_map_clip_start(map, &thread, page_at(from), NULL);
				break;
			case 5:
				result = cleave_map_inherit(map, &thread, page_at(from), page_at(to), protection);
				break;
			case 6:
				if (rng_one_in(&worker->rng, 16)) {
					cleave_map_busy(map, &thread);
					cleave_map_unbusy(map, &thread);
				}
				result = 0;
				break;
			default:
				result = cleave_map_protect(map, &thread, page_at(from), page_at(to), protection, 0, 0);
			}
			CHECK(result == 0 || result == -EFAULT || result == -EINVAL || result == -ENOENT ||
				      result == -EPERM,
			      "%d", result);
			continue;
		}
		for (uint64_t i = from; i < to; i++) {
			all &= mine[i] != 0;
			any |= mine[i] != 0;
		}
		switch (verb) {
		case 0:
		case 1:
			result = map_range(map, &thread, base + from, base + to, protection, verb == 0);
			CHECK(result == (verb == 1 && any ? -ENOMEM : 0), "map: %d", result);
			for (uint64_t i = from; i < to && !result; i++)
				mine[i] = (uint8_t)(protection + 1);
			break;
		case 2:
			result = cleave_map_munmap(map, &thread, page_at(base + from), (to - from) * PAGE);
			CHECK(result == (all ? 0 : -EINVAL), "munmap: %d", result);
			for (uint64_t i = from; i < to && !result; i++)
				mine[i] = 0;
			break;
		case 3:
			CHECK(cleave_map_unmap(map, &thread, page_at(base + from), page_at(base + to), 0) == 0,
			      "unmap");
			for (uint64_t i = from; i < to; i++)
				mine[i] = 0;
			break;
		case 4:
			result = cleave_map_wire(map, &thread, page_at(base + from), page_at(base + to));
			CHECK(result == (all ? 0 : !mine[from] ? -EFAULT : -EINVAL), "wire: %d", result);
			break;
		default:
			result = cleave_map_protect(map, &thread, page_at(base + from), page_at(base + to), protection,
						    0, 0);
			CHECK(result == 0, "protect: %d", result);
			for (uint64_t i = from; i < to; i++)
				if (mine[i])
					mine[i] = (uint8_t)(protection + 1);
		}
		for (uint64_t i = from; i < to; i++) {
			struct cleave_map_entry entry;
			bool mapped;

			cleave_section_enter(&worker->record);
			mapped = cleave_map_lookup_rcu(map, page_at(base + i), &entry);
			cleave_section_leave(&worker->record);
			CHECK(mapped == (mine[i] != 0), "page %llu", (unsigned long long)i);
			CHECK(!mapped || entry.attributes.protection == mine[i] - 1, "page %llu",
			      (unsigned long long)i);
			CHECK(!mapped || !(entry.attributes.flags & CLEAVE_MAP_IN_TRANSITION),
			      "a wiring of mine goes on");
		}
		cleave_section_quiescent(&worker->record);
	}
	cleave_map_thread_exit(&thread);
	__atomic_fetch_sub(&arena->writers.word, 1, __ATOMIC_RELEASE);
}

/* Whatever a reader sees is whole. */
static void read_maps(struct worker *worker)
{
	struct arena *arena = worker->context;
	uint64_t lookups = 0, found = 0;

	while (__atomic_load_n(&arena->writers.word, __ATOMIC_ACQUIRE)) {
		cleave_section_enter(&worker->record);
		for (int i = 0; i < 64; i++) {
			uint64_t addr = page_at(rng_below(&worker->rng, WRITERS * STRIPE + COMMON + 8));
			struct cleave_map_entry entry;
			bool mapped = cleave_map_lookup_rcu(&arena->map, addr, &entry);

			CHECK(mapped ? entry.start <= addr && addr < entry.end
				     : entry.start <= addr && addr < entry.end + entry.guard + entry.fspace,
			      "an entry that does not hold its address");
			CHECK(!mapped ||
				      (entry.version != 0 &&
				       !(entry.attributes.protection & ~entry.attributes.max_protection) &&
				       !(entry.attributes.flags & ~0xfffu) &&
				       !(entry.attributes.store && (entry.attributes.flags & CLEAVE_MAP_NEEDS_COPY))),
			      "attributes that never were");
			CHECK(!entry.attributes.store || thing_refs(entry.attributes.store) > 0,
			      "a store that is gone, inside a section");
			lookups++;
			found += mapped;
		}
		cleave_section_leave(&worker->record);
		cleave_section_quiescent(&worker->record);
	}
	__atomic_fetch_add(&arena->lookups, lookups, __ATOMIC_RELAXED);
	__atomic_fetch_add(&arena->found, found, __ATOMIC_RELAXED);
}

static void run(uint32_t flags)
{
	static struct arena arena;
	struct cleave_map_config config = { .min = BASE,
					    .max = BASE + (WRITERS * STRIPE + COMMON + 8) * PAGE,
					    .page_shift = 12,
					    .flags = flags,
					    .size_limit = CLEAVE_MAP_UNLIMITED,
					    .data_limit = CLEAVE_MAP_UNLIMITED };
	struct worker workers[WRITERS + READERS];
	struct cleave_lines lines = { say };
	struct cleave_map_thread thread;
	struct fixture fixture;

	memset(&arena, 0, sizeof(arena));
	fixture_start(&fixture, 0);
	embedder_init(&arena.embedder);
	arena.embedder.counted = false;
	cleave_maps_init(&arena.maps, &fixture.domain.domain, &arena.embedder.ops);
	cleave_map_thread_init(&thread, &arena.maps, &fixture.main.thread);
	CHECK(cleave_map_init(&arena.map, &thread, &config) == 0, "map");
	arena.writers.word = WRITERS;
	for (unsigned int i = 0; i < WRITERS + READERS; i++)
		worker_start(&workers[i], &fixture, i, i < WRITERS ? write_maps : read_maps, &arena);
	for (unsigned int i = 0; i < WRITERS + READERS; i++)
		worker_join(&workers[i]);
	CHECK(cleave_map_verify(&arena.map, &thread, &lines) == 0, "at rest");
	printf("%llu lookups, %llu found something, %llu forks\n", (unsigned long long)arena.lookups,
	       (unsigned long long)arena.found, (unsigned long long)arena.forks);
	CHECK(arena.forks > 0 || test_scaled(1000) < 1000, "no fork");
	CHECK(cleave_map_unmap(&arena.map, &thread, config.min, config.max, CLEAVE_MAP_REMOVE_HOLES) == 0, "unmap");
	cleave_map_destroy(&arena.map, &thread);
	cleave_map_thread_exit(&thread);
	embedder_stop(&arena.embedder);
	fixture_stop(&fixture);
}

static void writers_keep_their_stripes_beside_readers(void **state)
{
	(void)state;
	run(0);
}

static void the_same_with_joins_and_limits(void **state)
{
	(void)state;

	run(CLEAVE_MAP_COALESCE | CLEAVE_MAP_LIMITS);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writers_keep_their_stripes_beside_readers),
		cmocka_unit_test(the_same_with_joins_and_limits),
	};

	return RUN_TESTS(tests, argc, argv);
}
