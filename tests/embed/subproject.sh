#!/bin/sh
# SPDX-License-Identifier: ISC
# subproject.sh SOURCE_ROOT
# cleave as a meson subproject of another project, found by dependency().
set -eu

source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp -r "$source/tests/embed/subproject" "$work/parent"
mkdir "$work/parent/subprojects"
ln -s "$source" "$work/parent/subprojects/cleave"
# Nothing of an outer build may leak in.
unset MESON_TESTTHREADS CFLAGS LDFLAGS || :
meson setup -Dcleave:default_library=static "$work/build" "$work/parent" >"$work/log" 2>&1 ||
	{ cat "$work/log"; exit 1; }
meson test -C "$work/build" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
# Our tests stay out of the parent's.
meson test -C "$work/build" --list --no-rebuild 2>/dev/null | grep -v '^ninja' >"$work/list"
cat "$work/list"
test "$(grep -c . "$work/list")" = 1
