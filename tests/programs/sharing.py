"""Who shares what: tasks share nothing mutable, the callable's data is kept in step."""

import collections
import functools

from cases import case, check_works

from ezmpi import MPIPool

CHUNKSIZES = (1, 5, 100)


def append(task):
    task.append(len(task))
    return list(task)


def add_key(task):
    task[len(task)] = "new"
    return len(task)


def append_inner(task):
    task[0].append(1)
    return len(task[0])


def fill(array):
    array += 1
    return array.sum()


class Recorder:
    """A callable that changes itself."""

    def __init__(self):
        self.calls = []
        self.scale = 1

    def __call__(self, x):
        self.calls.append(x)
        return x * self.scale


class Cached:
    """A callable with a cache of its own."""

    def __init__(self):
        self.cache = {}
        self.data = [0]

    def __call__(self, x):
        hit = x in self.cache
        self.cache[x] = True
        return hit


class Reuses:
    """Returns one and the same object, changed in between."""

    def __init__(self):
        self.result = [0]
        self.buffer = bytearray(100000)

    def __call__(self, x):
        self.result[0] = x
        return self.result

    def in_buffer(self, x):
        self.buffer[0] = x
        return self.buffer


GLOBAL = {"weight": 1}


def weighted(table, x):
    return table["weight"] * x


pool = MPIPool()

case("one list for all tasks: each gets its own")
for chunksize in CHUNKSIZES:
    shared = [0]
    assert pool.map(append, [shared] * 12, chunksize=chunksize) == [[0, 1]] * 12
    assert shared == [0]
    assert pool.map(append, (shared for _ in range(12)), chunksize) == [[0, 1]] * 12
    assert pool.map(add_key, [{}] * 12, chunksize=chunksize) == [1] * 12
    inner = []
    tasks = [(inner, i) for i in range(12)]
    assert pool.map(append_inner, tasks, chunksize=chunksize) == [1] * 12
    assert inner == []
    assert pool.map(append, [bytearray(b"a")] * 6, chunksize=chunksize) == [[97, 1]] * 6
    deque = collections.deque([0])
    assert pool.map(append, [deque] * 6, chunksize=chunksize) == [[0, 1]] * 6

case("within one task, what is one object stays one")
shared = []
assert pool.map(lambda t: t[0] is t[1], [(shared, shared)] * 3, 3) == [True] * 3

case("results share nothing either")
for chunksize in CHUNKSIZES:
    results = pool.map(lambda x: shared, range(6), chunksize=chunksize)
    assert results == [[]] * 6
    assert len({id(r) for r in results}) == 6
    assert all(r is not shared for r in results)

case("a generator that reuses its object")


def reusing(count):
    task = [None]
    for i in range(count):
        task[0] = i
        yield task
    task[0] = "gone"


def reusing_buffer(count):
    task = bytearray(100000)
    for i in range(count):
        task[0] = i
        yield task
    task[0] = 255


for chunksize in CHUNKSIZES:
    result = pool.map(lambda t: t[0], reusing(30), chunksize=chunksize)
    assert result == list(range(30)), result
    result = pool.map(lambda t: (t[0], len(t)), reusing_buffer(30), chunksize=chunksize)
    assert result == [(i, 100000) for i in range(30)], result

case("a function that reuses its result")
reuses = Reuses()
for chunksize in CHUNKSIZES:
    assert pool.map(reuses, range(12), chunksize) == [[i] for i in range(12)]
    result = pool.map(reuses.in_buffer, range(12), chunksize)
    assert [r[0] for r in result] == list(range(12)), [r[0] for r in result]

case("the callable's data, changed in place between maps")
recorder = Recorder()
for recorder.scale in (1, 2, 5, 2):
    expected = [x * recorder.scale for x in range(10)]
    assert pool.map(recorder, range(10)) == expected
    assert pool.map(recorder.__call__, range(10)) == expected
    assert recorder.calls == []  # the master's own is never touched
weights = [1, 2]
partial = functools.partial(weighted, GLOBAL)
cell = [1]
closure = (lambda data: lambda x: data[0])(cell)
for number in range(4):
    GLOBAL["weight"] = number
    weights[0] = number
    cell[0] = number
    assert pool.map(partial, [1, 2]) == [number, 2 * number]
    assert pool.map(weights.__getitem__, [0, 1]) == [number, 2]
    assert pool.map(closure, [0]) == [number]
big = bytearray(1_000_000)
for number in range(4):
    big[999_999] = number
    assert pool.map(big.__getitem__, [0, 999_999]) == [0, number]

case("while the bytes are equal, what a task changes in the callable lives on")
cached = Cached()
assert pool.map(cached, [1] * 50).count(False) <= pool.size
assert True in pool.map(cached, [1] * 50)
for _ in range(3):
    assert False not in pool.map(cached, [1] * pool.size, chunksize=pool.size)
assert cached.cache == {}
cached.data[0] = 1  # other bytes: a fresh one
assert False in pool.map(cached, [1] * 50)
check_works(pool)
assert cached.cache == {}
pool.close()

case("a new pool holds nothing of the old one's")
pool = MPIPool()
assert False in pool.map(cached, [1] * 50)
pool.close()
print("ok")
