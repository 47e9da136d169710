/* SPDX-License-Identifier: ISC */
/*
 * Writers and readers on one small index, for Thread Sanitizer.  One executable a flavour; with a correct library it is
 * silent.  usage: work [seconds [seed]]
 *
 * Addresses
 *	wild	every writer makes every change of the library; values are objects that never change
 *	owned	slots of one writer each, always mapped; their objects are rewritten, plainly, when a grace period has
 *		passed since they were displaced; readers read them, plainly, inside their sections
 *	heap	cleave_alloc() and erase
 */
#include <cleave/section.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WRITERS 3u
#define READERS 2u
#define WILD 512u /* addresses from 0 */
#define OWNED 1024u
#define SLOTS 4u /* a writer */
#define SLOT_SIZE 8u
#define HEAP 2048u
#define HEAP_SIZE 512u
#define HELD 24u	  /* places on the heap, a writer */
#define QUEUE 2u	  /* displaced objects, a writer: soon reused */
#define LOOKUPS 9u	  /* at once */
#define CHANGES 200u	  /* between two registrations of a writer */
#define GARBAGE_LIMIT 96u /* low, so that writers wait for grace periods too */

struct object {
	uint64_t payload; /* plain */
	uint64_t check;	  /* plain; ~payload */
	uint64_t cookie;  /* of the owner; 0: never displaced */
};

struct worker {
	CLEAVE_SECTION_THREAD *record;
	pthread_t thread;
	unsigned int number;
	uint64_t random;
	uint64_t work;
	uint64_t displaced;
	struct cleave_sink sink;
	struct object object[SLOTS + QUEUE];
	struct object *mapped[SLOTS];
	struct object *queue[QUEUE]; /* oldest first, round */
	unsigned int head;
	struct cleave_entry held[HELD];
};

static CLEAVE_SECTION_DOMAIN domain;
static const struct cleave_ops *ops;
static struct cleave tree;
static struct worker worker[WRITERS + READERS];
static struct object wild_object[8];
static bool stop;

static uint64_t rnd(struct worker *me, uint64_t below)
{
	me->random ^= me->random << 13;
	me->random ^= me->random >> 7;
	me->random ^= me->random << 17;
	return (me->random >> 11) % below;
}

static void must(bool condition, const char *what)
{
	if (!condition) {
		fprintf(stderr, "wrong: %s\n", what);
		exit(1);
	}
}

static void count_displaced(struct cleave_sink *sink, const struct cleave_entry *entry)
{
	struct worker *me = (struct worker *)(void *)((char *)sink - offsetof(struct worker, sink));

	me->displaced += entry->last - entry->first + 1;
}

static void *wild_value(struct worker *me)
{
	return &wild_object[rnd(me, sizeof(wild_object) / sizeof(wild_object[0]))];
}

/* A predicate of cleave_covers(). */
static bool mapped(void *context, const struct cleave_entry *entry)
{
	(void)context;
	return entry->value != NULL;
}

/* ---- Writers ---- */

static void transaction(struct worker *me)
{
	uint64_t first = rnd(me, WILD - 64), last = first + rnd(me, 64);
	unsigned int puts = (unsigned int)rnd(me, 4);
	struct cleave_entry entry;
	struct cleave_txn txn;

	must(cleave_begin(&txn, &tree, &me->record->thread, first, last) == 0, "begin");
	cleave_txn_lookup(&txn, first, &entry);
	for (unsigned int i = 0; i < puts; i++) {
		uint64_t at = first + rnd(me, last - first + 1);

		must(cleave_put(&txn, at, at + rnd(me, last - at + 1), rnd(me, 2) ? wild_value(me) : NULL) == 0, "put");
	}
	switch (rnd(me, 4)) {
	case 0:
		cleave_abort(&txn);
		break;
	case 1:
		cleave_publish(&txn);
		cleave_end(&txn, &me->sink);
		break;
	default:
		cleave_commit(&txn, &me->sink);
	}
}

static void try_forms(struct worker *me, uint64_t first, uint64_t last)
{
	struct cleave_thread *self = &me->record->thread;
	struct cleave_entry entry;
	struct cleave_txn txn;
	int error;

	cleave_section_enter(me->record);
	switch (rnd(me, 4)) {
	case 0:
		cleave_try_clip_rcu(&tree, self, first);
		break;
	case 1:
		cleave_try_store_rcu(&tree, self, first, last, wild_value(me));
		break;
	case 2:
		if (cleave_lookup_rcu(&tree, first, &entry))
			cleave_try_replace_if_rcu(&tree, self, &entry, wild_value(me));
		break;
	default:
		error = cleave_try_begin_rcu(&txn, &tree, self, first, last);
		cleave_section_leave(me->record);
		if (error == 0)
			cleave_commit(&txn, NULL);
		return;
	}
	cleave_section_leave(me->record);
}

/* A part of one entry, or all of it, gets another value. */
static void hold(struct worker *me, uint64_t first, uint64_t last)
{
	struct cleave_hold hold;

	cleave_hold_begin(&hold, &tree, &me->record->thread, first);
	if (last > hold.entry.last)
		last = hold.entry.last;
	if (rnd(me, 4))
		must(cleave_hold_put(&hold, first, last, wild_value(me)) == 0, "put of a held entry");
	cleave_hold_end(&hold);
}

static void change_wild(struct worker *me)
{
	struct cleave_thread *self = &me->record->thread;
	uint64_t first = rnd(me, WILD - 16), last = first + rnd(me, 16);
	struct cleave_entry entry;

	switch (rnd(me, 18)) {
	case 0:
	case 1:
	case 2:
		cleave_clip(&tree, self, first);
		break;
	case 3:
	case 4:
		if (cleave_clip(&tree, self, first) == 0)
			cleave_unclip(&tree, self, first);
		break;
	case 5:
		for (; first <= last; first++)
			cleave_unclip(&tree, self, first);
		break;
	case 6:
	case 7:
		cleave_insert(&tree, self, first, first + rnd(me, 4), wild_value(me), &entry);
		break;
	case 8:
		must(cleave_erase(&tree, self, first, last, &me->sink) == 0, "erase");
		break;
	case 9:
		must(cleave_store(&tree, self, first, last, wild_value(me), &me->sink) == 0, "store");
		break;
	case 10:
	case 11:
		cleave_section_enter(me->record);
		cleave_lookup_rcu(&tree, first, &entry);
		cleave_section_leave(me->record);
		if (entry.value)
			cleave_replace_if(&tree, self, &entry, wild_value(me));
		break;
	case 12:
	case 13:
		transaction(me);
		break;
	case 14:
		try_forms(me, first, last);
		break;
	case 15:
	case 16:
		hold(me, first, last);
		break;
	default:
		if (rnd(me, 8) == 0)
			cleave_erase(&tree, self, 0, WILD - 1, NULL);
		else
			cleave_covers(&tree, self, first, first + 64, mapped, NULL, &entry);
	}
}

static void change_owned(struct worker *me)
{
	struct cleave_thread *self = &me->record->thread;
	unsigned int slot = (unsigned int)rnd(me, SLOTS);
	uint64_t first = OWNED + (me->number * SLOTS + slot) * SLOT_SIZE, last = first + SLOT_SIZE - 1;
	struct object *fresh = me->queue[me->head], *old = me->mapped[slot];
	struct cleave_entry expected = { first, last, old };

	if (fresh->cookie) {
		if (!ops->done(&domain.domain, self, fresh->cookie) && ops->advance)
			ops->advance(&domain.domain, self, fresh->cookie);
		ops->wait(&domain.domain, self, fresh->cookie);
	}
	fresh->payload++;
	fresh->check = ~fresh->payload;
	if (rnd(me, 2)) {
		must(cleave_replace_if(&tree, self, &expected, fresh) == 0, "replace_if of an owned entry");
	} else {
		must(cleave_clip(&tree, self, first + 1 + rnd(me, SLOT_SIZE - 1)) == 0, "clip of an owned entry");
		must(cleave_store(&tree, self, first, last, fresh, NULL) == 0, "store over an owned entry");
	}
	old->cookie = ops->cookie(&domain.domain, self);
	me->mapped[slot] = fresh;
	me->queue[me->head] = old;
	me->head = (me->head + 1) % QUEUE;
}

static struct cleave_request request(struct worker *me)
{
	struct cleave_request request = {
		.order = (enum cleave_order)rnd(me, CLEAVE_BEST + 1),
		.size = 1 + rnd(me, 6),
		.align = (uint64_t)1 << rnd(me, 3),
		.min = HEAP,
		.max = HEAP + HEAP_SIZE - 1,
		.hint = HEAP + rnd(me, HEAP_SIZE),
	};

	return request;
}

static void change_heap(struct worker *me)
{
	struct cleave_thread *self = &me->record->thread;
	struct cleave_entry *held = &me->held[rnd(me, HELD)];
	struct cleave_request wish = request(me);

	if (held->value) {
		must(cleave_erase(&tree, self, held->first, held->last, NULL) == 0, "erase on the heap");
		held->value = NULL;
	} else if (cleave_alloc(&tree, self, &wish, wild_value(me), &held->first) == 0) {
		held->last = held->first + wish.size - 1;
		held->value = me;
	}
}

static void *write_tree(void *argument)
{
	struct worker *me = argument;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		struct cleave_thread *self = &me->record->thread;

		cleave_section_register(me->record, &domain);
		for (unsigned int i = 0; i < CHANGES; i++, me->work++) {
			switch (rnd(me, 8)) {
			case 0:
				change_owned(me);
				break;
			case 1:
			case 2:
				change_heap(me);
				break;
			default:
				change_wild(me);
			}
			cleave_section_quiescent(me->record);
		}
		/* Its nodes go to the orphans; grace periods lie between one writer's exit and the next one's. */
		ops->wait(&domain.domain, self, ops->cookie(&domain.domain, self));
		cleave_section_unregister(me->record, &domain);
	}
	return NULL;
}

/* ---- Readers ---- */

static void read_object(const struct object *object)
{
	must(object->check == ~object->payload, "an object that a reader sees is whole");
}

static void read_owned(struct worker *me)
{
	uint64_t addr = OWNED + rnd(me, WRITERS * SLOTS * SLOT_SIZE);
	struct cleave_entry entry;
	struct cleave_ticket ticket;
	struct object *object;

	cleave_section_enter(me->record);
	object = rnd(me, 2) ? cleave_lookup_rcu(&tree, addr, &entry) :
			      cleave_lookup_ticket_rcu(&tree, addr, &entry, &ticket);
	must(object != NULL, "an owned address is mapped");
	read_object(object);
	cleave_section_leave(me->record);
}

/* All walks of a group at once, and one that is left over. */
static void read_many(struct worker *me)
{
	struct cleave_entry entries[LOOKUPS];
	uint64_t addrs[LOOKUPS];

	for (unsigned int i = 0; i < LOOKUPS; i++)
		addrs[i] = rnd(me, 2) ? OWNED + rnd(me, WRITERS * SLOTS * SLOT_SIZE) : rnd(me, WILD);
	cleave_section_enter(me->record);
	cleave_lookup_many_rcu(&tree, addrs, LOOKUPS, entries);
	for (unsigned int i = 0; i < LOOKUPS; i++) {
		must(entries[i].first <= addrs[i] && addrs[i] <= entries[i].last, "an entry holds its address");
		must(addrs[i] < OWNED || entries[i].value, "an owned address is mapped");
		if (entries[i].value)
			read_object(entries[i].value);
	}
	cleave_section_leave(me->record);
}

static void no_line(struct cleave_lines *lines, const char *text)
{
	(void)lines;
	(void)text;
}

static void read_wild(struct worker *me)
{
	struct cleave_request wish = request(me);
	struct cleave_lines lines = { no_line };
	uint64_t addr = rnd(me, WILD), found;
	struct cleave_statistics statistics;
	struct cleave_ticket ticket;
	struct cleave_cursor cursor;
	struct cleave_visit visit[5];
	struct cleave_entry entries[5];
	struct cleave_entry entry;
	struct object *object = NULL;

	cleave_section_enter(me->record);
	switch (rnd(me, 64) < 2 ? 0 : 1 + rnd(me, 7)) {
	case 0:
		if (rnd(me, 2))
			cleave_statistics_rcu(&tree, &statistics);
		else
			cleave_dump_rcu(&tree, &lines, true);
		break;
	case 1:
		object = cleave_lookup_ticket_rcu(&tree, addr, &entry, &ticket);
		cleave_ticket_valid_rcu(&ticket);
		break;
	case 2:
		cleave_covers_rcu(&tree, addr, addr + rnd(me, 64), mapped, NULL, &entry, NULL, 0);
		break;
	case 3:
	case 4:
		cleave_cursor_init(&cursor, &tree, addr, rnd(me, 2));
		for (unsigned int i = 0; i < 3; i++)
			if (me->random & 4)
				cleave_next_rcu(&cursor, visit, 5);
			else
				cleave_previous_rcu(&cursor, visit, 5);
		break;
	case 5:
		cleave_find_gap_rcu(&tree, &wish, &found);
		break;
	case 6:
		cleave_lookup_range_rcu(&tree, addr, addr + rnd(me, 256), rnd(me, 2), entries, 5);
		break;
	default:
		object = cleave_lookup_rcu(&tree, addr, &entry);
		must(entry.first <= addr && addr <= entry.last, "an entry holds its address");
	}
	if (object)
		read_object(object);
	cleave_section_leave(me->record);
}

static void *read_tree(void *argument)
{
	struct worker *me = argument;

	cleave_section_register(me->record, &domain);
	for (; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); me->work++) {
		switch (rnd(me, 8)) {
		case 0:
			read_many(me);
			break;
		case 1:
		case 2:
			read_owned(me);
			break;
		default:
			read_wild(me);
		}
		cleave_section_quiescent(me->record);
	}
	cleave_section_unregister(me->record, &domain);
	return NULL;
}

/* ---- */

static CLEAVE_SECTION_THREAD *new_record(void)
{
	CLEAVE_SECTION_THREAD *record = aligned_alloc(64, (sizeof(*record) + 63) & ~(size_t)63);

	must(record != NULL, "memory");
	return record;
}

static void map_owned(struct worker *me, struct cleave_thread *self)
{
	for (unsigned int i = 0; i < SLOTS + QUEUE; i++) {
		me->object[i].check = ~me->object[i].payload;
		if (i >= SLOTS) {
			me->queue[i - SLOTS] = &me->object[i];
		} else {
			uint64_t first = OWNED + (me->number * SLOTS + i) * SLOT_SIZE;

			me->mapped[i] = &me->object[i];
			must(cleave_insert(&tree, self, first, first + SLOT_SIZE - 1, me->mapped[i], NULL) == 0,
			     "insert");
		}
	}
}

int main(int argc, char **argv)
{
	struct timespec seconds = { .tv_sec = argc > 1 ? atoi(argv[1]) : 3 };
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1, work[2] = { 0 };
	CLEAVE_SECTION_THREAD *own = new_record();

	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	must(cleave_section_start(&domain, NULL, GARBAGE_LIMIT) == 0, "start");
	ops = domain.domain.ops;
	cleave_section_register(own, &domain);
	must(cleave_init(&tree, &own->thread) == 0, "init");
	for (size_t i = 0; i < sizeof(wild_object) / sizeof(wild_object[0]); i++)
		wild_object[i].check = ~wild_object[i].payload;
	for (unsigned int i = 0; i < WRITERS + READERS; i++) {
		struct worker *me = &worker[i];

		me->number = i;
		me->record = new_record();
		me->random = (seed * WRITERS * READERS + i + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
		me->sink.each = count_displaced;
		if (i < WRITERS)
			map_owned(me, &own->thread);
	}
	/* Registered threads hold up the grace periods of qsbr. */
	cleave_section_unregister(own, &domain);
	for (unsigned int i = 0; i < WRITERS + READERS; i++)
		must(pthread_create(&worker[i].thread, NULL, i < WRITERS ? write_tree : read_tree, &worker[i]) == 0,
		     "pthread_create");
	nanosleep(&seconds, NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (unsigned int i = 0; i < WRITERS + READERS; i++) {
		pthread_join(worker[i].thread, NULL);
		work[i >= WRITERS] += worker[i].work;
	}
	cleave_section_register(own, &domain);
	must(cleave_check(&tree, NULL) == 0, "cleave_check()");
	cleave_destroy(&tree, &own->thread);
	cleave_section_unregister(own, &domain);
	cleave_section_stop(&domain);
	for (unsigned int i = 0; i < WRITERS + READERS; i++)
		free(worker[i].record);
	free(own);
	printf("%llu changes, %llu read sections\n", (unsigned long long)work[0], (unsigned long long)work[1]);
	return 0;
}
