#!/bin/sh
# SPDX-License-Identifier: ISC
# check.sh SOURCE_ROOT COMPILER KERNEL MODE SOURCE...    MODE: release or debug, in that kernel's sense
# The core, the scalar search and the port of a kernel are compiled as that compiles its own files, against headers that
# have nothing but what its manual pages name; linked into one object they need nothing but the functions listed here.
set -eu

root=$1 compiler=$2 kernel=$3 mode=$4
shift 4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
port=$root/lib/port/$kernel

case $kernel in
openbsd)
	defines='-D_KERNEL -DMULTIPROCESSOR' debug='-DDIAGNOSTIC'
	allowed='smr_(read_enter|read_leave|init|call|flush|barrier)|mtx_(init|enter|leave)|msleep_nsec|wakeup
		pool_(init|destroy|get|put)|malloc|free|panic|memcpy|memmove|memset|strcmp'
	;;
freebsd)
	defines='-D_KERNEL -DSMP -Wcast-qual' debug='-DINVARIANTS'
	allowed='smr_(create|destroy|enter|exit|advance|poll|synchronize)|mtx_(init|destroy|lock|trylock|unlock)
		sleepq_(lock|add|wait|release)|wakeup|uma_(zcreate|zdestroy|zalloc|zfree)|malloc|malloc_aligned|free
		panic|memcpy|memmove|memset|strcmp'
	;;
linux)
	defines='-D__KERNEL__ -DCONFIG_X86 -DCONFIG_SMP' debug='-DDEBUG'
	allowed='rcu_read_(lock|unlock)|(start_poll|poll_state)_synchronize_rcu|synchronize_rcu
		spin_(lock_init|trylock|unlock)|stub_wait_(begin|sleep|end)|wake_up_var
		kmem_cache_(create|destroy|alloc|free)|kvmalloc|kvfree|stub_bug|_printk|memcpy|memmove|memset|strcmp'
	;;
esac
[ "$mode" = release ] || defines="$defines $debug"
allowed=^\($(echo $allowed | tr ' ' '|')\)\$

# Kernels use neither SIMD nor floating point, and stacks are small: 2047 bytes a frame, as OpenBSD and Linux have it.
# These three have more.
flags="-std=gnu11 -O2 -ffreestanding -fno-builtin -fno-stack-protector -fno-pie -fno-asynchronous-unwind-tables
	-nostdinc -fno-strict-aliasing -U_FORTIFY_SOURCE -U__linux__
	-Wall -Wextra -Werror -Wshadow -Wvla -Wundef -Wstrict-prototypes -Wmissing-prototypes
	$defines
	-I $port/std -I $root/tests/kernel/$kernel -I $root/include -I $root/lib -I $port"
case $(uname -m) in
x86_64) flags="$flags -mgeneral-regs-only -mno-red-zone -mcmodel=kernel" ;;
esac
large=' anon_wipe.c map_fork.c map_wire.c '
objects=
compile() { # SOURCE OBJECT FLAG...
	source=$1 object=$work/$2.o
	shift 2
	case $large in
	*" ${source##*/} "*) ;;
	*) set -- "$@" -Wframe-larger-than=2047 ;;
	esac
	$compiler $flags "$@" -c "$source" -o "$object"
	objects="$objects $object"
}

for source in "$@"; do
	compile "$source" "$(basename "$source" .c)"
done
for source in search edit edit_hold; do
	compile "$root/lib/$source.c" $source -I "$root/lib/port/search/scalar" -DCLEAVE_SEARCH=scalar
done
compile "$port/$kernel.c" $kernel
ld -r -o "$work/cleave.o" $objects

if nm -u "$work/cleave.o" | awk '{ print $2 }' | grep -Ev "$allowed"; then
	echo "the $kernel port ($mode) needs these, which its manual pages do not name"
	exit 1
fi
if objdump -d --no-show-raw-insn "$work/cleave.o" | grep -E '%(x|y|z)mm|%st\b'; then
	echo "the $kernel port ($mode) uses SIMD or floating point"
	exit 1
fi
