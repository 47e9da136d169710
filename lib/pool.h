/* SPDX-License-Identifier: ISC */
/*
 * The nodes of an RCU domain: each thread has a cache of clean nodes and two limbos of retired ones.
 *
 *	retire -> young (no cookie yet) --a batch full: one cookie--> old --done: one by one--> reused
 *
 * An update waits for no grace period, unless garbage passes the domain's limit.  What a thread leaves behind goes to
 * the domain's orphans.
 */
#ifndef CLEAVE_POOL_H
#define CLEAVE_POOL_H

#include "nodelock.h"

#define CLEAVE__BATCH PORT_BATCH /* retired nodes that share a cookie */

static inline size_t cleave__node_size(enum cleave__kind kind)
{
	return kind == CLEAVE__LEAF ? sizeof(struct cleave__leaf) : sizeof(struct cleave__branch);
}

/*
 * Have at least that many unpromised nodes in the cache.  Outside of read sections.  `may_wait`: no node of this index
 * is locked, so that a grace period may be waited for when garbage is above its limit.  (A transaction on another index
 * may be open: nobody waits for its locks inside a read section, so the grace period does not wait for it.)
 * 0; -ENOMEM: the allocator has none, or garbage is at twice its limit and may not be waited for.
 */
int cleave__pool_fill(struct cleave_thread *self, unsigned int leaves, unsigned int branches, bool may_wait);

/* Take a node from the cache.  It has one: who takes has filled it, or looked. */
static inline struct cleave__node *cleave__pool_take(struct cleave_thread *self, enum cleave__kind kind)
{
	struct cleave__node *node = self->free[kind];

	PORT_ASSERT(node, "nodes are reserved before a change begins");
	self->free[kind] = node->link;
	self->nfree[kind]--;
	return node;
}

/* Put a node back that no reader has seen. */
void cleave__pool_give(struct cleave_thread *self, struct cleave__node *node);

/* Retire a node that was published over.  Its lock is free. */
void cleave__pool_retire(struct cleave_thread *self, struct cleave__node *node);

/* The same, and a list of others, by link. */
static inline void cleave__pool_retire_with(struct cleave_thread *self, struct cleave__node *node,
					    struct cleave__node *others)
{
	struct cleave__node *next;

	cleave__pool_retire(self, node);
	for (; others; others = next) {
		next = others->link;
		cleave__pool_retire(self, others);
	}
}

/* Is the cookie done?  If not, the end of the call pushes it on. */
bool cleave__pool_ask(struct cleave_thread *self, uint64_t cookie);

static PORT_ALWAYS_INLINE bool cleave__pool_done(struct cleave_thread *self, uint64_t cookie)
{
	if (cookie <= self->passed)
		return true;
	if (!self->done)
		return cleave__pool_ask(self, cookie);
	self->passed = PORT_LOAD(self->done, PORT_ACQUIRE); /* [U2-acq] [C1-acq] as ops->done() */
	self->wanted = self->wanted < cookie && self->passed < cookie ? cookie : self->wanted;
	return cookie <= self->passed;
}

/* A cookie for what was unlinked before; the end of the call pushes it on. */
static inline uint64_t cleave__pool_cookie(struct cleave_thread *self)
{
	PORT_COUNT(self->counters.cookies);
	self->wanted = self->domain->ops->cookie(self->domain, self);
	return self->wanted;
}

/* The same, where an order word that was just displaced unlinked it. */
static PORT_ALWAYS_INLINE uint64_t cleave__pool_cookie_stored(struct cleave_thread *self)
{
	PORT_COUNT(self->counters.cookies);
	if (PORT_LIKELY(self->started != NULL))
		self->wanted = PORT_LOAD(self->started, PORT_SEQ_CST) + 1; /* [U1-sc] as ops->cookie_stored() */
	else
		self->wanted = self->domain->ops->cookie_stored(self->domain, self);
	return self->wanted;
}

/* As ops->begun(); 0: not known.  In a read section. */
static PORT_ALWAYS_INLINE uint64_t cleave__pool_begun(struct cleave_thread *self) PORT_INSIDE
{
	if (PORT_LIKELY(self->started != NULL))
		return PORT_LOAD(self->started, PORT_ACQUIRE) + 1; /* [U1-acq] as ops->begun() */
	return self->domain->ops->begun ? self->domain->ops->begun(self->domain, self) : 0;
}

/*
 * A locked leaf no longer lists these cells (after the store: a cell must not get a cookie that was taken while readers
 * could still find it).  Their grace period starts now, unless older ones wait for another; so it has passed by the
 * next edit.  If the cookie is the same, what they wait for is the same (types.h: tokens that are equal), and the young
 * join the old.
 *
 * A cookie costs a full barrier.  But to take one only where few cells are left is to ask what is as good as random, at
 * each edit twice: mispredicted, that costs more, by 20 ns for an unmap and a map.
 */
static PORT_ALWAYS_INLINE void cleave__pool_drop_with(struct cleave__node *node, unsigned int dropped, uint64_t cookie)
{
	dropped |= node->young;
	if (PORT_LIKELY(!node->old) || node->cookie == cookie) {
		node->cookie = cookie;
		node->old |= (uint16_t)dropped;
		node->young = 0;
	} else {
		node->young = (uint16_t)dropped;
	}
}

static PORT_ALWAYS_INLINE void cleave__pool_drop_cells(struct cleave_thread *self, struct cleave__leaf *leaf,
						       unsigned int dropped)
{
	cleave__pool_drop_with(&leaf->node, dropped, cleave__pool_cookie(self));
}

/*
 * The same after cleave__order_displace_locked(), a sequentially consistent store, which is all the barrier that a
 * cookie needs.  That covers those of `young`, too: they were unlinked by earlier stores of the same word.
 */
static PORT_ALWAYS_INLINE void cleave__pool_drop_displaced(struct cleave_thread *self, struct cleave__leaf *leaf,
							   unsigned int dropped)
{
	cleave__pool_drop_with(&leaf->node, dropped, cleave__pool_cookie_stored(self));
}

/* Publish an edit; its leaf is locked. */
static PORT_ALWAYS_INLINE void cleave__pool_store_edit(struct cleave_thread *self, const struct cleave__edit *edit)
	PORT_LOCKED(edit->leaf->node.lock) PORT_UNCHECKED
{
	cleave__leaf_edit_store(edit);
	if (edit->dropped)
		cleave__pool_drop_cells(self, edit->leaf, edit->dropped);
	PORT_COUNT(self->counters.edits);
}

/* The cells of a locked leaf that may be written: those whose grace period has passed are taken back. */
static PORT_ALWAYS_INLINE unsigned int cleave__pool_clean_cells(struct cleave_thread *self, struct cleave__leaf *leaf,
								uint64_t order)
{
	struct cleave__node *node = &leaf->node;

	/* Whether there are old ones is as good as random: their cookie is looked at in any case. */
	if (cleave__pool_done(self, node->cookie)) {
		node->count &= (uint8_t)((node->old != 0) - 1);
		node->old = 0;
		if (PORT_UNLIKELY(node->young))
			cleave__pool_drop_cells(self, leaf, 0);
	}
	return ~(cleave__live(order) | node->young | node->old) & CLEAVE__ALL_CELLS;
}

/*
 * The same for an edit that takes a cookie in any case once its word is stored, for whatever it drops: the young ones
 * get that one (cleave__pool_drop_with()).
 */
static PORT_ALWAYS_INLINE unsigned int cleave__pool_recycle_cells(struct cleave_thread *self,
								  struct cleave__leaf *leaf, uint64_t order)
{
	struct cleave__node *node = &leaf->node;

	if (PORT_LIKELY(cleave__pool_done(self, node->cookie))) {
		if (PORT_UNLIKELY(node->count))
			node->count &= (uint8_t)((node->old != 0) - 1);
		node->old = 0;
		return (cleave__live(order) | node->young) ^ CLEAVE__ALL_CELLS;
	}
	return ~(cleave__live(order) | node->young | node->old) & CLEAVE__ALL_CELLS;
}

/* The same for who pushes on that cookie, too; false: it takes a call to know them. */
static PORT_ALWAYS_INLINE bool cleave__pool_look_at_cells(struct cleave_thread *self, struct cleave__leaf *leaf,
							  uint64_t order, unsigned int *clean)
{
	struct cleave__node *node = &leaf->node;

	if (node->cookie > self->passed) {
		if (PORT_UNLIKELY(!self->done))
			return false;
		self->passed = PORT_LOAD(self->done, PORT_ACQUIRE); /* [U2-acq] [C1-acq] as ops->done() */
	}
	if (node->cookie <= self->passed) {
		node->count &= (uint8_t)((node->old != 0) - 1);
		node->old = 0;
	}
	*clean = ~(cleave__live(order) | node->young | node->old) & CLEAVE__ALL_CELLS;
	return true;
}

/* Give nodes above the thread's stock back to the allocator. */
void cleave__pool_trim(struct cleave_thread *self);

/* Garbage is above the domain's limit: wait for a grace period.  Outside of read sections, without node locks here. */
void cleave__pool_wait_garbage(struct cleave_thread *self) PORT_OUTSIDE;

/* The end of a call, outside of read sections and locks: let the port push on what the call waits for in vain. */
static inline void cleave__pool_nudge(struct cleave_thread *self)
{
	uint64_t cookie = self->wanted;

	if (!cookie)
		return;
	self->wanted = 0;
	if (self->quiet)
		self->quiet--;
	else if (self->domain->ops->advance)
		self->domain->ops->advance(self->domain, self, cookie);
}

/* More leaves were made than replaced. */
static inline void cleave__pool_count_split(struct cleave_thread *self)
{
	PORT_COUNT(self->counters.splits);
	self->divided = self->counters.edits;
}

/* The limit of garbage may be passed by those that cannot wait, up to twice. */
static inline bool cleave__pool_over_limit(const struct cleave_thread *self, unsigned int times)
{
	int64_t garbage = (int64_t)PORT_LOAD(&self->domain->garbage, PORT_RELAXED);

	return garbage > 0 && (uint64_t)garbage > times * self->domain->garbage_limit;
}

#endif
