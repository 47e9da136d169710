# SPDX-License-Identifier: ISC
"""Threads, big and small objects, and the mmap module: private, shared, resized, forked."""
import mmap
import os
import random
import tempfile
import threading

ROUNDS = 60
THREADS = 8


def mappings(seed):
    numbers = random.Random(seed)
    kept = []
    with tempfile.TemporaryFile() as file:
        file.truncate(1 << 20)
        for _ in range(ROUNDS):
            pages = numbers.randrange(1, 40)
            choice = numbers.randrange(4)
            if choice == 0:
                area = mmap.mmap(-1, pages * mmap.PAGESIZE)
            elif choice == 1:
                area = mmap.mmap(file.fileno(), pages * mmap.PAGESIZE)
            elif choice == 2:
                area = mmap.mmap(-1, pages * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
                area.madvise(mmap.MADV_DONTFORK)
            else:
                area = mmap.mmap(-1, pages * mmap.PAGESIZE,
                                 flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                area.resize((pages + numbers.randrange(1, 40)) * mmap.PAGESIZE)
            area[0] = 1
            kept.append(area)
            if len(kept) > 20:
                kept.pop(numbers.randrange(len(kept))).close()
            bytearray(numbers.randrange(1 << 10, 1 << 21))
    for area in kept:
        area.close()


def main():
    for _ in range(2):
        threads = [threading.Thread(target=mappings, args=(i,)) for i in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    areas = [mmap.mmap(-1, mmap.PAGESIZE * 4, flags=mmap.MAP_PRIVATE) for _ in range(10)]
    for area in areas[::2]:
        area.madvise(mmap.MADV_DONTFORK)
    child = os.fork()
    if child == 0:
        mappings(99)
        os._exit(0)
    os.waitpid(child, 0)


main()
