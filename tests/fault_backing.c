/* SPDX-License-Identifier: ISC */
/* What pages of the fault tests' world come from and go to: objects, and swap. */
#include "fault_world_parts.h"

/* ---- Objects ---- */

static uint64_t object_page(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write)
{
	struct sim_object *it = object;

	(void)ops;
	(void)write;
	CHECK(load(&it->refs) > 0, "a page of an object that is gone");
	CHECK(offset % PAGE == 0 && offset / PAGE < it->n, "offset %#llx", LL(offset));
	return 2 * load(&it->pages[offset / PAGE]);
}

static int object_fetch(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write)
{
	struct fault_world *world = world_of(ops);
	struct sim_object *it = object;
	uint64_t page = 1;

	(void)write;
	check_unguarded();
	if (fault_fails(world))
		return -EIO;
	pthread_mutex_lock(&it->lock);
	if (!load(&it->pages[offset / PAGE])) {
		page = fault_page_take(world, SIM_OBJECT, load(&it->values[offset / PAGE]));
		store(&it->pages[offset / PAGE], page / 2);
	}
	pthread_mutex_unlock(&it->lock);
	add(&it->fetched, 1);
	return page ? 0 : -ENOMEM;
}

static void object_ref(const struct cleave_space_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)flags;
	add(&((struct sim_object *)object)->refs, 1);
}

static void object_unref(const struct cleave_space_ops *ops, void *object, uint32_t flags)
{
	(void)flags;
	fault_object_put(world_of(ops), object);
}

struct sim_object *fault_object(struct fault_world *world, uint64_t tag, uint64_t n, bool late)
{
	struct sim_object *object = calloc(1, sizeof(*object));

	CHECK(object != NULL, "memory");
	*object = (struct sim_object){ .tag = tag, .n = n, .late = late };
	pthread_mutex_init(&object->lock, NULL);
	object->pages = calloc(n, sizeof(*object->pages));
	object->values = calloc(n, sizeof(*object->values));
	CHECK(object->pages && object->values, "memory");
	store(&object->refs, 1);
	add(&world->objects, 1);
	for (uint64_t i = 0; i < n; i++) {
		store(&object->values[i], tag + i * PAGE);
		if (!late)
			store(&object->pages[i], fault_page_take(world, SIM_OBJECT, tag + i * PAGE) / 2);
	}
	return object;
}

void fault_object_put(struct fault_world *world, struct sim_object *object)
{
	if (__atomic_fetch_sub(&object->refs.word, 1, __ATOMIC_ACQ_REL) != 1)
		return;
	for (uint64_t i = 0; i < object->n; i++)
		if (object->pages[i].word)
			fault_page_give(world, 2 * object->pages[i].word, SIM_OBJECT);
	pthread_mutex_destroy(&object->lock);
	free(object->pages);
	free(object->values);
	free(object);
	add(&world->objects, UINT64_MAX);
}

void fault_object_evict(struct fault_world *world, struct sim_object *object, uint64_t offset)
{
	struct cleave_word *resident = &object->pages[offset / PAGE];
	uint64_t page;

	/* Nobody fetches it meanwhile. */
	pthread_mutex_lock(&object->lock);
	page = 2 * __atomic_exchange_n(&resident->word, 0, __ATOMIC_SEQ_CST);
	if (page) {
		cleave_space_settle(fault_self);
		if (load(&page_at(world, page)->wired)) {
			store(resident, page / 2);
		} else {
			fault_remove_page(&world->ops, page);
			store(&object->values[offset / PAGE], load(&page_at(world, page)->value));
			fault_page_give(world, page, SIM_OBJECT);
		}
	}
	pthread_mutex_unlock(&object->lock);
}

/* ---- Swap ---- */

static int page_out(const struct cleave_space_ops *ops, uint64_t page, uint64_t *token)
{
	struct fault_world *world = world_of(ops);
	struct sim_page *at = page_at(world, page);
	uint32_t i;

	check_unguarded();
	CHECK(load(&at->mapped) == 0, "page %llu is written out while %llu addresses show it", LL(page),
	      LL(load(&at->mapped)));
	if (fault_fails(world))
		return -EIO;
	pthread_mutex_lock(&world->lock);
	for (i = 0; i < world->npages && world->used[i]; i++)
		;
	if (i == world->npages) {
		pthread_mutex_unlock(&world->lock);
		return -ENOSPC;
	}
	world->used[i] = 1;
	store(&world->swapped[i], load(&at->value));
	pthread_mutex_unlock(&world->lock);
	add(&world->tokens, 1);
	*token = 2 * (uint64_t)i + 1;
	return 0;
}

static void token_free(const struct cleave_space_ops *ops, uint64_t token)
{
	struct fault_world *world = world_of(ops);

	pthread_mutex_lock(&world->lock);
	CHECK(world->used[token / 2], "token %llu is freed twice", LL(token));
	world->used[token / 2] = 0;
	store(&world->swapped[token / 2], SIM_POISON);
	pthread_mutex_unlock(&world->lock);
	add(&world->tokens, UINT64_MAX);
}

static int page_in(const struct cleave_space_ops *ops, uint64_t token, uint64_t page)
{
	struct fault_world *world = world_of(ops);

	check_unguarded();
	CHECK(world->used[token / 2], "token %llu is read after its end", LL(token));
	if (fault_fails(world))
		return -EIO;
	store(&page_at(world, page)->value, load(&world->swapped[token / 2]));
	token_free(ops, token);
	return 0;
}

static bool may_evict(const struct cleave_space_ops *ops, uint64_t page)
{
	return load(&page_at(world_of(ops), page)->wired) == 0;
}

size_t fault_evict(struct fault_world *world, const uint32_t *numbers, size_t n)
{
	struct cleave_anon_page *anons[CLEAVE_SWAP_BATCH];
	size_t found = 0;

	for (size_t i = 0; i < n && found < CLEAVE_SWAP_BATCH; i++) {
		struct sim_page *page = &world->pages[numbers[i]];

		pthread_mutex_lock(&page->lock);
		if (page->anon && cleave_anon_page_pin_rcu(page->anon))
			anons[found++] = page->anon;
		pthread_mutex_unlock(&page->lock);
	}
	return found ? cleave_swap_out(fault_self, anons, found) : 0;
}

void fault_backing_embed(struct cleave_space_ops *ops)
{
	ops->object_page = object_page;
	ops->object_fetch = object_fetch;
	ops->object_ref = object_ref;
	ops->object_unref = object_unref;
	ops->page_out = page_out;
	ops->page_in = page_in;
	ops->token_free = token_free;
	ops->may_evict = may_evict;
}
