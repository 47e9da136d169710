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

# plant NAME SCENARIO PERL: what the bug is called, what shows it, and how to make it
plant() {
	asked "$1" || return 0
	mutate "$1" port/urcu/urcu.c "$3"
	build || exit 2
	status=0
	"$work/sim" --scenario "$2" --executions "${EXECUTIONS:-100000}" > "$work/out" || status=$?
	total=$(awk '$2 == "executions" { print $1 } / variants, / { print $3 }' "$work/out")
	what=$(sed -n 's/^FAILED: //p' "$work/out")
	report "$1"
}

plant barrier_left_out here 's/flavour->barrier\(\) && all_outside\(urcu\) && /all_outside(urcu) \&\& /'
plant last_barrier_left_out here 's/ && \(flavour->leave_releases \|\| flavour->barrier\(\)\)//'
plant looks_only_before here 's/flavour->barrier\(\) && all_outside\(urcu\) && /flavour->barrier() \&\& /'
plant number_after_barrier here \
	's/(\t\tnumber = begin\(urcu\);\n)\t\tover = (flavour->barrier\(\)) && (.*?;\n)/
		\t\tover = $2;\n$1\t\tover = over \&\& $3/s'
plant given_up_and_done here 's/\tif \(over\) \{\n/\tif (number) {\n/'
plant done_shrinks here \
	's/\twhile \(done < number\)\n.*?\n\t\t\tbreak;\n
		/\tPORT_EXCHANGE(&urcu->done, number, PORT_SEQ_CST);\n\t(void)done;\n/s'
plant cookie_without_barrier here \
	's/return cleave__load_behind_barrier\(&urcu->started\) \+ 1;/
		return PORT_LOAD(&urcu->started, PORT_RELAXED) + 1;/'
plant waiters_not_woken wait-here \
	's/(\t\tpause_after\(urcu, began\);\n)\t\tend\(urcu, number\);/
		$1\t\tPORT_STORE(&urcu->done, number, PORT_SEQ_CST);/'
plant lock_not_heeded register-here \
	's/if \(!(cleave__user_trylock\(&urcu->lock\))\)\n.*?\n/$1;\n/'
exit $missed
