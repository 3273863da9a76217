"""Many tasks from a generator, their results not kept, in bounded memory."""

import resource
import sys
import time

from cases import case

from ezmpi import MPIPool

COUNT = int(sys.argv[1])
LIMIT = 20e6
LENGTH = 3 * 10**8 // COUNT  # a list of a tenth of the tasks already takes 30 MB


def tasks(count):
    for x in range(count):
        yield x, str(x).rjust(LENGTH)


def task(pair):
    return pair[1][::-1]


def peak(x):
    """Largest resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def worker_memory(pool):
    return max(pool.map(peak, range(8 * pool.size)))


with MPIPool() as pool:
    for name, count, kwargs in (
        ("one by one", COUNT, {}),
        ("in chunks", COUNT // 10, {"chunksize": 100}),
        ("to a callback", COUNT // 10, {"callback": len}),
    ):
        case(name)
        pool.map(task, tasks(2000), return_results=False, **kwargs)
        before, worker_before = peak(0), worker_memory(pool)
        assert pool.map(task, tasks(count), return_results=False, **kwargs) is None
        assert peak(0) - before < LIMIT, (before, peak(0))
        assert worker_memory(pool) - worker_before < LIMIT
    case("one slow task does not stall the others, nor fill memory")
    slow = pool.size > 1

    def first_slow(pair):
        if pair[0] == 0 and slow:
            time.sleep(1)
        return pair

    before = peak(0)
    seen = []
    pool.map(
        first_slow, tasks(COUNT // 10), lambda pair: seen.append(pair[0] == 0), False
    )
    assert len(seen) == COUNT // 10 and seen.count(True) == 1
    if slow:
        assert seen.index(True) > 100, seen.index(True)
    assert peak(0) - before < LIMIT
print("ok")
