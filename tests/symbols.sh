#!/bin/sh
# SPDX-License-Identifier: ISC
# symbols.sh LIBRARY INCLUDE_DIR
# The shared library exports what the headers declare, and nothing else.
set -eu

library=$1 include=$2
exported=$(nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u)
declared=$(cat "$include"/cleave/*.h | tr '\n' ' ' | grep -oE 'CLEAVE_API [^;(]*[;(]' |
	grep -oE 'cleave_[a-z0-9_]+ *[;(]' | tr -d ' ;(' | sort -u)

test -n "$exported" && test -n "$declared"
status=0
for symbol in $exported; do
	if ! echo "$declared" | grep -qx "$symbol"; then
		echo "exported, but in no header: $symbol"
		status=1
	fi
done
# Ports that this build leaves out, and what only Thread Sanitizer needs, are declared all the same.
for symbol in $declared; do
	case $symbol in
	cleave_urcu_* | cleave_ck_* | cleave_section_tsan_*) continue ;;
	esac
	if ! echo "$exported" | grep -qx "$symbol"; then
		echo "declared, but not exported: $symbol"
		status=1
	fi
done
exit $status
