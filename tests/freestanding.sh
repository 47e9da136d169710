#!/bin/sh
# SPDX-License-Identifier: ISC
# freestanding.sh SOURCE_ROOT COMPILER SEARCHES MODE SOURCE...    MODE: -DNDEBUG or -UNDEBUG
# The core is compiled freestanding, linked into one object, and must need nothing but what the port contract lists.
set -eu

root=$1 compiler=$2 searches=$3 mode=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

allowed='^(memcpy|memset|memmove|memcmp|cleave__port_[a-z0-9_]+|cleave_search_named)$'

flags="-std=gnu11 -O2 -ffreestanding -fno-builtin -fno-stack-protector -fno-pie -U_FORTIFY_SOURCE $mode
	-I $root/include -I $root/lib -I $root/lib/port/user"
objects=
for source in "$@"; do
	object=$work/$(basename "$source" .c).o
	$compiler $flags -c "$source" -o "$object"
	objects="$objects $object"
done
for search in $searches; do
	case $search in
	avx2) simd='-mavx2 -mpopcnt -mbmi -mbmi2' ;;
	avx512) simd='-mavx512f -mavx512vl -mavx512bw -mavx512dq -mpopcnt -mbmi -mbmi2' ;;
	*) simd= ;;
	esac
	for source in search edit edit_hold; do
		object=$work/$source-$search.o
		$compiler $flags $simd -I "$root/lib/port/search/$search" -c "$root/lib/$source.c" -o "$object"
		objects="$objects $object"
	done
done
ld -r -o "$work/core.o" $objects
if nm -u "$work/core.o" | awk '{ print $2 }' | grep -Ev "$allowed"; then
	echo "the core ($mode) needs these, which no port promises"
	exit 1
fi
if readelf -sW "$work/core.o" | grep -E "\bTLS\b" ||
	readelf -SW "$work/core.o" | grep -E "\.(tbss|tdata|ctors|init_array)"; then
	echo "the core ($mode) has thread-local storage or constructors"
	exit 1
fi
# Writable data of its own would tie two users in one program together.
if nm "$work/core.o" | grep -E ' [bBdDC] '; then
	echo "the core ($mode) has writable data"
	exit 1
fi

# Only the port includes headers of the platform.
if grep -nE '#include *<' "$root"/lib/*.[ch] | grep -v '<cleave/'; then
	echo "the core includes a header that is not its own"
	exit 1
fi
