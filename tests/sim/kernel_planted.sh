#!/bin/sh
# SPDX-License-Identifier: ISC
# Do cleave-sim-openbsd, -freebsd and -linux find bugs in the grace periods of the ports to kernels?
#	tests/sim/kernel_planted.sh SOURCE_ROOT [NAME...]
# Environment: CC, EXECUTIONS (of each variant, random ones).
. "$(dirname "$0")/planting.sh"

# With each bug only what includes what was changed is compiled.
build() { # KERNEL
	mkdir -p "$work/objects" "$work/$1"
	for source in "$work"/lib/*.c "$work"/lib/port/sim/*.c "$root/tests/sim/orders_run.c"; do
		name=${source##*/}
		case $name in map*.c | anon*.c | fault*.c) continue ;; esac
		[ -e "$work/objects/$name.o" ] || compile -DNDEBUG -O2 -c -o "$work/objects/$name.o" "$source"
	done
	for name in kernel_$1 kernel_barrier kernel_grace; do
		case $name in kernel_grace) [ ! -e "$work/$1/$name.o" ] || continue ;; esac
		${CC:-cc} -std=gnu11 -O2 -DNDEBUG -nostdinc -ffreestanding -ffunction-sections -U__linux__ \
			-I"$work/lib/port/$1/std" -I"$root/tests/sim/libc" -I"$root/tests/kernel/$1" -I"$root/include" \
			-I"$work/lib" -I"$work/lib/port/sim" -I"$work/lib/port/$1" \
			-c -o "$work/$1/$name.o" "$root/tests/sim/$name.c"
	done
	${CC:-cc} -Wl,--gc-sections -o "$work/sim" "$work/$1"/*.o "$work"/objects/*.o
}

# plant NAME KERNEL SCENARIO FILE PERL
plant() {
	asked "$1" || return 0
	mutate "$1" "$4" "$5"
	build "$2" || exit 2
	status=0
	"$work/sim" --scenario "$3" --executions "${EXECUTIONS:-5000}" > "$work/out" || status=$?
	total=$(awk '$2 == "executions" { print $1 } / variants, / { print $3 }' "$work/out")
	what=$(sed -n 's/^FAILED: //p' "$work/out")
	report "$1"
}

grace=port/kernel/grace.h
# The cookie, each of the three.
plant cookie_orders_nothing linux grace $grace 's/(FETCH_ADD\(&grace->started, 0, )PORT_RELEASE/$1PORT_RELAXED/'
plant cookie_of_pending openbsd grace $grace 's/(FETCH_ADD\(&grace->started, 0, PORT_RELEASE\)) \+ 1/$1/'
plant cookie_without_barrier openbsd barrier $grace 's/\tCLEAVE__FULL_BARRIER\(\);\n//'
plant cookie_before_barrier linux barrier $grace \
	's/\tCLEAVE__FULL_BARRIER\(\);\n\t(return) (PORT_LOAD\(&grace->started, PORT_SEQ_CST\) \+ 1);/
		\tuint64_t cookie = $2;\n\tCLEAVE__FULL_BARRIER();\n\t$1 cookie;/'
plant cookie_behind_barrier_of_pending openbsd barrier $grace \
	's/(BARRIER\(\);\n\treturn PORT_LOAD\(&grace->started, PORT_SEQ_CST\)) \+ 1/$1/'
plant cookie_behind_barrier_too_late linux barrier $grace \
	's/(BARRIER\(\);\n\treturn PORT_LOAD\(&grace->started, PORT_SEQ_CST\)) \+ 1/$1 + 2/'
plant cookie_stored_acquires linux grace $grace \
	's/(grace_cookie_stored\(.*?\n\{\n\treturn PORT_LOAD\(&grace->started, )PORT_SEQ_CST/$1PORT_ACQUIRE/'
plant cookie_stored_of_pending freebsd grace $grace \
	's/(grace_cookie_stored\(.*?\n\{\n\treturn PORT_LOAD\(&grace->started, PORT_SEQ_CST\)) \+ 1/$1/'
plant cookie_too_late openbsd grace $grace 's/(FETCH_ADD\(&grace->started, 0, PORT_RELEASE\)) \+ 1/$1 + 2/'
# What is done.
plant done_orders_nothing freebsd grace $grace 's/(LOAD\(&grace->done, )PORT_ACQUIRE/$1PORT_RELAXED/'
plant done_one_early linux grace $grace 's/(LOAD\(&grace->done, PORT_ACQUIRE\)) >= cookie/$1 + 1 >= cookie/'
plant done_one_late openbsd grace $grace 's/(LOAD\(&grace->done, PORT_ACQUIRE\)) >= cookie/$1 > cookie/'
# What has begun.
plant begun_orders_nothing freebsd grace $grace \
	's/(grace_begun\(.*?\n\{\n\treturn PORT_LOAD\(&grace->started, )PORT_ACQUIRE/$1PORT_RELAXED/'
plant begun_of_done linux grace $grace 's/(grace_begun\(.*?\n\{\n\treturn PORT_LOAD\(&grace->)started/$1done/'
# Who begins.
plant begin_is_no_barrier linux grace $grace 's/(FETCH_ADD\(&grace->started, 1, )PORT_SEQ_CST/$1PORT_ACQ_REL/'
plant begin_acquires_nothing freebsd grace $grace 's/(FETCH_ADD\(&grace->started, 1, )PORT_SEQ_CST/$1PORT_RELEASE/'
plant begin_releases_nothing linux grace $grace 's/(FETCH_ADD\(&grace->started, 1, )PORT_SEQ_CST/$1PORT_ACQUIRE/'
plant begin_not_counted openbsd grace $grace 's/PORT_FETCH_ADD\(&grace->started, 1, PORT_SEQ_CST\)/
		PORT_FETCH_ADD(&grace->started, 0, PORT_SEQ_CST)/'
plant begin_says_one_less openbsd grace $grace 's/(FETCH_ADD\(&grace->started, 1, PORT_SEQ_CST\)) \+ 1/$1/'
plant begin_says_one_more freebsd grace $grace 's/(FETCH_ADD\(&grace->started, 1, PORT_SEQ_CST\)) \+ 1/$1 + 2/'
# Who ends.
plant end_orders_nothing linux grace $grace 's/(CAS\(&grace->done, &done, number, )PORT_RELEASE/$1PORT_RELAXED/'
plant end_shrinks freebsd grace $grace \
	's/\twhile \(done < number\)\n.*?\n\t\t\tbreak;\n/\t(void)done;\n
		\tPORT_EXCHANGE(&grace->done, number, PORT_RELEASE);\n/s'
plant end_tries_once openbsd grace $grace \
	's/\twhile \(done < number\)\n(.*?\n)\t\t\tbreak;\n/\tif (done < number)\n$1\t\t\t;\n/s'
# Who asks, and is called back.
plant asked_by_older openbsd grace $grace 's/(LOAD\(&grace->wanted, PORT_RELAXED\)) >= cookie/$1 + 1 >= cookie/'
plant asked_is_begun openbsd grace $grace 's/LOAD\(&grace->wanted, PORT_RELAXED\) >= cookie/
	LOAD(&grace->started, PORT_RELAXED) + 1 >= cookie/'
plant wish_shrinks openbsd grace $grace 's/\tif \(PORT_LOAD\(&grace->wanted, PORT_RELAXED\) < cookie\)\n\t//'
plant wish_not_noted openbsd grace $grace 's/\t\tPORT_STORE\(&grace->wanted, cookie, PORT_RELAXED\);/\t\t;/'
plant more_than_wanted openbsd grace $grace \
	's/(LOAD\(&grace->wanted, PORT_RELAXED\)) > (PORT_LOAD\(&grace->done)/$1 >= $2/'

bsd=port/openbsd/openbsd.c
plant wish_is_lost openbsd grace $bsd 's/more = cleave__grace_more\(&openbsd->grace\);/more = false;/'
plant wish_before_lock openbsd grace $bsd \
	's/(\tmtx_enter\(&openbsd->lock\);\n)(\tcleave__grace_ask\(&openbsd->grace, cookie\);\n)/$2$1/'
plant look_after_lock openbsd grace $bsd \
	's/(\topenbsd->running = more \?.*?\n)(.*?)(\tmtx_leave\(&openbsd->lock\);\n)/$2$3$1/s'
plant two_at_once openbsd grace $bsd 's/idle = openbsd->running == 0 && /idle = /'
plant begun_after_call openbsd grace $bsd \
	's/(openbsd->running = )cleave__grace_begin\(&openbsd->grace\);\n(\tmtx_leave\(&openbsd->lock\);\n
		\tif \(idle\)\n)\t\tcall\(openbsd\);/$1PORT_LOAD(&openbsd->grace.started, PORT_RELAXED) + 1;\n
		$2\t{\n\t\tcall(openbsd);\n\t\tcleave__grace_begin(&openbsd->grace);\n\t}/'
plant ends_what_has_begun openbsd grace $bsd \
	's/(grace_end\(&openbsd->grace, )openbsd->running\)/$1PORT_LOAD(&openbsd->grace.started, PORT_RELAXED))/'
plant ends_all_cookies openbsd grace $bsd \
	's/(grace_end\(&openbsd->grace, )openbsd->running\)/$1PORT_LOAD(&openbsd->grace.wanted, PORT_RELAXED))/'
plant entry_used_again openbsd grace $bsd 's/\tsmr_init\(&openbsd->entry\);\n//'
plant wait_begins_late openbsd grace $bsd \
	's/(\tnumber = cleave__grace_begin\(&openbsd->grace\);\n)(.*?\tsmr_flush\(\);\n)/$2$1/s'
plant wait_does_not openbsd grace $bsd 's/\tsmr_flush\(\);\n//'
plant wait_ends_nothing openbsd grace $bsd 's/(\tsmr_flush\(\);\n).*?;\n/$1\t(void)number;\n/s'
plant stop_does_not_wait openbsd stop $bsd 's/while \(openbsd->running\)/while (false)/'
plant stop_before_callback_returns openbsd stop $bsd 's/\tsmr_barrier\(\);\n//'
plant stop_waits_for_one openbsd stop $bsd \
	's/while (\(openbsd->running\)\n.*?;\n)(.*?)\tsmr_barrier\(\);\n/if $1$2/s'
plant stop_not_told openbsd stop $bsd 's/\topenbsd->stopping = true;\n//'
plant stop_not_woken openbsd stop $bsd 's/\t\twakeup\(&openbsd->running\);/\t\t;/'
plant stop_by_barrier_alone openbsd stop $bsd 's/\twhile \(openbsd->running\)\n.*?;\n//s'

bsd=port/freebsd/freebsd.c
plant poll_without_lock freebsd grace $bsd \
	's/ \|\| !mtx_trylock\(&freebsd->lock\)\)/)/;
		s/\tmtx_unlock\(&freebsd->lock\);\n//'
plant poll_forgotten freebsd grace $bsd 's/if \(!smr_poll\(freebsd->smr, freebsd->goal, false\)\)\n\t\treturn false;//'
plant number_after_goal freebsd grace $bsd \
	's/(\t\t\tfreebsd->running = .*?\n)(\t\t\tfreebsd->goal = .*?\n)/$2$1/'
plant never_polled freebsd grace $bsd 's/freebsd->running == 0 \|\| poll\(freebsd\)/freebsd->running == 0/'
plant wait_begins_late_freebsd freebsd grace $bsd \
	's/(\tnumber = cleave__grace_begin\(&freebsd->grace\);\n)(\tsmr_synchronize.*?\n)/$2$1/'

rcu=port/linux/linux.c
plant poll_forgotten_linux linux index $rcu 's/if \(!poll_state_synchronize_rcu\(rcu->state\)\)\n\t\treturn false;//'
plant begins_while_running linux grace $rcu 's/\(rcu->running == 0 \|\| poll\(rcu\)\) && //'
plant lock_kept linux grace $rcu 's/\tspin_unlock\(&rcu->lock\);\n//'
plant number_after_start linux grace $rcu 's/(\t\trcu->running = .*?\n)(\t\trcu->state = .*?\n)/$2$1/'
plant wait_begins_late_linux linux grace $rcu \
	's/(\tnumber = cleave__grace_begin\(&rcu->grace\);\n)(\tsynchronize_rcu.*?\n)/$2$1/'
exit $missed
