/* SPDX-License-Identifier: ISC */
#include "anon_context.h"

#include "fault_parts.h"

struct world *world;

/* ---- Histories ---- */

static struct event *begin_event(unsigned int map, unsigned int page, uint8_t value)
{
	struct history *history = &world->history[world->history_of[map]][page];

	MUST(history->n < EVENTS, "too many events");
	history->events[history->n] = (struct event){ .began = ++world->now, .value = value };
	return &history->events[history->n++];
}

/* Was what this event made gone before `since`? */
static bool is_over(const struct history *history, const struct event *event, uint32_t since)
{
	for (unsigned int i = 0; i < history->n; i++) {
		const struct event *other = &history->events[i];

		if (event->candidate && other->candidate)
			continue; /* check_instant() */
		if (event->ended && other->began > event->ended && other->ended && other->ended < since)
			return true;
	}
	return false;
}

/*
 * A child is its parent at one instant: not before any of the events began that it shows.  So what it shows instead of
 * an event that was over by then is wrong.
 */
static void check_instant(unsigned int map)
{
	uint32_t instant = 0;

	for (unsigned int i = 0; i < SLOTS * EVENTS; i++) {
		const struct history *history = &world->history[map][i / EVENTS];
		const struct event *event = &history->events[i % EVENTS];

		if (i % EVENTS < history->n && event->candidate && history->chosen && !event->dead &&
		    event->began > instant)
			instant = event->began;
	}
	for (unsigned int page = 0; page < SLOTS; page++) {
		const struct history *history = &world->history[map][page];
		bool possible = !history->chosen;

		for (unsigned int i = 0; i < history->n; i++) {
			const struct event *event = &history->events[i];
			bool over = false;

			for (unsigned int k = 0; k < history->n; k++)
				over |= history->events[k].candidate && event->ended &&
					history->events[k].began > event->ended && history->events[k].ended &&
					history->events[k].ended < instant;
			possible |= event->candidate && !event->dead && !over;
		}
		MUST(possible, "map %u is not its parent at one instant: page %u is older than another", map, page);
	}
}

static void check_value(unsigned int map, unsigned int page, uint8_t value, uint32_t since)
{
	struct history *history = &world->history[world->history_of[map]][page];
	uint8_t meant = value >= OBJECT ? 0 : value;
	bool found = false, candidate = false;

	MUST(value != 255, "a page that was freed is read");
	MUST(value < OBJECT || value == OBJECT + page, "another page of the object is read");
	for (unsigned int i = 0; i < history->n; i++) {
		struct event *event = &history->events[i];

		if (event->value == meant && !event->dead && !is_over(history, event, since)) {
			found = true;
			candidate |= event->candidate;
		}
	}
	MUST(found, "map %u page %u says %u, which it cannot", map, page, value);
	/* A child has made its choice. */
	for (unsigned int i = 0; candidate && i < history->n; i++)
		if (history->events[i].candidate && history->events[i].value != meant)
			history->events[i].dead = true;
	if (candidate && !history->chosen) {
		history->chosen = true;
		check_instant(map);
	}
}

/* What a child may show: whatever the parent showed between. */
static void inherit(unsigned int parent, unsigned int child, uint32_t since)
{
	for (unsigned int page = 0; page < SLOTS; page++) {
		const struct history *from = &world->history[world->history_of[parent]][page];
		struct history *to = &world->history[child][page];

		to->n = 0;
		to->chosen = false;
		for (unsigned int i = 0; i < from->n; i++) {
			const struct event *event = &from->events[i];

			if (event->dead || is_over(from, event, since))
				continue;
			to->events[to->n] = *event;
			to->events[to->n++].candidate = true;
		}
	}
}

/* ---- Calls ---- */

/* Through the translation.  False: it does not allow that. */
static bool access(unsigned int map, unsigned int number, const uint8_t *written, uint8_t *read)
{
	uint64_t translation = PORT_FETCH_ADD(&world->translation[map][number], 0, PORT_ACQ_REL);
	struct page *page = &world->pages[translation >> 4];

	if (!(translation & (written ? CLEAVE_PROT_WRITE : CLEAVE_PROT_READ)))
		return false;
	MUST(page->state != FREED, "an address shows a page that was freed");
	if (written)
		page->value = *written;
	else
		*read = page->value;
	return true;
}

static void check_result(int result)
{
	if (result)
		MUST((result == -ENOMEM && world->running) ||
			     ((result == -EFAULT || result == -EACCES) && world->may_refuse),
		     "a fault returns %d", result);
}

static void read_or_write(struct cleave_space_thread *thread, const struct call *call)
{
	struct cleave_map *map = &world->maps[call->map];
	struct event *event = call->kind == WRITE ? begin_event(call->map, call->page, call->value) : NULL;
	uint32_t since = ++world->now;
	uint8_t value;

	while (!access(call->map, call->page, event ? &call->value : NULL, &value)) {
		int result =
			cleave_fault(thread, map, address(call->page), event ? CLEAVE_PROT_WRITE : CLEAVE_PROT_READ);

		if (result) {
			check_result(result);
			if (event)
				event->dead = true;
			return;
		}
	}
	if (event)
		event->ended = ++world->now;
	else
		check_value(call->map, call->page, value, since);
}

/* Rights come before the call that gives them. */
static void grant(const struct call *call)
{
	for (unsigned int page = call->page; page <= call->last; page++) {
		world->allowed[call->map][page] = ALLOW_ENTER | ALLOW_WRITE;
		world->granting[call->map][page]++; /* until the call has returned */
	}
}

static void granted(const struct call *call)
{
	for (unsigned int page = call->page; page <= call->last; page++) {
		world->granted[call->map][page] = ++world->now;
		world->granting[call->map][page]--;
	}
}

/* They go after the call that takes them, unless somebody else has given them meanwhile. */
static void withdraw(const struct call *call, uint8_t rights, uint32_t since)
{
	for (unsigned int page = call->page; page <= call->last; page++) {
		uint64_t translation = world->translation[call->map][page].word;

		if (world->granting[call->map][page] || world->granted[call->map][page] > since)
			continue;
		world->allowed[call->map][page] &= (uint8_t)~rights;
		MUST(!(rights & ALLOW_ENTER) || !translation, "an address shows a page after its unmap");
		MUST(!(translation & CLEAVE_PROT_WRITE), "a page can be written after its protect");
	}
}

static int range_call(struct cleave_space_thread *thread, const struct call *call)
{
	struct cleave_map *map = &world->maps[call->map];
	uint64_t start = address(call->page), end = address(call->last + 1);
	struct cleave_map_request request = {
		.addr = start,
		.size = end - start,
		.flags = CLEAVE_MAP_FIXED | CLEAVE_MAP_REPLACE,
		.entry_flags = CLEAVE_MAP_COW,
		.protection = CLEAVE_PROT_READ | CLEAVE_PROT_WRITE,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
		.advice = CLEAVE_ADVICE_RANDOM,
	};

	switch (call->kind) {
	case UNMAP:
		return cleave_map_unmap(map, &thread->map, start, end, 0);
	case MAP_OBJECT:
		request.object = &world->object;
		request.entry_flags = 0;
		world->object_refs++;
		return cleave_map_map(map, &thread->map, &request) ? (world->object_refs--, -ENOMEM) : 0;
	case MAP:
		return cleave_map_map(map, &thread->map, &request);
	case READ_ONLY:
	case WRITABLE:
		return cleave_map_protect(
			map, &thread->map, start, end,
			call->kind == WRITABLE ? CLEAVE_PROT_READ | CLEAVE_PROT_WRITE : CLEAVE_PROT_READ, 0, 0);
	case FREE:
		return cleave_map_clean(map, &thread->map, start, end, CLEAVE_CLEAN_FREE);
	case WIRE:
		return cleave_map_wire(map, &thread->map, start, end);
	case UNWIRE:
		return cleave_map_unwire(map, &thread->map, start, end);
	case JOIN:
		return cleave_map_coalesce(map, &thread->map, start, end);
	default:
		return cleave_map_clip_start(map, &thread->map, start, NULL);
	}
}

static void change_range(struct cleave_space_thread *thread, const struct call *call)
{
	/* What another map shows, too, stays as it is there. */
	bool initial = (call->kind == UNMAP || call->kind == MAP || call->kind == MAP_OBJECT || call->kind == FREE) &&
		       world->history_of[1] == 1;
	bool gives = call->kind == MAP || call->kind == MAP_OBJECT || call->kind == WRITABLE;
	struct event *events[SLOTS];
	uint32_t since = ++world->now;
	int result;

	for (unsigned int page = call->page; initial && page <= call->last; page++)
		events[page] = begin_event(call->map, page, 0);
	if (gives)
		grant(call);
	result = range_call(thread, call);
	MUST(!result || result == -ENOMEM || (world->may_refuse && result != -EAGAIN), "a change of a range returns %d",
	     result);
	for (unsigned int page = call->page; initial && page <= call->last; page++) {
		if (result)
			events[page]->dead = true;
		/*
		 * What is wired is not freed, and neither is what was written without having happened before: then the
		 * page may be as it was.
		 */
		events[page]->ended = result || (call->kind == FREE && (world->wires || sim_weak())) ? 0 : ++world->now;
	}
	if (gives)
		granted(call);
	if (!result && call->kind == UNMAP)
		withdraw(call, ALLOW_ENTER | ALLOW_WRITE, since);
	if (!result && call->kind == READ_ONLY)
		withdraw(call, ALLOW_WRITE, since);
}

static void fork_map(struct cleave_space_thread *thread, const struct call *call)
{
	uint32_t since = ++world->now;
	int result;

	for (unsigned int page = 0; page < SLOTS; page++)
		world->allowed[call->value][page] = ALLOW_ENTER | ALLOW_WRITE;
	result = cleave_map_fork(&world->maps[call->map], &thread->map, &world->maps[call->value]);
	MUST(!result || result == -ENOMEM, "a fork returns %d", result);
	if (result)
		return;
	++world->now;
	world->exists[call->value] = true;
	if (world->shares)
		fault_share_histories(call->map, call->value);
	else
		inherit(call->map, call->value, since);
}

static void swap_page(struct cleave_space_thread *thread, const struct call *call)
{
	struct cleave_map_entry entry;
	struct cleave_anon_page *anon = NULL;

	sim_ops.enter(&world->domain, thread->map.self);
	if (cleave_map_lookup_rcu(&world->maps[call->map], address(call->page), &entry) && entry.attributes.store)
		anon = cleave_anon_lookup_rcu(cleave_space_store(&entry.attributes),
					      cleave_space_slot(&world->space, &entry.attributes, address(call->page)));
	if (anon && !cleave_anon_page_pin_rcu(anon))
		anon = NULL;
	sim_ops.leave(&world->domain, thread->map.self);
	if (anon)
		(void)cleave_swap_out(thread, &anon, 1);
}

static void evict_object(struct cleave_space_thread *thread, const struct call *call)
{
	uint64_t page = 2 * PORT_EXCHANGE(&world->object[call->page], 0, PORT_SEQ_CST);

	if (!page)
		return;
	cleave_space_settle(thread);
	world->ops.remove_page(&world->ops, page);
	fault_page_give(page, OF_OBJECT);
}

void fault_call(unsigned int thread, const struct call *call)
{
	struct cleave_space_thread *record = &world->records[thread];

	/* The child that a thread could not make. */
	if (!world->exists[call->map])
		return;
	switch (call->kind) {
	case READ:
	case WRITE:
		read_or_write(record, call);
		break;
	case TOUCH:
		check_result(cleave_fault(record, &world->maps[call->map], address(call->page), CLEAVE_PROT_WRITE));
		break;
	case FORK:
		fork_map(record, call);
		break;
	case SWAP:
		swap_page(record, call);
		break;
	case EVICT:
		evict_object(record, call);
		break;
	case FLUSH:
		cleave_space_flush(record);
		break;
	default:
		change_range(record, call);
	}
}

/* Both maps show the same pages from now on: one history. */
void fault_share_histories(unsigned int from, unsigned int to)
{
	world->history_of[to] = (uint8_t)from;
}

/* What a thread may need, so that an execution begins with full caches. */
void fault_stock(unsigned int thread)
{
	struct cleave_space_thread *record = &world->records[thread];

	/* Also what wiring keeps in hand. */
	MUST(!cleave_map_reserve(&record->map, 2) && !cleave_reserve(record->map.self, 16), "memory");
	record->spare = cleave_anon_page_make(record->context, fault_page_take(LIVE, 0));
	MUST(record->spare != NULL && !cleave__anon_stock(record->context, 4, 0), "memory");
}

/* ---- The world ---- */

void fault_world_make(bool zero, bool object)
{
	struct cleave_map_config config = { .min = SIM_BASE, .max = address(SLOTS), .page_shift = 12 };
	struct cleave_map_request request = {
		.addr = SIM_BASE,
		.size = SLOTS * SIM_PAGE,
		.flags = CLEAVE_MAP_FIXED,
		.entry_flags = CLEAVE_MAP_COW,
		.protection = CLEAVE_PROT_READ | CLEAVE_PROT_WRITE,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
		.advice = CLEAVE_ADVICE_RANDOM,
	};

	sim_arena_clear();
	world = sim_arena_alloc(sizeof(*world));
	memset(world, 0, sizeof(*world));
	sim_domain = &world->domain;
	fault_embed(&world->ops);
	for (unsigned int page = PAGES - 1; page > 0; page--)
		world->free_pages[world->nfree++] = (uint8_t)page;
	if (zero)
		world->ops.zero_page = fault_page_take(ZERO, 0);
	cleave_domain_init(&world->domain, &sim_ops, &sim_memory, NULL, UINT64_MAX / 2);
	cleave_space_init(&world->space, &world->domain, &world->ops, 12);
	for (unsigned int t = 0; t <= THREADS; t++) {
		cleave_thread_init(&world->threads[t], &world->domain);
		MUST(!cleave_space_thread_init(&world->records[t], &world->space, &world->threads[t]), "a thread");
	}
	MUST(!cleave_map_init(&world->maps[0], &world->records[THREADS].map, &config), "a map");
	sim_index = &world->maps[0].index;
	world->exists[0] = true;
	if (object) {
		for (unsigned int page = 0; page < SLOTS; page++) {
			world->object_value[page] = (uint8_t)(OBJECT + page);
			world->object[page].word = fault_page_take(OF_OBJECT, (uint8_t)(OBJECT + page)) / 2;
		}
		request.object = &world->object;
		world->object_refs = 1;
	}
	MUST(!cleave_map_map(&world->maps[0], &world->records[THREADS].map, &request), "map");
	for (unsigned int map = 0; map < MAPS; map++)
		world->history_of[map] = (uint8_t)map;
	for (unsigned int page = 0; page < SLOTS; page++) {
		struct event *initial = begin_event(0, page, 0);

		initial->ended = ++world->now; /* a statement of its own: it began before */
		world->allowed[0][page] = ALLOW_ENTER | ALLOW_WRITE;
	}
}

/* What is wired is held where it is shown, and nothing else is. */
static const char *check_wirings(void)
{
	for (unsigned int i = 0; i < MAPS * SLOTS; i++) {
		unsigned int map = i / SLOTS, page = i % SLOTS;
		uint64_t translation = world->translation[map][page].word;
		struct cleave_map_entry entry;
		bool wired;

		if (!world->exists[map])
			continue;
		wired = cleave_map_lookup_rcu(&world->maps[map], address(page), &entry) && entry.attributes.wired;
		if (!wired && (translation & HELD))
			return "a page is held that is not wired";
		if (wired && world->history_of[1] == 1 && !(translation & HELD))
			return "a wired page is not held";
	}
	return NULL;
}

const char *fault_world_end(void)
{
	const char *wrong;

	struct cleave_map_thread *thread = &world->records[THREADS].map;

	world->running = false;
	fault_broken = NULL;
	wrong = check_wirings();
	if (wrong)
		return wrong;
	for (unsigned int map = 0; map < MAPS; map++) {
		if (!world->exists[map])
			continue;
		if (cleave_map_unmap(&world->maps[map], thread, SIM_BASE, address(SLOTS), CLEAVE_MAP_REMOVE_HOLES))
			return "a map cannot be emptied";
		cleave_map_destroy(&world->maps[map], thread);
	}
	for (unsigned int t = 0; t <= THREADS; t++) {
		/* `calling_thread` says whose record is used. */
		cleave_space_flush(&world->records[t]);
		cleave_space_thread_exit(&world->records[t]);
	}
	for (unsigned int page = 0; page < SLOTS; page++)
		if (world->object[page].word)
			fault_page_give(2 * world->object[page].word, OF_OBJECT);
	if (world->ops.zero_page)
		fault_page_give(world->ops.zero_page, ZERO);
	if (world->space.anons.stores)
		return "a store is left";
	if (world->space.anons.nodes.word)
		return "a node is left";
	if (world->space.anons.anons.word)
		return "an anon is left";
	if (world->object_refs)
		return "a reference to the object is left";
	if (world->nfree != PAGES - 1)
		return "a page is left";
	for (unsigned int token = 0; token < PAGES; token++)
		if (world->tokens[token])
			return "a token is left";
	return fault_broken;
}
