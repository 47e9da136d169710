#!/bin/sh
# SPDX-License-Identifier: ISC
# Does dfs leave out only what it has seen?  With and without the reduction the same number of classes must be found.
#	tests/sim/reduction.sh CLEAVE_SIM
set -eu

explore() { # SCENARIO [--whole]: classes, and how many spaces were finished
	"$sim" --strategy dfs --preemptions 2 --executions 100000000 --scenario "$@" |
		awk '$1 == "total" { print $5, $9, $10, $11 }'
}

sim=$1
status=0
for scenario in pair/clip/clip pair/clip/erase pair/insert/alloc bound_late_cover words_recur_replace; do
	reduced=$(explore $scenario)
	whole=$(explore $scenario --whole)
	echo "$scenario: $reduced with, $whole without"
	[ -n "$whole" ] && [ "$reduced" = "$whole" ] || status=1
done
exit $status
