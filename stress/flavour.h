/* SPDX-License-Identifier: ISC */
/*
 * The flavours of RCU behind one table, so that everything else is compiled once and --flavour chooses.
 * flavour.c is compiled for each of them.
 */
#ifndef STRESS_FLAVOUR_H
#define STRESS_FLAVOUR_H

#include <cleave/cleave.h>

struct flavour {
	const char *name;
	size_t domain_size;
	size_t thread_size;
	int (*start)(void *domain, const struct cleave_memory *memory, uint64_t garbage_limit);
	void (*stop)(void *domain);
	struct cleave_domain *(*domain)(void *domain);
	struct cleave_thread *(*thread)(void *record);
	void (*attach)(void *record, void *domain);
	void (*detach)(void *record, void *domain);
	void (*enter)(void *record);
	void (*leave)(void *record);
	void (*quiescent)(void *record);
	void (*offline)(void); /* before the thread sleeps for something that is no business of the library */
	void (*online)(void);
};

/* Those of this build; the last is NULL. */
extern const struct flavour *const flavours[];

#endif
