/* SPDX-License-Identifier: ISC */
/*
 * Grace periods and parking: what the core asks of its RCU flavour.
 *
 * A grace period begins at any moment after the cookies that it serves, and no sooner than the contract forces it to:
 * what was before those cookies happens before the sections that are entered after that moment, and what was in the
 * others happens before `done`.  A section that is entered between a cookie and that moment is not ordered after the
 * cookie.  Only two kinds of moment differ for anybody: just before a section is entered, for the cookies up to any
 * one, and when somebody asks for a cookie whose grace period has not begun.  The plain choice is the soonest.
 *
 * While no grace period has begun since a cookie, the next may be the same token, as it is with liburcu and with
 * ConcurrencyKit, or another.  A cookie acquires nothing.
 */
#include "internal.h"

#define MAX_COOKIES 256u
#define MAX_SECTIONS 256u

static struct {
	uint64_t taken; /* cookies are numbered from 1 */
	uint64_t begun; /* the last that has its grace period */
	uint64_t least; /* a grace period that begins now serves these: they are older than some section */
	clock_vector before[MAX_COOKIES];	   /* of each cookie: what it releases */
	uint32_t awaits[MAX_COOKIES][SIM_THREADS]; /* of each begun one: the sections that must have ended */
	clock_vector began;			   /* what happens before a section that is entered now */
	uint64_t hash;				   /* of the cookies and beginnings so far */
	clock_vector ended[SIM_THREADS][MAX_SECTIONS];
} grace;

uint8_t sim_grace_users;
const struct cleave_word sim_done, sim_started;

void sim_grace_reset(void)
{
	grace.taken = grace.begun = grace.least = 0;
	grace.hash = 0;
	memset(&grace.began, 0, sizeof(grace.began));
}

void sim_grace_fence(void)
{
	if (!sim.running || !grace.begun)
		return;
	clock_join(&self()->fenced, &grace.began);
	self()->has_fence = true;
}

/* A grace period begins, for all cookies up to this one. */
static void begin(uint64_t last)
{
	for (uint64_t cookie = grace.begun + 1; cookie <= last; cookie++) {
		clock_join(&grace.began, &grace.before[cookie]);
		for (unsigned int t = 0; t < sim.nthreads; t++)
			grace.awaits[cookie][t] = sim.threads[t].section;
	}
	for (unsigned int t = 0; t < sim.nthreads; t++)
		learn(sim.threads[t].section * 2 + sim.threads[t].inside);
	grace.begun = last;
	learn(last);
	learn(grace.hash);
	grace.hash = self()->chain;
	sim_note("a grace period begins for the cookies up to %llu", (unsigned long long)last);
}

static void begin_for(uint64_t cookie)
{
	if (grace.begun < cookie)
		begin(cookie > grace.least ? cookie : grace.least);
}

/* A cookie for what happened before `known`. */
static uint64_t take(const clock_vector *known)
{
	bool same;

	if (!sim.running)
		return 0;
	sim_point_at(&sim_grace_users, true);
	same = grace.begun < grace.taken && !sim_deviate(2);
	if (!same && ++grace.taken == MAX_COOKIES)
		sim_fail("too many cookies");
	learn(grace.hash);
	learn(same);
	grace.hash = self()->chain;
	if (same)
		clock_join(&grace.before[grace.taken], known);
	else
		grace.before[grace.taken] = *known;
	self()->seen[sim.cur]++;
	sim_note("takes cookie %llu", (unsigned long long)grace.taken);
	return grace.taken;
}

static uint64_t ops_cookie(struct cleave_domain *domain, struct cleave_thread *record)
{
	(void)domain;
	(void)record;
	return take(&self()->seen);
}

static uint64_t ops_cookie_stored(struct cleave_domain *domain, struct cleave_thread *record)
{
	(void)domain;
	(void)record;
	return take(&self()->stored);
}

static bool over(uint64_t cookie)
{
	for (unsigned int t = 0; t < sim.nthreads; t++)
		if (sim.threads[t].inside && sim.threads[t].section <= grace.awaits[cookie][t])
			return false;
	return true;
}

static void after_readers(uint64_t cookie)
{
	for (unsigned int t = 0; t < sim.nthreads; t++)
		if (grace.awaits[cookie][t])
			clock_join(&self()->seen, &grace.ended[t][grace.awaits[cookie][t]]);
}

static bool ops_done(struct cleave_domain *domain, struct cleave_thread *record, uint64_t cookie)
{
	bool is_over;

	(void)domain;
	(void)record;
	if (!sim.running || cookie == 0)
		return true;
	sim_point_at(&sim_grace_users, true);
	begin_for(cookie);
	is_over = over(cookie);
	if (is_over && sim.options.false_done && sim_deviate(2))
		is_over = false;
	learn(is_over);
	if (is_over)
		after_readers(cookie);
	sim_note("cookie %llu is %s", (unsigned long long)cookie, is_over ? "done" : "not done");
	return is_over;
}

/* Would it be, if its grace period began now at the latest? */
static bool may_be_over(uint64_t cookie)
{
	if (cookie <= grace.begun)
		return over(cookie);
	for (unsigned int t = 0; t < sim.nthreads; t++)
		if (sim.threads[t].inside)
			return false;
	return true;
}

/*
 * A port's worker would have stored there up to which cookie all are done: any number from what this thread has read
 * before to what may be over by now.  The plain choice is the newest.
 */
uint64_t sim_grace_done(int order)
{
	uint64_t newest, least = self()->done;

	if (!sim.running)
		return 0;
	sim_point_at(&sim_grace_users, true);
	for (newest = grace.taken; newest > least && !may_be_over(newest); newest--)
		;
	if (newest > least && sim.options.false_done)
		newest -= sim_deviate((unsigned int)(newest - least) + 1);
	learn(newest);
	if (newest > least) {
		begin_for(newest);
		self()->done = newest;
	}
	if (newest && order != PORT_RELAXED)
		after_readers(newest);
	sim_note("cookies up to %llu are done", (unsigned long long)newest);
	return newest;
}

static void ops_wait(struct cleave_domain *domain, struct cleave_thread *record, uint64_t cookie)
{
	(void)domain;
	(void)record;
	if (!sim.running || cookie == 0)
		return;
	if (self()->inside)
		sim_fail("a wait for a grace period inside a read section");
	sim_note("waits for cookie %llu", (unsigned long long)cookie);
	sim_point_at(&sim_grace_users, true);
	begin_for(cookie);
	while (!over(cookie)) {
		self()->awaited = cookie;
		sim_block();
	}
	learn(cookie);
	after_readers(cookie);
}

static void ops_enter(struct cleave_domain *domain, struct cleave_thread *record)
{
	uint64_t first, behind;

	(void)domain;
	(void)record;
	if (!sim.running)
		return;
	sim_point_at(&sim_grace_users, false);
	if (self()->inside)
		sim_fail("read sections nest");
	learn(grace.hash);
	/* begins for all cookies, for fewer and fewer of them, or not at all */
	first = grace.begun < grace.least ? grace.least : grace.begun + 1;
	if (grace.begun < grace.taken) {
		behind = sim_deviate((unsigned int)(grace.taken - first) + 2);
		learn(behind);
		if (grace.taken - behind >= first)
			begin(grace.taken - behind);
	}
	grace.least = grace.taken;
	self()->inside = true;
	self()->entered = grace.begun;
	if (++self()->section == MAX_SECTIONS)
		sim_fail("too many read sections");
	clock_join(&self()->seen, &grace.began);
	sim_note("enters");
}

static void ops_leave(struct cleave_domain *domain, struct cleave_thread *record)
{
	(void)domain;
	(void)record;
	if (!sim.running)
		return;
	sim_point_at(&sim_grace_users, false);
	if (!self()->inside)
		sim_fail("a read section that was not entered is left");
	self()->inside = self()->counted = false;
	learn(3);
	grace.ended[sim.cur][self()->section] = self()->seen;
	self()->seen[sim.cur]++;
	for (unsigned int t = 0; t < sim.nthreads; t++)
		if (sim.threads[t].awaited && over(sim.threads[t].awaited))
			sim.threads[t].awaited = 0;
	sim_note("leaves");
}

/* The last cookie whose grace period has begun, as this thread may see it inside of its section. */
static uint64_t begun(bool acquire)
{
	uint64_t missed;

	sim_point_at(&sim_grace_users, false);
	if (!self()->inside)
		sim_fail("asks what has begun outside of a read section");
	/* What has begun since the section was entered waits for its end, and may be missed. */
	missed = grace.begun > self()->entered ? sim_deviate(2) * (grace.begun - self()->entered) : 0;
	learn(grace.hash);
	learn(grace.begun - missed);
	if (!missed && acquire)
		clock_join(&self()->seen, &grace.began);
	return grace.begun - missed;
}

static uint64_t ops_begun(struct cleave_domain *domain, struct cleave_thread *record)
{
	(void)domain;
	(void)record;
	return sim.running ? begun(true) + 1 : 0;
}

/*
 * One less than what ops_cookie_stored() or ops_begun() says: the order tells for which of them it is loaded.  Outside
 * of sections it is a cookie in any case, and with a weaker order it covers nothing.
 */
uint64_t sim_grace_started(int order)
{
	static const clock_vector nothing;

	if (!sim.running)
		return UINT64_MAX;
	if (order == PORT_SEQ_CST || !self()->inside)
		return take(order == PORT_SEQ_CST ? &self()->stored : &nothing) - 1;
	return begun(order != PORT_RELAXED);
}

static int ops_inside(struct cleave_domain *domain, struct cleave_thread *record)
{
	(void)domain;
	(void)record;
	return sim.running ? self()->inside : -1;
}

/* ---- A barrier on all threads ---- */

/*
 * What any other thread has done happens before what its caller does from now on, and what the caller has done before
 * what they do.  Two others are not ordered with each other: their barriers come one after the other.
 */
void sim_barrier(void)
{
	clock_vector before;

	if (!sim.running)
		return;
	sim_point();
	before = self()->seen;
	for (unsigned int t = 0; t < sim.nthreads; t++) {
		struct thread *thread = &sim.threads[t];

		if (t == sim.cur)
			continue;
		clock_join(&self()->seen, &thread->seen);
		learn(thread->chain);
		clock_join(&thread->seen, &before);
		thread->seen[t]++; /* what it does now is not in the caller's, as behind a release */
		thread->chain = sim_mix(thread->chain, self()->chain);
	}
	self()->seen[sim.cur]++;
	sim_note("has a barrier on all threads");
}

/* ---- Parking ---- */

static void ops_park(struct cleave_domain *domain, struct cleave_thread *record, struct cleave_word32 *count,
		     uint32_t seen)
{
	(void)domain;
	(void)record;
	if (!sim.running)
		return;
	sim_point_at(sim_users_of(count), false);
	if (self()->inside)
		sim_fail("parks inside a read section");
	learn(count->word);
	if (count->word != seen || (sim.options.spurious && sim_deviate(2))) {
		sim_note("does not park on %s", sim_name(count));
		return;
	}
	sim_note("parks on %s", sim_name(count));
	self()->parked = count;
	sim_block();
	sim_note("wakes up");
}

static void ops_wake(struct cleave_domain *domain, struct cleave_word32 *count)
{
	(void)domain;
	if (!sim.running)
		return;
	sim_point();
	learn(4); /* that it went on from here, even if nobody sleeps: states are told apart by it */
	for (unsigned int t = 0; t < sim.nthreads; t++) {
		struct thread *thread = &sim.threads[t];

		if (thread->parked != count)
			continue;
		thread->parked = NULL;
		learn(t + 100);
		thread->chain = sim_mix(thread->chain, self()->chain);
		sim_note("wakes T%u", t);
	}
}

const struct cleave_ops sim_ops = {
	.cookie = ops_cookie,
	.cookie_stored = ops_cookie_stored,
	.begun = ops_begun,
	.done = ops_done,
	.wait = ops_wait,
	.enter = ops_enter,
	.leave = ops_leave,
	.inside = ops_inside,
	.park = ops_park,
	.wake = ops_wake,
};
