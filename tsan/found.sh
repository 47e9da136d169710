#!/bin/sh
# SPDX-License-Identifier: ISC
# Run a program with a planted fault until Thread Sanitizer reports a race, ten times at most, each with another seed.
# usage: found.sh PROGRAM [SECONDS]
# Exit status: 0 found; 1 not found, or the program ended in another way.
set -u
program=$1
seconds=${2:-2}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
TSAN_OPTIONS=halt_on_error=1:exitcode=66:history_size=4
export TSAN_OPTIONS

run=1
while [ "$run" -le 10 ]; do
	timeout $((seconds + 30)) "$program" "$seconds" "$run" >"$log" 2>&1
	status=$?
	case $status in
	0) ;;
	66)
		# A crash under Thread Sanitizer ends with 66 as well.
		if grep -q '^WARNING: ThreadSanitizer: \(data race\|heap-use-after-free\)' "$log"; then
			echo "found in run $run: $(sed -n 's/^SUMMARY: ThreadSanitizer: //p' "$log" | head -n 1)"
			exit 0
		fi
		echo "run $run: exit status 66 without a race"
		cat "$log"
		exit 1
		;;
	*)
		echo "run $run: exit status $status, not 66"
		cat "$log"
		exit 1
		;;
	esac
	run=$((run + 1))
done
echo "not found in 10 runs"
exit 1
