/* SPDX-License-Identifier: ISC */
/* Stands for <sys/smr.h> of FreeBSD: smr(9), and smr_create() with the arguments that it has had since 13.0. */
#ifndef STUB_SYS_SMR_H
#define STUB_SYS_SMR_H

#include <sys/types.h>

#if !defined(STUB_SYS_SYSTM_H) || !defined(STUB_SYS_PROC_H)
#error "sections are inline functions there, of what <sys/systm.h> and <sys/proc.h> have"
#endif

struct smr;

typedef uint32_t smr_seq_t;
typedef struct smr *smr_t;

smr_t smr_create(const char *, int, int);
void smr_destroy(smr_t);
void smr_enter(smr_t);
void smr_exit(smr_t);
smr_seq_t smr_advance(smr_t);
bool smr_poll(smr_t, smr_seq_t, bool);
void smr_synchronize(smr_t);

#endif
