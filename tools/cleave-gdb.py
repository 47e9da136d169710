# SPDX-License-Identifier: ISC
"""For gdb: what is in an index, in a process or in its core file.

    (gdb) source cleave-gdb.py
    (gdb) print index                   its entries; `set print elements` says how many
    (gdb) cleave dump INDEX             the text of cleave_dump_rcu(), which cleave-map show draws
    (gdb) cleave dump nodes INDEX       the same with its nodes
    (gdb) cleave find ADDRESS INDEX     the way to an address: each node with its state
    (gdb) cleave node NODE              the state of a node: its range, lock, order word, the cells that wait in it
    (gdb) cleave order WORD             the cells that an order word lists
    (gdb) cleave lock WORD              what a lock word says

INDEX is any expression: a struct cleave, or the address of one; NODE likewise.  Nodes are read by their layout
(lib/node.h, leaf.h, branch.h), so that a library without debugging information will do.  Where threads were stopped, a
node may be half written, or replaced.
"""
import re
import struct

import gdb
import gdb.printing

CELLS = 12
CHILDREN = 16
DEAD = 15 << 60
HIGHEST = (1 << 64) - 1
LEVEL_MASK = 63  # of the root's word
LEVELS = 12
LOCK_BITS = ((1, "locked"), (2, "waiters"), (4, "asked"), (8, "granted"))


def read(address, layout):
    memory = gdb.selected_inferior().read_memory(address, struct.calcsize(layout))
    return struct.unpack(layout, bytes(memory))


def text_of_range(first, last):
    return f"[0x{first:x}, 0x{last:x}]"


def text_of_lock(word):
    names = [name for bit, name in LOCK_BITS if word & bit]
    if word & ~15:
        names.append(f"and 0x{word & ~15:x}, which is nothing")
    return ", ".join(names) or "free"


def cells_of(order):
    """The numbers of the live cells, in address order."""
    count = bin(order >> 48 & (1 << CELLS) - 1).count("1")
    return [order >> 4 * rank & 15 for rank in range(count)]


def text_of_order(order):
    cells = cells_of(order)
    text = "cells " + " ".join(map(str, cells)) if cells else "no cells"
    return text + (", dead" if order >= DEAD else f", removals {order >> 60}")


def text_of_mask(mask):
    return " ".join(str(cell) for cell in range(CELLS) if mask >> cell & 1)


class Node:
    """A node as it is in memory."""

    def __init__(self, address):
        self.address = address
        (self.order, self.first, self.last, self.lock, self.level, self.count, self.replaced,
         self.cookie, self.young, self.old, self.link, self.chain) = read(address, "<QQQIBBBxQHH4xQQ")
        if self.level >= LEVELS or self.count > CHILDREN and self.level or self.first > self.last:
            raise gdb.GdbError(f"0x{address:x} is no node")

    def entries(self):
        """(cell, first, last, value) of each live cell of a leaf; value 0 is a gap."""
        columns = read(self.address + 64, f"<{2 * CELLS}Q")
        cells = [cell for cell in cells_of(self.order) if cell < CELLS]
        starts = [columns[cell] for cell in cells] + [(self.last + 1) & HIGHEST]
        for rank, cell in enumerate(cells):
            yield cell, starts[rank], (starts[rank + 1] - 1) & HIGHEST, columns[CELLS + cell]

    def children(self):
        """(first, last, address, gap bound) of each child of a branch."""
        columns = read(self.address + 64, f"<{3 * CHILDREN}Q")
        first = self.first
        for i in range(self.count):
            yield first, columns[i], columns[CHILDREN + i], columns[2 * CHILDREN + i]
            first = columns[i] + 1

    def text(self):
        if self.level:
            kind, state = f"branch of level {self.level}", f"{self.count} children"
            if self.order >= DEAD:
                state += ", dead"
        else:
            kind, state = "leaf", text_of_order(self.order)
            for name, mask in (("young", self.young), ("old", self.old)):
                if mask:
                    state += f", {name} {text_of_mask(mask)}"
            if self.old:
                state += f" (cookie {self.cookie})"
        return (f"{kind} {text_of_range(self.first, self.last)} at 0x{self.address:x}, "
                f"{text_of_lock(self.lock)}, {state}")


def root_of(index):
    """The root node of an index at this address."""
    word = read(index, "<Q")[0]
    if not word & ~LEVEL_MASK:
        raise gdb.GdbError("an index that was destroyed, or not made yet")
    node = Node(word & ~LEVEL_MASK)
    if node.level != word & LEVEL_MASK:
        raise gdb.GdbError(f"0x{index:x} is no index")
    return node


def nodes_of(node, bound=None, depth=0):
    """(node, its parent's gap bound, depth) of all nodes below, parents first."""
    yield node, bound, depth
    if node.level:
        for _, _, address, gap in node.children():
            child = Node(address)
            if child.level != node.level - 1:
                raise gdb.GdbError(f"0x{node.address:x}: a child of level {child.level}")
            yield from nodes_of(child, gap, depth + 1)


def entries_of(root):
    for node, _, _ in nodes_of(root):
        if not node.level:
            yield from node.entries()


def pointer(value):
    return gdb.Value(value).cast(gdb.lookup_type("void").pointer())


def number_of(expression):
    return int(gdb.parse_and_eval(expression).cast(gdb.lookup_type("unsigned long")))


def address_of(expression):
    """Of a structure, or what the expression says itself."""
    value = gdb.parse_and_eval(expression)
    kind = value.type.strip_typedefs()
    if kind.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        value = value.referenced_value()
        kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_STRUCT:
        value = value.address
    return int(value.cast(gdb.lookup_type("unsigned long")))


# ---- Commands ----

def dump(argument):
    with_nodes, index = re.fullmatch(r"(nodes\s+)?(.+)", argument).groups()
    for node, bound, depth in nodes_of(root_of(address_of(index))):
        if with_nodes:
            what = f"branch {node.first:016x}-{node.last:016x}, children {node.count}" if node.level else \
                f"leaf {node.first:016x}-{node.last:016x}, cells {len(cells_of(node.order))}"
            gdb.write("  " * depth + what + (f", gap bound {bound:x}" if bound is not None else "") + "\n")
        for _, first, last, value in node.entries() if not node.level else ():
            indent = "  " * (depth + 1) if with_nodes else ""
            gdb.write(f"{indent}{first:016x}-{last:016x}  {f'{value:x}' if value else 'gap'}\n")


def find(argument):
    address, index = argument.split(None, 1)
    address = number_of(address)
    node = root_of(address_of(index))
    gdb.write(node.text() + "\n")
    while node.level:
        node = Node(next(child for _, last, child, _ in node.children() if address <= last))
        gdb.write(node.text() + "\n")
    for cell, first, last, value in node.entries():
        if first <= address <= last:
            gdb.write(f"cell {cell} {text_of_range(first, last)} = {pointer(value) if value else 'gap'}\n")


class Prefix(gdb.Command):
    """Look into an index of cleave."""


class Command(gdb.Command):
    def __init__(self, name, arguments, what, run):
        self.usage = f"cleave {name} {arguments}"
        self.__doc__ = f"{self.usage}: {what}"
        self.words = len(arguments.replace("[nodes] ", "").split())
        self.run = run
        super().__init__(f"cleave {name}", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        if len(argument.split()) < self.words:
            raise gdb.GdbError(self.usage)
        try:
            self.run(argument)
        except gdb.error as error:  # else gdb says where in Python, too
            raise gdb.GdbError(str(error))


Prefix("cleave", gdb.COMMAND_DATA, prefix=True)
Command("dump", "[nodes] INDEX", "all entries and gaps, as cleave_dump_rcu() prints them", dump)
Command("find", "ADDRESS INDEX", "the nodes on the way to an address, and the entry that holds it", find)
Command("node", "NODE", "the state of the node at an address", lambda a: gdb.write(Node(address_of(a)).text() + "\n"))
Command("order", "WORD", "the cells that an order word lists", lambda a: gdb.write(text_of_order(number_of(a)) + "\n"))
Command("lock", "WORD", "what a lock word says", lambda a: gdb.write(text_of_lock(number_of(a)) + "\n"))


# ---- Printers ----

class IndexPrinter:
    def __init__(self, value):
        self.root, self.error = None, "not in memory"
        try:
            if value.address is not None:
                self.root = root_of(int(value.address))
        except (gdb.GdbError, gdb.error) as error:
            self.error = error

    def to_string(self):
        return f"index of height {self.root.level + 1}" if self.root else f"index ({self.error})"

    def children(self):
        for _, first, last, value in entries_of(self.root) if self.root else ():
            if value:
                yield text_of_range(first, last), pointer(value)


class NodePrinter:
    """Where the library has debugging information: a node by its type."""

    def __init__(self, value):
        self.node = Node(int(value.address))

    def to_string(self):
        return self.node.text()

    def children(self):
        if self.node.level:
            for first, last, address, gap in self.node.children():
                yield f"{text_of_range(first, last)}, gap bound 0x{gap:x}", pointer(address)
        else:
            for cell, first, last, value in self.node.entries():
                yield f"cell {cell} {text_of_range(first, last)}", pointer(value)


printers = gdb.printing.RegexpCollectionPrettyPrinter("cleave")
printers.add_printer("index", "^cleave$", IndexPrinter)
printers.add_printer("node", "^cleave__(node|leaf|branch)$", NodePrinter)
gdb.printing.register_pretty_printer(gdb.current_objfile(), printers, replace=True)
