# SPDX-License-Identifier: ISC
# What the lists of planted bugs (*planted.sh) share; read by them with their own arguments: SOURCE_ROOT [NAME...].
#	root, work, missed	the source, a directory of its own, was a bug missed?
# Environment: EXECUTIONS (a list, each tried if the one before found nothing), PATCH (applied to the copy first).
set -eu
export LC_ALL=C

root=$(cd "$1" && pwd)
shift
wanted=$*
work=$(mktemp -d "${TMPDIR:-/tmp}/planted.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
missed=0
# As it is now: who works in the tree meanwhile disturbs nothing.
cp -R "$root/lib" "$work/base"
if [ -n "${PATCH:-}" ]; then
	mkdir "$work/patched"
	mv "$work/base" "$work/patched/lib"
	(cd "$work/patched" && patch -s -p1) < "$PATCH"
	mv "$work/patched/lib" "$work/base"
fi

compile() { # CC's arguments
	${CC:-cc} -std=gnu11 -I"$work/lib" -I"$work/lib/port/sim" -I"$work/lib/port/search/live" -I"$root/include" \
		-I"$root/tests/sim" -DCLEAVE_SEARCH=live "$@"
}

# Is this bug asked for?
asked() { # NAME
	case " $wanted " in
	"  " | *" $1 "*) ;;
	*) return 1 ;;
	esac
}

# Apply PERL, and say whether each of its substitutions found something.
substitute='
	BEGIN { @parts = map { s/\n\t+//gr } split /;\n\t+(?=s\/)/, shift }
	for my $part (@parts) {
		next if eval $part;
		print STDERR $@ || "no place for $part\n";
		$failed = 1;
	}
	END { $? = $failed }'

# $work/lib becomes the library with the bug; $files: what was changed.  A line break in PERL does not count, nor do the
# tabs behind it; a line that ends with a semicolon ends a substitution, if the next one begins with s/.
mutate() { # NAME FILE PERL...
	bug=$1
	shift
	rm -rf "$work/lib"
	cp -R "$work/base" "$work/lib"
	files=
	while [ $# -gt 0 ]; do
		if ! perl -0777 -pi -e "$substitute" -- "$2" "$work/lib/$1"; then
			echo "$bug: cannot be planted in lib/$1" >&2
			exit 2
		fi
		files="$files $1"
		shift 2
	done
}

# Run $work/sim with few executions of each scenario first, then with more.  Sets status, total, and what was said.
hunt() { # EXECUTIONS ARGUMENT...
	steps=$1
	shift
	total=0
	for executions in ${EXECUTIONS:-$steps}; do
		status=0
		"$work/sim" --first --executions "$executions" --seed "$executions" "$@" > "$work/out" 2>&1 || status=$?
		total=$((total + $(awk '$1 == "total" { n = $2 + $3 } END { print n + 0 }' "$work/out")))
		[ $status -eq 0 ] || break
	done
	what=$(sed -n 's/^FAILED: //p' "$work/out")
}

# Say how it ended.  A program that ends in another way than by a failure of its own has not found anything.
report() { # NAME [MORE]
	if [ $status -eq 1 ]; then
		printf '%-30s found after %8s executions: %s\n' "$1" "$total" "$what"
	else
		printf '%-30s MISSED in %s executions%s (exit %s)\n' "$1" "$total" "${2:-}" "$status"
		missed=1
	fi
}
