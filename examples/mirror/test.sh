#!/bin/sh
# SPDX-License-Identifier: ISC
# test.sh NAME CLEAVE-MIRROR CLEAVE-MIRROR-STRESS CLEAVE-MIRROR-CASES: runs the test of that name.  77: skipped.
set -u

name=$1 mirror=$2 stress=$3 cases=$4
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "mirror-$name: $*" >&2
	exit 1
}

skip() {
	echo "mirror-$name: skipped: $*" >&2
	exit 77
}

# The program has to be mirrored without one disagreement.
agrees() {
	"$mirror" --quiet --json "$work/json" "$@" || fail "exit status $?"
	grep -q '"disagreements": 0$' "$work/json" || fail "they disagree"
	grep -q '"trouble": 0,$' "$work/json" || fail "the agent had trouble"
	windows=$(sed -n 's/.*"windows": \([0-9]*\),/\1/p' "$work/json")
	[ "$windows" -ge 10 ] || fail "only $windows windows were compared"
}

at_least() { # CALL NUMBER
	made=$(sed -n "s/.*\"$1\": \\([0-9]*\\)[, ].*/\\1/p" "$work/json")
	[ "$made" -ge "$2" ] || fail "only $made calls of $1"
}

case $name in
stress)
	# The map's own invariants are checked at its end.
	agrees "$stress" --threads 8 --seconds 6 --seed "$(date +%s)"
	at_least mmap 1000
	at_least munmap 1000
	at_least mprotect 1000
	at_least mremap 10
	at_least fork 1
	at_least maps_verified 1
	;;
cases)
	agrees "$cases"
	;;
naive)
	# It has to be caught within ten seconds, wrong while no call is under way.
	"$mirror" --quiet --naive --stop --json "$work/json" "$stress" --threads 8 --seconds 10 --seed "$(date +%s)"
	status=$?
	[ $status -eq 1 ] || fail "exit status $status, wanted 1"
	after=$(sed -n 's/.*"first_lasting_after": \([0-9]*\)\..*/\1/p' "$work/json")
	[ -n "$after" ] || fail "the naive order was not caught"
	[ "$after" -lt 10 ] || fail "the naive order was caught only after $after seconds"
	;;
fork-exec)
	agrees sh -c 'for i in 1 2 3 4 5; do (ls / | cat | wc -l) >/dev/null; done
		no-such-program 2>/dev/null; exec true'
	at_least fork 10
	at_least exec 10
	;;
java)
	command -v java >/dev/null || skip "no java: apt-get install default-jre-headless"
	if java --list-modules | grep -q '^jdk.compiler'; then
		agrees java -Xmx256m "$here/Churn.java" 5
	else
		agrees java -Xmx256m -Xshare:dump "-XX:SharedArchiveFile=$work/archive"
	fi
	at_least mmap 100
	at_least mprotect 100
	;;
node)
	command -v node >/dev/null || skip "no node: apt-get install nodejs"
	agrees node "$here/churn.js" 5
	at_least mmap 100
	at_least munmap 100
	;;
*)
	fail "no such test"
	;;
esac
