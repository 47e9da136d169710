/* SPDX-License-Identifier: ISC */
#include "anon_node.h"

bool cleave__anon_seal_locked(struct cleave__anon_node *node)
{
	unsigned int i;

	/*
	 * Each slot is either filled first, and then we fail, or sealed first, and then who fills it does.  A seal says
	 * nothing of other words: no order.
	 */
	for (i = 0; i < CLEAVE__ANON_FANOUT; i++) {
		uint64_t seen = 0;

		if (!PORT_CAS(&node->slot[i], &seen, CLEAVE__ANON_SEALED, PORT_RELAXED, PORT_RELAXED))
			break;
	}
	if (i == CLEAVE__ANON_FANOUT)
		return true;
	/* Only who holds the parent's lock seals or unseals. */
	while (i-- > 0)
		PORT_STORE(&node->slot[i], 0, PORT_RELAXED);
	return false;
}
