"""A MultiPool. No mpiexec."""

import sys

import ezmpi
from ezmpi import MultiPool

factor = 1


class Point:
    def __init__(self, x):
        self.x = x


class NeedsTwo(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def square(x):
    return x * x


def fail(x):
    raise NeedsTwo(x, x)


def set_factor(value):
    global factor
    factor = value


def scaled(x):
    return factor * x


def exits(x):
    sys.exit(x)


def raised(error, function, *tasks):
    """What map raises; and the pool can be used on."""
    try:
        pool.map(function, tasks)
    except error as caught:
        assert pool.map(square, [3]) == [9]
        return caught
    raise AssertionError(function)


if __name__ == "__main__":
    with MultiPool(2, set_factor, (10,)) as pool:
        assert pool.map(scaled, range(5), 2) == [0, 10, 20, 30, 40]

        # what was made after the pool, by name, by value and in results
        offset = 100

        def later(x):
            return Point(square(x) + offset)

        points = pool.map(later, range(3))
        assert all(type(point) is Point for point in points)
        assert [point.x for point in points] == [100, 101, 104]
        offset = 200
        assert pool.map(later, [0])[0].x == 200
        assert pool.map(lambda x: x + offset, [1]) == [201]
        assert pool.map(lambda f: f(2), [lambda x: x + 1]) == [3]
        assert pool.map(lambda x: lambda y: x + y, [1])[0](2) == 3
        assert list(pool.imap(lambda x: -x, range(3))) == [0, -1, -2]
        assert pool.submit(lambda x, y: x - y, 5, y=3).result(60) == 2

        # these are raised, where multiprocessing waits for ever
        assert str(raised(ezmpi.RemoteError, fail, 1)).endswith("NeedsTwo: 1")
        assert raised(ezmpi.TaskExit, exits, 3).code == 3
        error = raised(ValueError, int, "x")
        assert "rank" in str(error.__cause__), error.__cause__
        raised(TypeError, lambda x: sys._getframe(), 1)  # its result cannot be pickled
        raised(TypeError, square, sys._getframe())
    pool.join()  # the end of the block has closed it
    print("ok")
