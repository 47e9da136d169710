/* SPDX-License-Identifier: ISC */
/*
 * Types of maps only: what an entry is, what the embedder supplies, and everything that a caller allocates itself.  Of
 * the latter the members are the library's; use the functions of map.h.  Keys as in types.h.
 */
#ifndef CLEAVE_MAP_TYPES_H
#define CLEAVE_MAP_TYPES_H

#include "types.h"

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

	/*
	 * Write back or drop the pages of an entry's part [entry->start, entry->end).  Leaf locks held.  `clean_done`
	 * (may be NULL) is called once they are unlocked, whether that failed or not, and may sleep.
	 */
	int (*clean)(const struct cleave_map_ops *ops, struct cleave_map *map, const struct cleave_map_entry *entry,
		     unsigned int flags);
	void (*clean_done)(const struct cleave_map_ops *ops, struct cleave_map *map);

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

/* A thread's memory of the stack entry that it runs on; zeroed at first. */
struct cleave_map_inentry {
	uint64_t start;
	uint64_t end;
	uint64_t serial;
};

/* ---- Maps ---- */

enum cleave_map_policy {
	CLEAVE_SELECT_LOWEST,	/* the lowest address that fits */
	CLEAVE_SELECT_RANDOM,	/* upward from a random place within the first 4 GiB of the range, never back */
	CLEAVE_SELECT_BEST_FIT, /* the smallest gap that fits; O(gaps of the range that fit) */
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
#define CLEAVE_MAP_NO_SLEEP 0x04u    /* calls fail with -EAGAIN rather than wait for a lock (but see below) */
#define CLEAVE_MAP_LIMITS 0x08u	     /* limits can be set */
/* (To give back what a cleave_space had, such a call may still wait for a grace period, once it is done: anon.h.) */

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

/* A transaction on a range of a map.  All of it belongs to the thread that began it. */
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

#ifdef __cplusplus
}
#endif
#endif
