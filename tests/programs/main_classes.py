"""Classes of the script: the same class on both sides, early or late, nested or not."""

import abc
import collections
import dataclasses
import enum
import sys
import typing

from cases import case, raised

from ezmpi import MPIPool


class EarlyColor(enum.Enum):
    RED = 1
    GREEN = 2


class EarlyPoint:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(other) is type(self) and other.x == self.x


class EarlyError(Exception):
    pass


def early_kind(x):
    """Nested, as containers hide what pickles by value."""
    return (
        [isinstance(p, EarlyPoint) for p in x["points"]],
        [c is EarlyColor.RED for c in x["colors"][0]],
        isinstance(x["error"], EarlyError),
    )


def check_both_sides(pool, make, cls):
    """isinstance on the worker and on the master, nested in containers."""
    nested = [{"key": [(make(), [make()])]}]

    def look(task):
        one, (two,) = task["key"][0]
        return [isinstance(one, cls), isinstance(two, cls), type(one) is cls, task]

    for _ in range(3):
        (result,) = pool.map(look, nested)
        assert result[:3] == [True] * 3, result
        one, (two,) = result[3]["key"][0]
        assert type(one) is cls and type(two) is cls, type(one)
    made = pool.map(lambda x: [make(), cls], range(3))
    assert all(type(one) is cls and kind is cls for one, kind in made), made


pool = MPIPool()

case("classes that were there before the pool")
task = {
    "points": [EarlyPoint(1), 2],
    "colors": ([EarlyColor.RED, EarlyColor.GREEN],),
    "error": EarlyError(),
}
assert pool.map(early_kind, [task]) == [early_kind(task)]
assert pool.map(lambda t: early_kind(t), [task]) == [early_kind(task)]
check_both_sides(pool, lambda: EarlyPoint(1), EarlyPoint)
check_both_sides(pool, lambda: EarlyColor.RED, EarlyColor)
(colors,) = pool.map(lambda x: [EarlyColor.RED, {x: EarlyColor.GREEN}], [0])
assert colors[0] is EarlyColor.RED and colors[1][0] is EarlyColor.GREEN

case("a plain class")


class Plain:
    kind = "plain"

    def __init__(self, x=0):
        self.x = x

    def method(self, y=0):
        return self.x + y + OFFSET

    @classmethod
    def make(cls, x):
        return cls(x)

    @staticmethod
    def static(x):
        return x + OFFSET

    @property
    def double(self):
        return 2 * self.x + OFFSET

    def __call__(self, x):
        return self.x * x + OFFSET


def uses_plain(x):
    one = Plain.make(x)
    return one.method(), Plain.static(x), one.double, one(3), one.kind


for OFFSET in (100, 200):
    for function in (uses_plain, Plain(7), Plain(8).method, Plain.static):
        assert pool.map(function, range(6)) == list(map(function, range(6)))
    assert [p.x for p in pool.map(Plain.make, range(3))] == [0, 1, 2]
    tasks = [Plain(1), Plain(2)]
    assert pool.map(lambda p: p.method(), tasks) == [p.method() for p in tasks]
    assert pool.map(Plain.method, tasks) == [p.method() for p in tasks]
check_both_sides(pool, Plain, Plain)

case("inheritance, super, nested classes")


class Child(Plain):
    def method(self, y=0):
        return -super().method(y)

    class Inner:
        def where(self):
            return "inner", OFFSET


class Grandchild(Child, EarlyPoint):
    pass


tasks = [Child(1), Grandchild(2), Plain(3)]
assert pool.map(lambda c: c.method(), tasks) == [c.method() for c in tasks]
assert pool.map(lambda x: Child.Inner().where(), [0]) == [("inner", 200)]
check_both_sides(pool, Child, Child)
check_both_sides(pool, Grandchild, Grandchild)
check_both_sides(pool, Child.Inner, Child.Inner)
assert pool.map(lambda c: isinstance(c, Plain), [Child(1), Grandchild(1)]) == [True] * 2

case("enums")


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"

    @property
    def long(self):
        return self.name.lower() + str(OFFSET)


class Number(enum.IntEnum):
    ONE = 1
    TWO = 2


class Permission(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


for cls in (Color, Number, Permission):
    first, second = list(cls)[:2]
    check_both_sides(pool, lambda one=first: one, cls)
    result = pool.map(lambda c, one=first: c is one, [first, second])
    assert result == [True, False], (cls, result)
    result = pool.map(lambda x, cls=cls: [list(cls), {"k": list(cls)[x]}], [0, 1])
    assert result[0][0][1] is second and result[1][1]["k"] is second, (cls, result)
    assert pool.map(lambda c: c.name, [first]) == [first.name]
assert pool.map(lambda c: c is Color.RED, [[Color.RED][0], Color("r")]) == [True] * 2
assert pool.map(lambda c: c.long, list(Color)) == [c.long for c in Color]
both = Permission.READ | Permission.WRITE
assert pool.map(lambda p: p == both and Permission.READ in p, [both]) == [True]
table = {Color.RED: 1, Number.TWO: 2}
assert pool.map(table.get, [Color.RED, Number.TWO, Color.GREEN]) == [1, 2, None]

case("dataclasses")


@dataclasses.dataclass
class Data:
    x: int
    y: list = dataclasses.field(default_factory=list)

    def total(self):
        return self.x + sum(self.y) + OFFSET


@dataclasses.dataclass(frozen=True, order=True)
class Frozen(object):
    a: int = 1
    b: typing.Tuple[int, ...] = ()


tasks = [Data(1), Data(2, [3, 4])]
assert pool.map(lambda d: d.total(), tasks) == [d.total() for d in tasks]
assert pool.map(lambda d: d, tasks) == tasks
assert pool.map(dataclasses.asdict, tasks) == [dataclasses.asdict(d) for d in tasks]
check_both_sides(pool, lambda: Data(1), Data)
check_both_sides(pool, Frozen, Frozen)
assert pool.map(lambda f: hash(f) == hash(Frozen(3)), [Frozen(3)]) == [True]

case("named tuples")
Pair = collections.namedtuple("Pair", "one two", defaults=[2])


class Typed(typing.NamedTuple):
    name: str
    size: int = 3

    def both(self):
        return self.name, self.size, OFFSET


assert pool.map(lambda p: p.one + p.two, [Pair(1), Pair(3, 4)]) == [3, 7]
assert pool.map(Typed.both, [Typed("a"), Typed("b", 1)])[1] == ("b", 1, 200)
check_both_sides(pool, lambda: Pair(1), Pair)
check_both_sides(pool, lambda: Typed("a"), Typed)

case("abstract and generic classes, slots, metaclasses, descriptors")


class Base(abc.ABC):
    @abc.abstractmethod
    def area(self):
        pass


class Square(Base):
    __slots__ = ("side",)

    def __init__(self, side=2):
        self.side = side

    def area(self):
        return self.side**2 + OFFSET


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    def __init__(self, content=None):
        self.content = content


class Meta(type):
    def __new__(mcs, name, bases, namespace):
        namespace["registered"] = name
        return super().__new__(mcs, name, bases, namespace)


class WithMeta(metaclass=Meta):
    pass


assert pool.map(lambda s: s.area(), [Square(3)]) == [209]
assert pool.map(lambda b: b.content, [Box(3)]) == [3]
assert pool.map(lambda x: WithMeta.registered, [0]) == ["WithMeta"]
for make in (Square, Box, WithMeta):
    check_both_sides(pool, make, make)

case("exceptions of the script, caught by their class")


class LateError(ValueError):
    def __init__(self, text, code):
        super().__init__(text, code)
        self.code = code


def raises_late(x):
    raise LateError("deliberate", OFFSET)


def raises_early(x):
    raise EarlyError("deliberate")


for function, cls in ((raises_late, LateError), (raises_early, EarlyError)):
    try:
        pool.map(function, [0])
    except cls as error:
        assert error.args[0] == "deliberate"
    else:
        raise AssertionError(cls)

case("a class that is defined again")
old = Plain(5)


class Plain:  # noqa: F811
    kind = "new"

    def __init__(self, x=0):
        self.x = x

    def method(self):
        return "new", self.x


assert pool.map(lambda x: (Plain.kind, Plain(x).method()), [3]) == [("new", ("new", 3))]
check_both_sides(pool, Plain, Plain)
assert pool.map(lambda p: (type(p) is Plain, p.x), [old, Plain(6)]) == [
    (False, 5),
    (True, 6),
]
(back,) = pool.map(lambda p: p, [old])
assert back.x == 5 and back.kind == "plain"

case("an early class that is defined again")
before = EarlyPoint(1)


class EarlyPoint:  # noqa: F811
    def __init__(self, x):
        self.x = -x


assert pool.map(lambda x: EarlyPoint(x).x, [1]) == [-1]
check_both_sides(pool, lambda: EarlyPoint(1), EarlyPoint)
assert pool.map(lambda p: isinstance(p, EarlyPoint), [before]) == [False]

case("instances as constants")


class Model:
    def __init__(self, weight):
        self.weight = weight

    def predict(self, x):
        return self.weight * x + OFFSET


MODEL = Model(3)


def predict(x):
    return MODEL.predict(x)


assert pool.map(predict, range(4)) == list(map(predict, range(4)))
MODEL = Model(4)
assert pool.map(predict, range(4)) == list(map(predict, range(4)))
OFFSET = 300
assert pool.map(predict, range(4)) == list(map(predict, range(4)))
assert pool.map(MODEL.predict, range(4)) == list(map(MODEL.predict, range(4)))
MODEL.weight = 5  # the callable carries it
assert pool.map(MODEL.predict, range(4)) == list(map(MODEL.predict, range(4)))

case("classes of a function")


def local_classes():
    class Local:
        def __init__(self, x=1):
            self.x = x

        def method(self):
            return self.x + OFFSET

    class Shade(enum.Enum):
        DARK = 1
        LIGHT = 2

    check_both_sides(pool, Local, Local)
    check_both_sides(pool, lambda: Shade.DARK, Shade)
    assert pool.map(lambda x: Local(x).method(), [1, 2]) == [301, 302]
    assert pool.map(lambda s: s is Shade.DARK, list(Shade)) == [True, False]
    kept = []
    for _ in range(3):  # the same class for all of a worker's tasks
        kept += pool.map(lambda x: Local(x), [1, 2, 3])
    assert {type(one) for one in kept} == {Local}


local_classes()
if sys.version_info >= (3, 10):
    case("match statements and slots of dataclasses")
    exec(
        "@dataclasses.dataclass(slots=True)\nclass Slotted:\n    x: int = 1\n",
        globals(),
    )
    check_both_sides(pool, Slotted, Slotted)  # noqa: F821
case("what a class lacks")
error = raised(pool.map, lambda x: Plain.nothing, [0])
assert type(error) is AttributeError and "nothing" in str(error)
pool.close()
print("ok")
