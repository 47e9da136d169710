/* SPDX-License-Identifier: ISC */
/*
 * What the files of the map share.  They stand on the index's public functions alone.
 *
 * The index holds pointers to attribute objects.  Where a range begins and ends is known by the index alone; offsets
 * are deltas; so a clip leaves both halves with the same object.  An object counts the pages mapped under it:
 *
 *	private --stage--> counted --publish--> live --displaced, count 0--> retired --grace period--> released
 *
 * Counts grow before the pages are visible and shrink after they are gone, so that zero is final.
 */
#ifndef CLEAVE_LIB_MAP_H
#define CLEAVE_LIB_MAP_H

#include "port/port.h"

#include <cleave/map.h>

/*
 * Attributes of the ranges that point to it.  [I] from publication on: never written while it is live.
 * [a] atomic; [t] the thread that retired it; [o] the thread that wires.
 */
struct cleave__map_object {
	struct cleave_map_attributes attributes; /* [I] */
	uint64_t version;			 /* [I] */
	struct cleave__map_object *next;	 /* [t] */
	struct cleave_word pages;		 /* [a] mapped under it; a cache line that lookups do not touch */
	uint64_t cookie;			 /* [t] */
	const struct cleave_map_thread *owner;	 /* [I] IN_TRANSITION: who wires */
	struct cleave__map_object *settled;	 /* [o] IN_TRANSITION: what takes its place */
	uint64_t pad[4];
};

_Static_assert(offsetof(struct cleave__map_object, pages) == 64, "the counter has a cache line of its own");
_Static_assert(sizeof(struct cleave__map_object) == 128, "two lines");

/* Stands for a guard page: no object of any map, never counted. */
extern const struct cleave__map_object cleave__map_guard;

static inline struct cleave__map_object *cleave__map_guard_value(void)
{
	return (struct cleave__map_object *)(uintptr_t)&cleave__map_guard;
}

static inline bool cleave__map_is_guard(const struct cleave__map_object *object)
{
	return object == &cleave__map_guard;
}

/* Is there an entry: neither free nor a guard? */
static inline bool cleave__map_is_entry(const struct cleave__map_object *object)
{
	return object && !cleave__map_is_guard(object);
}

/* ... that is no HOLE? */
static inline bool cleave__map_is_mapped(const struct cleave__map_object *object)
{
	return cleave__map_is_entry(object) && !(object->attributes.flags & CLEAVE_MAP_HOLE);
}

static inline uint64_t cleave__map_page(const struct cleave_map *map)
{
	return UINT64_C(1) << map->config.page_shift;
}

static inline bool cleave__map_aligned(const struct cleave_map *map, uint64_t addr)
{
	return (addr & (cleave__map_page(map) - 1)) == 0;
}

static inline const struct cleave_map_ops *cleave__map_ops(const struct cleave_map *map)
{
	return map->maps->ops;
}

/* ---- Rules: map_range.c, map_entry.c ---- */

enum cleave__map_verb { CLEAVE__PROTECT, CLEAVE__INHERIT, CLEAVE__ADVISE, CLEAVE__IMMUTABLE };

struct cleave__map_rule;

/* What an operation does to each entry of a range. */
struct cleave__map_rule_ops {
	enum cleave__map_verb verb;
	/* May an entry with these attributes be changed?  0, or an error. */
	int (*check)(const struct cleave__map_rule *rule, const struct cleave_map_attributes *attributes);
	/* Change them.  False: they are so already. */
	bool (*set)(const struct cleave__map_rule *rule, struct cleave_map_attributes *attributes);
	/* The whole operation, by a transaction. */
	int (*transact)(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			const struct cleave__map_rule *rule);
	bool clips; /* entries that are so already, too */
};

/* One of them, with its arguments. */
struct cleave__map_rule {
	const struct cleave__map_rule_ops *ops;
	unsigned int value;
	uint32_t entry_flags;
	unsigned int flags;
};

/* All that tells a rule from others, in one word.  value and flags: below 256. */
static inline uint64_t cleave__map_rule_word(enum cleave__map_verb verb, unsigned int value, uint32_t entry_flags,
					     unsigned int flags)
{
	return (uint64_t)entry_flags << 32 | verb << 24 | flags << 8 | value;
}

static inline uint64_t cleave__map_rule_key(const struct cleave__map_rule *rule)
{
	return cleave__map_rule_word(rule->ops->verb, rule->value, rule->entry_flags, rule->flags);
}

static inline struct cleave__map_rule cleave__map_rule(const struct cleave__map_rule_ops *ops, uint64_t key)
{
	return (struct cleave__map_rule){
		.ops = ops, .value = key & 255, .entry_flags = (uint32_t)(key >> 32), .flags = key >> 8 & 255
	};
}

/* ---- map_object.c ---- */

#define CLEAVE__MAP_BATCH PORT_BATCH /* retired objects that share a cookie */
#define CLEAVE__MAP_GARBAGE 4096u /* retired objects of a thread above which it waits */
#define CLEAVE__MAP_STOCK 16u	  /* clean objects that a thread keeps */
#define CLEAVE__MAP_USES 64u	  /* changes that one object serves, so that few contend for its counter later */
#define CLEAVE__VERSION_BITS 40	  /* of a thread's own count; above them its number */

static inline bool cleave__map_equal(const struct cleave_map_attributes *one, const struct cleave_map_attributes *other)
{
	return one->protection == other->protection && one->object == other->object && one->delta == other->delta &&
	       one->store == other->store && one->store_delta == other->store_delta && one->flags == other->flags &&
	       one->wired == other->wired && one->max_protection == other->max_protection &&
	       one->inheritance == other->inheritance && one->advice == other->advice;
}

/* An object without pages and references; NULL: no memory. */
struct cleave__map_object *cleave__map_object_new(struct cleave_map_thread *thread,
						  const struct cleave_map_attributes *attributes);
/* Give back an object that was never counted; its references were not taken. */
void cleave__map_object_free(struct cleave_map_thread *thread, struct cleave__map_object *object);
/* Take, drop what it refers to. */
void cleave__map_object_ref(struct cleave_map_thread *thread, const struct cleave__map_object *object);
/*
 * *last if it has these attributes, else a new object that takes its references; *last is it then.
 * A new one without pages is the caller's to discard.
 */
struct cleave__map_object *cleave__map_object_like(struct cleave_map_thread *thread, struct cleave__map_object **last,
						   const struct cleave_map_attributes *attributes);
/* Retire an object that was made, if nothing was staged with it. */
void cleave__map_object_discard(struct cleave_map_thread *thread, struct cleave__map_object *object);
void cleave__map_pages_add(struct cleave__map_object *object, uint64_t pages);
void cleave__map_pages_drop(struct cleave_map_thread *thread, struct cleave__map_object *object, uint64_t pages);
/*
 * An object with these attributes for so many pages of the held entry: one that the thread made lately, or a new one,
 * counted.  NULL: no memory.
 *
 * No version comes again at any address, so the object must have been made after the one that it displaces.  Of two
 * objects of one thread the versions tell; of those of two threads nothing does:
 *	1. this thread gave the address the object v5
 *	2. another one replaced it by its own, v7 of a thread with a lower number
 *	3. this thread would put v5 there again, for it is no older than v7 in any order that both know
 * So what displaces another thread's object is a new one, or one that was new when it displaced the same object
 * elsewhere (cleave__map_object_remember()).  (Joining alone may bring a neighbour's object back to where it was, and
 * what is put then may be what was put before: the same attributes.)
 */
struct cleave__map_object *cleave__map_object_made(struct cleave_map_thread *thread, const struct cleave_hold *hold,
						   const struct cleave_map_attributes *attributes, uint64_t pages);
/* The rule has made `object`, by cleave__map_object_made(), of `old`, for a change that went well. */
void cleave__map_object_remember(struct cleave_map_thread *thread, const struct cleave__map_object *object,
				 const struct cleave__map_object *old, uint64_t rule);
/* Work off a part of what is retired.  may_wait: too much of it is waited for, but not with a transaction open. */
void cleave__map_tidy(struct cleave_map_thread *thread, bool may_wait);

/* ---- map_txn.c ---- */

/* What holds an address, with what is staged; start and end lie inside the map. */
struct cleave__map_view {
	uint64_t start;
	uint64_t end;
	struct cleave__map_object *object;
	bool staged;
};

#define CLEAVE__BEGIN_TRY 1u	/* do not wait */
#define CLEAVE__BEGIN_ANYWAY 2u /* settles a wiring: waits for locks only, and in every map */

/*
 * Lock [start, end) and, where the map joins or guards, what this needs around it.
 * Return: 0; -EAGAIN: TRY, and locked, busy or being wired.
 */
int cleave__map_begin(struct cleave_map_txn *txn, struct cleave_map *map, struct cleave_map_thread *thread,
		      uint64_t start, uint64_t end, unsigned int how);
/*
 * What the index holds at `addr`, before the publication.  All that is locked stays as it is, so that the last answer
 * is remembered.
 */
void *cleave__map_old(struct cleave_map_txn *txn, uint64_t addr, struct cleave_entry *entry);
void cleave__map_view(struct cleave_map_txn *txn, uint64_t addr, struct cleave__map_view *view);
/* Stage.  -ENOMEM is remembered. */
int cleave__map_stage(struct cleave_map_txn *txn, uint64_t start, uint64_t end, struct cleave__map_object *object);
/* Stage [start, end) with these attributes, under an object of its own or *last. */
int cleave__map_stage_like(struct cleave_map_txn *txn, uint64_t start, uint64_t end,
			   const struct cleave_map_attributes *attributes, struct cleave__map_object **last);
/* Commit if there was no error; else abort, and hand the error on. */
int cleave__map_finish(struct cleave_map_txn *txn, int error);
/* Park until wakeups is no longer `seen`; wake those who do. */
void cleave__map_wait(struct cleave_map *map, struct cleave_map_thread *thread, uint32_t seen);
void cleave__map_wake(struct cleave_map *map);
uint32_t cleave__map_wakeups(struct cleave_map *map);

static inline uint64_t cleave__map_pages(const struct cleave_map_txn *txn, uint64_t start, uint64_t end)
{
	return (end - start) >> txn->map->config.page_shift;
}

/* ---- map_layout.c ---- */

/* Stage guard pages where they belong after the staged changes. */
int cleave__map_place_guards(struct cleave_map_txn *txn);
/* Join what is staged with what it meets. */
int cleave__map_join_pieces(struct cleave_map_txn *txn);
/* Join all entries of [low, high), which is locked, that may be joined. */
int cleave__map_join_runs(struct cleave_map_txn *txn, uint64_t low, uint64_t high);

/* ---- map_change.c ---- */

#define CLEAVE__ACT_REMOVE 1u	/* translations go */
#define CLEAVE__ACT_RESTRICT 2u /* permissions were lost */
#define CLEAVE__ACT_UNWIRE 4u	/* wirings go */
#define CLEAVE__ACT_SETTLE 8u	/* a store comes where none was */
#define CLEAVE__ACT_REPLACE 16u /* beside REMOVE: something else is mapped there now */

/* A window that a commit ends. */
struct cleave__map_drop {
	void *store;
	uint64_t first;
	uint64_t n;
};

/* One range with one old and one new object. */
struct cleave__map_change {
	uint32_t piece;
	uint64_t start;
	uint64_t end;
	struct cleave__map_object *old;
	struct cleave__map_object *new;
};

#define CLEAVE__FIRST_CHANGE        \
	{                           \
		.piece = UINT32_MAX \
	}

/* The next change, upward; only before the publication.  False: that was the last. */
bool cleave__map_next_change(struct cleave_map_txn *txn, struct cleave__map_change *change);
/* CLEAVE__ACT_... */
uint32_t cleave__map_actions(const struct cleave__map_change *change);
/* Take back what cleave_map_prepare() has reserved for windows. */
void cleave__map_undo_windows(struct cleave_map_txn *txn);
/* Bytes of data in a range under an object. */
static inline uint64_t cleave__map_data(const struct cleave_map *map, const struct cleave__map_object *object,
					uint64_t start, uint64_t end)
{
	const struct cleave_map_config *config = &map->config;
	uint64_t low, high;

	if (!cleave__map_is_mapped(object) || object->attributes.object || object->attributes.protection == 0)
		return 0;
	low = start > config->stack_start ? start : config->stack_start;
	high = end < config->stack_end ? end : config->stack_end;
	return end - start - (low < high ? high - low : 0);
}

/* Add to a thread's stripe of the accounts, modulo 2^64. */
static inline void cleave__map_credit(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t size,
				      uint64_t data)
{
	struct cleave__map_stripe *stripe = &map->stripes[thread->stripe];

	if (thread->stripe < CLEAVE_MAP_OWN_STRIPES) {
		PORT_STORE(&stripe->size, PORT_LOAD(&stripe->size, PORT_RELAXED) + size, PORT_RELAXED);
		PORT_STORE(&stripe->data, PORT_LOAD(&stripe->data, PORT_RELAXED) + data, PORT_RELAXED);
		return;
	}
	if (size)
		PORT_FETCH_ADD(&stripe->size, size, PORT_RELAXED);
	if (data)
		PORT_FETCH_ADD(&stripe->data, data, PORT_RELAXED);
}

/* The same of data alone. */
static inline void cleave__map_credit_data(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t data)
{
	struct cleave_word *word = &map->stripes[thread->stripe].data;

	if (PORT_LIKELY(thread->stripe < CLEAVE_MAP_OWN_STRIPES))
		PORT_STORE(word, PORT_LOAD(word, PORT_RELAXED) + data, PORT_RELAXED);
	else
		PORT_FETCH_ADD(word, data, PORT_RELAXED);
}

/* Reserve growth under the limits (0, -ENOMEM); give it back.  Of a map that has limits. */
int cleave__map_charge_limits(struct cleave_map *map, const struct cleave__map_bytes *bytes);
void cleave__map_uncharge_limits(struct cleave_map *map, const struct cleave__map_bytes *bytes);

/* The same of any. */
static inline int cleave__map_charge(struct cleave_map *map, const struct cleave__map_bytes *bytes)
{
	return map->config.flags & CLEAVE_MAP_LIMITS ? cleave__map_charge_limits(map, bytes) : 0;
}

static inline void cleave__map_uncharge(struct cleave_map *map, const struct cleave__map_bytes *bytes)
{
	if (map->config.flags & CLEAVE_MAP_LIMITS)
		cleave__map_uncharge_limits(map, bytes);
}

/* ---- map.c ---- */

/* Fill in an entry's attributes. */
void cleave__map_describe(struct cleave_map_entry *entry, uint64_t start, uint64_t end,
			  const struct cleave__map_object *object);
/* The highest border of a selector in [low, high], if there is one. */
bool cleave__map_border(const struct cleave_map *map, uint64_t low, uint64_t high, uint64_t *border);
/* The lowest border of a selector in (addr, end), or `end`. */
uint64_t cleave__map_border_above(const struct cleave_map *map, uint64_t addr, uint64_t end);
/* cleave_map_init() without the index's content. */
int cleave__map_setup(struct cleave_map *map, struct cleave_map_thread *thread, const struct cleave_map_config *config);

/* ---- map_hold.c ---- */

#define CLEAVE__NOT_SIMPLE 1

/*
 * Apply a rule to [start, end), clamped and not empty: at once, if it lies in one entry and nothing else is concerned,
 * else by ops->transact().  (Called here, and the rule in registers, so that the caller has nothing in memory.)
 */
int cleave__map_change_held(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			    const struct cleave__map_rule_ops *ops, uint64_t key);

/*
 * Unmap [start, end), clamped and not empty, if it lies in one entry and nothing else is concerned.  `keep`: -EPERM if
 * it is immutable.  Return: 0, an error, or NOT_SIMPLE: nothing was done, it takes a transaction.
 */
int cleave__map_unmap_held(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
			   bool keep);
/*
 * Map [addr, addr + request->size), inside the map, if it is free and nothing else is concerned, for a checked request.
 * Return: as above; a request that may not have the range is NOT_SIMPLE.
 */
int cleave__map_map_held(struct cleave_map *map, struct cleave_map_thread *thread,
			 const struct cleave_map_request *request, uint64_t addr);

/* ---- map_space.c ---- */

/* What an entry for a request at `addr` has. */
struct cleave_map_attributes cleave__map_requested(const struct cleave_map_request *request, uint64_t addr);

/* ---- map_range.c ---- */

/*
 * The rules for ranges: -EINVAL if start > end or unaligned; else clamp them to the map.
 * Return: 0; -EINVAL; 1: nothing is left.
 */
int cleave__map_clamp(const struct cleave_map *map, uint64_t *start, uint64_t *end);

#endif
