/* SPDX-License-Identifier: ISC */
/* Anons: shares, pins, in transit, lock. */
#include "anon_context.h"

#define PIN (UINT64_C(1) << 32)
#define TRANSIT (UINT64_C(1) << 61)
#define LOCKED (UINT64_C(1) << 62)
#define WAITED (UINT64_C(1) << 63) /* beside TRANSIT or LOCKED */
#define SHARES (PIN - 1)
#define USERS (TRANSIT - 1) /* shares and pins */

/*
 * The domain counts anons in a line that all threads would write; so they are taken from the allocator by the batch,
 * and a fault that uses one writes nothing that others share.
 */
static void refill(struct cleave_anon_context *context)
{
	const struct cleave_memory *memory = context->domain->guards.domain->memory;
	unsigned int n;

	for (n = 0; n < CLEAVE__ANON_BATCH; n++) {
		struct cleave_anon_page *anon = memory->alloc(memory, sizeof(*anon), CLEAVE__ANON_ALIGN);

		if (!anon)
			break;
		anon->link = context->pages;
		context->pages = anon;
	}
	context->npages += n;
	if (n)
		PORT_FETCH_ADD(&context->domain->anons, n, PORT_RELAXED);
}

struct cleave_anon_page *cleave_anon_page_make(struct cleave_anon_context *context, uint64_t content)
{
	struct cleave_anon_page *anon;

	if (PORT_UNLIKELY(!context->pages))
		refill(context);
	anon = context->pages;
	if (PORT_UNLIKELY(!anon))
		return NULL;
	context->pages = anon->link;
	context->npages--;
	PORT_STORE(&anon->state, 0, PORT_RELAXED);
	PORT_STORE(&anon->state, 1, PORT_RELAXED);
	PORT_STORE(&anon->content, content, PORT_RELAXED);
	return anon;
}

/*
 * [A9-rel] what was done with the anon through this share or pin, before who frees it, or writes in place as the only
 * one left; [A9-acq] for those.
 */
static void put(struct cleave_anon_context *context, struct cleave_anon_page *anon, uint64_t user)
{
	uint64_t old = PORT_FETCH_ADD(&anon->state, -user, PORT_ACQ_REL);

	PORT_ASSERT((old & (user == PIN ? USERS & ~SHARES : SHARES)) != 0, "an anon's share or pin is dropped once");
	if (((old - user) & USERS) == 0) {
		anon->link = context->young.pages;
		context->young.pages = anon;
		context->young.count++;
	}
}

void cleave_anon_page_drop(struct cleave_anon_context *context, struct cleave_anon_page *anon)
{
	put(context, anon, 1);
}

bool cleave_anon_page_pin_rcu(struct cleave_anon_page *anon)
{
	uint64_t seen = PORT_LOAD(&anon->state, PORT_RELAXED);

	do {
		if (!(seen & USERS))
			return false;
	} while (!PORT_CAS(&anon->state, &seen, seen + PIN, PORT_RELAXED, PORT_RELAXED));
	return true;
}

void cleave_anon_page_unpin(struct cleave_anon_context *context, struct cleave_anon_page *anon)
{
	put(context, anon, PIN);
}

uint64_t cleave_anon_page_shares(const struct cleave_anon_page *anon)
{
	return PORT_LOAD(&anon->state, PORT_ACQUIRE) & SHARES; /* [A9-acq] */
}

uint64_t cleave_anon_page_content(const struct cleave_anon_page *anon)
{
	return PORT_LOAD(&anon->content, PORT_ACQUIRE); /* [A10-acq] the page's bytes; pairs with [A10-rel] below */
}

/*
 * [A9-sc] the mark, against guards: who takes the page away marks, then waits for guards; who enters it sets its guard,
 * then looks at the mark.
 */
int cleave_anon_transit_begin_rcu(struct cleave_anon_context *context, struct cleave_anon_page *anon, uint64_t expected)
{
	uint64_t seen = PORT_LOAD(&anon->state, PORT_RELAXED);

	do {
		if (!(seen & SHARES) || cleave_anon_page_content(anon) != expected)
			return -ENOENT;
		if (seen & TRANSIT) {
			cleave__anon_await_mark(context, &anon->state, TRANSIT, WAITED);
			return -EAGAIN;
		}
		/* [A9-sc] as above */
	} while (!PORT_CAS(&anon->state, &seen, (seen | TRANSIT) + PIN, PORT_SEQ_CST, PORT_RELAXED));
	/* The content changes only in transit: what it is now is what it stays. */
	if (cleave_anon_page_content(anon) == expected)
		return 0;
	cleave_anon_transit_end(context, anon, cleave_anon_page_content(anon));
	return -ENOENT;
}

/* Clear a mark; both marks share the waiters. */
static void unmark(struct cleave_anon_context *context, struct cleave_anon_page *anon, uint64_t mark)
{
	uint64_t seen = PORT_LOAD(&anon->state, PORT_RELAXED);

	/* [A9-rel] what the owner of the mark did */
	while (!PORT_CAS(&anon->state, &seen, seen & ~(mark | WAITED), PORT_RELEASE, PORT_RELAXED))
		;
	if (seen & WAITED)
		cleave__guards_wake(&context->domain->guards, &anon->state);
}

void cleave_anon_transit_end(struct cleave_anon_context *context, struct cleave_anon_page *anon, uint64_t content)
{
	PORT_ASSERT(PORT_LOAD(&anon->state, PORT_RELAXED) & TRANSIT, "I/O ends after it has begun");
	PORT_STORE(&anon->content, content, PORT_RELEASE); /* [A10-rel] pairs with [A10-acq] */
	unmark(context, anon, TRANSIT);
	cleave_anon_page_unpin(context, anon);
}

bool cleave_anon_in_transit_rcu(struct cleave_anon_context *context, struct cleave_anon_page *anon)
{
	if (!(PORT_LOAD(&anon->state, PORT_SEQ_CST) & TRANSIT)) /* [A9-sc] */
		return false;
	cleave__anon_await_mark(context, &anon->state, TRANSIT, WAITED);
	return true;
}

int cleave_anon_page_trylock_rcu(struct cleave_anon_context *context, struct cleave_anon_page *anon)
{
	uint64_t seen = PORT_LOAD(&anon->state, PORT_RELAXED);

	do {
		if (seen & LOCKED) {
			cleave__anon_await_mark(context, &anon->state, LOCKED, WAITED);
			return -EAGAIN;
		}
	} while (!PORT_CAS(&anon->state, &seen, seen | LOCKED, PORT_ACQUIRE, PORT_RELAXED)); /* [A9-acq] */
	return 0;
}

void cleave_anon_page_unlock(struct cleave_anon_context *context, struct cleave_anon_page *anon)
{
	unmark(context, anon, LOCKED);
}
