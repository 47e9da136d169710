#!/bin/sh
# SPDX-License-Identifier: ISC
# installed.sh BUILD_ROOT SOURCE_ROOT FLAVOURS CC...
# Install into an empty directory; compile and run a program with what pkg-config says, dynamic and static.
set -eu

build=$1 source=$2 flavours=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

DESTDIR=$work/root meson install -C "$build" --no-rebuild --quiet >/dev/null
pc=$(dirname "$(find "$work/root" -name cleave.pc)")
# The files name the final prefix; the copy is below the directory.
sed -i "s|^prefix=|prefix=$work/root|" "$pc"/*.pc
PKG_CONFIG_PATH=$pc${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir cleave)

for header in "$source"/include/cleave/*.h*; do
	test -f "$(pkg-config --variable=includedir cleave)/cleave/$(basename "$header")"
done
pkg-config --exists --print-errors cleave
test "$(pkg-config --modversion cleave)" = \
	"$(sed -n 's/^#define CLEAVE_VERSION_[A-Z]* //p' "$source/include/cleave/version.h" | paste -sd.)"
soname=$(objdump -p "$libdir/libcleave.so" | awk '/SONAME/ { print $2 }')
test -e "$libdir/$soname"

for flavour in $flavours; do
	echo "cleave-$flavour: $(pkg-config --cflags --libs "cleave-$flavour")"
	"$@" "$source/tests/embed/program.c" -o "$work/dynamic" $(pkg-config --cflags --libs "cleave-$flavour")
	LD_LIBRARY_PATH=$libdir "$work/dynamic"
	# Our archive, whatever else is there only as a shared library.
	"$@" "$source/tests/embed/program.c" -o "$work/static" $(pkg-config --cflags "cleave-$flavour") \
		"$libdir/libcleave.a" $(pkg-config --static --libs-only-l "cleave-$flavour" | sed 's/-lcleave//') \
		-pthread
	"$work/static"
	if ldd "$work/static" | grep libcleave; then
		exit 1
	fi
	if [ "$flavour" != ck ] && command -v c++ >/dev/null; then
		c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror "$source/tests/test_cpp.cpp" -o "$work/cpp" \
			$(pkg-config --cflags --libs "cleave-$flavour") -pthread
		LD_LIBRARY_PATH=$libdir "$work/cpp"
	fi
done
if command -v cmake >/dev/null; then
	mkdir "$work/cmake"
	cat >"$work/cmake/CMakeLists.txt" <<-TEXT
		cmake_minimum_required(VERSION 3.13)
		project(program C)
		find_package(cleave 0.1 CONFIG REQUIRED)
		foreach(flavour $flavours)
		  add_executable(\${flavour} "$source/tests/embed/program.c")
		  target_link_libraries(\${flavour} cleave::\${flavour})
		endforeach()
	TEXT
	# Found by its own place alone, and by no other minor version.
	env -u PKG_CONFIG_PATH cmake -S "$work/cmake" -B "$work/cmake/build" -Dcleave_DIR="$libdir/cmake/cleave" \
		>"$work/log" 2>&1 && cmake --build "$work/cmake/build" >>"$work/log" 2>&1 ||
		{ cat "$work/log"; exit 1; }
	for flavour in $flavours; do
		LD_LIBRARY_PATH=$libdir "$work/cmake/build/$flavour"
	done
	sed -i 's/cleave 0.1 CONFIG/cleave 0.2 CONFIG/' "$work/cmake/CMakeLists.txt"
	if cmake -S "$work/cmake" -B "$work/cmake/other" -Dcleave_DIR="$libdir/cmake/cleave" >/dev/null 2>&1; then
		echo "cmake took another version for 0.2"
		exit 1
	fi
fi
case " $flavours " in
*" memb "*)
	"$@" "$source/examples/first_steps.c" -o "$work/first_steps" $(pkg-config --cflags --libs cleave-memb)
	LD_LIBRARY_PATH=$libdir "$work/first_steps"
	# The example in README.md, with what it takes for granted around it.
	{
		echo '#include <cleave/section.h>'
		echo 'static char text[] = "text"; static void *used; static void use(void *value) { used = value; }'
		echo 'int main(void) {'
		sed -n '/^```c$/,/^```$/{/^```/d;/^#include/d;p}' "$source/README.md"
		echo 'return used != text; }'
	} >"$work/readme.c"
	grep -q cleave_lookup_rcu "$work/readme.c"
	"$@" -Wall -Werror "$work/readme.c" -o "$work/readme" $(pkg-config --cflags --libs cleave-memb)
	LD_LIBRARY_PATH=$libdir "$work/readme"
	;;
esac
