/* SPDX-License-Identifier: ISC */
#include "grace.h"

#include "../layout.h"

#include <cleave/section.h>

#include <stdio.h>
#include <stdlib.h>

struct grace {
	CLEAVE_SECTION_DOMAIN domain;
};

static size_t round_up(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

static struct grace *start(void)
{
	struct grace *grace = need(aligned_alloc(64, round_up(sizeof(*grace))));

	if (cleave_section_start(&grace->domain, NULL, 0)) {
		fprintf(stderr, "cleave-bench: cannot start a domain\n");
		exit(1);
	}
	return grace;
}

static void stop(struct grace *grace)
{
	cleave_section_stop(&grace->domain);
	free(grace);
}

static void attach(struct grace_thread *thread, struct grace *grace)
{
	CLEAVE_SECTION_THREAD *record = need(aligned_alloc(64, round_up(sizeof(*record))));

	cleave_section_register(record, &grace->domain);
	thread->record = record;
}

static CLEAVE_SECTION_DOMAIN *domain_of(CLEAVE_SECTION_THREAD *record)
{
	return (CLEAVE_SECTION_DOMAIN *)record->thread.domain; /* its first member */
}

_Static_assert(offsetof(CLEAVE_SECTION_DOMAIN, domain) == 0, "domain_of()");

static void release(struct grace_thread *thread)
{
	struct grace_link *node, *next;

	for (node = thread->old.head; node; node = next) {
		next = node->next;
		thread->release(thread, node);
	}
	thread->old = (struct grace_list){ NULL, 0 };
}

/* The young ones grow old. */
static void shift(struct grace_thread *thread)
{
	CLEAVE_SECTION_THREAD *record = thread->record;
	struct cleave_domain *domain = record->thread.domain;

	thread->old = thread->young;
	thread->young = (struct grace_list){ NULL, 0 };
	thread->cookie = domain->ops->cookie(domain, &record->thread);
}

static void settle(struct grace_thread *thread)
{
	CLEAVE_SECTION_THREAD *record = thread->record;
	struct cleave_domain *domain = record->thread.domain;

	if (thread->old.n) {
		if (!domain->ops->done(domain, &record->thread, thread->cookie)) {
			domain->ops->advance(domain, &record->thread, thread->cookie);
			return;
		}
		release(thread);
	}
	if (thread->young.n >= GRACE_BATCH)
		shift(thread);
}

static void drain(struct grace_thread *thread)
{
	CLEAVE_SECTION_THREAD *record = thread->record;
	struct cleave_domain *domain = record->thread.domain;

	for (int generation = 0; generation < 2; generation++) {
		if (!thread->old.n)
			shift(thread);
		domain->ops->wait(domain, &record->thread, thread->cookie);
		release(thread);
	}
}

static void detach(struct grace_thread *thread)
{
	CLEAVE_SECTION_THREAD *record = thread->record;

	drain(thread);
	cleave_section_unregister(record, domain_of(record));
	free(record);
}

const struct grace_calls grace_calls = { start, stop, attach, detach, settle, drain };
