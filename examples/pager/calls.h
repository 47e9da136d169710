/* SPDX-License-Identifier: ISC */
/* What the calls that change an address space have in common (calls.c, move.c). */
#ifndef PAGER_CALLS_H
#define PAGER_CALLS_H

#include "pager.h"

/* A trapped call. */
struct request {
	struct process *process;
	struct pager_slot *slot;
	long number;
	uint64_t argument[6]; /* changed before the call is made, where it must be */
};

/* Let the thread make the call. */
long make(const struct request *request);

bool inside(uint64_t start, uint64_t length);
bool touches_agent(uint64_t start, uint64_t end);

/* A change of the engine's, announced to the reader: what the kernel does to the range meanwhile is expected. */
struct change {
	struct process *process;
	unsigned int place;
};

void change_begin(const struct request *request, struct change *change, uint64_t start, uint64_t end);
void change_abort(struct change *change);
void change_publish(struct change *change); /* the engine's end() follows */
void change_commit(struct change *change);

void register_paged(struct process *process, uint64_t start, uint64_t end);
bool is_free(uint64_t start, uint64_t end, bool paged);
int stage_map(uint64_t start, uint64_t end, bool paged, unsigned int protection, unsigned int inheritance);
/* The same, private and paged like `last`, which it continues. */
int stage_growth(uint64_t start, uint64_t end, const struct mapping *last);
void read_back(const struct request *request, uint64_t start, uint64_t end);

long call_mremap(struct request *request);
long call_brk(struct request *request);

#endif
