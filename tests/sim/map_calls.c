/* SPDX-License-Identifier: ISC */
#include "map.h"

#include "map_calls.h"

#include <stdlib.h>

#define RW (CLEAVE_PROT_READ | CLEAVE_PROT_WRITE)

struct world *world;

/* ---- Memory ---- */

static void *memory_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	void *p = sim_memory.alloc(&sim_memory, size, align);

	(void)memory;
	world->lacked |= !p;
	if (!p || size != sizeof(struct cleave__map_object))
		return p;
	world->objects++;
	/* Memory is private to the simulator until a pointer to it is stored; it sees none in cells, where these go. */
	PORT_STORE(&world->told[sim_self()], (uint64_t)(uintptr_t)p, PORT_RELAXED);
	return p;
}

static void memory_free(const struct cleave_memory *memory, void *p, size_t size)
{
	(void)memory;
	if (size == sizeof(struct cleave__map_object)) {
		world->objects--;
		memset(p, 0xdd, size);
	}
	sim_memory.free(&sim_memory, p, size);
}

const struct cleave_memory map_memory = { memory_alloc, memory_free };

/* ---- The embedder ---- */

static void object_ref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)flags;
	if (object != &world->references)
		sim_fail("a reference to what is no object");
	PORT_FETCH_ADD(&world->references, 1, PORT_RELAXED);
}

static void object_unref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)flags;
	if (object != &world->references || PORT_FETCH_ADD(&world->references, UINT64_MAX, PORT_RELAXED) <= 1)
		sim_fail("a reference too many is dropped");
}

static void enter(void)
{
	sim_ops.enter(&world->domain, &world->self[sim_self()]);
}

static void leave(void)
{
	sim_ops.leave(&world->domain, &world->self[sim_self()]);
}

/* What the index holds at a page: stays while it is locked. */
static struct cleave_entry raw(const struct cleave_map *map, uint64_t addr)
{
	struct cleave_entry entry;

	enter();
	cleave_lookup_rcu(&map->index, addr, &entry);
	leave();
	return entry;
}

static void translate(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		      enum cleave_map_translations what)
{
	(void)ops;
	(void)what;
	start = start < BASE ? BASE : start;
	end = end > AT(PAGES) ? AT(PAGES) : end;
	for (uint64_t addr = start; addr < end; addr += PAGE) {
		struct cleave_entry once = raw(map, addr), again;

		(void)PORT_LOAD(&world->references, PORT_RELAXED); /* let others come in between */
		again = raw(map, addr);
		if (once.value != again.value || once.first != again.first || once.last != again.last)
			sim_fail("a range changes while its translations are taken down");
	}
}

static int wire(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		unsigned int protection)
{
	uint64_t bad = AT(world->bad_page[sim_self()]);

	(void)ops;
	(void)protection;
	if (map == &world->map && bad > BASE && bad >= start && bad < end)
		return MISWIRED;
	for (uint64_t addr = start; map == &world->map && addr < end; addr += PAGE)
		if (PORT_FETCH_ADD(&world->wired[(addr - BASE) / PAGE], 1, PORT_RELAXED))
			sim_fail("a page is wired twice");
	return 0;
}

static void unwire(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	(void)ops;
	for (uint64_t addr = start; map == &world->map && addr < end; addr += PAGE)
		if (!PORT_EXCHANGE(&world->wired[(addr - BASE) / PAGE], 0, PORT_RELAXED))
			sim_fail("a page is let go that was not wired");
}

const struct cleave_map_ops map_ops = {
	.object_ref = object_ref,
	.object_unref = object_unref,
	.translate = translate,
	.wire = wire,
	.unwire = unwire,
};

/* ---- Calls ---- */

static uint8_t code_of(const struct cleave_map_entry *entry)
{
	const struct cleave_map_attributes *attributes = &entry->attributes;

	return (uint8_t)(PAGE_CODE(attributes->protection, attributes->inheritance) | (attributes->wired ? WIRED : 0));
}

static struct cleave_map_request request_for(unsigned int first, unsigned int end, uint32_t flags)
{
	return (struct cleave_map_request){
		.addr = AT(first),
		.size = (end - first) * PAGE,
		.object = world->backed ? &world->references : NULL,
		.offset = AT(first),
		.flags = CLEAVE_MAP_FIXED | flags,
		.protection = RW,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};
}

int map_range(unsigned int thread, unsigned int first, unsigned int end, uint32_t flags)
{
	struct cleave_map_request request = request_for(first, end, flags);
	int error;

	if (world->backed) /* the map's, if it succeeds */
		object_ref(NULL, &world->references, 0);
	error = cleave_map_map(&world->map, &world->thread[thread], &request);
	if (error && world->backed)
		object_unref(NULL, &world->references, 0);
	return error;
}

/* A lookup; the attributes that it copies must stay what they are for as long as the section lasts. */
static void look(unsigned int page, struct state *state)
{
	struct cleave_map_entry entry;
	struct cleave_entry cell;
	const struct cleave__map_object *object;
	uint64_t version;

	enter();
	state->page[page] = cleave_map_lookup_rcu(&world->map, AT(page), &entry) ? code_of(&entry) : 0;
	object = cleave_lookup_rcu(&world->map.index, AT(page), &cell);
	version = cleave__map_is_entry(object) ? object->version : 0;
	(void)PORT_LOAD(&world->references, PORT_RELAXED);
	if (version && object->version != version)
		sim_fail("attributes change under a reader");
	leave();
}

/* All entries of a map from `base` on, by page. */
static void read_entries(const struct cleave_map_entry *entries, size_t n, uint64_t base, struct state *state)
{
	memset(state, 0, sizeof(*state));
	for (size_t i = 0; i < n; i++)
		for (uint64_t addr = entries[i].start; addr < entries[i].end; addr += PAGE)
			if (addr >= base && addr < base + PAGES * PAGE)
				state->page[(addr - base) / PAGE] = code_of(&entries[i]);
}

static void read_all(struct cleave_map *map, unsigned int thread, uint64_t base, struct state *state)
{
	struct cleave_map_entry entries[4 * PAGES];
	size_t n = 4 * PAGES;
	uint64_t from = 0;

	if (cleave_map_snapshot_locked(map, &world->thread[thread], &from, entries, &n))
		sim_fail("more entries than pages");
	read_entries(entries, n, base, state);
}

static int move(unsigned int thread, const struct call *call)
{
	unsigned int low = call->value < call->first ? call->value : call->first;
	unsigned int high = call->value >= call->end ? call->value + 1u : call->end;
	struct cleave_map_request request = request_for(call->value, call->value + 1u, CLEAVE_MAP_REPLACE);
	struct cleave_map_txn txn;
	int error = cleave_map_begin(&txn, &world->map, &world->thread[thread], AT(low), AT(high));

	if (error)
		sim_fail("begin: %d", error);
	error = cleave_map_txn_munmap(&txn, AT(call->first), AT(call->end));
	if (!error)
		error = cleave_map_txn_map(&txn, &request);
	if (!error)
		error = cleave_map_prepare(&txn);
	if (error) {
		cleave_map_abort(&txn);
		return error;
	}
	if (cleave_map_publish(&txn))
		sim_fail("a publication fails after it was prepared");
	cleave_map_end(&txn);
	return 0;
}

static void fork_map(unsigned int thread, struct record *record)
{
	struct cleave_map *child = &world->child[thread];

	record->error = cleave_map_fork(&world->map, &world->thread[thread], child);
	if (record->error)
		return;
	read_all(child, thread, BASE, &record->state);
	cleave_map_destroy(child, &world->thread[thread]);
}

static void extract(unsigned int thread, struct record *record)
{
	const struct call *call = &record->call;
	uint64_t len = (call->end - call->first) * PAGE, addr;

	record->error =
		cleave_map_extract(&world->map, &world->thread[thread], AT(call->first), len, &world->other, 0, &addr);
	if (record->error)
		return;
	read_all(&world->other, thread, addr, &record->state);
	/* Others' pages may stand behind them by then. */
	memset(&record->state.page[call->end - call->first], 0, PAGES - (call->end - call->first));
	while (cleave_map_unmap(&world->other, &world->thread[thread], addr, addr + len, 0))
		if (!world->lacked)
			sim_fail("what was extracted is not unmapped");
}

/* Twice the same, and the owner may write.  A wiring that is on its way ends: what it takes back is not looked at. */
static void busy(unsigned int thread, struct record *record)
{
	uint8_t mask = UINT8_MAX;
	struct state again;

	cleave_map_busy(&world->map, &world->thread[thread]);
	for (unsigned int t = 0; t < THREADS; t++)
		if (world->bad_page[t])
			mask = (uint8_t)~WIRED;
	for (unsigned int i = 0; i < PAGES; i++)
		look(i, &record->state);
	for (unsigned int i = 0; i < PAGES; i++)
		look(i, &again);
	for (unsigned int i = 0; i < PAGES; i++) {
		record->state.page[i] &= mask;
		again.page[i] &= mask;
	}
	record->mask = mask;
	if (memcmp(&record->state, &again, sizeof(again)))
		sim_fail("a busy map changes");
	record->error = cleave_map_clip_start(&world->map, &world->thread[thread], AT(record->call.first), NULL);
	if (record->error == -ENOENT)
		record->error = 0;
	cleave_map_unbusy(&world->map, &world->thread[thread]);
}

void map_call(unsigned int t, struct record *record)
{
	const struct call *call = &record->call;
	struct cleave_map_thread *thread = &world->thread[t];
	uint64_t start = AT(call->first), end = AT(call->end);
	struct cleave_map *map = &world->map;

	record->error = 0;
	memset(&record->state, 0, sizeof(record->state));
	switch (call->kind) {
	case LOOKUP:
		look(call->first, &record->state);
		break;
	case CHECK:
		record->error = cleave_map_check_protection(map, thread, start, end, call->value);
		break;
	case SNAPSHOT:
		read_all(map, t, BASE, &record->state);
		break;
	case PROTECT:
		record->error = cleave_map_protect(map, thread, start, end, call->value, 0, 0);
		break;
	case INHERIT:
		record->error = cleave_map_inherit(map, thread, start, end, call->value);
		break;
	case REPLACE:
	case MAP:
		record->error = map_range(t, call->first, call->end, call->kind == MAP ? 0 : CLEAVE_MAP_REPLACE);
		break;
	case UNMAP:
		record->error = cleave_map_munmap(map, thread, start, end - start);
		break;
	case MOVE:
		record->error = move(t, call);
		break;
	case CLIP:
		record->error = cleave_map_clip_start(map, thread, start, NULL);
		break;
	case COALESCE:
		record->error = cleave_map_coalesce(map, thread, start, end);
		break;
	case WIRE:
		record->error = cleave_map_wire(map, thread, start, end);
		break;
	case UNWIRE:
		record->error = cleave_map_unwire(map, thread, start, end);
		break;
	case MISWIRE:
		world->bad_page[t] = call->end - 1u;
		record->error = cleave_map_wire(map, thread, start, end);
		world->bad_page[t] = 0;
		break;
	case FORK:
		fork_map(t, record);
		break;
	case EXTRACT:
		extract(t, record);
		break;
	case BUSY:
		busy(t, record);
		break;
	case NOTHING:
	case KINDS:
		break;
	}
}

/* ---- The end ---- */

void map_state(struct state *state)
{
	read_all(&world->map, THREADS, BASE, state);
}

struct complaint {
	struct cleave_lines lines;
	const char *text;
};

static void complain(struct cleave_lines *lines, const char *text)
{
	static char copy[200];
	size_t n = strlen(text);

	n = n < sizeof(copy) ? n : sizeof(copy) - 1;
	memcpy(copy, text, n);
	copy[n] = '\0';
	((struct complaint *)(void *)lines)->text = copy;
}

const char *map_end(void)
{
	struct complaint complaint = { .lines = { complain }, .text = NULL };
	struct state state;

	map_state(&state);
	for (unsigned int i = 0; i < PAGES; i++)
		if (PORT_LOAD(&world->wired[i], PORT_RELAXED) != (state.page[i] & WIRED ? 1 : 0))
			return "a page is wired that the map does not call so, or the other way round";
	for (unsigned int t = 0; t < THREADS; t++)
		cleave_map_thread_exit(&world->thread[t]);
	if (cleave_map_verify(&world->map, &world->thread[THREADS], &complaint.lines) ||
	    cleave_map_verify(&world->other, &world->thread[THREADS], &complaint.lines))
		return complaint.text;
	cleave_map_destroy(&world->map, &world->thread[THREADS]);
	cleave_map_destroy(&world->other, &world->thread[THREADS]);
	cleave_map_thread_exit(&world->thread[THREADS]);
	if (world->objects)
		return "attribute objects are left over";
	if (PORT_LOAD(&world->references, PORT_RELAXED) != 1)
		return "references to the backing object are left over";
	return NULL;
}
