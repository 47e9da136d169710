/* SPDX-License-Identifier: ISC */
/*
 * A domain on liburcu: what its flavours have in common.
 *
 * liburcu 0.13 has no grace periods that can be polled, and its call_rcu() workers sleep for milliseconds.  So who
 * wants one runs it here, where the flavour lets others see who is in a section, and nobody is in the way; and a domain
 * owns one worker thread, which runs synchronize_rcu() while somebody waits for a cookie otherwise, and sleeps most of
 * the time.
 *
 * Cookies
 *	`started` counts the grace periods that began; a cookie is the number of the first one that begins after it.
 *	`done` is the greatest number of one that ended: it began after all cookies up to that number, and if one of a
 *	smaller number is still under way, or was given up, nobody needs it.
 *
 *		cookie(), after unlinking		worker, or who wants a grace period
 *		-------------------------		-----------------------------------
 *		c = RMW(started) + 1 [U1-rel]		s = RMW(started) + 1 [U1-acq]
 *		advance(): wanted = max(wanted, c)	synchronize_rcu(), or what is in here.c
 *							done = max(done, s) [U2-rel]
 *		done() when done >= c [U2-acq]
 *
 *	Of two read-modify-writes of one word one is first.  If cookie()'s is, the worker's sees the unlinking, and so
 *	does every reader from whom synchronize_rcu() does not wait.  If the worker's is, the cookie is for the next
 *	grace period.  On x86 a locked instruction elsewhere and a load do the same (the unlinking is visible before
 *	the load), and leave the line to be shared by all writers.  With a plain load alone:
 *		1. the writer's unlinking waits in its store buffer; it loads started = 4 and wants 5
 *		2. the worker: started = 5, synchronize_rcu(); a new reader still finds what was unlinked
 *		3. done = 5: the writer reuses it under that reader.
 *	Where the unlinking is a sequentially consistent store of the same thread, a sequentially consistent load does
 *	[U1-sc]: unlinking, load and the worker's read-modify-write are in one order.  If the load did not see that, it
 *	is before it, and so the unlinking is before synchronize_rcu(), whose barriers show it to every reader from whom
 *	it does not wait.
 *

 * Pauses
 *	A grace period costs processor time, its own and that of all whom it interrupts.  So a pause comes after each,
 *	of several times what it took; but not after those of the only reader.  A thread whose changes are not served
 *	yet looks at the clock at one in so many.
 *
 * Sleep
 *	Between grace periods the worker sleeps until a thread that is not served yet kicks it: advance() and wait()
 *	do, by a system call, and only when it sleeps.  It does not start by itself, although it knows that
 *	cookies are outstanding: a kick comes from a thread that is outside of its read sections, mostly wakes the
 *	worker on that thread's processor, and so the grace period has one reader less to wait for and one processor
 *	less to interrupt.  A worker that starts by a timer preempts a reader inside its section as often as not, and
 *	then synchronize_rcu() holds the processor that the reader needs to leave: up to a tick (4 ms) with memb, and
 *	10 ms of sleep with bp.  (Measured: bench/cookie.c.  For the same reason a higher priority made it worse.)
 *	No wake-up is lost: who waits raises `waiters` and then looks at `sleeping`, the worker raises `sleeping` and
 *	then looks at `waiters`, all sequentially consistent, so that one sees the other.  Who only polls kicks again
 *	at its next call.
 *
 * The moment
 *	Where writers keep all processors busy, the worker runs in the place of one of them, as often as not in the
 *	middle of its section, and synchronize_rcu() waits for that one.  memb's asks who leaves a section to wake it:
 *		1. worker: marks its futex; thread A is inside, whose processor it holds
 *		2. thread B, on another one, leaves a section, as it does all the time: unmarks it, calls the kernel
 *		3. worker: need not sleep any more; A is inside; to 1, with two sys_membarriers
 *	for as long as the kernel leaves it the processor.  (bp's sleeps 10 ms.)  So the worker looks first who stays in
 *	a section that a call of the library has opened, and sleeps until they leave it: each wakes the worker then, and
 *	yields the processor, because now it is outside.  This chooses a moment and nothing else: whether the worker
 *	guesses right, and what became of the moment when synchronize_rcu() begins, matters only for time.  (Two writers
 *	on two processors: 1,400 grace periods a second before, of 330 us of a processor each, and 12,000 after; copies
 *	7 % of the clips, and 1.5; both together 0.8 times as fast as one, and 1.7.)
 *
 * Thread Sanitizer
 *	It does not see what a barrier on all threads orders, and whoever ran a grace period here would acquire all that
 *	others did, which hides locks that are missing.  So all grace periods are the worker's then, and all cookies
 *	read-modify-writes; what is left out is under chosen schedules (tests/sim/orders_port.c).
 *	After a grace period the worker acquires every thread's record, into which the sections' ends were released;
 *	`done` passes it on.  So only what a grace period orders is ordered, not what came later.
 */
#define _GNU_SOURCE
#include "period.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

enum command {
	RUN,
	PAUSE, /* prefork asks the worker to stand still */
	PAUSED,
	QUIT,
};

#define QUIET 64u /* changes from one look at the clock to the next */
#define QUIET_BEHIND 1024u /* and from one kick to the next, if somebody was in the way */


/* The worker's choice of a moment, below. */
#define TURNS 8u      /* of waiting for such threads */
#define PATIENCE 500u /* microseconds a turn */

_Static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "a thread's name fits `worker`");

static struct cleave_urcu *urcu_of(struct cleave_domain *domain)
{
	return cleave__container(domain, struct cleave_urcu, domain);
}

/* ---- The worker ---- */

/* Make it look again at what it should do.  [U3-sc] what to do, then `sleeping`; nap() the other way round. */
static bool kick(struct cleave_urcu *urcu)
{
	bool slept;

	if (!PORT_LOAD(&urcu->sleeping, PORT_SEQ_CST))
		return false;
	/* Who kicks whom orders nothing that anybody may rely on. */
	CLEAVE__TSAN_HIDE();
	slept = PORT_EXCHANGE(&urcu->sleeping, 0, PORT_RELAXED); /* only decides who of several makes the call */
	if (slept)
		cleave__user_wake(&urcu->sleeping);
	CLEAVE__TSAN_SHOW();
	return slept;
}

static bool idle(struct cleave_urcu *urcu)
{
	return PORT_LOAD(&urcu->wanted, PORT_RELAXED) <= PORT_LOAD(&urcu->done, PORT_RELAXED);
}

static void acquire_threads(struct cleave_urcu *urcu)
{
#if CLEAVE__TSAN
	/* Those that have unregistered. */
	CLEAVE__TSAN_ACQUIRE(&urcu->threads);
	CLEAVE__TSAN_HIDE();
	cleave__user_lock(&urcu->lock);
	for (struct cleave_urcu_thread *record = urcu->threads; record; record = record->next) {
		CLEAVE__TSAN_SHOW();
		CLEAVE__TSAN_ACQUIRE(&record->thread);
		CLEAVE__TSAN_HIDE();
	}
	cleave__user_unlock(&urcu->lock);
	CLEAVE__TSAN_SHOW();
#else
	(void)urcu;
#endif
}

/*
 * Who stays inside?  A thread that runs is seen outside soon, between two of its changes; one that does not run is not.
 * They are marked, to wake us.
 */
static bool somebody_stays(struct cleave_urcu *urcu)
{
	struct cleave_urcu_thread *record;
	bool stays = true;

	CLEAVE__TSAN_HIDE();
	cleave__user_lock(&urcu->lock);
	for (record = urcu->threads; record; record = record->next)
		record->stays = true;
	for (unsigned int look = 0; stays && look < CLEAVE__URCU_LOOKS; look++) {
		stays = false;
		for (record = urcu->threads; record; record = record->next) {
			record->stays = record->stays && PORT_LOAD(&record->inside, PORT_RELAXED);
			stays |= record->stays;
		}
		PORT_PAUSE();
	}
	for (record = urcu->threads; record; record = record->next)
		if (record->stays)
			PORT_STORE(&record->awaited, 1, PORT_RELAXED);
	cleave__user_unlock(&urcu->lock);
	CLEAVE__TSAN_SHOW();
	return stays;
}

/* Choose a moment at which nobody seems to be in the way of a grace period; any will do. */
static void await_moment(struct cleave_urcu *urcu)
{
	uint32_t seen;

	for (unsigned int turn = 0; turn < TURNS; turn++) {
		seen = PORT_LOAD(&urcu->left, PORT_RELAXED);
		if (!somebody_stays(urcu) || !cleave__user_park_for(&urcu->left, seen, PATIENCE))
			return;
	}
}

void cleave__urcu_give_way(struct cleave_domain *domain, struct cleave_urcu_thread *thread)
{
	struct cleave_urcu *urcu = urcu_of(domain);
	int saved = errno;

	PORT_STORE(&thread->awaited, 0, PORT_RELAXED);
	PORT_FETCH_ADD(&urcu->left, 1, PORT_RELAXED);
	cleave__user_wake(&urcu->left);
	/* Mostly, the worker sleeps on this processor.  A leaf may be locked, which costs others time only. */
	sched_yield();
	errno = saved;
}

static void grace_period(struct cleave_urcu *urcu)
{
	uint64_t began = cleave__urcu_now(), number = cleave__urcu_begin(urcu);

	CLEAVE__TSAN_HIDE();
	urcu->flavour->synchronize();
	CLEAVE__TSAN_SHOW();
	acquire_threads(urcu);
	cleave__urcu_pause_after(urcu, began);
	cleave__urcu_end(urcu, number);
}

static void stand_still(struct cleave_urcu *urcu)
{
	PORT_STORE(&urcu->command, PAUSED, PORT_RELEASE); /* [U5-rel] the grace periods before the fork */
	cleave__user_wake(&urcu->command);
	while (PORT_LOAD(&urcu->command, PORT_RELAXED) == PAUSED) /* work() loads it again */
		cleave__user_park(&urcu->command, PAUSED);
}

static void nap(struct cleave_urcu *urcu)
{
	PORT_EXCHANGE(&urcu->sleeping, 1, PORT_SEQ_CST); /* [U3-sc] */
	/* [U5-acq] The command always: what a forking thread did comes before the next grace period. */
	if (PORT_LOAD(&urcu->command, PORT_SEQ_CST) == RUN && !(PORT_LOAD(&urcu->waiters, PORT_SEQ_CST) && !idle(urcu)))
		cleave__user_park(&urcu->sleeping, 1);
	PORT_STORE(&urcu->sleeping, 0, PORT_RELAXED);
}

static void *work(void *argument)
{
	struct cleave_urcu *urcu = argument;
	uint32_t command;

	prctl(PR_SET_NAME, "cleave-grace");
	/* nap() looks again, before it sleeps or a grace period begins */
	while ((command = PORT_LOAD(&urcu->command, PORT_RELAXED)) != QUIT) {
		if (command == PAUSE) {
			stand_still(urcu);
			continue;
		}
		nap(urcu);
		if (idle(urcu))
			continue;
		await_moment(urcu);
		grace_period(urcu);
	}
	return NULL;
}

static int start_worker(struct cleave_urcu *urcu)
{
	sigset_t all, old;
	pthread_t thread;
	int error;

	PORT_STORE(&urcu->command, RUN, PORT_RELAXED);
	PORT_STORE(&urcu->sleeping, 0, PORT_RELAXED);
	/* The program's signal handlers are none of the worker's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&thread, NULL, work, urcu);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	urcu->worker = error ? 0 : (uint64_t)thread;
	return -error;
}

static void command_worker(struct cleave_urcu *urcu, uint32_t command)
{
	PORT_STORE(&urcu->command, command, PORT_SEQ_CST); /* [U3-sc] */
	cleave__user_wake(&urcu->command);
	kick(urcu);
}

/* ---- What the core calls ---- */

uint64_t cleave__urcu_cookie(struct cleave_domain *domain, struct cleave_thread *self)
{
	struct cleave_urcu *urcu = urcu_of(domain);

	(void)self;
	/*
	 * [U1-rel] Release is all that the cookie needs: what it returns is compared with `done`, which acquires.
	 * (To acquire here would order writers after each other, and hide from Thread Sanitizer a lock they miss.)
	 */
	return cleave__load_behind_barrier(&urcu->started) + 1;
}

uint64_t cleave__urcu_cookie_stored(struct cleave_domain *domain, struct cleave_thread *self)
{
	/* Thread Sanitizer knows what a read-modify-write releases, not how stores of several words are ordered. */
	if (CLEAVE__TSAN)
		return cleave__urcu_cookie(domain, self);
	return PORT_LOAD(&urcu_of(domain)->started, PORT_SEQ_CST) + 1; /* [U1-sc] */
}

bool cleave__urcu_done(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	(void)self;
	/* [U2-acq] */
	return PORT_LOAD(&urcu_of(domain)->done, PORT_ACQUIRE) >= cookie;
}

/*
 * A read-modify-write of `started` that this load does not see comes after it, and so do the first barrier on all
 * threads and the looks, synchronize_rcu()'s or those above: the section is waited for then.
 * [U1-acq] What was unlinked before the cookies of those that it sees, is seen to be: on a machine that shows a store
 * to all others at once.
 *	1. T1: unlinks; a barrier; its cookie: started is n - 1
 *	2. worker: started = n
 *	3. T2: started is n; it still finds what was unlinked in 1
 * Thread Sanitizer knows no such order, and must not take `started` for one among writers (as in
 * cleave__urcu_cookie()).
 */
uint64_t cleave__urcu_begun(struct cleave_domain *domain, struct cleave_thread *self)
{
	(void)self;
	return PORT_LOAD(&urcu_of(domain)->started, CLEAVE__TSAN ? PORT_RELAXED : PORT_ACQUIRE) + 1;
}

/* Say that somebody is not served yet. */
static void want(struct cleave_urcu *urcu, uint64_t cookie)
{
	uint64_t wanted = PORT_LOAD(&urcu->wanted, PORT_RELAXED);

	while (wanted < cookie)
		if (PORT_CAS(&urcu->wanted, &wanted, cookie, PORT_RELAXED, PORT_RELAXED))
			break;
}

/* `quiet`: so many changes pass before cleave__pool_nudge() asks again.  Who asks for itself is always heard. */
void cleave__urcu_advance(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_urcu *urcu = urcu_of(domain);

	self->quiet = QUIET;
	if (cleave__urcu_done(domain, self, cookie) || cleave__urcu_pauses(urcu) ||
	    cleave__urcu_grace_here(urcu, cleave__container(self, struct cleave_urcu_thread, thread)))
		return;
	want(urcu, cookie);
	if (kick(urcu))
		self->quiet = QUIET_BEHIND;
}

void cleave__urcu_wait(struct cleave_domain *domain, struct cleave_thread *self, uint64_t cookie)
{
	struct cleave_urcu *urcu = urcu_of(domain);
	bool was_online;
	uint32_t seen;

	if (cleave__urcu_done(domain, self, cookie))
		return;
	want(urcu, cookie);
	was_online = urcu->flavour->offline && urcu->flavour->offline();
	if (!urcu->worker) /* a forked child that got no thread */
		grace_period(urcu);
	PORT_FETCH_ADD(&urcu->waiters, 1, PORT_SEQ_CST); /* [U3-sc] */
	kick(urcu);
	for (;;) {
		/* [U4-acq] the count before `done`: else a grace period could end in between, and nobody wake us */
		seen = PORT_LOAD(&urcu->ended, PORT_ACQUIRE);
		if (PORT_LOAD(&urcu->done, PORT_SEQ_CST) >= cookie)
			break;
		cleave__user_park(&urcu->ended, seen);
	}
	PORT_FETCH_ADD(&urcu->waiters, (uint32_t)-1, PORT_RELAXED);
	if (was_online)
		urcu->flavour->online();
}

void cleave__urcu_park(struct cleave_domain *domain, struct cleave_thread *self, struct cleave_word32 *count,
		       uint32_t seen)
{
	struct cleave_urcu *urcu = urcu_of(domain);
	bool was_online;

	(void)self;
	/* Who is sent back begins anew, with loads of its own. */
	if (PORT_LOAD(count, PORT_RELAXED) != seen)
		return;
	was_online = urcu->flavour->offline && urcu->flavour->offline();
	cleave__user_park(count, seen);
	if (was_online)
		urcu->flavour->online();
}

void cleave__urcu_wake(struct cleave_domain *domain, struct cleave_word32 *count)
{
	(void)domain;
	cleave__user_wake(count);
}

/* ---- Start and stop ---- */

int cleave__urcu_start(struct cleave_urcu *urcu, const struct cleave__urcu_flavour *flavour,
		       const struct cleave_memory *memory, uint64_t garbage_limit)
{
	memset(urcu, 0, sizeof(*urcu));
	cleave_domain_init(&urcu->domain, &flavour->ops, memory ? memory : &cleave_memory_libc, NULL,
			   garbage_limit ? garbage_limit : CLEAVE__GARBAGE_LIMIT);
	urcu->domain.done = &urcu->done;
	urcu->domain.started = CLEAVE__URCU_STARTED(urcu);
	urcu->flavour = flavour;
	return start_worker(urcu);
}

void cleave_urcu_stop(struct cleave_urcu *urcu)
{
	PORT_ASSERT(!urcu->threads, "every thread is unregistered before the domain stops");
	if (urcu->worker) {
		command_worker(urcu, QUIT);
		pthread_join((pthread_t)urcu->worker, NULL);
		urcu->worker = 0;
	}
	cleave_domain_exit(&urcu->domain);
}

/* ---- Threads ---- */

void cleave_urcu_register(struct cleave_urcu_thread *record, struct cleave_urcu *urcu)
{
	cleave_thread_init(&record->thread, &urcu->domain);
	CLEAVE__TSAN_HIDE();
	/* The lock, so that prefork finds nobody half way in liburcu's list. */
	cleave__user_lock(&urcu->lock);
	record->registered = urcu->flavour->register_thread();
	record->reader = urcu->flavour->reader ? urcu->flavour->reader() : NULL;
	PORT_STORE(&record->inside, 0, PORT_RELAXED);
	PORT_STORE(&record->awaited, 0, PORT_RELAXED);
	record->changes = 0;
	record->begun = record->quiets = record->quiets_then = 0;
	record->next = urcu->threads;
	urcu->threads = record;
	cleave__user_unlock(&urcu->lock);
	CLEAVE__TSAN_SHOW();
}

void cleave_urcu_unregister(struct cleave_urcu_thread *record, struct cleave_urcu *urcu)
{
	struct cleave_urcu_thread **link;

	PORT_ASSERT(!record->reader || record->reader == urcu->flavour->reader(),
		    "a thread is unregistered by itself");
	cleave_thread_exit(&record->thread);
	/* The record may be freed after this: what it stood for passes to the list. */
	CLEAVE__TSAN_RELEASE(&urcu->threads);
	CLEAVE__TSAN_HIDE();
	cleave__user_lock(&urcu->lock);
	for (link = &urcu->threads; *link != record; link = &(*link)->next)
		;
	*link = record->next;
	if (record->registered)
		urcu->flavour->unregister_thread();
	cleave__user_unlock(&urcu->lock);
	CLEAVE__TSAN_SHOW();
}

/* ---- Fork ---- */

/*
 * The child has one thread and a copy of everything.  What must not be copied half done: liburcu's list, which a grace
 * period takes apart and a registration changes; so the worker stands still, and the lock of registrations is held.
 */
void cleave_urcu_prefork(struct cleave_urcu *urcu, struct cleave_thread *self)
{
	bool was_online;
	uint32_t seen;

	/* A grace period may be waiting for this very thread. */
	was_online = urcu->flavour->offline && urcu->flavour->offline();
	if (urcu->worker)
		command_worker(urcu, PAUSE);
	/* [U5-acq] */
	while (urcu->worker && (seen = PORT_LOAD(&urcu->command, PORT_ACQUIRE)) != PAUSED)
		cleave__user_park(&urcu->command, seen);
	cleave__user_lock(&urcu->lock);
	if (was_online)
		urcu->flavour->online();
	if (urcu->flavour->prefork)
		urcu->flavour->prefork();
	cleave_domain_prefork(&urcu->domain, self);
}

void cleave_urcu_postfork_parent(struct cleave_urcu *urcu, struct cleave_thread *self)
{
	cleave_domain_postfork_parent(&urcu->domain, self);
	if (urcu->flavour->postfork_parent)
		urcu->flavour->postfork_parent();
	cleave__user_unlock(&urcu->lock);
	if (urcu->worker)
		command_worker(urcu, RUN);
}

int cleave_urcu_postfork_child(struct cleave_urcu *urcu, struct cleave_thread *self)
{
	struct cleave_urcu_thread *record, *next, *own = NULL;

	cleave_domain_postfork_child(&urcu->domain, self);
	for (record = urcu->threads; record; record = next) {
		next = record->next;
		if (&record->thread == self)
			own = record;
		else if (record->registered)
			urcu->flavour->forget(record->reader); /* bp, which has none, registers no reader here */
	}
	if (own)
		own->next = NULL;
	urcu->threads = own;
	if (urcu->flavour->postfork_child)
		urcu->flavour->postfork_child();
	PORT_STORE(&urcu->waiters, 0, PORT_RELAXED);
	PORT_STORE(&urcu->lock, 0, PORT_RELAXED);
	PORT_STORE(&urcu->resume, 0, PORT_RELAXED);
	urcu->hindered = 0;
	return start_worker(urcu);
}
