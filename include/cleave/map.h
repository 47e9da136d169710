/* SPDX-License-Identifier: ISC */
/*
 * A map of an address space: what the tree of map entries is in a BSD kernel, on a cleave index.  map_types.h, which
 * this includes, has its types and what the embedder supplies.
 *
 * A map holds half-open ranges [start, end) of bytes, page-aligned, each with attributes: protection, inheritance,
 * backing object and offset, anonymous store, wiring.  Operations, error codes and corner cases follow BSD's UVM
 * (doc/map.md has the list of what differs, and why).  Fault handlers read the map inside a read section and take no
 * lock; writers lock only the leaves of the index under the range that they change.
 *
 * Attributes stand in objects of the library's own which are never written once they are visible: whoever changes a
 * range gives it another object, with a version that was never used before.  A clip changes no object.
 *
 * Ordering and progress
 *   A. Every operation becomes visible at one instant (Linearizes at: the store that publishes its range transaction,
 *	unless said otherwise).  It checks first and changes afterwards: a call that fails has changed nothing.  The
 *	exceptions, which may fail late: wire, and what calls it (map and protect in a map whose future mappings are
 *	wired); clean.
 *   B. Writers whose ranges lie in different leaves write no common cache line, save a limit's counter where a limit
 *	was asked for, now and then the page counter of an object that both cut, a counter of the map where both put a
 *	mapping in the place of another, and, when both divide or join leaves, the branches above them, a leaf between
 *	them whose room both share, and the domain's count of retired nodes.
 *   C. Lookups take no lock and never retry.
 *
 * Context, unless said otherwise: `_rcu` inside a read section of the maps' domain; all others outside; they may sleep
 * and allocate.  `thread` is the calling thread's record.  A thread that holds a transaction on a map must not call
 * anything else that writes to that map.
 *
 * Complexity, unless said otherwise: O(log n) for each entry of the range, and for one more; n entries of the map.
 *
 * Errors: 0 or a negative errno value.
 */
#ifndef CLEAVE_MAP_H
#define CLEAVE_MAP_H

#include "cleave.h"
#include "map_types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Threads ---- */

/* Context: any; cannot fail.  Complexity: O(1).  ops: kept, not copied. */
CLEAVE_API void cleave_maps_init(struct cleave_maps *maps, struct cleave_domain *domain,
				 const struct cleave_map_ops *ops);
/* Context: any; cannot fail.  Complexity: O(1).  `self` is registered in the maps' domain and outlives this record. */
CLEAVE_API void cleave_map_thread_init(struct cleave_map_thread *thread, struct cleave_maps *maps,
				       struct cleave_thread *self);
/*
 * Waits for a grace period if the thread has retired attributes, and releases what they referred to.
 * Complexity: O(what it has retired and keeps).
 */
CLEAVE_API void cleave_map_thread_exit(struct cleave_map_thread *thread);
/*
 * Release what the thread has retired and whose grace period is over; with `wait` wait for the rest, too.
 * Every operation does a part of this by itself.  But of up to four attribute objects that it changed pages of last a
 * thread keeps the counts to itself, and so what they refer to, until it changes others, is flushed, or ends.  In the
 * child of a fork() of the process what the other threads kept, or had retired, is never released: they flush before,
 * or it stays.
 * Complexity: O(what is released).
 */
CLEAVE_API void cleave_map_thread_flush(struct cleave_map_thread *thread, bool wait);
/*
 * Fill the thread's caches so that the next `changes` changes, of three ranges each at most, allocate nothing.
 * Complexity: O(what is allocated).  Return: 0, -ENOMEM.
 */
CLEAVE_API int cleave_map_reserve(struct cleave_map_thread *thread, unsigned int changes);

/* ---- Life of a map ---- */

/* Make an empty map.  Complexity: O(1).  Return: 0; -ENOMEM; -EINVAL: config breaks a rule (map_types.h). */
CLEAVE_API int cleave_map_init(struct cleave_map *map, struct cleave_map_thread *thread,
			       const struct cleave_map_config *config);
/*
 * Unmap everything and free the map.  Nobody else uses it any more.  Immutable entries go, too.  Nothing is reserved
 * for it: without memory, windows of stores may outlive it (doc/map.md, departure 12).
 * Complexity: O(entries).  Cannot fail.
 */
CLEAVE_API void cleave_map_destroy(struct cleave_map *map, struct cleave_map_thread *thread);
/* Share the whole map (vfork): one more reference.  Context: any.  Complexity: O(1). */
CLEAVE_API void cleave_map_share(struct cleave_map *map);
/* Give a reference back; the last one destroys the map.  Return: was it the last? */
CLEAVE_API bool cleave_map_release(struct cleave_map *map, struct cleave_map_thread *thread);

/* ---- Lookups ---- */

/* The offset in the backing object at which the entry begins; 0 if it has none. */
static inline uint64_t cleave_map_offset(const struct cleave_map_entry *entry)
{
	return entry->attributes.object ? entry->start + entry->attributes.delta : 0;
}

/*
 * The entry that holds `addr`.  If addr is not mapped, *entry is the entry that owns the guard or the free space in
 * which it lies (its predecessor; start == end if there is none), or the HOLE entry that holds it.  guard and fspace
 * are filled in only then.  Outside of [min, max) start == end == 0.
 * Complexity: O(log n).  Linearizes at: the load of the order word of the leaf that holds addr.
 * Return: is addr mapped, by an entry that is no HOLE?
 */
CLEAVE_API bool cleave_map_lookup_rcu(const struct cleave_map *map, uint64_t addr, struct cleave_map_entry *entry);

/*
 * Is all of [start, end) mapped with at least `protection`, at one instant?  NONE asks whether it is mapped.
 * Linearizes at: as cleave_covers().
 * Return: true; false: no, or outside of the map, or start > end.  An empty range inside the map is.
 */
CLEAVE_API bool cleave_map_check_protection(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
					    uint64_t end, unsigned int protection);

/*
 * Does `addr` lie in an entry with all of `flags`?  Looks at the map only if stacks have changed since.
 * Complexity: one load; or O(log n).  Linearizes at: the load of the serial; or as cleave_map_lookup_rcu().
 */
CLEAVE_API bool cleave_map_inentry_rcu(const struct cleave_map *map, struct cleave_map_inentry *cache, uint64_t addr,
				       uint32_t flags);

/*
 * Copy the entries from the one that holds *from upward into entries[0 .. *n), with their free space; *n becomes
 * their number.  Free space without an entry below it is one with start == end.  Each entry is of one instant;
 * its free space may be of a later one (Linearizes at: each entry for itself, in order).
 * Return: 0: all; -ENOMEM: the array is full, and *from is where to go on.
 */
CLEAVE_API int cleave_map_snapshot(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t *from,
				   struct cleave_map_entry *entries, size_t *n);
/* The same, all of one instant (Linearizes at: the lock of the last leaf): holds the whole map. */
CLEAVE_API int cleave_map_snapshot_locked(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t *from,
					  struct cleave_map_entry *entries, size_t *n);

/* ---- Mapping ---- */

#define CLEAVE_MAP_FIXED 0x01u	  /* at addr, nowhere else */
#define CLEAVE_MAP_REPLACE 0x02u  /* with FIXED: unmap what is there */
#define CLEAVE_MAP_QUERY 0x04u	  /* only find the address */
#define CLEAVE_MAP_TRY 0x08u	  /* -EFAULT rather than wait for a lock */
#define CLEAVE_MAP_OVERLAY 0x10u  /* copy on write with a store from the start */
#define CLEAVE_MAP_NO_MERGE 0x20u /* do not join it with neighbours */
#define CLEAVE_MAP_SIGALTSTACK 0x40u /* with REPLACE: immutable entries, too */

struct cleave_map_request {
	uint64_t addr;	/* FIXED: where; else a hint (0: none).  After success: where it was put */
	uint64_t size;	/* bytes, a multiple of the page size, not 0 */
	uint64_t align; /* a power of two; 0: the page size.  Not for FIXED and hints (a hint must be so aligned) */
	uint64_t phase; /* the address is phase modulo align */
	void *object;	/* backing object, or NULL.  Its reference becomes the map's if the call succeeds */
	uint64_t offset; /* in it, of addr */
	uint32_t flags;	 /* CLEAVE_MAP_FIXED ... */
	uint32_t entry_flags; /* COW, HOLE, NOFAULT, STACK, WC, CONCEAL */
	uint8_t protection;
	uint8_t max_protection;
	uint8_t inheritance;
	uint8_t advice;
};

/*
 * Map a range.  COW entries are NEEDS_COPY until they have a store.  Without FIXED the hint is tried first, then
 * the selectors.
 * Return: 0; -EINVAL: size 0 or unaligned, FIXED and addr unaligned, bad codes, HOLE with an object or COW or without
 * FIXED, a STACK over what is not all mapped (with REPLACE); -EACCES: protection beyond max_protection;
 * -ENOMEM: occupied, no room, wraps or outside of the map, over a limit, no memory; -EPERM: replaces an immutable
 * entry; -EFAULT: TRY, and locked.
 */
CLEAVE_API int cleave_map_map(struct cleave_map *map, struct cleave_map_thread *thread,
			      struct cleave_map_request *request);

/*
 * Find free space as cleave_map_map() does without FIXED and without a hint.  The answer may be out of date.
 * Complexity: O(log n) a selector; BEST_FIT: as CLEAVE_BEST.  Linearizes at: as cleave_find_gap_rcu().
 * Return: 0 and *addr; -ENOMEM; -EINVAL.
 */
CLEAVE_API int cleave_map_find_space(const struct cleave_map *map, struct cleave_map_thread *thread,
				     const struct cleave_map_request *request, uint64_t *addr);
/*
 * Where could `request` go (mquery)?  FIXED: at addr, if that is free; else the lowest fitting address from the hint
 * upward, outside of BRK_STACK ranges.
 * Return: 0 and request->addr; -EINVAL: FIXED, and not free; -ENOMEM.
 */
CLEAVE_API int cleave_map_query(const struct cleave_map *map, struct cleave_map_thread *thread,
				struct cleave_map_request *request);

/*
 * Unmap, as the system call does: addr and len are rounded to pages.
 * Return: 0; -EINVAL: wraps, outside of the map, or not all mapped; -EPERM: immutable; -ENOMEM.
 */
CLEAVE_API int cleave_map_munmap(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr,
				 uint64_t len);

#define CLEAVE_MAP_KEEP_IMMUTABLE 0x1u /* -EPERM if something is immutable */
#define CLEAVE_MAP_REMOVE_HOLES 0x2u   /* HOLE entries, too */
/*
 * Unmap whatever is in [start, end), clamped to the map.
 * Return: 0; -EINVAL: start > end, or unaligned; -EPERM; -ENOMEM.
 */
CLEAVE_API int cleave_map_unmap(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start, uint64_t end,
				unsigned int flags);

/* ---- Changing attributes: of whatever is mapped in [start, end), clamped to the map.  Empty: 0. ---- */

#define CLEAVE_PROTECT_MAX 0x1u	      /* set max_protection, and take from protection what it loses */
#define CLEAVE_PROTECT_IMMUTABLE 0x2u /* immutable entries, too */
/*
 * entry_flags: CLEAVE_MAP_STACK or 0; honoured where the new protection is exactly READ | WRITE and not what it was.
 * Entries that are already so are not clipped.
 * Return: 0; -EINVAL: start > end, unaligned, bad protection, a submap; -EPERM: immutable; -EACCES: beyond
 * max_protection; -ENOMEM: over the data limit, no memory; or (late) the map's future mappings are wired and that
 * failed.
 */
CLEAVE_API int cleave_map_protect(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
				  uint64_t end, unsigned int protection, uint32_t entry_flags, unsigned int flags);
/* Return: 0; -EINVAL: bad code, start > end, unaligned; -EPERM: immutable, or ZERO where not writable; -ENOMEM. */
CLEAVE_API int cleave_map_inherit(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
				  uint64_t end, unsigned int inheritance);
/* Return: 0; -EINVAL; -ENOMEM. */
CLEAVE_API int cleave_map_advise(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
				 uint64_t end, unsigned int advice);
/* Return: 0; -EINVAL; -EPERM: an entry whose inheritance is ZERO; -ENOMEM. */
CLEAVE_API int cleave_map_immutable(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
				    uint64_t end, bool immutable);

/*
 * Split the entry that holds `addr` so that an entry begins there.  `start` gives the upper part back in *entry,
 * `end` the lower one (entry may be NULL).  At a border there is nothing to do.
 * Return: 0; -ENOENT: addr is not mapped (`end`: addr - 1 is not); -EINVAL: unaligned; -ENOMEM.
 */
CLEAVE_API int cleave_map_clip_start(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr,
				     struct cleave_map_entry *entry);
CLEAVE_API int cleave_map_clip_end(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr,
				   struct cleave_map_entry *entry);

/*
 * Join all neighbours in [start, end) that differ in nothing: same flags and protections, not wired, no submap,
 * contiguous in object and store.  (Maps with CLEAVE_MAP_COALESCE do it with each change.)  All of them get the version
 * of one: an address may so get one again that it had before, with the same attributes.
 * Return: 0; -EINVAL; -ENOMEM.
 */
CLEAVE_API int cleave_map_coalesce(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
				   uint64_t end);

/*
 * Give the NEEDS_COPY entry that holds `addr` its store: `store`, whose page 0 belongs at the entry's start; its
 * reference becomes the map's.  Of several that try, one succeeds.
 * Return: 0; -ENOENT: the attributes' version is another one, or addr is not mapped; -EEXIST: it has a store;
 * -ENOMEM.
 */
CLEAVE_API int cleave_map_set_store(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr,
				    uint64_t version, void *store);

/*
 * Make [start, end) a window on another map.  It must lie in one entry with neither object nor store nor COW.
 * Return: 0; -EINVAL; -ENOMEM.
 */
CLEAVE_API int cleave_map_submap(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
				 uint64_t end, void *submap);

/*
 * Replace what is mapped in [addr, addr + size) by a fresh stack.  Rounded inward; if addr is aligned, its first page
 * stays.  All of it must be mapped READ | WRITE; may be immutable.
 * Return: 0; -EINVAL; -ENOMEM.
 */
CLEAVE_API int cleave_map_remap_as_stack(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t addr,
					 uint64_t size);

#define CLEAVE_CLEAN_SYNC 0x1u	     /* write back, wait */
#define CLEAVE_CLEAN_INVALIDATE 0x2u /* and drop */
#define CLEAVE_CLEAN_DEACTIVATE 0x4u /* anonymous pages are not needed soon */
#define CLEAVE_CLEAN_FREE 0x8u	     /* anonymous pages are not needed */
/*
 * Hand [start, end) to the embedder's `clean`, entry by entry, with the range locked.  Stops at its first error.
 * Return: 0; -EINVAL: start > end, unaligned, outside, a submap; -EFAULT: not all mapped; -EPERM: DEACTIVATE or FREE,
 * and an immutable entry has a store; what `clean` returned (late).
 */
CLEAVE_API int cleave_map_clean(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
				uint64_t end, unsigned int flags);

/* ---- Wiring ---- */

/*
 * Wire [start, end), rounded outward.  Entries without protection are passed over.  An entry that is wired already is
 * not clipped, and the last one is then left alone.  While pages are being wired, others who want to change the
 * entries wait.
 * Return: 0; -EINVAL: start > end, beyond the map, or a gap behind the first page; -EFAULT: below the map, or the
 * first page is not mapped; -ENOMEM; what the embedder's `wire` returned: all is undone, but clips remain.
 */
CLEAVE_API int cleave_map_wire(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
			       uint64_t end);
/* Clear all wirings of [start, end).  Return: as cleave_map_wire(). */
CLEAVE_API int cleave_map_unwire(struct cleave_map *map, struct cleave_map_thread *thread, uint64_t start,
				 uint64_t end);

#define CLEAVE_WIRE_CURRENT 0x1u
#define CLEAVE_WIRE_FUTURE 0x2u
/*
 * Wire everything there is (CURRENT), everything that will be mapped (FUTURE); 0: unwire all, future too.
 * limit: bytes that may be wired in the map; CLEAVE_MAP_UNLIMITED.
 * Return: 0; -ENOMEM: over the limit, no memory; what `wire` returned.
 */
CLEAVE_API int cleave_map_wire_all(struct cleave_map *map, struct cleave_map_thread *thread, unsigned int flags,
				   uint64_t limit);

/*
 * Keep all other writers out of the map, while readers go on.  Nests.  Waits for writers that have begun.
 * The owner may write to this map; not to others whose writers may hold transactions on both.
 * Complexity: busy locks all leaves once; unbusy O(1).  Neither can fail.
 */
CLEAVE_API void cleave_map_busy(struct cleave_map *map, struct cleave_map_thread *thread);
CLEAVE_API void cleave_map_unbusy(struct cleave_map *map, struct cleave_map_thread *thread);

/* ---- Several maps ---- */

/*
 * Make *child, whose memory is uninitialised, the map of a forked process, as the parent is at one instant.
 * Complexity: O(entries); no work per page, unless pages are wired.
 * Return: 0; -EINVAL: the parent has a submap, or an entry with NEEDS_COPY but without COW; -ENOMEM: nothing is left.
 */
CLEAVE_API int cleave_map_fork(struct cleave_map *parent, struct cleave_map_thread *thread, struct cleave_map *child);

#define CLEAVE_EXTRACT_FIXPROT 0x1u /* give it max_protection */
/*
 * Map what is at [start, start + len) of `from` into free space of `to`, another map of the same family, without EXEC.
 * Return: 0 and *addr; -EINVAL: unaligned, wraps, outside, not all mapped, same map; -ENOMEM: no room, no memory.
 */
CLEAVE_API int cleave_map_extract(struct cleave_map *from, struct cleave_map_thread *thread, uint64_t start,
				  uint64_t len, struct cleave_map *to, unsigned int flags, uint64_t *addr);

/* ---- Accounts ---- */

struct cleave_map_accounts {
	uint64_t size;	  /* bytes mapped, without HOLEs */
	uint64_t data;	  /* of these, anonymous, not PROT_NONE, outside of the stack's range */
	uint64_t entries; /* counted by walking: O(n) */
	uint64_t serial;  /* changes of stack entries */
};

/* Exact while nobody writes.  Context: outside read sections.  Complexity: O(n). */
CLEAVE_API void cleave_map_account(struct cleave_map *map, struct cleave_map_thread *thread,
				   struct cleave_map_accounts *accounts);
/*
 * Set the limits of a map that was made with CLEAVE_MAP_LIMITS.  Below what is mapped: no growth.
 * Context: any.  Complexity: O(1).  Linearizes at: a store for each limit.  Return: 0; -EINVAL: made without.
 */
CLEAVE_API int cleave_map_set_limits(struct cleave_map *map, uint64_t size_limit, uint64_t data_limit);

/*
 * Check the map: the index's invariants, page counts of attributes, accounts, guard pages.  (Page counts exactly where
 * `thread` is the only one of these maps that has not ended; else that none is too low.)
 * Context: nobody writes meanwhile.  Complexity: O(n).  Return: the number of violations; each a line.
 */
CLEAVE_API size_t cleave_map_verify(struct cleave_map *map, struct cleave_map_thread *thread,
				    struct cleave_lines *lines);

/* ---- Range transactions ---- */

/*
 * A transaction on a range of a map.  It can carry a system call, so that map and kernel never disagree:
 *
 *	cleave_map_begin(...)		nobody else changes the range
 *	cleave_map_txn_unmap(...)	any number of changes, each may fail
 *	cleave_map_prepare(...)		reserve what is missing: the last step that may fail
 *	munmap(...)
 *	cleave_map_commit(...)		or cleave_map_abort() if the call failed
 */

/*
 * Lock [start, end), inside the map, not empty, page-aligned.  Waits for wirings on their way there, and while the map
 * is busy.
 * One thread may hold transactions on several maps, if all threads begin them in the order of the maps' `number`.
 * Return: 0; -EINVAL; -EAGAIN: the map is CLEAVE_MAP_NO_SLEEP and the range is locked.
 */
CLEAVE_API int cleave_map_begin(struct cleave_map_txn *txn, struct cleave_map *map, struct cleave_map_thread *thread,
				uint64_t start, uint64_t end);
/* The entry that holds `addr`, with what is staged; its part in the range.  Return: mapped, and no HOLE. */
CLEAVE_API bool cleave_map_txn_lookup(struct cleave_map_txn *txn, uint64_t addr, struct cleave_map_entry *entry);
/*
 * Stage: the same checks and results as the functions without txn, in the transaction's range (-EINVAL outside).
 * After -ENOMEM for want of memory only an abort is left.
 * cleave_map_txn_map(): FIXED only; takes a reference to the object of its own.
 * cleave_map_txn_munmap(): not all mapped is -EINVAL.
 */
CLEAVE_API int cleave_map_txn_map(struct cleave_map_txn *txn, const struct cleave_map_request *request);
CLEAVE_API int cleave_map_txn_munmap(struct cleave_map_txn *txn, uint64_t start, uint64_t end);
CLEAVE_API int cleave_map_txn_unmap(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int flags);
CLEAVE_API int cleave_map_txn_protect(struct cleave_map_txn *txn, uint64_t start, uint64_t end,
				      unsigned int protection, uint32_t entry_flags, unsigned int flags);
CLEAVE_API int cleave_map_txn_inherit(struct cleave_map_txn *txn, uint64_t start, uint64_t end,
				      unsigned int inheritance);
CLEAVE_API int cleave_map_txn_advise(struct cleave_map_txn *txn, uint64_t start, uint64_t end, unsigned int advice);
CLEAVE_API int cleave_map_txn_immutable(struct cleave_map_txn *txn, uint64_t start, uint64_t end, bool immutable);
/*
 * Put any attributes: as a mirror learns them from its kernel.  References to object and store are taken.
 * Context: in the transaction.  Return: 0; -EINVAL: outside, or bad codes; -ENOMEM.
 */
CLEAVE_API int cleave_map_put(struct cleave_map_txn *txn, uint64_t start, uint64_t end,
			      const struct cleave_map_attributes *attributes);
/* Reserve all that the commit needs.  Return: 0; -ENOMEM: no memory, or over a limit; only an abort is left. */
CLEAVE_API int cleave_map_prepare(struct cleave_map_txn *txn);
/*
 * Publish, take translations down, unlock, release.  Cannot fail after cleave_map_prepare(); without that it prepares
 * first, and aborts if that fails.  Linearizes at: as cleave_commit().  Return: 0, -ENOMEM.
 */
CLEAVE_API int cleave_map_commit(struct cleave_map_txn *txn);
/* The commit in two steps; between the two the range is locked, and readers see the change. */
CLEAVE_API int cleave_map_publish(struct cleave_map_txn *txn);
CLEAVE_API void cleave_map_end(struct cleave_map_txn *txn);
CLEAVE_API void cleave_map_abort(struct cleave_map_txn *txn);

#ifdef __cplusplus
}
#endif
#endif
