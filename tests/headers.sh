#!/bin/sh
# SPDX-License-Identifier: ISC
# headers.sh HEADER INCLUDE_DIR FLAVOURS COMPILER...
# Compile one public header alone, as C and (.hpp: only) as C++, with every compiler that is there and every flavour of
# section.h.
set -eu

header=$1 include=$2 flavours=$3
shift 3

tried=0
check() { # COMPILER LANGUAGE STANDARD EXTRA...
	compiler=$1 language=$2 standard=$3
	shift 3
	echo "$compiler -x $language -std=$standard $* $header"
	# Included twice: the guard works.
	printf '#include <cleave/%s>\n#include <cleave/%s>\nextern int cleave_header_compiled;\n' "$header" "$header" |
		"$compiler" -x "$language" "-std=$standard" -Wall -Wextra -Wpedantic -Wshadow -Werror -fsyntax-only \
			-I "$include" "$@" -
	tried=$((tried + 1))
}

# A header of types declares no function, so that others may include it cheaply.
case $header in
*types.h)
	if grep -nE 'CLEAVE_API|^static inline|^#include "[a-z]*[^s]\.h"' "$include/cleave/$header"; then
		echo "$header: more than types" >&2
		exit 1
	fi
	;;
esac

case $header in
section.h | *.hpp) sections=$flavours ;;
*) sections= ;;
esac

# cc is mostly gcc or clang by another name.
distinct() { # COMPILER...
	for compiler; do
		path=$(command -v "$compiler") || continue
		echo "$(readlink -f "$path") $compiler"
	done | sort -u -k 1,1 | cut -d ' ' -f 2
}

for compiler in $(distinct cc gcc clang "$@"); do
	case $header in
	*.hpp) break ;;
	esac
	check "$compiler" c c11
	check "$compiler" c gnu11
	check "$compiler" c c17
	for section in $sections; do
		check "$compiler" c c11 "-DCLEAVE_SECTION_$section"
		check "$compiler" c gnu17 "-DCLEAVE_SECTION_$section"
	done
done
for compiler in $(distinct c++ g++ clang++); do
	case $header in
	*.hpp) ;; # it wants a flavour
	*) check "$compiler" c++ c++17 ;;
	esac
	for section in $sections; do
		# ConcurrencyKit 0.7.1's own ck_stack.h is not valid C++: with it our header cannot be either.
		if [ "$section" = CK ] &&
			! echo '#include <ck_stack.h>' | "$compiler" -x c++ -fsyntax-only - 2>/dev/null; then
			echo "$compiler: ck_stack.h is no C++ here"
			continue
		fi
		check "$compiler" c++ c++17 "-DCLEAVE_SECTION_$section"
		check "$compiler" c++ gnu++17 "-DCLEAVE_SECTION_$section"
	done
done
test "$tried" -gt 0
