#!/bin/sh
# SPDX-License-Identifier: ISC
# Locks and read sections, checked by clang's -Wthread-safety.
#	check.sh CLANG SOURCE_ROOT library SOURCE...	the library's own sources compile without a warning
#	check.sh CLANG SOURCE_ROOT misuse FILE.c	so does FILE.c; with -DMISUSE it does not, for that reason alone
# Exit status: 0, or 1 with what the compiler said.
set -u

clang=$1 root=$2 what=$3
shift 3
compile() {
	"$clang" -std=gnu11 -fsyntax-only -Wall -Wextra -Wthread-safety -Werror -DCLEAVE_SEARCH=live \
		-DCLEAVE_SEARCH_LIVE -I"$root/lib" -I"$root/lib/port/user" -I"$root/lib/port/search/live" \
		-I"$root/include" "$@" 2>&1
}

if [ "$what" = library ]; then
	status=0
	for file in "$@"; do
		compile "$file" || status=1
	done
	exit $status
fi

if ! said=$(compile "$1"); then
	printf '%s\n' "$said" "$1: the correct form does not compile"
	exit 1
fi
if said=$(compile -DMISUSE "$1"); then
	echo "$1: the misuse compiles"
	exit 1
fi
errors=$(printf '%s\n' "$said" | grep 'error: ')
if printf '%s\n' "$errors" | grep -v 'Wthread-safety'; then
	echo "$1: the misuse does not compile, but for another reason"
	exit 1
fi
printf '%s\n' "$errors"
