/* SPDX-License-Identifier: ISC */
/*
 * What the fault path meets that another thread does to the same store meanwhile: brought about by the domain's and the
 * embedder's callbacks, without threads.  What another thread holds is let go when the call parks for it.
 */
#include "fault_one.h"

#include "anon_context.h"

static struct cleave_ops ops; /* the domain's, but for what a test replaces */
static const struct cleave_ops *plain;
static struct cleave_thread other_self;
static struct cleave_anon_context *other; /* the other thread's */

static int begin_two(void **state)
{
	begin(state);
	plain = one.domain.domain.ops;
	ops = *plain;
	one.domain.domain.ops = &ops;
	cleave_thread_init(&other_self, &one.domain.domain);
	other = cleave_anon_context_open(&one.world.space.anons, &other_self);
	return other ? 0 : -1;
}

static int end_two(void **state)
{
	cleave_anon_context_close(other);
	cleave_thread_exit(&other_self);
	return end(state);
}

/* The store of a page, and its slot there. */
static struct cleave_anon *store_of(unsigned int n, uint64_t *slot)
{
	struct cleave_map_entry entry;

	plain->enter(&one.domain.domain, &other_self);
	assert_true(cleave_map_lookup_rcu(&one.map, AT(n), &entry));
	plain->leave(&one.domain.domain, &other_self);
	*slot = (AT(n) + entry.attributes.store_delta) / PAGE;
	return entry.attributes.store;
}

static struct cleave_anon_page *anon_of(struct cleave_anon *store, uint64_t slot)
{
	struct cleave_anon_page *anon;

	plain->enter(&one.domain.domain, &other_self);
	anon = cleave_anon_lookup_rcu(store, slot);
	plain->leave(&one.domain.domain, &other_self);
	return anon;
}

/* ---- Advice ---- */

enum deed {
	EMPTIES,    /* a slot */
	CLONES,	    /* the store, from the first step to the last; the caller has no nodes left to copy a path */
	CLONES_ALL, /* the same, and there is no memory either */
	IS_CLONING, /* begins, and ends when somebody waits for it */
	MOVES,	    /* a page: it is in transit until somebody waits for it */
	WRITES,	    /* a page: its slot is busy until somebody waits for it */
	DEEDS
};

static struct {
	enum deed deed;
	unsigned int page;
	unsigned int left; /* sections of the call until then */
	bool done;
	bool holds;
	struct cleave_anon *store; /* of the page, and its slot's number */
	uint64_t number;
	struct cleave_anon *clone;
	struct cleave_anon_page *anon;
	struct cleave_word *slot;
} meanwhile;

/* The word of a slot: nobody else is there. */
static struct cleave_word *word_of(struct cleave_anon *store, uint64_t slot)
{
	struct cleave__anon_node *node = cleave__anon_node_of(store->root.word);
	unsigned int level = cleave__anon_level_of(store->root.word);

	for (; level > 0; level--)
		node = cleave__anon_child(node->slot[cleave__anon_index(slot, level)].word);
	return &node->slot[cleave__anon_index(slot, 0)];
}

static void let_go(void)
{
	if (!meanwhile.holds)
		return;
	meanwhile.holds = false;
	switch (meanwhile.deed) {
	case CLONES:
	case CLONES_ALL:
	case IS_CLONING:
		cleave_anon_clone_end(other, &meanwhile.store, &meanwhile.clone, 1);
		cleave_anon_clone_done(other, &meanwhile.store, 1);
		break;
	case MOVES:
		cleave_anon_transit_end(other, meanwhile.anon, cleave_anon_page_content(meanwhile.anon));
		break;
	case WRITES:
		meanwhile.slot->word &= ~(uint64_t)CLEAVE__ANON_MARKS;
		break;
	default:
		break;
	}
}

static void take_nodes(struct cleave_anon_context *context)
{
	const struct cleave_memory *memory = one.domain.domain.memory;

	for (; context->nnodes > 0; context->nnodes--) {
		struct cleave__anon_node *node = cleave__anon_pop(&context->nodes);

		memory->free(memory, node, sizeof(*node));
		one.world.space.anons.nodes.word--;
	}
}

static void act(void)
{
	struct cleave_anon_page *anon;
	uint64_t slot = meanwhile.number;

	meanwhile.done = true;
	anon = anon_of(meanwhile.store, slot);
	switch (meanwhile.deed) {
	case EMPTIES:
		if (!anon)
			break;
		one.world.ops.remove(&one.world.ops, &one.map, AT(meanwhile.page), AT(meanwhile.page + 1));
		assert_int_equal(cleave_anon_remove(other, meanwhile.store, slot, &anon), 0);
		cleave_anon_page_drop(other, anon);
		break;
	case CLONES:
	case CLONES_ALL:
	case IS_CLONING:
		assert_int_equal(cleave_anon_clone_begin(other, &meanwhile.store, &meanwhile.clone, 1), 0);
		meanwhile.holds = true;
		if (meanwhile.deed != IS_CLONING) {
			let_go();
			take_nodes(one.thread.context);
		}
		if (meanwhile.deed == CLONES_ALL)
			counting_memory_grant(&one.domain.memory, 0);
		break;
	case MOVES:
		meanwhile.anon = anon;
		meanwhile.holds = anon && !cleave_anon_transit_begin_rcu(other, anon, cleave_anon_page_content(anon));
		break;
	default: /* WRITES */
		meanwhile.slot = anon ? word_of(meanwhile.store, slot) : NULL;
		meanwhile.holds = anon && !(meanwhile.slot->word & CLEAVE__ANON_MARKS);
		if (meanwhile.holds)
			meanwhile.slot->word |= CLEAVE__ANON_BUSY;
		break;
	}
}

static void leave_and_act(struct cleave_domain *domain, struct cleave_thread *self)
{
	plain->leave(domain, self);
	/* Under its guard the caller has marked what the deed would wait for; and a clone waits for wipes. */
	if (self == &one.domain.self && !meanwhile.done && !cleave__guard_is_set(&one.thread.context->guard) &&
	    !meanwhile.store->wipes.word && meanwhile.left-- == 0)
		act();
}

static void parks(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *word, uint32_t seen)
{
	(void)domain;
	(void)self;
	(void)word;
	(void)seen;
	CHECK(meanwhile.holds, "the only thread parks: it waits for itself");
	let_go();
}

/* After the n-th section of the call. */
static bool advice_beside(enum deed deed, unsigned int page, unsigned int n, unsigned int advice)
{
	int result;
	bool met;

	check_context("deed %u on page %u, after section %u, advice %#x", deed, page, n, advice);
	map_private(0, 8, RW);
	for (unsigned int i = 0; i < 4; i++)
		write_at(&one.map, i, 10 + i);
	memset(&meanwhile, 0, sizeof(meanwhile));
	meanwhile.deed = deed;
	meanwhile.page = page;
	meanwhile.left = n;
	meanwhile.store = store_of(page, &meanwhile.number);
	ops.leave = leave_and_act;
	ops.park = parks;
	result = cleave_map_clean(&one.map, &one.thread.map, AT(0), AT(8), advice);
	assert_true(result == 0 || (result == -ENOMEM && deed == CLONES_ALL));
	counting_memory_grant(&one.domain.memory, GRANT_ALL);
	met = meanwhile.done;
	meanwhile.done = true;
	let_go();
	ops = *plain;
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t value = read_at(&one.map, i);

		assert_true(value == 0 || value == 10 + i);
		assert_true(value == 0 || !(advice & CLEAVE_CLEAN_FREE) || result);
		assert_true(value != 0 || (advice & CLEAVE_CLEAN_FREE) || (deed == EMPTIES && i == page));
	}
	unmap(&one.map, 0, 8);
	if (meanwhile.clone)
		cleave_anon_unref(other, meanwhile.clone);
	cleave_space_flush(&one.thread);
	cleave_anon_flush(other);
	return met;
}

static void advice_meets_what_others_do_to_the_store(void **state)
{
	static const unsigned int advice[] = { CLEAVE_CLEAN_FREE, CLEAVE_CLEAN_DEACTIVATE };

	(void)state;
	for (enum deed deed = EMPTIES; deed < DEEDS; deed++)
		for (unsigned int page = 0; page < 4; page++)
			for (unsigned int a = 0; a < 2; a++)
				for (unsigned int n = 0; advice_beside(deed, page, n, advice[a]); n++)
					;
}

/* ---- What an embedder puts itself ---- */

static int put(unsigned int from, unsigned int to, void *store, unsigned int flags)
{
	struct cleave_map_attributes attributes = {
		.store = store,
		.store_delta = 0 - AT(from),
		.flags = CLEAVE_MAP_COW | flags,
		.protection = RW,
		.max_protection = CLEAVE_PROT_ALL,
		.inheritance = CLEAVE_INHERIT_COPY,
	};
	struct cleave_map_txn txn;
	int error;

	assert_int_equal(cleave_map_begin(&txn, &one.map, &one.thread.map, AT(from), AT(to)), 0);
	error = cleave_map_put(&txn, AT(from), AT(to), &attributes);
	if (!error)
		error = cleave_map_prepare(&txn);
	if (error) {
		cleave_map_abort(&txn);
		return error;
	}
	return cleave_map_commit(&txn);
}

static void what_has_no_pages_faults(void **state)
{
	struct cleave_anon *store;

	(void)state;
	assert_int_equal(cleave_anon_create(one.thread.context, 4, &store), 0);
	assert_int_equal(put(0, 8, store, 0), 0); /* the store ends in the middle */
	assert_int_equal(put(8, 12, NULL, 0), 0);
	write_at(&one.map, 2, 2);
	assert_int_equal(touch(&one.map, 6, CLEAVE_PROT_WRITE), -EFAULT);
	assert_int_equal(touch(&one.map, 6, CLEAVE_PROT_READ), -EFAULT);
	assert_int_equal(touch(&one.map, 10, CLEAVE_PROT_WRITE), -EFAULT);
	assert_int_equal(touch(&one.map, 10, CLEAVE_PROT_READ), -EFAULT);
	cleave_anon_unref(one.thread.context, store);
}

/* It would need a copy, if it had no store. */
static void a_store_is_not_replaced_to_be_wired(void **state)
{
	struct cleave_anon *store;
	uint64_t slot;

	(void)state;
	assert_int_equal(cleave_anon_create(one.thread.context, 8, &store), 0);
	assert_int_equal(put(0, 8, store, CLEAVE_MAP_NEEDS_COPY), 0);
	assert_int_equal(cleave_map_wire(&one.map, &one.thread.map, AT(0), AT(8)), 0);
	assert_ptr_equal(store_of(3, &slot), store);
	cleave_anon_unref(one.thread.context, store);
}

/* The last window of the slots has gone, and they are to be wiped: no new one comes before that. */
static void no_window_over_slots_that_die(void **state)
{
	struct cleave_anon_change change;
	struct cleave_anon *store;

	(void)state;
	assert_int_equal(cleave_anon_create(one.thread.context, 8, &store), 0);
	for (int delta = 1; delta >= -1; delta -= 2) {
		assert_int_equal(cleave_anon_windows_begin(&change, other, store, 0, 7), 0);
		assert_int_equal(cleave_anon_windows_put(&change, 0, 7, delta), 0);
		assert_int_equal(cleave_anon_windows_prepare(&change), 0);
		cleave_anon_windows_commit(&change);
		if (delta < 0)
			assert_int_equal(put(0, 8, store, 0), -EBUSY);
		cleave_anon_windows_wipe(&change);
	}
	assert_int_equal(put(0, 8, store, 0), 0);
	write_at(&one.map, 2, 2);
	cleave_anon_unref(one.thread.context, store);
}

/* A slot that nothing is in yet: nobody has a page to deactivate. */
static void an_anon_without_content_is_passed_over(void **state)
{
	struct cleave_anon_page *anon;
	struct cleave_anon *store;

	(void)state;
	assert_int_equal(cleave_anon_create(one.thread.context, 8, &store), 0);
	assert_int_equal(put(0, 8, store, 0), 0);
	anon = cleave_anon_page_make(other, 0);
	assert_int_equal(cleave_anon_fill(other, store, 5, anon, NULL), 0);
	assert_int_equal(cleave_map_clean(&one.map, &one.thread.map, AT(0), AT(8), CLEAVE_CLEAN_DEACTIVATE), 0);
	assert_int_equal(cleave_anon_page_content(anon), 0);
	cleave_anon_unref(one.thread.context, store);
}

/* ---- A store is made ---- */

static struct cleave_map hasty;
static struct cleave_map_thread hasty_owner;
static unsigned int allocations; /* left until its owner lets it go */

static void *alloc_and_unbusy(const struct cleave_memory *self, size_t size, size_t align)
{
	(void)self;
	if (allocations > 0 && --allocations == 0)
		cleave_map_unbusy(&hasty, &hasty_owner);
	return one.domain.memory.memory.alloc(&one.domain.memory.memory, size, align);
}

static void free_plainly(const struct cleave_memory *self, void *at, size_t size)
{
	(void)self;
	one.domain.memory.memory.free(&one.domain.memory.memory, at, size);
}

/* A map that does not sleep refuses the store while it is busy: the fault tries again until it is not. */
static void a_store_for_a_map_that_does_not_sleep(void **state)
{
	struct cleave_map_config config = {
		.min = BASE, .max = AT(PAGES), .page_shift = 12, .flags = CLEAVE_MAP_NO_SLEEP
	};
	struct cleave_memory memory = { .alloc = alloc_and_unbusy, .free = free_plainly };
	struct cleave_map_request request = fault_request(AT(0), 8, RW);

	(void)state;
	cleave_map_thread_init(&hasty_owner, &one.world.space.maps, &other_self);
	assert_int_equal(cleave_map_init(&hasty, &one.thread.map, &config), 0);
	fault_table_add(&one.world, &hasty, BASE, PAGES);
	assert_int_equal(cleave_map_map(&hasty, &one.thread.map, &request), 0);
	cleave_map_busy(&hasty, &hasty_owner);
	one.domain.domain.memory = &memory;
	allocations = 200;
	write_at(&hasty, 3, 3);
	assert_int_equal(allocations, 0);
	one.domain.domain.memory = &one.domain.memory.memory;
	assert_int_equal(read_at(&hasty, 3), 3);
	unmap(&hasty, 0, PAGES);
	cleave_map_destroy(&hasty, &one.thread.map);
	fault_table_drop(&one.world, &hasty);
	cleave_map_thread_exit(&hasty_owner);
}

/* ---- Neighbours ---- */

static void a_neighbour_that_is_not_entered_does_not_matter(void **state)
{
	struct sim_object *object = fault_object(&one.world, 1000000, 64, false);
	uint64_t ahead = one.thread.counters.ahead;

	(void)state;
	map_object(0, 64, object, RW, false);
	advise(0, 64, CLEAVE_ADVICE_SEQUENTIAL);
	assert_int_equal(touch(&one.map, 100, CLEAVE_PROT_READ), -EFAULT); /* it has left a spare page behind */
	one.world.fail_after.word = 1;
	assert_int_equal(touch(&one.map, 20, CLEAVE_PROT_READ), 0);
	one.world.fail_after.word = GRANT_ALL;
	for (unsigned int i = 0; i < 64; i++)
		assert_true((page_shown(&one.map, i) != 0) == (i == 20));
	assert_true(one.thread.counters.ahead == ahead);
	fault_object_put(&one.world, object);
}

/* ---- Faults ---- */

static void wait_for_nobody(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *word,
			    uint32_t seen)
{
	(void)domain;
	(void)self;
	(void)word;
	(void)seen;
	CHECK(cleave__guard_is_set(&other->guard), "the only thread parks: it waits for itself");
	cleave__guard_clear(&one.world.space.anons.guards, &other->guard);
}

/* A fault that names no store, because it found none, is waited for by who fills its slot now, but not beside it. */
static void a_fault_without_a_store_is_waited_for(void **state)
{
	static const struct {
		unsigned int from, to, page; /* the guard's pages, and the one that is written */
		bool meets;
	} faults[] = { { 0, 3, 4, false }, { 2, 6, 5, true }, { 5, 9, 3, false }, { 7, 7, 7, true } };
	struct sim_object *object = fault_object(&one.world, 1000000, 16, false);

	(void)state;
	map_object(0, 16, object, RW, false);
	write_at(&one.map, 12, 1); /* now there is a store */
	ops.park = wait_for_nobody;
	for (unsigned int i = 0; i < 4; i++) {
		cleave__guard_set(&other->guard, &one.map, NULL, AT(faults[i].from) / PAGE, AT(faults[i].to) / PAGE, 0);
		assert_int_equal(touch(&one.map, faults[i].page, CLEAVE_PROT_WRITE), 0);
		assert_true(cleave__guard_is_set(&other->guard) == !faults[i].meets);
		if (!faults[i].meets)
			cleave__guard_clear(&one.world.space.anons.guards, &other->guard);
	}
	ops.park = plain->park;
	fault_object_put(&one.world, object);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_has_no_pages_faults, begin_two, end_two),
		cmocka_unit_test_setup_teardown(a_store_is_not_replaced_to_be_wired, begin_two, end_two),
		cmocka_unit_test_setup_teardown(no_window_over_slots_that_die, begin_two, end_two),
		cmocka_unit_test_setup_teardown(an_anon_without_content_is_passed_over, begin_two, end_two),
		cmocka_unit_test_setup_teardown(a_store_for_a_map_that_does_not_sleep, begin_two, end_two),
		cmocka_unit_test_setup_teardown(a_neighbour_that_is_not_entered_does_not_matter, begin_two, end_two),
		cmocka_unit_test_setup_teardown(a_fault_without_a_store_is_waited_for, begin_two, end_two),
		cmocka_unit_test_setup_teardown(advice_meets_what_others_do_to_the_store, begin_two, end_two),
	};

	return RUN_TESTS(tests, argc, argv);
}
