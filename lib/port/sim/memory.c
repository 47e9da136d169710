/* SPDX-License-Identifier: ISC */
/* The simulator's memory: the arena, what loads return, races. */
#include "order.h"

#include <stdio.h>
#include <stdlib.h>

/* One store to a word. */
struct store {
	uint64_t value;
	uint64_t hash;
	clock_vector releases;	 /* what an acquire load of it learns */
	clock_vector first_read; /* each thread's clock when it first returned this store; 0: not yet */
	clock_vector order;	 /* the seq_cst stores up to this one, and what comes before them */
	struct store *older;
	uint32_t clock;
	uint32_t event; /* of a seq_cst store: its number among its thread's such accesses; else 0 */
	uint8_t thread; /* SIM_THREADS: the value from before the execution */
};

struct word {
	uint32_t offset;
	struct store *newest;
	clock_vector reads; /* seq_cst loads, and what comes before them */
};

/* A plain cell: its last write, and each thread's last read since. */
struct cell {
	uint32_t offset;
	uint32_t write;
	clock_vector reads;
	uint8_t writer;
};

struct node {
	uint32_t base;
	uint32_t size;
	uint8_t owner; /* the thread that is building it, plus 1; 0: reachable */
	uint8_t maker;
	bool freed;
	uint32_t made; /* the maker's clock; 0: before the execution */
	clock_vector uses;
};

#define MAX_WORDS 8192u
#define MAX_STORES 65536u

static char arena[ARENA_SIZE] __attribute__((aligned(4096)));
static size_t arena_used;
static uint16_t word_at[ARENA_SIZE / 4];
static uint16_t cell_at[ARENA_SIZE / 4];
static uint16_t node_at[ARENA_SIZE / 64];
static uint8_t users_of[ARENA_SIZE / 4]; /* sim_point_at() */
static struct word words[MAX_WORDS];
static struct cell cells[MAX_WORDS];
static struct store stores[MAX_STORES];
static struct node nodes[ARENA_NODES];
static unsigned int nwords, ncells, nstores, nnodes = 1;

/* Of full barriers: what the last one knew, its hash, and who has any. */
static struct {
	clock_vector seen;
	uint64_t hash;
	uint8_t users;
} barriers;

/* ---- The arena ---- */

void sim_arena_clear(void)
{
	sim_memory_reset();
	memset(node_at, 0, sizeof(node_at));
	memset(users_of, 0, sizeof(users_of));
	sim_grace_users = barriers.users = 0;
	memset(arena, 0, arena_used);
	arena_used = 0;
	nnodes = 1;
}

static void *take(size_t size)
{
	void *at = arena + arena_used;

	arena_used += (size + 63) & ~(size_t)63;
	if (arena_used > ARENA_SIZE)
		sim_fail("the arena is full");
	return at;
}

void *sim_arena_alloc(size_t size)
{
	return take(size);
}

void sim_snapshot_take(struct sim_snapshot *snapshot)
{
	snapshot->used = arena_used;
	snapshot->nnodes = nnodes;
	snapshot->bytes = malloc(arena_used);
	snapshot->nodes = malloc(nnodes * sizeof(*nodes));
	if (!snapshot->bytes || !snapshot->nodes)
		abort();
	memcpy(snapshot->bytes, arena, arena_used);
	memcpy(snapshot->nodes, nodes, nnodes * sizeof(*nodes));
}

static void map_node(unsigned int i)
{
	for (uint32_t line = nodes[i].base / 64; line < (nodes[i].base + nodes[i].size + 63) / 64; line++)
		node_at[line] = (uint16_t)i;
}

void sim_snapshot_restore(const struct sim_snapshot *snapshot)
{
	sim_memory_reset();
	for (unsigned int i = snapshot->nnodes; i < nnodes; i++)
		for (uint32_t line = nodes[i].base / 64; line < (nodes[i].base + nodes[i].size + 63) / 64; line++)
			node_at[line] = 0;
	arena_used = snapshot->used;
	memcpy(arena, snapshot->bytes, arena_used);
	if (memcmp(nodes, snapshot->nodes, snapshot->nnodes * sizeof(*nodes)) != 0 || nnodes < snapshot->nnodes) {
		memcpy(nodes, snapshot->nodes, snapshot->nnodes * sizeof(*nodes));
		for (unsigned int i = 1; i < snapshot->nnodes; i++)
			map_node(i);
	}
	nnodes = snapshot->nnodes;
}

void sim_snapshot_free(struct sim_snapshot *snapshot)
{
	free(snapshot->bytes);
	free(snapshot->nodes);
}

void sim_memory_reset(void)
{
	for (unsigned int i = 0; i < nwords; i++)
		word_at[words[i].offset / 4] = 0;
	for (unsigned int i = 0; i < ncells; i++)
		cell_at[cells[i].offset / 4] = 0;
	nwords = ncells = nstores = 0;
	memset(&barriers.seen, 0, sizeof(barriers.seen));
	barriers.hash = 0;
	sim_order_reset();
}

static uint32_t offset_of(const void *p)
{
	size_t offset = (size_t)((const char *)p - arena);

	if (offset >= ARENA_SIZE)
		sim_fail("an access outside of the arena");
	return (uint32_t)offset;
}

static void *memory_alloc(const struct cleave_memory *memory, size_t size, size_t align)
{
	struct node *node;
	void *at;

	(void)memory;
	(void)align;
	if (sim.running && sim.options.fail_alloc && sim_deviate(2)) {
		sim_note("the allocator has none left");
		return NULL;
	}
	at = take(size);
	if (nnodes == ARENA_NODES)
		sim_fail("too many nodes");
	node = &nodes[nnodes];
	memset(node, 0, sizeof(*node));
	node->base = offset_of(at);
	node->size = (uint32_t)size;
	node->owner = sim.running ? (uint8_t)(sim.cur + 1) : 0;
	map_node(nnodes++);
	memset(at, 0xa5, size);
	if (sim.running)
		learn(node->base);
	return at;
}

static void memory_free(const struct cleave_memory *memory, void *at, size_t size)
{
	(void)memory;
	(void)size;
	sim_node_freed(at);
}

const struct cleave_memory sim_memory = { memory_alloc, memory_free };

/* ---- Nodes: use against reuse ---- */

unsigned int sim_node_number(const void *p, uint32_t *field, uint32_t *size)
{
	size_t offset = (size_t)((const char *)p - arena);
	unsigned int i = offset < ARENA_SIZE ? node_at[offset / 64] : 0;

	*field = i ? (uint32_t)offset - nodes[i].base : 0;
	*size = nodes[i].size;
	return i;
}

static const char *node_name(const struct node *node)
{
	return sim_node_name((unsigned int)(node - nodes), node->size);
}

static bool before(uint8_t thread, uint32_t clock)
{
	return clock == 0 || self()->seen[thread] >= clock;
}

static void check_use(struct node *node, const void *p, const struct sim_site *site)
{
	if (node->freed)
		sim_fail("%s is used after it was freed (%s:%d)", sim_name(p), site->file, site->line);
	if (!before(node->maker, node->made))
		sim_fail("%s is used while it is being made, or is made anew, by thread %u (%s:%d)", sim_name(p),
			 node->maker, site->file, site->line);
	node->uses[sim.cur] = own_clock();
}

static void check_end(struct node *node, const char *what)
{
	for (unsigned int t = 0; t < sim.nthreads; t++)
		if (t != sim.cur && self()->seen[t] < node->uses[t])
			sim_fail("%s is %s, but thread %u may still be using it", node_name(node), what, t);
}

static struct node *find_node(const void *p)
{
	return &nodes[node_at[offset_of(p) / 64]];
}

/* The first store to a node that is built: the order word's. */
static void node_made(struct node *node)
{
	if (node->freed)
		sim_fail("%s is made after it was freed", node_name(node));
	check_end(node, "reused");
	node->owner = (uint8_t)(sim.cur + 1);
	node->maker = (uint8_t)sim.cur;
	node->made = own_clock();
	memset(&node->uses, 0, sizeof(node->uses));
	if (sim.trace)
		sim_note("makes    %s", node_name(node));
}

void sim_node_freed(void *at)
{
	struct node *node = find_node(at);

	if (!sim.running)
		return;
	if (node->freed)
		sim_fail("%s is freed twice", node_name(node));
	check_end(node, "freed");
	node->freed = true;
	memset(at, 0x5a, node->size);
}

/* A pointer into what this thread built was stored where others may find it. */
static void publish(unsigned int size, uint64_t value)
{
	uint64_t target = value & ~(uint64_t)63;
	struct node *node;

	if (size != 8 || target < (uintptr_t)arena || target >= (uintptr_t)arena + ARENA_SIZE)
		return;
	node = &nodes[node_at[(target - (uintptr_t)arena) / 64]];
	if (node == nodes || node->owner != sim.cur + 1)
		return;
	for (unsigned int i = 1; i < nnodes; i++)
		if (nodes[i].owner == sim.cur + 1)
			nodes[i].owner = 0;
}

/* ---- Words ---- */

static uint64_t read_memory(const void *p, unsigned int size)
{
	return size == 4 ? *(const uint32_t *)p : *(const uint64_t *)p;
}

static void write_memory(void *p, unsigned int size, uint64_t value)
{
	if (size == 4)
		*(uint32_t *)p = (uint32_t)value;
	else
		*(uint64_t *)p = value;
}

uint8_t *sim_users_of(const void *word)
{
	return &users_of[offset_of(word) / 4];
}

uint64_t sim_newest(const void *word, unsigned int size)
{
	return read_memory(word, size);
}

static struct store *new_store(void)
{
	struct store *store;

	if (nstores == MAX_STORES)
		sim_fail("too many stores");
	store = &stores[nstores++];
	memset(store, 0, sizeof(*store));
	return store;
}

static struct word *find_word(const void *p, unsigned int size, bool make)
{
	uint32_t offset = offset_of(p);
	struct word *word;

	if (word_at[offset / 4])
		return &words[word_at[offset / 4] - 1];
	if (!make)
		return NULL;
	if (nwords == MAX_WORDS)
		sim_fail("too many words");
	word = &words[nwords++];
	word_at[offset / 4] = (uint16_t)nwords;
	memset(word, 0, sizeof(*word));
	word->offset = offset;
	word->newest = new_store();
	word->newest->value = read_memory(p, size);
	word->newest->thread = SIM_THREADS;
	word->newest->hash = offset;
	return word;
}

/* Is there nothing older that this thread may still return? */
static bool oldest(const struct store *store, int order)
{
	clock_vector read = store->first_read, visible = self()->seen;

	clock_join(&visible, &self()->visible);
	if (!store->older || visible[store->thread] >= store->clock)
		return true;
	if (order == PORT_SEQ_CST && store->event && sim_order_after(&self()->seen, store->thread, store->event))
		return true;
	if (store->event && sim_order_after(&self()->fenced, store->thread, store->event))
		return true;
	for (unsigned int t = 0; t < sim.nthreads; t++)
		if (read[t] && visible[t] >= read[t])
			return true;
	return false;
}

static void returned(struct word *word, struct store *store, int order)
{
	const clock_vector *before = order == PORT_SEQ_CST ? &self()->seen : &self()->fenced;
	const struct store *next = NULL;

	if (!store->first_read[sim.cur])
		store->first_read[sim.cur] = own_clock();
	if (order == PORT_ACQUIRE || order == PORT_ACQ_REL || order == PORT_SEQ_CST)
		clock_join(&self()->seen, &store->releases);
	learn(store->hash);
	if (order == PORT_SEQ_CST)
		sim_order_event(&store->order);
	else if (!self()->has_fence)
		return;
	clock_join(&word->reads, before);
	for (const struct store *s = word->newest; s != store; s = s->older)
		next = s->event ? s : next;
	if (next)
		sim_order_missed(before, next->thread, next->event);
}

/* Only this thread can reach the word: no access to it concerns anybody else. */
static bool is_private(const void *p)
{
	struct node *node = find_node(p);

	return node != nodes && node->owner == sim.cur + 1;
}

static void point(const void *p, bool write)
{
	sim_point_at(&users_of[offset_of(p) / 4], write);
}

static void reach(const void *p, const struct sim_site *site)
{
	struct node *node = find_node(p);

	if (node != nodes)
		check_use(node, p, site);
}

uint64_t sim_load(const void *p, unsigned int size, int order, const struct sim_site *site)
{
	struct store *store;
	struct word *word;
	unsigned int n = 1;
	char more[80] = "";

	if (p == &sim_done)
		return sim_grace_done(order);
	if (p == &sim_started)
		return sim_grace_started(order);
	if (!sim.running || is_private(p))
		return read_memory(p, size);
	point(p, false);
	reach(p, site);
	word = find_word(p, size, order == PORT_SEQ_CST || self()->has_fence);
	if (!word) {
		learn(offset_of(p));
		sim_trace("load", p, size, order, read_memory(p, size), "", site);
		return read_memory(p, size);
	}
	store = word->newest;
	if (sim.weak && order == PORT_SEQ_CST)
		sim_order_close(&self()->seen);
	if (sim.weak && self()->has_fence)
		sim_order_close(&self()->fenced);
	if (sim.weak && !oldest(store, order)) {
		unsigned int back;

		for (const struct store *s = store; !oldest(s, order); s = s->older)
			n++;
		for (back = sim_deviate(n); back > 0; back--)
			store = store->older;
		if (sim.trace && store != word->newest)
			snprintf(more, sizeof(more), " (newer: %s)", sim_value_name(p, size, word->newest->value));
	}
	sim_trace("load", p, size, order, store->value, more, site);
	returned(word, store, order);
	return store->value;
}

static void append(void *p, unsigned int size, struct word *word, uint64_t value, int order,
		   const struct store *inherit)
{
	struct store *store = new_store();

	learn(word->newest->hash);
	learn(word->offset);
	store->value = value;
	store->older = word->newest;
	store->clock = own_clock();
	store->first_read[sim.cur] = store->clock;
	store->thread = (uint8_t)sim.cur;
	store->hash = self()->chain;
	store->order = word->newest->order;
	if (order == PORT_SEQ_CST) {
		clock_join(&word->reads, &store->order);
		store->event = sim_order_event(&word->reads);
		store->order = self()->seen;
	}
	if (order >= PORT_RELEASE) {
		store->releases = self()->seen;
		self()->seen[sim.cur]++;
	}
	if (inherit)
		clock_join(&store->releases, &inherit->releases); /* a release sequence */
	word->newest = store;
	publish(size, value);
	write_memory(p, size, value);
}

void sim_store(void *p, unsigned int size, uint64_t value, int order, const struct sim_site *site)
{
	struct node *node;

	if (!sim.running) {
		write_memory(p, size, value);
		return;
	}
	node = find_node(p);
	if (value == 0 && order == PORT_RELAXED && node != nodes && offset_of(p) == node->base)
		node_made(node);
	if (is_private(p)) {
		struct word *old = find_word(p, size, false);

		/* What readers of its last life saw happened before: only this store counts. */
		if (old) {
			old->newest = new_store();
			old->newest->thread = (uint8_t)sim.cur;
			old->newest->clock = own_clock();
			old->newest->value = value;
			old->newest->hash = sim_mix(self()->chain, old->offset);
		}
		write_memory(p, size, value);
		return;
	}
	point(p, true);
	reach(p, site);
	sim_trace("store", p, size, order, value, "", site);
	if (order == PORT_SEQ_CST)
		self()->stored = self()->seen;
	append(p, size, find_word(p, size, true), value, order, NULL);
}

/*
 * A read-modify-write begins, and ends.  Where it is a full barrier, there is one order of them: what comes before one
 * is visible after the next.  It does not happen before that: in C11 a fence alone orders no plain accesses.
 */
static void update_begins(const void *p, const struct sim_site *site)
{
	self()->updated = true;
	point(p, true);
	if (sim.options.locked) {
		sim_point_at(&barriers.users, true);
		clock_join(&self()->visible, &barriers.seen);
		learn(barriers.hash);
	}
	reach(p, site);
}

static void update_ends(void)
{
	if (!sim.options.locked)
		return;
	clock_join(&barriers.seen, &self()->visible);
	clock_join(&barriers.seen, &self()->seen);
	barriers.hash = self()->chain;
	self()->seen[sim.cur]++;
}

static struct store *newest_for_update(const void *p, unsigned int size, int order, const struct sim_site *site,
				       struct word **word)
{
	struct store *store;

	update_begins(p, site);
	*word = find_word(p, size, true);
	store = (*word)->newest;
	returned(*word, store, order);
	return store;
}

uint64_t sim_exchange(void *p, unsigned int size, uint64_t value, int order, const struct sim_site *site)
{
	struct store *store;
	struct word *word;

	if (!sim.running || is_private(p)) {
		uint64_t old = read_memory(p, size);

		write_memory(p, size, value);
		return old;
	}
	store = newest_for_update(p, size, order, site, &word);
	sim_trace("exchange", p, size, order, value, "", site);
	append(p, size, word, value, order, store);
	update_ends();
	return store->value;
}

uint64_t sim_fetch_add(void *p, unsigned int size, uint64_t value, int order, const struct sim_site *site)
{
	struct store *store;
	struct word *word;

	if (!sim.running || is_private(p)) {
		uint64_t old = read_memory(p, size);

		write_memory(p, size, old + value);
		return old;
	}
	store = newest_for_update(p, size, order, site, &word);
	sim_trace("add", p, size, order, store->value + value, "", site);
	append(p, size, word, store->value + value, order, store);
	update_ends();
	return store->value;
}

bool sim_cas(void *p, unsigned int size, uint64_t *expected, uint64_t value, int ok, int fail,
	     const struct sim_site *site)
{
	uint64_t wanted = *expected;
	struct store *store;
	struct word *word;

	if (!sim.running || is_private(p)) {
		*expected = read_memory(p, size);
		if (*expected == wanted)
			write_memory(p, size, value);
		return *expected == wanted;
	}
	update_begins(p, site);
	word = find_word(p, size, true);
	store = word->newest;
	*expected = store->value;
	returned(word, store, store->value == wanted ? ok : fail);
	if (store->value != wanted) {
		sim_trace("cas fail", p, size, fail, store->value, " is there", site);
		update_ends();
		return false;
	}
	sim_trace("cas", p, size, ok, value, "", site);
	append(p, size, word, value, ok, store);
	update_ends();
	return true;
}

/* No point of its own: who reads the count may as well read an older one. */
void sim_count(uint64_t *counter, const struct sim_site *site)
{
	if (!sim.running) {
		++*counter;
		return;
	}
	if (!self()->updated)
		sim_broken("between two counts of a thread there is a locked instruction", site);
	if (self()->counted)
		sim_broken("between two counts of a thread it is outside of its sections", site);
	self()->updated = false;
	self()->counted = self()->inside;
	sim_trace("count", counter, sizeof(*counter), PORT_RELEASE, *counter + 1, "", site);
	append(counter, sizeof(*counter), find_word(counter, sizeof(*counter), true), *counter + 1, PORT_RELEASE, NULL);
}

/* ---- Cells ---- */

void sim_cell(const void *p, bool write, const struct sim_site *site)
{
	uint32_t offset = offset_of(p);
	struct cell *cell;

	if (!sim.running)
		return;
	if (!is_private(p))
		reach(p, site);
	if (!cell_at[offset / 4]) {
		if (ncells == MAX_WORDS)
			sim_fail("too many cells");
		cell = &cells[ncells++];
		memset(cell, 0, sizeof(*cell));
		cell->offset = offset;
		cell_at[offset / 4] = (uint16_t)ncells;
	}
	cell = &cells[cell_at[offset / 4] - 1];
	if (!before(cell->writer, cell->write))
		sim_fail("race: %s is %s while thread %u writes it (%s:%d)", sim_name(p), write ? "written" : "read",
			 cell->writer, site->file, site->line);
	if (!write) {
		cell->reads[sim.cur] = own_clock();
		return;
	}
	for (unsigned int t = 0; t < sim.nthreads; t++)
		if (t != sim.cur && self()->seen[t] < cell->reads[t])
			sim_fail("race: %s is written while thread %u may read it (%s:%d)", sim_name(p), t, site->file,
				 site->line);
	cell->writer = (uint8_t)sim.cur;
	cell->write = own_clock();
	if (sim.trace)
		sim_trace("cell", p, 8, PORT_RELAXED, 0, " is written", site);
}
