/* SPDX-License-Identifier: ISC */
/* Life of stores, and the domain's list of them. */
#include "anon_store.h"

struct cleave_anon *cleave__anon_make(struct cleave_anon_context *context, uint64_t nslots)
{
	const struct cleave_memory *memory = context->domain->guards.domain->memory;
	struct cleave_anon *store = memory->alloc(memory, sizeof(*store), 64);

	if (!store)
		return NULL;
	memset(store, 0, sizeof(*store));
	if (cleave_init(&store->windows, context->self)) {
		memory->free(memory, store, sizeof(*store));
		return NULL;
	}
	store->domain = context->domain;
	store->id = cleave__anon_generation(context->domain);
	PORT_STORE(&store->generation, store->id, PORT_RELAXED);
	PORT_STORE(&store->nslots, nslots, PORT_RELAXED);
	PORT_STORE(&store->refs, 1, PORT_RELAXED);
	return store;
}

void cleave__anon_unmake(struct cleave_anon_context *context, struct cleave_anon *store)
{
	const struct cleave_memory *memory = context->domain->guards.domain->memory;

	cleave_destroy(&store->windows, context->self);
	memory->free(memory, store, sizeof(*store));
}

void cleave__anon_register(struct cleave_anon_context *context, struct cleave_anon *store)
{
	struct cleave_anon_domain *domain = context->domain;

	cleave__anon_lock_word(context, &domain->lock);
	store->prev = (struct cleave_anon *)(uintptr_t)PORT_LOAD(&domain->last, PORT_RELAXED);
	store->next = NULL;
	if (store->prev)
		store->prev->next = store;
	else
		domain->first = store;
	PORT_STORE(&domain->last, (uint64_t)(uintptr_t)store, PORT_RELAXED);
	domain->stores++;
	domain->registered++;
	cleave__anon_unlock(&domain->guards, &domain->lock);
}

int cleave_anon_create(struct cleave_anon_context *context, uint64_t nslots, struct cleave_anon **store)
{
	struct cleave_anon *made;

	if (nslots == 0 || nslots > CLEAVE_ANON_SLOTS)
		return -EINVAL;
	made = cleave__anon_make(context, nslots);
	if (!made)
		return -ENOMEM;
	cleave__anon_register(context, made);
	*store = made;
	return 0;
}

/* [A14-rel] what was done through this reference comes before the end of the store; [A14-acq] for who ends it. */
void cleave__anon_put(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t user)
{
	struct cleave_anon_domain *domain = context->domain;
	uint64_t seen = PORT_LOAD(&store->refs, PORT_RELAXED), fresh;

	do {
		PORT_ASSERT((seen & (user == 1 ? CLEAVE__ANON_REFERENCES
					       : ~CLEAVE__ANON_REFERENCES & ~CLEAVE__ANON_SHARED)) != 0,
			    "a store's reference is dropped once");
		fresh = seen - user;
		if ((fresh & CLEAVE__ANON_REFERENCES) <= 1)
			fresh &= ~CLEAVE__ANON_SHARED;
	} while (!PORT_CAS(&store->refs, &seen, fresh, PORT_ACQ_REL, PORT_RELAXED)); /* [A14-rel] [A14-acq] */
	if (fresh)
		return;
	cleave__anon_lock_word(context, &domain->lock);
	if (store->prev)
		store->prev->next = store->next;
	else
		domain->first = store->next;
	if (store->next)
		store->next->prev = store->prev;
	else
		PORT_STORE(&domain->last, (uint64_t)(uintptr_t)store->prev, PORT_RELAXED);
	domain->stores--;
	cleave__anon_unlock(&domain->guards, &domain->lock);
	cleave__anon_retire_store(context, store);
}

bool cleave__anon_pin_store(struct cleave_anon *store)
{
	uint64_t seen = PORT_LOAD(&store->refs, PORT_RELAXED);

	/* One without references is on its way out: whoever dropped the last waits for our lock. */
	while (seen && !PORT_CAS(&store->refs, &seen, seen + CLEAVE__ANON_PIN, PORT_RELAXED, PORT_RELAXED))
		;
	/* [A14-acq] who stops all stores for fork() leaves it out: what was done in it is over, and seen */
	return seen || PORT_LOAD(&store->refs, PORT_ACQUIRE);
}

void cleave_anon_ref(struct cleave_anon *store, bool shared)
{
	uint64_t seen = PORT_LOAD(&store->refs, PORT_RELAXED);

	do {
		PORT_ASSERT((seen & CLEAVE__ANON_REFERENCES) != 0, "who takes a reference has one");
	} while (!PORT_CAS(&store->refs, &seen, (seen + 1) | (shared ? CLEAVE__ANON_SHARED : 0), PORT_RELAXED,
			   PORT_RELAXED));
}

void cleave_anon_unref(struct cleave_anon_context *context, struct cleave_anon *store)
{
	cleave__anon_put(context, store, 1);
	cleave__anon_finish_giving(context);
}

struct cleave_anon *cleave__anon_next_store(struct cleave_anon_context *context, struct cleave_anon *store)
{
	struct cleave_anon_domain *domain = context->domain;
	struct cleave_anon *next;

	cleave__anon_lock_word(context, &domain->lock);
	for (next = store ? store->next : domain->first; next && !cleave__anon_pin_store(next); next = next->next)
		;
	cleave__anon_unlock(&domain->guards, &domain->lock);
	if (store)
		cleave__anon_put(context, store, CLEAVE__ANON_PIN);
	return next;
}

bool cleave_anon_shared(const struct cleave_anon *store)
{
	return (PORT_LOAD(&store->refs, PORT_RELAXED) & CLEAVE__ANON_SHARED) != 0;
}

uint64_t cleave_anon_refs(const struct cleave_anon *store)
{
	return PORT_LOAD(&store->refs, PORT_RELAXED) & CLEAVE__ANON_REFERENCES;
}

uint64_t cleave_anon_slots(const struct cleave_anon *store)
{
	return PORT_LOAD(&store->nslots, PORT_RELAXED);
}
