#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Make a copy of one source file with the fault of planted/*.patch in it.

Usage: plant.py PATCH SOURCE_ROOT FILE OUTPUT.  FILE is what the patch must be for, relative to SOURCE_ROOT.
Line numbers are ignored: what a hunk replaces must stand in the file exactly once.  Exit status: 0, or 1 with what
does not apply."""
import pathlib
import re
import sys

patch, root, name, output = sys.argv[1:]
text = (pathlib.Path(root) / name).read_text()


def fail(why):
    sys.exit(f"{patch} no longer applies to {name}: {why}.\n"
             "The library changed where the fault is planted: plant it again (tsan/README.md).")


hunks = []
for line in pathlib.Path(patch).read_text().splitlines():
    target = re.match(r"\+\+\+ b/(\S+)", line)
    if target:
        if target[1] != name:
            fail(f"it is for {target[1]}")
    elif line.startswith("@@"):
        hunks.append(([], []))
    elif hunks:
        if line[:1] != "+":
            hunks[-1][0].append(line[1:])
        if line[:1] != "-":
            hunks[-1][1].append(line[1:])
if not hunks:
    fail("it has no hunks")
for number, (old, new) in enumerate(hunks, 1):
    old, new = "\n".join(old) + "\n", "\n".join(new) + "\n"
    if text.count(old) != 1:
        fail(f"what hunk {number} replaces stands there {text.count(old)} times")
    text = text.replace(old, new)
pathlib.Path(output).write_text(text)
