/* SPDX-License-Identifier: ISC */
/*
 * cleave-sim-orders: memory orders under chosen schedules, stale reads included, with few accesses around each.  Thread
 * Sanitizer cannot see faults of theirs that are no data race.
 */
#include "orders.h"

int main(int argc, char **argv)
{
	static const struct scenario *const lists[] = { orders_port, orders_memb, orders_index, orders_guards };

	return orders_main(argc, argv, lists, sizeof(lists) / sizeof(lists[0]), 20000);
}
