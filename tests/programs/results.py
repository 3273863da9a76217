"""Results equal list(map(f, tasks)), whatever the tasks are and however they travel."""

import time

from cases import case, check_works, raised, square

from ezmpi import MPIPool

CHUNKSIZES = (None, 1, 3, 10, 1000)


def describe(x):
    return type(x).__name__, repr(x)


def slow_first(x):
    if x < 3:
        time.sleep(0.05 * (3 - x))
    return x


def nothing(x):
    return None


class Squares:
    """An iterable that knows no length."""

    def __iter__(self):
        return (x * x for x in range(23))


class Rows:
    """A sequence of the old kind: __getitem__ alone."""

    def __getitem__(self, index):
        if index == 7:
            raise IndexError
        return index


TASKS = {
    "list": list(range(23)),
    "tuple": tuple("abcdefg"),
    "range": range(50),
    "string": "mpi über alles",
    "bytes": b"bytes are ints",
    "dict": {"a": 1, "b": 2, 3: "c"},
    "set": {1},
    "nothing": [],
    "one": [42],
    "two": (1, 2),
    "Nones": [None] * 9,
    "mixed": [1, "a", 2.5, None, True, (1, [2]), {"k": {3}}, b"x", 1 + 2j, 10**30],
    "large and small": [b"x" * n for n in (0, 1, 4000, 5000, 70000, 300000)],
    "iterable": Squares(),
    "old sequence": Rows(),
    "dict items": {"a": 1, "b": [2]}.items(),
    "many": list(range(500)),
}


def check_tasks(pool):
    for name, tasks in TASKS.items():
        expected = list(map(describe, tasks))
        for chunksize in CHUNKSIZES:
            case("%s, chunksize %s" % (name, chunksize))
            result = pool.map(describe, tasks, chunksize=chunksize)
            assert type(result) is list
            assert result == expected, (result, expected)


def check_iterators(pool):
    for chunksize in CHUNKSIZES:
        case("iterators, chunksize %s" % chunksize)
        squares = [x * x for x in range(30)]
        assert pool.map(square, iter(range(30)), chunksize=chunksize) == squares
        generator = (x for x in range(30))
        assert pool.map(square, generator, chunksize=chunksize) == squares
        assert list(generator) == []
        assert pool.map(square, map(int, "12345"), chunksize) == [1, 4, 9, 16, 25]
        assert pool.map(square, iter([]), chunksize) == []
        assert pool.map(nothing, iter("abc"), chunksize) == [None] * 3


def check_order(pool):
    for chunksize in (1, 2, 7):
        case("order where the first tasks are the slowest, chunksize %d" % chunksize)
        result = pool.map(slow_first, range(20), chunksize=chunksize)
        assert result == list(range(20))


def check_chunksize(pool):
    class Index:
        def __index__(self):
            return 3

    tasks = list(range(11))
    expected = [x * x for x in tasks]
    case("an int as the third positional is the chunksize")
    for chunksize in (1, 3, 10, 11, 12, 10**6):
        assert pool.map(square, tasks, chunksize) == expected
    assert pool.map(square, tasks, None) == expected
    assert pool.map(square, tasks, chunksize=Index()) == expected
    for bad, kind in (
        (0, ValueError),
        (-1, ValueError),
        (1.5, TypeError),
        ("3", TypeError),
        (True, TypeError),
        (2**80, (OverflowError, ValueError)),
    ):
        case("chunksize=%r" % (bad,))
        error = raised(pool.map, square, tasks, chunksize=bad)
        assert isinstance(error, kind), repr(error)
        if kind is not TypeError:
            error = raised(pool.map, square, tasks, bad)
            assert isinstance(error, kind), repr(error)
        check_works(pool)
    case("chunksize twice")
    assert isinstance(raised(pool.map, square, tasks, 3, chunksize=3), TypeError)


def check_arguments(pool):
    case("not callable, not iterable, no arguments, unknown argument")
    for call in (
        lambda: pool.map(3, [1]),
        lambda: pool.map(None, [1]),
        lambda: pool.map(square, 3),
        lambda: pool.map(square, None),
        lambda: pool.map(square),
        lambda: pool.map(),
        lambda: pool.map(square, [1], True),
        lambda: pool.map(square, [1], "callback"),
        lambda: pool.map(square, [1], nonsense=1),
    ):
        error = raised(call)
        assert type(error) is TypeError, repr(error)
        check_works(pool)
    case("arguments by name")
    assert pool.map(worker=square, tasks=[3], callback=None) == [9]
    case("callables of many kinds")
    assert pool.map(abs, [-1, 2]) == [1, 2]
    assert pool.map(str, [1, 2]) == ["1", "2"]
    assert pool.map("{:03d}".format, [1, 2]) == ["001", "002"]
    assert pool.map([5, 6, 7].__getitem__, [2, 0]) == [7, 5]
    assert pool.map(lambda x: -x, [1, 2]) == [-1, -2]
    assert pool.map(Squares, []) == []
    assert pool(square, [4, 5]) == [16, 25]


with MPIPool() as pool:
    check_tasks(pool)
    check_iterators(pool)
    check_order(pool)
    check_chunksize(pool)
    check_arguments(pool)
print("ok")
