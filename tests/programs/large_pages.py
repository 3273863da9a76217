"""Large memory that tasks and results are received into comes in large pages."""

import resource

from cases import Block

from ezmpi import MPIPool

SIZE = 64 << 20  # bytes: more than malloc ever keeps for later
PAGE = resource.getpagesize()


def faults(block=None):
    """So far, in this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def back(block):
    return block


with MPIPool() as pool:
    tasks = [Block(bytearray(b"x") * SIZE) for _ in range(4)]
    counts = pool.map(faults, tasks, chunksize=1)
    most = SIZE / PAGE / 2  # a sanitizer's own memory has small pages
    assert max(b - a for a, b in zip(counts, counts[1:])) < most, counts
    before = faults()
    (block,) = pool.map(back, tasks[:1])
    assert faults() - before < most, (before, faults())
    assert block.data == tasks[0].data
print("ok")
