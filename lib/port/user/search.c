/* SPDX-License-Identifier: ISC */
/* Userspace: which walk this processor gets.  The build names the variants that exist (CLEAVE_SEARCH_...). */
#include "../../walk.h"

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

const struct cleave__search *cleave_search_named(const char *name)
{
#ifdef CLEAVE_SEARCH_AVX512
	if (wanted(name, "avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi") &&
	    __builtin_cpu_supports("bmi2"))
		return &cleave__search_avx512;
#endif
#ifdef CLEAVE_SEARCH_AVX2
	if (wanted(name, "avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
	    __builtin_cpu_supports("bmi2"))
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
