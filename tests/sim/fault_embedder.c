/* SPDX-License-Identifier: ISC */
/*
 * The embedder of the fault scenarios: pages and page tables that take part in the schedules, an object, a swap file.
 * It judges what the library does to them.
 */
#include "fault_parts.h"

const char *fault_broken;

static unsigned int acting(void)
{
	return world->running ? sim_self() : THREADS;
}

static struct cleave_space_thread *calling_thread(const struct cleave_space_ops *ops)
{
	(void)ops;
	return &world->records[acting()];
}

static unsigned int map_number(const struct cleave_map *map)
{
	return (unsigned int)(map - world->maps);
}

static unsigned int page_of(uint64_t addr)
{
	return (unsigned int)((addr - SIM_BASE) / SIM_PAGE);
}

/* ---- Pages ---- */

uint64_t fault_page_take(enum page_state state, uint8_t value)
{
	unsigned int page;

	MUST(world->nfree > 0, "too many pages");
	page = world->free_pages[--world->nfree];
	MUST(world->nfillings < FILLINGS, "too many pages, one after the other");
	world->pages[page] =
		(struct page){ .state = (uint8_t)state, .value = value, .filling = (uint8_t)world->nfillings++ };
	return 2 * page;
}

static void filled(uint64_t content)
{
	PORT_CELL_WRITE(world->filled[world->pages[content / 2].filling], 1);
}

/* Whoever shows a page, or reads it, does so after it was filled. */
static void must_be_filled(uint64_t content)
{
	(void)PORT_CELL_READ(world->filled[world->pages[content / 2].filling]);
}

void fault_page_give(uint64_t content, enum page_state state)
{
	struct page *page = &world->pages[content / 2];

	MUST(page->state == state, "page %u is freed in state %u", (unsigned int)content / 2, page->state);
	MUST(page->mapped == 0, "page %u is freed while an address shows it", (unsigned int)content / 2);
	MUST(page->wired == 0, "page %u is freed while it is wired", (unsigned int)content / 2);
	page->state = FREED;
	page->value = 255;
	world->free_pages[world->nfree++] = (uint8_t)(content / 2);
}

static uint64_t page_get(const struct cleave_space_ops *ops)
{
	(void)ops;
	return fault_page_take(LIVE, 0);
}

static void page_free(const struct cleave_space_ops *ops, uint64_t page)
{
	(void)ops;
	fault_page_give(page, LIVE);
}

static void page_copy(const struct cleave_space_ops *ops, uint64_t from, uint64_t to)
{
	(void)ops;
	MUST(world->pages[from / 2].state != FREED, "a page that was freed is copied");
	must_be_filled(from);
	filled(to);
	world->pages[to / 2].value = world->pages[from / 2].value;
}

/* ---- Page tables ---- */

static uint64_t guard_word(void)
{
	return world->records[acting()].context->guard.word.word;
}

static void let_go(uint64_t old)
{
	if (old >> 4)
		world->pages[old >> 4].mapped--;
	if (old & HELD)
		world->pages[old >> 4].wired--;
}

static int enter(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t addr, uint64_t content,
		 struct cleave_anon_page *anon, unsigned int protection, unsigned int flags)
{
	unsigned int m = map_number(map), p = page_of(addr);
	struct cleave_word *translation = &world->translation[m][p];
	struct page *page = &world->pages[content / 2];
	uint64_t old, fresh;

	(void)ops;
	(void)anon;
	MUST(guard_word() & 1, "a page is entered without a guard");
	must_be_filled(content);
	if (world->replaces && m == 0 && p == 0 && page->state == OF_OBJECT)
		(void)PORT_CELL_READ(world->removed);
	fresh = content / 2 << 4 | protection | (flags & CLEAVE_ENTER_WIRED ? HELD : 0);
	old = flags & CLEAVE_ENTER_AHEAD ? 0 : translation->word;
	while (!PORT_CAS(translation, &old, fresh | (old >> 4 == content / 2 ? old & HELD : 0), PORT_ACQ_REL,
			 PORT_RELAXED))
		if (flags & CLEAVE_ENTER_AHEAD)
			return 0;
	if ((fresh & HELD) || (old >> 4 == content / 2 && (old & HELD)))
		page->wired++;
	MUST(page->state != FREED, "page %u is entered after it was freed", (unsigned int)content / 2);
	MUST(world->allowed[m][p] & ALLOW_ENTER, "a page is entered after its unmap has returned");
	MUST(!(protection & CLEAVE_PROT_WRITE) || (world->allowed[m][p] & ALLOW_WRITE),
	     "a page is entered writable after its protect has returned");
	page->mapped++;
	let_go(old);
	return 0;
}

static void remove_one(struct cleave_word *translation)
{
	let_go(PORT_EXCHANGE(translation, 0, PORT_ACQ_REL));
}

static void remove_range(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	(void)ops;
	for (uint64_t addr = start; addr < end; addr += SIM_PAGE)
		if (world->translation[map_number(map)][page_of(addr)].word)
			remove_one(&world->translation[map_number(map)][page_of(addr)]);
	if (world->replaces && map_number(map) == 0 && start == SIM_BASE)
		PORT_CELL_WRITE(world->removed, 1);
}

static void protect_one(struct cleave_word *translation, unsigned int protection)
{
	uint64_t seen = translation->word;

	while (!PORT_CAS(translation, &seen, seen & (~UINT64_C(15) | HELD | protection), PORT_ACQ_REL, PORT_RELAXED))
		;
}

static void protect_range(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
			  unsigned int protection)
{
	(void)ops;
	for (uint64_t addr = start; addr < end; addr += SIM_PAGE)
		if (world->translation[map_number(map)][page_of(addr)].word)
			protect_one(&world->translation[map_number(map)][page_of(addr)], protection);
}

static void each_of(uint64_t content, bool remove)
{
	for (unsigned int i = 0; i < MAPS * SLOTS; i++) {
		struct cleave_word *translation = &world->translation[i / SLOTS][i % SLOTS];

		while (translation->word >> 4 == content / 2) {
			uint64_t seen = translation->word, fresh = remove ? 0 : seen & ~(uint64_t)CLEAVE_PROT_WRITE;

			if (!PORT_CAS(translation, &seen, fresh, PORT_ACQ_REL, PORT_RELAXED))
				continue;
			if (!remove)
				break;
			let_go(seen);
		}
	}
}

static void remove_page(const struct cleave_space_ops *ops, uint64_t page)
{
	(void)ops;
	each_of(page, true);
}

static void protect_page(const struct cleave_space_ops *ops, uint64_t page)
{
	(void)ops;
	each_of(page, false);
}

/* ---- Object, swap, wiring ---- */

static uint64_t object_page(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write)
{
	(void)ops;
	(void)object;
	(void)write;
	return 2 * PORT_LOAD(&world->object[offset / SIM_PAGE], PORT_SEQ_CST);
}

static int object_fetch(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write)
{
	uint64_t page = fault_page_take(OF_OBJECT, world->object_value[offset / SIM_PAGE]), none = 0;

	(void)ops;
	(void)object;
	(void)write;
	if (!PORT_CAS(&world->object[offset / SIM_PAGE], &none, page / 2, PORT_SEQ_CST, PORT_SEQ_CST))
		fault_page_give(page, OF_OBJECT);
	return 0;
}

static void object_ref(const struct cleave_space_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)object;
	(void)flags;
	world->object_refs++;
}

static void object_unref(const struct cleave_space_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)object;
	(void)flags;
	MUST(world->object_refs-- > 0, "an object is dropped once too often");
}

static int page_out(const struct cleave_space_ops *ops, uint64_t page, uint64_t *token)
{
	unsigned int i = 0;

	(void)ops;
	MUST(world->pages[page / 2].mapped == 0, "a page is written out while an address shows it");
	must_be_filled(page);
	while (world->tokens[i])
		i++;
	world->tokens[i] = (uint8_t)(world->pages[page / 2].value + 1);
	*token = 2 * i + 1;
	return 0;
}

static void token_free(const struct cleave_space_ops *ops, uint64_t token)
{
	(void)ops;
	MUST(world->tokens[token / 2], "a token is freed twice");
	world->tokens[token / 2] = 0;
}

static int page_in(const struct cleave_space_ops *ops, uint64_t token, uint64_t page)
{
	MUST(world->tokens[token / 2], "a token is read after its end");
	filled(page);
	world->pages[page / 2].value = (uint8_t)(world->tokens[token / 2] - 1);
	token_free(ops, token);
	return 0;
}

static bool may_evict(const struct cleave_space_ops *ops, uint64_t page)
{
	(void)ops;
	return world->pages[page / 2].wired == 0;
}

static void unwire(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end)
{
	(void)ops;
	for (uint64_t addr = start; addr < end; addr += SIM_PAGE) {
		struct cleave_word *translation = &world->translation[map_number(map)][page_of(addr)];
		uint64_t seen = translation->word;

		while ((seen & HELD) && !PORT_CAS(translation, &seen, seen & ~HELD, PORT_ACQ_REL, PORT_RELAXED))
			;
		if (seen & HELD)
			world->pages[seen >> 4].wired--;
	}
}

void fault_embed(struct cleave_space_ops *ops)
{
	*ops = (struct cleave_space_ops){
		.calling_thread = calling_thread,
		.page_get = page_get,
		.page_free = page_free,
		.page_copy = page_copy,
		.object_page = object_page,
		.object_fetch = object_fetch,
		.object_ref = object_ref,
		.object_unref = object_unref,
		.enter = enter,
		.remove = remove_range,
		.protect = protect_range,
		.remove_page = remove_page,
		.protect_page = protect_page,
		.page_out = page_out,
		.page_in = page_in,
		.token_free = token_free,
		.may_evict = may_evict,
		.unwire = unwire,
	};
}
