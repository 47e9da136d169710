#!/bin/sh
# SPDX-License-Identifier: ISC
# amalgamated.sh SOURCE_ROOT FLAVOURS CC...
# The two files that scripts/amalgamate writes: every flavour compiles without a warning and runs; all ways to search
# find the same.
set -eu

source=$(cd "$1" && pwd) flavours=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$source/scripts/amalgamate" "$work"
strict='-std=gnu11 -Wall -Wextra -Werror'
for name in program:tests/embed/program.c first_steps:examples/first_steps.c; do
	sed 's|<cleave/section.h>|"cleave.h"|' "$source/${name#*:}" >"$work/${name%%:*}.c"
done
for flavour in $flavours; do
	package=liburcu-$flavour macro=-DCLEAVE_SECTION_$(echo "$flavour" | tr a-z A-Z)
	[ "$flavour" != ck ] || package=ck
	"$@" $strict "$macro" -c "$work/cleave.c" -o "$work/cleave.o"
	"$@" $strict "$macro" "$work/program.c" "$work/cleave.o" -o "$work/program" \
		$(pkg-config --cflags --libs $package) -pthread
	"$work/program"
	if [ "$flavour" != ck ] && command -v c++ >/dev/null; then
		sed 's|<cleave/cleave.hpp>|"cleave.hpp"|' "$source/tests/test_cpp.cpp" >"$work/cpp.cpp"
		c++ -std=c++17 -Wall -Wextra -Werror "$macro" "$work/cpp.cpp" "$work/cleave.o" -o "$work/cpp" \
			$(pkg-config --cflags --libs $package) -pthread
		"$work/cpp"
	fi
done
case " $flavours " in
*" memb "*)
	"$@" $strict -DCLEAVE_SECTION_MEMB "$work/first_steps.c" "$work/cleave.c" -DNDEBUG -o "$work/first_steps" \
		$(pkg-config --cflags --libs liburcu-memb) -pthread
	"$work/first_steps"
	;;
esac
# Without a flavour: for who brings a domain, as these tests do.
cd "$source/tests"
"$@" $strict -O1 -DNDEBUG -c "$work/cleave.c" -o "$work/cleave.o"
"$@" -std=gnu11 -I"$source/include" test_search.c support.c model.c world.c world_ask.c world_draw.c "$work/cleave.o" \
	-o "$work/search" $(pkg-config --cflags --libs cmocka) -pthread
CLEAVE_TEST_SCALE=${CLEAVE_TEST_SCALE:-0.2} "$work/search"
