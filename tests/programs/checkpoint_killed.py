"""Maps in a file, to be killed at any instant: `file log seed`."""

import random
import sys
import time

from cases import launchers_rank

import ezmpi._checkpoint_file
from ezmpi import MPIPool

file, log, seed = sys.argv[1:]
ezmpi._checkpoint_file._SECONDS = 0.002  # so that most instants are in a write
COUNT = 150


def noted(place, x):
    """A result that no other task has, and that takes long to write."""
    time.sleep(random.random() * 0.01)
    with open(log, "a") as written:
        written.write("%d %d\n" % (place, x))
    return random.Random("%d %d" % (place, x)).random(), bytes([x]) * 50000


def wanted(place):
    return [
        (random.Random("%d %d" % (place, x)).random(), bytes([x]) * 50000)
        for x in range(COUNT)
    ]


def first(x):
    return noted(0, x)


def second(x):
    return noted(1, x)


def third(place, x):
    return noted(place, x)


if launchers_rank() == 0:
    print("begins", flush=True)
with MPIPool() as pool:
    assert pool.map(first, range(COUNT), checkpoint=file) == wanted(0)
    assert list(pool.imap(second, iter(range(COUNT)), checkpoint=file)) == wanted(1)
    tasks = [(2, x) for x in range(COUNT)]
    assert pool.starmap(third, tasks, checkpoint=file) == wanted(2)
    unordered = pool.istarmap_unordered(
        third, ((3, x) for x in range(COUNT)), checkpoint=file
    )
    assert sorted(unordered) == sorted(wanted(3))
print("ok", flush=True)
