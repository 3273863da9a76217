"""Tasks that turn out to be long: what shares a chunk with them goes to others."""

import collections
import os
import tempfile
import time

from cases import case, check_works, raised

from ezmpi import MPIPool

QUICK, SLOW = 3000, 8
PAUSE = 0.15
CALLS = os.path.join(tempfile.gettempdir(), "calls")  # a byte each


class Block:
    """A task beside whose pickle there is a buffer."""

    def __init__(self, number):
        self.number = number
        self.data = bytes([number % 256]) * 5000


def pause(number):
    """The last tasks are slow ones."""
    with open(CALLS, "ab", buffering=0) as file:
        file.write(b"x")
    if number >= QUICK:
        time.sleep(PAUSE)
    return number, os.getpid()


def pause_with_block(block):
    assert block.data == bytes([block.number % 256]) * 5000
    return pause(block.number)


def pause_with_row(row):
    return pause(int(row[0]))


def fails_twice(number):
    result = pause(number)
    if number in (QUICK + 1, QUICK + SLOW - 2):
        raise LookupError(number)
    return result


def check(pool, function, tasks):
    """Right results, no task twice, and no worker with much more than its share."""
    started = time.monotonic()
    pool.map(function, tasks[:QUICK])  # what it learns is wrong for the others
    quick = time.monotonic() - started
    for drawn in (tasks, iter(tasks)):
        open(CALLS, "wb").close()
        started = time.monotonic()
        results = pool.map(function, drawn)
        seconds = time.monotonic() - started
        assert [number for number, _ in results] == list(range(QUICK + SLOW))
        assert os.path.getsize(CALLS) == len(tasks)
        slow = collections.Counter(pid for number, pid in results if number >= QUICK)
        assert max(slow.values()) <= SLOW // pool.size + 2, slow
        limit = 3 * quick + PAUSE * (SLOW / pool.size + 2) + 1
        assert seconds < limit, (seconds, limit)


with MPIPool() as pool:
    numbers = list(range(QUICK + SLOW))
    case("numbers")
    check(pool, pause, numbers)
    case("with buffers")
    check(pool, pause_with_block, [Block(number) for number in numbers])
    try:
        import numpy as np
    except ImportError:
        pass
    else:
        case("rows")
        rows = np.array(numbers).repeat(2).reshape(-1, 2)
        check(pool, pause_with_row, rows)
    case("of two that fail, the lower")
    pool.map(fails_twice, numbers[:QUICK])
    error = raised(pool.map, fails_twice, numbers)
    assert type(error) is LookupError and error.args == (QUICK + 1,), repr(error)
    check_works(pool)
    case("a callback")
    seen = []
    assert pool.map(pause, numbers, seen.append, False) is None
    assert sorted(number for number, _ in seen) == numbers
print("ok")
