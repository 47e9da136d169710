#!/bin/sh
# SPDX-License-Identifier: ISC
# Does the simulator find bugs of the map?  Each is planted into a private copy of the library.
#	tests/sim/map_planted.sh SOURCE_ROOT [NAME...]
# Environment: CC, EXECUTIONS (of each named variant: a list, each tried if the one before found nothing).
. "$(dirname "$0")/planting.sh"

build() { # the copy in $work/lib
	# The index does not change: built once.
	if [ ! -e "$work/index.a" ]; then
		mkdir -p "$work/objects"
		for source in "$work"/lib/*.c "$work"/lib/port/sim/*.c "$root"/tests/sim/map_calls.c \
			"$root"/tests/sim/map_model.c "$root"/tests/sim/map_sim.c "$root"/tests/sim/runner.c; do
			case ${source##*/} in
			anon*.c | guard.c | map*.c | fault*.c) [ "${source%/*}" = "$root/tests/sim" ] || continue ;;
			esac
			compile -O1 -c -o "$work/objects/$(basename "$source").o" "$source"
		done
		ar rc "$work/index.a" "$work"/objects/*.o
	fi
	compile -O1 -o "$work/sim" "$work/objects/map_sim.c.o" "$work"/lib/map*.c "$work/index.a"
}

# plant NAME FILE PERL...: what the bug is called, where, and how to make it
plant() {
	asked "$1" || return 0
	mutate "$@"
	build || exit 2
	hunt '10 100 500'
	report "$1"
}

# Changes of a held entry
plant counted_after_unlock map_hold.c \
	's/cleave__map_object_made\(thread, hold, &attributes, pages\)/
		cleave__map_object_made(thread, hold, &attributes, 0)/;
		s/&hold, key, pages\)/&hold, key, 0)/;
		s/(struct effect \{\n)/$1\tstruct cleave__map_object *fresh;\n/;
		s/(\teffect->displaced = old;\n)/$1\teffect->fresh = object;\n/;
		s/(\t\tretired \|= cleave__map_pages_left\(thread, effect->displaced, pages\);\n)/
		\t\tcleave__map_pages_add(effect->fresh, pages);\n$1/'
plant translated_after_unlock map_hold.c \
	's/(\t\t\t\ttranslate\(map, start, end, old, object\);)/\t\t\t{\n
		\t\t\t\tcleave_hold_end(hold);\n$1\n
		\t\t\t\tcleave_hold_begin(hold, &map->index, thread->self, start);\n\t\t\t}/'
plant unmap_translated_after_unlock map_hold.c \
	's/\tif \(ops->translate\)\n\t\tops->translate\(ops, map, start, end, CLEAVE_MAP_REMOVE\);\n
		/\t(void)ops;\n/;
		s/(\terror = unmap\(&hold, .*?\n
		\tcleave_hold_end\(&hold\);\n)/$1\tif (!error && cleave__map_ops(map)->translate)\n
		\t\tcleave__map_ops(map)->translate(cleave__map_ops(map), map, start, end,
		 CLEAVE_MAP_REMOVE);\n/'
plant map_ignores_busy map_hold.c \
	's/ && undisturbed\(map, thread\)\) \{\n\t\terror = cleave__map_charge/) {\n\t\terror = cleave__map_charge/'
plant map_counted_late map_hold.c \
	's/PORT_STORE\(&object->pages, pages, PORT_RELAXED\);/(void)pages;/;
		s/(\tcleave__map_credit\(map, thread, bytes\.size, bytes\.data\);\n)/
		\tcleave__map_pages_add(object, request->size >> map->config.page_shift);\n$1/'
plant checked_before_lock map_hold.c \
	's/(int cleave__map_change_held\()/static struct cleave_map_attributes
		 stale[CLEAVE_MAP_STRIPES];\n$1/;
		s/(\tcleave_hold_begin\(&hold)/\tstruct cleave_entry seen;\n
		\tthread->self->domain->ops->enter(thread->self->domain, thread->self);\n
		\tcleave_lookup_rcu(&map->index, start, &seen);\n\tif (cleave__map_is_mapped(seen.value))\n
		\t\tstale[thread->stripe] = ((struct cleave__map_object *)seen.value)->attributes;\n
		\tthread->self->domain->ops->leave(thread->self->domain, thread->self);\n$1/;
		s/(\/\* What the rule makes of it is not known yet\. \*\/\n)/
		extern struct cleave_map_attributes *stale_of(struct cleave_map_thread *thread);\n$1/;
		s/attributes = old->attributes;/attributes = *stale_of(thread);/;
		s/\z/\nstruct cleave_map_attributes *stale_of(struct cleave_map_thread *thread)\n{\n
		\treturn &stale[thread->stripe];\n}\n/'
plant busy_read_before_lock map_hold.c \
	's/(\/\* May the map be changed now)/static uint64_t busy_seen[CLEAVE_MAP_STRIPES];\n\n$1/;
		s/uint64_t busy = PORT_LOAD\(&map->busy, PORT_RELAXED\);/
		uint64_t busy = busy_seen[thread->stripe];/;
		s/(\tcleave_hold_begin\(&hold)/
		\tbusy_seen[thread->stripe] = PORT_LOAD(&map->busy, PORT_RELAXED);\n$1/'
plant transition_changed_in_place map_hold.c \
	's/ && !object->attributes\.wired//;
		s/!\(object->attributes\.flags & CLEAVE_MAP_IN_TRANSITION\) && //'
plant made_not_kept map_object.c \
	's/PORT_STORE\(&object->pages, KEPT,/PORT_STORE(&object->pages, pages,/;
		s/\.pages = pages, \.uses/.uses/;
		s/KEPT - was\.pages/(uint64_t)0 - was.pages/'
plant made_not_settled map_object.c 's/\tcleave__map_settle_made\(thread, &thread->made\[1\]\);\n//'
plant left_not_settled map_object.c 's/\t\tcleave__map_settle_left\(thread, &thread->left\[i\]\);\n//'
# Transactions
plant txn_translated_after_unlock map_txn.c \
	's/\tif \(ops->translate\)\n\t\ttranslate_pieces\(txn\);\n/\t(void)translate_pieces;\n/;
		s/(\tcleave_end\(&txn->txn, &sink\.sink\);\n)/
		$1\tfor (uint32_t i = 0; i < txn->npieces; i++)\n
		\t\tif (cleave__map_ops(txn->map)->translate && (txn->pieces[i].actions &
		 (CLEAVE__ACT_REMOVE | CLEAVE__ACT_RESTRICT)))\n
		\t\t\tcleave__map_ops(txn->map)->translate(cleave__map_ops(txn->map), txn->map,
		 txn->pieces[i].start, txn->pieces[i].end, CLEAVE_MAP_RESTRICT);\n/'
plant munmap_checked_before_lock map_range.c \
	's/\treturn cleave__map_finish\(&txn, cleave_map_txn_munmap\(&txn, addr, addr \+ len\)\);/
		\tstruct part part;\n\n
		\tfor (uint64_t at = addr; !error && next_part(&txn, &at, addr + len, &part);)\n
		\t\tif (!cleave__map_is_mapped(part.object))\n\t\t\terror = -EINVAL;\n
		\tcleave_map_abort(&txn);\n\tif (!error)\n
		\t\terror = cleave__map_begin(&txn, map, thread, addr, addr + len, 0);\n\tif (error)\n
		\t\treturn error;\n
		\treturn cleave__map_finish(&txn, cleave_map_txn_unmap(&txn, addr, addr + len,
		 CLEAVE_MAP_KEEP_IMMUTABLE));/'
plant map_checked_before_lock map_space.c \
	's/(static int map_fixed\(.*?)\terror = check_range\(&txn, request, request->addr\);\n
		/$1\terror = check_range(&txn, request, request->addr);\n\tcleave_map_abort(&txn);\n
		\tif (error)\n\t\treturn error;\n
		\terror = lock_range(&txn, map, thread, request, request->addr);\n\tif (error)\n
		\t\treturn error;\n/s'
plant busy_not_looked_at map_txn.c 's/busy && busy != \(uint64_t\)\(uintptr_t\)txn->thread/false \&\& busy/'
plant busy_does_not_wait map_wire.c \
	's/\t\(void\)cleave_begin\(&txn, &map->index, thread->self, map->config\.min,
		 map->config\.max - 1\);\n\tcleave_abort\(&txn\);\n/\t(void)txn;\n/'
plant transition_not_looked_at map_txn.c 's/(object->attributes\.flags & CLEAVE_MAP_IN_TRANSITION\))/$1 \&\& false/'
plant wirings_counted_late map_wire.c \
	's/\t\tPORT_FETCH_ADD\(&map->wirings, 1, PORT_RELAXED\);\n//;
		s/(\t\tif \(error\) \{\n
		\t\t\tPORT_FETCH_ADD\(&map->wirings)/\t\tPORT_FETCH_ADD(&map->wirings, 1, PORT_RELAXED);\n
		$1/'
plant failed_wiring_stays map_wire.c \
	's/\t\t\tsettled\[n\]->attributes\.wired = moving->attributes\.wired - 1;[^\n]*\n//'
plant failed_wiring_not_let_go map_wire.c 's/moving->attributes\.wired == 1 && entries\[n\]\.first < done/false/'
plant failed_wiring_lets_all_go map_wire.c 's/ && entries\[n\]\.first < done//'
plant unbusy_wakes_nobody map_wire.c 's/(PORT_STORE\(&map->busy, 0, PORT_RELAXED\);\n)\tcleave__map_wake\(map\);\n/$1/'
plant wired_wakes_nobody map_wire.c \
	's/(\twire_end\(.*?\n\tPORT_FETCH_ADD\(&map->wirings.*?\n)\tcleave__map_wake\(map\);\n/$1/'
plant waits_for_what_it_saw_late map_txn.c \
	's/\t\tuint32_t seen = cleave__map_wakeups\(map\);\n//;
		s/cleave__map_wait\(map, thread, seen\);/
		cleave__map_wait(map, thread, cleave__map_wakeups(map));/'
# Objects
plant pages_dropped_in_two_steps map_object.c \
	's/\tif \(PORT_LOAD\(&object->pages, PORT_ACQUIRE\) == pages \|\|\n
		\t    PORT_FETCH_ADD\(&object->pages, \(uint64_t\)0 - pages, PORT_ACQ_REL\) == pages\)/
		\tPORT_FETCH_ADD(&object->pages, (uint64_t)0 - pages, PORT_ACQ_REL);\n
		\tif (PORT_LOAD(&object->pages, PORT_RELAXED) == 0)/'
plant released_at_once map_object.c \
	's/(static void retire\(struct cleave_map_thread \*thread, struct cleave__map_object
		 \*object\)\n\{\n)/$1\tobject_unref(thread, object);\n
		\tcleave__map_object_free(thread, object);\n\treturn;\n/'
exit $missed
