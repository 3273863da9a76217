"""A function that was mapped before, with nothing, or something, changed since."""

import gc
import weakref

import cases
from cases import case, raised, square

from ezmpi import MPIPool

A = 1


def first(x):
    return x + A


def second(x):
    return x * A


def indirect(x):
    return first(x) + 1000


def shadows(x):
    return abs(x)


def check(pool, *functions):
    """Twice: the second time nothing has changed."""
    for function in functions:
        for _ in range(2):
            expected = [function(x) for x in range(-3, 4)]
            assert pool.map(function, range(-3, 4)) == expected, function


pool = MPIPool()

case("a name that two functions read, changed for one, and changed back")
check(pool, first, second, indirect)
for A in (2, 1, 3, 1):
    check(pool, first)
    A = 10
    check(pool, second)
    A = 1
    check(pool, first, indirect)

case("changed back without a map in between")
A = 7
A = 1
check(pool, first, second)

case("a name that was a builtin's, and is again")
check(pool, shadows)


def abs(x):  # noqa: A001
    return "mine"


check(pool, shadows)
del abs
check(pool, shadows)

case("a helper that is defined again")
check(pool, indirect)


def first(x):  # noqa: F811
    return x - 1


check(pool, indirect, first)

case("the function itself is defined again, and the old one is mapped")
old = second


def second(x):  # noqa: F811
    return -1


check(pool, old, second, old)

case("a function of a module that the module has no more")
check(pool, square)
cases.square = first
check(pool, square)
cases.square = square
check(pool, square)
cases.square, saved = None, square
check(pool, square)
cases.square = saved
check(pool, square)

case("a function of a module whose name was changed")
name, square.__qualname__ = square.__qualname__, "told"
assert pool.map(square, [3]) == [9]
square.__qualname__ = name
check(pool, square)

case("a function that was changed in place")


def counted(x, step=1):
    return x + step + getattr(counted, "start", 0)


def calls_counted(x):
    return counted(x)


check(pool, counted, calls_counted)
counted.start = 100
check(pool, counted, calls_counted)
counted.start = 200
check(pool, calls_counted, counted)
counted.__defaults__ = (7,)
check(pool, counted, calls_counted)
counted.__code__ = (lambda x, step: x * step).__code__
check(pool, counted, calls_counted)
del counted.start
check(pool, counted, calls_counted)

case("pools with and without dill, one after the other")
plain = MPIPool(use_dill=False)
for A in (4, 5, 1):
    check(pool, old)
    held = A
    A = 99
    assert plain.map(indirect, [1]) == [1000]
    A = held
    check(pool, old, indirect)
plain.close()

case("a pool that is closed, and another one")
other = MPIPool()
A = 12
check(other, old)
other.close()
check(pool, old)
A = 13
check(MPIPool(), old)
check(pool, old)

case("no tasks, and then some")
A = 14
assert pool.map(old, []) == []
check(pool, old)


def late(x):
    return x + LATER


assert pool.map(late, []) == []
LATER = 5
check(pool, late)
check(MPIPool(), late)

case("it fails, and then works")
del LATER
assert type(raised(pool.map, late, [1])) is NameError
LATER = 6
check(pool, late)

case("what a function read is not kept alive for it")


class Big:
    pass


BIG = Big()
check(pool, lambda x: BIG is not None)


def reads_big(x):
    return BIG is None


check(pool, reads_big)
seen = weakref.ref(BIG)
BIG = None
gc.collect()
assert seen() is None
check(pool, reads_big)
pool.close()
print("ok")
