/* SPDX-License-Identifier: ISC */
/* Types only: grace periods by number (grace.h). */
#ifndef CLEAVE_GRACE_TYPES_H
#define CLEAVE_GRACE_TYPES_H

#include <cleave/types.h>

#define CLEAVE__KERNEL_GARBAGE_LIMIT 16384 /* nodes; the default of a domain: 4 MiB of leaves */

struct cleave_grace {
	struct cleave_word started; /* [a] grace periods begun: all writers read it */
	uint64_t pad[7];
	struct cleave_word done; /* [a] the greatest number of one that ended */
	struct cleave_word
		wanted; /* [a] the newest cookie that somebody asked to be done; raised under the port's lock */
	uint64_t pad1[6];
};

#endif
