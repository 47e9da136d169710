/* SPDX-License-Identifier: ISC */
#include "flavour.h"

#ifdef STRESS_MEMB
extern const struct flavour stress_memb;
#endif
#ifdef STRESS_QSBR
extern const struct flavour stress_qsbr;
#endif
#ifdef STRESS_BP
extern const struct flavour stress_bp;
#endif
#ifdef STRESS_CK
extern const struct flavour stress_ck;
#endif

const struct flavour *const flavours[] = {
#ifdef STRESS_MEMB
	&stress_memb,
#endif
#ifdef STRESS_QSBR
	&stress_qsbr,
#endif
#ifdef STRESS_BP
	&stress_bp,
#endif
#ifdef STRESS_CK
	&stress_ck,
#endif
	NULL,
};
