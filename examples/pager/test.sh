#!/bin/sh
# SPDX-License-Identifier: ISC
# test.sh NAME CLEAVE-PAGER CLEAVE-PAGER-STRESS CLEAVE-PAGER-KILLED: runs the test of that name.  77: skipped.
set -u

name=$1 pager=$2 stress=$3 killed=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "pager-$name: $*" >&2
	exit 1
}

skip() {
	echo "pager-$name: skipped: $*" >&2
	exit 77
}

value() { # NAME: a number of the result
	sed -n "s/.*\"$1\": \\([0-9]*\\)[,.}].*/\\1/p; s/.*\"$1\": \\([0-9]*\\)\$/\\1/p" "$work/json" | head -n 1
}

at_least() { # NAME NUMBER
	found=$(value "$1")
	[ "${found:-0}" -ge "$2" ] || fail "$1 is ${found:-missing}, wanted at least $2"
}

# The program has to succeed, and nothing to be violated; $permille of its faults, at least, are the pager's.
permille=900
serves() { # [OPTIONS] PROGRAM ...
	"$pager" --quiet --json "$work/json" --swap "$work" "$@" 2>"$work/report"
	status=$?
	if [ $status -ne 0 ]; then
		cat "$work/report" >&2
		fail "exit status $status"
	fi
	[ "$(value violations)" -eq 0 ] || fail "violations: $(cat "$work/json")"
	[ "$(value events_unexpected)" -eq 0 ] || fail "events that no transaction held"
	counted=$(value faults_counted) served=$(value faults)
	[ $((served * 1000)) -ge $((counted * permille)) ] || fail "only $served of $counted faults were served"
}

has() { # PROGRAM
	command -v "$1" >/dev/null
}

# Permitted?
"$pager" --quiet true 2>"$work/report"
status=$?
if [ $status -eq 2 ]; then
	grep -q 'unprivileged_userfaultfd' "$work/report" || fail "it does not say what it lacks: $(cat "$work/report")"
	skip "$(head -n 1 "$work/report")"
fi
[ $status -eq 0 ] || fail "true: $(cat "$work/report")"

case $name in
compare)
	"$pager" --compare --quiet --limit 8M --json "$work/json" --swap "$work" \
		"$stress" --threads 3 --pages 900 --seconds 1 2>"$work/report" || fail "$(cat "$work/report")"
	for engine in cleave mutex-tree chunked; do
		grep -q "^$engine .*%\$" "$work/report" ||
			fail "no line of $engine, or it failed: $(cat "$work/report")"
		grep -q '"violations": 0' "$work/json.$engine" || fail "violations with $engine"
	done
	;;
stress-*)
	# Twice as much is touched as may stay.
	serves --engine "${name#stress-}" --limit 8M --svg "$work/svg" "$stress" --threads 4 --pages 1024 --seconds 2 \
		--seed "$(date +%s)"
	at_least refault 100
	at_least "copy on write" 40 # each thread forks at its start, and both sides write to 16 pages
	at_least forks 1
	at_least evicted 1000
	at_least events 100
	grep -q '</svg>' "$work/svg" || fail "no picture"
	;;
resident)
	# What the limit of the stress test is worth: without one, more than twice of it is resident.
	serves "$stress" --threads 4 --pages 1024 --seconds 2 --seed "$(date +%s)" --no-forks
	at_least resident_peak 4096
	[ "$(value refault)" -eq 0 ] || fail "refaults without a limit"
	;;
programs)
	seq 1 400000 | awk '{ print (($1 * 7919) % 400009), $1 }' >"$work/lines"
	permille=800 # it is a short run: the libraries' own pages count
	serves --limit 12M sort --parallel=2 -S 40M -n "$work/lines" -o "$work/sorted"
	sort -c -n "$work/sorted" || fail "sort: not sorted"
	[ "$(wc -l <"$work/sorted")" -eq 400000 ] || fail "sort: lines are missing"
	at_least refault 1
	# Pipes, forks and execs; hardly any memory.
	permille=0
	serves sh -c 'for i in 1 2 3; do (ls / | cat | wc -l) >/dev/null; done; no-such-program 2>/dev/null; exec true'
	at_least forks 6
	;;
processes)
	# Many short lives at once: places in the pager's table are taken again while events of the dead are on the way.
	permille=0
	n=$(ls / | wc -l)
	for round in 1 2 3 4 5 6 7 8; do
		serves sh -c 'for k in 1 2 3 4; do
			(for i in 1 2 3 4 5 6 7 8 9 10; do [ "$(ls / | cat | wc -l)" = "$1" ] || echo wrong; done) &
			done; wait' sh "$n" >"$work/said"
		[ ! -s "$work/said" ] || fail "round $round: $(cat "$work/said" "$work/report")"
	done
	;;
killed)
	# One that was killed while it asked once held up all that asked later.
	permille=0
	serves "$killed" --children 1500 --seed "$(date +%s)"
	at_least forks 6000
	;;
python)
	has python3 || skip "no python3"
	cat >"$work/threads.py" <<'TEXT'
import threading, zlib
def work(k):
    pieces = [b"%d " % (k * i) * 500 for i in range(3000)]
    for turn in range(2):
        assert all(p == b"%d " % (k * i) * 500 for i, p in enumerate(pieces))
    del pieces[::2]
    sums[k] = zlib.crc32(b"".join(pieces))
sums = {}
threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sorted(sums.items()))
TEXT
	permille=800
	serves --limit 12M "$(python3 -c 'import sys; print(sys.executable)')" "$work/threads.py" >"$work/paged"
	python3 "$work/threads.py" >"$work/alone"
	cmp "$work/paged" "$work/alone" || fail "it prints something else"
	at_least refault 100
	;;
sqlite)
	has sqlite3 || skip "no sqlite3"
	serves --limit 6M sqlite3 :memory: "
		create table t(a integer primary key, b text);
		with recursive c(x) as (select 1 union all select x + 1 from c where x < 40000)
			insert into t select x, hex(randomblob(60)) from c;
		create index i on t(b);
		select count(*) from t where b in (select b from t order by b limit 1000);
		delete from t where a % 3 = 0;
		pragma integrity_check;" >"$work/said"
	[ "$(tr '\n' ' ' <"$work/said")" = "1000 ok " ] || fail "sqlite says $(cat "$work/said")"
	at_least refault 100
	;;
usage)
	"$pager" >/dev/null 2>&1
	[ $? -eq 2 ] || fail "no program: wanted exit status 2"
	"$pager" --limit nonsense true >/dev/null 2>&1
	[ $? -eq 2 ] || fail "a bad limit: wanted exit status 2"
	"$pager" --help | grep -q 'exit status' || fail "--help says too little"
	"$pager" --quiet false >/dev/null 2>&1
	[ $? -eq 1 ] || fail "a program that fails: wanted exit status 1"
	# Without the right to it, it says what is missing.
	if has setpriv && [ "$(id -u)" -eq 0 ] && [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 0 ]; then
		setpriv --reuid 65534 --clear-groups --inh-caps=-all "$pager" true 2>"$work/report"
		[ $? -eq 2 ] || fail "without the right to it: wanted exit status 2"
		grep -q 'unprivileged_userfaultfd' "$work/report" || fail "it does not say what it lacks"
	fi
	;;
*)
	fail "no such test"
	;;
esac
