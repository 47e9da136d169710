#!/bin/sh
# SPDX-License-Identifier: ISC
#
# Makes the recordings in this folder again. Usage:
#
#	make.sh CLEAVE-RECORD CLEAVE-REPLAY [NAME...]
#
# for example "make.sh build/stress/cleave-record build/stress/cleave-replay firefox java".
# Without names: all of them. On Debian the programs come with
#
#	apt-get install chromium firefox-esr openjdk-17-jdk-headless nodejs python3 gcc
#
# No network is used. Every recording differs from the one before in addresses and in the order
# of calls. Browsers run without their sandboxes, which would not let themselves be traced.
set -eu

if [ $# -lt 2 ]; then
	sed -n '4,10s/^#[ 	]\{0,1\}//p' "$0"
	exit 2
fi
record=$(realpath "$1")
replay=$(realpath "$2")
shift 2
traces=$(cd "$(dirname "$0")" && pwd)
input=$traces/input
every=128
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# record NAME PROGRAM ARGUMENT...
record() {
	out=$traces/$1.trace.zst
	shift
	(cd "$work" && "$record" --seconds 120 --snapshot-every "$every" --out "$out" -- "$@") \
		>"$work/output" 2>&1 || { cat "$work/output"; echo "$out: failed" >&2; exit 1; }
	"$replay" "$out"
}

chromium_page() {
	mkdir "$work/chromium"
	record chromium chromium --headless --no-sandbox --disable-seccomp-filter-sandbox \
		--disable-gpu --disable-quic --no-first-run --disable-background-networking \
		--disable-component-update --disable-sync --disable-breakpad \
		--user-data-dir="$work/chromium" --timeout=60000 --dump-dom \
		"file://$input/page.html"
	grep -q '>done' "$work/output" || { echo "the page did not end" >&2; exit 1; }
}

firefox_page() {
	mkdir "$work/profile"
	(
		export HOME="$work" MOZ_CRASHREPORTER_DISABLE=1 MOZ_DISABLE_CONTENT_SANDBOX=1 \
			MOZ_DISABLE_RDD_SANDBOX=1 MOZ_DISABLE_SOCKET_PROCESS_SANDBOX=1 \
			MOZ_DISABLE_UTILITY_SANDBOX=1 MOZ_DISABLE_GPU_SANDBOX=1 \
			MOZ_DISABLE_GMP_SANDBOX=1
		record firefox firefox-esr --headless --no-remote --profile "$work/profile" \
			--screenshot "$work/shot.png" "file://$input/page.html"
	)
}

java_threads() {
	javac -d "$work" "$input/Threads.java"
	record java java -Xmx256m -cp "$work" Threads
}

special() {
	every=8
	gcc -std=gnu11 -O1 -o "$work/special" "$input/special.c" -lpthread
	record special "$work/special"
	every=128
}

[ $# -gt 0 ] || set -- chromium firefox java javac node gcc python special
for name in "$@"; do
	case $name in
	chromium) chromium_page ;;
	firefox) firefox_page ;;
	java) java_threads ;;
	javac) record javac javac -d "$work" "$input/Threads.java" ;;
	node) record node /usr/bin/node "$input/workers.js" ;;
	gcc) record gcc gcc -O2 -c "$input/build.c" -o "$work/build.o" ;;
	python) record python /usr/bin/python3 "$input/memory.py" ;;
	special) special ;;
	*) echo "make.sh: no recording is called $name" >&2; exit 2 ;;
	esac
done
