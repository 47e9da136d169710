/* SPDX-License-Identifier: ISC */
#include "pool.h"

#define STOCK 64u /* clean nodes of a kind that a thread keeps at least */

bool cleave__pool_ask(struct cleave_thread *self, uint64_t cookie)
{
	if (self->domain->ops->done(self->domain, self, cookie)) {
		self->passed = cookie;
		return true;
	}
	if (self->wanted < cookie)
		self->wanted = cookie;
	return false;
}

/* Garbage is counted in batches and steps, so that retiring does not write a shared line each time. */
static void report(struct cleave_thread *self, int64_t nodes)
{
	self->unreported += (uint64_t)nodes;
	if ((int64_t)self->unreported >= (int64_t)CLEAVE__BATCH ||
	    (int64_t)self->unreported <= -(int64_t)CLEAVE__BATCH) {
		PORT_FETCH_ADD(&self->domain->garbage, self->unreported, PORT_RELAXED);
		self->unreported = 0;
	}
}

static void append(struct cleave_limbo *limbo, struct cleave_limbo *more)
{
	if (!more->head)
		return;
	if (limbo->tail)
		limbo->tail->link = more->head;
	else
		limbo->head = more->head;
	limbo->tail = more->tail;
	limbo->count += more->count;
	more->head = more->tail = NULL;
	more->count = 0;
}

static void push(struct cleave_limbo *limbo, struct cleave__node *node)
{
	node->link = NULL;
	if (limbo->tail)
		limbo->tail->link = node;
	else
		limbo->head = node;
	limbo->tail = node;
	limbo->count++;
}

static struct cleave__node *pop(struct cleave_limbo *limbo)
{
	struct cleave__node *node = limbo->head;

	limbo->head = node->link;
	if (!limbo->head)
		limbo->tail = NULL;
	limbo->count--;
	return node;
}

/* One cookie for the batch: taken after all its nodes were published over. */
static void seal(struct cleave_thread *self, enum cleave__kind kind)
{
	struct cleave_limbo *young = &self->young[kind];
	uint64_t cookie;

	if (!young->head)
		return;
	report(self, (int64_t)young->count);
	cookie = cleave__pool_cookie(self);
	for (struct cleave__node *node = young->head; node; node = node->link)
		node->cookie = cookie;
	append(&self->old[kind], young);
}

void cleave__pool_retire(struct cleave_thread *self, struct cleave__node *node)
{
	enum cleave__kind kind = cleave__kind(node);

	PORT_COUNT(self->counters.retired);
	push(&self->young[kind], node);
	if (self->young[kind].count >= CLEAVE__BATCH)
		seal(self, kind);
}

void cleave__pool_give(struct cleave_thread *self, struct cleave__node *node)
{
	enum cleave__kind kind = cleave__kind(node);

	node->link = self->free[kind];
	self->free[kind] = node;
	self->nfree[kind]++;
}

static void count_orphans(struct cleave_domain *domain)
{
	PORT_STORE(&domain->orphaned, domain->orphans[CLEAVE__LEAF].count + domain->orphans[CLEAVE__BRANCH].count,
		   PORT_RELAXED);
}

/* A node that a thread left behind, if its grace period has passed.  (Who grows asks each time.) */
static struct cleave__node *adopt(struct cleave_thread *self, enum cleave__kind kind)
{
	struct cleave_domain *domain = self->domain;
	struct cleave__node *node = NULL;

	if (PORT_LIKELY(!PORT_LOAD(&domain->orphaned, PORT_RELAXED)) || !cleave__trylock(&domain->lock))
		return NULL;
	if (domain->orphans[kind].head && cleave__pool_done(self, domain->orphans[kind].head->cookie)) {
		node = pop(&domain->orphans[kind]);
		count_orphans(domain);
	}
	cleave__unlock(domain, &domain->lock, true);
	return node;
}

/* It is written soon, as a whole. */
static void give_fresh(struct cleave_thread *self, enum cleave__kind kind, struct cleave__node *node)
{
	for (size_t at = 64; at < cleave__node_size(kind); at += 64)
		PORT_PREFETCH((const char *)node + at);
	cleave__pool_give(self, node);
}

/* Take back the oldest retired nodes whose grace period has passed, so many at most.  Return: how many. */
static unsigned int reclaim(struct cleave_thread *self, enum cleave__kind kind, unsigned int most)
{
	struct cleave_limbo *old = &self->old[kind];
	unsigned int n = 0;

	for (; n < most; n++) {
		struct cleave__node *node;

		if (!old->head)
			node = adopt(self, kind);
		else
			node = cleave__pool_done(self, old->head->cookie) ? pop(old) : NULL;
		if (!node)
			break;
		PORT_COUNT(self->counters.reuses);
		give_fresh(self, kind, node);
	}
	report(self, -(int64_t)n);
	return n;
}

static struct cleave__node *allocate(struct cleave_thread *self, enum cleave__kind kind)
{
	const struct cleave_memory *memory = self->domain->memory;
	struct cleave__node *node = memory->alloc(memory, cleave__node_size(kind), 64);

	if (node) {
		PORT_COUNT(self->counters.allocs);
		node->level = kind == CLEAVE__LEAF ? 0 : 1;
	}
	return node;
}

void cleave__pool_wait_garbage(struct cleave_thread *self)
{
	struct cleave_domain *domain = self->domain;

	seal(self, CLEAVE__LEAF);
	seal(self, CLEAVE__BRANCH);
	PORT_COUNT(self->counters.gp_waits);
	domain->ops->wait(domain, self, cleave__pool_cookie(self));
	self->wanted = 0;
	for (unsigned int kind = 0; kind < 2; kind++)
		(void)reclaim(self, (enum cleave__kind)kind, 2 * CLEAVE__BATCH);
	cleave__pool_trim(self);
}

static int fill_kind(struct cleave_thread *self, enum cleave__kind kind, unsigned int wanted)
{
	while (self->nfree[kind] - self->reserved[kind] < wanted) {
		struct cleave__node *node;

		if (reclaim(self, kind, 1))
			continue;
		node = cleave__pool_over_limit(self, 2) ? NULL : allocate(self, kind);
		if (!node)
			return -ENOMEM;
		give_fresh(self, kind, node);
	}
	return 0;
}

int cleave__pool_fill(struct cleave_thread *self, unsigned int leaves, unsigned int branches, bool may_wait)
{
	int error;

	if (PORT_LIKELY(self->nfree[CLEAVE__LEAF] - self->reserved[CLEAVE__LEAF] >= leaves &&
			self->nfree[CLEAVE__BRANCH] - self->reserved[CLEAVE__BRANCH] >= branches))
		return 0;
	if (may_wait && cleave__pool_over_limit(self, 1))
		cleave__pool_wait_garbage(self);
	error = fill_kind(self, CLEAVE__LEAF, leaves);
	return error ? error : fill_kind(self, CLEAVE__BRANCH, branches);
}

void cleave__pool_trim(struct cleave_thread *self)
{
	const struct cleave_memory *memory = self->domain->memory;

	for (unsigned int kind = 0; kind < 2; kind++) {
		while (self->nfree[kind] > self->stock[kind] + self->reserved[kind])
			memory->free(memory, cleave__pool_take(self, (enum cleave__kind)kind),
				     cleave__node_size((enum cleave__kind)kind));
	}
}

void cleave_thread_init(struct cleave_thread *self, struct cleave_domain *domain)
{
	memset(self, 0, sizeof(*self));
	self->domain = domain;
	self->done = domain->done;
	self->started = domain->started;
	self->divided = 0 - (uint64_t)PORT_RESTLESS;
	self->stock[CLEAVE__LEAF] = self->stock[CLEAVE__BRANCH] = STOCK;
}

void cleave_thread_exit(struct cleave_thread *self)
{
	struct cleave_domain *domain = self->domain;

	PORT_ASSERT(!self->txns, "a thread that exits holds no transaction");
	seal(self, CLEAVE__LEAF);
	seal(self, CLEAVE__BRANCH);
	cleave__lock_word(domain, self, &domain->lock);
	append(&domain->orphans[CLEAVE__LEAF], &self->old[CLEAVE__LEAF]);
	append(&domain->orphans[CLEAVE__BRANCH], &self->old[CLEAVE__BRANCH]);
	count_orphans(domain);
	cleave__unlock(domain, &domain->lock, true);
	PORT_FETCH_ADD(&domain->garbage, self->unreported, PORT_RELAXED);
	self->unreported = 0;
	for (unsigned int kind = 0; kind < 2; kind++)
		while (self->nfree[kind])
			domain->memory->free(domain->memory, cleave__pool_take(self, (enum cleave__kind)kind),
					     cleave__node_size((enum cleave__kind)kind));
}

void cleave_domain_init(struct cleave_domain *domain, const struct cleave_ops *ops, const struct cleave_memory *memory,
			const struct cleave__search *search, uint64_t garbage_limit)
{
	memset(domain, 0, sizeof(*domain));
	domain->ops = ops;
	domain->memory = memory;
	domain->search = search ? search : cleave_search_named(NULL);
	domain->garbage_limit = garbage_limit;
}

void cleave_domain_exit(struct cleave_domain *domain)
{
	for (unsigned int kind = 0; kind < 2; kind++)
		while (domain->orphans[kind].head)
			domain->memory->free(domain->memory, pop(&domain->orphans[kind]),
					     cleave__node_size((enum cleave__kind)kind));
}
