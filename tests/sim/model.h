/* SPDX-License-Identifier: ISC */
/*
 * What an execution is judged by: its calls, their answers, and a sequential model of the index over 64 addresses, of
 * which the last stands for all above 62.
 */
#ifndef CLEAVE_SIM_MODEL_H
#define CLEAVE_SIM_MODEL_H

#include <cleave/cleave.h>

#define UNITS 64u
#define MAX_ENTRIES UNITS
#define MAX_ITEMS 32u

enum kind {
	LOOKUP,
	TICKET, /* lookup, then: still so? */
	MANY,	/* n lookups at once, spread over the range */
	COVERS, /* by entries; with a value: by whatever is not of that value, gaps too */
	COVERS_SLOWLY, /* the form that may lock */
	NEXT,
	PREVIOUS,
	NEXT_ENTRY, /* gaps skipped */
	PREVIOUS_ENTRY,
	LOOK_RANGE, /* up to n entries of the range at once; n even: gaps too */
	FREEZE, /* as around fork(): all locks, everything read twice */
	DUPLICATE,
	FIND,
	CLIP,
	UNCLIP,
	INSERT,
	STORE,
	ERASE,
	REPLACE,
	ALLOC,
	HOLD, /* give the part of the entry that holds `first`, up to `last`, the value */
	BUILD, /* two entries of one address, at `first` and `last` */
	COMMIT,
	ABORT,
	PUBLISH, /* publish, look, end */
	TRY_CLIP,
	TRY_STORE,
	TRY_REPLACE,
	TRY_COMMIT, /* begun inside a section */
	KINDS,
};

extern const char *const kind_names[KINDS];

struct call {
	enum kind kind;
	uint8_t first; /* the range; 63 is the highest address */
	uint8_t last;
	uint8_t value;
	uint8_t first2; /* second put of a transaction, if last2 > 0 */
	uint8_t last2;
	uint8_t value2;
	uint8_t n; /* visits; lookups; size of a request */
	enum cleave_order order;
	uint8_t hint;
};

struct answer {
	int error;
	unsigned int n, ndisplaced;
	bool valid;
	uint64_t addr;
	struct cleave_entry entries[MAX_ENTRIES];
	struct cleave_entry displaced[MAX_ENTRIES];
};

/* A call, or a part of one that has an instant of its own. */
struct item {
	const struct call *call; /* NULL: the whole index, at the end */
	const struct answer *answer;
	unsigned int part;
	uint32_t before;     /* items that must come first */
	unsigned int search; /* number of a search that is going on */
};

struct model {
	uint8_t value[UNITS];
	uint64_t starts;  /* of entries and of gaps */
	uint64_t free[4]; /* of each search that goes on: free all the time since it began */
	uint32_t searching;
};

#define VALUE(v) ((void *)(uintptr_t)((v)*16u))

static inline uint64_t address(unsigned int unit)
{
	return unit == UNITS - 1 ? UINT64_MAX : unit;
}

/* The i-th address of MANY. */
unsigned int many_unit(const struct call *call, unsigned int i);

/* Is this one of the entries that COVERS asks for? */
bool model_covers(const struct call *call, const struct cleave_entry *entry);

void model_init(struct model *model);
void model_put(struct model *model, unsigned int first, unsigned int last, unsigned int value);
void model_entry(const struct model *model, unsigned int unit, struct cleave_entry *entry);

/* Is there an order of the items that the model agrees with? */
bool linearizable(const struct model *start, const struct item *items, unsigned int n);

#endif
