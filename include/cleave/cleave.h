/* SPDX-License-Identifier: ISC */
/*
 * cleave: a concurrent index over address ranges.
 *
 * An index maps every 64-bit address to a value; NULL is a gap.  Any other word is a value like any other: the library
 * never follows it, and its low bits are the caller's.  Lookups take no lock, write nothing shared and never retry;
 * writers lock only the nodes that they change.
 *
 * Ranges are [first, last], both inclusive, so that 2^64 - 1 is an address like any other.  Addresses and sizes are in
 * whatever unit the caller chooses (bytes, pages).
 *
 * Names: `_rcu` means that the caller is inside a read section of the index's domain (section.h) and that pointers it
 * gets are valid until it leaves.  Without the suffix a function opens what it needs itself, may sleep, and must be
 * called outside read sections.  The `try_..._rcu` forms never sleep, allocate or wait, and return -EAGAIN instead;
 * otherwise they are as their namesakes.
 *
 * Signals: a handler may open a section and call whatever takes no lock (README.md lists it), also where it interrupts
 * a call of the library; section.h says which flavours' sections allow that.
 *
 * Complexity: n is the number of entries.  Where nothing is said of linearization, a call neither changes nor reads
 * what others may change meanwhile.
 *
 * Errors are 0 or a negative errno value: -EINVAL (arguments), -ENOMEM, -EEXIST (overlap), -ENOENT (nothing there),
 * -ENOSPC (no gap), -EAGAIN (try forms, and where it is said).  A failed call has changed nothing.
 *
 * Ordering guarantees
 *   A. Every change of an index becomes visible at one instant, its linearization point.
 *   B. A lookup answers for one instant between its call and its return.
 *   C. What a thread stored before a change is visible to whoever reads the new value through a lookup (release,
 *	acquire).
 *   D. A value that a change displaced may be read by others until a grace period that began after it has passed
 *	(cleave_grace_cookie()).
 * Progress guarantees
 *   E. Lookups and single cursor steps are wait-free: bounded by the height of the tree.
 *   F. Writers block each other only where they change the same node, or gap bounds of the same branch; a lock that
 *	was lost too often is handed over.
 *   G. cleave_commit() cannot fail.
 */
#ifndef CLEAVE_CLEAVE_H
#define CLEAVE_CLEAVE_H

#include "types.h"
#include "version.h"

#if defined(__GNUC__)
#define CLEAVE_API __attribute__((visibility("default")))
#else
#define CLEAVE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define CLEAVE_LAST UINT64_MAX /* the highest address */

/* ---- Threads ---- */

/*
 * Prepare the record of a thread that will write to indexes of `domain`.  For the library's own ports the functions of
 * section.h do this, and register the thread with its flavour; whoever reads needs them as well.  With other ops the
 * flavour's registration stays the caller's business.
 * Context: any.  Complexity: O(1).  Return: nothing; cannot fail.
 */
CLEAVE_API void cleave_thread_init(struct cleave_thread *self, struct cleave_domain *domain);

/*
 * Give the thread's nodes back.  It holds no open transaction.
 * Context: outside read sections; frees.  Complexity: O(nodes in its caches).
 */
CLEAVE_API void cleave_thread_exit(struct cleave_thread *self);

/*
 * Fill the thread's caches so that the next `puts` puts (of any transactions) allocate no node.  (A transaction of more
 * than three puts still allocates its list of them.)  That is what a put may need at most, in an index of any size: 11
 * leaves of 256 bytes and 66 branches of 448, nearly all of them only where full nodes are divided up to the root.
 * Context: outside read sections; may sleep and allocate.  Inside a transaction, too: what that was promised is not
 * counted.
 * Complexity: O(nodes allocated).  Return: 0, -ENOMEM.
 */
CLEAVE_API int cleave_reserve(struct cleave_thread *self, unsigned int puts);

/* Has the thread a transaction or a hold open, on whatever index?  Others may wait for its locks.  Context: any. */
static inline bool cleave_thread_holds(const struct cleave_thread *self)
{
	return self->txns != NULL;
}

/* ---- Life of an index ---- */

/*
 * Make an empty index in the domain of `self`: one gap over all addresses.
 * Context: outside read sections; may sleep; allocates one node.  Complexity: O(1).  Return: 0, -ENOMEM.
 */
CLEAVE_API int cleave_init(struct cleave *index, struct cleave_thread *self);

/*
 * Free all nodes.  Nobody uses the index any more: no writer, no open transaction, and every read section that may
 * have looked at it has ended.  Values are the caller's.
 * Context: outside read sections.  Complexity: O(nodes).
 */
CLEAVE_API void cleave_destroy(struct cleave *index, struct cleave_thread *self);

/*
 * Fill an empty index, which others may be using, from `n` entries: sorted, disjoint, none with a NULL value.  Nodes
 * are filled densely.  Context: may sleep; allocates.  Complexity: O(n).  Linearizes at: the store of the root.
 * Return: 0; -EINVAL (not sorted, overlapping, inverted, NULL value); -EEXIST (index not empty); -ENOMEM.
 */
CLEAVE_API int cleave_build(struct cleave *index, struct cleave_thread *self, const struct cleave_entry *entries,
			    size_t n);

/* What cleave_duplicate() asks about each value. */
struct cleave_copier {
	/* Make the copy's value from entry->value into *value (NULL leaves a gap).  0 or a negative errno. */
	int (*copy)(struct cleave_copier *copier, const struct cleave_entry *entry, void **value);
	/* Take back a value that `copy` made, because the call failed later. */
	void (*undo)(struct cleave_copier *copier, const struct cleave_entry *made);
};

/*
 * Copy `from`, as it is at one instant, into the empty index `to` of the same domain.  `copier` may be NULL: values are
 * shared.  It is called with all leaves of `from` locked, and must not write to `from`.
 * Context: may sleep; allocates.  Complexity: O(entries).  Linearizes at: the lock of `from`'s last leaf; as build.
 * Return: 0; what the copier returned; -EEXIST (`to` is not empty); -ENOMEM.
 */
CLEAVE_API int cleave_duplicate(struct cleave *to, struct cleave *from, struct cleave_thread *self,
				struct cleave_copier *copier);

/* ---- Lookups ---- */

/*
 * The entry that holds `addr`; entry->value is NULL in a gap.  Cannot fail.
 * Context: read section; takes no lock, writes nothing shared, never retries.  Complexity: O(log n).
 * Linearizes at: the load of the leaf's order word (for a leaf that is being replaced: the replacing store, if that
 * came first).
 * Return: the value.
 */
CLEAVE_API void *cleave_lookup_rcu(const struct cleave *index, uint64_t addr, struct cleave_entry *entry);

/*
 * Only the value: the same lookup, for who does not ask where the entry begins and ends.
 * Context, Complexity, Linearizes at, Return: as cleave_lookup_rcu().
 */
CLEAVE_API void *cleave_value_rcu(const struct cleave *index, uint64_t addr);

/*
 * The value of the entry that holds `addr`, with a reference to what it stands for, to be kept beyond a read section.
 * `tryref` raises the value's count of references by compare-and-swap (acquire), unless that is 0, and says whether it
 * has.  The index has a reference of its own: whoever takes the value out drops that afterwards (release).  What the
 * value stands for is freed a grace period after its last reference has gone.
 * If `tryref` says no, the value has left the index: the entry is looked up again.  If that yields the same value, its
 * reference was dropped too early: it counts as gone.
 * Context: outside read sections, opens one; takes no lock, never sleeps.  `tryref` is called inside it.
 * Complexity: O(log n), as often as the entry changes.  Linearizes at: as the last of these cleave_lookup_rcu().
 * Return: the value; NULL: a gap, or no reference could be had.  *entry (may be NULL) is what was found, in any case.
 */
CLEAVE_API void *cleave_lookup_ref(const struct cleave *index, struct cleave_thread *self, uint64_t addr,
				   bool (*tryref)(void *value), struct cleave_entry *entry);

/*
 * `n` lookups of addresses that are known at once: entries[i] is the entry that holds addrs[i].  Where an index is
 * larger than the caches that is several times faster than one after the other, because their walks wait for memory
 * together.
 * Context: read section, as cleave_lookup_rcu().  Complexity: O(n log entries).
 * Linearizes at: each lookup for itself, in any order.
 */
CLEAVE_API void cleave_lookup_many_rcu(const struct cleave *index, const uint64_t *addrs, size_t n,
				       struct cleave_entry *entries);

/*
 * The entries that meet [first, last], both inclusive, upward into entries[0 .. n); `gaps`: gaps too.  Each is whole:
 * the lowest may begin below `first`, the highest end above `last`.  Fewer than n: there are no more.  Else go on from
 * entries[n - 1].last + 1, unless that is above `last` or has wrapped to 0.  Faster than a cursor, whose visits also
 * say which part is new.  Nothing is kept between calls, so that any change is survived.
 * Context: read section, as cleave_lookup_rcu().  Complexity: O(log entries + n); a walk more for a branch that is
 * replaced meanwhile.
 * Linearizes at: each entry for itself: there are times t0 <= t1 <= ... in the call at which entry i was present.
 * Those of one leaf are of one instant; those of several are not (cleave_covers_rcu() and transactions are).  So after
 * a change that joins entries one may begin at or below the end of the one before it: what is new begins behind that.
 * Return: the number of entries, 0 if first > last; what the others of the n hold then is undefined.
 */
CLEAVE_API size_t cleave_lookup_range_rcu(const struct cleave *index, uint64_t first, uint64_t last, bool gaps,
					  struct cleave_entry *entries, size_t n);

/*
 * The same as cleave_lookup_rcu(), and a ticket for cleave_ticket_valid_rcu().
 * Context, Complexity, Linearizes at, Return: as cleave_lookup_rcu().
 */
CLEAVE_API void *cleave_lookup_ticket_rcu(const struct cleave *index, uint64_t addr, struct cleave_entry *entry,
					  struct cleave_ticket *ticket);

/*
 * Has nothing changed in the leaf since the lookup that filled the ticket?  False may be due to a neighbour's change.
 * Context: the same read section as that lookup.  Complexity: one load.  Linearizes at: that load (seq_cst).
 * Return: true: what the lookup said was so until now.
 */
CLEAVE_API bool cleave_ticket_valid_rcu(const struct cleave_ticket *ticket);

/* Does an entry (a gap's value is NULL) meet the condition? */
typedef bool cleave_predicate(void *context, const struct cleave_entry *entry);

/*
 * Do all entries that meet [first, last] satisfy the predicate, at one instant?  If not, *bad (may be NULL) is the
 * lowest one that does not.
 * `scratch` (may be NULL) has room for `nscratch` tickets, one per leaf, for ranges of more than 16 leaves.
 * Context: read section.  The predicate may be called again for the same entry.
 * Complexity: O(log n) a leaf.  Linearizes at: an instant between the last leaf's load and the first one's check.
 * Return: 1 yes, 0 no; -EAGAIN: changed too often, or too many leaves for the scratch; -EINVAL: first > last.
 */
CLEAVE_API int cleave_covers_rcu(const struct cleave *index, uint64_t first, uint64_t last,
				 cleave_predicate *predicate, void *context, struct cleave_entry *bad,
				 struct cleave_ticket *scratch, size_t nscratch);

/*
 * The same outside read sections: falls back to locking the leaves.
 * Context: outside read sections; may sleep on the leaves' locks.  The predicate may then be called with them held.
 * Complexity: as cleave_covers_rcu().  Linearizes at: as cleave_covers_rcu(), or the lock of the last leaf.
 * Return: 1, 0, -EINVAL.
 */
CLEAVE_API int cleave_covers(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
			     cleave_predicate *predicate, void *context, struct cleave_entry *bad);

/* ---- Cursors ---- */

/*
 * Place a cursor: the first cleave_next_rcu() visits the entry that holds `addr` (or the next one above), the first
 * cleave_previous_rcu() the entry that holds addr - 1 (or the next one below).  `gaps`: visit gaps too.
 * Context: any.  Complexity: O(1).  Cannot fail.
 */
CLEAVE_API void cleave_cursor_init(struct cleave_cursor *cursor, const struct cleave *index, uint64_t addr, bool gaps);

/* Place a cursor behind the highest address, for going down.  Context, Complexity: as cleave_cursor_init(). */
CLEAVE_API void cleave_cursor_init_last(struct cleave_cursor *cursor, const struct cleave *index, bool gaps);

/*
 * Visit up to `n` entries upward / downward; fewer than n means that the end was reached.  The cursor keeps only a
 * key, so it survives any change and the end of the read section.
 * Context: read section.  Complexity: O(log n) a leaf.
 * Linearizes at: each visit for itself: there are times t0 <= t1 <= ... in the call at which entry i was present.
 * Several visits of one leaf are of one instant.  After a change that joins entries the next entry may begin before
 * the last one's end: entry has the true range, first and last its part not yet visited.
 * Return: the number of visits; what the others of the n hold then is undefined.
 */
CLEAVE_API size_t cleave_next_rcu(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n);
CLEAVE_API size_t cleave_previous_rcu(struct cleave_cursor *cursor, struct cleave_visit *visits, size_t n);

/* ---- Changes ---- */

/*
 * Split the entry that holds `addr` so that one begins there.  Both halves have its value.  Nothing to do if one
 * already begins there.
 * Context: may sleep on the one leaf's lock; may allocate, before it locks.  Complexity: O(log n), one store.
 * Linearizes at: the store of the order word, or the store that publishes the leaf's replacement.
 * Return: 0; -ENOENT: a gap holds addr; -ENOMEM.
 */
CLEAVE_API int cleave_clip(struct cleave *index, struct cleave_thread *self, uint64_t addr);
CLEAVE_API int cleave_try_clip_rcu(struct cleave *index, struct cleave_thread *self, uint64_t addr);

/*
 * Join the two entries that meet at `addr`, if they have the same value.
 * Context, Complexity: as cleave_clip(); two leaves and their parents are replaced where the entries meet between
 * leaves.
 * Linearizes at: as cleave_clip().
 * Return: 0; -ENOENT: no entry begins there, or the values differ; -ENOMEM.
 */
CLEAVE_API int cleave_unclip(struct cleave *index, struct cleave_thread *self, uint64_t addr);

/*
 * Put one entry into a gap.
 * Context: may sleep; may allocate.  Complexity: O(log n).
 * Linearizes at: the store that publishes it; a failure with -EEXIST at the load of the order word under the lock.
 * Return: 0; -EEXIST: *conflict (may be NULL) is the lowest entry in the way; -EINVAL: first > last or NULL value;
 * -ENOMEM.
 */
CLEAVE_API int cleave_insert(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
			     void *value, struct cleave_entry *conflict);

/*
 * Make [first, last] one entry with this value, whatever was there; NULL makes it a gap (joined with its neighbours).
 * What it displaced goes to the sink (may be NULL).
 * Context: may sleep; may allocate.  Complexity: O(log n + entries displaced).
 * Linearizes at: the store that publishes it.
 * Return: 0; -EINVAL: first > last; -ENOMEM.
 */
CLEAVE_API int cleave_store(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
			    void *value, struct cleave_sink *sink);
CLEAVE_API int cleave_try_store_rcu(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
				    void *value);

/* cleave_store() of a gap: Context, Complexity, Linearizes at, Return: as there. */
CLEAVE_API int cleave_erase(struct cleave *index, struct cleave_thread *self, uint64_t first, uint64_t last,
			    struct cleave_sink *sink);

/*
 * Give the entry `*expected` another value, if it is still exactly so: same first, last and value.
 * Context: may sleep on the one leaf's lock; may allocate.  Complexity: O(log n), one store.
 * Linearizes at: the store that publishes it; a failure at the load of the order word under the lock.
 * Return: 0; -ENOENT: *expected is now what holds its first address; -EINVAL: expected is a gap or inverted, or the
 * new value is NULL; -ENOMEM.
 */
CLEAVE_API int cleave_replace_if(struct cleave *index, struct cleave_thread *self, struct cleave_entry *expected,
				 void *value);
CLEAVE_API int cleave_try_replace_if_rcu(struct cleave *index, struct cleave_thread *self,
					 struct cleave_entry *expected, void *value);

/* ---- Free space ---- */

enum cleave_order {
	CLEAVE_LOWEST,	/* the lowest address that fits */
	CLEAVE_HIGHEST, /* the highest */
	CLEAVE_NEAREST, /* the least distance of its first address from `hint`; the lower one of two equals */
	CLEAVE_NEXT,	/* the lowest at or above `hint` */
	CLEAVE_RANDOM,	/* by `hint` as a seed: a random place; every fitting gap can be chosen, not all equally */
	CLEAVE_BEST,	/* the lowest address in the smallest gap that fits, or part of one; the lower of equals */
};

struct cleave_request {
	enum cleave_order order;
	uint64_t size;	/* >= 1 */
	uint64_t align; /* a power of two; 0 counts as 1 */
	uint64_t phase; /* the address is phase modulo align; < align */
	uint64_t min;	/* the window: min <= first, last <= max */
	uint64_t max;
	uint64_t hint;
};

/*
 * Find free space: [*addr, *addr + size - 1] was within one gap at some instant.  A hint only: it may be taken by the
 * time of return.
 * Context: read section.  Complexity: O(log n) where bounds are tight and no alignment interferes; BEST looks at all
 * gaps that fit, until one fits exactly: O(log n) each.
 * Linearizes at: the load of the order word of the leaf it names; -ENOSPC promises that no fitting gap existed for the
 * whole call, and a result that none which ranks better did.  (RANDOM: ranks are those of a random starting point.)
 * Return: 0; -ENOSPC; -EINVAL: size 0, align no power of two, phase >= align, min > max, no order.
 */
CLEAVE_API int cleave_find_gap_rcu(const struct cleave *index, const struct cleave_request *request, uint64_t *addr);

/*
 * Find free space and put an entry there, as one step.
 * Context: may sleep; may allocate.  Complexity: as cleave_find_gap_rcu() + cleave_insert().
 * Linearizes at: the store that publishes the entry.
 * Return: 0; -ENOSPC; -EINVAL: as above, or a NULL value; -ENOMEM.
 */
CLEAVE_API int cleave_alloc(struct cleave *index, struct cleave_thread *self, const struct cleave_request *request,
			    void *value, uint64_t *addr);

/* ---- Range transactions ---- */

/*
 * Lock [first, last] for this thread: nobody else changes anything there (nor in the leaves of first - 1 and last + 1)
 * until the transaction ends; readers go on and see the state from before.  One thread may hold transactions on several
 * indexes, in an order that all its fellow threads keep, but not two on one index, and must not write to an index
 * otherwise while it holds one there.
 * Context: outside read sections; sleeps on leaf locks.  The caller may sleep while it holds the transaction.
 * Complexity: O(leaves of the range * log n).
 * Return: 0; -EINVAL: first > last.
 */
CLEAVE_API int cleave_begin(struct cleave_txn *txn, struct cleave *index, struct cleave_thread *self, uint64_t first,
			    uint64_t last);
/*
 * The same inside a read section, without sleeping: -EAGAIN if a leaf is locked.  Leave the section before any other
 * call on the transaction: they may sleep.
 */
CLEAVE_API int cleave_try_begin_rcu(struct cleave_txn *txn, struct cleave *index, struct cleave_thread *self,
				    uint64_t first, uint64_t last);

/*
 * The entry that holds `addr`, which lies in the transaction's range, as it is in the index: staged puts are not seen.
 * Values stay valid for as long as nobody frees what is still mapped.
 * Context: in the transaction.  Complexity: O(log n).  Return: the value.
 */
CLEAVE_API void *cleave_txn_lookup(struct cleave_txn *txn, uint64_t addr, struct cleave_entry *entry);

/*
 * Stage: make [first, last], within the transaction's range, one entry with this value (NULL: a gap).  A later put
 * wins over an earlier one.  Reserves what the commit needs.
 * Context: in the transaction; allocates; never waits for a grace period.  Complexity: O(log puts + staged above).
 * Return: 0; -EINVAL: outside of the range, or first > last; -ENOMEM: the transaction is as before and still usable.
 */
CLEAVE_API int cleave_put(struct cleave_txn *txn, uint64_t first, uint64_t last, void *value);

/*
 * Publish all puts at one instant, end the transaction, and deliver what the puts displaced to the sink (may be NULL).
 * Cannot fail.
 * Context: in the transaction, outside read sections; may sleep on branch locks, briefly; allocates nothing.
 * Complexity: O(leaves replaced * log n + entries displaced + leaves locked).
 * Linearizes at: the one store that publishes them: an order word, a child or the root.
 */
CLEAVE_API void cleave_commit(struct cleave_txn *txn, struct cleave_sink *sink);

/* End the transaction and leave no trace.  Context: as cleave_commit().  Complexity: O(leaves locked). */
CLEAVE_API void cleave_abort(struct cleave_txn *txn);

/*
 * cleave_commit() in two steps: after cleave_publish() readers see the puts, while the range stays locked for writers
 * until cleave_end().  Between the two the caller takes down what it derived from the old entries (page tables, say).
 * Context: as cleave_commit(), and the sink is called by cleave_end(), after it has unlocked.
 * Complexity, Linearizes at: as cleave_commit(), in cleave_publish().  Neither can fail.
 */
CLEAVE_API void cleave_publish(struct cleave_txn *txn);
CLEAVE_API void cleave_end(struct cleave_txn *txn, struct cleave_sink *sink);

/* ---- Holds: a change of one entry that is decided under its lock ---- */

/*
 * Lock the entry that holds `addr`, with its leaf, for this thread: hold->entry is the entry (a gap's value is NULL),
 * and nobody changes it until cleave_hold_end(); readers go on.  For who must look at an entry, at its value and at
 * more before a part of it gets another value: a transaction that costs little more than a clip.  The rules of
 * transactions apply: an open hold counts as one.  The holds and transactions of a thread end in any order.
 * Context: outside read sections; sleeps on the leaf's lock; may allocate, before it locks.  The caller may sleep while
 * it holds the entry.
 * Complexity: O(log n).  Linearizes at: the load of the leaf's order word under the lock.
 * Return: nothing; cannot fail.
 */
CLEAVE_API void cleave_hold_begin(struct cleave_hold *hold, struct cleave *index, struct cleave_thread *self,
				  uint64_t addr);

/*
 * The value of the neighbour that is `steps` entries and gaps above the held one (below: steps < 0).  NULL: a gap, or
 * it is not in the held leaf.  Before the put only.
 * Context: while it is held.  Complexity: O(1).
 */
CLEAVE_API void *cleave_hold_beside(const struct cleave_hold *hold, int steps);

/*
 * Publish: [first, last], inside the held entry, is one entry with this value, and what remains of the held one on its
 * either side keeps its own.  With the same value this is a clip of both ends.  The range stays locked.  Once a hold.
 * What it displaces is known: [first, last] of hold->entry.
 * Context: as cleave_put(): may allocate if the leaf is full.  Complexity: O(1), one store; full leaves are divided.
 * Linearizes at: the store of the order word, or the store that publishes the leaf's replacement.
 * Return: 0; -EINVAL: not inside the entry, NULL value, or the second put; -ENOMEM: nothing has changed.
 */
CLEAVE_API int cleave_hold_put(struct cleave_hold *hold, uint64_t first, uint64_t last, void *value);

/*
 * The same with a gap, which is joined with those beside it; but only if this leaf, or a copy of it, can hold that.
 * Context, Complexity, Linearizes at: as cleave_hold_put(); may sleep on branches' locks.
 * Return: 0; -EINVAL: not inside the entry, a gap already, or the second put; -EAGAIN: it meets a gap of another leaf,
 * or one that is locked, or there is no room: nothing has changed, and it takes a transaction, from scratch.
 */
CLEAVE_API int cleave_hold_erase(struct cleave_hold *hold, uint64_t first, uint64_t last);

/*
 * Unlock, whether something was put or not.  Cannot fail.
 * Context: outside read sections; after an erasure may sleep and allocate.
 * Complexity: O(1); O(log n) where a leaf that became small is joined with a neighbour.
 */
CLEAVE_API void cleave_hold_end(struct cleave_hold *hold);

/* ---- Fork ---- */

/*
 * Around fork(): cleave_prefork() takes every lock of the index, so that the child gets a consistent copy; both
 * sides give them back.  Several indexes: in the order of begin.  Then the domain, as section.h has it, which restarts
 * what the port runs; else as below.  `self` is the forking thread; other threads' records are the child's to forget.
 * Context: outside read sections and transactions; sleeps on locks.  Complexity: O(leaves * log n).  Cannot fail.
 */
CLEAVE_API void cleave_prefork(struct cleave_txn *txn, struct cleave *index, struct cleave_thread *self);
CLEAVE_API void cleave_postfork_parent(struct cleave_txn *txn);
CLEAVE_API void cleave_postfork_child(struct cleave_txn *txn);
CLEAVE_API void cleave_domain_prefork(struct cleave_domain *domain, struct cleave_thread *self);
CLEAVE_API void cleave_domain_postfork_parent(struct cleave_domain *domain, struct cleave_thread *self);
CLEAVE_API void cleave_domain_postfork_child(struct cleave_domain *domain, struct cleave_thread *self);

/* ---- Domains (for ports and embedders; section.h has ready ones) ---- */

/*
 * Prepare a domain.  `search` chooses the walk: NULL for the best one of this processor.
 * garbage_limit: retired nodes above which an update waits for a grace period; one that holds locks goes on up to twice
 * as many, then fails with -ENOMEM.  The same number limits what waits in each context of anon.h.
 * Context: any; cannot fail.  Complexity: O(1).
 */
CLEAVE_API void cleave_domain_init(struct cleave_domain *domain, const struct cleave_ops *ops,
				   const struct cleave_memory *memory, const struct cleave__search *search,
				   uint64_t garbage_limit);

/* Free what the domain keeps.  No thread record, index or reader is left.  Context: frees.  Complexity: O(nodes). */
CLEAVE_API void cleave_domain_exit(struct cleave_domain *domain);

/* A walk by name ("scalar", "avx2", "avx512"); NULL if this build or processor has none of that name.  Context: any. */
CLEAVE_API const struct cleave__search *cleave_search_named(const char *name);

/* ---- Grace periods, for who frees what a change displaced ---- */

/*
 * A token, taken after the change: what it displaced is nobody's any more once the token is done.  Of two tokens the
 * greater is not done first, so that one serves for all that was displaced before it was taken.
 * Context: any.  Complexity: O(1).  Return: the token, never 0.
 */
static inline uint64_t cleave_grace_cookie(struct cleave_thread *self)
{
	return self->domain->ops->cookie(self->domain, self);
}

/*
 * Has every section ended that was open when the token was taken?  If not, this brings the end nearer, without waiting.
 * With qsbr who asks again and again announces quiescent states meanwhile: the grace period waits for that thread, too.
 * Context: outside read sections, transactions and holds.  Complexity: that of the flavour; a few loads, mostly.
 */
static inline bool cleave_grace_done(struct cleave_thread *self, uint64_t cookie)
{
	const struct cleave_ops *ops = self->domain->ops;

	if (!ops->done(self->domain, self, cookie) && ops->advance)
		ops->advance(self->domain, self, cookie);
	return ops->done(self->domain, self, cookie);
}

/* Sleep until the token is done.  Context: outside read sections; a transaction may be open. */
static inline void cleave_grace_wait(struct cleave_thread *self, uint64_t cookie)
{
	self->domain->ops->wait(self->domain, self, cookie);
}

/* ---- Looking inside ---- */

/*
 * CLEAVE_VERSION of the library that runs.  It fits a program that was compiled with the same major and minor version.
 * Context: any.
 */
CLEAVE_API int cleave_version(void);

struct cleave_statistics {
	uint64_t entries; /* cells with a value */
	uint64_t gaps;	  /* cells without */
	uint64_t leaves;
	uint64_t branches;
	uint64_t bytes;	      /* of all nodes */
	uint64_t height;      /* 1: a lone leaf */
	uint64_t mapped;      /* the sizes of all entries together; 2^64 counts as 2^64 - 1, here and below */
	uint64_t largest_gap; /* its size; 0: no gap */
};

/*
 * Count the index.  Context: read section.  Complexity: O(nodes).  Approximate beside writers.
 */
CLEAVE_API void cleave_statistics_rcu(const struct cleave *index, struct cleave_statistics *statistics);

/* Receiver of text, a line at a time, without its newline. */
struct cleave_lines {
	void (*line)(struct cleave_lines *lines, const char *text);
};

/*
 * Check every invariant.  Violations go to `lines` (may be NULL), one a line.
 * Context: nobody writes meanwhile.  Complexity: O(nodes).  Return: the number of violations.
 */
CLEAVE_API size_t cleave_check(struct cleave *index, struct cleave_lines *lines);

/*
 * Print the index for a person: the tree, or only its entries.
 * Context: read section; beside writers the lines of one leaf are of one instant.  Complexity: O(nodes).
 */
CLEAVE_API void cleave_dump_rcu(const struct cleave *index, struct cleave_lines *lines, bool nodes);

#ifdef __cplusplus
}
#endif
#endif
