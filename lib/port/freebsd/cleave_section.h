/* SPDX-License-Identifier: ISC */
/*
 * Read sections, a domain and memory for nodes in the FreeBSD kernel: what <cleave/section.h> is in userspace.
 *
 *	cleave_section_enter(), leave()		a section: smr_enter() and smr_exit() of the domain's smr_t.  They do
 *						not nest; the thread stays on its processor, and takes no mutex(9) that
 *						may block.
 *	struct cleave_freebsd			a domain; its member `domain` is the struct cleave_domain
 *	struct cleave_freebsd_thread		a thread's record, for changes; its member `thread` is the struct
 *						cleave_thread.  One for each struct thread that changes something, or
 *						one for each operation under way
 *	struct cleave_freebsd_memory		uma(9) and malloc(9), for any number of domains
 *
 * All of it in thread context, outside of sections but for enter and leave, and without a mutex(9) held.
 */
#ifndef CLEAVE_SECTION_H
#define CLEAVE_SECTION_H

#include <sys/param.h>
#include <sys/systm.h>
#include <sys/lock.h>
#include <sys/mutex.h>
#include <sys/proc.h>
#include <sys/smr.h>

#include <vm/uma.h>

#include <cleave/cleave.h>

#include "../kernel/grace_types.h"

#define CLEAVE_FREEBSD_ZONES 8 /* of items of 64 to 512 bytes */

struct cleave_freebsd_memory {
	struct cleave_memory memory;
	bool wait; /* [I] */
	uma_zone_t zones[CLEAVE_FREEBSD_ZONES];
};

/*
 * wait: sleep until there is memory.  Else calls fail with -ENOMEM: for an index on whose locks the page daemon, or
 * somebody else who frees memory, may wait.
 */
void cleave_freebsd_memory_init(struct cleave_freebsd_memory *memory, bool wait);
/* All that was allocated has been freed: after the domains' ends. */
void cleave_freebsd_memory_destroy(struct cleave_freebsd_memory *memory);

/* The members are the port's.  [l] under `lock`. */
struct cleave_freebsd {
	struct cleave_domain domain;
	struct cleave_grace grace;
	smr_t smr; /* [I] */
	struct mtx lock;
	uint64_t running; /* [l] the number of the grace period under way; 0: there is none */
	smr_seq_t goal;	  /* [l] its end */
};

struct cleave_freebsd_thread {
	struct cleave_thread thread;
	smr_t smr; /* [I] the domain's */
};

/* garbage_limit: nodes above which an update waits for a grace period; 0 for 16384. */
void cleave_freebsd_start(struct cleave_freebsd *domain, const struct cleave_memory *memory, uint64_t garbage_limit);
/* No record, no index, no reader is left. */
void cleave_freebsd_stop(struct cleave_freebsd *domain);

void cleave_freebsd_register(struct cleave_freebsd_thread *record, struct cleave_freebsd *domain);
void cleave_freebsd_unregister(struct cleave_freebsd_thread *record, struct cleave_freebsd *domain);

#define CLEAVE_SECTION_DOMAIN struct cleave_freebsd
#define CLEAVE_SECTION_THREAD struct cleave_freebsd_thread
#define cleave_section_start cleave_freebsd_start
#define cleave_section_stop cleave_freebsd_stop
#define cleave_section_register cleave_freebsd_register
#define cleave_section_unregister cleave_freebsd_unregister

static inline void cleave_section_enter(CLEAVE_SECTION_THREAD *record)
{
	smr_enter(record->smr);
}

static inline void cleave_section_leave(CLEAVE_SECTION_THREAD *record)
{
	smr_exit(record->smr);
}

#endif
