/* SPDX-License-Identifier: ISC */
#include "map_twins.h"

/* clang-format off */
enum verb {
	MAP, MUNMAP, UNMAP, PROTECT, INHERIT, ADVISE, IMMUTABLE, CLIP, COALESCE, SET_STORE, SUBMAP, STACK, CLEAN,
	CHECK_PROT, WIRE, UNWIRE, WIRE_ALL, FORK, EXTRACT, FIND, QUERY, DESTROY, VERBS
};

static const char *const verb_names[VERBS] = {
	"map", "munmap", "unmap", "protect", "inherit", "advise", "immutable", "clip", "coalesce", "set_store",
	"submap", "remap_as_stack", "clean", "check_protection", "wire", "unwire", "wire_all", "fork", "extract",
	"find_space", "query", "destroy"
};
/* clang-format on */

/* One call, with all its arguments. */
struct call {
	enum verb verb;
	unsigned int twin;
	unsigned int other;
	uint64_t start;
	uint64_t end;
	unsigned int value; /* protection, advice, code ... */
	unsigned int flags;
	uint32_t entry_flags;
	uint64_t limit;
	struct cleave_map_request request;
	void *object;
	uint64_t bad_page;
};

/* ---- Making calls ---- */

static unsigned int random_protection(struct rng *rng)
{
	static const unsigned int common[] = { 0, 1, 3, 3, 3, 5, 7 };

	return rng_one_in(rng, 50) ? 8 : common[rng_below(rng, 7)];
}

static void random_range(struct universe *universe, struct call *call)
{
	struct rng *rng = &universe->rng;
	uint64_t base = universe->twins[0].model.base, a = rng_below(rng, SPACE + 2), b;

	b = a + (rng_one_in(rng, 4) ? rng_below(rng, SPACE) : rng_below(rng, 6) + !rng_one_in(rng, 12));
	call->start = base - PAGE + a * PAGE;
	call->end = base - PAGE + b * PAGE;
	if (rng_one_in(rng, 60))
		call->start += rng_below(rng, PAGE);
	if (rng_one_in(rng, 60))
		call->end -= rng_below(rng, PAGE);
	if (rng_one_in(rng, 100))
		call->end = call->start - PAGE;
	if (rng_one_in(rng, 100))
		call->end = UINT64_MAX - rng_below(rng, 2 * PAGE);
	if (rng_one_in(rng, 100))
		call->start = rng_below(rng, 2 * PAGE);
}

static void random_request(struct universe *universe, struct call *call)
{
	struct rng *rng = &universe->rng;
	struct cleave_map_request *request = &call->request;

	random_range(universe, call);
	*request = (struct cleave_map_request){
		.addr = call->start,
		.size = call->end > call->start && call->end - call->start < (SPACE + 4) * PAGE
				? call->end - call->start
				: PAGE,
		.inheritance = (uint8_t)(rng_below(rng, 2) ? CLEAVE_INHERIT_COPY : rng_below(rng, 4)),
		.advice = (uint8_t)rng_below(rng, 3),
	};
	request->protection = (uint8_t)random_protection(rng);
	request->max_protection = (uint8_t)(rng_one_in(rng, 8) ? rng_below(rng, 8) : 7);
	if (!rng_one_in(rng, 4))
		request->flags |= CLEAVE_MAP_FIXED;
	if (rng_one_in(rng, 3))
		request->flags |= CLEAVE_MAP_REPLACE;
	if (rng_one_in(rng, 15))
		request->flags |= CLEAVE_MAP_QUERY;
	if (rng_one_in(rng, 8))
		request->flags |= CLEAVE_MAP_OVERLAY;
	if (rng_one_in(rng, 8))
		request->flags |= CLEAVE_MAP_NO_MERGE;
	if (rng_one_in(rng, 10))
		request->flags |= CLEAVE_MAP_SIGALTSTACK;
	if (!rng_one_in(rng, 3))
		request->entry_flags |= CLEAVE_MAP_COW;
	if (rng_one_in(rng, 10))
		request->entry_flags |= CLEAVE_MAP_STACK;
	if (rng_one_in(rng, 10))
		request->entry_flags |= CLEAVE_MAP_CONCEAL;
	if (rng_one_in(rng, 16)) {
		request->entry_flags = CLEAVE_MAP_HOLE;
		request->flags &= ~CLEAVE_MAP_OVERLAY;
		request->protection = 0;
	}
	if (rng_one_in(rng, 3)) {
		request->object = universe->objects[rng_below(rng, OBJECTS)];
		request->offset = rng_below(rng, 100) * PAGE;
	}
	if (rng_one_in(rng, 10)) {
		request->align = PAGE << rng_below(rng, 4);
		request->phase = rng_below(rng, request->align / PAGE) * PAGE;
	}
	if (!(request->flags & CLEAVE_MAP_FIXED) && rng_one_in(rng, 2))
		request->addr = 0;
}

static void random_call(struct universe *universe, struct call *call)
{
	struct rng *rng = &universe->rng;

	memset(call, 0, sizeof(*call));
	do
		call->twin = (unsigned int)rng_below(rng, MAPS);
	while (!universe->twins[call->twin].alive);
	call->other = (call->twin + 1 + (unsigned int)rng_below(rng, MAPS - 1)) % MAPS;
	call->verb = rng_one_in(rng, 3) ? MAP : (enum verb)rng_below(rng, VERBS);
	if (call->verb == WIRE_ALL && !rng_one_in(rng, 3))
		call->verb = PROTECT;
	if (call->verb == IMMUTABLE && !rng_one_in(rng, 4))
		call->verb = UNMAP;
	random_range(universe, call);
	call->flags = (unsigned int)rng_below(rng, 4);
	call->value = (unsigned int)rng_below(rng, 4);
	if (rng_one_in(rng, 3))
		call->bad_page = (call->start & ~(PAGE - 1)) + rng_below(rng, 4) * PAGE;
	switch (call->verb) {
	case MAP:
	case FIND:
	case QUERY:
		random_request(universe, call);
		break;
	case PROTECT:
		call->value = random_protection(rng);
		call->entry_flags = rng_one_in(rng, 4) ? CLEAVE_MAP_STACK : 0;
		if (!rng_one_in(rng, 4))
			call->flags = 0;
		break;
	case SUBMAP:
		call->object = universe->objects[rng_below(rng, OBJECTS)];
		break;
	case CHECK_PROT:
		call->value = (unsigned int)rng_below(rng, 8);
		break;
	case IMMUTABLE:
		call->flags = rng_one_in(rng, 3);
		break;
	case CLEAN:
		call->flags = 1u << rng_below(rng, 4);
		break;
	case WIRE_ALL:
		if (universe->inject)
			call->flags &= CLEAVE_WIRE_CURRENT; /* no late failures then */
		call->limit = rng_one_in(rng, 4) ? rng_below(rng, SPACE) * PAGE : CLEAVE_MAP_UNLIMITED;
		break;
	case EXTRACT:
		call->flags &= CLEAVE_EXTRACT_FIXPROT;
		break;
	default:
		break;
	}
}

/* ---- The call to the library ---- */

struct answer {
	int result;
	uint64_t addr;
};

static void forget(struct universe *universe, struct twin *twin)
{
	universe->embedder.destroying = true;
	embedder_forget(&universe->embedder, &twin->map);
	cleave_map_destroy(&twin->map, &universe->thread);
	universe->embedder.destroying = false;
	twin->alive = false;
}

static int set_store(struct universe *universe, struct twin *twin, uint64_t addr)
{
	struct cleave_map_entry entry = { 0 };
	struct thing *store;
	int result;

	manual_enter(&universe->domain);
	(void)cleave_map_lookup_rcu(&twin->map, addr, &entry);
	manual_leave(&universe->domain);
	/* As many pages as it may want; numbered when it is met. */
	store = NULL;
	result = universe->embedder.ops.store_new(&universe->embedder.ops, SPACE, (void **)&store);
	if (result)
		return result;
	result = cleave_map_set_store(&twin->map, &universe->thread, addr, entry.version, store);
	if (result)
		thing_unref(&universe->embedder, store);
	return result;
}

static void make_call(struct universe *universe, const struct call *call, struct answer *answer)
{
	struct twin *twin = &universe->twins[call->twin], *other = &universe->twins[call->other];
	struct cleave_map *map = &twin->map;
	struct cleave_map_thread *thread = &universe->thread;
	struct cleave_map_request request = call->request;
	uint64_t len = call->end - call->start;

	universe->embedder.bad_page = call->bad_page;
	answer->addr = 0;
	switch (call->verb) {
	case MAP:
		if (request.object)
			thing_ref(request.object);
		answer->result = cleave_map_map(map, thread, &request);
		if (request.object && (answer->result || (request.flags & CLEAVE_MAP_QUERY)))
			thing_unref(&universe->embedder, request.object);
		answer->addr = request.addr;
		break;
	case MUNMAP:
		answer->result = cleave_map_munmap(map, thread, call->start, len);
		break;
	case UNMAP:
		answer->result = cleave_map_unmap(map, thread, call->start, call->end, call->flags);
		break;
	case PROTECT:
		answer->result = cleave_map_protect(map, thread, call->start, call->end, call->value, call->entry_flags,
						    call->flags);
		break;
	case INHERIT:
		answer->result = cleave_map_inherit(map, thread, call->start, call->end, call->value);
		break;
	case ADVISE:
		answer->result = cleave_map_advise(map, thread, call->start, call->end, call->value);
		break;
	case IMMUTABLE:
		answer->result = cleave_map_immutable(map, thread, call->start, call->end, call->flags);
		break;
	case CLIP:
		answer->result = call->flags & 1 ? cleave_map_clip_start(map, thread, call->start, NULL)
						 : cleave_map_clip_end(map, thread, call->start, NULL);
		break;
	case COALESCE:
		answer->result = cleave_map_coalesce(map, thread, call->start, call->end);
		break;
	case SET_STORE:
		answer->result = set_store(universe, twin, call->start);
		break;
	case SUBMAP:
		answer->result = cleave_map_submap(map, thread, call->start, call->end, call->object);
		break;
	case STACK:
		answer->result = cleave_map_remap_as_stack(map, thread, call->start, len);
		break;
	case CLEAN:
		answer->result = cleave_map_clean(map, thread, call->start, call->end, call->flags);
		break;
	case CHECK_PROT:
		answer->result = cleave_map_check_protection(map, thread, call->start, call->end, call->value);
		break;
	case WIRE:
		answer->result = cleave_map_wire(map, thread, call->start, call->end);
		break;
	case UNWIRE:
		answer->result = cleave_map_unwire(map, thread, call->start, call->end);
		break;
	case WIRE_ALL:
		answer->result = cleave_map_wire_all(map, thread, call->flags, call->limit);
		break;
	case FORK:
		answer->result = -EBUSY;
		if (!other->alive) {
			answer->result = cleave_map_fork(map, thread, &other->map);
			other->alive = answer->result == 0;
			if (other->alive)
				embedder_watch(&universe->embedder, &other->map, other->model.base);
		}
		break;
	case EXTRACT:
		answer->result = -EBUSY;
		if (other->alive)
			answer->result = cleave_map_extract(map, thread, call->start, len, &other->map, call->flags,
							    &answer->addr);
		break;
	case FIND:
		answer->result = cleave_map_find_space(map, thread, &request, &answer->addr);
		break;
	case QUERY:
		answer->result = cleave_map_query(map, thread, &request);
		answer->addr = request.addr;
		break;
	case DESTROY:
		answer->result = -EBUSY;
		if (call->twin != 0) {
			forget(universe, twin);
			answer->result = 0;
		}
		break;
	default:
		break;
	}
}

/* ---- The same to the model ---- */

static void follow(struct universe *universe, const struct call *call, struct answer *answer)
{
	struct twin *twin = &universe->twins[call->twin], *other = &universe->twins[call->other];
	struct map_model *model = &twin->model;
	struct cleave_map_request request = call->request;
	uint64_t len = call->end - call->start, store;

	model->bad_page = call->bad_page;
	answer->addr = 0;
	answer->result = -EBUSY;
	switch (call->verb) {
	case MAP:
		answer->result = map_model_map(model, &request);
		answer->addr = request.addr;
		break;
	case MUNMAP:
		answer->result = map_model_munmap(model, call->start, len);
		break;
	case UNMAP:
		answer->result = map_model_unmap(model, call->start, call->end, call->flags);
		break;
	case PROTECT:
		answer->result =
			map_model_protect(model, call->start, call->end, call->value, call->entry_flags, call->flags);
		break;
	case INHERIT:
		answer->result = map_model_inherit(model, call->start, call->end, call->value);
		break;
	case ADVISE:
		answer->result = map_model_advise(model, call->start, call->end, call->value);
		break;
	case IMMUTABLE:
		answer->result = map_model_immutable(model, call->start, call->end, call->flags);
		break;
	case CLIP:
		answer->result = map_model_clip(model, call->start, call->flags & 1);
		break;
	case COALESCE:
		answer->result = map_model_coalesce(model, call->start, call->end);
		break;
	case SET_STORE:
		answer->result = map_model_set_store(model, call->start, &store);
		break;
	case SUBMAP:
		answer->result = map_model_submap(model, call->start, call->end, call->object);
		break;
	case STACK:
		answer->result = map_model_stack(model, call->start, len);
		break;
	case CLEAN:
		answer->result = map_model_clean(model, call->start, call->end, call->flags);
		break;
	case CHECK_PROT:
		answer->result = map_model_check(model, call->start, call->end, call->value);
		break;
	case WIRE:
		answer->result = map_model_wire(model, call->start, call->end);
		break;
	case UNWIRE:
		answer->result = map_model_unwire(model, call->start, call->end);
		break;
	case WIRE_ALL:
		answer->result = map_model_wire_all(model, call->flags, call->limit);
		break;
	case FORK:
		answer->result = map_model_fork(model, &other->model);
		break;
	case EXTRACT:
		answer->result = map_model_extract(model, call->start, len, &other->model, call->flags, &answer->addr);
		break;
	case FIND:
		answer->result = map_model_find(model, &request, &answer->addr);
		break;
	case QUERY:
		answer->result = map_model_query(model, &request);
		answer->addr = request.addr;
		break;
	default:
		answer->result = 0;
		break;
	}
}

/* ---- Worlds ---- */

static const struct {
	const char *name;
	uint32_t flags;
	uint32_t nselectors;
	uint64_t base;
} kinds[UNIVERSE_KINDS] = {
	{ "plain", 0, 0, 0x10000 },
	{ "guards", CLEAVE_MAP_GUARD_PAGES, 0, 0x10000 },
	{ "selectors and limits", CLEAVE_MAP_LIMITS, 4, 0x10000 },
	{ "guards, selectors and limits", CLEAVE_MAP_LIMITS | CLEAVE_MAP_GUARD_PAGES, 4, 0x10000 },
	{ "joined", CLEAVE_MAP_COALESCE, 0, 0x10000 },
	{ "joined, with guards and limits", CLEAVE_MAP_COALESCE | CLEAVE_MAP_GUARD_PAGES | CLEAVE_MAP_LIMITS, 2,
	  0x10000 },
	{ "from page 0", 0, 0, 0 },
	{ "at the end of memory", CLEAVE_MAP_GUARD_PAGES, 0, (uint64_t)0 - (SPACE + 1) * PAGE },
	{ "without sleeping", CLEAVE_MAP_NO_SLEEP, 0, 0x10000 },
};

void universe_start(struct universe *universe, unsigned int kind, uint64_t seed)
{
	uint64_t base = kinds[kind].base;
	struct cleave_map_config
		config = { .min = base,
			   .max = base + SPACE * PAGE,
			   .page_shift = 12,
			   .flags = kinds[kind].flags,
			   .size_limit = (SPACE - 10) * PAGE,
			   .data_limit = SPACE / 2 * PAGE,
			   .stack_start = base + 40 * PAGE,
			   .stack_end = base + 44 * PAGE,
			   .nselectors = kinds[kind].nselectors,
			   .selectors = {
				   { base, base + 12 * PAGE, CLEAVE_SELECT_BEST_FIT, CLEAVE_SELECT_ANY },
				   { base + 12 * PAGE, base + 24 * PAGE, CLEAVE_SELECT_HIGHEST, CLEAVE_SELECT_ANY },
				   { base + 26 * PAGE, base + 36 * PAGE, CLEAVE_SELECT_LOWEST, CLEAVE_SELECT_EXEC },
				   { base + 36 * PAGE, base + 48 * PAGE, CLEAVE_SELECT_LOWEST,
				     CLEAVE_SELECT_BRK_STACK },
			   } };

	memset(universe, 0, sizeof(*universe));
	universe->kind = kinds[kind].name;
	universe->seed = seed;
	universe->rng.state = seed;
	universe->noise.state = seed;
	manual_start(&universe->domain, (enum grace)(seed % 3), NULL, UINT64_C(1) << 40);
	embedder_init(&universe->embedder);
	cleave_maps_init(&universe->maps, &universe->domain.domain, &universe->embedder.ops);
	cleave_map_thread_init(&universe->thread, &universe->maps, &universe->domain.self);
	CHECK(cleave_map_init(&universe->twins[0].map, &universe->thread, &config) == 0, "map");
	for (unsigned int t = 0; t < MAPS; t++)
		map_model_init(&universe->twins[t].model, &config, &universe->next_store);
	universe->twins[0].alive = true;
	embedder_watch(&universe->embedder, &universe->twins[0].map, base);
	for (unsigned int i = 0; i < OBJECTS; i++)
		universe->objects[i] = thing_new(&universe->embedder);
}

void universe_stop(struct universe *universe)
{
	for (unsigned int t = 0; t < MAPS; t++)
		if (universe->twins[t].alive)
			forget(universe, &universe->twins[t]);
	cleave_map_thread_flush(&universe->thread, true);
	for (unsigned int i = 0; i < OBJECTS; i++) {
		CHECK(thing_refs(universe->objects[i]) == 1, "an object is still referred to");
		thing_unref(&universe->embedder, universe->objects[i]);
	}
	cleave_map_thread_exit(&universe->thread);
	embedder_stop(&universe->embedder);
	manual_stop(&universe->domain);
}

static void describe(const struct universe *universe, const struct call *call, uint64_t grant)
{
	uint64_t base = universe->twins[0].model.base;

	check_context(
		"seed %#llx, %s, step %llu, %lld granted: %s of map %u (%u), [%lld, %lld) + %llu, %lld, value %u, "
		"flags %#x, entry flags %#x, addr %lld, size %llu, bad page %lld",
		(unsigned long long)universe->seed, universe->kind, (unsigned long long)universe->step,
		(long long)grant, verb_names[call->verb], call->twin, call->other,
		(long long)(call->start - base) / (int)PAGE, (long long)(call->end - base) / (int)PAGE,
		(unsigned long long)call->start % PAGE, (long long)call->end % (int)PAGE, call->value,
		call->verb == MAP ? call->request.flags : call->flags,
		call->verb == MAP ? call->request.entry_flags : call->entry_flags,
		(long long)(call->request.addr - base) / (int)PAGE, (unsigned long long)call->request.size / PAGE,
		(long long)(call->bad_page - base) / (int)PAGE);
}

/* Calls that make no sense to the model as it stands. */
static bool applicable(const struct universe *universe, const struct call *call)
{
	switch (call->verb) {
	case FORK:
		return !universe->twins[call->other].alive;
	case EXTRACT:
		return universe->twins[call->other].alive;
	case DESTROY:
		return call->twin != 0;
	default:
		return true;
	}
}

static void check_answers(const struct call *call, const struct answer *real, const struct answer *want)
{
	CHECK(real->result == want->result, "%d, not %d", real->result, want->result);
	if (real->result == 0 && call->verb != FORK)
		CHECK(real->addr == want->addr, "address %#llx, not %#llx", (unsigned long long)real->addr,
		      (unsigned long long)want->addr);
}

/* ---- Failures ---- */

/* Empty caches: each node and each object comes from the allocator. */
static void forget_caches(struct universe *universe)
{
	cleave_map_thread_exit(&universe->thread);
	cleave_thread_exit(&universe->domain.self);
	cleave_thread_init(&universe->domain.self, &universe->domain.domain);
	cleave_map_thread_init(&universe->thread, &universe->maps, &universe->domain.self);
}

/* Each of the first ones fails in turn; of many, some. */
static uint64_t next_grant(uint64_t grant, struct rng *rng)
{
	return grant < 20 ? grant + 1 : grant + 1 + rng_below(rng, grant / 4);
}

static void make_failing_calls(struct universe *universe, const struct call *call, struct answer *answer)
{
	bool memory = rng_one_in(&universe->rng, 2);

	for (uint64_t grant = 0;; grant = next_grant(grant, &universe->rng)) {
		struct picture before[MAPS], after[MAPS];
		uint64_t failed;

		describe(universe, call, grant);
		CHECK(grant < 100000, "still failing");
		forget_caches(universe);
		for (unsigned int t = 0; t < MAPS; t++)
			if (universe->twins[t].alive)
				picture_take(&before[t], &universe->twins[t].map, &universe->thread);
		failed = counting_memory_failed(&universe->domain.memory) + universe->embedder.failures;
		if (memory)
			counting_memory_grant(&universe->domain.memory, grant);
		else
			universe->embedder.fail_after = grant;
		make_call(universe, call, answer);
		counting_memory_grant(&universe->domain.memory, GRANT_ALL);
		universe->embedder.fail_after = GRANT_ALL;
		failed = counting_memory_failed(&universe->domain.memory) + universe->embedder.failures - failed;
		if (answer->result != -ENOMEM || failed == 0) {
			for (unsigned int t = 0; t < MAPS; t++)
				if (universe->twins[t].alive && !(call->verb == FORK && t == call->other))
					picture_free(&before[t]);
				else if (call->verb == DESTROY && t == call->twin)
					picture_free(&before[t]);
			return;
		}
		universe->failures++;
		for (unsigned int t = 0; t < MAPS; t++) {
			if (!universe->twins[t].alive)
				continue;
			picture_take(&after[t], &universe->twins[t].map, &universe->thread);
			CHECK(picture_equal(&before[t], &after[t]), "a call that failed has changed map %u", t);
			picture_free(&before[t]);
			picture_free(&after[t]);
		}
		if (rng_one_in(&universe->rng, 8))
			universe_compare(universe);
	}
}

void universe_step(struct universe *universe)
{
	struct answer real, want;
	struct call call;

	random_call(universe, &call);
	universe->step++;
	if (!applicable(universe, &call))
		return;
	describe(universe, &call, 0);
	if (universe->inject)
		make_failing_calls(universe, &call, &real);
	else
		make_call(universe, &call, &real);
	follow(universe, &call, &want);
	check_answers(&call, &real, &want);
	universe_compare(universe);
	universe->results[real.result < 0 && real.result > -200 ? -real.result : 0]++;
}
