/* SPDX-License-Identifier: ISC */
/* What stands behind mappings, counted by the map through its callbacks. */
#include "agent.h"

#include <sys/syscall.h>

#define BUCKETS 1024u

static struct {
	uint32_t lock;
	struct object *bucket[BUCKETS]; /* [l] */
} objects;

/* Held for a few instructions, with all signals blocked; the holder may lose its processor, though. */
static void spin_lock(void)
{
	while (__atomic_exchange_n(&objects.lock, 1, __ATOMIC_ACQUIRE))
		sys3(SYS_sched_yield, 0, 0, 0);
}

static void spin_unlock(void)
{
	__atomic_store_n(&objects.lock, 0, __ATOMIC_RELEASE);
}

static struct object **bucket_of(enum object_space space, uint64_t a, uint64_t b)
{
	uint64_t hash = (a * 31 + b * 7 + (uint64_t)space) * UINT64_C(0x9e3779b97f4a7c15);

	return &objects.bucket[hash >> 54];
}

static struct object *find(struct object *object, enum object_space space, uint64_t a, uint64_t b)
{
	while (object && (object->space != space || object->a != a || object->b != b))
		object = object->next;
	return object;
}

struct object *object_get(enum object_space space, uint64_t a, uint64_t b, uint64_t size)
{
	struct object **bucket = bucket_of(space, a, b);
	struct object *fresh = arena.alloc(&arena, sizeof(*fresh), 8), *object;

	if (!fresh)
		return NULL;
	spin_lock();
	object = find(*bucket, space, a, b);
	if (!object) {
		object = fresh;
		*object = (struct object){ .next = *bucket, .space = space, .a = a, .b = b, .size = size };
		if (space == OBJECT_SHOWN) {
			object->learned = 1;
			object->device = a;
			object->inode = b;
		}
		*bucket = object;
	}
	object->references++;
	spin_unlock();
	if (object != fresh)
		arena.free(&arena, fresh, sizeof(*fresh));
	return object;
}

void object_drop(struct object *object)
{
	struct object **link;
	bool last;

	if (!object)
		return;
	spin_lock();
	last = --object->references == 0;
	if (last) {
		for (link = bucket_of(object->space, object->a, object->b); *link != object;)
			link = &(*link)->next;
		*link = object->next;
	}
	spin_unlock();
	if (last)
		arena.free(&arena, object, sizeof(*object));
}

static void ref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)flags;
	spin_lock();
	((struct object *)object)->references++;
	spin_unlock();
}

static void unref(const struct cleave_map_ops *ops, void *object, uint32_t flags)
{
	(void)ops;
	(void)flags;
	object_drop(object);
}

const struct cleave_map_ops map_ops = { .object_ref = ref, .object_unref = unref };

void objects_prefork(void)
{
	spin_lock();
}

void objects_postfork(void)
{
	spin_unlock();
}
