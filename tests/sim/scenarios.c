/* SPDX-License-Identifier: ISC */
#include "scenarios.h"

#include "drawn.h"
#include "histories.h"

#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- Pairs and triples of calls: what a kind does at a place ---- */

static bool reads(enum kind kind)
{
	return kind <= FIND && kind != FREEZE && kind != DUPLICATE; /* these two lock */
}

/* place 0: the entry or the gap itself; 1: beside it */
static struct call call_at(enum kind kind, const struct shape *s, unsigned int place, unsigned int thread)
{
	struct call call = { .kind = kind };
	uint8_t first = place ? s->c : s->a, last = place ? s->d : s->b;
	uint8_t value = (uint8_t)(5 + 3 * thread);

	switch (kind) {
	case LOOKUP:
	case TICKET:
		call.first = call.last = (uint8_t)(first + 1);
		break;
	case MANY:
	case LOOK_RANGE:
		call.n = 3;
		/* fall through */
	case COVERS:
	case COVERS_SLOWLY:
		call.first = s->a;
		call.last = place && s->g > s->d ? s->g : s->d;
		break;
	case NEXT:
	case NEXT_ENTRY:
		call.first = call.last = first;
		call.n = 3;
		break;
	case FREEZE:
	case DUPLICATE:
		break;
	case PREVIOUS:
	case PREVIOUS_ENTRY:
		call.first = call.last = (uint8_t)(last + 1);
		call.n = 3;
		break;
	case CLIP:
	case TRY_CLIP:
		call.first = call.last = (uint8_t)(first + 2);
		break;
	case UNCLIP:
		call.first = call.last = place ? (uint8_t)(s->d + 1) : s->c;
		break;
	case INSERT:
		call.first = (uint8_t)(s->g + 2 * place);
		call.last = (uint8_t)(call.first + 1);
		call.value = value;
		break;
	case STORE:
	case TRY_STORE:
		call.first = (uint8_t)(first + 1);
		call.last = place ? last : (uint8_t)(s->c + 1);
		call.value = value;
		break;
	case HOLD:
		call.first = (uint8_t)(first + 1);
		call.last = place ? last : (uint8_t)(first + 1);
		call.value = value;
		break;
	case ERASE:
		call.first = first;
		call.last = last;
		break;
	case REPLACE:
	case TRY_REPLACE:
		call.first = first;
		call.last = last;
		call.value = place ? s->w : s->v;
		if (!call.value)
			call.value = 1;
		call.value2 = value;
		break;
	case BUILD:
		call.first = first;
		call.last = last;
		call.value = value;
		break;
	case FIND:
	case ALLOC:
		call.first = place ? 0 : s->g;
		call.last = place ? 62 : s->h;
		call.n = place ? 3 : 2;
		call.order = place ? CLEAVE_HIGHEST : CLEAVE_LOWEST;
		call.value = (uint8_t)(value + 1);
		break;
	case COMMIT:
	case ABORT:
	case PUBLISH:
	case TRY_COMMIT:
		call.first = place ? s->c : (uint8_t)(s->a + 1);
		call.last = place ? s->d : s->b;
		call.value = value;
		if (!place) {
			call.first2 = call.last2 = s->c;
			call.value2 = 0;
		}
		break;
	case KINDS:
		break;
	}
	return call;
}

static unsigned int pairs[KINDS * KINDS][2];
static unsigned int npairs;

static const enum kind triples[][3] = {
	{ CLIP, ERASE, LOOKUP },      { CLIP, ERASE, NEXT },	       { STORE, ERASE, PREVIOUS },
	{ ALLOC, ERASE, ALLOC },      { INSERT, ERASE, FIND },	       { COMMIT, LOOKUP, COMMIT },
	{ PUBLISH, TICKET, CLIP },    { CLIP, UNCLIP, COVERS },	       { CLIP, CLIP, CLIP },
	{ ERASE, ERASE, INSERT },     { COMMIT, CLIP, COVERS_SLOWLY }, { ALLOC, ALLOC, ERASE },
	{ REPLACE, REPLACE, TICKET }, { TRY_CLIP, ERASE, NEXT },       { TRY_STORE, COMMIT, CLIP },
	{ ERASE, ERASE, ERASE },      { ERASE, CLIP, DUPLICATE },      { STORE, ERASE, FREEZE },
	{ ERASE, INSERT, NEXT_ENTRY },	      { HOLD, HOLD, COVERS },	       { HOLD, ERASE, TICKET },
	{ HOLD, COMMIT, CLIP },	      { MANY, CLIP, ERASE },	       { MANY, COMMIT, STORE },
	{ MANY, HOLD, UNCLIP },	      { LOOK_RANGE, CLIP, ERASE },     { LOOK_RANGE, COMMIT, STORE },
};

static void list_pairs(void)
{
	if (npairs > 0)
		return;
	for (unsigned int i = 0; i < KINDS; i++)
		for (unsigned int j = i; j < KINDS; j++)
			if (!reads(i) || !reads(j)) {
				pairs[npairs][0] = i;
				pairs[npairs++][1] = j;
			}
}
#define TRIPLES ((unsigned int)COUNT(triples))

unsigned int scenario_count(void)
{
	list_pairs();
	return nhistories + npairs + TRIPLES + 1;
}

const char *scenario_name(unsigned int i)
{
	static char name[96];

	list_pairs();
	if (i < nhistories)
		return histories[i].name;
	i -= nhistories;
	if (i < npairs)
		snprintf(name, sizeof(name), "pair/%s/%s", kind_names[pairs[i][0]], kind_names[pairs[i][1]]);
	else if (i < npairs + TRIPLES)
		snprintf(name, sizeof(name), "triple/%s/%s/%s", kind_names[triples[i - npairs][0]],
			 kind_names[triples[i - npairs][1]], kind_names[triples[i - npairs][2]]);
	else
		return "drawn";
	return name;
}

/* Pairs and triples: each shape, all at one place or beside each other. */
unsigned int scenario_variants(unsigned int i)
{
	list_pairs();
	if (i == nhistories + npairs + TRIPLES)
		return DRAWN;
	return i < nhistories ? 1 : 2 * nshapes;
}

void scenario_variant(unsigned int i, unsigned int number, struct variant *variant)
{
	unsigned int kinds[3];

	list_pairs();
	if (i < nhistories) {
		*variant = histories[i].variant;
		variant->shape = &shapes[histories[i].shape];
		return;
	}
	i -= nhistories;
	if (i == npairs + TRIPLES) {
		drawn_variant(number, variant);
		return;
	}
	memset(variant, 0, sizeof(*variant));
	variant->shape = &shapes[number / 2];
	variant->nthreads = i < npairs ? 2 : 3;
	variant->asks = variant->nthreads == 3;
	for (unsigned int t = 0; t < variant->nthreads; t++) {
		kinds[t] = i < npairs ? pairs[i][t] : (unsigned int)triples[i - npairs][t];
		variant->calls[t][0] = call_at(kinds[t], variant->shape, number % 2 ? t % 2 : 0, t);
		variant->ncalls[t] = 1;
	}
}
