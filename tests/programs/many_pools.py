"""Ten pools one after the other, some closed, some dropped; and several at once."""

import gc
import os
import time
import weakref

from cases import case, check_works, square

from ezmpi import MPIPool


def pid(x):
    time.sleep(0.01)
    return os.getpid()


class Held:
    """A callable; on a worker it knows which others of its kind are there."""

    here = weakref.WeakSet()

    def __init__(self, number):
        self.number = number

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.here.add(self)

    def __call__(self, x):
        return sorted(held.number for held in self.here)


def pids(pool):
    return set(pool.map(pid, range(10 * pool.size)))


case("ten with `with`")
for number in range(10):
    with MPIPool() as pool:
        check_works(pool)
        if number == 0:
            workers = pids(pool)
assert len(workers) == pool.size, workers
case("ten with close")
for _ in range(10):
    pool = MPIPool()
    check_works(pool)
    pool.close()
assert pids(MPIPool()) == workers
case("ten that are dropped")
for number in range(10):
    pool = MPIPool(use_dill=number % 2 == 0)
    assert pool.map(square, [number]) == [number**2]
    del pool
    gc.collect()
case("ten that are kept")
pools = [MPIPool() for _ in range(10)]
for _ in range(3):
    for pool in pools:
        check_works(pool)
case("in turn, each with its own function, while others are closed")
for pool in pools[::2]:
    pool.close()
for _ in range(3):
    for number, pool in enumerate(pools[1::2]):
        assert pool.map(lambda x, n=number: (x, n), [1]) == [(1, number)]
assert pids(pools[1]) == workers
case("what a closed pool sent is freed on the workers while others are open")
first, second = pools[1], MPIPool()
assert first.map(Held(1), range(20)) == [[1]] * 20
assert second.map(Held(2), range(20)) == [[1, 2]] * 20
assert second.map(Held(1), range(20)) == [[1, 2]] * 20  # now it is the second's
first.close()
assert second.map(Held(2), range(20)) == [[1, 2]] * 20
third = MPIPool()
second.close()
assert third.map(Held(3), range(20)) == [[3]] * 20
case("a pool that was never used, and one never closed")
MPIPool().close()
last = MPIPool()
check_works(last)
print("ok")
