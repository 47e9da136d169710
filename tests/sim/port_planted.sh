#!/bin/sh
# SPDX-License-Identifier: ISC
# Does cleave-sim-orders find bugs in the liburcu port's grace periods?
#	tests/sim/port_planted.sh SOURCE_ROOT [NAME...]
# Environment: CC, EXECUTIONS (of each variant, random ones).
. "$(dirname "$0")/planting.sh"

# orders.c contains the port; all else is as it was.
build() {
	set -- -DNDEBUG -DPORT_SPINS=2 -O2
	if [ ! -d "$work/objects" ]; then
		mkdir "$work/objects"
		for source in "$work"/lib/*.c "$work"/lib/port/sim/*.c "$work/lib/port/user/user.c"; do
			case ${source##*/} in map*.c | anon*.c | fault*.c) continue ;; esac
			compile "$@" -Dsyscall=sim_syscall -c -o "$work/objects/${source##*/}.o" "$source"
		done
	fi
	compile "$@" -Dclock_gettime=sim_clock_gettime -o "$work/sim" "$root/tests/sim/orders.c" "$work"/objects/*.o
}

# plant NAME PERL: what the bug is called, and how to make it
plant() {
	asked "$1" || return 0
	mutate "$1" port/urcu/urcu.c "$2"
	build || exit 2
	status=0
	"$work/sim" --scenario here --executions "${EXECUTIONS:-100000}" > "$work/out" || status=$?
	total=$(awk '$2 == "executions" { print $1 } / variants, / { print $3 }' "$work/out")
	what=$(sed -n 's/^FAILED: //p' "$work/out")
	report "$1"
}

plant barrier_left_out 's/flavour->barrier\(\) && all_outside\(urcu\) && /all_outside(urcu) \&\& /'
plant last_barrier_left_out 's/ && \(flavour->leave_releases \|\| flavour->barrier\(\)\)//'
plant looks_only_before 's/flavour->barrier\(\) && all_outside\(urcu\) && /flavour->barrier() \&\& /'
plant number_after_barrier \
	's/(\t\tnumber = begin\(urcu\);\n)\t\tover = (flavour->barrier\(\)) && (.*?;\n)/\t\tover = $2;\n$1\t\tover = over \&\& $3/s'
plant given_up_and_done 's/\tif \(over\) \{\n/\tif (number) {\n/'
exit $missed
