/* SPDX-License-Identifier: ISC */
#include "anon_context.h"

#define BATCH PORT_BATCH /* retired things that are worth a cookie */

static const struct cleave_memory *memory_of(const struct cleave_anon_context *context)
{
	return context->domain->guards.domain->memory;
}

/* ---- Records ---- */

void cleave_anon_domain_init(struct cleave_anon_domain *domain, struct cleave_domain *rcu,
			     const struct cleave_anon_ops *ops)
{
	memset(domain, 0, sizeof(*domain));
	cleave__guards_init(&domain->guards, rcu);
	domain->ops = ops;
	PORT_STORE(&domain->generation, 1, PORT_RELAXED);
}

#define USED 1u
#define FORGOTTEN 2u /* by the child of a fork */

static struct cleave_anon_context *context_of(struct cleave_guard *guard)
{
	return (struct cleave_anon_context *)(void *)guard; /* its first member */
}

void cleave_anon_domain_exit(struct cleave_anon_domain *domain)
{
	const struct cleave_memory *memory = domain->guards.domain->memory;
	struct cleave_guard *guard = cleave__guards_first(&domain->guards), *next;

	PORT_ASSERT(!domain->first, "a domain ends after its stores");
	for (; guard; guard = next) {
		next = guard->next;
		PORT_ASSERT(PORT_LOAD(&context_of(guard)->used, PORT_RELAXED) != USED,
			    "a domain ends after its contexts");
		memory->free(memory, context_of(guard), sizeof(struct cleave_anon_context));
	}
	PORT_STORE(&domain->guards.head, 0, PORT_RELAXED);
}

struct cleave_anon_context *cleave_anon_context_open(struct cleave_anon_domain *domain, struct cleave_thread *self)
{
	const struct cleave_memory *memory = domain->guards.domain->memory;
	struct cleave_anon_context *context;
	struct cleave_guard *guard;

	for (guard = cleave__guards_first(&domain->guards); guard; guard = guard->next) {
		uint32_t seen = 0;

		/* [A13-acq] what the last one left; pairs with [A13-rel] cleave_anon_context_close() */
		if (PORT_CAS(&context_of(guard)->used, &seen, USED, PORT_ACQUIRE, PORT_RELAXED)) {
			context_of(guard)->self = self;
			return context_of(guard);
		}
	}
	context = memory->alloc(memory, sizeof(*context), 64);
	if (!context)
		return NULL;
	memset(context, 0, sizeof(*context));
	context->domain = domain;
	context->self = self;
	PORT_STORE(&context->used, USED, PORT_RELAXED);
	cleave__guards_add(&domain->guards, &context->guard);
	return context;
}

void cleave__anon_forget_contexts(struct cleave_anon_domain *domain, const struct cleave_anon_context *except)
{
	struct cleave_guard *guard = cleave__guards_first(&domain->guards);

	for (; guard; guard = guard->next) {
		if (context_of(guard) == except)
			continue;
		/* Set by a thread that was about to find CLONING. */
		PORT_STORE(&guard->word, 0, PORT_RELAXED);
		if (PORT_LOAD(&context_of(guard)->used, PORT_RELAXED))
			PORT_STORE(&context_of(guard)->used, FORGOTTEN, PORT_RELAXED);
	}
}

static void free_node(struct cleave_anon_context *context, struct cleave__anon_node *node)
{
	const struct cleave_memory *memory = memory_of(context);

	memory->free(memory, node, sizeof(*node));
	PORT_FETCH_ADD(&context->domain->nodes, UINT64_MAX, PORT_RELAXED);
}

void cleave_anon_context_close(struct cleave_anon_context *context)
{
	const struct cleave_memory *memory = memory_of(context);
	struct cleave__anon_node *node;

	cleave_anon_flush(context);
	while ((node = cleave__anon_pop(&context->nodes)))
		free_node(context, node);
	while (context->pages) {
		struct cleave_anon_page *page = context->pages;

		context->pages = page->link;
		memory->free(memory, page, sizeof(*page));
		PORT_FETCH_ADD(&context->domain->anons, UINT64_MAX, PORT_RELAXED);
	}
	context->nnodes = context->npages = 0;
	PORT_STORE(&context->used, 0, PORT_RELEASE); /* [A13-rel] pairs with [A13-acq] cleave_anon_context_open() */
}

/* ---- Spare nodes ---- */

void cleave__anon_give(struct cleave_anon_context *context, struct cleave__anon_node *node)
{
	cleave__anon_push(&context->nodes, node);
	context->nnodes++;
}

struct cleave__anon_node *cleave__anon_take(struct cleave_anon_context *context, unsigned int level,
					    uint64_t generation)
{
	struct cleave__anon_node *node = cleave__anon_ring_has_room(context) ? cleave__anon_pop(&context->nodes) : NULL;

	if (!node)
		return NULL;
	context->nnodes--;
	cleave__anon_node_init(node, level, generation);
	PORT_COUNT(context->nodes_made);
	return node;
}

static bool turn(struct cleave_anon_context *context);

int cleave__anon_stock(struct cleave_anon_context *context, unsigned int nodes, unsigned int displaced)
{
	const struct cleave_memory *memory = memory_of(context);
	struct cleave_domain *rcu = context->domain->guards.domain;
	unsigned int made = 0;

	while (context->old.displaced + context->young.displaced + displaced > CLEAVE_ANON_RING) {
		if (!turn(context))
			rcu->ops->wait(rcu, context->self, context->old.cookie);
	}
	while (context->nnodes < nodes) {
		struct cleave__anon_node *node = memory->alloc(memory, sizeof(*node), CLEAVE__ANON_ALIGN);

		if (!node)
			break;
		cleave__anon_give(context, node);
		made++;
	}
	if (made) /* a line that all threads share */
		PORT_FETCH_ADD(&context->domain->nodes, made, PORT_RELAXED);
	return context->nnodes < nodes ? -ENOMEM : 0;
}

/* ---- What waits for a grace period ---- */

void cleave__anon_displace(struct cleave_anon_context *context, struct cleave__anon_node *node)
{
	uint32_t at = context->ring_head + context->old.displaced + context->young.displaced;

	PORT_ASSERT(cleave__anon_ring_has_room(context), "room for displaced nodes is reserved");
	context->ring[at % CLEAVE_ANON_RING] = node;
	context->young.displaced++;
	context->young.count++;
}

void cleave__anon_retire(struct cleave_anon_context *context, struct cleave__anon_node *node)
{
	cleave__anon_push(&context->young.nodes, node);
	context->young.count++;
}

void cleave__anon_retire_store(struct cleave_anon_context *context, struct cleave_anon *store)
{
	store->next = context->young.stores;
	context->young.stores = store;
	context->young.count++;
	context->young.nstores += PORT_LOAD(&store->root, PORT_RELAXED) != 0;
}

static void drop_node(struct cleave_anon_context *context, struct cleave__anon_node *node)
{
	if (cleave__anon_node_put(node))
		cleave__anon_push(&context->dead, node);
}

static void free_store(struct cleave_anon_context *context, struct cleave_anon *store)
{
	const struct cleave_memory *memory = memory_of(context);
	uint64_t root = PORT_LOAD(&store->root, PORT_RELAXED);

	if (root)
		drop_node(context, cleave__anon_node_of(root));
	cleave_destroy(&store->windows, context->self);
	memory->free(memory, store, sizeof(*store));
}

static void free_page(struct cleave_anon_context *context, struct cleave_anon_page *anon)
{
	const struct cleave_memory *memory = memory_of(context);
	uint64_t content = PORT_LOAD(&anon->content, PORT_RELAXED);

	if (content)
		context->domain->ops->release(context->domain->ops, content);
	if (context->npages < CLEAVE__ANON_KEEP) {
		anon->link = context->pages;
		context->pages = anon;
		context->npages++;
		return;
	}
	memory->free(memory, anon, sizeof(*anon));
	PORT_FETCH_ADD(&context->domain->anons, UINT64_MAX, PORT_RELAXED);
}

/* The old limbo's grace period is over: counts drop. */
static void settle(struct cleave_anon_context *context)
{
	struct cleave_anon_limbo old = context->old;
	struct cleave__anon_node *node;

	memset(&context->old, 0, sizeof(context->old));
	while ((node = cleave__anon_pop(&old.nodes)))
		drop_node(context, node);
	for (; old.displaced; old.displaced--) {
		drop_node(context, context->ring[context->ring_head]);
		context->ring_head = (context->ring_head + 1) % CLEAVE_ANON_RING;
	}
	while (old.pages) {
		struct cleave_anon_page *page = old.pages;

		old.pages = page->link;
		free_page(context, page);
	}
	while (old.stores) {
		struct cleave_anon *store = old.stores;

		old.stores = store->next;
		free_store(context, store);
	}
}

/* Settle what can be, and start a grace period for the rest.  False: the old limbo's is not over. */
static bool turn(struct cleave_anon_context *context)
{
	struct cleave_domain *rcu = context->domain->guards.domain;

	if (context->old.count) {
		if (!rcu->ops->done(rcu, context->self, context->old.cookie)) {
			if (rcu->ops->advance)
				rcu->ops->advance(rcu, context->self, context->old.cookie);
			return false;
		}
		settle(context);
		/* What it gave to the embedder may have come back here: an eviction that retires more, and turns. */
		if (context->old.count)
			return true;
	}
	if (context->young.count) {
		context->old = context->young;
		memset(&context->young, 0, sizeof(context->young));
		context->old.cookie = rcu->ops->cookie(rcu, context->self);
	}
	return true;
}

/* Take dead nodes apart. */
static void work(struct cleave_anon_context *context, unsigned int steps)
{
	struct cleave__anon_node *node;

	for (; steps >= CLEAVE__ANON_FANOUT && (node = cleave__anon_pop(&context->dead));
	     steps -= CLEAVE__ANON_FANOUT) {
		bool leaf = cleave__anon_is_leaf(node);

		for (unsigned int i = 0; i < CLEAVE__ANON_FANOUT; i++) {
			uint64_t word = PORT_LOAD(&node->slot[i], PORT_RELAXED);

			if (leaf && cleave__anon_page(word))
				cleave_anon_page_drop(context, cleave__anon_page(word));
			else if (!leaf && cleave__anon_child(word))
				drop_node(context, cleave__anon_child(word));
		}
		if (context->nnodes < CLEAVE__ANON_KEEP)
			cleave__anon_give(context, node);
		else
			free_node(context, node);
	}
}

/*
 * Two grace periods at most: that of the old ones, and of the young ones.  Who has a transaction open does not wait,
 * because others wait for its locks; but a fork does that copies wired pages, which waits for what it displaces anyway.
 */
static void wait_for_room(struct cleave_anon_context *context)
{
	struct cleave_domain *rcu = context->domain->guards.domain;

	if (cleave_thread_holds(context->self) && !context->waits_holding)
		return;
	PORT_ASSERT(rcu->ops->inside(rcu, context->self) != 1, "nobody waits for a grace period inside a section");
	while (cleave__anon_over_limit(context, 1)) {
		if (turn(context))
			continue;
		PORT_COUNT(context->gp_waits);
		rcu->ops->wait(rcu, context->self, context->old.cookie);
	}
}

void cleave__anon_tidy_slowly(struct cleave_anon_context *context, bool may_wait)
{
	uint64_t waiting = (uint64_t)context->young.count + context->old.count;

	PORT_ASSERT(!cleave__guard_is_set(&context->guard), "nothing is tidied up under a guard");
	if (waiting > context->most_waiting)
		context->most_waiting = waiting;
	if (context->dead && !cleave__anon_over_limit(context, 1))
		work(context, CLEAVE__ANON_STEPS);
	if (context->young.count >= BATCH || (context->old.count && ++context->ticks % BATCH == 0))
		turn(context);
	if (may_wait && PORT_UNLIKELY(cleave__anon_over_limit(context, 1)))
		wait_for_room(context);
}

void cleave__anon_finish_giving(struct cleave_anon_context *context)
{
	cleave__anon_finish(context);
	while (PORT_UNLIKELY(context->dead) && !cleave_thread_holds(context->self)) {
		PORT_ASSERT(!cleave__anon_over_limit(context, 1), "who holds nothing has waited for room");
		work(context, CLEAVE__ANON_STEPS);
		wait_for_room(context);
	}
}

int cleave__anon_prepare(struct cleave_anon_context *context, unsigned int nodes)
{
	cleave__anon_finish(context);
	if (PORT_UNLIKELY(cleave__anon_over_limit(context, 2)))
		return -ENOMEM;
	return cleave__anon_stock(context, nodes, nodes);
}

void cleave_anon_flush(struct cleave_anon_context *context)
{
	struct cleave_domain *rcu = context->domain->guards.domain;

	while (context->dead || context->young.count || context->old.count) {
		work(context, UINT32_MAX);
		if (!turn(context))
			rcu->ops->wait(rcu, context->self, context->old.cookie);
	}
}

bool cleave__anon_reclaim(struct cleave_anon_context *context)
{
	if (!(context->dead || context->young.count || context->old.count) || cleave_thread_holds(context->self))
		return false;
	PORT_ASSERT(!cleave__guard_is_set(&context->guard), "nobody waits for a grace period under a guard");
	PORT_COUNT(context->gp_waits);
	cleave_anon_flush(context);
	return true;
}

/* ---- Waiting ---- */

/*
 * The count is read before the mark is set (guard.h): [A4-acq] pairs with [A4-rel] cleave__guards_wake(), so that who
 * sees a bump sees what was cleared before it.
 */
void cleave__anon_await_lock(struct cleave_anon_context *context, struct cleave_word32 *lock)
{
	struct cleave_word32 *count = cleave__guards_count(&context->domain->guards, lock);
	uint32_t now;

	context->seen = PORT_LOAD(count, PORT_ACQUIRE); /* [A4-acq] */
	context->count = NULL;
	now = PORT_LOAD(lock, PORT_RELAXED);
	while (now & CLEAVE__ANON_LOCKED) {
		if ((now & CLEAVE__ANON_LOCK_WAITED) ||
		    PORT_CAS(lock, &now, now | CLEAVE__ANON_LOCK_WAITED, PORT_RELAXED, PORT_RELAXED)) {
			context->count = count;
			return;
		}
	}
}

void cleave__anon_await_mark(struct cleave_anon_context *context, struct cleave_word *word, uint64_t mark,
			     uint64_t waited)
{
	struct cleave_word32 *count = cleave__guards_count(&context->domain->guards, word);
	uint64_t now;

	context->seen = PORT_LOAD(count, PORT_ACQUIRE); /* [A4-acq] */
	context->count = NULL;
	now = PORT_LOAD(word, PORT_RELAXED);
	while (now & mark) {
		if ((now & waited) || PORT_CAS(word, &now, now | waited, PORT_RELAXED, PORT_RELAXED)) {
			context->count = count;
			return;
		}
	}
}

void cleave__anon_await_clone(struct cleave_anon_context *context, struct cleave_anon *store)
{
	struct cleave_word32 *count = cleave__guards_count(&context->domain->guards, &store->cloning);

	context->seen = PORT_LOAD(count, PORT_ACQUIRE); /* [A4-acq] */
	context->count = PORT_LOAD(&store->cloning, PORT_RELAXED) ? count : NULL;
}

void cleave_anon_wait(struct cleave_anon_context *context)
{
	struct cleave_domain *rcu = context->domain->guards.domain;
	struct cleave_word32 *count = context->count;

	PORT_ASSERT(!cleave__guard_is_set(&context->guard), "nobody waits under a guard");
	context->count = NULL;
	if (!count)
		return;
	PORT_COUNT(context->waits);
	rcu->ops->park(rcu, context->self, count, context->seen);
}

void cleave__anon_lock_word(struct cleave_anon_context *context, struct cleave_word32 *lock)
{
	while (!cleave__anon_trylock(lock)) {
		cleave__anon_await_lock(context, lock);
		cleave_anon_wait(context);
	}
}
