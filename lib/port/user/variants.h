/* SPDX-License-Identifier: ISC */
/* Variants of the walk, and what each needs of a processor. */
#ifndef CLEAVE_VARIANTS_H
#define CLEAVE_VARIANTS_H

#include "../../walk.h"

#define CLEAVE__AVX2 0x01u
#define CLEAVE__BMI 0x02u
#define CLEAVE__BMI2 0x04u
#define CLEAVE__AVX512F 0x08u
#define CLEAVE__AVX512VL 0x10u
#define CLEAVE__AVX512BW 0x20u
#define CLEAVE__AVX512DQ 0x40u

#define CLEAVE__FOR_AVX2 (CLEAVE__AVX2 | CLEAVE__BMI | CLEAVE__BMI2)
#define CLEAVE__FOR_AVX512                                                                               \
	(CLEAVE__AVX512F | CLEAVE__AVX512VL | CLEAVE__AVX512BW | CLEAVE__AVX512DQ | CLEAVE__BMI | CLEAVE__BMI2)

/* The best variant of that name (NULL: of any) for a processor with these features; NULL: none. */
const struct cleave__search *cleave__search_for(const char *name, unsigned int features);

#endif
