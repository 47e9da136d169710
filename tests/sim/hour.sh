#!/bin/sh
# SPDX-License-Identifier: ISC
# All scenarios on one processor, for a good hour, in one piece; CI runs a minute of the same.
#	tests/sim/hour.sh BUILD_DIRECTORY [SECONDS [FOLDER]]
# SECONDS: of the processor's time (3600).  FOLDER: for what each part said, and for an explored.md that says it all
# (BUILD_DIRECTORY/hour).  Exhaustive first, then what chance finds; no execution is counted in two parts.
set -eu
export LC_ALL=C

build=$1/tests/sim
seconds=${2:-3600}
folder=${3:-$1/hour}
tree=$(git -C "$(dirname "$0")" describe --always --dirty --exclude '*')
begun=$(date +%s)
mkdir -p "$folder"
status=0

header='| part | spaces finished | executions | distinct | classes | seconds |
| --- | --- | --- | --- | --- | --- |'
grouped='function grouped(n, rest) {
	for (; length(n) > 3; n = substr(n, 1, length(n) - 3))
		rest = "," substr(n, length(n) - 2) rest
	return n rest
}'

echo "$header"
: > "$folder/parts"

part() { # NAME SHARE STRATEGY PROGRAM ARGUMENT...: so many of 60 parts of the time
	name=$1
	strategy=$3
	program=$4
	share=$(awk "BEGIN { print $seconds * $2 / 60 }")
	shift 4
	"$build/$program" --processor --seconds "$share" --strategy "$strategy" "$@" > "$folder/$name" || status=1
	awk -v name="$name" -v strategy="$strategy" "$grouped"'
		function row(finished, spaces, executions, distinct, classes, seconds) {
			printf "| %s | %s | %s | %s | %s | %.0f |\n", name,
				strategy == "dfs" ? grouped(finished) " of " grouped(spaces) : "-",
				grouped(executions), grouped(distinct), grouped(classes), seconds
		}
		$1 == "total" && $3 == "executions," { row($10, $8, $2, "-", "-", $14); next } # runner.c
		$1 == "total" { row($9, $11, $2, $4, $5, $7) }' "$folder/$name" | tee -a "$folder/parts"
}

pairs='pairs at 3 preemptions'
triples='triples at 2 preemptions'
named='named scenarios at 2 preemptions'
part "$pairs" 25 dfs cleave-sim --preemptions 3 --scenario 'pair/*'
part "$triples" 9 dfs cleave-sim --preemptions 2 --scenario 'triple/*'
part "$named" 6 dfs cleave-sim --preemptions 2 --scenario named
part 'drawn' 4 random cleave-sim --scenario drawn --seed 101
part 'drawn, by pct' 3 pct cleave-sim --scenario drawn --seed 102
part 'drawn, nodes of 2 cells and 3 children' 4 random cleave-sim-least --scenario drawn --seed 103
part 'named scenarios, nodes of 6 cells' 2 random cleave-sim-six --scenario named --seed 104
part 'maps at 2 preemptions' 3 dfs cleave-sim-map --preemptions 2
part 'stores at 2 preemptions' 2 dfs cleave-sim-anon --preemptions 2
part 'faults' 2 random cleave-sim-fault --seed 105
awk -F ' *[|] *' "$grouped"'
	{ gsub(",", ""); executions += $4; seconds += $7 }
	END { print "| all | | " grouped(executions "") " | | | " seconds " |" }' "$folder/parts" > "$folder/all"
cat "$folder/all"

processor=$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)
minutes=$((($(date +%s) - begun + 59) / 60))
said='No failure.'
[ $status -eq 0 ] || said='There were failures.'
{
	cat <<-END
		# What was explored

		One run of \`hour.sh\` on one processor ($processor), on the tree of $tree:
		$seconds s of its time within $minutes minutes. $said

		"At n preemptions" is \`dfs\` with one deviation, in both memories; the rest is what chance finds.
		What a bound means, and what is counted, is said in README.md. A space that did not finish within
		its share of the time was run in part.

		$header
	END
	cat "$folder/parts" "$folder/all"
	for name in "$pairs" "$triples" "$named"; do
		printf '\n## Each of the %s\n\n' "$name"
		echo '| scenario | finished | executions | distinct | pruned | classes | steps | seconds |'
		echo '| --- | --- | --- | --- | --- | --- | --- | --- |'
		awk 'NR > 2 && $10 == "of" && $1 != "total" {
			sub(".*/", "", $1)
			print "| " $1 " | " $9 " of " $11 " | " $2 " | " $4 " | " $3 " | " $5 " | " $6 " | " $7 " |"
			}' "$folder/$name" | sort
	done
} > "$folder/explored.md"
exit $status
