#!/bin/sh
# SPDX-License-Identifier: ISC
# Does the simulator find bugs of the anonymous store?  Each is planted into a private copy of the library.
#	tests/sim/anon_planted.sh SOURCE_ROOT [NAME...]
# Environment: CC, EXECUTIONS (of each named variant: a list, each tried if the one before found nothing), STRATEGY.
. "$(dirname "$0")/planting.sh"

build() { # the copy in $work/lib
	set -- -O1 -DCLEAVE__ANON_BITS=1 -DCLEAVE__ANON_MOST_LEVELS=3u
	# The index does not change: built once.
	if [ ! -e "$work/index.a" ]; then
		mkdir -p "$work/objects"
		for source in "$work"/lib/*.c "$work"/lib/port/sim/*.c "$root"/tests/sim/anon_*.c \
			"$root/tests/sim/runner.c"; do
			case ${source##*/} in
			anon*.c | guard.c | map*.c | fault*.c) [ "${source%/*}" = "$root/tests/sim" ] || continue ;;
			esac
			compile "$@" -c -o "$work/objects/$(basename "$source").o" "$source"
		done
		ar rc "$work/index.a" "$work"/objects/*.o
	fi
	compile "$@" -o "$work/sim" "$work/objects/anon_sim.c.o" "$work"/lib/anon*.c "$work"/lib/guard.c "$work/index.a"
}

# plant_in SCENARIO MESSAGE NAME FILE PERL...: the bug breaks this scenario, and not by a side effect
plant_in() {
	only=$1 message=$2
	shift 2
	plant "$@"
	only='' message=''
}

# plant NAME FILE PERL...: what the bug is called, where, and how to make it
only='' message='' by=random
plant() {
	asked "$1" || return 0
	mutate "$@"
	build || exit 2
	hunt '200 2000 20000 100000' --strategy "${STRATEGY:-$by}" ${only:+--scenario "$only"}
	report "$1"
	if [ $status -eq 1 ] && [ "${what#*"$message"}" = "$what" ] && [ -n "$message" ]; then
		echo "$1: found by something else" >&2
		missed=1
	fi
}

plant clone_without_waiting anon_clone.c 's/\tif \(n == 1\)\n.*?\telse\n.*?;\n//s'
plant flag_before_guard anon_path.h \
	's/(\tcleave__guard_set\(&context->guard, NULL, store, first, last,
		 first\);\n)(.*?)(\trcu->ops->enter)/
		\tuint64_t cloning = PORT_LOAD(&store->cloning, PORT_SEQ_CST);\n$1$2$3/s;
		s/PORT_UNLIKELY\(PORT_LOAD\(&store->cloning, PORT_SEQ_CST\)\)/PORT_UNLIKELY(cloning)/'
plant guard_word_relaxed guard.h 's/(PORT_STORE\(&guard->word, word \+ 1, )PORT_SEQ_CST/$1PORT_RELAXED/'
plant flag_load_acquire anon_path.h \
	's/PORT_LOAD\(&store->cloning, PORT_SEQ_CST\)/PORT_LOAD(&store->cloning, PORT_ACQUIRE)/'
plant drop_without_grace_period anon_context.c \
	's/if \(!rcu->ops->done\(rcu, context->self, context->old\.cookie\)\)/if (false)/'
plant displaced_dropped_at_once anon_path.c \
	's/\t\t\tcleave__anon_displace\(context, old\);/\t\t\tcleave__anon_node_put(old);/'
plant copy_beside_takeover anon_path.c \
	's/(\tint result = 0;\n\n)(\tif \(!cleave__anon_trylock\(lock\)\) \{\n
		\t\tcleave__anon_await_lock\(context, lock\);\n\t\treturn -EAGAIN;\n\t\}\n
		\tword = cleave__anon_slot_visit\(link\);)/$1\tif (cleave__anon_node_alone(old)) {\n
		\t\tcleave__anon_stamp_locked(old, generation);\n\t\treturn 0;\n\t}\n$2/'
plant takeover_by_count_alone anon_path.h \
	's/(\tif \(PORT_LIKELY\(cleave__anon_owned\(node, .*?\)\)\)\n)/
		\tif (cleave__anon_node_alone(node))\n\t\treturn 0;\n$1/'
plant counts_raised_late anon_path.c \
	's/\t\telse\n\t\t\tcleave__anon_node_get\(cleave__anon_child\(word\)\);\n//;
		s/(\t\t\tcleave__anon_displace\(context, old\);\n)/
		$1\t\t\tfor (unsigned int i = 0; fresh && level > 0 && i < CLEAVE__ANON_FANOUT; i++)\n
		\t\t\t\tif (cleave__anon_child(PORT_LOAD(&fresh->slot[i], PORT_RELAXED)))\n
		\t\t\t\t\tcleave__anon_node_get(cleave__anon_child(PORT_LOAD(&fresh->slot[i],
		 PORT_RELAXED)));\n/'
plant_in copy_then_in_place 'race' shares_raised_not_at_all anon_path.c \
	's/PORT_FETCH_ADD\(&cleave__anon_page\(word\)->state, 1, PORT_RELAXED\)/
		PORT_FETCH_ADD(&cleave__anon_page(word)->state, 0, PORT_RELAXED)/'
plant cloning_cleared_too_early anon_clone.c \
	's/(\t\tcleave__anon_register\(context, clone\);\n
		\t\}\n)/$1\tlet_writers_go_on(context, stores, n);\n/;
		s/(void cleave_anon_clone_done\(.*?\{\n)\tlet_writers_go_on\(context, stores, n\);\n
		/$1\t(void)stores;\n\t(void)n;\n/s'
plant cloning_is_a_flag anon_clone.c \
	's/PORT_FETCH_ADD\(&stores\[i\]->cloning, UINT32_MAX, PORT_RELEASE\)/
		PORT_STORE(&stores[i]->cloning, 0, PORT_SEQ_CST)/;
		s/PORT_FETCH_ADD\(&stores\[i\]->cloning, 1, PORT_SEQ_CST\)/
		PORT_STORE(&stores[i]->cloning, 1, PORT_SEQ_CST)/;
		s/PORT_ASSERT\(PORT_LOAD\(&stores\[i\]->cloning, PORT_RELAXED\) > 0, "a clone is done
		 once"\);//'
plant generation_not_bumped anon_clone.c 's/\t\tPORT_STORE\(&store->generation, cleave__anon_generation.*?\n//'
plant removed_without_sealing anon_path.c 's/cleave__anon_seal_locked\(node\)/cleave__anon_node_empty(node)/'
plant unsealed_by_nobody anon_node.c 's/\twhile \(i-- > 0\)\n.*?\n//'
plant copy_relaxed anon_path.c \
	's/(PORT_STORE\(link, !fresh \? .*?)PORT_SEQ_CST/$1PORT_RELAXED/s'
plant fill_relaxed anon.c \
	's/PORT_CAS\(word, &seen, \(uintptr_t\)anon, PORT_RELEASE, PORT_ACQUIRE\)\)\)\n
		\t\treturn 0;/PORT_CAS(word, &seen, (uintptr_t)anon, PORT_RELAXED, PORT_RELAXED)))\n
		\t\treturn 0;/'
plant_in read_wipe_in_place 'race' share_dropped_under_guards anon_wipe.c \
	's/\t\tcleave__guards_wait_slots\(&context->domain->guards, context->self, &context->guard,
		 cut->store.*?;\n/\t\t;\n/s'
plant share_dropped_twice anon_wipe.c \
	's/(\t\tcleave_anon_page_drop\(context, )cut->gone\[--cut->ngone\]\);/
		$1cut->gone[cut->ngone - 1]),\n$1cut->gone[--cut->ngone]);/'
plant count_dropped_twice anon_context.c 's/(\t\tdrop_node\(context, context->ring\[context->ring_head\]\);\n)/$1$1/'
plant page_freed_at_once anon_page.c \
	's/\t\tanon->link = context->young\.pages;\n\t\tcontext->young\.pages = anon;\n
		\t\tcontext->young\.count\+\+;/
		\t\tuint64_t content = PORT_LOAD(&anon->content, PORT_RELAXED);\n\t\tif (content)\n
		\t\t\tcontext->domain->ops->release(context->domain->ops, content);\n
		\t\tanon->link = context->pages;\n\t\tcontext->pages = anon;\n\t\tcontext->npages++;/'
plant_in busy_wipe deadlock busy_slot_unlinked anon_wipe.c \
	's/if \(!cleave__anon_owned\(node, cut->generation\)\) \{\n
		/if (!cleave__anon_owned(node, cut->generation) || (base >= cut->next && end <= cut->last))
		 {\n/;
		s/ \|\|\n\t    cleave__anon_owned\(node, cut->generation\)\) \{/) {/'
plant_in read_copy_in_place 'no order' busy_slot_looked_through anon.c \
	's/if \(level == 0 && \(word & CLEAVE__ANON_BUSY\)\)/if (false)/'
plant_in walk_clone_gone 'a token was missed' clone_not_at_tail anon_store.c \
	's/\tstore->prev = \(struct cleave_anon \*\)\(uintptr_t\)PORT_LOAD\(&domain->last,
		 PORT_RELAXED\);\n\tstore->next = NULL;\n
		.*?PORT_STORE\(&domain->last, \(uint64_t\)\(uintptr_t\)store, PORT_RELAXED\);/
		\tstore->prev = NULL;\n\tstore->next = domain->first;\n\tif (store->next)\n
		\t\tstore->next->prev = store;\n\telse\n
		\t\tPORT_STORE(&domain->last, (uint64_t)(uintptr_t)store, PORT_RELAXED);\n
		\tdomain->first = store;/s'
plant_in walk_walk '' transit_by_everybody anon_page.c 's/\t\tif \(seen & TRANSIT\) \{\n.*?\n\t\t\}\n//s'
plant wiped_again_after_wait anon_wipe.c \
	's/\? 16u : 1u/? 16u : 16u/;
		s/uint64_t begin = cut->pruning \? cut->first : cut->next,/uint64_t begin = cut->first,/'
plant lock_wakes_nobody anon_node.h 's/\t\tcleave__guards_wake\(guards, lock\);\n//'
plant guard_wakes_nobody guard.h 's/\t\tcleave__guards_wake\(guards, guard\);\n//'
plant count_read_after_mark guard.c \
	's/\t\tuint32_t seen = PORT_LOAD\(count, PORT_ACQUIRE\);\n/\t\tuint32_t seen;\n/;
		s/(\t\t\tcontinue;\n)(\t\tguards->domain->ops->park)/
		$1\t\tseen = PORT_LOAD(count, PORT_ACQUIRE);\n$2/'
plant childs_clone_not_wiped anon_window.c 's/\t\tif \(!number_of\(entry\.value\)\)\n\t\t\tresult = .*?;\n//s'
plant glance_relaxed anon_node.h \
	's/if \(cleave__anon_slot_visit\(&node->slot\[i\]\) & ~CLEAVE__ANON_SEALED\)/
		if (PORT_LOAD(&node->slot[i], PORT_RELAXED) & ~CLEAVE__ANON_SEALED)/'
plant_in grow_remove 'an empty node' root_grown_over anon_path.c 's/if \(!there && root\)/if (false)/'
plant_in remove_clone 'an empty node' clone_gets_empty_nodes anon.c \
	's/\t\t\t\tcleave__anon_wipe_join\(store\);/\t\t\t\t;/;
		s/\t\tcleave__anon_wipe_empty/\t\tcleave__anon_wipe_begin(context, store);\n
		\t\tcleave__anon_wipe_empty/'
plant clone_beside_wipe anon_clone.c 's/\t\tcleave__anon_wait_wipes\(context, stores\[i\]\);/\t\t;/'
plant wipe_counted_after_flag anon_wipe.c \
	's/(\tfor \(;;\) \{\n)(.*?)(\t\tPORT_FETCH_ADD\(&store->wipes, 1, PORT_SEQ_CST\);\n)(\t\tif
		 \(!)PORT_LOAD\(&store->cloning, PORT_SEQ_CST\)/
		$1\t\tuint64_t cloning = PORT_LOAD(&store->cloning, PORT_SEQ_CST);\n$2$3$4cloning/s'
plant wipes_end_wakes_nobody anon_wipe.c 's/\t\tcleave__guards_wake\(&context->domain->guards, &store->wipes\);/\t\t;/'
plant_in truncate_clone 'no order' truncated_beside_clone anon_wipe.c \
	's/(\tcleave__anon_wipe_begin\(context,
		 store\);\n)(\tPORT_STORE\(&store->nslots.*?\n)(\tcleave__guards_wait_slots.*?\n)/$2$3$1/'
plant_in both_write 'no order' one_of_two_waited_for anon_clone.c 's/if \(n == 1\)/if (n > 0)/'
plant_in stop_write '' fork_beside_writers anon_fork.c \
	's/\tcleave__guards_wait_all\(&context->domain->guards, context->self, &context->guard\);\n//'
plant_in stop_write '' fork_beside_wipes anon_fork.c \
	's/\t\tcleave__anon_wait_wipes\(context, fork->stores\[i\]\.store\);/\t\t;/'
plant_in stop_gone 'race' gone_is_unseen anon_store.c \
	's/return seen \|\| PORT_LOAD\(&store->refs, PORT_ACQUIRE\);/return seen != 0;/'
plant_in end_walk '' pin_defers_no_end anon_store.c 's/\tif \(fresh\)\n/\tif (fresh & CLEAVE__ANON_REFERENCES)\n/'
plant_in reopen_reopen '' closed_before_flush anon_context.c \
	's/\tcleave_anon_flush\(context\);\n\twhile/\tPORT_STORE(&context->used, 0, PORT_RELEASE);\n
		\tcleave_anon_flush(context);\n\twhile/'
plant empty_nodes_linked anon_path.c 's/return context->nnodes >= wanted;/(void)context, (void)wanted;\n\treturn true;/'
plant_in wipe_yields 'an empty node' yields_with_empty_nodes anon_wipe.c \
	's/!cut->yields \|\| cut->left \|\|/!cut->yields ||/'
# What waits is limited: by who may sleep, outside of everything, and by refusals that change nothing.
plant_in limit_wipe 'things wait after' limit_not_kept anon_context.c \
	's/\tif \(may_wait && PORT_UNLIKELY\(cleave__anon_over_limit\(context, 1\)\)\)\n
		\t\twait_for_room\(context\);\n//'
plant_in limit_write 'things wait after' steps_not_refused anon.c \
	's/(int cleave_anon_try_busy\(.*?\{\n).*?(\treturn cleave__anon_try_busy)/$1$2/s'
plant_in limit_write '' refused_though_busy anon.c \
	's/(int cleave_anon_try_busy\(.*?\{\n)\tif \(PORT_UNLIKELY\(cleave__anon_over_limit\(context,
		 2\)\)\)\n\t\treturn -ENOMEM;\n\treturn (cleave__anon_try_busy\(.*?\));/
		$1\tint result = $2;\n\n\tif (!result && cleave__anon_over_limit(context, 2))\n
		\t\treturn -ENOMEM;\n\treturn result;/s'
plant_in limit_remove '' waits_inside_a_section anon.c \
	's/(\t\t\t\tcleave__anon_wipe_join\(store\);\n)(\t\t\tcleave__anon_close\(context\);\n)/
		$1\t\t\tcleave__guard_clear(&context->domain->guards, &context->guard);\n
		\t\t\tcleave__anon_finish(context);\n
		\t\t\tcontext->domain->guards.domain->ops->leave(context->domain->guards.domain, context->self);\n/'
# Only between two steps near the end of an unmap, in which chance seldom stops: all schedules, which begins at the end.
by=dfs
plant_in unmap_map_no_memory 'no order' mark_left_without_its_lock anon_window.c \
	's/\t\tcleave_erase\(&store->windows, context->self, entry\.first, entry\.last, NULL\);\n//'
by=random
plant window_over_dying_slots anon_window.c 's/\t\tif \(is_dying\(value\)\)\n\t\t\treturn -EBUSY;\n//'
exit $missed
