/* SPDX-License-Identifier: ISC */
/*
 * Page faults: maps (map.h) and stores of anonymous pages (anon.h) joined, for an embedder that supplies page-level
 * callbacks: get a page, copy it, enter it into a page table, take it out again.
 *
 *	space	struct cleave_space		all maps that may be forked from one another or share pages
 *	thread	struct cleave_space_thread	what one thread needs to fault and to write to the maps
 *	page	uint64_t			what the embedder calls a page: even, not 0 (its address, say)
 *	token	uint64_t			where a page was swapped to: odd
 *
 * Faults run in parallel with each other and with everything that changes the map.  A fault takes no lock of the map:
 * it announces what it is about to enter (its guard, a cache line of its own), looks, and enters; whoever takes
 * something away publishes that and then waits for the guards that overlap.  doc/fault.md says how, and why each race
 * is closed.
 *
 * What holds, for every page that a fault enters, also for pages of objects, the zero page and neighbours entered
 * ahead:
 *   1. After an unmap's `remove` of a range has returned, nothing is entered there until it is mapped again; and what
 *	is entered then belongs to the new mapping.
 *   2. After a protect to read-only has returned, nothing is entered there writable.
 *   3. After a fork has returned, no page that parent and child share is entered writable; each first write gets a
 *	copy, or the page itself if nobody else has it any more.
 *   4. A slot gets exactly one anon, however many threads fault on it at once.
 *   5. No page is freed, written to swap or written in place by one sharer while a translation of another that was
 *	entered through it remains.
 *   6. A fault writes its guard, its slot and its anon, and no other cache line that threads share (after the first
 *	fault in a leaf, or after a clone, which make nodes; anons and nodes come from the allocator by the batch).
 *
 * Context, unless said otherwise: outside read sections, guards and transactions; may sleep and allocate.
 * Errors: 0 or a negative errno value.
 */
#ifndef CLEAVE_FAULT_H
#define CLEAVE_FAULT_H

#include "anon.h"
#include "map.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cleave_space_thread;

/* ---- What the embedder supplies ---- */

#define CLEAVE_ENTER_AHEAD 0x1u /* nobody asked for it: may be left out, and must not lower what is there */
#define CLEAVE_ENTER_WIRED 0x2u /* hold the page in memory for as long as the address shows it */

/*
 * Callbacks.  "Guarded": called under the guard of the calling thread, in most cases inside a read section, while
 * others may wait for that guard: must not sleep for long, fault, write to a map or a store, or wait for somebody who
 * does.  Taking a lock of the page table's or a page's own is fine.  "Locked": called with leaf locks of the map held:
 * may sleep, but must not write to that map or fault in it.
 *
 * Optional ones may be NULL.
 */
struct cleave_space_ops {
	/* The calling thread's record: the one it uses for calls on the maps.  Any context.  Needed. */
	struct cleave_space_thread *(*calling_thread)(const struct cleave_space_ops *ops);

	/*
	 * Pages.  page_get: a page that reads as zeros; 0: no memory.  May sleep and, as every callback without a
	 * remark, evict; locked when wired pages are copied for a child.  page_free: nobody can reach it any more.
	 * page_copy: guarded, or locked when wired pages are copied.  Needed.
	 */
	uint64_t (*page_get)(const struct cleave_space_ops *ops);
	void (*page_free)(const struct cleave_space_ops *ops, uint64_t page);
	void (*page_copy)(const struct cleave_space_ops *ops, uint64_t from, uint64_t to);

	/*
	 * A page of zeros that may be entered, never writable, wherever anonymous memory is read before it is written.
	 * 0: none, reads get a page of their own then.  With one, the first write of a page costs a look at all guards.
	 */
	uint64_t zero_page;

	/*
	 * Backing objects.  object_page: the page at a byte offset, if it is resident; 0: it is not.  It stays valid
	 * until the guard is cleared: who evicts a page of an object makes object_page say 0 first, then calls
	 * cleave_space_settle(), then removes translations.  Guarded.
	 * object_fetch: make it resident; whatever it returns but 0 is the fault's result.  `write`: it will be written
	 * (only to shared mappings).  Optional, if no map has objects.
	 * object_ref, object_unref, object_clean: as in map.h (`object_ref`, `object_unref`, `clean`).  Optional.
	 */
	uint64_t (*object_page)(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write);
	int (*object_fetch)(const struct cleave_space_ops *ops, void *object, uint64_t offset, bool write);
	void (*object_ref)(const struct cleave_space_ops *ops, void *object, uint32_t flags);
	void (*object_unref)(const struct cleave_space_ops *ops, void *object, uint32_t flags);
	int (*object_clean)(const struct cleave_space_ops *ops, void *object, uint64_t offset, uint64_t size,
			    unsigned int flags);

	/*
	 * Page tables.
	 * enter: let `addr` of `map` show `page` with `protection`, in place of whatever it shows.  `anon`: the anon
	 * that has the page (valid until `page_free` of that page has returned, for cleave_anon_page_pin_rcu()); NULL:
	 * a page of an object, or the zero page.  An error ends the fault with that result, in a state in which it can
	 * simply be made again (-EAGAIN: the page table is changing).  Guarded.  Needed.
	 * remove: [start, end) of `map` shows nothing any more; all processors know when it returns.  Guarded, for one
	 * page; locked, for ranges.  Needed.
	 * protect: lower the translations of [start, end) to at most `protection`, which is not NONE.  Locked.  NULL:
	 * remove serves.
	 * remove_page: no address of any map shows `page` any more.  Guarded, or without locks.
	 * protect_page: no address of any map lets `page` be written any more.  Locked, mostly under a guard as well.
	 * NULL: remove_page serves.
	 * remove_page is needed where pages are swapped out, windows shared (INHERIT_SHARE, extract), or maps with
	 * wired memory forked.
	 */
	int (*enter)(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t addr, uint64_t page,
		     struct cleave_anon_page *anon, unsigned int protection, unsigned int flags);
	void (*remove)(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end);
	void (*protect)(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
			unsigned int protection);
	void (*remove_page)(const struct cleave_space_ops *ops, uint64_t page);
	void (*protect_page)(const struct cleave_space_ops *ops, uint64_t page);

	/*
	 * Swap.  page_out: write the page, whose translations are gone; the token is the library's from then on, and
	 * the page is freed.  page_in: read it into a fresh page; after success the token is the embedder's again.
	 * token_free: the anon is gone.  may_evict: asked when no fault on the page is under way; false: it stays.
	 * Errors of page_in are the fault's result.  Optional, if nothing is swapped out; may_evict always.
	 */
	int (*page_out)(const struct cleave_space_ops *ops, uint64_t page, uint64_t *token);
	int (*page_in)(const struct cleave_space_ops *ops, uint64_t token, uint64_t page);
	void (*token_free)(const struct cleave_space_ops *ops, uint64_t token);
	bool (*may_evict)(const struct cleave_space_ops *ops, uint64_t page);

	/*
	 * Wiring is by address: a translation that was entered with CLEAVE_ENTER_WIRED holds its page, so that
	 * may_evict says false, until it is removed, shows another page, or `unwire` was called; entering the same page
	 * again keeps the hold.
	 * unwire: [start, end) of `map` holds nothing any more; it may have held nothing.  Locked, or without locks.
	 * Needed for wiring, as are `protect` and `protect_page`: what is only lowered stays held.  (A page that
	 * several maps show may be replaced by a copy that another one makes: that copy is held from the next fault
	 * on.)
	 * deactivate: the page is not needed soon.  Guarded and locked.  Optional.
	 */
	void (*unwire)(const struct cleave_space_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end);
	void (*deactivate)(const struct cleave_space_ops *ops, uint64_t page);

	/* As in map.h.  Optional. */
	uint64_t (*random)(const struct cleave_space_ops *ops);
};

/* ---- Spaces and threads ---- */

/* Keys as in types.h. */
struct cleave_space {
	struct cleave_map_ops map_ops;	    /* [I] the maps' embedder is this space; first */
	struct cleave_anon_ops anon_ops;    /* [I] and the stores' */
	const struct cleave_space_ops *ops; /* [I] */
	struct cleave_domain *domain;	    /* [I] */
	uint32_t page_shift;		    /* [I] */
	uint32_t pad;
	struct cleave_maps maps; /* for cleave_map_init()'s threads */
	struct cleave_anon_domain anons;
};

/* A window whose end lacks memory. */
struct cleave__space_late {
	struct cleave_anon *store;
	uint64_t first;
	uint64_t n;
};

/* What a thread's faults did, by kind; each fault that returned 0 is one of the first six. */
struct cleave_fault_counters {
	uint64_t fills;	     /* zeroed pages put into empty slots */
	uint64_t promotions; /* pages of objects copied into empty slots */
	uint64_t copies;     /* copies on write */
	uint64_t in_place;   /* writes to pages that nobody shares */
	uint64_t reads;	     /* pages of slots, entered for reading */
	uint64_t slotless;   /* pages of objects, and zero pages */
	uint64_t ahead;	     /* neighbours entered */
	uint64_t swap_ins;
	uint64_t fetches;
	uint64_t stores; /* made for memory that had none */
	uint64_t restarts;
	uint64_t waits;	 /* of these restarts: slept for a clone, a busy slot, I/O */
	uint64_t locked; /* of these: with the page's range transaction held */
	uint64_t swap_outs;
};

/* Owned by the caller, used by one thread at a time. */
struct cleave_space_thread {
	struct cleave_map_thread map;	       /* for calls on maps */
	struct cleave_space *space;	       /* [I] */
	struct cleave_anon_context *context;   /* [I] for calls on stores */
	struct cleave_anon_page *spare;	       /* [t] with a zeroed page, for the next fault */
	struct cleave__space_late *late;       /* [t] */
	uint32_t nlate;			       /* [t] */
	uint32_t capacity;		       /* [t] of late */
	uint32_t promised;		       /* [t] windows that will end */
	uint32_t nodes;			       /* [t] of stores, promised to their wipes */
	struct cleave_fault_counters counters; /* [t/a] */
};

/*
 * Prepare a space over an RCU domain.  `ops`: kept, not copied.  page_shift: of all its maps.
 * Context: any; cannot fail.  Complexity: O(1).
 */
CLEAVE_API void cleave_space_init(struct cleave_space *space, struct cleave_domain *domain,
				  const struct cleave_space_ops *ops, uint32_t page_shift);
/* All maps are destroyed and all threads have ended.  Complexity: O(contexts). */
CLEAVE_API void cleave_space_exit(struct cleave_space *space);

/*
 * A record for a thread; `self` is registered in the space's domain and outlives it.  Maps are made and changed with
 * &thread->map, whose maps are &space->maps.
 * Complexity: O(contexts).  Return: 0, -ENOMEM.
 */
CLEAVE_API int cleave_space_thread_init(struct cleave_space_thread *thread, struct cleave_space *space,
					struct cleave_thread *self);
/* Free what the thread holds and has retired.  Context: waits for grace periods.  Complexity: O(what is freed). */
CLEAVE_API void cleave_space_thread_exit(struct cleave_space_thread *thread);
/*
 * Free what the thread has retired, once that is possible: attributes, stores, pages.  Every call does a part of this.
 * Context: waits for grace periods.  Complexity: O(what is freed).
 */
CLEAVE_API void cleave_space_flush(struct cleave_space_thread *thread);

/* ---- Faults ---- */

/*
 * Serve a fault: let `addr` be accessed as `access` says (CLEAVE_PROT_READ, WRITE, EXEC).
 *
 * A write to memory that is copied on write gets a page of its own: zeroed, a copy of the object's page, a copy of a
 * shared page, or the page itself if nobody shares it.  A read gets what is there, without write permission (a page
 * that the fault itself has filled: with).  Reads also enter resident neighbours, as the entry's advice says: 3 below
 * and 4 above, 8 and 7 if SEQUENTIAL, none if RANDOM.
 *
 * Complexity: O(log entries + levels of the store).  Waits for: a clone of the store, another change of the same slot,
 * I/O on the same page; above the limit of what waits in the thread's context (anon.h), a grace period; if memory lacks
 * while something waits there, all of that, up to three, and O(what waits): neither with a transaction open
 * (cleave_thread_holds()).  So the caller holds no lock that another reader of the domain waits for without going
 * offline or leaving its section.  Does not wait for faults on other pages.  After eight restarts it holds the page's
 * range transaction while it looks, so that changes of the map cannot starve it.
 * Linearizes at: the check that the entry still holds, after the guard was set: what changes the entry later waits for
 * this fault.
 * Return:
 *   0: entered;
 *   -EFAULT: not mapped, a HOLE, NOFAULT, a submap, or beyond the end of its store;
 *   -EACCES: the entry does not permit it;
 *   -ENOMEM: no page, anon, node or store, nor among what waits in the thread's context, if it may wait for that
 *	(cleave_space_flush() gives back all that the thread has dropped).  Nothing is held, and the fault can be made
 *	again once memory is there;
 *   what object_fetch, page_in or enter returned (the first two are asked once more if they lack memory that way).
 */
CLEAVE_API int cleave_fault(struct cleave_space_thread *thread, struct cleave_map *map, uint64_t addr,
			    unsigned int access);

/* ---- Eviction ---- */

#define CLEAVE_SWAP_BATCH 64

/*
 * Swap pages out: marks the anons in transit, waits once for all faults that are under way, removes the pages'
 * translations, writes them with page_out and frees them.  anons[]: n of them, at most CLEAVE_SWAP_BATCH, each pinned
 * by the caller; the pins are given back.  Those that hold no page (any more), are in transit already, or that
 * may_evict keeps, are passed over; so are those whose page_out fails.  All remove_page calls come before the first
 * page_out.
 *
 * A pin does not keep an anon in its slot.  Until it is marked, a write there may install a copy, if another store
 * shares the anon; from then on no fault replaces it.  So where a page was found says where it is only if that is
 * looked at again in may_evict, and with the map's range locked; else what would be removed there is the copy.
 * Context: outside guards and read sections; leaf locks may be held.  Faults on these pages wait meanwhile.
 * Complexity: O(n + contexts), without the embedder's part.
 * Linearizes at: each anon for itself, where its content becomes the token.
 * Return: how many pages were freed.
 */
CLEAVE_API size_t cleave_swap_out(struct cleave_space_thread *thread, struct cleave_anon_page **anons, size_t n);

/*
 * Wait until all faults that are under way have ended.  For who evicts pages of objects: faults that begin later ask
 * object_page again.  Context: as cleave_swap_out().  Complexity: O(contexts), and the waiting.
 */
CLEAVE_API void cleave_space_settle(struct cleave_space_thread *thread);

/* The store, as map.h names it, of an entry's attributes; NULL: none (yet). */
static inline struct cleave_anon *cleave_space_store(const struct cleave_map_attributes *attributes)
{
	return (struct cleave_anon *)attributes->store;
}

/* The store's slot that `addr`, inside the entry, shows. */
static inline uint64_t cleave_space_slot(const struct cleave_space *space,
					 const struct cleave_map_attributes *attributes, uint64_t addr)
{
	return (addr + attributes->store_delta) >> space->page_shift;
}

#ifdef __cplusplus
}
#endif
#endif
