/* SPDX-License-Identifier: ISC */
/*
 * Attribute objects: memory, versions, the page counter, and their end.  What is retired waits in lists of the thread;
 * one cookie serves a batch.
 */
#include "map_count.h"

const struct cleave__map_object cleave__map_guard = { .attributes = { .flags = 0 } };

/* ---- Threads ---- */

void cleave_maps_init(struct cleave_maps *maps, struct cleave_domain *domain, const struct cleave_map_ops *ops)
{
	memset(maps, 0, sizeof(*maps));
	maps->domain = domain;
	maps->ops = ops;
	PORT_STORE(&maps->numbers, 1, PORT_RELAXED);
}

/* A stripe of its own, if there is one left: its owner adds to it without a locked instruction. */
static uint32_t claim_stripe(struct cleave_maps *maps, uint64_t number)
{
	uint64_t taken = PORT_LOAD(&maps->stripes, PORT_RELAXED);

	for (uint32_t stripe = 0; stripe < CLEAVE_MAP_OWN_STRIPES;) {
		uint64_t bit = UINT64_C(1) << stripe;

		if (taken & bit)
			stripe++;
		/* [P6-acq] what the owner before added; pairs with [P6-rel] release_stripe() */
		else if (PORT_CAS(&maps->stripes, &taken, taken | bit, PORT_ACQUIRE, PORT_RELAXED))
			return stripe;
	}
	return CLEAVE_MAP_OWN_STRIPES + (uint32_t)(number % (CLEAVE_MAP_STRIPES - CLEAVE_MAP_OWN_STRIPES));
}

static void release_stripe(struct cleave_map_thread *thread)
{
	/* [P6-rel] what was added before the bit that lets another thread add */
	if (thread->stripe < CLEAVE_MAP_OWN_STRIPES)
		PORT_FETCH_ADD(&thread->maps->stripes, (uint64_t)0 - (UINT64_C(1) << thread->stripe), PORT_RELEASE);
}

void cleave_map_thread_init(struct cleave_map_thread *thread, struct cleave_maps *maps, struct cleave_thread *self)
{
	uint64_t number = PORT_FETCH_ADD(&maps->numbers, 1, PORT_RELAXED);

	memset(thread, 0, sizeof(*thread));
	PORT_FETCH_ADD(&maps->threads, 1, PORT_RELAXED);
	thread->maps = maps;
	thread->self = self;
	thread->version = number << CLEAVE__VERSION_BITS;
	thread->random = number;
	thread->stripe = claim_stripe(maps, number);
	thread->stock = CLEAVE__MAP_STOCK;
	thread->old_end = &thread->old;
}

/* Versions are never used twice: each thread counts below a number of its own. */
static uint64_t next_version(struct cleave_map_thread *thread)
{
	uint64_t version = ++thread->version;

	if (PORT_UNLIKELY((version & ((UINT64_C(1) << CLEAVE__VERSION_BITS) - 1)) == 0)) {
		thread->version = PORT_FETCH_ADD(&thread->maps->numbers, 1, PORT_RELAXED) << CLEAVE__VERSION_BITS;
		version = ++thread->version;
	}
	return version;
}

/* ---- Memory ---- */

static struct cleave__map_object *alloc_object(struct cleave_map_thread *thread)
{
	const struct cleave_memory *memory = thread->maps->domain->memory;

	return memory->alloc(memory, sizeof(struct cleave__map_object), 64);
}

struct cleave__map_object *cleave__map_object_new(struct cleave_map_thread *thread,
						  const struct cleave_map_attributes *attributes)
{
	struct cleave__map_object *object = thread->free;

	if (object) {
		thread->free = object->next;
		thread->nfree--;
	} else {
		object = alloc_object(thread);
		if (!object)
			return NULL;
	}
	object->attributes = *attributes;
	object->version = next_version(thread);
	object->next = NULL;
	object->owner = NULL;
	object->settled = NULL;
	PORT_STORE(&object->pages, 0, PORT_RELAXED);
	return object;
}

void cleave__map_object_free(struct cleave_map_thread *thread, struct cleave__map_object *object)
{
	const struct cleave_memory *memory = thread->maps->domain->memory;

	if (thread->nfree < thread->stock) {
		object->next = thread->free;
		thread->free = object;
		thread->nfree++;
	} else {
		memory->free(memory, object, sizeof(*object));
	}
}

int cleave_map_reserve(struct cleave_map_thread *thread, unsigned int changes)
{
	int error = cleave_reserve(thread->self, 3 * changes);

	if (error)
		return error;
	if (thread->stock < 3 * changes)
		thread->stock = 3 * changes;
	while (thread->nfree < 3 * changes) {
		struct cleave__map_object *object = alloc_object(thread);

		if (!object)
			return -ENOMEM;
		cleave__map_object_free(thread, object);
	}
	return 0;
}

/* ---- References ---- */

void cleave__map_object_ref(struct cleave_map_thread *thread, const struct cleave__map_object *object)
{
	const struct cleave_map_ops *ops = thread->maps->ops;
	const struct cleave_map_attributes *attributes = &object->attributes;

	if (attributes->object && ops->object_ref)
		ops->object_ref(ops, attributes->object, attributes->flags);
	if (attributes->store && ops->store_ref)
		ops->store_ref(ops, attributes->store);
}

static void object_unref(struct cleave_map_thread *thread, const struct cleave__map_object *object)
{
	const struct cleave_map_ops *ops = thread->maps->ops;
	const struct cleave_map_attributes *attributes = &object->attributes;

	if (attributes->object && ops->object_unref)
		ops->object_unref(ops, attributes->object, attributes->flags);
	if (attributes->store && ops->store_unref)
		ops->store_unref(ops, attributes->store);
}

struct cleave__map_object *cleave__map_object_like(struct cleave_map_thread *thread, struct cleave__map_object **last,
						   const struct cleave_map_attributes *attributes)
{
	struct cleave__map_object *object = *last;

	if (object && cleave__map_equal(&object->attributes, attributes))
		return object;
	object = cleave__map_object_new(thread, attributes);
	if (!object)
		return NULL;
	cleave__map_object_ref(thread, object);
	*last = object;
	return object;
}

/* ---- The end ---- */

static void retire(struct cleave_map_thread *thread, struct cleave__map_object *object)
{
	object->next = thread->young;
	thread->young = object;
	thread->nyoung++;
}

void cleave__map_object_discard(struct cleave_map_thread *thread, struct cleave__map_object *object)
{
	if (PORT_LOAD(&object->pages, PORT_RELAXED) == 0)
		retire(thread, object);
}

void cleave__map_pages_add(struct cleave__map_object *object, uint64_t pages)
{
	/* The caller keeps it from reaching 0: it is private, or the caller has a range under it locked. */
	if (!cleave__map_is_guard(object))
		PORT_FETCH_ADD(&object->pages, pages, PORT_RELAXED);
}

void cleave__map_pages_drop(struct cleave_map_thread *thread, struct cleave__map_object *object, uint64_t pages)
{
	if (cleave__map_is_guard(object))
		return;
	/*
	 * [P1-rel] [P1-acq] whoever takes the last pages retires the object after all that others did with it.  If
	 * there are no others than those to be taken, nobody else has any, or can come by some: no need to subtract
	 * them.
	 */
	if (PORT_LOAD(&object->pages, PORT_ACQUIRE) == pages ||
	    PORT_FETCH_ADD(&object->pages, (uint64_t)0 - pages, PORT_ACQ_REL) == pages)
		retire(thread, object);
}

/* ---- Counts that a thread keeps to itself ---- */

/* While a thread counts an object that it made to itself, the shared counter has so much more: it cannot reach 0. */
#define KEPT (UINT64_C(1) << 63)

void cleave__map_settle_made(struct cleave_map_thread *thread, struct cleave__map_tab *tab)
{
	struct cleave__map_tab was = *tab;

	*tab = (struct cleave__map_tab){ .object = NULL };
	if (was.object)
		cleave__map_pages_drop(thread, was.object, KEPT - was.pages);
}

void cleave__map_settle_left(struct cleave_map_thread *thread, struct cleave__map_tab *tab)
{
	struct cleave__map_tab was = *tab;

	tab->object = NULL;
	if (was.object)
		cleave__map_pages_drop(thread, was.object, was.pages);
}

static void settle_tabs(struct cleave_map_thread *thread)
{
	for (unsigned int i = 0; i < 2; i++) {
		cleave__map_settle_made(thread, &thread->made[i]);
		cleave__map_settle_left(thread, &thread->left[i]);
	}
}

/* Versions of one thread are in the order in which they were given out. */
static inline bool own_version(const struct cleave_map_thread *thread, uint64_t version)
{
	return (version ^ thread->version) >> CLEAVE__VERSION_BITS == 0;
}

/* An object that this thread made lately, for the same map, after what it is to displace, and with these attributes. */
static struct cleave__map_tab *made_lately(struct cleave_map_thread *thread, const struct cleave_hold *hold,
					   const struct cleave_map_attributes *attributes)
{
	const struct cleave__map_object *old = hold->entry.value;

	if (!own_version(thread, old->version))
		return NULL;
	for (struct cleave__map_tab *tab = thread->made; tab < thread->made + 2; tab++)
		if (tab->object && tab->index == hold->txn.index && tab->uses < CLEAVE__MAP_USES &&
		    tab->object->version > old->version && cleave__map_equal(&tab->object->attributes, attributes))
			return tab;
	return NULL;
}

void cleave__map_object_remember(struct cleave_map_thread *thread, const struct cleave__map_object *object,
				 const struct cleave__map_object *old, uint64_t rule)
{
	for (struct cleave__map_tab *tab = thread->made; tab < thread->made + 2; tab++) {
		if (tab->object != object)
			continue;
		tab->from[1] = tab->from[0];
		tab->from[0] = (struct cleave__map_origin){ old->version, rule };
	}
}

struct cleave__map_object *cleave__map_object_made(struct cleave_map_thread *thread, const struct cleave_hold *hold,
						   const struct cleave_map_attributes *attributes, uint64_t pages)
{
	struct cleave__map_tab *tab = made_lately(thread, hold, attributes);
	struct cleave__map_object *object;

	if (tab) {
		object = tab->object;
		tab->uses++;
		cleave__map_count_made(thread, tab, pages);
		return object;
	}
	object = cleave__map_object_new(thread, attributes);
	if (!object)
		return NULL;
	cleave__map_object_ref(thread, object);
	cleave__map_settle_made(thread, &thread->made[1]);
	thread->made[1] = thread->made[0];
	thread->made[0] = (struct cleave__map_tab){
		.object = object, .index = hold->txn.index, .pages = pages, .uses = 1
	};
	PORT_STORE(&object->pages, KEPT, PORT_RELAXED); /* nobody knows it yet */
	return object;
}

void cleave__map_pages_left_first(struct cleave_map_thread *thread, struct cleave__map_object *object, uint64_t pages)
{
	for (struct cleave__map_tab *tab = thread->made; tab < thread->made + 2; tab++) {
		if (tab->object == object) {
			cleave__map_count_made(thread, tab, 0 - pages);
			return;
		}
	}
	if (PORT_LOAD(&object->pages, PORT_ACQUIRE) == pages) { /* [P1-acq] as in cleave__map_pages_drop() */
		retire(thread, object);
		return;
	}
	cleave__map_settle_left(thread, &thread->left[1]);
	thread->left[1] = thread->left[0];
	thread->left[0] = (struct cleave__map_tab){ .object = object, .pages = pages };
}

/* Give the young ones a cookie. */
static void mature(struct cleave_map_thread *thread)
{
	struct cleave_domain *domain = thread->maps->domain;
	uint64_t cookie;

	if (!thread->young)
		return;
	cookie = domain->ops->cookie(domain, thread->self);
	*thread->old_end = thread->young;
	while (thread->young) {
		thread->young->cookie = cookie;
		thread->old_end = &thread->young->next;
		thread->young = thread->young->next;
	}
	thread->nold += thread->nyoung;
	thread->nyoung = 0;
	if (domain->ops->advance)
		domain->ops->advance(domain, thread->self, cookie);
}

/* Release the oldest ones whose grace period is over. */
static void release(struct cleave_map_thread *thread, bool wait)
{
	struct cleave_domain *domain = thread->maps->domain;
	struct cleave__map_object *object;
	bool known = false; /* is a cookie done? */
	uint64_t done = 0;

	while ((object = thread->old) != NULL) {
		/* A batch shares one. */
		if ((!known || object->cookie != done) && !domain->ops->done(domain, thread->self, object->cookie)) {
			if (!wait)
				return;
			domain->ops->wait(domain, thread->self, object->cookie);
			continue;
		}
		known = true;
		done = object->cookie;
		thread->old = object->next;
		if (!thread->old)
			thread->old_end = &thread->old;
		thread->nold--;
		object_unref(thread, object);
		cleave__map_object_free(thread, object);
	}
}

void cleave__map_tidy(struct cleave_map_thread *thread, bool may_wait)
{
	struct cleave_domain *domain = thread->maps->domain;

	if (thread->releasing)
		return; /* an embedder's callback changes a map */
	thread->releasing = true;
	if (thread->nyoung >= CLEAVE__MAP_BATCH)
		mature(thread);
	if (thread->old) {
		/* An extract ends its two transactions one after the other: others wait for the second one's locks. */
		if (may_wait && thread->nold > CLEAVE__MAP_GARBAGE && !cleave_thread_holds(thread->self))
			domain->ops->wait(domain, thread->self, thread->old->cookie);
		release(thread, false);
	}
	thread->releasing = false;
}

void cleave_map_thread_flush(struct cleave_map_thread *thread, bool wait)
{
	if (thread->releasing)
		return;
	thread->releasing = true;
	settle_tabs(thread);
	do {
		mature(thread);
		release(thread, wait);
		settle_tabs(thread); /* a callback changed a map */
		PORT_ASSERT(!wait || !thread->old, "who waits releases all that has a cookie");
	} while (wait && thread->young);
	thread->releasing = false;
}

void cleave_map_thread_exit(struct cleave_map_thread *thread)
{
	const struct cleave_memory *memory = thread->maps->domain->memory;
	struct cleave__map_object *object;

	cleave_map_thread_flush(thread, true);
	release_stripe(thread);
	PORT_FETCH_ADD(&thread->maps->threads, (uint64_t)-1, PORT_RELAXED);
	while ((object = thread->free) != NULL) {
		thread->free = object->next;
		memory->free(memory, object, sizeof(*object));
	}
	thread->nfree = 0;
}
