#!/bin/sh
# SPDX-License-Identifier: ISC
# Does the simulator find bugs of the fault path?  Each is planted into a private copy of the library, and must break
# the scenario that its rule is for.
#	tests/sim/fault_planted.sh SOURCE_ROOT [NAME...]
# Environment: CC, EXECUTIONS (a list, each tried if the one before found nothing), STRATEGY.
. "$(dirname "$0")/planting.sh"

# What includes the headers that bugs are planted in is compiled anew each time, and what was changed.
build() { # FILE...: the copy in $work/lib
	changed=" $* "
	set -- -O1 -DCLEAVE__ANON_BITS=1 -DCLEAVE__ANON_MOST_LEVELS=3u '-DARENA_SIZE=(1u<<22)'
	mkdir -p "$work/objects" "$work/now"
	rm -f "$work"/now/*
	for source in "$work"/lib/*.c "$work"/lib/port/sim/*.c "$root"/tests/sim/fault_calls.c \
		"$root"/tests/sim/fault_embedder.c "$root"/tests/sim/fault_sim.c "$root"/tests/sim/runner.c; do
		name=${source##*/}
		object=$work/objects/$name.o
		case $changed in
		*" $name "*) anew=1 ;;
		*".h "*) case $name in anon*.c | guard.c | fault*.c) anew=1 ;; *) anew=0 ;; esac ;;
		*) anew=0 ;;
		esac
		if [ $anew -eq 1 ]; then
			object=$work/now/$name.o
			compile "$@" -c -o "$object" "$source"
		elif [ ! -e "$object" ]; then
			compile "$@" -c -o "$object" "$source"
		fi
		[ $anew -eq 1 ] || cp "$object" "$work/now/$name.o"
	done
	compile "$@" -o "$work/sim" "$work"/now/*.o
}

# plant SCENARIO NAME FILE PERL...: what it breaks, what the bug is called, where, and how to make it
plant() {
	asked "$2" || return 0
	scenario=$1
	shift
	mutate "$@"
	build $files || exit 2
	hunt '300 3000 30000 200000' --strategy "${STRATEGY:-random}" --scenario "$scenario"
	report "$1" " of $scenario"
}

# Guard and check.
plant fault_unmap entry_not_checked fault.c \
	's/if \(PORT_LIKELY\(cleave_ticket_valid_rcu\(&fault->ticket\)\)\)/if (true)/'
plant fault_unmap checked_before_guard fault.c \
	's/(\t\tcleave__guard_set\(&context->guard, fault->map,)/
		\t\tbool valid = cleave_ticket_valid_rcu(&fault->ticket);\n$1/;
		s/result = confirm\(fault\);/result = valid ? 0 : CLEAVE__NEXT_AGAIN;/'
plant fault_unmap guards_not_waited_for fault_space.c 's/\n\twait_pages\(thread, map, start, end\);\n/\n/'
plant fault_unmap guard_word_release guard.h 's/(PORT_STORE\(&guard->word, word \+ 1, )PORT_SEQ_CST/$1PORT_RELEASE/'
plant fault_unmap ticket_acquire index.c \
	's/PORT_LOAD\(&ticket->leaf->order, PORT_SEQ_CST\)/PORT_LOAD(&ticket->leaf->order, PORT_ACQUIRE)/'
plant fault_unmap_map removed_after_unlock map_txn.c \
	's/\tif \(ops->translate\)\n\t\ttranslate_pieces\(txn\);\n/\t(void)translate_pieces;\n/;
		s/(\tcleave_end\(&txn->txn, &sink\.sink\);\n
		\tsettle\(txn\);)/\tconst struct cleave_map_ops *ops = cleave__map_ops(txn->map);\n
		\tstruct cleave__map_piece pieces[8];\n\tuint32_t n = txn->npieces;\n
		\tfor (uint32_t i = 0; i < n; i++)\n\t\tpieces[i] = txn->pieces[i];\n$1\n
		\tfor (uint32_t i = 0; i < n; i++)\n
		\t\tif (pieces[i].actions & (CLEAVE__ACT_REMOVE | CLEAVE__ACT_RESTRICT))\n
		\t\t\tops->translate(ops, txn->map, pieces[i].start, pieces[i].end, CLEAVE_MAP_REMOVE);/'
plant replace_seen_early replacement_seen_early fault.c \
	's/if \(PORT_UNLIKELY\(PORT_LOAD\(&fault->map->replacing, PORT_ACQUIRE\)\) && !fault->locked\)/if (false)/'
plant replace_seen_early replacement_ends_relaxed map_txn.c \
	's/(replacing, \(uint32_t\)-1, )PORT_RELEASE/$1PORT_RELAXED/'
plant promote_new_store first_store_seen_early fault_resolve.c \
	's/\tif \(!old\)\n\t\twait_storeless\(fault\);\n/\t(void)wait_storeless;\n/'
plant promote_sharing first_store_not_settled map_change.c 's/actions \|= CLEAVE__ACT_SETTLE;/;/'
# Fork.
plant fork_order clone_not_seen fault_resolve.c \
	's/PORT_UNLIKELY\(PORT_LOAD\(&fault->store->cloning, PORT_SEQ_CST\)\)/false/'
plant fork_order clone_done_early fault_space.c \
	's/(\t\tcleave_anon_clone_end\(thread->context, from, to, n\);\n)/
		$1\t\tfor (size_t i = 0; i < n; i++)\n
		\t\t\tcleave_anon_clone_done(thread->context, &from[i], 1);\n/;
		s/\t\tcleave_anon_clone_done\(thread->context, &store, 1\);/\t\t(void)store;/'
plant fault_fork parent_not_protected fault_space.c \
	's/\t\tlower\(embedder, map, start, end, CLEAVE_PROT_READ \| CLEAVE_PROT_EXEC\);\n//'
plant shared_fork sharers_not_protected fault_space.c 's/\t\t\tprotect_shared\(thread, from\[i\]\);\n//'
plant wire_fork wired_pages_not_protected fault_swap.c 's/\tcleave__space_protect_page\(ops, from\);\n//'
# Copies.
plant read_copy_in_place copied_without_waiting fault_resolve.c \
	's/\tcleave_anon_wait_guards\(thread->context, fault->store, fault->slot, fault->slot\);\n//'
plant copy_path_read copied_path_release anon_path.c 's/(PORT_STORE\(link, !fresh \? .*?)PORT_SEQ_CST/$1PORT_RELEASE/s'
plant shared_copy old_translations_stay fault_resolve.c 's/\tunmap_slot\(thread, fault->map, .*?\);\n//s'
plant copy_beside_in_place share_dropped_early fault_resolve.c \
	's/(\tcleave_anon_wait_guards\(thread->context, fault->store, fault->slot, fault->slot\);\n)/
		\tif (old)\n\t\tcleave_anon_page_drop(thread->context, old);\n$1/;
		s/\tfault->anon = old;\n//'
plant read_copy_same_store written_in_place_though_shared fault_resolve.c \
	's/cleave_anon_page_shares\(anon\) == 1/cleave_anon_page_shares(anon) >= 1/'
plant shared_promote only_own_window fault_resolve.c 's/cleave_anon_windows_rcu\(store, slot\) <= 1/true/'
plant ahead_copy copied_under_a_wide_guard fault.c \
	's/if \(cleave__fault_writes\(fault\) \|\| \(fault->flags/if ((fault->flags/'
plant zero_store zero_page_not_removed fault_resolve.c \
	's/return !fault->attributes\.object && !cleave__fault_ops\(fault\)->zero_page;/
		return !fault->attributes.object;/'
plant promote_read object_page_not_removed fault_resolve.c \
	's/return !fault->attributes\.object && !cleave__fault_ops\(fault\)->zero_page;/
		return !cleave__fault_ops(fault)->zero_page;/'
# One anon, one store.
plant fault_fault winner_overwritten fault_resolve.c \
	's/return result == -EEXIST \? CLEAVE__NEXT_FULL : blocked\(fault, result\);/return blocked(fault, result);/'
plant fault_fault_store second_store_kept fault.c 's/\tcleave_anon_unref\(thread->context, store\);\n//'
plant ahead_swap ahead_through_busy_slots fault_resolve.c \
	's/cleave_anon_try_lookup\(thread->context, fault->store,\n
		(.*?), &anon\)\)/((anon = cleave_anon_lookup_rcu(fault->store, $1)), false))/s'
# Swap and wipe.
plant fault_swap_out transit_not_seen fault_resolve.c \
	's/if \(PORT_UNLIKELY\(cleave_anon_in_transit_rcu\(context, anon\)\)\)/if (false)/'
plant ahead_swap swapped_without_waiting fault_swap.c 's/\tif \(marked\)\n\t\tcleave_space_settle\(thread\);\n//'
plant ahead_swap transit_not_seen_ahead fault_resolve.c \
	's/cleave_anon_in_transit_rcu\(thread->context, anon\) \? 0 : //'
plant swap_in_swap_in read_in_by_everybody fault_resolve.c \
	's/switch \(cleave_anon_transit_begin_rcu\(context, anon, \*page\)\) \{/switch
		 (cleave_anon_transit_begin_rcu(context, anon, *page) == -EAGAIN ?
		 (cleave_anon_page_pin_rcu(anon), 0) : 0) {/'
plant wire_swap wired_page_swapped fault_swap.c 's/ops->may_evict && !ops->may_evict\(ops, pages\[i\]\)/false/'
plant fault_wipe wiped_without_waiting fault_swap.c \
	's/\tcleave_anon_wait_guards\(context, store, slot, slot \+ \*n - 1\);\n//'
plant fault_wipe wiped_in_sight fault_swap.c 's/\tthread->space->ops->remove\(thread->space->ops, map, addr, .*?\);\n//'
plant wire_promote unwired_too_early fault_space.c \
	's/\tcase CLEAVE_MAP_UNWIRE:\n.*?\n\t\tbreak;\n/\tcase CLEAVE_MAP_UNWIRE:\n\t\tbreak;\n/s'
plant wire_again wiring_lost_in_transition fault_resolve.c \
	's/return fault->attributes\.wired > moving \|\|/return (fault->attributes.wired \&\& !moving) ||/'
exit $missed
