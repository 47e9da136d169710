#!/bin/sh
# SPDX-License-Identifier: ISC
# Does the simulator find bugs?  Each is planted into a private copy of the library, and must be found.
#	tests/sim/planted.sh SOURCE_ROOT [NAME...]
# Environment: CC, EXECUTIONS (of each scenario: a list, each tried if the one before found nothing), STRATEGY (random),
# SCENARIO (all), PATCH (applied to the copy first).
. "$(dirname "$0")/planting.sh"

cells= # of a leaf; empty: as many as the port says
only=  # the one scenario that shows it; empty: all
how=   # the strategy; empty: random
# What was changed is compiled anew, and after a header all but the simulator.
build() { # FILE...: the copy in $work/lib
	mkdir -p "$work/objects$cells" "$work/now"
	rm -f "$work"/now/*
	sim=$root/tests/sim
	for source in "$work"/lib/*.c "$work"/lib/port/sim/*.c "$sim/calls.c" "$sim/cleave-sim.c" "$sim/drawn.c" \
		"$sim/execution.c" "$sim/histories.c" "$sim/model.c" "$sim/scenarios.c" "$sim/shapes.c"; do
		name=${source##*/}
		object=$work/objects$cells/$name.o
		case $source in "$work"/lib/port/*) port=1 ;; *) port=0 ;; esac
		case $port$name in 0map*.c | 0anon*.c | 0guard.c | 0fault*.c) continue ;; esac
		case $port" $* " in *" $name "* | 0*".h "*) object=$work/now/$name.o ;; esac
		[ -e "$object" ] || compile -O2 ${cells:+"-DPORT_CELLS=${cells}u"} -c -o "$object" "$source"
		[ -e "$work/now/$name.o" ] || cp "$object" "$work/now/$name.o"
	done
	compile -o "$work/sim" "$work"/now/*.o
}

# plant NAME FILE PERL...: what the bug is called, where, and how to make it
plant() {
	asked "$1" || return 0
	mutate "$@"
	build $files || exit 2
	hunt '400 3200 25600 200000' --strategy "${STRATEGY:-${how:-random}}" --scenario "${SCENARIO:-${only:-*}}"
	report "$1"
}

plant relaxed_publication rcu.h 's/PORT_STORE\(link, node, PORT_RELEASE\)/PORT_STORE(link, node, PORT_RELAXED)/'
plant relaxed_root walk.h 's/(PORT_STORE\(&index->root, .*?)PORT_RELEASE/$1PORT_RELAXED/'
plant relaxed_order_word leaf.h 's/(PORT_STORE\(&leaf->node\.order, .*?)PORT_RELEASE/$1PORT_RELAXED/'
plant relaxed_reader leaf.h \
	's/PORT_LOAD\(&leaf->node\.order, PORT_ACQUIRE\)/PORT_LOAD(&leaf->node.order, PORT_RELAXED)/'
plant relaxed_unlock nodelock.h 's/&seen, 0, PORT_RELEASE/&seen, 0, PORT_RELAXED/'
# the cookie of the dropped cells is taken while the order word still lists them
plant cell_retired_early pool.h \
	's/(\tcleave__leaf_edit_store\(edit\);\n)(\tif \(edit->dropped\)\n
		\t\tcleave__pool_drop_cells\(self, edit->leaf, edit->dropped\);\n)/$2$1/'
plant cell_reused_at_once pool.h 's/if \(cleave__pool_done\(self, node->cookie\)\)/if (true)/'
plant relaxed_done pool.h 's/PORT_LOAD\(self->done, PORT_ACQUIRE\)/PORT_LOAD(self->done, PORT_RELAXED)/'
plant unclip_cell_retired_early update.h \
	's/(\tcleave__leaf_exchange\(.*?\}\);\n)(\tcleave__pool_drop_displaced\(self, leaf, 1u << at\);\n)/$2$1/s'
# an edit in the middle of a leaf needs more cells
cells=6
only=triple/alloc/erase/alloc
plant insert_cell_retired_early edit.c \
	's/(\tcleave__order_displace_locked\(.*?\n)
		(\tcleave__pool_drop_displaced\(self, leaf, \(below \^ 1\) << at\);\n)/$2$1/'
only=
plant insert_cell_reused_at_once pool.h 's/if \(PORT_LIKELY\(cleave__pool_done\(self, node->cookie\)\)\)/if (true)/'
plant erase_cell_retired_early edit.c \
	's/(\tcleave__leaf_exchange\((?:(?!\}\);).)*\}\);\n)(\tcleave__pool_drop_displaced\(self,
		 leaf, dropped\);\n)/$2$1/s'
cells=
# young cells join old ones whose grace period may have begun before they were dropped
plant cells_join_any_cookie pool.h \
	's/\tif \(PORT_LIKELY\(!node->old\) \|\| node->cookie == cookie\) \{\n\t\tnode->cookie = cookie;/
		\tif (true) {\n\t\tnode->cookie = node->old ? node->cookie : cookie;/'
plant node_reused_at_once pool.c 's/cleave__pool_done\(self, old->head->cookie\) \? pop\(old\) : NULL/pop(old)/'
plant node_retired_early restructure.c \
	's/(\tPORT_YIELD\(\);\n
		\tfor \(struct cleave__node \*leaf = txn->leaves; leaf; leaf = leaf->link\))/
		\ttxn->self->counters.gp_waits = txn->self->domain->ops->cookie(txn->self->domain,
		 txn->self);\n$1/' \
	pool.c 's/cookie = cleave__pool_cookie\(self\);\n
		(\tfor \(struct cleave__node)/cookie = self->counters.gp_waits;\n$1/'
plant no_dead_mark_on_leaves restructure.c \
	's/\t\tif \(leaf->replaced == CLEAVE__REPLACED\)\n\t\t\tcleave__mark_dead_locked\(leaf\);/\t\t;/'
plant no_dead_mark_on_branches restructure.c \
	's/(branch = branch->link\)\n)\t\tcleave__mark_dead_locked\(branch\);/$1\t\t;/'
plant dead_mark_after_store restructure.c \
	's/(\tfor \(struct cleave__node \*leaf = txn->leaves; leaf; leaf = leaf->link\)\n
		\t\tif \(leaf->replaced == CLEAVE__REPLACED\)\n
		\t\t\tcleave__mark_dead_locked\(leaf\);\n)(.*?)(\tif \(cover\) \{.*?\n\t\}\n)/$2$3$1/s'
only='words_recur*'
plant no_count_of_removals \
	leaf.h 's/order \+= \(uint64_t\)removes << 60;/(void)removes;/'
only=
plant edit_raises_late update.c \
	's/(\tif \(edit\.gap && position->parent &&.*?\n\t\}\n)(\tcleave__pool_store_edit\(self, &edit\);\n)/$2$1/s'
plant cover_raises_late restructure.c \
	's/ \|\|\n\t    \(cover && !raise_cover\(txn, cover, &txn->runs\[0\]\)\)\)/)/' \
	restructure.c \
	's/(static bool raise_cover\(.*?\n\}\n)/$1\n
		static void late(struct cleave_txn *txn, struct cleave__branch *cover, struct cleave__run
		 *run)\n{\n\traise_cover(txn, cover, run);\n}\n/s;
		s/(run->fresh\);\n)(\t\tcleave__unlock_node\(index, &cover->node\);)/
		$1\t\tlate(txn, cover, &txn->runs[0]);\n$2/'
plant raise_stops_at_parent gapbound.c \
	's/\tfor \(; (parent \|\| !high_enough\(index, self, level, addr, gap, try_only\)); parent =
		 NULL\)/\tfor (bool once = $1; once; once = false)/'
plant raise_not_undone gapbound.c 's/\t\tif \(!ok\)\n\t\t\tcleave__branch_set_gap_locked\(held\[n\], .*?\n//'
plant copy_gap_not_raised update.c \
	's/ \|\|\n\t    \(edit->gap > cleave__branch_gap\(parent, position->index\) &&\n.*?parent, true\)\)\)/)/'
plant raise_in_dead_parent gapbound.c \
	's/cleave__trylock_live\(index, &known->node\)/cleave__trylock(&known->node.lock)/'
plant raise_trusts_dead_parent gapbound.c 's/ >= gap &&\n\t\t\t !cleave__dead_locked\(&parent->node\)/ >= gap/' \
	update.c 's/ < edit\.gap \|\|\n\t\s*cleave__dead_locked\(&position->parent->node\)\)/ < edit.gap)/' \
	gapbound.h 's/ >= gap && !cleave__dead_locked\(&parent->node\)/ >= gap/'
cells=6
only=words_recur_erase
plant erase_not_counted edit.c \
	's/(\tcleave__leaf_exchange\(leaf, order,\n)/\torder -= (uint64_t)below << 60;\n$1/'
only=bound_of_dead_parent
plant erase_trusts_dead_parent gapbound.h 's/ >= gap && !cleave__dead_locked\(&parent->node\)/ >= gap/'
only=
plant erase_raises_nothing gapbound.h 's/cleave__branch_gap\(parent, position->index\) >= gap/true/'
plant erase_in_spite_of_bound edit.c \
	's/!(cleave__raise\(index, self, 0, first, gap, position\.parent, true\))/($1, false)/'
plant erase_at_border edit.c 's/if \(position\.r - 1 >= position\.count - 2 &&/if (false \&\&/'
plant edit_of_dead_leaf edit_lock.h 's/if \(PORT_LIKELY\(\*order < CLEAVE__DEAD\)\)/if (true)/'
plant hold_of_dead_leaf edit_hold.c 's/if \(PORT_UNLIKELY\(position\.order >= CLEAVE__DEAD\)\)/if (false)/'
plant edit_not_locked edit_lock.h \
	's/if \(PORT_UNLIKELY\(!cleave__trylock\(&leaf->node\.lock\)\)\)/if (false)/;
		s/\tcleave__unlock_dead\(index, &leaf->node\);\n//' \
	edit.c 's/\tcleave__unlock_node\(index, leaf\);\n//'
# space was found before the leaf was locked
plant found_space_trusted edit.c 's/if \(PORT_UNLIKELY\(order != position->order\)\)/if (false)/'
plant insert_over_the_end edit.c 's/PORT_UNLIKELY\(gap\.last < last\) \|\| //'
plant insert_over_an_entry edit.c 's/PORT_UNLIKELY\(gap\.value != NULL\) \|\| //'
cells=
plant lower_without_child gapbound.c \
	's/(\tif \(cleave__trylock_live\(index, &parent->node\)\) \{\n)
		(\t\tif \(child->level.*?\n.*?\n)/$2\tcleave__unlock_node(index, child);\n$1/;
		s/(\t\tcleave__unlock_node\(index, &parent->node\);\n
		\t\}\n)\tcleave__unlock_node\(index, child\);\n/$1/'
# what the search has seen in the leaf is not there any more
plant lower_to_what_was gapbound.c 's/child->level \|\| cleave__order_locked\(.*?\) != order/child->level/'
plant lower_by_dead_child gapbound.c 's/cleave__trylock_live\(index, child\)/cleave__trylock(&child->lock)/'
# a copy in the leaf's place
plant copied_leaf_lives_on update.c 's/\tcleave__mark_dead_locked\(position->node\);\n//'
plant copied_under_dead_parent update.c \
	's/cleave__trylock_live\(index, &parent->node\)/cleave__trylock(&parent->node.lock)/'
plant copied_without_lock update.c \
	's/\tif \(PORT_UNLIKELY\(!cleave__trylock_live\(index, &parent->node\)\)\)/
		\tif (cleave__dead_locked(\&parent->node))/;
		s/(copy\);\n)\tcleave__unlock_node\(index, &parent->node\);\n/$1/'
plant filled_copy_over_the_end edit.c 's/ && change->last <= tail//'
plant filled_copy_over_an_entry edit.c 's/!PORT_CELL_READ\(leaf->value\[at\]\) && change/change/'
plant erased_copy_keeps_gap_above edit.c 's/cleave__count12\(dropped\)/1/'
plant dead_lock_handed_over nodelock.h 's/(cleave__unlock\(index->domain, &node->lock, )false/$1true/g'
plant dead_lock_handed_over_after_edit update.c \
	's/(cleave__unlock\(index->domain, &position->node->lock, )!dead\)/${1}true)/'
plant lock_not_checked_dead nodelock.h \
	's/PORT_LIKELY\(!cleave__dead_locked\(position->node\)\)/true/'
plant count_read_after_mark nodelock.c \
	's/\twait->seen = PORT_LOAD\(&bucket->count, PORT_ACQUIRE\);\n//;
		s/(\t\t\twait->lock = lock;\n)/
		$1\t\t\twait->seen = PORT_LOAD(&bucket->count, PORT_ACQUIRE);\n/'
plant wakes_before_count nodelock.c \
	's/(\tPORT_FETCH_ADD\(&bucket->count.*?\n)(\tdomain->ops->wake\(.*?\n)/$2$1/'
plant unlock_wakes_nobody nodelock.c 's/\tdomain->ops->wake\(domain, &bucket->count\);\n//'
plant park_in_section nodelock.c \
	's/(\t\t\t)cleave__leave\(index, self\);\n
		\t\t\t(cleave__park\(index->domain, self, &wait\);)\n/$1$2\n$1cleave__leave(index, self);\n/'
plant ticket_of_dead_leaf search.c 's/ticket->order = cleave__order_ticket\(order\)/ticket->order = order/' \
	index.c 's/cleave__order_ticket\(position\.order\)/position.order/'
# from leaf to leaf through a branch that has been replaced
plant cursor_through_dead_branch steps.h 's/ \|\| cleave__dead_locked\(&parent->node\)\)/)/'
plant cursor_to_dead_branch_beside search.c \
	's/if \(!cleave__step\(position, 0\)\)\n
		\t\t\treturn false;/
		position->node = cleave__link_read_rcu(&beyond->child[0]); position->index = 0;
		 position->order = cleave__order_rcu(cleave__leaf_const(position->node));/'
only=cursor_into_one_branch
plant cursor_round_the_end search.c 's/ \|\| last == CLEAVE_LAST//; s/leaf->node\.last < last && //g'
only=
plant covers_not_validated index.c 's/if \(!still_so\(&cover\)\)/if (false)/'
plant txn_left_neighbour_free txn.c 's/first \? first - 1 : 0, last < UINT64_MAX/first, last < UINT64_MAX/'
plant txn_right_neighbour_free txn.c 's/last < UINT64_MAX \? last \+ 1 : last, try_only/last, try_only/' \
	repack.c 's/return cleave__leaf_gap_at_end\(cleave__leaf_const\(leaf->link\)/
		return leaf->link && cleave__leaf_gap_at_end(cleave__leaf_const(leaf->link)/'
plant border_not_looked_at border.c \
	's/if \(cleave__leaf_gap_at_end\(cleave__leaf\(beside\), side == LEFT\)\)/if (false)/' \
	edit.c 's/return value != NULL;/(void)value;\n\treturn true;/'
plant border_not_locked border.c \
	's/cleave__trylock_live\(index, beside\)/cleave__dead_locked(beside) == false/;
		s/(else\n\t\t\t)cleave__unlock_node\(index, beside\);/$1;/' \
	edit.c 's/!cleave__trylock_live\(index, beside\)/cleave__dead_locked(beside)/;
		s/\tcleave__unlock_node\(index, beside\);\n//'
plant border_of_dead_leaf border.c 's/cleave__trylock_live\(index, beside\)/cleave__trylock(&beside->lock)/' \
	edit.c 's/cleave__trylock_live\(index, beside\)/cleave__trylock(&beside->lock)/'
only=pair/erase/erase
plant beside_not_looked_at edit.c 's/return value != NULL;/(void)value;\n\treturn true;/'
plant beside_the_other_end edit.c 's/at = left \? (search_count\([^;]*) - 1 : 0;/at = left ? 0 : $1 - 1;/'
plant beside_not_locked edit.c 's/!cleave__trylock_live\(index, beside\)/cleave__dead_locked(beside)/;
		s/\tcleave__unlock_node\(index, beside\);\n//'
only=triple/erase/erase/insert
plant beside_of_dead_leaf edit.c 's/cleave__trylock_live\(index, beside\)/cleave__trylock(&beside->lock)/'
only=
# leaves of one branch, replaced
plant siblings_of_dead_parent siblings.c 's/live = !cleave__dead_locked\(parent\);/live = true;/'
plant siblings_of_dead_leaf siblings.c 's/cleave__trylock_live\(index, beside\)/cleave__trylock(&beside->lock)/'
plant siblings_not_locked siblings.c \
	's/!cleave__trylock_live\(index, beside\)/cleave__dead_locked(beside)/;
		s/\t\tcleave__unlock_dead\(s->index, beside\);\n//;
		s/\tif \(beside\)\n\t\tcleave__unlock_node\(index, beside\);\n//;
		s/\tcleave__unlock_node\(index, beside\);\n//g' \
	border.c 's/if \(cleave__leaf_gap_at_end\(cleave__leaf\(beside\), side == LEFT\)\)/if (false)/'
plant siblings_live_on siblings.c 's/\t\t\tcleave__mark_dead_locked\(s->old\[k\]\);/\t\t\t;/'
plant siblings_parent_lives_on siblings.c 's/\t\tcleave__mark_dead_locked\(&s->parent->node\);\n//'
only=hold_cuts_under_a_full_branch
plant siblings_grown_lives_on siblings.c 's/\t\tif \(grows\)\n\t\t\tcleave__mark_dead_locked\(&s->grown->node\);\n//'
plant siblings_grown_bound_lost siblings.c 's/cleave__branch_largest_gap\(below\)/0/'
only=
plant siblings_dead_after_store siblings.c \
	's/(\t\tfor \(unsigned int k = 0; k < s->nold; k\+\+\)\n
		\t\t\tcleave__mark_dead_locked.*?&s->parent->node\);\n)(.*?, copy\);\n
		.*?, copy\);\n)/$2$1/s'
plant siblings_bound_too_low siblings.c 's/fits = !above \|\| bound_suffices\(s, above, i\);/fits = true;/'
plant siblings_parent_not_locked siblings.c \
	's/\tif \(!cleave__trylock\(&parent->lock\)\)\n\t\treturn false;\n//;
		s/\tcleave__unlock\(s->index->domain, &parent->lock, live\);\n//;
		s/\tcleave__unlock\(s->index->domain, &s->parent->node\.lock, (!fits|true)\);\n//g'
only=alloc_begins_where_it_did
plant alloc_begins_in_a_dead_branch gap.c 's/ &&\s+!cleave__dead_locked\(&edge->parent->node\)//'
only=alloc_goes_on_where_it_did
plant alloc_goes_on_under_a_dead_branch gapwalk.h 's/ \|\| cleave__dead_locked\(&from->above->node\)//'
only=bound_two_lowerings
plant lower_of_gaps_not_asked_for gapwalk.h 's/if \(room >> i & 1\).*?\n\t\t\tmisled/misled/'
only='alloc_begins_*'
plant alloc_begins_in_a_reused_branch gap.c 's/ && edge->begun == begun//'
only=
plant insert_not_checked update.c 's/if \(!entry->value && entry->last >= change->last\)/if (!entry->value)/'
only=hold_begins_where_it_was
plant hold_begins_at_a_reused_leaf edit_hold.c 's/ && self->last\.begun == begun//'
only=hold_goes_on_upward
plant hold_goes_on_at_a_reused_leaf edit_hold.c \
	's/(\tif \(!last->again \|\| !)remembers\(index, self, begun\)/$1(last->index == index->number)/'
only=hold_goes_on_further
plant hold_goes_on_past_the_leaf edit_hold.c 's/return addr >= next->first && addr <= next->last;/return true;/'
only=
only=hold_divides_under_another
plant hold_begins_with_a_late_number edit_hold.c \
	's/(\t\tposition = lock_leaf_slowly\(index, self, addr, position\);\n)/$1\tbegun = cleave__pool_begun(self);\n/'
plant hold_divides_under_a_reused_branch hold.c \
	's/ && begun && last->begun == begun//'
only=
plant division_under_a_dead_branch siblings.c \
	's/cleave__trylock_live\(s->index, &s->above->node\)/cleave__trylock(\&s->above->node.lock)/'
plant edit_searches_before_lock edit_lock.h \
	's/(\tif \(PORT_UNLIKELY\(!cleave__trylock\(&leaf->node\.lock\)\)\)\n
		\t\treturn false;\n)(\t\*order = cleave__order_locked\(leaf\);\n)/$2$1/'
plant hold_copies_unlocked hold.c 's/(hold->leaf, copy, edit\.gap, )true, false/${1}false, false/'
plant hold_gap_not_raised hold.c 's/(static void raise\(.*?\n\{\n)/$1\treturn;\n/s'
plant hold_gap_raised_late hold.c \
	's/(\traise\(hold, first, cleave__gap_size\(gap_first, gap_last\)\);\n)(.*?\n\t\t\t\s+\}\);\n)/$2$1/s'
plant hold_gap_at_border hold.c 's/return !seen \|\| border\.joins\[0\] \|\| border\.joins\[1\];/return false;/'
plant store_of_dead_leaf nodelock.h \
	's/(if \(PORT_LIKELY\(cleave__trylock\(&position->node->lock\)\)\) \{\n
		\t\tif \()PORT_LIKELY\(!cleave__dead_locked\(position->node\)\)/$1true/'
plant hold_cell_reused_at_once pool.h 's/if \(node->cookie <= self->passed\)/if (true)/'
plant hold_cell_retired_early hold.c \
	's/(\tcleave__leaf_exchange\(leaf, order,.*?\}\);\n)
		(\tcleave__pool_drop_displaced\(self, leaf, dropped\);\n)/$2$1/s'
plant hold_replaced_cell_retired_early edit_hold.c \
	's/\tif \(PORT_UNLIKELY\(!hold->entry\.value\)\)\n.*?\tdrop_displaced\(hold, cell\);\n//s;
		s/(\tif \(PORT_UNLIKELY\(!cleave__leaf_replace\()/
		\tcleave__pool_drop_cells(self, leaf, cell);\n$1/'
plant hold_replaced_cell_not_retired edit_hold.c \
	's/\tif \(PORT_UNLIKELY\(!hold->entry\.value\)\)\n.*?\tdrop_displaced\(hold, cell\);\n/\t(void)cell;\n/s'
# a cookie without a barrier behind a store that has none
plant hold_cookie_without_barrier edit_hold.c 's/if \(PORT_UNLIKELY\(!hold->entry\.value\)\)/if (false)/'
plant hold_replaces_in_place leaf.h \
	's/(\tPORT_CELL_WRITE\(leaf->start\[cell\], entry->first\);\n)/$1\tPORT_CELL_WRITE(leaf->value[at], value);\n/'
plant hold_rest_in_the_cell_it_leaves leaf.h 's/rest = \(unsigned int\)__builtin_ctz\(others\);/rest = at;/'
plant hold_divides_unlocked siblings.c 's/s->keep_locked \? CLEAVE__LOCKED : 0/0/'
# a leaf that is cut upward
only='hold_cuts_off*'
plant cut_off_leaf_lives_on hold.c 's/\tcleave__mark_dead_locked\(leaf\);\n//'
plant cut_off_parent_lives_on hold.c 's/\tcleave__mark_dead_locked\(&parent->node\);\n//'
plant cut_off_under_a_dead_parent hold.c \
	's/cleave__trylock_live\(index, &place->parent->node\)/cleave__trylock(&place->parent->node.lock)/'
plant cut_off_under_a_dead_branch hold.c \
	's/cleave__trylock_live\(index, &place->above->node\)/cleave__trylock(&place->above->node.lock)/'
only=hold_cuts_off_beside_a_growing_gap
plant cut_off_copied_unlocked hold.c \
	's/(\tif \(parent->node\.count == CLEAVE__FANOUT) \|\| (!lock_place\(index, place\)\))(\n\t\treturn false;\n)
		(.*?)(\ti = cleave__branch_index)/$1)$3$4\tif ($2$3$5/s'
only='hold_cuts_off*'
plant cut_off_bound_lost hold.c 's/cleave__node_gap\(below\)/0/'
plant cut_off_gap_lost hold.c 's/end < rest->last \? .*?, rest->last\) : 0/0/'
plant cut_off_unlocked hold.c \
	's/(numbers \| \(uint64_t\)live << 48, PORT_RELAXED\);\n\tPORT_STORE\(&node->lock, )CLEAVE__LOCKED/${1}0/'
plant cut_off_gap_stays_below hold.c 's/\t\tlive &= ~\(1u << cleave__cell\(hold->order, r \+ 1\)\);\n/\t\t;\n/'
only=hold_cuts_off_seen_by_another
how=pct
plant cut_off_dead_after_store hold.c \
	's/(\tcleave__mark_dead_locked\(leaf\);\n)(\tcleave__mark_dead.*?\n
		\tcleave__link_publish_locked.*?\n)/$2$1/'
how=
only=
plant hold_forgets_a_leaf hold.c \
	's/\tdo \{\n(\t\tnext = hold->leaf->link;.*?)\} while \(PORT_UNLIKELY\(next != NULL\)\);/\t{\n$1}/s'
plant hold_hands_over_unlocked hold.c \
	's/ &&\n\t    !put_in_several\(hold, first, last, value, share\)//;
		s/cleave__publish\(txn, true\)/cleave__publish(txn, false)/;
		s/static bool put_in_several/__attribute__((unused)) $&/'
plant many_word_twice many.h 's/search_entry_many\(leaf, order,/search_entry_many(leaf, cleave__order_rcu(leaf),/'
plant many_link_relaxed many.h \
	's/cleave__link_read_rcu\((cleave__branch_child\(.*?\))\);/
		(const struct cleave__node *)(uintptr_t)PORT_LOAD($1, PORT_RELAXED);/s'
# U8: where the leaf was to be merged, a transaction has counted since it was unlocked
plant unlock_counted_late update.c \
	's/(, !dead\);\n)(\tif \(!change->try_only\)\n\t\tPORT_COUNT_RELEASE\(self->unlocks\);).*?\n(.*?)
		(\tcleave__pool_nudge\(self\);\n)/$1$3$2\n$4/s'
plant duplicate_half_locked build.c 's/(cleave__begin\(&txn, from, self, 0, )UINT64_MAX/${1}0/'
exit $missed
