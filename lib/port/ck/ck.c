/* SPDX-License-Identifier: ISC */
/*
 * A domain on ConcurrencyKit's epoch: no thread, no allocation, records that the caller owns; writers advance the epoch
 * themselves while they ask for a cookie.
 *
 * Cookies
 *	A cookie is the epoch, read behind a full barrier, plus GRACE.  It is done when the epoch has come so far.
 *	The epoch goes from x to x + 1 only when somebody who read x has then seen each thread either outside or inside
 *	with x recorded.
 *
 *	Why 2 (x86): let reader R load a pointer before its unlinking is visible, and let the cookie's epoch be e.
 *		1. R announced itself (a locked instruction), loaded epoch r, then the pointer.
 *		2. The unlinking became visible after that, and e was read after that: r <= e.
 *		3. Who raises e + 1 to e + 2 read e + 1, which is after 2 and so after R's announcement: it sees R
 *		   inside, with what R recorded, r or something older: not e + 1.  So e + 2 is not reached before R
 *		   leaves.
 *	e + 1 is not enough: R may have recorded e.  CK itself frees at e + 2 too (ck_epoch_poll()); the 3 of its
 *	CK_EPOCH_GRACE makes up for a plain load of e, which may be one behind.
 *
 *	So is a cookie's load without a barrier, where the barrier can be spared (x86): inside a section.  Let that have
 *	recorded s, and let its plain load see e, before its unlinking is visible.
 *		1. The epoch does not come to s + 2 before the section ends: step 3, with this thread for R.
 *		2. The unlinking is visible before the section ends, by the order of stores.  So the epoch is s + 1
 *		   then, at most; and s <= e.  What holds for a cookie of e + 1 and a barrier, holds for this e + 1.
 *	tests/test_ck_cookie.c has both forms as a model, and tries all interleavings of it.
 *
 *	Why 3 elsewhere: released CK (0.7.2 and before) has no barrier between R's load of the epoch and of the
 *	pointer, so r may be any later epoch, recorded late.  But R's record then holds only two values, one from an
 *	earlier section (<= e) and r, and so lets at most two of the three steps to e + 3 pass.  CK's unreleased fixes
 *	(1faa673, "add missing barrier for RMO in begin"; d1b348c, "make poll safer") are about this.  Only x86 has
 *	been tested.
 *
 * Not ck_epoch_poll()
 *	It runs what the embedder deferred on the same epoch, here under a leaf's lock; it does not advance while
 *	nobody is inside; and it is one of the two that d1b348c fixes.
 *
 * Thread Sanitizer does not see CK's assembly.  Whoever raises `wide` acquires every thread's record first, and `wide`
 * passes it on.
 */
#ifndef CLEAVE_SECTION_CK
#define CLEAVE_SECTION_CK
#endif
#include "../user/user.h"
#include "cookie.h"

#include <sched.h>
#include <time.h>

#ifdef CK_MD_TSO
#define GRACE CLEAVE__CK_GRACE_TSO
#else
#define GRACE CLEAVE__CK_GRACE_RMO
#endif

/*
 * What another processor has written takes 50 to 250 ns to come over.  A look costs that for each thread that is busy,
 * and it the same, when it enters its next section; a new epoch costs it here, and each of them.  So advance_to() is
 * quiet for some calls after a look, for more if somebody was seen inside; not for many, where nobody else is
 * registered: a cell that is clean sooner is a copy of its leaf less (one writer: clips and pairs of map and unmap 0.95
 * of the time; free space at one end 1.04, for a search starts anew after each).
 */
#define SKIP 64u
#define SKIP_BUSY 256u
#define SKIP_ALONE 24u

static struct cleave_ck *ck_of(struct cleave_domain *domain)
{
	return cleave__container(domain, struct cleave_ck, domain);
}

static struct cleave_ck_thread *thread_of(struct cleave_thread *self)
{
	return cleave__container(self, struct cleave_ck_thread, thread);
}

static ck_epoch_record_t *record_of(ck_stack_entry_t *entry)
{
	return cleave__container(entry, ck_epoch_record_t, record_next);
}

/*
 * The list of records only grows (but in the child of a fork).  Loads are CK's, because Thread Sanitizer knows nothing
 * of the push that published a record.
 */
static ck_stack_entry_t *first_entry(struct cleave_ck *ck)
{
	return ck_pr_load_ptr(&ck->epoch.records.head);
}

static ck_stack_entry_t *next_entry(ck_stack_entry_t *entry)
{
	return ck_pr_load_ptr(&entry->next);
}

/* ---- The epoch ---- */

static void acquire_threads(struct cleave_ck *ck)
{
#if CLEAVE__TSAN
	for (ck_stack_entry_t *entry = first_entry(ck); entry; entry = next_entry(entry))
		CLEAVE__TSAN_ACQUIRE(&cleave__container(entry, struct cleave_ck_thread, record.record_next)->thread);
#else
	(void)ck;
#endif
}

/*
 * Extend the epoch to 64 bits: the first number from `from` on that ends in these 32.  Never one before: the embedder
 * may have advanced by any number of steps since a writer last raised `wide`, and a cookie below that is done at once.
 * Of 2^32 steps or more, multiples are lost: a cookie from before such a loss is late by as many.
 */
static uint64_t widen(uint64_t from, unsigned int epoch)
{
	return from + (uint32_t)(epoch - (uint32_t)from);
}

/* `wide` is read first: the epoch is as far by then, or further (but not 2^32 steps while a thread is in between). */
static uint64_t epoch_now(struct cleave_ck *ck)
{
	uint64_t wide = PORT_LOAD(&ck->wide, PORT_RELAXED);

	ck_pr_fence_load();
	return widen(wide, ck_pr_load_uint(&ck->epoch.epoch));
}

/* Take notice of the epoch, which whoever shares it with the embedder may have advanced too. */
static uint64_t observe(struct cleave_ck *ck)
{
	for (;;) {
		uint64_t seen = PORT_LOAD(&ck->wide, PORT_ACQUIRE); /* [C1-acq] */
		uint64_t now = widen(seen, ck_pr_load_uint(&ck->epoch.epoch));

		ck_pr_fence_acquire();
		if (now == seen)
			return seen;
		acquire_threads(ck);
		/* [C1-rel] What readers did before the epoch came so far; pairs with [C1-acq] in done(). */
		if (PORT_CAS(&ck->wide, &seen, now, PORT_RELEASE, PORT_RELAXED))
			return now;
	}
}

/*
 * Loads before all that follows.  x86 keeps loads in order, and a locked instruction behind them; CK's fence for it
 * would be an mfence.
 */
static void fence_loads(void)
{
#ifdef CK_MD_TSO
	ck_pr_fence_acquire();
#else
	ck_pr_fence_memory();
#endif
}

/*
 * Advance the epoch by one, if every thread lets it.  *busy: somebody was inside.
 * Return: it has advanced, by whomever.
 */
static bool advance(struct cleave_ck *ck, bool *busy)
{
	unsigned int epoch = ck_pr_load_uint(&ck->epoch.epoch);

	/* Step 3 above: the epoch is read before the threads are looked at. */
	fence_loads();
	for (ck_stack_entry_t *entry = first_entry(ck); entry; entry = next_entry(entry)) {
		ck_epoch_record_t *record = record_of(entry);

		if (!ck_pr_load_uint(&record->active))
			continue;
		*busy = true;
		if (ck_pr_load_uint(&record->epoch) != epoch)
			return ck_pr_load_uint(&ck->epoch.epoch) != epoch;
	}
	/* The readers' accesses that have ended, before the epoch that says so. */
	fence_loads();
	/*
	 * Somebody else may have been quicker.  On x86 the end of this thread's own section, which it has seen, and
	 * what it unlinked there may still be in its store buffer: a locked instruction comes after them.
	 */
	ck_pr_cas_uint(&ck->epoch.epoch, epoch, epoch + 1);
	return true;
}

/* ---- What the core calls ---- */

/*
 * A barrier and a load, instead of a read-modify-write of the epoch, do as well in step 2, and leave the line shared:
 * all threads read it whenever they enter a section.
 */
static uint64_t cookie(struct cleave_domain *domain, struct cleave_thread *self)
{
	struct cleave_ck *ck = ck_of(domain);
	unsigned int behind = 0;

#ifdef CK_MD_TSO
	unsigned int own = 0;

	if (ck_pr_load_uint(&thread_of(self)->record.active))
		behind = CLEAVE__CK_BEHIND;
	else
		ck_pr_fas_uint(&own, 1); /* a locked instruction; ck_pr_fence_memory() is mfence, four times as slow */
#else
	(void)self;
	ck_pr_fence_memory();
#endif
	return epoch_now(ck) + GRACE + behind;
}

/* On x86 a sequentially consistent store is a locked instruction, and so the barrier. */
static uint64_t cookie_stored(struct cleave_domain *domain, struct cleave_thread *self)
{
#ifdef CK_MD_TSO
	struct cleave_ck *ck = ck_of(domain);

	(void)self;
	return epoch_now(ck) + GRACE;
#else
	return cookie(domain, self);
#endif
}

#ifdef CK_MD_TSO
/*
 * With r recorded by this section the epoch comes to r + 1 at most before it ends (step 3): r + 2 is the first cookie
 * that is not done.  What was unlinked before a cookie of e + GRACE below that, e < r, was unlinked before the epoch
 * was raised to r.  (`wide` is r + 1 at most, too.)
 */
static uint64_t begun(struct cleave_domain *domain, struct cleave_thread *self)
{
	uint64_t wide = PORT_LOAD(&ck_of(domain)->wide, PORT_RELAXED);

	return widen(wide - 1, ck_pr_load_uint(&thread_of(self)->record.epoch)) + GRACE;
}
#endif

/* All writers read the epoch and `wide` at each change: one line.  (Aligned, as pairs of words are anywhere.) */
_Static_assert(offsetof(struct cleave_ck, wide) % 16 == 0, "both are in one line");
_Static_assert(offsetof(struct cleave_ck, epoch.epoch) == offsetof(struct cleave_ck, wide) + 8, "both are in one line");

/*
 * Advance until the cookie is done or somebody is in the way.  A step leaves whoever was inside in the way of the next:
 * he has recorded the epoch before it, and would be looked at in vain until he enters again.
 */
static bool push(struct cleave_ck *ck, uint64_t cookie, bool *busy)
{
	while (epoch_now(ck) < cookie && advance(ck, busy) && !*busy)
		;
	return observe(ck) >= cookie;
}

static bool done(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	(void)self;
	/* [C1-acq] */
	return PORT_LOAD(&ck_of(domain)->wide, PORT_ACQUIRE) >= cookie;
}

static void advance_to(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_ck *ck = ck_of(domain);
	bool busy = false;

	if (done(domain, self, cookie))
		return;
	if (self->quiet) { /* who asks for itself; cleave__pool_nudge() has looked */
		self->quiet--;
		return;
	}
	push(ck, cookie, &busy);
	self->quiet = busy ? SKIP_BUSY : PORT_LOAD(&ck->registered, PORT_RELAXED) > 1 ? SKIP : SKIP_ALONE;
}

static void wait(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_ck *ck = ck_of(domain);
	struct timespec nap = { .tv_nsec = 20000 };
	int saved = errno;

	(void)self;
	for (unsigned int turn = 0;; turn++) {
		bool busy = false;

		if (push(ck, cookie, &busy))
			break;
		if (turn < 16)
			sched_yield();
		else
			nanosleep(&nap, NULL);
	}
	errno = saved;
}

static void enter(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	ck_epoch_begin(&thread_of(self)->record, NULL);
}

static void leave(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	cleave_section_tsan_leave(self);
	ck_epoch_end(&thread_of(self)->record, NULL);
}

static int inside(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)domain;
	if (!self)
		return -1;
	return ck_pr_load_uint(&thread_of(self)->record.active) ? 1 : 0;
}

static void park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *count, uint32_t seen)
{
	(void)domain;
	(void)self;
	cleave__user_park(count, seen);
}

static void wake(struct cleave_domain *domain, struct cleave_word32 *count)
{
	(void)domain;
	cleave__user_wake(count);
}

static const struct cleave_ops ops = {
	.cookie = cookie,
	.cookie_stored = cookie_stored,
	.done = done,
#ifdef CK_MD_TSO
	.begun = begun,
#endif
	.advance = advance_to,
	.wait = wait,
	.enter = enter,
	.leave = leave,
	.inside = inside,
	.park = park,
	.wake = wake,
};

/* ---- Start and stop, threads ---- */

int cleave_ck_start(struct cleave_ck *ck, const struct cleave_memory *memory, uint64_t garbage_limit)
{
	memset(ck, 0, sizeof(*ck));
	ck_epoch_init(&ck->epoch);
	/* Debug builds begin near the end of 32 bits, so that every run wraps. */
	if (PORT_DEBUG)
		ck->epoch.epoch = UINT32_MAX - 100;
	PORT_STORE(&ck->wide, ck->epoch.epoch, PORT_RELAXED);
	cleave_domain_init(&ck->domain, &ops, memory ? memory : &cleave_memory_libc, NULL,
			   garbage_limit ? garbage_limit : CLEAVE__GARBAGE_LIMIT);
	ck->domain.done = &ck->wide;
	return 0;
}

void cleave_ck_stop(struct cleave_ck *ck)
{
	cleave_domain_exit(&ck->domain);
}

/*
 * CK's list cannot lose a record, and ck_epoch_recycle() would hand out another caller's.  So a record that comes back
 * is found on the list and simply goes on; in between it is an outside thread.
 */
void cleave_ck_register(struct cleave_ck_thread *record, struct cleave_ck *ck)
{
	ck_stack_entry_t *entry;

	cleave_thread_init(&record->thread, &ck->domain);
	CLEAVE__TSAN_HIDE();
	cleave__user_lock(&ck->lock);
	for (entry = first_entry(ck); entry; entry = next_entry(entry))
		if (record_of(entry) == &record->record)
			break;
	if (!entry)
		ck_epoch_register(&ck->epoch, &record->record, NULL);
	/*
	 * What a record holds until its first section has recorded an epoch, is to be older than that.  CK's 0 is not,
	 * once the epoch has wrapped: it would let the epoch pass that thread when it has announced itself.
	 */
	ck_pr_store_uint(&record->record.epoch, ck_pr_load_uint(&ck->epoch.epoch));
	PORT_FETCH_ADD(&ck->registered, 1, PORT_RELAXED);
	cleave__user_unlock(&ck->lock);
	CLEAVE__TSAN_SHOW();
}

void cleave_ck_unregister(struct cleave_ck_thread *record, struct cleave_ck *ck)
{
	PORT_FETCH_ADD(&ck->registered, (uint32_t)-1, PORT_RELAXED);
	PORT_ASSERT(!record->record.active, "a thread leaves its read sections before it unregisters");
	cleave_thread_exit(&record->thread);
	/* Others go on acquiring the record; nothing is written to it any more. */
	CLEAVE__TSAN_RELEASE(&record->thread);
}

/* ---- Fork ---- */

void cleave_ck_prefork(struct cleave_ck *ck, struct cleave_thread *self)
{
	cleave__user_lock(&ck->lock);
	cleave_domain_prefork(&ck->domain, self);
}

void cleave_ck_postfork_parent(struct cleave_ck *ck, struct cleave_thread *self)
{
	cleave_domain_postfork_parent(&ck->domain, self);
	cleave__user_unlock(&ck->lock);
}

/* Threads that were lost inside a section would hold the epoch for ever: only the own record stays. */
int cleave_ck_postfork_child(struct cleave_ck *ck, struct cleave_thread *self)
{
	cleave_domain_postfork_child(&ck->domain, self);
	ck_stack_init(&ck->epoch.records);
	ck_stack_push_spnc(&ck->epoch.records, &thread_of(self)->record.record_next);
	PORT_STORE(&ck->lock, 0, PORT_RELAXED);
	PORT_STORE(&ck->registered, 1, PORT_RELAXED);
	return 0;
}
