/* SPDX-License-Identifier: ISC */
#include "job.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLAB 1024
#define MANY_OBJECTS 200000 /* waiting for grace periods: wait for one */

struct object_slab {
	struct object_slab *next;
	struct object object[SLAB];
};

const char *const count_names[COUNTS] = {
#define X(name, text) text,
	STRESS_COUNTS(X)
#undef X
};

/* ---- Life ---- */

static void *aligned(size_t size)
{
	size_t bytes = (size + 63) & ~(size_t)63;
	void *memory = aligned_alloc(64, bytes);

	if (memory)
		memset(memory, 0, bytes);
	return memory;
}

int worker_init(struct worker *worker, struct job *job, unsigned int number)
{
	worker->job = job;
	worker->flavour = job->options.flavour;
	worker->index = &job->index;
	worker->number = number;
	worker->rng.state = job->options.seed * UINT64_C(0x9e3779b97f4a7c15) + number * UINT64_C(0xd1342543de82ef95);
	worker->record = aligned(worker->flavour->thread_size);
	worker->floor = calloc(job->nstripes + 1, sizeof(*worker->floor));
	if (!worker->record || !worker->floor)
		return -ENOMEM;
	return 0;
}

void worker_start(struct worker *worker)
{
	worker->flavour->attach(worker->record, worker->job->domain);
	worker->self = worker->flavour->thread(worker->record);
}

static void add_counters(struct cleave_counters *sum, const struct cleave_counters *more)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)more;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

void worker_stop(struct worker *worker)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	add_counters(&worker->job->counters, &worker->self->counters);
	pthread_mutex_unlock(&lock);
	worker->flavour->detach(worker->record, worker->job->domain);
}

void worker_free(struct worker *worker)
{
	while (worker->objects.slabs) {
		struct object_slab *slab = worker->objects.slabs;

		worker->objects.slabs = slab->next;
		free(slab);
	}
	free(worker->floor);
	free(worker->record);
}

/* ---- Sections ---- */

void worker_enter(struct worker *worker)
{
	worker->flavour->enter(worker->record);
	worker->inside = true;
	worker->nseen = 0;
}

/*
 * After rcutorture: who has seen an object in a section may find it displaced (1) when the section ends, but no grace
 * period can have passed since.
 */
static void check_age(struct worker *worker, const struct object *object)
{
	uint32_t age = atomic_load_explicit(&object->age, memory_order_acquire);
	_Atomic uint64_t *bar = &worker->ages[age < AGES ? age : AGES - 1];

	atomic_store_explicit(bar, atomic_load_explicit(bar, memory_order_relaxed) + 1, memory_order_relaxed);
	if (age > 1)
		violation(worker, object->first,
			  "a value displaced %u grace periods ago was seen in a section that lasted all the time "
			  "(object %llx)",
			  age - 1, (unsigned long long)object->serial);
}

void worker_saw(struct worker *worker, const void *value)
{
	if (value && worker->nseen < SEEN)
		worker->seen[worker->nseen++] = (struct object *)(uintptr_t)value;
}

void worker_leave(struct worker *worker)
{
	for (unsigned int i = 0; i < worker->nseen; i++)
		check_age(worker, worker->seen[i]);
	worker->inside = false;
	worker->flavour->leave(worker->record);
	worker->flavour->quiescent(worker->record);
}

void worker_delay(struct worker *worker)
{
	uint64_t dice = rng_next(&worker->rng);

	if (dice & 0x1f)
		return;
	dice >>= 5;
	count(worker, COUNT_DELAYS, 1);
	if ((dice & 0x1ff) == 0) {
		struct timespec nap = { .tv_nsec = (long)(dice >> 9 & 0x3fff) };

		nanosleep(&nap, NULL);
	} else if ((dice & 7) == 0) {
		sched_yield();
	} else {
		for (uint64_t n = dice >> 9 & 0xff; n > 0; n--)
			atomic_signal_fence(memory_order_seq_cst);
	}
}

bool worker_goes_on(struct worker *worker)
{
	struct gate *gate = &worker->job->gate;

	worker->flavour->quiescent(worker->record);
	if (atomic_load_explicit(&gate->wanted, memory_order_relaxed)) {
		worker->flavour->offline();
		pthread_mutex_lock(&gate->lock);
		gate->standing++;
		pthread_cond_broadcast(&gate->changed);
		while (atomic_load_explicit(&gate->wanted, memory_order_relaxed))
			pthread_cond_wait(&gate->changed, &gate->lock);
		gate->standing--;
		pthread_cond_broadcast(&gate->changed);
		pthread_mutex_unlock(&gate->lock);
		worker->flavour->online();
	}
	return !atomic_load_explicit(&worker->job->stop, memory_order_relaxed);
}

void worker_did(struct worker *worker, const char *what, uint64_t first, uint64_t last, const struct object *object,
		uint64_t state, int result)
{
	worker->history[worker->steps++ % HISTORY] =
		(struct step){ what, first, last, object ? object->serial : 0, state, result };
}

/* ---- Objects ---- */

static void append(struct object_list *list, struct object *object)
{
	object->next = NULL;
	if (list->tail)
		list->tail->next = object;
	else
		list->head = object;
	list->tail = object;
	list->count++;
}

static void move(struct object_list *to, struct object_list *from, uint32_t age)
{
	for (struct object *object = from->head; object; object = object->next)
		atomic_store_explicit(&object->age, age, memory_order_release);
	if (!from->head)
		return;
	if (to->tail)
		to->tail->next = from->head;
	else
		to->head = from->head;
	to->tail = from->tail;
	to->count += from->count;
	*from = (struct object_list){ 0 };
}

/* When a grace period has passed everything that waited for it is one older, and waits for the next. */
static void advance(struct worker *worker)
{
	struct objects *objects = &worker->objects;
	struct cleave_domain *domain = worker->job->core;
	bool early = worker->job->options.plant == PLANT_EARLY_FREE;

	if (objects->waiting && !early && !worker->job->ops->done(domain, worker->self, objects->cookie)) {
		if (worker->job->ops->advance)
			worker->job->ops->advance(domain, worker->self, objects->cookie);
		return;
	}
	if (objects->waiting) {
		size_t freed = objects->limbo[AGE_FREE - 1].count;

		objects->waiting_count -= freed;
		move(&objects->free, &objects->limbo[AGE_FREE - 1], AGE_FREE);
		for (unsigned int age = AGE_FREE - 1; age > 1; age--)
			move(&objects->limbo[age], &objects->limbo[age - 1], age);
	}
	move(&objects->limbo[1], &objects->limbo[0], 1);
	objects->waiting = objects->waiting_count > 0;
	if (objects->waiting)
		objects->cookie = worker->job->ops->cookie(domain, worker->self);
}

void object_retire(struct worker *worker, struct object *object)
{
	struct objects *objects = &worker->objects;

	atomic_store_explicit(&object->age, 1, memory_order_release);
	append(&objects->limbo[0], object);
	if (++objects->waiting_count % 64 == 0)
		advance(worker);
}

void object_drop(struct worker *worker, struct object *object)
{
	append(&worker->objects.free, object);
}

static bool add_slab(struct objects *objects)
{
	struct object_slab *slab = calloc(1, sizeof(*slab));

	if (!slab)
		return false;
	slab->next = objects->slabs;
	objects->slabs = slab;
	for (unsigned int i = 0; i < SLAB; i++)
		append(&objects->free, &slab->object[i]);
	objects->made += SLAB;
	return true;
}

struct object *object_new(struct worker *worker, enum object_kind kind, uint64_t first, uint64_t last)
{
	struct objects *objects = &worker->objects;
	struct cleave_domain *domain = worker->job->core;
	struct object *object;

	if (objects->waiting_count > MANY_OBJECTS) {
		if (objects->waiting)
			worker->job->ops->wait(domain, worker->self, objects->cookie);
		advance(worker);
	}
	if (!objects->free.head)
		advance(worker);
	if (!objects->free.head && !add_slab(objects)) {
		violation(worker, first, "no memory for objects");
		abort();
	}
	object = objects->free.head;
	objects->free.head = object->next;
	if (!objects->free.head)
		objects->free.tail = NULL;
	objects->free.count--;
	object->kind = kind;
	object->attributes = 0;
	object->tiles = 0;
	object->first = first;
	object->last = last;
	object->tag = 0;
	object->serial = (uint64_t)worker->number << 48 | ++objects->serials;
	atomic_store_explicit(&object->mapped, 0, memory_order_relaxed);
	atomic_store_explicit(&object->age, 0, memory_order_relaxed);
	return object;
}
