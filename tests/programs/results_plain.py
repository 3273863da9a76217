"""What travels without pickle comes out as from pickle, as does what looks like it."""

import collections
import enum
import math
import pickle

from cases import case

from ezmpi import MPIPool

try:
    import numpy as np
except ImportError:
    np = None


class Int(int):
    pass


class Float(float):
    pass


class Text(str):
    pass


class List(list):
    pass


class Color(enum.IntEnum):
    RED = 1


Pair = collections.namedtuple("Pair", "one two")

EDGES = [2**n + d for n in (0, 7, 15, 31, 32, 62, 63, 64, 100) for d in (-1, 0, 1)]
NUMBERS = [*EDGES, *(-edge for edge in EDGES)]
FLOATS = [0.0, -0.0, math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1]
TEXTS = ["", "a", "ü", "\0", "\ud800", "漢字", "x" * 4096, "x" * 4097, "ü" * 9000]
BYTES = [b"", b"\0", b"x" * 4096, b"x" * 4097, bytearray(b"changes")]
SUBCLASSES = [Int(3), Float(2.5), Text("a"), List([1]), Pair(1, 2), Color.RED]
CONTAINERS = [
    (),
    [],
    (1, (2.5, ("a", b"b", (None, True, (False,))))),
    [1, 2.5, "a", None],
    [[1], [2]],
    ([1], 2),
    [([1], 2), {3: [4]}],
    (tuple(range(200)),) * 200,
    tuple(range(5000)),
    list(range(5000)),
    {"a": (1, [2]), "b": {"c": None}},
    {1, 2, 3},
]
nested = ()
for _ in range(30):
    nested = (nested,)
CONTAINERS.append(nested)


def arrays():
    letters = "?bBhHiIlLqQefdgFDG"
    made = [np.arange(6).astype(letter).reshape(2, 3) for letter in letters]
    made += [array[:0] for array in made]
    made += [np.asfortranarray(made[0]), made[0][:, ::2], np.array(3.5)]
    made += [np.arange(3, dtype=">i4"), np.array(["a", "bc"]), np.array([b"a"])]
    made += [np.array([1, "a", None], dtype=object), np.zeros((1,) * 9)]
    made += [np.array(["2020-01-01"], dtype="M8[D]"), np.zeros(3, [("a", "i4")])]
    made += [np.ma.masked_array([1, 2], [True, False]), np.zeros(511), np.zeros(512)]
    made += [np.zeros(513), np.zeros(20000)]
    made += [np.frombuffer(b"12345678"), np.frombuffer(b"12345678" * 1000)]
    made += [np.zeros(3, np.dtype("i4", metadata={"enum": 1}))]
    scalars = [np.dtype(letter).type(1) for letter in letters]
    inside = [(1, made[0]), [made[3], "a"], (made[3], made[4]), {"a": made[3]}]
    return made + scalars + inside + [np.float64("nan")]


def describe(x):
    """A text that tells apart what is not the same, and what is one object."""
    known = {}

    def tell(x):
        if id(x) in known and not isinstance(x, (int, float, str, bytes, tuple)):
            return "again %d" % known[id(x)]
        known[id(x)] = len(known)
        if isinstance(x, (list, tuple)):
            inside = ", ".join(map(tell, x))
        elif isinstance(x, dict):
            inside = ", ".join(tell(k) + ": " + tell(v) for k, v in x.items())
        elif np and isinstance(x, np.ndarray):
            inside = "%s %s" % (x.dtype.str, x.dtype.metadata)
            inside += " %s %s" % (x.shape, x.flags.writeable)
            inside += " %s" % x.ravel()[:9].tolist()
        else:
            inside = repr(x)
        return "%s(%s)" % (type(x).__name__, inside)

    return tell(x)


def echo(x):
    return x


def check(pool, name, tasks):
    case(name)
    expected = [describe(pickle.loads(pickle.dumps(x, 5))) for x in tasks]
    for chunksize in (None, 1, 7):
        told = pool.map(describe, tasks, chunksize=chunksize)
        back = pool.map(echo, tasks, chunksize=chunksize)
        assert len(told) == len(back) == len(tasks)
        for one, two, three in zip(expected, told, map(describe, back)):
            assert one == two == three, (one, two, three)


with MPIPool() as pool:
    check(pool, "ints", NUMBERS)
    check(pool, "floats", [*FLOATS, math.nan, True, False, None, 1j])
    check(pool, "texts", TEXTS)
    check(pool, "bytes", BYTES)
    check(pool, "subclasses", SUBCLASSES)
    check(pool, "containers", CONTAINERS)
    case("one object twice in a task")
    shared = [1]
    twice = [(shared, shared), [shared, [shared]], {"a": shared, "b": shared}]
    check(pool, "lists twice", twice)
    loop = [1]
    loop.append(loop)
    check(pool, "a list that holds itself", [loop])
    if np:
        check(pool, "arrays", arrays())
        array = np.zeros(3)
        check(pool, "an array twice", [(array, array), [array, (array, 1)]])
    case("a task changes its list, and the master's stays")
    kept = [[1, 2], [3]]
    assert pool.map(list.pop, [*kept, *kept]) == [2, 3, 2, 3]
    assert kept == [[1, 2], [3]]
print("ok")
