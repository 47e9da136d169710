#!/bin/sh
# SPDX-License-Identifier: ISC
# Does test_kernel.c find bugs in the kernels' ports?
#	tests/kernel/planted.sh SOURCE_ROOT [NAME...]
# Environment: CC.
. "$(dirname "$0")/../sim/planting.sh"

# The core's objects are compiled once a kernel; with the bug, what includes the ports' files.
build() { # KERNEL
	kernel=$1
	case $kernel in
	linux) defines='-D__KERNEL__ -DCONFIG_X86 -DCONFIG_SMP -DDEBUG' ;;
	openbsd) defines='-D_KERNEL -DMULTIPROCESSOR -DDIAGNOSTIC -Dmalloc=kernel_malloc -Dfree=kernel_free' ;;
	freebsd) defines='-D_KERNEL -DSMP -DINVARIANTS -Dmalloc=kernel_malloc -Dfree=kernel_free' ;;
	esac
	flags="-std=gnu11 -O1 -nostdinc -ffreestanding -fno-strict-aliasing -U__linux__ -DCLEAVE_SEARCH=scalar $defines
		-I$work/lib/port/$kernel/std -I$root/tests/kernel/$kernel -I$root/include -I$work/lib
		-I$work/lib/port/$kernel -I$work/lib/port/search/scalar"
	objects=$work/$kernel
	mkdir -p "$objects"
	for source in "$work"/lib/*.c; do
		name=$(basename "$source" .c)
		case $name in map* | anon* | fault* | guard) continue ;; esac
		[ -e "$objects/$name.o" ] || ${CC:-cc} $flags -c -o "$objects/$name.o" "$source"
	done
	[ -e "$work/host.o" ] || ${CC:-cc} -std=gnu11 -O1 -c -o "$work/host.o" "$root/tests/kernel/host.c"
	for source in "$work/lib/port/$kernel/$kernel.c" "$root/tests/kernel/mock_$kernel.c" \
		"$root/tests/kernel/test_kernel.c"; do
		${CC:-cc} $flags -c -o "$objects/$(basename "$source" .c).o" "$source"
	done
	${CC:-cc} -o "$work/test" "$objects"/*.o "$work/host.o" -pthread
}

# plant NAME KERNEL FILE PERL.  Found: the program says what is wrong, or sleeps for ever.
plant() {
	asked "$1" || return 0
	mutate "$1" "$3" "$4"
	build "$2" || exit 2
	status=0
	timeout 30 "$work/test" > "$work/out" 2>&1 || status=$?
	if [ $status -eq 0 ]; then
		echo "$2 $1: MISSED"
		missed=1
	else
		printf '%-8s %-28s found: %s\n' "$2" "$1" \
			"$([ $status -eq 124 ] && echo "sleeps for ever" || tail -1 "$work/out")"
	fi
}

grace=port/kernel/grace.h
bsd=port/openbsd/openbsd.c
plant cookie_of_pending openbsd $grace \
	's/PORT_LOAD\(&grace->started, PORT_SEQ_CST\) \+ 1/PORT_LOAD(&grace->started, PORT_SEQ_CST)/g'
plant pending_serves_all openbsd $bsd \
	's/(grace_end\(&openbsd->grace, )openbsd->running\)/$1PORT_LOAD(&openbsd->grace.started, PORT_RELAXED) + 1)/'
plant wish_is_lost openbsd $bsd 's/more = cleave__grace_more\(&openbsd->grace\);/more = false;/'
plant chain_never_ends openbsd $bsd 's/more = cleave__grace_more\(&openbsd->grace\);/more = true;/'
plant entry_used_again openbsd $bsd 's/\tsmr_init\(&openbsd->entry\);\n//'
plant two_entries_at_once openbsd $bsd 's/idle = openbsd->running == 0 && /idle = /'
plant number_after_flush openbsd $bsd \
	's/(number = cleave__grace_begin\(&openbsd->grace\);\n)(.*\n\tsmr_flush\(\);\n)/$2\t$1/;
		s/if \(cleave__grace_done\(&openbsd->grace, cookie\)\)\n\t\treturn;\n//'
plant wait_does_not openbsd $bsd 's/\tsmr_flush\(\);\n//'
plant parks_without_look openbsd $bsd 's/if \(PORT_LOAD\(count, PORT_RELAXED\) == seen\)/if (true)/'
plant wakes_without_mutex openbsd $bsd \
	's/\tmtx_enter\(&openbsd->parking\);\n\twakeup\(count\);\n\tmtx_leave\(&openbsd->parking\);/
		\twakeup(count);/'
plant stop_does_not_wait openbsd $bsd 's/while \(openbsd->running\)/while (false)/'
plant stop_before_callback_returns openbsd $bsd 's/\tsmr_barrier\(\);\n//'
plant aligned_as_malloc openbsd $bsd 's/node = base \+ NODE_ALIGN - .*?;/node = base + sizeof(void *);/'
bsd=port/freebsd/freebsd.c
plant poll_forgotten freebsd $bsd 's/if \(!smr_poll\(freebsd->smr, freebsd->goal, false\)\)\n\t\treturn false;//'
plant goal_kept freebsd $bsd \
	's/(\t\t\tfreebsd->goal =) smr_advance/$1 freebsd->goal ? freebsd->goal : smr_advance/'
plant number_too_great freebsd $bsd \
	's/freebsd->running = cleave__grace_begin\(&freebsd->grace\);/$&\n\t\t\tfreebsd->running++;/'
plant begins_while_running freebsd $bsd 's/freebsd->running == 0 \|\| poll\(freebsd\)/true/'
plant number_after_wait freebsd $bsd \
	's/number = cleave__grace_begin\(&freebsd->grace\);\n\tsmr_synchronize\(freebsd->smr\);/
		smr_synchronize(freebsd->smr);\n\tnumber = cleave__grace_begin(&freebsd->grace);/;
		s/if \(cleave__grace_done\(&freebsd->grace, cookie\)\)\n\t\treturn;\n//'
plant parks_without_look freebsd $bsd 's/if \(PORT_LOAD\(count, PORT_RELAXED\) != seen\)/if (false)/'
plant mutex_in_wake freebsd $bsd \
	's/\twakeup\(count\);/\tmtx_lock(&freebsd_of(domain)->lock);\n$&\n\tmtx_unlock(&freebsd_of(domain)->lock);/'
plant aligned_by_malloc freebsd $bsd \
	's/malloc_aligned\(size, NODE_ALIGN, M_CLEAVE, flags\)/malloc(size, M_CLEAVE, flags)/'
rcu=port/linux/linux.c
plant poll_forgotten linux $rcu 's/if \(!poll_state_synchronize_rcu\(rcu->state\)\)\n\t\treturn false;//'
plant state_kept linux $rcu 's/rcu->state = start_poll/rcu->state = rcu->running > 2 ? rcu->state : start_poll/'
plant number_after_wait linux $rcu \
	's/number = cleave__grace_begin\(&rcu->grace\);\n\tsynchronize_rcu\(\);/
		synchronize_rcu();\n\tnumber = cleave__grace_begin(&rcu->grace);/;
		s/if \(cleave__grace_done\(&rcu->grace, cookie\)\)\n\t\treturn;\n//'
plant wait_does_not linux $rcu 's/\tsynchronize_rcu\(\);\n//'
plant parks_without_look linux $rcu \
	's/PORT_LOAD\(count, PORT_RELAXED\) != seen\)/({ static __thread bool again; again = !again; !again; }))/'
plant lock_kept linux $rcu 's/\tspin_unlock\(&rcu->lock\);\n//'
plant not_rounded linux $rcu 's/roundup_pow_of_two\((size < .*?)\), own->gfp/($1), own->gfp/'
exit $missed
