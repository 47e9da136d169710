/* SPDX-License-Identifier: ISC */
#include "anon_node.h"

#include "anon_calls.h"

struct world *world;

/* ---- Memory ---- */

static void *memory_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	(void)memory;
	return PORT_LOAD(&world->drought, PORT_RELAXED) ? NULL : sim_memory.alloc(&sim_memory, size, align);
}

static void memory_free(const struct cleave_memory *memory, void *p, size_t size)
{
	(void)memory;
	sim_memory.free(&sim_memory, p, size);
}

const struct cleave_memory anon_memory = { memory_alloc, memory_free };

/* ---- Pages ---- */

static void release(const struct cleave_anon_ops *ops, uint64_t content)
{
	(void)ops;
	if (PORT_FETCH_ADD(&world->released[content / 2], 1, PORT_RELAXED))
		sim_fail("page %u is released twice", (unsigned int)(content / 2));
	/* Nobody reads it any more. */
	PORT_STORE(&world->page[content / 2], 0, PORT_RELAXED);
}

const struct cleave_anon_ops anon_ops = { release };

uint64_t page_take(uint8_t number, bool swapped)
{
	uint32_t page = PORT_FETCH_ADD(&world->next_page, 1, PORT_RELAXED) + 1;

	if (page >= PAGES)
		sim_fail("too many pages");
	PORT_STORE(&world->page[page], number, PORT_RELAXED);
	return (uint64_t)page * 2 + swapped;
}

static uint8_t page_number(uint64_t content)
{
	return (uint8_t)PORT_LOAD(&world->page[content / 2], PORT_ACQUIRE);
}

/* Write a page under its slot's mark, and enter it writable for the store; what it said before. */
static uint8_t page_write(uint64_t content, unsigned int store, uint8_t number)
{
	return (uint8_t)PORT_EXCHANGE(&world->page[content / 2], number | (uint64_t)(store + 1) << 8, PORT_ACQ_REL);
}

/* Take the store's write permission away; what the page says from now on, as long as it is shared. */
static uint8_t page_protect(uint64_t content, unsigned int store)
{
	uint64_t seen = PORT_LOAD(&world->page[content / 2], PORT_ACQUIRE);

	while (seen >> 8 == store + 1 &&
	       !PORT_CAS(&world->page[content / 2], &seen, seen & 0xff, PORT_ACQ_REL, PORT_ACQUIRE))
		;
	return (uint8_t)seen;
}

/*
 * A page is written in place only if no other store shows it any more: after all that was read through those.  (The
 * word of a page orders too much to tell.)
 */
static uint8_t page_read(uint64_t content, unsigned int store)
{
	(void)PORT_CELL_READ(world->shown[content / 2][store]);
	return page_number(content);
}

static uint8_t page_write_in_place(uint64_t content, unsigned int store, uint8_t number)
{
	for (unsigned int other = 0; other < STORES; other++)
		if (other != store)
			PORT_CELL_WRITE(world->shown[content / 2][other], 1);
	return page_write(content, store, number);
}

void anon_map(unsigned int store, unsigned int slot)
{
	uint64_t content = cleave_anon_page_content(cleave_anon_lookup_rcu(world->stores[store], slot));

	world->translation[store][slot].word = content / 2;
	world->page[content / 2].word |= (uint64_t)(store + 1) << 8;
}

/* ---- Calls ---- */

static struct cleave_anon_page *take_anon(struct cleave_anon_context *context, uint8_t number)
{
	uint64_t content = page_take(number, false);
	struct cleave_anon_page *anon = cleave_anon_page_make(context, content);

	if (!anon)
		release(&anon_ops, content);
	return anon;
}

/* A read fault: the page is read under a guard. */
static void read_slot(struct cleave_anon_context *context, struct record *record)
{
	struct cleave_anon *store = world->stores[record->call.store];
	struct cleave_anon_page *anon;
	int result;

	for (;;) {
		result = cleave_anon_guard(context, store, record->call.slot, record->call.slot);
		if (!result) {
			result = cleave_anon_try_lookup(context, store, record->call.slot, &anon);
			if (!result)
				break;
			cleave_anon_unguard(context);
		}
		if (result == -EINVAL) {
			record->answer = NO_SLOT;
			return;
		}
		cleave_anon_wait(context);
	}
	record->answer = anon ? page_read(cleave_anon_page_content(anon), record->call.store) : 0;
	cleave_anon_unguard(context);
}

/* A lookup alone: what it finds is there. */
static void look_at(unsigned int thread, struct record *record)
{
	struct cleave_anon_page *anon;

	sim_ops.enter(&world->domain, &world->threads[thread]);
	anon = cleave_anon_lookup_rcu(world->stores[record->call.store], record->call.slot);
	record->answer = anon != NULL;
	if (anon && !cleave_anon_page_content(anon))
		sim_fail("an anon without a page");
	sim_ops.leave(&world->domain, &world->threads[thread]);
}

/*
 * Who was first is pinned, but a pin is no share: once the slot has another anon, the other sharer may write that page
 * in place.  So what stands there is read under a guard, after the fill; if nothing does by then, it is filled again.
 */
static void fill(struct cleave_anon_context *context, struct record *record)
{
	struct cleave_anon_page *anon = take_anon(context, record->call.value), *winner;
	int result;

	record->failed = !anon;
	if (!anon)
		return;
	do {
		record->answer = 0;
		result = cleave_anon_fill(context, world->stores[record->call.store], record->call.slot, anon, &winner);
		if (result == -EEXIST) {
			cleave_anon_page_unpin(context, winner);
			read_slot(context, record);
		}
	} while (result == -EEXIST && !record->answer);
	if (result == 0)
		return;
	record->failed = result == -ENOMEM;
	if (result == -EINVAL)
		record->answer = NO_SLOT;
	else if (result != -ENOMEM && result != -EEXIST)
		sim_fail("fill: %d", result);
	cleave_anon_page_drop(context, anon);
}

static void write_slot(struct cleave_anon_context *context, struct record *record)
{
	struct cleave_anon *store = world->stores[record->call.store];
	uint8_t s = record->call.store, slot = record->call.slot;
	struct cleave_anon_page *fresh = take_anon(context, 0), *old; /* says something once it is installed */
	struct cleave_word *translation = &world->translation[s][slot];
	struct cleave_anon_busy busy;
	bool in_place;
	int result;

	record->failed = !fresh;
	if (!fresh)
		return;
	for (;;) {
		result = cleave_anon_guard(context, store, slot, slot);
		if (!result) {
			result = cleave_anon_try_busy(context, store, slot, &busy);
			if (!result)
				break;
			cleave_anon_unguard(context);
		}
		if (result == -EAGAIN) {
			cleave_anon_wait(context);
		} else if (result != -ENOMEM || cleave_anon_prepare(context, store)) {
			if (result != -ENOMEM && result != -EINVAL)
				sim_fail("busy: %d", result);
			cleave_anon_page_drop(context, fresh);
			record->failed = result == -ENOMEM;
			record->answer = NO_SLOT;
			return;
		}
	}
	PORT_CELL_WRITE(world->written[sim_self()], 1);
	old = busy.anon;
	in_place = old && cleave_anon_page_shares(old) == 1 &&
		   !CLEAVE_ANON_IS_SWAPPED(cleave_anon_page_content(old));
	if (in_place) {
		record->answer = page_write_in_place(cleave_anon_page_content(old), s, record->call.value);
		PORT_STORE(translation, cleave_anon_page_content(old) / 2, PORT_RELEASE);
	} else {
		cleave_anon_wait_guards(context, store, slot, slot);
		PORT_STORE(translation, 0, PORT_RELEASE);
		record->answer = old ? page_protect(cleave_anon_page_content(old), s) : 0;
		cleave_anon_install(context, &busy, fresh);
		page_write(cleave_anon_page_content(fresh), s, record->call.value);
		PORT_STORE(translation, cleave_anon_page_content(fresh) / 2, PORT_RELEASE);
	}
	cleave_anon_release(context, &busy, in_place ? old : fresh);
	cleave_anon_unguard(context);
	if (in_place)
		cleave_anon_page_drop(context, fresh);
	else if (old)
		cleave_anon_page_drop(context, old);
}

static void poke(struct cleave_anon_context *context, struct record *record)
{
	uint64_t page = PORT_LOAD(&world->translation[record->call.store][record->call.slot], PORT_ACQUIRE), seen;

	if (page) {
		seen = PORT_LOAD(&world->page[page], PORT_ACQUIRE);
		if (seen >> 8 == record->call.store + 1u &&
		    PORT_CAS(&world->page[page], &seen, (seen & ~UINT64_C(0xff)) | record->call.value, PORT_ACQ_REL,
			     PORT_ACQUIRE))
			return;
	}
	write_slot(context, record);
}

static void remove_slot(struct cleave_anon_context *context, struct record *record)
{
	uint8_t s = record->call.store, slot = record->call.slot;
	struct cleave_anon_page *anon;
	int result = cleave_anon_remove(context, world->stores[s], slot, &anon);

	record->answer = 0;
	record->failed = result == -ENOMEM;
	if (result == -EINVAL)
		record->answer = NO_SLOT;
	else if (result && result != -ENOMEM && result != -ENOENT)
		sim_fail("remove: %d", result);
	if (!result) {
		record->answer = page_number(cleave_anon_page_content(anon));
		cleave_anon_wait_guards(context, world->stores[s], slot, slot);
		cleave_anon_page_drop(context, anon);
	}
}

/*
 * As for a page that nobody writes meanwhile: the slot is not marked, and its share is dropped when guards have gone.
 */
static void replace_slot(struct cleave_anon_context *context, struct record *record)
{
	uint8_t s = record->call.store, slot = record->call.slot;
	struct cleave_anon_page *fresh = take_anon(context, record->call.value), *old = NULL;
	int result;

	record->answer = 0;
	record->failed = !fresh;
	if (!fresh)
		return;
	for (;;) {
		result = cleave_anon_guard(context, world->stores[s], slot, slot);
		if (!result) {
			result = cleave_anon_try_lookup(context, world->stores[s], slot, &old);
			if (!result && old)
				result = cleave_anon_try_replace(context, world->stores[s], slot, old, fresh);
			if (!result && old)
				record->answer = page_number(cleave_anon_page_content(old));
			cleave_anon_unguard(context);
		}
		if (result == -EAGAIN)
			cleave_anon_wait(context);
		else if (result != -EEXIST && result != -ENOENT &&
			 (result != -ENOMEM || cleave_anon_prepare(context, world->stores[s])))
			break;
	}
	if (result == -EINVAL)
		record->answer = NO_SLOT;
	else if (result && result != -ENOMEM)
		sim_fail("replace: %d", result);
	record->failed = result == -ENOMEM;
	if (!result && old) {
		cleave_anon_wait_guards(context, world->stores[s], slot, slot);
		cleave_anon_page_drop(context, old);
	} else {
		cleave_anon_page_drop(context, fresh);
	}
}

static void clone_store(struct cleave_anon_context *context, struct record *record)
{
	uint8_t s = record->call.store;
	struct cleave_anon *clone;

	record->failed = cleave_anon_clone_begin(context, &world->stores[s], &clone, 1) != 0;
	if (record->failed)
		return;
	cleave_anon_clone_end(context, &world->stores[s], &clone, 1);
	for (uint32_t page = 1; page <= PORT_LOAD(&world->next_page, PORT_ACQUIRE); page++)
		page_protect((uint64_t)page * 2, s);
	cleave_anon_clone_done(context, &world->stores[s], 1);
	world->stores[record->call.value] = clone;
}

/* One more or fewer window.  Its translations are the caller's business: there are none. */
static int change_windows(struct cleave_anon_context *context, struct cleave_anon *store, const struct call *call,
			  int delta)
{
	struct cleave_anon_change change;
	int result = cleave_anon_windows_begin(&change, context, store, call->slot, call->last);

	if (result)
		return result;
	result = cleave_anon_windows_put(&change, call->slot, call->last, delta);
	if (!result)
		result = cleave_anon_windows_prepare(&change);
	if (result) {
		cleave_anon_windows_abort(&change);
		return result;
	}
	cleave_anon_windows_commit(&change);
	/* Then what the thread kept for such changes is gone, too. */
	if (PORT_LOAD(&world->drought, PORT_RELAXED)) {
		cleave_thread_exit(context->self);
		cleave_thread_init(context->self, &world->domain);
	}
	cleave_anon_windows_wipe(&change);
	return 0;
}

static void clone_child(struct cleave_anon_context *context, struct record *record)
{
	clone_store(context, record);
	if (record->failed)
		return;
	if (!change_windows(context, world->stores[record->call.value], &record->call, 1) &&
	    !cleave_anon_wipe_outside(context, world->stores[record->call.value]))
		return;
	/* No memory: there is no child. */
	cleave_anon_unref(context, world->stores[record->call.value]);
	world->stores[record->call.value] = NULL;
	record->failed = true;
}

static void resize(struct cleave_anon_context *context, struct record *record)
{
	struct cleave_anon *store = world->stores[record->call.store];
	uint64_t n = record->call.slot, old = cleave_anon_slots(store);
	int result = n < old ? cleave_anon_truncate(context, store, n) : n > old ? cleave_anon_extend(store, n) : 0;

	record->answer = (uint8_t)old;
	record->failed = result == -ENOMEM;
	if (result && result != -ENOMEM)
		sim_fail("resize: %d", result);
}

static void clone_both(struct cleave_anon_context *context, struct record *record)
{
	struct cleave_anon *clones[2];

	record->failed = cleave_anon_clone_begin(context, world->stores, clones, 2) != 0;
	if (record->failed)
		return;
	cleave_anon_clone_end(context, world->stores, clones, 2);
	for (uint32_t page = 1; page <= PORT_LOAD(&world->next_page, PORT_ACQUIRE); page++)
		for (unsigned int s = 0; s < 2; s++)
			page_protect((uint64_t)page * 2, s);
	cleave_anon_clone_done(context, world->stores, 2);
	world->stores[record->call.value] = clones[0];
	world->stores[record->call.value + SECOND] = clones[1];
}

/* Each step in a section of its own. */
static void iterate(unsigned int thread, struct record *record)
{
	struct cleave_anon *store = world->stores[record->call.store];
	struct cleave_anon_visit visit;
	uint64_t slot = record->call.slot;
	bool found;

	record->answer = 0;
	do {
		sim_ops.enter(&world->domain, &world->threads[thread]);
		found = cleave_anon_next_rcu(store, &slot, &visit, 1) == 1 && visit.slot <= record->call.last;
		if (found && (record->answer >> visit.slot))
			sim_fail("iteration: slot %u comes late, or twice", (unsigned int)visit.slot);
		if (found)
			record->answer |= (uint8_t)(1u << visit.slot);
		sim_ops.leave(&world->domain, &world->threads[thread]);
	} while (found);
}

static int copy_page(struct cleave_anon_copier *copier, uint64_t from, uint64_t *content)
{
	(void)copier;
	*content = page_take(page_number(from), false);
	return 0;
}

static void undo_copy(struct cleave_anon_copier *copier, uint64_t content)
{
	(void)copier;
	release(&anon_ops, content);
}

static void copy_now(struct cleave_anon_context *context, struct record *record)
{
	struct cleave_anon *store = world->stores[record->call.store];
	struct cleave_anon_copier copier = { copy_page, undo_copy };

	record->failed = cleave_anon_cow_now(context, store, record->call.slot, record->call.last, &copier, NULL) != 0;
	for (unsigned int slot = record->call.slot; slot <= record->call.last && !record->failed; slot++) {
		struct cleave_anon_page *anon = cleave_anon_lookup_rcu(store, slot); /* nobody takes it away */

		if (anon && cleave_anon_page_shares(anon) != 1)
			sim_fail("slot %u still shares its anon", slot);
	}
}

static bool stands_still(const struct cleave__anon_node *node, unsigned int level)
{
	if (PORT_LOAD(&node->lock, PORT_RELAXED))
		return false;
	for (unsigned int i = 0; i < CLEAVE__ANON_FANOUT; i++) {
		uint64_t word = PORT_LOAD(&node->slot[i], PORT_RELAXED);

		if (word & CLEAVE__ANON_MARKS)
			return false;
		if (level && word && !stands_still(cleave__anon_child(word), level - 1))
			return false;
	}
	return true;
}

static void stop_all(struct cleave_anon_context *context, struct record *record)
{
	struct cleave_anon_fork fork;

	record->failed = cleave_anon_prefork(&fork, context) != 0;
	if (record->failed)
		return;
	for (unsigned int s = 0; s < 2 && world->stores[s]; s++) {
		uint64_t root = PORT_LOAD(&world->stores[s]->root, PORT_RELAXED);

		if (root && !stands_still(cleave__anon_node_of(root), cleave__anon_level_of(root)))
			sim_fail("a lock or a mark around fork()");
	}
	/* fork() reads all memory. */
	for (unsigned int t = 0; t < SIM_THREADS; t++)
		(void)PORT_CELL_READ(world->written[t]);
	cleave_anon_postfork_parent(&fork);
}

/* What is done under an anon's lock happens one after the other. */
static void lock_page(unsigned int thread, struct record *record)
{
	struct cleave_anon_context *context = world->contexts[thread];
	struct cleave_anon_page *anon;
	int result;

	do {
		sim_ops.enter(&world->domain, &world->threads[thread]);
		anon = cleave_anon_lookup_rcu(world->stores[record->call.store], record->call.slot);
		result = anon ? cleave_anon_page_trylock_rcu(context, anon) : 0;
		if (anon && !result) {
			PORT_CELL_WRITE(world->locked[cleave_anon_page_content(anon) / 2], 1);
			cleave_anon_page_unlock(context, anon);
		}
		sim_ops.leave(&world->domain, &world->threads[thread]);
		if (result)
			cleave_anon_wait(context);
	} while (result);
}

static void reopen(unsigned int thread, struct record *record)
{
	cleave_anon_context_close(world->contexts[thread]);
	world->contexts[thread] = cleave_anon_context_open(&world->anons, &world->threads[thread]);
	record->failed = !world->contexts[thread];
}

static bool match(struct cleave_anon_walker *walker, uint64_t content)
{
	(void)walker;
	return CLEAVE_ANON_IS_SWAPPED(content);
}

static int visit(struct cleave_anon_walker *walker, uint64_t content, uint64_t *fresh)
{
	(void)walker;
	if (PORT_FETCH_ADD(&world->visits[content / 2], 1, PORT_RELAXED))
		sim_fail("token %u is visited twice", (unsigned int)(content / 2));
	/* It keeps its number: tokens are not released. */
	*fresh = content ^ 1;
	return 0;
}

void anon_call(unsigned int thread, struct record *record)
{
	struct cleave_anon_context *context = world->contexts[thread];
	struct cleave_anon_walker walker = { .match = match, .visit = visit };
	const struct call *call = &record->call;

	record->failed = false;
	/* The clone, or the context, that a thread could not make. */
	if (!world->stores[call->store] || !context) {
		record->failed = true;
		return;
	}
	switch (call->kind) {
	case READ:
		read_slot(context, record);
		break;
	case LOOK:
		look_at(thread, record);
		break;
	case FILL:
		fill(context, record);
		break;
	case WRITE:
		write_slot(context, record);
		break;
	case POKE:
		poke(context, record);
		break;
	case REMOVE:
		remove_slot(context, record);
		break;
	case REPLACE:
		replace_slot(context, record);
		break;
	case WIPE:
		record->failed = cleave_anon_wipe(context, world->stores[call->store], call->slot,
						  call->last == SLOTS - 1 ? UINT64_MAX : call->last) != 0;
		break;
	case CLONE:
		clone_store(context, record);
		break;
	case FLUSH:
		cleave_anon_flush(context);
		break;
	case WALK:
		if (cleave_anon_walk(context, &walker))
			sim_fail("walk");
		break;
	case MAP:
	case UNMAP:
		record->failed =
			change_windows(context, world->stores[call->store], call, call->kind == MAP ? 1 : -1) != 0;
		break;
	case CHILD:
		clone_child(context, record);
		break;
	case RESIZE:
		resize(context, record);
		break;
	case DROUGHT:
		PORT_STORE(&world->drought, 1, PORT_RELAXED);
		break;
	case BOTH:
		clone_both(context, record);
		break;
	case END:
		cleave_anon_unref(context, world->stores[call->store]);
		world->stores[call->store] = NULL;
		break;
	case ITERATE:
		iterate(thread, record);
		break;
	case COPY:
		copy_now(context, record);
		break;
	case STOP:
		stop_all(context, record);
		break;
	case REOPEN:
		reopen(thread, record);
		break;
	case LOCK:
		lock_page(thread, record);
		break;
	case LIMIT:
	case NOTHING:
	case KINDS:
		break;
	}
}

/* ---- The end ---- */

void anon_state(struct state *state)
{
	memset(state, 0, sizeof(*state));
	for (unsigned int s = 0; s < STORES; s++)
		state->size[s] = world->stores[s] ? (uint8_t)cleave_anon_slots(world->stores[s]) : 0;
	for (unsigned int s = 0; s < STORES; s++)
		for (unsigned int slot = 0; world->stores[s] && slot < SLOTS; slot++) {
			struct cleave_anon_page *anon = cleave_anon_lookup_rcu(world->stores[s], slot);

			state->value[s][slot] = anon ? page_number(cleave_anon_page_content(anon)) : 0;
			state->windows[s][slot] = (uint8_t)cleave_anon_windows_rcu(world->stores[s], slot);
		}
}

static bool has_empty(const struct cleave__anon_node *node, unsigned int level)
{
	for (unsigned int i = 0; level && i < CLEAVE__ANON_FANOUT; i++)
		if (node->slot[i].word && has_empty(cleave__anon_child(node->slot[i].word), level - 1))
			return true;
	return cleave__anon_node_empty(node);
}

const char *anon_empty(void)
{
	for (unsigned int s = 0; s < STORES; s++) {
		uint64_t root = world->stores[s] ? world->stores[s]->root.word : 0;

		if (root && has_empty(cleave__anon_node_of(root), cleave__anon_level_of(root)))
			return "an empty node is left";
	}
	return NULL;
}

const char *anon_end(void)
{
	for (unsigned int s = 0; s < STORES; s++)
		if (world->stores[s])
			cleave_anon_unref(world->contexts[THREADS], world->stores[s]);
	for (unsigned int t = 0; t <= THREADS; t++)
		if (world->contexts[t])
			cleave_anon_context_close(world->contexts[t]);
	if (world->anons.stores)
		return "a store is left";
	if (world->anons.nodes.word)
		return "a node is left";
	if (world->anons.anons.word)
		return "an anon is left";
	for (unsigned int page = 1; page <= world->next_page.word; page++)
		if (world->released[page].word != 1)
			return "a page is left";
	return NULL;
}
