/* SPDX-License-Identifier: ISC */
/*
 * Types only: everything that a caller allocates itself.  The members are the library's; use the functions of
 * cleave.h.  They stand here so that an index, a thread record or a transaction can be embedded in the caller's own
 * structures, without an allocation and without a handle.
 *
 * Field keys (in brackets): I immutable after init; a atomic; n under the node's lock; t only the owning thread;
 * t/a written by the owning thread, read by anyone; d under the domain's lock.
 */
#ifndef CLEAVE_TYPES_H
#define CLEAVE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cleave_domain;
struct cleave_thread;
struct cleave__node;
struct cleave__branch;
struct cleave__search;

/* A shared word.  Only the port's accessors touch it (lib/port/port.h). */
struct cleave_word {
	uint64_t word;
};

struct cleave_word32 {
	uint32_t word;
};

/* The range [first, last], both inclusive, and its value; NULL is a gap. */
struct cleave_entry {
	uint64_t first;
	uint64_t last;
	void *value;
};

/* What a lookup saw, for asking later in the same read section whether it still holds. */
struct cleave_ticket {
	const struct cleave__node *leaf;
	uint64_t order;
};

/*
 * Receiver of the entries that a change displaced.  `each` is called once an entry, in address order, after the change
 * is published, without locks and outside of any read section.  The range is the part that was displaced.  Readers may
 * still hold the value until a grace period has passed.
 */
struct cleave_sink {
	void (*each)(struct cleave_sink *sink, const struct cleave_entry *displaced);
};

/* Memory for nodes.  Both may be called with leaf locks held by a transaction, never inside a read section. */
struct cleave_memory {
	void *(*alloc)(const struct cleave_memory *memory, size_t size, size_t align); /* NULL: none left */
	void (*free)(const struct cleave_memory *memory, void *node, size_t size);
};

/*
 * What the RCU flavour supplies; `self` is the calling thread.
 *
 * cookie  a token, not 0: what was unlinked before the call is invisible to every reader once the token is done.
 *	   Ordered like a read-modify-write of the word that starting a grace period also modifies.  Does not start one:
 *	   called inside read sections and under leaf locks.  Of two tokens the greater is not done first.  Two calls
 *	   may return the same one only if it waits for what was unlinked before the later call, too.
 * cookie_stored  the same, where what was unlinked was unlinked by sequentially consistent stores of the caller, or of
 *	   words that it has stored so since: these order it, no other barrier is needed.  May be the same function.
 * done	   has a grace period begun and ended since `cookie`?  Acquire: orders reuse after readers.
 * begun   inside a section: how far grace periods have got; not 0.  What was unlinked before a token below it was given
 *	   out is invisible to the caller from now on; a token that is not below it is not done before the section ends.
 *	   So what was found after it said n is not reused if it says n in a later section, too.  May be NULL.
 * advance bring the grace period of `cookie` nearer, without waiting.  Outside read sections and locks.  May be NULL.
 * wait	   sleep until done.  Outside read sections; a qsbr thread goes offline meanwhile.
 * enter / leave   a read section.  The library does not nest them.
 * inside  1 in a read section, 0 not, -1 unknown.  `self` may be NULL.  Debug builds only.
 * park	   sleep while *count == seen; spurious returns are allowed.  Outside read sections.
 * wake	   wake everybody who is parked on count.
 */
struct cleave_ops {
	uint64_t (*cookie)(struct cleave_domain *domain, struct cleave_thread *self);
	uint64_t (*cookie_stored)(struct cleave_domain *domain, struct cleave_thread *self);
	bool (*done)(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie);
	uint64_t (*begun)(struct cleave_domain *domain, struct cleave_thread *self);
	void (*advance)(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie);
	void (*wait)(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie);
	void (*enter)(struct cleave_domain *domain, struct cleave_thread *self);
	void (*leave)(struct cleave_domain *domain, struct cleave_thread *self);
	int (*inside)(struct cleave_domain *domain, struct cleave_thread *self);
	void (*park)(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *count,
		     uint32_t seen);
	void (*wake)(struct cleave_domain *domain, struct cleave_word32 *count);
};

#define CLEAVE_BUCKETS 64 /* parking buckets of a domain, a power of two */

struct cleave_bucket {
	struct cleave_word32 count; /* [a] bumped before every wake */
	uint32_t pad[15];
};

/* Nodes of one kind waiting for a grace period, oldest first. */
struct cleave_limbo {
	struct cleave__node *head;
	struct cleave__node *tail;
	uint64_t count;
};

/*
 * An RCU domain: readers, grace periods and the memory of the nodes.  Any number of indexes share one.
 *
 * `done`: a port that has a word up to which every token is done (stored as ops->done() would have to be loaded:
 * release; it only grows, and no token up to it is given out any more) names it here, after cleave_domain_init() and
 * before a thread's.
 * `started`: so does one whose ops->begun() and ops->cookie_stored() say one more than what a word holds (loaded
 * acquire, and sequentially consistent).
 */
struct cleave_domain {
	const struct cleave_ops *ops;	     /* [I] */
	const struct cleave_memory *memory;  /* [I] */
	const struct cleave__search *search; /* [I] the walk for this processor */
	uint64_t garbage_limit;		     /* [I] retired nodes above which an update waits */
	const struct cleave_word *done;	     /* [I] read in the place of ops->done(), or NULL; the port's, see above */
	const struct cleave_word *started;   /* [I] read in the place of ops->begun() and cookie_stored(), or NULL */
	struct cleave_word indexes;	     /* [a] that were ever made */
	struct cleave_word orphaned;	     /* [a] nodes among the orphans, stored under d */
	struct cleave_word garbage;  /* [a] retired nodes, in steps of a batch */
	struct cleave_word32 lock;   /* [a] leaf of the lock order */
	uint32_t pad1;
	struct cleave_limbo orphans[2]; /* [d] what threads left behind, by kind */
	struct cleave_bucket bucket[CLEAVE_BUCKETS];
};

/* Counters of one thread, summed up by whoever wants a total. */
struct cleave_counters {
	uint64_t edits;	       /* changes made by one store of an order word */
	uint64_t restructures; /* changes that replaced nodes */
	uint64_t copies;       /* of those: a leaf copied only because it had no clean cell */
	uint64_t splits;       /* leaves made above those replaced */
	uint64_t merges;       /* leaves replaced above those made */
	uint64_t lock_waits;   /* times parked on a node lock */
	uint64_t restarts;     /* walks begun again because a node was dead or locked */
	uint64_t handovers;    /* locks received by hand-over */
	uint64_t raises;       /* gap bounds raised */
	uint64_t lowers;       /* gap bounds lowered */
	uint64_t cookies;      /* grace cookies taken */
	uint64_t gp_waits;     /* waits for a grace period because garbage passed its limit */
	uint64_t allocs;       /* nodes from the allocator */
	uint64_t reuses;       /* nodes reused after their grace period */
	uint64_t retired;      /* nodes retired */
};

/* Where a thread held an entry last (lib/edit_hold.c). */
struct cleave__place {
	struct cleave__node *leaf;     /* NULL: nowhere */
	struct cleave__branch *parent; /* in which the leaf was found; it may be dead, as the next */
	struct cleave__branch *above;  /* the parent's */
	uint32_t at;		       /* as which child */
	bool again;		       /* it was held more than once: the next leaf is on its way */
	uint8_t r;		       /* a hint: the rank of the entry that is held next */
	uint64_t index;		       /* whose leaf it is */
	uint64_t begun;		       /* as ops->begun() said before it was found; 0: not known */
};

/* Where a thread's searches for space to take begin, if they begin at the same edge of their window (lib/gap.c). */
struct cleave__edge {
	uint64_t addr;		       /* the last search's edge */
	struct cleave__branch *parent; /* the lowest branch there; NULL: not known */
	struct cleave__branch *above;  /* the parent's parent; it may be dead */
	uint32_t at;		       /* as which child */
	uint64_t index;		       /* whose branch it is */
	uint64_t begun;		       /* as ops->begun() said before it was found */
};

/*
 * One thread that writes (or reads, where the flavour needs a record).  Owned by the caller; at a fixed address from
 * cleave_thread_init() to cleave_thread_exit(); never used by two threads at once.
 */
struct cleave_thread {
	struct cleave_domain *domain;	/* [I] */
	const struct cleave_word *done; /* [I] the domain's */
	const struct cleave_word *started; /* [I] the domain's */
	struct cleave__node *free[2];	/* [t] clean nodes, by kind (leaf, branch) */
	uint32_t nfree[2];		/* [t] */
	uint32_t reserved[2];		/* [t] of these, promised to open transactions */
	uint32_t stock[2];		/* [t] clean nodes to keep when some are given back */
	struct cleave_limbo young[2];	/* [t] retired, no cookie yet */
	struct cleave_limbo old[2];	/* [t] retired, each node with its cookie */
	uint64_t unreported;		/* [t] garbage not yet in the domain's count */
	struct cleave_txn *txns;	/* [t] open transactions */
	struct cleave__place last;	/* [t] of holds */
	struct cleave__edge edge;	/* [t] of allocations */
	uint64_t wanted;		/* [t] the newest cookie taken, if the next call should push it on; else 0 */
	uint32_t quiet;			/* [t] calls that do not push anything on: the port's */
	uint64_t passed;		/* [t] the newest cookie that was seen done: so is every older one */
	uint64_t divided;		/* [t] its edits when it last divided a leaf */
	uint64_t unlocks;		/* [t/a] calls that have unlocked nodes, but tries: for the port (U8) */
	struct cleave_counters counters; /* [t/a] */
};

/* An index.  `root` holds the root node's address and, in its low six bits, its level. */
struct cleave {
	struct cleave_word root;	     /* [a] written under root_lock */
	const struct cleave__search *search; /* [I] */
	struct cleave_domain *domain;	     /* [I] */
	uint64_t number;		     /* [I] no other index of the domain ever has it */
	uint64_t pad[4];
	struct cleave_word32 root_lock; /* [a] last in the lock order */
	uint32_t pad1[15];
};

/* A staged change, and a run of nodes to be replaced at one level. */
struct cleave__staged {
	uint64_t first;
	uint64_t last;
	void *value;
};

struct cleave__run {
	uint64_t first;
	uint64_t last;
	struct cleave__node *fresh; /* what replaces it, linked in address order */
	uint32_t nfresh;
	uint32_t nold;
	bool kept;   /* `fresh` is of a lower level: it covers everything and needs no parent */
	int8_t lean; /* 1: insertion ascends, nodes on the left are left full; -1: it descends; 0: even shares */
};

#define CLEAVE_TXN_INLINE 4				 /* staged puts that need no allocation */
#define CLEAVE_TXN_DISPLACED (12 + CLEAVE_TXN_INLINE) /* pieces that they displace from one leaf, at most */

/* A range transaction.  All of it belongs to the thread that began it. */
struct cleave_txn {
	struct cleave *index;
	struct cleave_thread *self;
	struct cleave_txn *next; /* the thread's other transactions */
	uint64_t first;
	uint64_t last;
	struct cleave__node *leaves; /* locked, left to right, by link */
	struct cleave__node *leaves_tail;
	struct cleave__node *branches; /* locked, to be replaced, in the order of locking, by link */
	struct cleave__node *branches_tail;
	struct cleave__node *fresh;	   /* all nodes that it built, by chain */
	struct cleave__node *dead_leaves;   /* published over, in address order, by link */
	struct cleave__node *dead_branches; /* by link */
	struct cleave__staged *puts;	    /* sorted, disjoint */
	struct cleave__run *runs;
	uint32_t nputs;
	uint32_t capacity; /* of puts and of runs */
	uint64_t cells;	   /* upper bound of the cells that the commit writes */
	uint32_t nleaves;  /* locked */
	uint32_t nruns;	   /* upper bound of the runs of leaves that the commit replaces */
	struct cleave__node *touched; /* the leaf that a put touched last */
	uint32_t reserved[2];
	bool try_only;	/* never sleep: may fail */
	bool published; /* only the end is left */
	bool spread;	/* leave room: a leaf ran out of clean cells too often */
	uint32_t ndisplaced;
	struct cleave_entry displaced[CLEAVE_TXN_DISPLACED]; /* by an edit of one leaf */
	struct cleave__staged inline_puts[CLEAVE_TXN_INLINE];
	struct cleave__run inline_runs[CLEAVE_TXN_INLINE];
};

/* A held entry.  All of it belongs to the thread that holds it. */
struct cleave_hold {
	struct cleave_entry entry; /* what holds the address; only read */
	struct cleave__node *leaf; /* its leaf, or those in its place, by link: locked */
	struct cleave__node *dead; /* published over, by link */
	uint64_t order;		   /* of the leaf, before the put */
	uint32_t count; /* of its cells; after the erasure, too */
	uint32_t r;
	bool put;	  /* done */
	bool erased;	  /* it was a gap */
	bool handed_over; /* the leaf is the transaction's */
	bool more;	  /* than a leaf is to be unlocked at the end */
	struct cleave_txn txn;
};

/* A position that survives any change: it keeps a key, no node. */
struct cleave_cursor {
	const struct cleave *index;
	uint64_t key;
	bool before; /* nothing left below the key */
	bool after;  /* nothing left from the key on */
	bool gaps;   /* visit gaps too */
};

/* One step of a cursor: the entry as it was, and its part that earlier steps did not cover. */
struct cleave_visit {
	struct cleave_entry entry;
	uint64_t first;
	uint64_t last;
};

#ifdef __cplusplus
}
#endif
#endif
