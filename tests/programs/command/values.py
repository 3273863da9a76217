"""Functions and classes of the script, at every nesting: there and back."""

import abc
import asyncio
import collections
import contextlib
import dataclasses
import enum
import functools
import inspect
import os
import typing

from ezmpi import MPIPool

pool = MPIPool()
MAIN = os.getpid()


def on_worker():
    """For what a function of the script calls there."""
    return os.getpid() != MAIN


def run(function, *tasks):
    return pool.map(function, tasks)


def even(n):
    return True if n == 0 else odd(n - 1)


def odd(n):
    return False if n == 0 else even(n - 1)


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return ["logged", function(*args, **kwargs)]

    return wrapper


@logged
def decorated(x):
    assert on_worker()
    return x + 1


@functools.lru_cache(maxsize=None)
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@functools.singledispatch
def kind(value):
    return "object"


@kind.register(int)
def kind_of_int(value):
    return "int"


def generate(n):
    yield from range(n)


def use_generator(n):
    return list(generate(n))


@contextlib.contextmanager
def context(x):
    yield x * 2


def use_context(x):
    with context(x) as doubled:
        return doubled


async def later(x):
    await asyncio.sleep(0)
    return x + 1


def use_async(x):
    return asyncio.run(later(x))


def outer(a):
    b = a + 1

    def middle(c):
        return (lambda d: a + b + c + d)(1)

    return middle


functions = [
    (even, 10, True),
    (odd, 10, False),
    (decorated, 1, ["logged", 2]),
    (fibonacci, 30, 832040),
    (kind, 1, "int"),
    (kind, "x", "object"),
    (use_generator, 3, [0, 1, 2]),
    (use_context, 4, 8),
    (use_async, 1, 2),
    (outer(1), 2, 6),
    (lambda x: (lambda y: x + y)(1), 5, 6),
    (functools.partial(pow, 2), 5, 32),
    (functools.partial(outer(10), c=3), None, None),
]
for function, task, expected in functions[:-1]:
    assert run(function, task) == [expected], function
assert pool.starmap(functools.partial(outer(10), c=3), [()]) == [25]


class Base(abc.ABC):
    made = 0

    def __init__(self, x):
        self.x = x

    @abc.abstractmethod
    def area(self):
        """Of it."""

    @classmethod
    def make(cls, x):
        return cls(x)

    @staticmethod
    def twice(x):
        return 2 * x

    @property
    def double(self):
        return self.twice(self.x)


class Square(Base):
    __slots__ = ("extra",)

    def __init__(self, x):
        super().__init__(x)
        self.extra = None

    def area(self):
        return self.x**2

    class Inner:
        class Innermost:
            def __init__(self, x):
                self.x = x

            def get(self):
                return self.x

    def __eq__(self, other):
        return isinstance(other, Square) and other.x == self.x

    __hash__ = None


class Meta(type):
    def __new__(mcs, name, bases, body):
        return super().__new__(mcs, name, bases, dict(body, by_meta=True))


class Made(metaclass=Meta):
    pass


@dataclasses.dataclass(frozen=True, order=True)
class Point:
    x: int
    y: "typing.List[int]" = dataclasses.field(default_factory=list)

    def moved(self, by):
        return dataclasses.replace(self, x=self.x + by)


class Color(enum.Enum):
    RED = 1
    BLUE = 2

    def other(self):
        return Color.BLUE if self is Color.RED else Color.RED


class Bits(enum.IntFlag):
    A = 1
    B = 2


Pair = collections.namedtuple("Pair", "a b")


class Typed(typing.NamedTuple):
    a: int
    b: str = "b"

    def both(self):
        return f"{self.a}{self.b}"


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    def __init__(self, item):
        self.item = item


class Trouble(Exception):
    def __init__(self, code, *, hint=""):
        super().__init__(code)
        self.code = code
        self.hint = hint


class Worse(Trouble):
    pass


class Callable:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x


def same(value):
    """What comes back is of the script's own class, on both sides."""
    (result,) = run(lambda v: v, value)
    assert type(result) is type(value), value
    return result


square = Square(3)
assert same(square) == square
assert run(Square.area, square) == [9]
assert run(square.__class__.make, 2) == [Square(2)]
assert run(Square.make(4).area.__func__, Square(5)) == [25]
assert run(lambda s: (isinstance(s, Square), s.double), square) == [(True, 6)]
assert run(Square.Inner.Innermost, 5)[0].get() == 5
assert same(Square.Inner.Innermost(6)).get() == 6
assert run(lambda _: Made.by_meta, 0) == [True] and same(Made()).by_meta
assert same(Point(1, [2])) == Point(1, [2])
assert run(Point(1).moved, 4) == [Point(5)]
assert run(Color.other, Color.RED)[0] is Color.BLUE
assert run(lambda _: Color.RED, 0)[0] is Color.RED
assert same(Bits.A | Bits.B) == 3
assert same(Pair(1, 2)).b == 2 and run(Typed.both, Typed(1)) == ["1b"]
assert same(Typed(1)) == Typed(1) and same(Box(1)).item == 1
assert run(Callable(3), 2) == [6]


def fail(code):
    raise Worse(code)


for code in (1, 2):
    try:
        run(fail, code)
    except Trouble as error:
        assert type(error) is Worse and error.code == code
        told = str(error.__cause__)
        assert "raise Worse(code)" in told and os.path.basename(__file__) in told, told
    else:
        raise AssertionError("not raised")


def local_classes():
    class Local:
        def __init__(self, x):
            self.x = x

    return Local, lambda x: Local(x)


Local, make_local = local_classes()
assert isinstance(run(make_local, 1)[0], Local)

LIMIT = 1


def read_limit(_):
    return LIMIT, helper()  # noqa: F821


def helper():
    return LIMIT * 10  # noqa: F821


assert run(read_limit, 0) == [(1, 10)]
LIMIT = 2
assert run(read_limit, 0) == [(2, 20)]


def helper():  # noqa: F811
    return "new"


assert run(read_limit, 0) == [(2, "new")]
del LIMIT
try:
    run(read_limit, 0)
except NameError:
    pass
else:
    raise AssertionError("LIMIT is still there")


def count(_):
    global counter
    counter += 1
    return counter


counter = 0
assert max(run(count, *range(10))) >= 5 and counter == 0  # the worker's own
assert run(inspect.getsource, even, Square)[0].startswith("def even")
assert run(inspect.getsource, Square)[0].startswith("class Square")

if __name__ == "__main__":
    print("ok")
