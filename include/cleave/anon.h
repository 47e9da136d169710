/* SPDX-License-Identifier: ISC */
/*
 * The sparse anonymous store: slot numbers (pages of a segment) to anons.  Creating a store costs O(1) whatever its
 * size; memory follows what is populated; lookups take no lock; filling an empty slot is one compare-and-swap, so that
 * faults on different slots never wait for each other; a clone (fork) costs O(1) and copies one path at the first
 * write after it, by either side.  doc/anon.md has the design.
 *
 *	store	struct cleave_anon		slots [0, nslots), at most 2^35 of them
 *	anon	struct cleave_anon_page		the content of one slot: a page or a swap token; shared by clones
 *	window	(store, first slot)		what a map's object holds; how many cover a slot is counted per range
 *	context	struct cleave_anon_context	of a thread that changes stores: its guard, spare nodes, what it retired
 *
 * Slots are numbered; ranges of them are [first, last], both inclusive.
 *
 * Names: `_rcu` is called inside a read section (section.h); `try_` is called between cleave_anon_guard() and
 * cleave_anon_unguard(), never sleeps, allocates or waits, and returns -EAGAIN instead.  All others are called outside
 * read sections, guards and transactions on the store, and may sleep.
 *
 * Complexity: a store has 7 levels at most.  What concerns one anon, or one reference, is O(1).
 *
 * Errors: 0 or a negative errno value: -EINVAL (arguments), -ENOMEM, -EEXIST (the slot holds something else), -ENOENT
 * (it holds nothing), -EAGAIN (try forms), -EBUSY (a window over slots that are being wiped).  A failed call has
 * changed nothing.
 *
 * The limit: what a thread dropped (anons, nodes, stores) waits in its context for a grace period.  While more waits
 * there than the garbage_limit of the RCU domain (cleave_domain_init(), section.h), calls that may sleep, and may drop
 * something, end with a wait for one; those of a thread that holds a transaction (cleave_thread_holds()) do not.  Above
 * twice the limit cleave_anon_try_busy() and cleave_anon_try_replace() fail with -ENOMEM; so do prepare, replace and
 * remove where they may not wait.  What only gives back never fails for that.  So a context keeps as much as the limit;
 * while its thread takes steps, or has a transaction, twice as much; and what one call drops.  A store that goes with
 * something in it counts as 1 / CLEAVE_ANON_GONE of the limit.  So whoever makes such calls holds nothing that a thread
 * waits for inside a read section, such as a lock of the embedder's.
 *
 * Ordering: what a thread stored before it filled or replaced a slot is visible to whoever finds the anon there.  Every
 * call that changes one slot takes effect at one instant.
 */
#ifndef CLEAVE_ANON_H
#define CLEAVE_ANON_H

#include "cleave.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CLEAVE_ANON_SLOTS (UINT64_C(1) << 35) /* the most slots of a store: 128 TiB of 4 KiB pages */

struct cleave_anon;
struct cleave__anon_node;

/* ---- Types.  Members are the library's.  Keys as in types.h; c only the thread that opened the context. ---- */

/*
 * What an anon holds: 0 nothing yet, an even number a page (its address), an odd number a swap token.
 */
#define CLEAVE_ANON_IS_SWAPPED(content) (((content)&1) != 0)

/*
 * An anon.  `state`: shares (bits 0 to 31: slots of leaves that point here), pins (32 to 60), and the marks in transit,
 * locked, waited for.  The last share and pin free it, a grace period later.
 */
struct cleave_anon_page {
	struct cleave_word state;   /* [a] */
	struct cleave_word content; /* [a] written by who holds its lock or has it in transit */
	struct cleave_anon_page *link;
};

/* What the embedder supplies. */
struct cleave_anon_ops {
	/* Nobody can reach the anon any more: give back its page or swap token.  Outside read sections and guards. */
	void (*release)(const struct cleave_anon_ops *ops, uint64_t content);
};

/*
 * One thread's announcement of what it is about to enter into a page table or to change in a store.  A cache line.
 * `first` and `last` are pages of `map`'s address space, `slot` is the store's slot of page `first`.
 */
struct cleave_guard {
	struct cleave_word word;  /* [a] bit 0: set; bits 1 to 62 count; bit 63: somebody waits for a change */
	struct cleave_word map;	  /* [c/a] NULL: no map */
	struct cleave_word store; /* [c/a] NULL: no store */
	struct cleave_word first; /* [c/a] */
	struct cleave_word last;  /* [c/a] */
	struct cleave_word slot;  /* [c/a] */
	struct cleave_guard *next; /* [I] */
	uint64_t pad;
};

/* The guards of a domain, and where threads sleep that wait for one, or for a lock or a mark in a store. */
struct cleave_guards {
	struct cleave_domain *domain; /* [I] */
	struct cleave_word head;      /* [a] pushed on; never shrinks */
	uint64_t pad[6];
	struct cleave_bucket bucket[CLEAVE_BUCKETS];
};

/* All stores that may share anons.  [l] under `lock`. */
struct cleave_anon_domain {
	struct cleave_guards guards;
	const struct cleave_anon_ops *ops; /* [I] */
	struct cleave_word generation;	   /* [a] the last given out; odd */
	struct cleave_word32 lock;	   /* [a] last in the lock order */
	uint32_t pad1;
	struct cleave_anon *first; /* [l] in order of registration */
	struct cleave_word last;   /* [l] */
	uint64_t stores;	   /* [l] */
	uint64_t registered;	   /* [l] ever */
	struct cleave_word nodes;  /* [a] allocated, whatever their state */
	struct cleave_word anons;  /* [a] allocated and not in a cache */
};

/* What waits for one grace period. */
struct cleave_anon_limbo {
	struct cleave__anon_node *nodes; /* unlinked, nobody else's */
	struct cleave_anon_page *pages;	 /* without share and pin */
	struct cleave_anon *stores;	 /* without reference and pin */
	uint64_t cookie;
	uint32_t count;	    /* of all these, and the displaced ones */
	uint32_t displaced; /* nodes in the context's ring that lose one count */
	uint32_t nstores;   /* with something in them */
	uint32_t pad;
};

#define CLEAVE_ANON_RING 512 /* displaced nodes of a context: one more waits for a grace period */
#define CLEAVE_ANON_GONE 64  /* stores with something in them that a context keeps waiting: as much as its limit */

struct cleave_anon_context {
	struct cleave_guard guard;
	struct cleave_anon_domain *domain; /* [I] */
	struct cleave_thread *self;	   /* [c] */
	struct cleave_word32 used;	   /* [a] a thread has it */
	uint32_t nnodes;		   /* [c] */
	struct cleave__anon_node *nodes;   /* [c] spare */
	struct cleave_anon_page *pages;	   /* [c] spare */
	uint32_t npages;		   /* [c] */
	uint32_t ticks;			   /* [c] */
	struct cleave__anon_node *dead;	   /* [c] without a count: their children lose one each */
	struct cleave_word32 *count;	   /* [c] where to sleep after -EAGAIN; NULL: nowhere */
	uint32_t seen;			   /* [c] */
	uint32_t ring_head;		   /* [c] */
	struct cleave_anon_limbo young;	   /* [c] no cookie yet */
	struct cleave_anon_limbo old;	   /* [c] */
	struct cleave__anon_node *ring[CLEAVE_ANON_RING]; /* [c] first in, first out: old ones, then young ones */
	uint64_t waits; /* [t/a] sleeps for locks, marks, guards and clones */
	uint64_t copies; /* [t/a] nodes copied */
	uint64_t takeovers; /* [t/a] nodes stamped instead */
	uint64_t nodes_made; /* [t/a] */
	uint64_t removed; /* [t/a] empty nodes removed */
	uint64_t gp_waits; /* [t/a] waits for a grace period because what waited passed its limit */
	uint64_t most_waiting; /* [c] that waited for one when a call ended, before it waited itself */
	bool waits_holding;    /* [c] to keep to the limit, though its thread holds a transaction */
};

/* A store. */
struct cleave_anon {
	struct cleave_word generation;	/* [a] nodes stamped with it may be written; changes at clones */
	struct cleave_word root;	/* [a] the root node's address; its level in the low bits */
	struct cleave_word32 cloning;	/* [a] clones under way: no writer begins */
	struct cleave_word32 root_lock; /* [a] */
	struct cleave_word nslots;	/* [a] */
	struct cleave_anon_domain *domain; /* [I] */
	uint64_t id;			   /* [I] never reused; the order of locks among stores */
	struct cleave_word refs;   /* [a] references, pins (from bit 32), shared (bit 63) */
	struct cleave_word wiping; /* [a] changes of windows whose wipe has not ended */
	struct cleave_anon *next;  /* [l]; then the limbo's */
	struct cleave_anon *prev;  /* [l] */
	struct cleave_word wipes;  /* [a] under way: no clone is made meanwhile */
	uint64_t pad[5];
	struct cleave windows; /* ranges of slots to the number of windows that cover them */
};

/* ---- Domains and contexts ---- */

/*
 * Prepare a domain over an RCU domain, whose memory and grace periods it uses.
 * Context: any; cannot fail.  Complexity: O(1).
 */
CLEAVE_API void cleave_anon_domain_init(struct cleave_anon_domain *domain, struct cleave_domain *rcu,
					const struct cleave_anon_ops *ops);

/* Free the context records.  All stores are gone and all contexts closed.  Context: frees.  Complexity: O(contexts). */
CLEAVE_API void cleave_anon_domain_exit(struct cleave_anon_domain *domain);

/*
 * A context for the thread `self`, whose record stays in use until the context is closed.  Records are type-stable: a
 * closed one is given out again, none is freed before the domain ends.
 * Context: may allocate.  Complexity: O(contexts).  Return: the context; NULL: no memory.
 */
CLEAVE_API struct cleave_anon_context *cleave_anon_context_open(struct cleave_anon_domain *domain,
								struct cleave_thread *self);

/*
 * Free what the context retired and keeps in store, and give the record back.
 * Context: waits for a grace period or two.  Complexity: O(what is freed).
 */
CLEAVE_API void cleave_anon_context_close(struct cleave_anon_context *context);

/* Free all that this context has retired.  Context: waits for grace periods.  Complexity: O(what is freed). */
CLEAVE_API void cleave_anon_flush(struct cleave_anon_context *context);

/* ---- Life of a store ---- */

/*
 * Make an empty store of `nslots` slots, 1 to CLEAVE_ANON_SLOTS, with one reference and no window.
 * Context: may sleep; allocates.  Complexity: O(1), in time and in memory.  Return: 0, -EINVAL, -ENOMEM.
 */
CLEAVE_API int cleave_anon_create(struct cleave_anon_context *context, uint64_t nslots, struct cleave_anon **store);

/*
 * Take another reference.  `shared`: of another map, which sees the changes: marks the store as shared.
 * Context: any.
 */
CLEAVE_API void cleave_anon_ref(struct cleave_anon *store, bool shared);

/*
 * Drop a reference; at the last but one the store is no longer shared, at the last it goes, with all its anons, a
 * grace period later: they are dropped by this thread's next unref, wipe, truncation or end of a window, and in bounded
 * steps by its other calls.  A walker's pin defers that.
 * Context: outside read sections and guards; may sleep.  Complexity: O(1), and the anons of what was given back
 * before.
 */
CLEAVE_API void cleave_anon_unref(struct cleave_anon_context *context, struct cleave_anon *store);

/*
 * Is it marked as shared; the number of references; of slots.
 * Context: with a reference.  Linearizes at: one load.
 */
CLEAVE_API bool cleave_anon_shared(const struct cleave_anon *store);
CLEAVE_API uint64_t cleave_anon_refs(const struct cleave_anon *store);
CLEAVE_API uint64_t cleave_anon_slots(const struct cleave_anon *store);

/* ---- Anons ---- */

/*
 * A new anon with one share, the caller's, which filling a slot hands over to the slot.
 * Context: may allocate.  Return: NULL: no memory.
 */
CLEAVE_API struct cleave_anon_page *cleave_anon_page_make(struct cleave_anon_context *context, uint64_t content);

/*
 * Drop a share, once no translation of the slot that had it remains, and no guard that was set while the slot had it
 * (cleave_anon_wait_guards()): afterwards another sharer may write the page in place.
 * Frees nothing: an anon without a share waits in the context for a grace period, and then for a prepare, fill,
 * replace, remove, unref or wipe.  Who takes steps alone (below) comes to cleave_anon_prepare() at the latest when what
 * waits is twice the limit.
 * Context: any but under a guard.  Complexity: O(1).
 */
CLEAVE_API void cleave_anon_page_drop(struct cleave_anon_context *context, struct cleave_anon_page *anon);

/*
 * A pin keeps an anon, but does not count as a share.  False: its last share and pin are gone already.
 * Context: read section, or with a share or pin.
 */
CLEAVE_API bool cleave_anon_page_pin_rcu(struct cleave_anon_page *anon);
CLEAVE_API void cleave_anon_page_unpin(struct cleave_anon_context *context, struct cleave_anon_page *anon);

/*
 * How many slots have it, and what it holds.
 * Context: read section, or with a share or pin.  Linearizes at: one load.
 */
CLEAVE_API uint64_t cleave_anon_page_shares(const struct cleave_anon_page *anon);
CLEAVE_API uint64_t cleave_anon_page_content(const struct cleave_anon_page *anon);

/*
 * Begin I/O: pins the anon and marks it in transit, if its content is still `expected`.  One thread wins.
 * Context: read section, or with a share or pin.
 * Return: 0; -EAGAIN: in transit already (cleave_anon_wait() sleeps until it may have ended); -ENOENT: other content,
 * or no share left.
 */
CLEAVE_API int cleave_anon_transit_begin_rcu(struct cleave_anon_context *context, struct cleave_anon_page *anon,
					     uint64_t expected);
/* End it with a new content (or the old one), wake who waits, and unpin. */
CLEAVE_API void cleave_anon_transit_end(struct cleave_anon_context *context, struct cleave_anon_page *anon,
					uint64_t content);
/*
 * Is it in transit?  If so, cleave_anon_wait() sleeps until that may have ended.
 * Context: read section, or with a share or pin.  Linearizes at: one load (seq_cst).
 */
CLEAVE_API bool cleave_anon_in_transit_rcu(struct cleave_anon_context *context, struct cleave_anon_page *anon);

/*
 * The anon's own lock, for the embedder: it follows the anon from store to store.
 * Context: read section, or with a share or pin; unlock: any.
 * Return: 0; -EAGAIN: it is locked (cleave_anon_wait() sleeps until it may be free).
 */
CLEAVE_API int cleave_anon_page_trylock_rcu(struct cleave_anon_context *context, struct cleave_anon_page *anon);
CLEAVE_API void cleave_anon_page_unlock(struct cleave_anon_context *context, struct cleave_anon_page *anon);

/* ---- Lookups ---- */

/*
 * The anon in a slot, or NULL.  The anon stays valid until the section ends; what its page says may not: once the slot
 * has another anon, whoever shares this one may write it in place.  To read or enter the page:
 * cleave_anon_try_lookup().
 * Context: read section; takes no lock, writes nothing.  Complexity: O(levels), at most 7 loads.
 * Linearizes at: the load of the slot, or of the link that ends the path (of a node that was unlinked meanwhile: at the
 * unlinking).
 */
CLEAVE_API struct cleave_anon_page *cleave_anon_lookup_rcu(const struct cleave_anon *store, uint64_t slot);

/*
 * `n` neighbouring slots from `first` into anons[]; NULL where there is none, and beyond the store's end.
 * Context: read section.  Complexity: O(levels) a leaf, and n.
 * Linearizes at: as cleave_anon_lookup_rcu(), each slot for itself.
 */
CLEAVE_API void cleave_anon_lookups_rcu(const struct cleave_anon *store, uint64_t first, size_t n,
					struct cleave_anon_page **anons);

/* A populated slot. */
struct cleave_anon_visit {
	uint64_t slot;
	struct cleave_anon_page *anon;
};

/*
 * The next populated slots at or above *slot, in order, at most `n`.  *slot becomes the place to go on from, also in a
 * later read section, whatever changed meanwhile: a slot that stays populated is visited once.
 * Context: read section.  Complexity: O(levels + nodes passed); 1 to 2 ns a slot where they are dense.
 * Linearizes at: each slot for itself, in order.  Return: how many; less than n: the end.
 */
CLEAVE_API size_t cleave_anon_next_rcu(const struct cleave_anon *store, uint64_t *slot,
				       struct cleave_anon_visit *visits, size_t n);

/* Return: the populated slots; exact when nobody changes them.  Context: read section.  Complexity: O(nodes). */
CLEAVE_API uint64_t cleave_anon_count_rcu(const struct cleave_anon *store);

struct cleave_anon_statistics {
	uint64_t populated; /* slots */
	uint64_t leaves;
	uint64_t branches;
	uint64_t shared; /* of these nodes: pointed to by more than one store or node */
	uint64_t bytes;	 /* of all these nodes */
	uint64_t levels;
};

/* Count the store's nodes; approximate beside writers.  Context: read section.  Complexity: O(nodes). */
CLEAVE_API void cleave_anon_statistics_rcu(const struct cleave_anon *store, struct cleave_anon_statistics *statistics);

/* ---- Changes of one slot ---- */

/*
 * Stock the context with what a change of one slot of this store may need, so that the next try form does not lack
 * nodes, and keep to the limit.
 * Context: may sleep; allocates.  Complexity: O(levels).  Return: 0, -ENOMEM.
 */
CLEAVE_API int cleave_anon_prepare(struct cleave_anon_context *context, const struct cleave_anon *store);

/*
 * Put the anon, and the caller's share of it, into an empty slot.
 * *winner (may be NULL): what is there, pinned for the caller, if somebody else was first.  The pin keeps the anon, not
 * what its page says: that is read under a guard (cleave_anon_try_lookup()).
 * Context: may sleep (for a clone, a busy slot, a node's lock, the limit) and allocate.  Complexity: O(levels).
 * Linearizes at: the compare-and-swap of the slot; a failure at the load that found it full.
 * Return: 0; -EEXIST: the share stays with the caller; -EINVAL: no such slot; -ENOMEM.
 */
CLEAVE_API int cleave_anon_fill(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
				struct cleave_anon_page *anon, struct cleave_anon_page **winner);

/*
 * Replace `old` by `anon`.  The share of `old` that the slot had is the caller's afterwards: drop it when no
 * translation of the slot remains.
 * Context, Complexity: as cleave_anon_fill().
 * Linearizes at: the compare-and-swap; a failure at the load that saw why.
 * Return: 0; -EEXIST: the slot holds another one; -ENOENT: none; -EINVAL; -ENOMEM.
 */
CLEAVE_API int cleave_anon_replace(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
				   struct cleave_anon_page *old, struct cleave_anon_page *anon);

/*
 * Empty a slot, and remove the nodes that this leaves empty.  The slot's share goes to the caller with *anon.
 * Context, Complexity: as cleave_anon_fill().
 * Linearizes at: the compare-and-swap; a failure at the load that found none.
 * Return: 0; -ENOENT: it is empty; -EINVAL; -ENOMEM: a shared path could not be copied, or above the limit.
 */
CLEAVE_API int cleave_anon_remove(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
				  struct cleave_anon_page **anon);

/* ---- The same in steps, for the fault path ---- */

/*
 * Set the context's guard on a range of slots and enter a read section, unless the store is being cloned.  Nothing
 * that sleeps, allocates or waits may be called until cleave_anon_unguard().
 * Complexity: O(1).  Linearizes at: the store of the guard's word (seq_cst).
 * Return: 0; -EAGAIN: no guard is set: cleave_anon_wait().
 */
CLEAVE_API int cleave_anon_guard(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first,
				 uint64_t last);
CLEAVE_API void cleave_anon_unguard(struct cleave_anon_context *context);

/* Sleep until what made the last try form fail with -EAGAIN may have changed.  Outside guards and read sections. */
CLEAVE_API void cleave_anon_wait(struct cleave_anon_context *context);

/*
 * The anon in a slot, or NULL, under a guard that covers it: its page may be read, or entered read-only, until
 * cleave_anon_unguard(), because whoever replaces it marks the slot busy, waits for guards, and drops its share last.
 * Context: under the guard.  Complexity: O(levels).  Linearizes at: the load of the slot (seq_cst).
 * Return: 0; -EAGAIN: the slot is busy; -EINVAL: no such slot.
 */
CLEAVE_API int cleave_anon_try_lookup(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
				      struct cleave_anon_page **anon);

/*
 * cleave_anon_fill() and cleave_anon_replace() under the guard.  Both fail with -ENOMEM where the context lacks nodes,
 * a replacement above twice the limit, too: cleave_anon_prepare() outside, and begin again.  *winner is not pinned, but
 * valid until cleave_anon_unguard().
 * Context: under a guard that covers the slot.  Complexity, Linearizes at: as those two.
 * Return: as those two; -EAGAIN: cleave_anon_wait() outside, and begin again.
 */
CLEAVE_API int cleave_anon_try_fill(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
				    struct cleave_anon_page *anon, struct cleave_anon_page **winner);
CLEAVE_API int cleave_anon_try_replace(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
				       struct cleave_anon_page *old, struct cleave_anon_page *anon);

/* A slot that this thread has marked busy, in a leaf of the store's own. */
struct cleave_anon_busy {
	struct cleave_word *slot;
	struct cleave_anon_page *anon; /* NULL: it is empty */
};

/*
 * Mark a slot busy, empty or not; its path becomes the store's own.  Everybody else who would change it waits.
 * Released before cleave_anon_unguard().  Its page may be written in place if cleave_anon_page_shares(busy->anon) is 1.
 * Context: under a guard that covers the slot.  Complexity: O(levels).
 * Linearizes at: the compare-and-swap (seq_cst).  Return: 0, -EAGAIN, -ENOMEM (prepare), -EINVAL.
 */
CLEAVE_API int cleave_anon_try_busy(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t slot,
				    struct cleave_anon_busy *busy);

/*
 * Put this anon, with the caller's share of it, into the slot and keep it busy, so that it is there before its page is
 * entered.  The share of what was there (busy->anon) becomes the caller's, and busy->anon is the new one.
 * Context: under the guard.  Complexity: O(1).  Linearizes at: the write of the slot.  Cannot fail.
 */
CLEAVE_API void cleave_anon_install(struct cleave_anon_context *context, struct cleave_anon_busy *busy,
				    struct cleave_anon_page *anon);

/*
 * Give the slot this anon (with the caller's share of it; busy->anon to keep what is there; NULL: none) and release it.
 * A leaf that this leaves empty stays until a wipe or a removal comes to it.
 * Context: under the guard.  Complexity: O(1).  Linearizes at: the write of the slot.  Cannot fail.
 */
CLEAVE_API void cleave_anon_release(struct cleave_anon_context *context, struct cleave_anon_busy *busy,
				    struct cleave_anon_page *anon);

/*
 * Wait until every guard on these slots that was set before has been cleared; not for the caller's own.  Under a guard:
 * the guard covers no other slots, and all of them are the caller's busy ones (two with wider guards may wait for each
 * other).
 * Context: outside read sections, or under the caller's guard: then its read section is left meanwhile, after which
 * only what it has marked busy is still valid.  Complexity: O(contexts), and the waiting.
 */
CLEAVE_API void cleave_anon_wait_guards(struct cleave_anon_context *context, const struct cleave_anon *store,
					uint64_t first, uint64_t last);

/* ---- Ranges ---- */

/*
 * Empty the slots [first, last]: what the store owns is emptied leaf by leaf, shared subtrees are unlinked whole,
 * shared boundary nodes are copied.  Guards on what goes are waited for.  Translations of the range are gone already
 * and no new ones come: it has no window any more, or the caller keeps faults away.  (Where they go on, each slot is
 * marked busy first: see cleave_anon_wait_guards().)  A clone that is made meanwhile has a part of it or none.
 * Context: may sleep and allocate.  Complexity: O(levels + owned nodes of the range), and what was given back before.
 * Linearizes at: each slot for itself: an anon that was there throughout is gone; one filled meanwhile may stay or go.
 * Return: 0; -EINVAL: first > last; -ENOMEM: nothing has changed.
 */
CLEAVE_API int cleave_anon_wipe(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first,
				uint64_t last);

/*
 * MADV_FREE: cleave_anon_wipe(), but of a store with more than one reference nothing goes.  *freed (may be NULL) says
 * which of the two it was; the caller deactivates pages if it is false.
 * Context, Complexity, Linearizes at, Return: as cleave_anon_wipe().
 */
CLEAVE_API int cleave_anon_discard(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first,
				   uint64_t last, bool *freed);

/*
 * Cut the store to its first `nslots` slots (at least 1), and wipe the rest, which no window and no translation shows
 * any more.  One thread at a time changes the size of a store.
 * Context, Complexity: as cleave_anon_wipe().  Linearizes at: the store of the size; the slots go as by a wipe.
 * Return: 0; -EINVAL: not fewer, or none; -ENOMEM.
 */
CLEAVE_API int cleave_anon_truncate(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t nslots);
/*
 * Add slots at the end.
 * Complexity: O(1).  Linearizes at: the store of the size.
 * Return: 0; -EINVAL: not more, or above CLEAVE_ANON_SLOTS.
 */
CLEAVE_API int cleave_anon_extend(struct cleave_anon *store, uint64_t nslots);

/* Copies the content of anons. */
struct cleave_anon_copier {
	/*
	 * The content of a copy into *content, which is 0: left so, the anon stays shared.  The anon is in transit
	 * meanwhile.  May sleep.  0, or a negative errno that ends the call.
	 */
	int (*copy)(struct cleave_anon_copier *copier, uint64_t from, uint64_t *content);
	/* Give back a copy that was not needed. */
	void (*undo)(struct cleave_anon_copier *copier, uint64_t content);
};

/*
 * Give the store anons of its own: each slot of [first, last] whose anon has other shares gets a copy.  Waits for who
 * has an anon in transit.  Nobody else writes to the store and nothing of it is in a translation, as of a child that is
 * not yet visible: while the copier runs the last other sharer may go, and then a writer of this store would write in
 * place what has been copied already.  *slot (may be NULL) is where to go on after a failure; slots below are done.
 * Complexity: O(levels) for each populated slot.  Linearizes at: each slot for itself.
 * Return: 0, -EINVAL, -ENOMEM, what the copier returned.
 */
CLEAVE_API int cleave_anon_cow_now(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t first,
				   uint64_t last, struct cleave_anon_copier *copier, uint64_t *slot);

/* ---- Clones ---- */

/*
 * A clone of each of `n` distinct stores, as they are at one instant:
 *
 *	cleave_anon_clone_begin()	makes the (still empty) clones, stops writers, waits once for those under way
 *	cleave_anon_clone_end()		shares the structure; cannot fail
 *	(the embedder takes write permission from all translations of the stores)
 *	cleave_anon_clone_done()	lets writers go on
 *
 * What returned before begin was called is in both, what begins after end returned is in one only.  The thread must not
 * write to the stores between begin and done.  A clone has one reference and no windows.
 * Context: may sleep; begin allocates, and waits for wipes of the stores that are under way: for 512 slots of each,
 * unless memory lacks; for all of a truncation.
 * Complexity: O(n + contexts), whatever is populated.
 * Linearizes at: the store of the generation, for each store, between begin and end without a writer.
 * Return (begin): 0, -EINVAL (n is 0), -ENOMEM.  The others cannot fail.
 */
CLEAVE_API int cleave_anon_clone_begin(struct cleave_anon_context *context, struct cleave_anon *const *stores,
				       struct cleave_anon **clones, size_t n);
CLEAVE_API void cleave_anon_clone_end(struct cleave_anon_context *context, struct cleave_anon *const *stores,
				      struct cleave_anon *const *clones, size_t n);
CLEAVE_API void cleave_anon_clone_done(struct cleave_anon_context *context, struct cleave_anon *const *stores,
				       size_t n);
/* Instead of end and done: take it all back. */
CLEAVE_API void cleave_anon_clone_abort(struct cleave_anon_context *context, struct cleave_anon *const *stores,
					struct cleave_anon **clones, size_t n);

/* ---- Windows ---- */

struct cleave__anon_range {
	uint64_t first;
	uint64_t last;
	int64_t delta;
};

#define CLEAVE_ANON_RANGES 4 /* of one put: no allocation */

/* A change of the windows of one store. */
struct cleave_anon_change {
	struct cleave_anon_context *context;
	struct cleave_anon *store;
	uint64_t first; /* locked */
	uint64_t last;
	uint64_t hull_first; /* of what changes */
	uint64_t hull_last;
	void *dying;			   /* the mark of the slots that lose their last window */
	struct cleave__anon_range *ranges; /* sorted, disjoint */
	uint32_t nranges;
	uint32_t capacity;
	struct cleave__anon_node *nodes; /* kept for the wipe */
	uint32_t nnodes;
	uint32_t ndying; /* ranges that die */
	bool unused;	 /* set by the caller before prepare: nobody has used the windows that go: no wipe */
	struct cleave__anon_range inline_ranges[CLEAVE_ANON_RANGES];
	struct cleave_txn txn;
};

/*
 * Change the numbers of windows that cover the slots [first, last]:
 *
 *	cleave_anon_windows_begin()	locks the numbers of the range
 *	cleave_anon_windows_put()	`delta` more windows over a range; as often as need be
 *	cleave_anon_windows_prepare()	reserves all that the rest needs
 *	cleave_anon_windows_commit()	cannot fail; slots without a window are dying now
 *	(the embedder waits for guards and removes translations)
 *	cleave_anon_windows_wipe()	cannot fail; the dying slots are emptied
 *
 * or cleave_anon_windows_abort() instead of the commit.  The thread does not change windows of the store otherwise in
 * between.  put and prepare may fail with -ENOMEM: the change is as before.  put: -EBUSY: a window over slots that are
 * dying of another change; -EINVAL: outside of the range, or fewer windows than none.
 * Context: outside read sections and guards; begin sleeps on the numbers' locks, prepare and put allocate.
 * Complexity: O(log windows) for each range with a number of its own; the wipe as cleave_anon_wipe().
 * Linearizes at: the commit's store, for all numbers at once.
 * Return: 0; -EINVAL: first > last, or beyond CLEAVE_ANON_SLOTS; put and prepare as above.
 */
CLEAVE_API int cleave_anon_windows_begin(struct cleave_anon_change *change, struct cleave_anon_context *context,
					 struct cleave_anon *store, uint64_t first, uint64_t last);
CLEAVE_API int cleave_anon_windows_put(struct cleave_anon_change *change, uint64_t first, uint64_t last, int delta);
CLEAVE_API int cleave_anon_windows_prepare(struct cleave_anon_change *change);
CLEAVE_API void cleave_anon_windows_commit(struct cleave_anon_change *change);
CLEAVE_API void cleave_anon_windows_wipe(struct cleave_anon_change *change);
CLEAVE_API void cleave_anon_windows_abort(struct cleave_anon_change *change);

/* The number of windows over a slot; 0 if it is dying.  Context: read section.  Complexity: O(log windows). */
CLEAVE_API uint64_t cleave_anon_windows_rcu(const struct cleave_anon *store, uint64_t slot);

/*
 * Wipe all slots that no window covers: for a clone, after it was given the child's windows and before the child
 * becomes visible.  Nobody changes windows meanwhile.
 * Context: as cleave_anon_wipe().  Complexity: O(windows * levels).  Return: 0, -ENOMEM.
 */
CLEAVE_API int cleave_anon_wipe_outside(struct cleave_anon_context *context, struct cleave_anon *store);

/* ---- All stores of a domain ---- */

/* What to do with whose content. */
struct cleave_anon_walker {
	/* Asked inside a read section, without locks. */
	bool (*match)(struct cleave_anon_walker *walker, uint64_t content);
	/*
	 * The anon is pinned and in transit.  Give its new content, which does not match.  May sleep.  0, or a negative
	 * errno that ends the walk (the content stays).
	 */
	int (*visit)(struct cleave_anon_walker *walker, uint64_t content, uint64_t *fresh);
	uint64_t visited;
	uint64_t stores;
};

/*
 * Visit each anon of each store whose content matches, exactly once, while everything else goes on: anons that are
 * there for the whole walk, in whichever store, are visited.
 * Context: may sleep, and waits for anons in transit.  Complexity: O(populated).  Return: 0, or what `visit` returned.
 */
CLEAVE_API int cleave_anon_walk(struct cleave_anon_context *context, struct cleave_anon_walker *walker);

/* ---- Fork of the process ---- */

struct cleave__anon_forked;

struct cleave_anon_fork {
	struct cleave_anon_context *context;
	struct cleave__anon_forked *stores;
	uint64_t n;
	uint64_t capacity;
	uint64_t registered;
};

/*
 * Around fork(), as cleave_prefork() for an index: stops every change of the domain's stores, so that the child gets a
 * consistent copy; both sides let go.  After the maps' indexes, before the RCU domain (section.h).  `context` is the
 * forking thread's; it does not clone at that time.
 *
 * In the child the other threads' contexts are forgotten, and what they had: spare and retired memory, references,
 * pins, shares that they had not put anywhere.  An anon that one of them had in transit or locked stays that way until
 * the child ends it; slots whose wipe one of them owed stay dying.
 * Context: outside read sections, guards and transactions; may sleep and allocate.  Complexity: O(stores + contexts).
 * Return: 0, -ENOMEM: nothing is stopped.
 */
CLEAVE_API int cleave_anon_prefork(struct cleave_anon_fork *fork, struct cleave_anon_context *context);
CLEAVE_API void cleave_anon_postfork_parent(struct cleave_anon_fork *fork);
CLEAVE_API void cleave_anon_postfork_child(struct cleave_anon_fork *fork);

#ifdef __cplusplus
}
#endif
#endif
