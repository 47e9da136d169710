/* SPDX-License-Identifier: ISC */
/*
 * Grace periods that are run by who wants one (urcu.c, Cookies), where the flavour lets others see who is in a section.
 *
 * Here
 *	1. s = RMW(started) + 1.  Who wants a grace period looks whether all threads of the domain are outside of their
 *	   sections; if not, it tries again later.  It waits for nobody, but for the system to interrupt those that run.
 *	2. A barrier on all threads, by sys_membarrier: who enters a section after it, sees what was unlinked; who is in
 *	   an older one, is seen inside.
 *	3. It looks again, at each thread until that is seen outside; the section that it has left may be any.
 *	4. What was read in that section was read before (a store comes after older loads on x86: the section's end is a
 *	   release; elsewhere another barrier on all threads sees to it).  done = max(done, s).
 *	Given up between 1 and 4, a number is begun and never ends; the next one does.  It covers the threads that are
 *	registered in the domain, as readers of its indexes have to be; synchronize_rcu() covers all that liburcu knows.
 *	`lock` is held from 1 to 4: nobody registers meanwhile, and a thread that does so later sees what was unlinked.
 *	If somebody stays in the way (PATIENCE_HERE), that is left to the worker, not sooner: it may take the processor
 *	of one who is inside, and so be in the way of the next try itself.
 *	(One writer, two processors of a virtual machine: 0.4 us a grace period, and 3 on the worker if that runs on the
 *	writer's processor, 29 with interrupts if on the other; clips 31 ns and 45.)
 *
 * Among writers
 *	A barrier on all threads takes 7 to 11 us where another one runs, and interrupts that.  But who writes passes
 *	barriers all the time, and leaves its sections.  So, if each other thread has made three changes since somebody
 *	has begun s - 1, that one ends instead of s: no barrier on all threads, no look whether they are outside.
 *	`changes` counts calls that have unlocked nodes.  Between any two there is a locked instruction (L), and a
 *	moment outside of all sections (O), in any order.
 *
 *		R, that writes				whoever is here
 *		--------------				---------------
 *		changes = c + 1				s - 1 = RMW(started) + 1; c = R's changes
 *		L
 *		changes = c + 2
 *		O
 *		changes = c + 3 [U8-rel]		R's changes are c + 3 [U8-acq]; done = max(done, s - 1)
 *
 *	c + 1 was still in R's store buffer, or not yet made, when c was read.  So L is later than that, and what R
 *	loads after L sees what was unlinked before s - 1.  The sections that R entered before L, it has left at O:
 *	what it read there comes before c + 3, and so before the reuse.  (A signal handler's section lies between two
 *	instructions of its thread, so no count lies in it.)
 *	Who began s - 1, and who asks now, is outside when it does: that is its L, and O.  `lock` is free in between;
 *	who registers meanwhile takes it after s - 1 has begun, and sees what was unlinked; who has gone is outside.
 *	If c + 2 were enough:
 *		1. R: changes = c + 1, which waits in its store buffer; leaves; enters a section; loads a pointer
 *		2. W: unlinks that; T: RMW(started); c
 *		3. R: locks a leaf, changes = c + 2, still inside; T sees that; `done`: W reuses it under R.
 *	What does not count: what is put, for a thread that holds entries of two indexes puts both by plain stores,
 *	without L; and the forms that only try, which a program calls inside its own section, without O.  No other
 *	call belongs there (builds with assertions stop); one that enters a section there takes its count off first
 *	(memb.c).
 *	(Two writers together, of what two threads of private work do: 0.90 with barriers, of which each took both
 *	processors 10 us; 0.92 with two changes and a look: 40 times in a row, the other one was mostly seen inside,
 *	for it cannot leave while the line that says so is elsewhere; 0.99 so, and 0.3 % copies instead of 2.2.)
 *
 * Alone
 *	Where no other thread is registered there is no reader but the one who asks.  If it is outside of its sections
 *	(memb), its grace period is over as soon as it has begun.  With qsbr it never is, in a call; so one that it has
 *	begun is over when it asks again, still or once more alone, and has passed a quiescent state in between.  What
 *	whoever has left the domain did under `lock` before, it sees; who comes takes the lock after it, and sees what
 *	was unlinked.  So the number begins under `lock`, too:
 *		1. T: alone; unlocks
 *		2. R: registers, enters, loads a pointer
 *		3. W: registers, unlinks that; its cookie is s
 *		4. T: begins s, which is `done`: W reuses it under R.
 *	(One writer: clips 0.85 of the time, maps and unmaps 0.84 to 0.87; with qsbr, whose worker interrupted it, 0.73
 *	and 0.71.)
 */
#include "period.h"

#define QUIET_ALONE 32u /* changes from one grace period to the next, for who is the only reader */
#define VAIN 64u	/* times that the only reader asks until its quiescent state is the worker's business */
#define PATIENCE_HERE 1000000u /* ns that somebody may be in the way, until that is the worker's business */

/* Is each thread seen outside of its sections, at some moment of this call?  Under `lock`. */
static bool all_outside(const struct cleave_urcu *urcu)
{
	for (const struct cleave_urcu_thread *record = urcu->threads; record; record = record->next) {
		unsigned int left = CLEAVE__URCU_LOOKS;

		while (!urcu->flavour->outside(record->reader)) {
			if (!--left)
				return false;
			PORT_PAUSE();
		}
	}
	return true;
}

/*
 * Has each other thread made three changes since the last call, or since one before if that was its own?  Under `lock`,
 * after cleave__urcu_begin().
 */
static bool others_write(struct cleave_urcu *urcu, const struct cleave_urcu_thread *own)
{
	uint64_t changes;
	bool write = true, others = false;

	if (!urcu->flavour->changes)
		return false;
	for (struct cleave_urcu_thread *record = urcu->threads; record; record = record->next) {
		if (record == own)
			continue;
		changes = urcu->flavour->changes(&record->thread); /* [U8-acq] */
		write &= (int64_t)(changes - record->changes) >= 3;
		record->changes = changes;
		others = true;
	}
	return write && others;
}

/* Under `lock`.  Return: the number of a grace period that is over, or 0. */
static uint64_t try_here(struct cleave_urcu *urcu, const struct cleave_urcu_thread *own)
{
	const struct cleave__urcu_flavour *flavour = urcu->flavour;
	uint64_t last = urcu->begun, number = cleave__urcu_begin(urcu);
	bool over;

	urcu->begun = number;
	if (others_write(urcu, own))
		return last;
	over = all_outside(urcu) && flavour->barrier() && all_outside(urcu) &&
	       (flavour->leave_releases || flavour->barrier());
	return over ? number : 0;
}

/* As try_here(), for the only reader there is: nobody needs a pause.  *for_worker: it is the worker's business. */
static uint64_t try_alone(struct cleave_urcu *urcu, struct cleave_urcu_thread *own, bool *for_worker)
{
	uint64_t over;

	urcu->hindered = 0;
	own->thread.quiet = QUIET_ALONE;
	PORT_STORE(&urcu->resume, 0, PORT_RELAXED);
	if (urcu->flavour->outside) {
		urcu->begun = cleave__urcu_begin(urcu);
		return urcu->begun;
	}
	over = own->quiets != own->quiets_then ? own->begun : 0;
	*for_worker = !over && own->begun && ++own->vain >= VAIN;
	if (over || !own->begun) {
		own->begun = cleave__urcu_begin(urcu);
		own->quiets_then = own->quiets;
		own->vain = 0;
	}
	return over;
}

/* The same beside others. */
static uint64_t try_beside(struct cleave_urcu *urcu, struct cleave_urcu_thread *own, bool *for_worker)
{
	uint64_t began, number;

	own->begun = 0;
	*for_worker = true;
	if (!urcu->flavour->outside)
		return 0;
	began = cleave__urcu_now();
	number = try_here(urcu, own);
	urcu->hindered = number ? 0 : urcu->hindered ? urcu->hindered : began;
	*for_worker = !number && began - urcu->hindered >= PATIENCE_HERE;
	if (!*for_worker)
		cleave__urcu_pause_after(urcu, began);
	return number;
}

/* Run a grace period, if nobody is in the way.  False: the worker's business. */
bool cleave__urcu_grace_here(struct cleave_urcu *urcu, struct cleave_urcu_thread *own)
{
	const struct cleave__urcu_flavour *flavour = urcu->flavour;
	bool for_worker = false;
	uint64_t number;

	if (CLEAVE__TSAN || !(flavour->quiescent || (flavour->outside && flavour->outside(own->reader))))
		return false;
	if (!cleave__user_trylock(&urcu->lock))
		return true; /* mostly, another one is running it */
	if (urcu->threads == own && !own->next)
		number = try_alone(urcu, own, &for_worker);
	else
		number = try_beside(urcu, own, &for_worker);
	cleave__user_unlock(&urcu->lock);
	if (number)
		cleave__urcu_end(urcu, number);
	return !for_worker;
}
