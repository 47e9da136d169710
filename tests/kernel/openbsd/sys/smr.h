/* SPDX-License-Identifier: ISC */
/* Stands for <sys/smr.h> of OpenBSD: smr_call(9). */
#ifndef STUB_SYS_SMR_H
#define STUB_SYS_SMR_H

struct smr_entry {
	struct smr_entry *next;
	void (*function)(void *);
	void *argument;
	unsigned long mark; /* of what it waits for */
};

void smr_read_enter(void);
void smr_read_leave(void);
void smr_init(struct smr_entry *);
void smr_call(struct smr_entry *, void (*)(void *), void *);
void smr_barrier(void);
void smr_flush(void);

#endif
