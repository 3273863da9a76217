"""One map, with a callable of so many bytes."""

import sys

from ezmpi import MPIPool


class Holder:
    def __init__(self, size):
        self.data = bytes(size)

    def __call__(self, task):
        return task + len(self.data)


with MPIPool() as pool:
    size = int(sys.argv[1])
    tasks = range(pool.size)
    expected = [task + size for task in tasks]
    assert pool.map(Holder(size), tasks, chunksize=1) == expected
