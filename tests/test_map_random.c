/* SPDX-License-Identifier: ISC */
/*
 * Random calls to maps and to their plain models, compared after each: results, every page's attributes, entries,
 * guards, accounts, windows, wired pages, stale translations.  Then the same with every allocation failing in turn.
 */
#include "map_model.h"
#include "map_world.h"

#define MAPS 3
#define OBJECTS 3
#define SPACE 48 /* pages of a map */

struct twin {
	struct cleave_map map;
	struct map_model model;
	bool alive;
};

struct universe {
	struct manual_domain domain;
	struct embedder embedder;
	struct cleave_maps maps;
	struct cleave_map_thread thread;
	struct twin twins[MAPS];
	struct thing *objects[OBJECTS];
	uint64_t next_store;
	struct rng rng;
	uint64_t failures; /* injected */
	bool inject;
	uint64_t results[200]; /* calls by negative result */
};

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

/* ---- Comparing ---- */

static void compare_page(struct twin *twin, const struct cleave_map_entry *entry, unsigned int i)
{
	const struct cleave_map_attributes *attributes = &entry->attributes;
	const struct model_page *page = &twin->model.pages[i];
	uint64_t addr = twin->model.base + i * PAGE;
	struct thing *store = attributes->store;

	CHECK(page->entry, "page %u is mapped", i);
	CHECK(attributes->object == page->object, "page %u: object", i);
	CHECK(!page->object || addr + attributes->delta == page->offset, "page %u: offset", i);
	CHECK((store != NULL) == (page->store != 0), "page %u: store", i);
	if (store) {
		if (!store->model)
			store->model = page->store;
		CHECK(store->model == page->store, "page %u: another store", i);
		CHECK((addr + attributes->store_delta) / PAGE == page->slot, "page %u: slot", i);
	}
	CHECK(attributes->flags == page->flags, "page %u: flags %#x, not %#x", i, attributes->flags, page->flags);
	CHECK(attributes->wired == page->wired, "page %u: wired %u, not %u", i, attributes->wired, page->wired);
	CHECK(attributes->protection == page->protection, "page %u: protection %u, not %u", i, attributes->protection,
	      page->protection);
	CHECK(attributes->max_protection == page->max_protection, "page %u: max_protection", i);
	CHECK(attributes->inheritance == page->inheritance, "page %u: inheritance", i);
	CHECK(attributes->advice == page->advice, "page %u: advice", i);
}

static void compare_boundary(struct twin *twin, unsigned int i, bool begins)
{
	struct model_page *page = &twin->model.pages[i];

	if (twin->model.config.flags & CLEAVE_MAP_COALESCE) {
		/* Which of several neighbours are one entry is checked by tests of its own. */
		CHECK(begins || !page->begins || map_model_joinable(&twin->model, i),
		      "page %u: joined with what differs", i);
		page->begins = begins;
	}
	CHECK(page->begins == begins, "page %u: %s", i, begins ? "an entry begins" : "no entry begins");
}

static bool is_border(const struct map_model *model, uint64_t addr)
{
	for (unsigned int i = 0; i < model->config.nselectors; i++)
		if (addr == model->config.selectors[i].start || addr == model->config.selectors[i].end)
			return true;
	return false;
}

static void compare_twin(struct universe *universe, struct twin *twin)
{
	struct cleave_map_entry entries[2 * SPACE + 16], found;
	struct watched *watched = embedder_watched(&universe->embedder, &twin->map);
	struct cleave_map_accounts accounts;
	struct map_model *model = &twin->model;
	uint64_t from = 0, at = model->base;
	size_t n = 2 * SPACE + 16;

	CHECK(cleave_map_snapshot_locked(&twin->map, &universe->thread, &from, entries, &n) == 0, "snapshot");
	for (size_t e = 0; e < n; e++) {
		const struct cleave_map_entry *entry = &entries[e];

		CHECK(entry->start == at, "the snapshot leaves something out");
		for (at = entry->start; at < entry->end; at += PAGE) {
			unsigned int i = (unsigned int)((at - model->base) / PAGE);

			compare_page(twin, entry, i);
			compare_boundary(twin, i, at == entry->start);
		}
		if (entry->start == entry->end)
			CHECK(at == model->base || is_border(model, at), "free space begins at no border");
		for (; at < entry->end + entry->guard; at += PAGE)
			CHECK(map_model_guard(model, (unsigned int)((at - model->base) / PAGE)), "a guard");
		for (; at < entry->end + entry->guard + entry->fspace; at += PAGE) {
			unsigned int i = (unsigned int)((at - model->base) / PAGE);

			CHECK(!model->pages[i].entry && !map_model_guard(model, i), "page %u is free", i);
			CHECK(at == entry->end + entry->guard ? entry->start == entry->end || !is_border(model, at)
							      : !is_border(model, at),
			      "page %u: free space crosses a border", i);
		}
	}
	CHECK(at == model->config.max, "the snapshot ends early");
	for (unsigned int i = 0; i < model->n; i++) {
		bool mapped;

		manual_enter(&universe->domain);
		mapped = cleave_map_lookup_rcu(&twin->map, model->base + i * PAGE + i, &found);
		manual_leave(&universe->domain);
		CHECK(mapped == (model->pages[i].entry && !(model->pages[i].flags & CLEAVE_MAP_HOLE)),
		      "page %u: lookup", i);
		for (size_t e = 0; e < n; e++) {
			if (model->base + i * PAGE < entries[e].start ||
			    model->base + i * PAGE >= entries[e].end + entries[e].guard + entries[e].fspace)
				continue;
			CHECK(found.start == entries[e].start && found.end == entries[e].end, "page %u: lookup", i);
			if (!model->pages[i].entry)
				CHECK(found.guard == entries[e].guard && found.fspace == entries[e].fspace,
				      "page %u: free space", i);
		}
		CHECK(watched->wired[i] == (model->pages[i].wired != 0), "page %u: wired %d", i, watched->wired[i]);
	}
	cleave_map_account(&twin->map, &universe->thread, &accounts);
	CHECK(accounts.size == map_model_size(model), "size");
	CHECK(accounts.data == map_model_data(model), "data");
	CHECK(accounts.entries == map_model_entries(model), "entries");
	CHECK(accounts.serial == model->serial, "serial %llu, not %llu", (unsigned long long)accounts.serial,
	      (unsigned long long)model->serial);
}

/* What has been entered into page tables is still allowed; then enter something new. */
static void check_translations(struct universe *universe, struct twin *twin)
{
	struct watched *watched = embedder_watched(&universe->embedder, &twin->map);

	for (unsigned int i = 0; i < twin->model.n; i++) {
		struct translation *translation = &watched->translations[i];
		const struct model_page *page = &twin->model.pages[i];
		bool mapped = page->entry && !(page->flags & CLEAVE_MAP_HOLE);

		if (translation->present) {
			CHECK(mapped, "page %u: a translation of what is unmapped", i);
			CHECK(translation->object == page->object &&
				      (!page->object || translation->offset == page->offset),
			      "page %u: a translation of another object", i);
			CHECK(!(translation->protection & ~page->protection), "page %u: a translation allows too much",
			      i);
			CHECK(!translation->store || (uintptr_t)translation->store == page->store,
			      "page %u: a translation of another store", i);
		}
		if (mapped && rng_one_in(&universe->rng, 8))
			*translation = (struct translation){ .present = true,
							     .protection = page->protection,
							     .object = page->object,
							     .offset = page->offset,
							     .store = (void *)(uintptr_t)page->store,
							     .slot = page->slot };
	}
}

static void print_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	fprintf(stderr, "\t%s\n", text);
}

static void compare(struct universe *universe)
{
	struct cleave_lines lines = { print_line };

	for (unsigned int t = 0; t < MAPS; t++) {
		struct twin *twin = &universe->twins[t];

		if (!twin->alive)
			continue;
		CHECK(cleave_map_verify(&twin->map, &universe->thread, &lines) == 0, "map %u", t);
		compare_twin(universe, twin);
		check_translations(universe, twin);
	}
	CHECK(universe->embedder.promised == 0, "a promise is left over");
	/* Every window is shown by pages, and by as many. */
	for (struct thing *store = universe->embedder.stores; store; store = store->next) {
		if (!thing_refs(store))
			continue;
		for (uint64_t slot = 0; slot < store->pages; slot++) {
			uint64_t shown = 0;

			for (unsigned int t = 0; t < MAPS; t++)
				for (unsigned int i = 0; universe->twins[t].alive && i < universe->twins[t].model.n;
				     i++)
					shown += store->model &&
						 universe->twins[t].model.pages[i].store == store->model &&
						 universe->twins[t].model.pages[i].slot == slot;
			CHECK(store->windows[slot] == shown, "page %llu of a store: %llu windows, not %llu",
			      (unsigned long long)slot, (unsigned long long)store->windows[slot],
			      (unsigned long long)shown);
		}
	}
}

/* Dead stores are kept for their last check only. */
static void prune(struct universe *universe)
{
	struct thing **place = &universe->embedder.stores, *store;

	while ((store = *place) != NULL) {
		if (thing_refs(store)) {
			place = &store->next;
			continue;
		}
		*place = store->next;
		free(store->windows);
		free(store);
	}
}

/* ---- Worlds ---- */

static const struct {
	const char *name;
	uint32_t flags;
	uint32_t nselectors;
	uint64_t base;
} kinds[] = {
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

static void universe_start(struct universe *universe, unsigned int kind, uint64_t seed)
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
	universe->rng.state = seed;
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

static void universe_stop(struct universe *universe)
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

static void describe(const struct universe *universe, const struct call *call, const char *kind, uint64_t seed,
		     uint64_t step, uint64_t grant)
{
	uint64_t base = universe->twins[0].model.base;

	check_context(
		"seed %#llx, %s, step %llu, %lld granted: %s of map %u (%u), [%lld, %lld) + %llu, %lld, value %u, "
		"flags %#x, entry flags %#x, addr %lld, size %llu, bad page %lld",
		(unsigned long long)seed, kind, (unsigned long long)step, (long long)grant, verb_names[call->verb],
		call->twin, call->other, (long long)(call->start - base) / (int)PAGE,
		(long long)(call->end - base) / (int)PAGE, (unsigned long long)call->start % PAGE,
		(long long)call->end % (int)PAGE, call->value, call->verb == MAP ? call->request.flags : call->flags,
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

/* CLEAVE_TEST_SCALE=1000 for a night. */
static void random_calls_agree_with_the_model(void **state)
{
	uint64_t seed = test_seed();
	static struct universe universe;

	(void)state;
	for (unsigned int kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
		universe_start(&universe, kind, seed + kind);
		for (uint64_t step = 0; step < test_scaled(6000); step++) {
			struct answer real, want;
			struct call call;

			random_call(&universe, &call);
			if (!applicable(&universe, &call))
				continue;
			describe(&universe, &call, kinds[kind].name, seed, step, 0);
			make_call(&universe, &call, &real);
			follow(&universe, &call, &want);
			check_answers(&call, &real, &want);
			compare(&universe);
			prune(&universe);
			universe.results[real.result < 0 && real.result > -200 ? -real.result : 0]++;
		}
		printf("%s: %llu succeeded, EPERM %llu, EACCES %llu, EINVAL %llu, ENOMEM %llu, EFAULT %llu, EIO %llu, "
		       "ENOENT %llu, EEXIST %llu\n",
		       kinds[kind].name, (unsigned long long)universe.results[0],
		       (unsigned long long)universe.results[EPERM], (unsigned long long)universe.results[EACCES],
		       (unsigned long long)universe.results[EINVAL], (unsigned long long)universe.results[ENOMEM],
		       (unsigned long long)universe.results[EFAULT], (unsigned long long)universe.results[EIO],
		       (unsigned long long)universe.results[ENOENT], (unsigned long long)universe.results[EEXIST]);
		universe_stop(&universe);
	}
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

static void make_failing_calls(struct universe *universe, const struct call *call, struct answer *answer,
			       const char *kind, uint64_t seed, uint64_t step)
{
	bool memory = rng_one_in(&universe->rng, 2);

	for (uint64_t grant = 0;; grant = next_grant(grant, &universe->rng)) {
		struct picture before[MAPS], after[MAPS];
		uint64_t failed;

		describe(universe, call, kind, seed, step, grant);
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
			compare(universe);
	}
}

static void calls_that_fail_change_nothing(void **state)
{
	uint64_t seed = test_seed(), failures = 0;
	static struct universe universe;

	(void)state;
	for (unsigned int kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
		universe_start(&universe, kind, seed + kind);
		universe.inject = true;
		universe.domain.grace = GRACE_ON_DEMAND; /* nothing is reused, so that most changes allocate */
		for (uint64_t step = 0; step < test_scaled(400); step++) {
			struct answer real, want;
			struct call call;

			random_call(&universe, &call);
			if (!applicable(&universe, &call))
				continue;
			make_failing_calls(&universe, &call, &real, kinds[kind].name, seed, step);
			follow(&universe, &call, &want);
			check_answers(&call, &real, &want);
			compare(&universe);
			prune(&universe);
		}
		failures += universe.failures;
		universe_stop(&universe);
	}
	printf("%llu failures\n", (unsigned long long)failures);
	assert_true(failures > 1000 || test_scaled(1000) < 1000);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_calls_agree_with_the_model),
		cmocka_unit_test(calls_that_fail_change_nothing),
	};

	return RUN_TESTS(tests, argc, argv);
}
