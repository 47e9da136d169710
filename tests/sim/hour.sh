#!/bin/sh
# SPDX-License-Identifier: ISC
# All scenarios of the index on one processor, for a good hour, in one piece; CI runs a minute of the same.
#	tests/sim/hour.sh BUILD_DIRECTORY [SECONDS [FOLDER]]
# SECONDS: of the processor's time (3600).  FOLDER: where each part's table is written (BUILD_DIRECTORY/hour).
# Exhaustive first, then what chance finds; no execution is counted in two parts.
set -eu
export LC_ALL=C

build=$1/tests/sim
seconds=${2:-3600}
folder=${3:-$1/hour}
mkdir -p "$folder"
status=0

header="part finished executions distinct classes seconds failures"
format='%-22s %15s %11s %11s %11s %8s %8s\n'
printf "$format" $header
: > "$folder/parts"

part() { # NAME SHARE PROGRAM ARGUMENT...: so many of 60 parts of the time
	name=$1
	share=$(awk "BEGIN { print $seconds * $2 / 60 }")
	program=$3
	shift 3
	"$build/$program" --processor --seconds "$share" "$@" > "$folder/$name" || status=1
	awk -v name="$name" '
		/^FAILED/ { failures++ }
		$1 == "total" {
			finished = $9 == "" ? "-" : $9 " of " $11
			sub(/ *\(not finished\)/, "", finished)
			print name "|" finished "|" $2 "|" $4 "|" $5 "|" $7 "|" failures + 0
		}' "$folder/$name" | tee -a "$folder/parts" | tr '|' '\n' | {
		IFS= read -r a; IFS= read -r b; IFS= read -r c; IFS= read -r d
		IFS= read -r e; IFS= read -r f; IFS= read -r g
		printf "$format" "$a" "$b" "$c" "$d" "$e" "$f" "$g"
	}
}

part pairs-3 30 cleave-sim --strategy dfs --preemptions 3 --scenario 'pair/*'
part triples-2 6 cleave-sim --strategy dfs --preemptions 2 --scenario 'triple/*'
part named-2 6 cleave-sim --strategy dfs --preemptions 2 --scenario named
part drawn 6 cleave-sim --scenario drawn --seed 101
part drawn-pct 4 cleave-sim --scenario drawn --seed 102 --strategy pct
part drawn-least 5 cleave-sim-least --scenario drawn --seed 103
part named-random 3 cleave-sim-six --scenario named --seed 104
awk -F '|' '{ c += $3; d += $4; e += $5; f += $6; g += $7 }
	END { printf "'"$format"'", "total", "-", c, d, e, f, g }' "$folder/parts"
# What was explored, for explored.md.
for name in pairs-3 triples-2 named-2; do
	printf '\n## %s preemptions: %s\n\n' "${name##*-}" "${name%-*}"
	echo '| scenario | finished | executions | distinct | pruned | classes | steps | seconds |'
	echo '| --- | --- | --- | --- | --- | --- | --- | --- |'
	awk 'NR > 2 && $10 == "of" {
		print "| " $1 " | " $9 " of " $11 " | " $2 " | " $4 " | " $3 " | " $5 " | " $6 " | " $7 " |"
		}' "$folder/$name" | sort
done > "$folder/explored.md"
exit $status
