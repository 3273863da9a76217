"""The same for arrays, which travel beside the pickle."""

import numpy as np
from cases import case

from ezmpi import MPIPool

LARGE = 50000


def fill(array):
    before = float(array.max())
    array += 1
    return before


def reusing(count, size):
    array = np.zeros(size)
    for i in range(count):
        array[:] = i
        yield array
    array[:] = -1


class Reuses:
    def __init__(self, size):
        self.array = np.zeros(size)

    def __call__(self, x):
        self.array[:] = x
        return self.array


def scaled_sum(data):
    return lambda x: float((data * x).sum())


class Likelihood:
    """Carries its data, as an emcee user's callable does."""

    def __init__(self, data):
        self.data = data

    def __call__(self, x):
        return float((self.data * x).sum())


with MPIPool() as pool:
    for size in (3, LARGE):
        for chunksize in (1, 5, 100):
            case("%d numbers, chunksize %d" % (size, chunksize))
            shared = np.zeros(size)
            assert pool.map(fill, [shared] * 12, chunksize) == [0] * 12
            assert pool.map(fill, (shared for _ in range(12)), chunksize) == [0] * 12
            assert shared.max() == 0
            rows = np.zeros((12, size))
            assert pool.map(fill, rows, chunksize) == [0] * 12
            view = np.broadcast_to(np.zeros(size), (12, size))
            assert pool.map(np.max, view, chunksize) == [0] * 12
            result = pool.map(np.mean, reusing(20, size), chunksize)
            assert result == list(range(20)), result
            result = pool.map(Reuses(size), range(20), chunksize)
            assert [float(r.mean()) for r in result] == list(range(20))
            assert [float(r.max()) for r in result] == list(range(20))
    case("results are writable and their own")
    results = pool.map(np.zeros, [LARGE] * 4, 2)
    results[0] += 1
    assert [float(r.max()) for r in results] == [1, 0, 0, 0]
    case("the callable's array, changed in place between maps")
    data = np.ones(LARGE)
    likelihood = Likelihood(data)
    for number in range(4):
        data[:] = number
        expected = [number * x * LARGE for x in range(5)]
        assert pool.map(likelihood, range(5)) == expected
        assert pool.map(scaled_sum(data), range(5)) == expected
        data[-1] += 1
        expected = [x * (number * LARGE + 1) for x in range(5)]
        assert pool.map(likelihood, range(5)) == expected
    case("the master's array is not changed by tasks")

    def spoils(x):
        data[:] = 99
        return float(data.max())

    data[:] = 5
    assert pool.map(spoils, range(6)) == [99] * 6
    assert data.max() == 5
print("ok")
