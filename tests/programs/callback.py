"""callback and return_results."""

import time

from cases import case, check_works, raised, square, told

from ezmpi import MPIPool


def slow_first(x):
    if x == 0:
        time.sleep(0.5)
    return x


with MPIPool() as pool:
    for chunksize in (1, 3, 50):
        case("each result once, chunksize %d" % chunksize)
        seen = []
        result = pool.map(square, range(40), seen.append, chunksize=chunksize)
        assert result == [x * x for x in range(40)]
        assert sorted(seen) == result
        seen = []
        result = pool.map(square, range(40), seen.append, False, chunksize=chunksize)
        assert result is None
        assert sorted(seen) == [x * x for x in range(40)]
        assert pool.map(square, range(5), return_results=False) is None

    case("in completion order")
    seen = []
    expected = list(range(12))
    assert pool.map(slow_first, range(12), callback=seen.append) == expected
    assert seen[-1 if pool.size > 1 else 0] == 0, seen
    assert seen[:-1] == sorted(seen[:-1]) or pool.size > 2, seen

    case("as results come, not at the end")
    seen = []

    def watched():
        for x in range(200):
            yield x, len(seen)

    delays = pool.map(lambda pair: pair[0] - pair[1], watched(), seen.append)
    assert max(delays) < 100, max(delays)

    case("a callback that raises")

    def picky(result):
        seen.append(result)
        if result == 4:
            raise LookupError("not four")

    seen = []
    error = raised(pool.map, square, range(1000), picky)
    assert type(error) is LookupError and str(error) == "not four", repr(error)
    assert 4 in seen and len(seen) < 1000
    assert "the callback for task 2" in told(error), told(error)
    check_works(pool)

    case("of failures in tasks and callbacks, the lowest")
    seen = []

    def wary(x):
        if x == 0:
            time.sleep(0.3)
            raise KeyError("zero")
        return x

    error = raised(pool.map, wary, range(100), lambda result: 1 / 0)
    assert type(error) is KeyError, repr(error)
    check_works(pool)

    case("a callback that raises while workers are busy")
    started = time.monotonic()
    error = raised(pool.map, time.sleep, [0.01] + [0.5] * 20, lambda result: 1 / 0)
    assert type(error) is ZeroDivisionError
    assert time.monotonic() - started < 0.5 or pool.size == 1
    check_works(pool)
    assert time.monotonic() - started < 3

    case("a callback that exits")
    error = raised(pool.map, square, range(100), lambda result: exit(3))
    assert type(error) is SystemExit and error.code == 3, repr(error)
    check_works(pool)

    case("a failing map calls back for the results below the failure")
    seen = []
    error = raised(pool.map, lambda x: 1 / (x - 30) and x, range(100), seen.append)
    assert type(error) is ZeroDivisionError
    assert set(range(30)) <= set(seen) and len(seen) < 100, seen
    check_works(pool)
print("ok")
