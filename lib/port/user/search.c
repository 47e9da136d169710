/* SPDX-License-Identifier: ISC */
/* Userspace: which walk this processor gets.  The build names the variants that exist (CLEAVE_SEARCH_...). */
#include "variants.h"

#include <string.h>

#ifdef CLEAVE_SEARCH_LIVE
extern const struct cleave__search cleave__search_live;
#else
extern const struct cleave__search cleave__search_scalar;
#endif
#ifdef CLEAVE_SEARCH_AVX2
extern const struct cleave__search cleave__search_avx2;
#endif
#ifdef CLEAVE_SEARCH_AVX512
extern const struct cleave__search cleave__search_avx512;
#endif

static bool wanted(const char *name, const char *variant)
{
	return !name || strcmp(name, variant) == 0;
}

const struct cleave__search *cleave__search_for(const char *name, unsigned int features)
{
	(void)features;
#ifdef CLEAVE_SEARCH_AVX512
	if (wanted(name, "avx512") && (features & CLEAVE__FOR_AVX512) == CLEAVE__FOR_AVX512)
		return &cleave__search_avx512;
#endif
#ifdef CLEAVE_SEARCH_AVX2
	if (wanted(name, "avx2") && (features & CLEAVE__FOR_AVX2) == CLEAVE__FOR_AVX2)
		return &cleave__search_avx2;
#endif
#ifdef CLEAVE_SEARCH_LIVE
	if (wanted(name, "live"))
		return &cleave__search_live;
#else
	if (wanted(name, "scalar"))
		return &cleave__search_scalar;
#endif
	return NULL;
}

#if defined(CLEAVE_SEARCH_AVX2) || defined(CLEAVE_SEARCH_AVX512)
#define HAS(name, feature) ((__builtin_cpu_supports(name) != 0) * (feature))

static unsigned int features_here(void)
{
	return HAS("avx2", CLEAVE__AVX2) | HAS("bmi", CLEAVE__BMI) | HAS("bmi2", CLEAVE__BMI2) |
	       HAS("avx512f", CLEAVE__AVX512F) | HAS("avx512vl", CLEAVE__AVX512VL) | HAS("avx512bw", CLEAVE__AVX512BW) |
	       HAS("avx512dq", CLEAVE__AVX512DQ);
}
#else
static unsigned int features_here(void)
{
	return 0;
}
#endif

const struct cleave__search *cleave_search_named(const char *name)
{
	return cleave__search_for(name, features_here());
}
