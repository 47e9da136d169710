/* SPDX-License-Identifier: ISC */
/*
 * A kernel's port, on stand-ins for that kernel's functions: cookies, what is taken while a grace period is under way,
 * waiting, parking, memory, and an index that threads change.  One program a kernel, compiled as that kernel compiles
 * its files.  This says nothing about the kernel itself: see doc/porting.md.
 */
#include <cleave_section.h>

#include "port/port.h"

#include "host.h"
#include "mock.h"
#include "port_memory.h"

#define CHECK(condition) ((condition) ? (void)0 : host_fail("%s:%d: %s", __FILE__, __LINE__, #condition))
#define LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE(p, value) __atomic_store_n(p, value, __ATOMIC_RELEASE)

static CLEAVE_SECTION_DOMAIN domain;
static CLEAVE_SECTION_THREAD own;
static struct port_memory memory;

static void start(void)
{
	mock_start();
	port_memory_init(&memory, true);
	port_start(&domain, &memory.memory);
	cleave_section_register(&own, &domain);
}

static void stop(void)
{
	cleave_section_unregister(&own, &domain);
	cleave_section_stop(&domain);
	port_memory_destroy(&memory);
	mock_stop();
	CHECK(host_allocated() == 0);
}

static uint64_t take(void)
{
	return domain.domain.ops->cookie(&domain.domain, &own.thread);
}

/* As the core asks, and as a caller does. */
static bool done(uint64_t cookie)
{
	bool is_done = domain.domain.ops->done(&domain.domain, &own.thread, cookie);

	CHECK(!is_done || PORT_LOAD(domain.domain.done, PORT_ACQUIRE) >= cookie);
	return is_done;
}

static void advance(uint64_t cookie)
{
	domain.domain.ops->advance(&domain.domain, &own.thread, cookie);
}

static void until_done(uint64_t cookie)
{
	while (!done(cookie)) {
		host_nap(50);
		advance(cookie);
	}
}

/* ---- Readers that do what they are told ---- */

enum { OUTSIDE, ENTER, INSIDE, LEAVE, END };

static int reader_state[2];

static void be_reader(void *argument)
{
	int *own_state = argument, state;

	while ((state = LOAD(own_state)) != END) {
		if (state == ENTER) {
			domain.domain.ops->enter(&domain.domain, NULL);
			STORE(own_state, INSIDE);
			while (LOAD(own_state) == INSIDE)
				host_nap(20);
			domain.domain.ops->leave(&domain.domain, NULL);
			STORE(own_state, OUTSIDE);
		}
		host_nap(20);
	}
}

static void tell_reader(unsigned int reader, int what, int until)
{
	STORE(&reader_state[reader], what);
	while (LOAD(&reader_state[reader]) != until)
		host_nap(20);
}

/* ---- Cookies ---- */

/* A token is taken without starting anything, and is not done before somebody asks. */
static void test_cookie_starts_nothing(void)
{
	unsigned long started = mock_started();
	uint64_t cookie = take(), later;

	CHECK(cookie != 0);
	for (unsigned int i = 0; i < 100; i++) {
		later = take();
		CHECK(later == cookie);
		later = domain.domain.ops->cookie_stored(&domain.domain, &own.thread);
		CHECK(later == cookie);
	}
	host_nap(3000);
	CHECK(!done(cookie) && mock_started() == started);
	until_done(cookie);
	CHECK(take() > cookie);
}

/*
 * A token that is taken while a grace period is under way is for the next one:
 *	1. the first's is under way		2. reader: enters, may find what is unlinked next
 *	3. the second token: its wish joins	4. the first one ends
 *	5. the second one begins, and waits for the reader
 */
static void test_cookie_while_pending(void)
{
	uint64_t one, two, begun;

	for (unsigned int round = 0; round < 20; round++) {
		mock_hold(true);
		one = take();
		advance(one);
		CHECK(!done(one));
		tell_reader(0, ENTER, INSIDE);
		two = take();
		CHECK(two > one);
		advance(two);
		advance(one); /* nothing becomes of this */
		mock_hold(false);
		until_done(one);
		for (unsigned int i = 0; i < 20; i++) {
			CHECK(!done(two));
			advance(two);
			host_nap(200);
		}
		/* What a reader may conclude, too: nothing that is not done has not begun. */
		if (domain.domain.ops->begun) {
			domain.domain.ops->enter(&domain.domain, NULL);
			begun = domain.domain.ops->begun(&domain.domain, &own.thread);
			domain.domain.ops->leave(&domain.domain, NULL);
			CHECK(begun > two);
		}
		tell_reader(0, LEAVE, OUTSIDE);
		until_done(two);
	}
}

/* One for each wish that is not served by one under way, and none afterwards. */
static void test_chain_ends(void)
{
	unsigned long started;
	uint64_t one, two;

	until_done(take());
	host_nap(3000);
	started = mock_started();
	mock_hold(true);
	one = take();
	for (unsigned int i = 0; i < 5; i++)
		advance(one);
	two = take();
	for (unsigned int i = 0; i < 5; i++)
		advance(two);
	CHECK(mock_started() == started + 1);
	mock_hold(false);
	until_done(two);
	host_nap(5000);
	advance(one);
	advance(two);
	CHECK(mock_started() == started + 2);
}

static void test_wait(void)
{
	uint64_t cookie;

	/* One is pending, and is not seen to end. */
	for (unsigned int round = 0; round < 10; round++) {
		cookie = take();
		if (round % 2)
			advance(cookie);
		cookie = take();
		domain.domain.ops->wait(&domain.domain, &own.thread, cookie);
		CHECK(done(cookie));
	}
}

static uint32_t left;

static void leave_late(void *argument)
{
	(void)argument;
	host_nap(3000);
	STORE(&left, 1);
	STORE(&reader_state[0], LEAVE);
}

static void test_wait_waits_for_reader(void)
{
	uint64_t cookie;
	void *thread;

	for (unsigned int round = 0; round < 10; round++) {
		STORE(&left, 0);
		cookie = take();
		if (round % 2)
			advance(cookie);
		tell_reader(0, ENTER, INSIDE);
		cookie = take();
		thread = host_thread(leave_late, NULL);
		domain.domain.ops->wait(&domain.domain, &own.thread, cookie);
		CHECK(LOAD(&left) && done(cookie));
		host_join(thread);
		while (LOAD(&reader_state[0]) != OUTSIDE)
			host_nap(20);
	}
}

static void wait_for(void *argument)
{
	domain.domain.ops->wait(&domain.domain, &own.thread, *(const uint64_t *)argument);
}

/*
 * What somebody waits for serves those cookies alone that were taken before:
 *	1. first reader: enters				2. waiter: waits for it
 *	3. second reader: enters, may find what is unlinked next
 *	4. the second token				5. first reader: leaves; the waiter goes on
 */
static void test_cookie_while_waiting(void)
{
	uint64_t one, two;
	void *waiter;

	for (unsigned int round = 0; round < 10; round++) {
		tell_reader(0, ENTER, INSIDE);
		one = take();
		waiter = host_thread(wait_for, &one);
		host_nap(2000); /* more than enough, mostly */
		tell_reader(1, ENTER, INSIDE);
		two = take();
		tell_reader(0, LEAVE, OUTSIDE);
		host_nap(2000);
		CHECK(!done(two));
		tell_reader(1, LEAVE, OUTSIDE); /* it may have been later */
		host_join(waiter);
		CHECK(done(one));
		until_done(two);
	}
}

/* Whoever is first, the domain's memory is not touched after stop; nor if another one is to follow. */
static void test_stop_while_pending(void)
{
	CLEAVE_SECTION_DOMAIN *others[30], *other;
	CLEAVE_SECTION_THREAD record;

	for (unsigned int round = 0; round < 30; round++) {
		other = others[round] = host_alloc(sizeof(*other), 64);
		port_start(other, &memory.memory);
		cleave_section_register(&record, other);
		for (unsigned int i = 0; i <= round % 2; i++)
			other->domain.ops->advance(&other->domain, &record.thread,
						   other->domain.ops->cookie(&other->domain, &record.thread));
		host_nap((unsigned int)(host_random() % 1500));
		cleave_section_unregister(&record, other);
		cleave_section_stop(other);
		memset(other, 0x5a, sizeof(*other));
	}
	host_nap(3000);
	for (unsigned int round = 0; round < 30; round++)
		host_free(others[round]);
}

/* ---- Parking ---- */

#define BUMPS 50u

static struct cleave_word32 count, turns;

static void wait_for_count(void *argument)
{
	uint32_t seen;

	(void)argument;
	for (;;) {
		seen = PORT_LOAD(&count, PORT_ACQUIRE);
		if (seen >= BUMPS)
			return;
		if (host_random() % 4 == 0)
			host_nap(20);
		domain.domain.ops->park(&domain.domain, &own.thread, &count, seen);
		PORT_FETCH_ADD(&turns, 1, PORT_RELAXED);
	}
}

/* Nobody sleeps through the last bump; wake() comes from a section as well. */
static void test_park(void)
{
	void *threads[4];

	for (unsigned int round = 0; round < 30; round++) {
		PORT_STORE(&count, 0, PORT_RELAXED);
		for (unsigned int t = 0; t < 4; t++)
			threads[t] = host_thread(wait_for_count, NULL);
		for (unsigned int i = 0; i < BUMPS; i++) {
			if (host_random() % 4 == 0)
				host_nap(20);
			if (i % 2)
				domain.domain.ops->enter(&domain.domain, NULL);
			PORT_FETCH_ADD(&count, 1, PORT_RELEASE);
			domain.domain.ops->wake(&domain.domain, &count);
			if (i % 2)
				domain.domain.ops->leave(&domain.domain, NULL);
		}
		for (unsigned int t = 0; t < 4; t++)
			host_join(threads[t]);
	}
	CHECK(PORT_LOAD(&turns, PORT_RELAXED) > 0);
}

/* ---- Memory ---- */

static void test_memory(void)
{
	static const size_t sizes[] = { 1, 8, 24, 63, 64, 65, 128, 256, 272, 448, 512, 513, 800, 4096, 4392, 70000 };
	const struct cleave_memory *interface = &memory.memory;
	host_number before = host_allocated();
	unsigned char *blocks[64];
	struct port_memory small;
	size_t size;

	for (unsigned int i = 0; i < 64; i++) {
		size = sizes[i % 16];
		blocks[i] = interface->alloc(interface, size, size < 64 ? 16 : 64);
		CHECK(blocks[i] && (uintptr_t)blocks[i] % (size < 64 ? 16 : 64) == 0);
		memset(blocks[i], (int)i, size);
	}
	for (unsigned int i = 0; i < 64; i++) {
		size = sizes[i % 16];
		CHECK(blocks[i][0] == i && blocks[i][size - 1] == i);
		interface->free(interface, blocks[i], size);
	}
	CHECK(host_allocated() == before);

	port_memory_init(&small, false);
	host_alloc_fails(true);
	for (unsigned int i = 0; i < 16; i++)
		CHECK(!small.memory.alloc(&small.memory, sizes[i], 16));
	host_alloc_fails(false);
	port_memory_destroy(&small);
}

/* ---- An index ---- */

#define WRITERS 3u
#define READERS 2u
#define SLOTS 256u /* of a writer, 16 addresses each */
#define OBJECTS 1024u
#define LIVE 0x600du
#define DEAD 0xdeadu

struct object {
	uint64_t slot;
	uint32_t magic; /* atomic: a reader that comes too late is to be found out, not undefined */
	bool retired;
	uint64_t cookie;
	struct object *next;
};

struct writer {
	struct cleave_sink sink;
	CLEAVE_SECTION_THREAD self;
	unsigned int number;
	struct object objects[OBJECTS];
	struct object *free;
	struct object *limbo, **limbo_end;
	unsigned long waits;
};

static struct cleave index_of_all;
static struct writer *writers;
static uint32_t stop_readers;
static unsigned int changes = 30000;

static void retire(struct cleave_sink *sink, const struct cleave_entry *displaced)
{
	struct writer *writer = cleave__container(sink, struct writer, sink);
	struct object *object = displaced->value;

	if (object->retired) /* the other half */
		return;
	object->retired = true;
	object->cookie = cleave_grace_cookie(&writer->self.thread);
	object->next = NULL;
	*writer->limbo_end = object;
	writer->limbo_end = &object->next;
}

static struct object *take_object(struct writer *writer, uint64_t slot)
{
	struct object *object;

	while ((object = writer->limbo) && (!writer->free || host_random() % 4 == 0)) {
		if (!cleave_grace_done(&writer->self.thread, object->cookie)) {
			if (writer->free)
				break;
			cleave_grace_wait(&writer->self.thread, object->cookie);
			writer->waits++;
		}
		writer->limbo = object->next;
		if (!writer->limbo)
			writer->limbo_end = &writer->limbo;
		__atomic_store_n(&object->magic, DEAD, __ATOMIC_RELAXED);
		object->next = writer->free;
		writer->free = object;
	}
	object = writer->free;
	writer->free = object->next;
	object->slot = slot;
	object->retired = false;
	__atomic_store_n(&object->magic, LIVE, __ATOMIC_RELAXED);
	return object;
}

static void write_index(void *argument)
{
	struct writer *writer = argument;
	uint64_t base = writer->number * SLOTS, slot, first;
	int error;

	cleave_section_register(&writer->self, &domain);
	for (unsigned int i = 0; i < changes; i++) {
		slot = base + host_random() % SLOTS;
		first = slot * 16;
		switch (host_random() % 4) {
		case 0:
			error = cleave_erase(&index_of_all, &writer->self.thread, first, first + 15, &writer->sink);
			CHECK(error == 0);
			break;
		case 1: /* nothing there; or it is cut already: any answer will do */
			(void)cleave_clip(&index_of_all, &writer->self.thread, first + 8);
			break;
		case 2:
			(void)cleave_unclip(&index_of_all, &writer->self.thread, first + 8);
			break;
		default:
			error = cleave_store(&index_of_all, &writer->self.thread, first, first + 15,
					     take_object(writer, slot), &writer->sink);
			CHECK(error == 0);
		}
	}
	cleave_section_unregister(&writer->self, &domain);
}

static void read_index(void *argument)
{
	CLEAVE_SECTION_THREAD record;
	unsigned long *found = argument;

	cleave_section_register(&record, &domain);
	while (!LOAD(&stop_readers)) {
		uint64_t addr = host_random() % (WRITERS * SLOTS * 16);
		struct cleave_entry entry;
		struct object *object;

		cleave_section_enter(&record);
		object = cleave_lookup_rcu(&index_of_all, addr, &entry);
		if (object) {
			CHECK(entry.first <= addr && addr <= entry.last && entry.last < (addr / 16 + 1) * 16);
			if (host_random() % 64 == 0)
				host_nap(1); /* the kernels forbid it; a preemption */
			CHECK(object->slot == addr / 16);
			CHECK(__atomic_load_n(&object->magic, __ATOMIC_RELAXED) == LIVE);
			++*found;
		}
		cleave_section_leave(&record);
	}
	cleave_section_unregister(&record, &domain);
}

static void test_index(void)
{
	void *threads[WRITERS + READERS];
	unsigned long found[READERS] = { 0 };
	unsigned long waits = 0;

	CHECK(cleave_init(&index_of_all, &own.thread) == 0);
	writers = host_alloc(WRITERS * sizeof(*writers), 64);
	memset(writers, 0, WRITERS * sizeof(*writers));
	for (unsigned int w = 0; w < WRITERS; w++) {
		writers[w].number = w;
		writers[w].sink.each = retire;
		writers[w].limbo_end = &writers[w].limbo;
		for (unsigned int i = 0; i < OBJECTS; i++) {
			writers[w].objects[i].next = writers[w].free;
			writers[w].free = &writers[w].objects[i];
		}
		threads[w] = host_thread(write_index, &writers[w]);
	}
	for (unsigned int r = 0; r < READERS; r++)
		threads[WRITERS + r] = host_thread(read_index, &found[r]);
	for (unsigned int w = 0; w < WRITERS; w++) {
		host_join(threads[w]);
		waits += writers[w].waits;
	}
	STORE(&stop_readers, 1);
	for (unsigned int r = 0; r < READERS; r++) {
		host_join(threads[WRITERS + r]);
		CHECK(found[r] > 0);
	}
	CHECK(cleave_check(&index_of_all, NULL) == 0);
	cleave_destroy(&index_of_all, &own.thread);
	host_free(writers);
	host_note("index: %u changes, %lu grace periods started, %lu waits", WRITERS * changes, mock_started(), waits);
}

int main(void)
{
	static const struct {
		void (*test)(void);
		const char *name;
	} tests[] = {
		{ test_cookie_starts_nothing, "a cookie starts nothing" },
		{ test_cookie_while_pending, "a cookie while one is pending" },
		{ test_chain_ends, "the chain ends" },
		{ test_wait, "wait" },
		{ test_wait_waits_for_reader, "wait waits for a reader" },
		{ test_cookie_while_waiting, "a cookie while somebody waits" },
		{ test_stop_while_pending, "stop while one is pending" },
		{ test_park, "park and wake" },
		{ test_memory, "memory" },
		{ test_index, "an index" },
	};
	void *readers[2];

	start();
	for (unsigned int r = 0; r < 2; r++)
		readers[r] = host_thread(be_reader, &reader_state[r]);
	for (unsigned int i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		tests[i].test();
		host_note("ok: %s", tests[i].name);
	}
	for (unsigned int r = 0; r < 2; r++) {
		STORE(&reader_state[r], END);
		host_join(readers[r]);
	}
	stop();
	return 0;
}
