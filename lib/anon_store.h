/* SPDX-License-Identifier: ISC */
/* Life of stores, for clones and walks. */
#ifndef CLEAVE_ANON_STORE_H
#define CLEAVE_ANON_STORE_H

#include "anon_path.h"

#define CLEAVE__ANON_PIN (UINT64_C(1) << 32)
#define CLEAVE__ANON_SHARED (UINT64_C(1) << 63)
#define CLEAVE__ANON_REFERENCES (CLEAVE__ANON_PIN - 1)

/* Generations are odd and never given out twice. */
static inline uint64_t cleave__anon_generation(struct cleave_anon_domain *domain)
{
	return PORT_FETCH_ADD(&domain->generation, 2, PORT_RELAXED) + 2;
}

/* A store that is not yet registered.  NULL: no memory. */
struct cleave_anon *cleave__anon_make(struct cleave_anon_context *context, uint64_t nslots);
/* Free it again. */
void cleave__anon_unmake(struct cleave_anon_context *context, struct cleave_anon *store);

/* Put it at the tail of the domain's list: a walk that began before comes to it. */
void cleave__anon_register(struct cleave_anon_context *context, struct cleave_anon *store);

/* Drop references and pins. */
void cleave__anon_put(struct cleave_anon_context *context, struct cleave_anon *store, uint64_t user);

/* With the domain locked: false if it is on its way out. */
bool cleave__anon_pin_store(struct cleave_anon *store);

/* The store after this one (NULL: the first), pinned, and this one unpinned.  NULL: none. */
struct cleave_anon *cleave__anon_next_store(struct cleave_anon_context *context, struct cleave_anon *store);

#endif
