#!/bin/sh
# SPDX-License-Identifier: ISC
# Does cleave-sim-orders find bugs in the liburcu port's grace periods, and in lookups that take a reference?
#	tests/sim/orders_planted.sh SOURCE_ROOT [NAME...]
# Environment: CC, EXECUTIONS (of each variant, random ones).
. "$(dirname "$0")/planting.sh"

# What was changed is compiled anew.  orders_port.c contains the port.
build() { # FILE...: the copy in $work/lib
	options='-DNDEBUG -DPORT_SPINS=2 -O2 -Dsyscall=sim_syscall -Dclock_gettime=sim_clock_gettime'
	mkdir -p "$work/objects" "$work/now"
	rm -f "$work"/now/*
	for source in "$work"/lib/*.c "$work"/lib/port/sim/*.c "$work/lib/port/user/user.c" \
		"$root"/tests/sim/orders*.c; do
		name=${source##*/}
		object=$work/objects/$name.o
		case $name in map*.c | anon*.c | fault*.c) continue ;; esac
		case " $* " in *" $name "*) object=$work/now/$name.o ;; esac
		[ $name != orders_port.c ] || object=$work/now/$name.o
		[ -e "$object" ] || compile $options -c -o "$object" "$source"
		[ -e "$work/now/$name.o" ] || cp "$object" "$work/now/$name.o"
	done
	compile -o "$work/sim" "$work"/now/*.o
}

# plant NAME SCENARIO FILE PERL: what the bug is called, what shows it, where, and how to make it
plant() {
	asked "$1" || return 0
	mutate "$1" "$3" "$4"
	build $files || exit 2
	status=0
	"$work/sim" --scenario "$2" --executions "${EXECUTIONS:-300000}" > "$work/out" || status=$?
	total=$(awk '$2 == "executions" { print $1 } / variants, / { print $3 }' "$work/out")
	what=$(sed -n 's/^FAILED: //p' "$work/out")
	report "$1"
}

plant barrier_left_out here port/urcu/here.c \
	's/ && flavour->barrier\(\) && all_outside\(urcu\) &&/ \&\& all_outside(urcu) \&\&/'
plant last_barrier_left_out here port/urcu/here.c 's/ &&\s+\(flavour->leave_releases \|\| flavour->barrier\(\)\)//'
plant looks_only_before here port/urcu/here.c \
	's/ && flavour->barrier\(\) && all_outside\(urcu\) &&/ \&\& flavour->barrier() \&\&/'
plant number_after_barrier here port/urcu/here.c \
	's/(last = urcu->begun, number) = cleave__urcu_begin\(urcu\);/$1;/; s/\turcu->begun = number;\n//;
		s/(\tover = all_outside\(urcu\) && flavour->barrier\(\)) && /
		$1;\n\tnumber = cleave__urcu_begin(urcu);\n\tover = over && /'
plant given_up_and_done here port/urcu/here.c 's/return over \? number : 0;/return number;/'
plant writers_not_asked writers port/urcu/here.c 's/return write && others;/return others;/'
plant changes_not_remembered writers port/urcu/here.c 's/\t\trecord->changes = changes;\n//'
plant changes_before_number writers port/urcu/here.c \
	's/(last = urcu->begun, number) = cleave__urcu_begin\(urcu\);/$1;
		\n\tbool write = others_write(urcu, own);/;
		s/(urcu->begun =) number;/$1 number = cleave__urcu_begin(urcu);/;
		s/if \(others_write\(urcu, own\)\)/if (write)/'
plant writers_end_what_they_begin writers port/urcu/here.c \
	's/(if \(others_write\(urcu, own\)\)\n\t\treturn) last;/$1 number;/'
plant writers_one_change writers port/urcu/here.c 's/(record->changes\)) >= 3/$1 >= 1/'
plant done_shrinks here port/urcu/period.h \
	's/\twhile \(done < number\)\n.*?\n\t\t\tbreak;\n
		/\tPORT_EXCHANGE(&urcu->done, number, PORT_SEQ_CST);\n\t(void)done;\n/s'
plant cookie_without_barrier here port/urcu/urcu.c \
	's/return cleave__load_behind_barrier\(&urcu->started\) \+ 1;/
		return PORT_LOAD(&urcu->started, PORT_RELAXED) + 1;/'
plant waiters_not_woken wait-here port/urcu/here.c \
	's/\t\tcleave__urcu_end\(urcu, number\);\n\treturn !for_worker;/
		\t\tPORT_STORE(&urcu->done, number, PORT_SEQ_CST);\n\treturn !for_worker;/'
plant alone_not_asked here port/urcu/here.c 's/if \(urcu->threads == own && !own->next\)/if (true)/'
plant alone_not_looked_at_own alone-here port/urcu/here.c 's/ && flavour->outside\(own->reader\)//'
plant alone_before_lock alone-here port/urcu/here.c \
	's/(\tif \(!cleave__user_trylock\(&urcu->lock\)\))/
		\tbool alone = urcu->threads == own && !own->next;\n$1/;
		s/if \(urcu->threads == own && !own->next\)/if (alone)/'
plant alone_number_after_lock alone-three port/urcu/here.c \
	's/\t\turcu->begun = cleave__urcu_begin\(urcu\);\n\t\treturn urcu->begun;/\t\treturn 1;/;
		s/\tif \(number\)\n\t\tcleave__urcu_end\(urcu, number\);\n(\treturn !for)/
		\tif (number)\n\t\tcleave__urcu_end(urcu, cleave__urcu_begin(urcu));\n$1/'
plant alone_not_quiescent alone-quiescent port/urcu/here.c \
	's/over = own->quiets != own->quiets_then \?/over = own->begun ?/'
plant alone_quiescent_before alone-quiescent port/urcu/here.c 's/\t\town->quiets_then = own->quiets;\n//'
plant alone_quiescent_ends_new alone-quiescent port/urcu/here.c \
	's/\treturn over;\n\}/\treturn over ? own->begun : 0;\n}/'
plant lock_not_heeded register-here port/urcu/here.c \
	's/if \(!(cleave__user_trylock\(&urcu->lock\))\)\n.*?\n/$1;\n/'
# Once refused is not gone: another may be there now.
plant reference_not_looked_up_again reference index.c 's/\t\tif \(value == before\) \{\n/\t\tif (true) {\n/'
plant reference_outside_section reference index.c \
	's/(\twhile \(\(value = index->search->lookup_rcu\(.*?\)\) && )!tryref\(value\)/
		$1(cleave__leave(index, self), cleave__enter(index, self), !tryref(value))/'
exit $missed
