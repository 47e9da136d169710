/* SPDX-License-Identifier: ISC */
/*
 * Around fork(): no store is half changed when the process is copied.
 *
 *	1. the numbers of windows of all stores, by store id: no change of them is between begin and commit
 *	2. the domain's lock: no store comes or goes.  If one came meanwhile: everything again
 *	3. CLONING on each store: no writer begins; those under way are waited for by guards, wipes by their number
 *	4. each root's lock, which a clone has outside of all that
 *
 * After 3 nobody has a node's lock, a busy slot or a guard.  Who is waited for never wants what is held by then: under
 * a guard and in a wipe nobody changes windows, or has to do with the domain's lock.
 */
#include "anon_wipe.h"

struct cleave__anon_forked {
	struct cleave_anon *store; /* pinned */
	struct cleave_txn windows;
};

static const struct cleave_memory *memory_of(const struct cleave_anon_fork *fork)
{
	return fork->context->domain->guards.domain->memory;
}

static size_t bytes_of(const struct cleave_anon_fork *fork)
{
	return fork->capacity * sizeof(struct cleave__anon_forked);
}

static void let_go(struct cleave_anon_fork *fork)
{
	for (uint64_t i = 0; i < fork->n; i++)
		cleave__anon_put(fork->context, fork->stores[i].store, CLEAVE__ANON_PIN);
	memory_of(fork)->free(memory_of(fork), fork->stores, bytes_of(fork));
	fork->stores = NULL;
	fork->n = 0;
}

/* The stores that there are now, pinned, by id.  False: there are more than there is room for. */
static bool collect(struct cleave_anon_fork *fork)
{
	struct cleave_anon_domain *domain = fork->context->domain;
	bool fits;

	cleave__anon_lock_word(fork->context, &domain->lock);
	fits = domain->stores <= fork->capacity;
	fork->registered = domain->registered;
	for (struct cleave_anon *store = fits ? domain->first : NULL; store; store = store->next) {
		uint64_t i = fork->n;

		if (!cleave__anon_pin_store(store)) /* on its way out */
			continue;
		for (; i > 0 && fork->stores[i - 1].store->id > store->id; i--)
			fork->stores[i].store = fork->stores[i - 1].store;
		fork->stores[i].store = store;
		fork->n++;
	}
	if (!fits)
		fork->capacity = domain->stores + domain->stores / 8;
	cleave__anon_unlock(&domain->guards, &domain->lock);
	return fits;
}

/* Steps 1 and 2.  0, -ENOMEM; -EAGAIN: a store came meanwhile, or there was no room. */
static int stop_stores(struct cleave_anon_fork *fork)
{
	struct cleave_anon_context *context = fork->context;
	struct cleave_anon_domain *domain = context->domain;
	size_t bytes = bytes_of(fork); /* collect() may want more */

	fork->stores = memory_of(fork)->alloc(memory_of(fork), bytes, 16);
	if (!fork->stores)
		return -ENOMEM;
	fork->n = 0;
	if (!collect(fork)) {
		memory_of(fork)->free(memory_of(fork), fork->stores, bytes);
		return -EAGAIN;
	}
	for (uint64_t i = 0; i < fork->n; i++)
		cleave_prefork(&fork->stores[i].windows, &fork->stores[i].store->windows, context->self);
	cleave__anon_lock_word(context, &domain->lock);
	if (domain->registered == fork->registered)
		return 0;
	cleave__anon_unlock(&domain->guards, &domain->lock);
	for (uint64_t i = fork->n; i-- > 0;)
		cleave_postfork_parent(&fork->stores[i].windows);
	let_go(fork);
	return -EAGAIN;
}

int cleave_anon_prefork(struct cleave_anon_fork *fork, struct cleave_anon_context *context)
{
	int result;

	memset(fork, 0, sizeof(*fork));
	fork->context = context;
	fork->capacity = 16;
	do
		result = stop_stores(fork);
	while (result == -EAGAIN);
	if (result)
		return result;
	for (uint64_t i = 0; i < fork->n; i++)
		PORT_FETCH_ADD(&fork->stores[i].store->cloning, 1, PORT_SEQ_CST); /* [A7-sc] [A17-sc] as a clone */
	cleave__guards_wait_all(&context->domain->guards, context->self, &context->guard);
	for (uint64_t i = 0; i < fork->n; i++)
		cleave__anon_wait_wipes(context, fork->stores[i].store);
	for (uint64_t i = 0; i < fork->n; i++)
		cleave__anon_lock_word(context, &fork->stores[i].store->root_lock);
	return 0;
}

void cleave_anon_postfork_parent(struct cleave_anon_fork *fork)
{
	struct cleave_guards *guards = &fork->context->domain->guards;

	for (uint64_t i = 0; i < fork->n; i++) {
		struct cleave_anon *store = fork->stores[i].store;

		cleave__anon_unlock(guards, &store->root_lock);
		PORT_FETCH_ADD(&store->cloning, UINT32_MAX, PORT_RELEASE); /* [A7-rel] */
		cleave__guards_wake(guards, &store->cloning);
	}
	cleave__anon_unlock(guards, &fork->context->domain->lock);
	for (uint64_t i = fork->n; i-- > 0;)
		cleave_postfork_parent(&fork->stores[i].windows);
	let_go(fork);
}

/* Nobody waits in the child, nobody else clones, and nobody is about to find that somebody does. */
void cleave_anon_postfork_child(struct cleave_anon_fork *fork)
{
	struct cleave_anon_domain *domain = fork->context->domain;

	cleave__anon_forget_contexts(domain, fork->context);
	for (uint64_t i = 0; i < fork->n; i++) {
		PORT_STORE(&fork->stores[i].store->root_lock, 0, PORT_RELAXED);
		PORT_STORE(&fork->stores[i].store->cloning, 0, PORT_RELAXED);
		PORT_STORE(&fork->stores[i].store->wipes, 0, PORT_RELAXED);
	}
	PORT_STORE(&domain->lock, 0, PORT_RELAXED);
	for (uint64_t i = fork->n; i-- > 0;)
		cleave_postfork_child(&fork->stores[i].windows);
	let_go(fork);
}
