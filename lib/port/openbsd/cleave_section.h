/* SPDX-License-Identifier: ISC */
/*
 * Read sections, a domain and memory for nodes in the OpenBSD kernel: what <cleave/section.h> is in userspace.
 *
 *	smr_read_enter(), smr_read_leave()	a section; cleave_section_enter() and leave() are the same.  They nest,
 *						and are everybody's: a section that was entered for another structure
 *						protects this one, too.  Nobody sleeps in them.
 *	struct cleave_openbsd			a domain; its member `domain` is the struct cleave_domain
 *	struct cleave_openbsd_thread		a thread's record, for changes; lookups need none.  Its member `thread`
 *						is the struct cleave_thread.  One for each struct proc that changes
 *						something, or one for each operation under way, from a pool(9)
 *	struct cleave_openbsd_memory		pool(9) and malloc(9), for any number of domains
 *
 * All of it in process context, outside of sections but for enter and leave, and without a mutex(9) held.
 */
#ifndef CLEAVE_SECTION_H
#define CLEAVE_SECTION_H

#include <sys/param.h>
#include <sys/mutex.h>
#include <sys/pool.h>
#include <sys/smr.h>

#include <cleave/cleave.h>

#include "../kernel/grace_types.h"

#define CLEAVE_OPENBSD_POOLS 8 /* of items of 64 to 512 bytes */

struct cleave_openbsd_memory {
	struct cleave_memory memory;
	bool wait; /* [I] */
	struct pool pools[CLEAVE_OPENBSD_POOLS];
};

/*
 * wait: sleep until there is memory.  Else calls fail with -ENOMEM: for an index on whose locks the pagedaemon, or
 * somebody else who frees memory, may wait.
 */
void cleave_openbsd_memory_init(struct cleave_openbsd_memory *memory, bool wait);
/* All that was allocated has been freed: after the domains' ends. */
void cleave_openbsd_memory_destroy(struct cleave_openbsd_memory *memory);

/* The members are the port's.  [l] under `lock`. */
struct cleave_openbsd {
	struct cleave_domain domain;
	struct cleave_grace grace;
	struct mutex parking; /* around the look at a count and the sleep; nothing is locked inside it */
	struct mutex lock;
	struct smr_entry entry; /* of the grace period under way */
	uint64_t running;	/* [l] its number; 0: there is none */
	bool stopping;		/* [l] somebody sleeps on `running` */
};

struct cleave_openbsd_thread {
	struct cleave_thread thread;
};

/* garbage_limit: nodes above which an update waits for a grace period; 0 for 16384. */
void cleave_openbsd_start(struct cleave_openbsd *domain, const struct cleave_memory *memory, uint64_t garbage_limit);
/* No record, no index, no reader is left.  Sleeps until the last callback has returned. */
void cleave_openbsd_stop(struct cleave_openbsd *domain);

void cleave_openbsd_register(struct cleave_openbsd_thread *record, struct cleave_openbsd *domain);
void cleave_openbsd_unregister(struct cleave_openbsd_thread *record, struct cleave_openbsd *domain);

#define CLEAVE_SECTION_DOMAIN struct cleave_openbsd
#define CLEAVE_SECTION_THREAD struct cleave_openbsd_thread
#define cleave_section_start cleave_openbsd_start
#define cleave_section_stop cleave_openbsd_stop
#define cleave_section_register cleave_openbsd_register
#define cleave_section_unregister cleave_openbsd_unregister

static inline void cleave_section_enter(CLEAVE_SECTION_THREAD *record)
{
	(void)record;
	smr_read_enter();
}

static inline void cleave_section_leave(CLEAVE_SECTION_THREAD *record)
{
	(void)record;
	smr_read_leave();
}

#endif
