"""Functions and constants of the script, bound or changed after the pool was made.

Each case compares the pool's results with a serial run's, in this order: the pool
first, so that nothing is prepared by the serial run.
"""

import functools
import os
import sys

from cases import case, raised, square

from ezmpi import MPIPool


def same(pool, function, tasks=tuple(range(8)), **kwargs):
    """The pool's results equal those of a serial run."""
    result = pool.map(function, tasks, **kwargs)
    expected = list(map(function, tasks))
    assert result == expected, (function, result, expected)
    return result


EARLY = 1


def early(x):
    return x + EARLY


def calls_late(x):
    return late(x) + 1  # noqa: F821


def reads_late(x):
    return LATE[x % 2]  # noqa: F821


pool = MPIPool()

case("what was there before")
same(pool, early)
same(pool, lambda x: early(x))

case("a function that was not there")


def late(x):
    return x * 3


same(pool, late)
same(pool, calls_late)

case("a constant that was not there")
LATE = ["a", "b"]
same(pool, reads_late)

case("a constant that was rebound, twice, and back")
for EARLY in (10, -1, 1, 1.5, None, "text", 1):
    if isinstance(EARLY, (int, float)):
        same(pool, early)
    same(pool, lambda x: EARLY)

case("fresh objects, perhaps at the address of the one before")
for number in range(300):
    LATE = [float(number), str(number)]
    assert pool.map(reads_late, [0, 1]) == LATE
    EARLY = float(number)
    assert pool.map(early, [1]) == [number + 1.0]
EARLY = 1

case("functions that call functions that read constants")


def bottom(x):
    return x * DEEP


def middle(x):
    return bottom(x) + 1


def top(x):
    return middle(x) + middle(x + 1)


for DEEP in (2, 3, 5):
    same(pool, top)

case("a function that is defined again")


def middle(x):  # noqa: F811
    return bottom(x) - 1000


same(pool, top)
same(pool, middle)


def early(x):  # noqa: F811
    return "another early", x


same(pool, early)
same(pool, lambda x: early(x))

case("deleted, and defined again")
del middle
error = raised(pool.map, top, [1])
assert type(error) is NameError, repr(error)


def middle(x):
    return bottom(x) + 5000


same(pool, top)

case("a worker that had no task when the binding changed")
for DEEP in (7, 11):
    same(pool, top, [1])
    same(pool, top, range(20 * pool.size))
for DEEP in range(40):
    same(pool, top, range(1 + DEEP % 3))

case("between maps of another function, and of another pool")
other = MPIPool()
DEEP = 13
same(pool, square)
same(other, top, range(20))
same(pool, top, range(20))
DEEP = 17
same(other, square)
same(pool, top, range(20))
same(other, top, range(20))
other.close()

case("recursion, alone and in turn")


def factorial(x):
    return 1 if x < 2 else x * factorial(x - 1)


def even(x):
    return True if x == 0 else odd(x - 1)


def odd(x):
    return False if x == 0 else even(x - 1)


same(pool, factorial)
same(pool, even)

case("closures, defaults, keyword-only defaults, local functions")


def power(n):
    def inner(x, offset=DEEP, *, factor=LATE):
        return (x + offset) ** n, factor, helper(x)

    def helper(x):
        return x + DEEP

    return inner


same(pool, power(2))
same(pool, power(3))
DEEP = 19
same(pool, power(2))
for number in range(5):
    same(pool, lambda x: (x, number))
    same(pool, lambda x, n=number: (x, n))

case("decorated functions")


def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return ("logged", DEEP, function(*args))

    return wrapper


@logged
def decorated(x):
    return bottom(x)


@functools.lru_cache(maxsize=None)
def cached(x):
    return bottom(x)


same(pool, decorated)
same(pool, cached)
DEEP = 23
same(pool, decorated)
same(pool, lambda x: decorated(x))
cached.cache_clear()


@functools.singledispatch
def dispatched(x):
    return "other"


@dispatched.register(int)
def of_int(x):
    return "int", bottom(x)


same(pool, lambda x: of_int(x))

case("partial, reduce, comprehensions, generators")


def add(a, b, *, c=0):
    return a + b + c * DEEP


same(pool, functools.partial(add, 1, c=2))
same(pool, lambda x: [bottom(i) for i in range(x)])
same(pool, lambda x: sum(bottom(i) for i in range(x)))
same(pool, lambda x: {i: [add(i, j) for j in range(2)] for i in range(x)})


def generate(x):
    for i in range(x):
        yield bottom(i)


same(pool, lambda x: list(generate(x)))

case("tables of functions")
TABLE = {"a": late, "b": top, "c": [bottom, (middle, lambda x: x - DEEP)]}


def by_table(x):
    last = TABLE["c"][1][1]
    return TABLE["a"](x), TABLE["b"](x), TABLE["c"][0](x), last(x)


same(pool, by_table)
DEEP = 29
same(pool, by_table)

case("modules imported after the pool")
import colorsys  # noqa: E402
import string as text  # noqa: E402
from math import sqrt  # noqa: E402
from os.path import join  # noqa: E402

same(pool, lambda x: (colorsys.rgb_to_yiq(x, 1, 2), text.digits[x], sqrt(x), join("a")))


def with_import(x):
    import bisect

    return bisect.bisect([1, 2, 3], x), os.sep, sys.byteorder


same(pool, with_import)

case("functions as tasks and as results")
same(pool, lambda f: f(3), [late, top, bottom, lambda x: x * DEEP, decorated, abs])
results = pool.map(lambda x: late, range(2))
assert all(f is late for f in results)
assert pool.map(lambda n: lambda x: x + n, [5])[0](1) == 6

case("a global that is one object under two names")
FIRST = SECOND = [1]
same(pool, lambda x: FIRST is SECOND)
MISSING = object()


def has_default(x, default=MISSING):
    return default is MISSING


same(pool, has_default)

case("names that a task binds are the worker's own")
COUNT = 0


def counts(x):
    global COUNT
    COUNT += 1
    return COUNT


assert pool.map(counts, [0]) == [1] and COUNT == 0
total = sum(pool.map(lambda x: counts(x) > 0, range(10)))
assert total == 10 and COUNT == 0

case("a large constant, once per change")
LARGE = os.urandom(20_000_000)


def part(x):
    return LARGE[x * 1000]


same(pool, part, range(200))
same(pool, part, range(200))
LARGE = os.urandom(1_000_000)
same(pool, part, range(200))

case("names like those of builtins, and builtins again")


def len(x):  # noqa: A001
    return "not the builtin"


same(pool, lambda x: len([x]))
del len
same(pool, lambda x: len([x]))
pool.close()
print("ok")
