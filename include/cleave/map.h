/* SPDX-License-Identifier: ISC */
/*
 * A map of an address space: what the tree of map entries is in a BSD kernel, on a cleave index.
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

#ifdef __cplusplus
extern "C" {
#endif

struct cleave_map;
struct cleave_map_ops;
struct cleave__map_object;
struct cleave__map_drop;

/* ---- Attributes ---- */

#define CLEAVE_PROT_NONE 0u
#define CLEAVE_PROT_READ 1u
#define CLEAVE_PROT_WRITE 2u
#define CLEAVE_PROT_EXEC 4u
#define CLEAVE_PROT_ALL 7u

enum cleave_map_inheritance {
	CLEAVE_INHERIT_SHARE, /* a child sees the same pages */
	CLEAVE_INHERIT_COPY,  /* a child gets a copy on write */
	CLEAVE_INHERIT_NONE,  /* a child has nothing there */
	CLEAVE_INHERIT_ZERO,  /* a child has zeroed memory there */
};

enum cleave_map_advice {
	CLEAVE_ADVICE_NORMAL,
	CLEAVE_ADVICE_RANDOM,
	CLEAVE_ADVICE_SEQUENTIAL,
};

/* What an entry is. */
#define CLEAVE_MAP_SUBMAP 0x002u	/* object is another map */
#define CLEAVE_MAP_COW 0x004u		/* copy on write */
#define CLEAVE_MAP_NEEDS_COPY 0x008u	/* has no store yet, and will need one */
#define CLEAVE_MAP_HOLE 0x010u		/* reserved: not mapped, not free */
#define CLEAVE_MAP_NOFAULT 0x020u	/* must not be faulted on */
#define CLEAVE_MAP_STACK 0x040u		/* may hold a stack */
#define CLEAVE_MAP_WC 0x080u		/* write-combining */
#define CLEAVE_MAP_CONCEAL 0x100u	/* not in core dumps */
#define CLEAVE_MAP_SHARED 0x200u	/* its store has a window in another map, too */
#define CLEAVE_MAP_IMMUTABLE 0x400u	/* stays as it is */
#define CLEAVE_MAP_IN_TRANSITION 0x800u /* being wired */

struct cleave_map_attributes {
	void *object;	      /* backing object, or submap; NULL: anonymous memory */
	uint64_t delta;	      /* address a has the offset a + delta in it, modulo 2^64; 0 without an object */
	void *store;	      /* of anonymous pages; NULL: none (yet) */
	uint64_t store_delta; /* address a is byte a + store_delta of the store, modulo 2^64; 0 without a store */
	uint32_t flags;	      /* CLEAVE_MAP_... */
	uint32_t wired;	      /* wirings; unwire clears it */
	uint8_t protection;
	uint8_t max_protection;
	uint8_t inheritance; /* enum cleave_map_inheritance */
	uint8_t advice;	     /* enum cleave_map_advice */
};

/*
 * An entry.  Its free space: [end, end + guard) belongs to it but is neither mapped nor free; the `fspace` bytes after
 * that are free.  start == end: free space without an entry below it (at the map's start, or where a selector's range
 * begins).
 */
struct cleave_map_entry {
	uint64_t start;
	uint64_t end;
	uint64_t guard;
	uint64_t fspace;
	uint64_t version; /* of the attributes: never given to others, by any map; 0 if start == end */
	struct cleave_map_attributes attributes;
};

/* The offset in the backing object at which the entry begins; 0 if it has none. */
static inline uint64_t cleave_map_offset(const struct cleave_map_entry *entry)
{
	return entry->attributes.object ? entry->start + entry->attributes.delta : 0;
}

/* ---- What the embedder supplies ---- */

/* What becomes of the translations (page-table entries) of a range. */
enum cleave_map_translations {
	CLEAVE_MAP_REMOVE,	  /* the pages are no longer mapped here */
	CLEAVE_MAP_RESTRICT,	  /* permissions were lost: remove, or lower to what the map says now */
	CLEAVE_MAP_WRITE_PROTECT, /* forked: the pages must not be written in place */
	CLEAVE_MAP_SETTLE,	  /* a first store: only wait for faults that do not know it yet; take nothing down */
	CLEAVE_MAP_UNWIRE,	  /* wirings went, after `unwire`: wait likewise, and let go what came since */
};

/*
 * Every member may be NULL: then it is not needed (no backing objects to count, no stores, no page tables ...).
 * A *window* is the part of a store that a range of a map shows; `first` and `n` count pages.
 */
struct cleave_map_ops {
	/*
	 * References to backing objects, submaps (flags has CLEAVE_MAP_SUBMAP) and stores: one for each attribute
	 * object that names one.  `ref` is called with leaf locks held and neither sleeps nor fails; `unref` a grace
	 * period after the last entry with these attributes went, and no thread keeps a count of them to itself any
	 * more (cleave_map_thread_flush()), without any lock.
	 */
	void (*object_ref)(const struct cleave_map_ops *ops, void *object, uint32_t flags);
	void (*object_unref)(const struct cleave_map_ops *ops, void *object, uint32_t flags);
	void (*store_ref)(const struct cleave_map_ops *ops, void *store);
	void (*store_unref)(const struct cleave_map_ops *ops, void *store);

	/* Make an empty store of n pages, with one reference.  Called with leaf locks held.  0 or -ENOMEM. */
	int (*store_new)(const struct cleave_map_ops *ops, uint64_t n, void **store);

	/*
	 * Windows.  `window_add` and `window_reserve` are called with the leaf locks of the range held and may fail
	 * with -ENOMEM; `window_reserve` promises what a `window_drop` of the same range, or of parts of it, will need.
	 * `window_cancel` takes the promise back.  `window_drop` is called after the range was unlocked and its
	 * translations were removed, without any lock.  A call that fails after `window_add` undoes it with
	 * `window_undo`, locks held.
	 */
	int (*window_add)(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);
	void (*window_undo)(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);
	int (*window_reserve)(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);
	void (*window_cancel)(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);
	void (*window_drop)(const struct cleave_map_ops *ops, void *store, uint64_t first, uint64_t n);

	/*
	 * Called when a change of [start, end) is visible, with its leaves still locked: wait for the faults that are
	 * on their way there, then (unless told to SETTLE) take down what they and earlier ones entered.  Not called
	 * where nothing was mapped and where permissions only grew.  Must not write to the map.
	 */
	void (*translate)(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
			  enum cleave_map_translations what);

	/*
	 * Wire (fault in and hold) the pages of [start, end), or let them go.  `wire` is called without locks; it
	 * leaves nothing wired when it fails, and does not write to the map through the same thread's record.  `unwire`
	 * may be called with leaf locks held.
	 */
	int (*wire)(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end,
		    unsigned int protection);
	void (*unwire)(const struct cleave_map_ops *ops, struct cleave_map *map, uint64_t start, uint64_t end);

	/*
	 * Fork.  `clone` makes a clone, with one reference and no window, of each of n distinct stores, as they are at
	 * one instant between now and its return, and keeps writers from entering pages of them writable until
	 * `clone_done`.  0 or -ENOMEM.  Then the child's windows are added, pages that are wired in the parent are
	 * copied (`copy_wired`, may fail), the parent is write-protected (`translate`), and `clone_done` is called; a
	 * clone's pages outside its windows are of no use from then on.  After a failure the windows are undone before
	 * `clone_done` and the clones' references dropped after it.  All with the parent's leaf locks held.
	 */
	int (*clone)(const struct cleave_map_ops *ops, struct cleave_map *parent, void *const *stores, void **clones,
		     size_t n);
	int (*copy_wired)(const struct cleave_map_ops *ops, void *clone, uint64_t first, uint64_t n);
	void (*clone_done)(const struct cleave_map_ops *ops, struct cleave_map *parent, void *const *stores,
			   void *const *clones, size_t n);

	/* Write back or drop the pages of an entry's part [entry->start, entry->end).  Leaf locks held. */
	int (*clean)(const struct cleave_map_ops *ops, struct cleave_map *map, const struct cleave_map_entry *entry,
		     unsigned int flags);

	/* A random number, for selectors; NULL: a simple generator in each thread's record. */
	uint64_t (*random)(const struct cleave_map_ops *ops);
};

/* ---- Maps and threads ---- */

/* Maps that can be forked from one another, or that share stores: what they have in common. */
struct cleave_maps {
	struct cleave_domain *domain;	  /* [I] */
	const struct cleave_map_ops *ops; /* [I] */
	struct cleave_word numbers;	  /* [a] of threads and maps: never used twice */
	struct cleave_word stripes;	  /* [a] a bit for each stripe that belongs to one thread */
	struct cleave_word threads;	  /* [a] that there are */
};

/* What was made into an object: the version of another, and by which rule (lib/map.h). */
struct cleave__map_origin {
	uint64_t version; /* 0: nothing */
	uint64_t rule;
};

/* Pages of an object that a thread has counted to itself, and writes to the object's counter later. */
struct cleave__map_tab {
	struct cleave__map_object *object; /* NULL: of none */
	const struct cleave *index;	   /* of what the thread made: its map's */
	uint64_t pages;			   /* modulo 2^64 */
	uint32_t uses;
	bool kept; /* of what the thread made: it stays; else it may be gone, and is only compared */
	struct cleave__map_origin from[2]; /* of what the thread made */
};

/* What a thread needs to write to maps.  Owned by the caller, used by one thread at a time. */
struct cleave_map_thread {
	struct cleave_maps *maps;		/* [I] */
	struct cleave_thread *self;		/* [I] */
	uint64_t version;			/* [t] the last one that was given out */
	uint64_t random;			/* [t] */
	uint32_t stripe;			/* [I] of the accounts; below CLEAVE_MAP_OWN_STRIPES: its own */
	uint32_t nfree;				/* [t] */
	struct cleave__map_object *free;	/* [t] clean objects */
	struct cleave__map_object *young;	/* [t] retired, no cookie yet */
	struct cleave__map_object *old;		/* [t] retired, with cookies, oldest first */
	struct cleave__map_object **old_end;	/* [t] */
	uint64_t nyoung;			/* [t] */
	uint64_t nold;				/* [t] */
	uint32_t stock;				/* [t] clean objects to keep */
	bool releasing;				/* [t] */
	struct cleave__map_tab made[2];		/* [t] of objects that it made last */
	struct cleave__map_tab left[2];		/* [t] pages that it took from objects; subtracted later */
};

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

enum cleave_map_policy {
	CLEAVE_SELECT_LOWEST,	/* the lowest address that fits */
	CLEAVE_SELECT_RANDOM,	/* upward from a random place within the first 4 GiB of the range, never back */
	CLEAVE_SELECT_BEST_FIT, /* the smallest gap that fits; O(entries of the range) */
	CLEAVE_SELECT_HIGHEST,	/* the highest address that fits */
};

enum cleave_map_role {
	CLEAVE_SELECT_ANY,	 /* asked for everything, in the order of the list */
	CLEAVE_SELECT_EXEC,	 /* asked first, for executable mappings only */
	CLEAVE_SELECT_BRK_STACK, /* asked last; not by cleave_map_query() */
};

/* A range of the map and how free space is chosen in it.  No gap that a selector looks at crosses its borders. */
struct cleave_map_selector {
	uint64_t start;
	uint64_t end;
	enum cleave_map_policy policy;
	enum cleave_map_role role;
};

#define CLEAVE_MAP_SELECTORS 8
#define CLEAVE_MAP_STRIPES 16
#define CLEAVE_MAP_OWN_STRIPES 8 /* of those, given to one thread each; the others are shared */
#define CLEAVE_MAP_UNLIMITED UINT64_MAX

#define CLEAVE_MAP_GUARD_PAGES 0x01u /* every entry is followed by a guard page, if there is room */
#define CLEAVE_MAP_COALESCE 0x02u    /* join neighbours that differ in nothing */
#define CLEAVE_MAP_NO_SLEEP 0x04u    /* calls fail with -EAGAIN rather than wait for a lock */
#define CLEAVE_MAP_LIMITS 0x08u	     /* limits can be set */

struct cleave_map_config {
	uint64_t min;	       /* the lowest address, a multiple of the page size */
	uint64_t max;	       /* above the highest one, as aligned; so the last page below 2^64 stays out */
	uint32_t page_shift;   /* 12: pages of 4096 bytes; at least 1, at most 30 */
	uint32_t flags;	       /* CLEAVE_MAP_GUARD_PAGES ... */
	uint64_t size_limit;   /* bytes mapped, with CLEAVE_MAP_LIMITS */
	uint64_t data_limit;   /* bytes of data, with CLEAVE_MAP_LIMITS */
	uint64_t stack_start;  /* no data is counted in [stack_start, stack_end) */
	uint64_t stack_end;
	uint32_t nselectors;   /* 0: one, LOWEST, over the whole map */
	struct cleave_map_selector selectors[CLEAVE_MAP_SELECTORS]; /* in order of preference; disjoint */
};

/* One stripe of the accounts. */
struct cleave__map_stripe {
	struct cleave_word size; /* [a] */
	struct cleave_word data; /* [a] */
	uint64_t pad[6];
};

/* Best at a multiple of 64: what is written often has cache lines of its own then. */
struct cleave_map {
	struct cleave index;
	struct cleave_maps *maps;	 /* [I] */
	uint64_t number;		 /* [I] order of locks between maps */
	struct cleave_map_config config; /* [I] */
	void *cookie;			 /* the embedder's */
	uint64_t pad[5];
	/* Read by every writer, written by rare ones. */
	struct cleave_word busy;	   /* [a] the thread record that made the map busy, or 0 */
	struct cleave_word32 nbusy;	   /* [a] its nesting; written by the owner */
	struct cleave_word32 wirings;	   /* [a] wirings on their way */
	struct cleave_word32 hold_wirings; /* [a] whoever wants the whole map: no new wirings */
	struct cleave_word32 wire_future;  /* [a] */
	struct cleave_word32 replacing;	   /* [a] mappings in the place of others, whose translations remain */
	uint32_t pad5;
	uint64_t pad1[4];
	/* Rare events. */
	struct cleave_word32 wakeups; /* [a] bumped when a wait may be over */
	uint32_t pad4;
	struct cleave_word serial;    /* [a] changes of stack entries */
	struct cleave_word references; /* [a] */
	uint64_t pad2[5];
	/* Limits, if there are any. */
	struct cleave_word size_limit; /* [a] */
	struct cleave_word data_limit; /* [a] */
	struct cleave_word size;       /* [a] reserved */
	struct cleave_word data;       /* [a] reserved */
	uint64_t pad3[4];
	struct cleave__map_stripe stripes[CLEAVE_MAP_STRIPES];
};

/* Make an empty map.  Complexity: O(1).  Return: 0; -ENOMEM; -EINVAL: config breaks a rule above. */
CLEAVE_API int cleave_map_init(struct cleave_map *map, struct cleave_map_thread *thread,
			       const struct cleave_map_config *config);
/*
 * Unmap everything and free the map.  Nobody else uses it any more.  Immutable entries go, too.  Nothing is reserved
 * for it: without memory windows of stores may outlive it (doc/map.md, departure 12).
 * Complexity: O(entries).  Cannot fail.
 */
CLEAVE_API void cleave_map_destroy(struct cleave_map *map, struct cleave_map_thread *thread);
/* Share the whole map (vfork): one more reference.  Context: any.  Complexity: O(1). */
CLEAVE_API void cleave_map_share(struct cleave_map *map);
/* Give a reference back; the last one destroys the map.  Return: was it the last? */
CLEAVE_API bool cleave_map_release(struct cleave_map *map, struct cleave_map_thread *thread);

/* ---- Lookups ---- */

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

/* A thread's memory of the stack entry that it runs on; zeroed at first. */
struct cleave_map_inentry {
	uint64_t start;
	uint64_t end;
	uint64_t serial;
};
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
 * Complexity: O(log n) a selector; BEST_FIT: O(entries of its range).  Linearizes at: as cleave_find_gap_rcu().
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
 * of
 * one: an address may so get one again that it had before, with the same attributes.
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

struct cleave__map_piece {
	uint64_t start;
	uint64_t end;
	struct cleave__map_object *object; /* NULL: unmapped */
	uint32_t actions;
};

struct cleave__map_bytes {
	uint64_t size;
	uint64_t data;
};

#define CLEAVE_MAP_TXN_INLINE 6

/*
 * A transaction on a range of a map.  It can carry a system call, so that map and kernel never disagree:
 *
 *	cleave_map_begin(...)		nobody else changes the range
 *	cleave_map_txn_unmap(...)	any number of changes, each may fail
 *	cleave_map_prepare(...)		reserve what is missing: the last step that may fail
 *	munmap(...)
 *	cleave_map_commit(...)		or cleave_map_abort() if the call failed
 *
 * All of it belongs to the thread that began it.
 */
struct cleave_map_txn {
	struct cleave_txn txn;
	struct cleave_map *map;
	struct cleave_map_thread *thread;
	uint64_t start;
	uint64_t end;
	struct cleave__map_piece *pieces; /* staged: sorted, disjoint */
	uint32_t npieces;
	uint32_t capacity;
	int error;	/* an earlier call ran out of memory */
	bool layout;	/* ranges are mapped or unmapped: guard pages move */
	bool apart;	/* neighbours are not joined */
	bool plain;	/* settles a wiring: nothing is joined, guarded, unwired */
	bool prepared;
	bool published;
	bool serial;	   /* stack entries change */
	uint32_t actions;  /* of all pieces */
	uint32_t nwindows; /* changes of windows that were made or promised */
	uint32_t ndrops;
	struct cleave__map_drop *drops; /* windows that the commit ends */
	struct cleave__map_bytes grown; /* one of the two is 0; granted by the limits */
	struct cleave__map_bytes shrunk;
	struct cleave_entry seen; /* the last one that was looked up; a gap of no address at first */
	struct cleave__map_piece inline_pieces[CLEAVE_MAP_TXN_INLINE];
};

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
 * Publish, take translations down, unlock, release.  Cannot fail after cleave_map_prepare(); without it, a failure of
 * prepare is an abort.  Linearizes at: as cleave_commit().  Return: 0, -ENOMEM.
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
