"""What pools return, and the arguments they take."""

import collections
import functools
import gc
import inspect
import multiprocessing
import multiprocessing.pool
import operator
import pickle
import weakref

from cases import raised

from conformance.pool import EVERY, ORDERED, STARRED, UNORDERED, check, given, works
from conformance.suite import NEVER, equal, is_a, until
from conformance.tasks import (
    FalseError,
    Watched,
    add,
    arguments,
    as_bytes,
    count_bytes,
    inverse,
    nothing,
    same,
    slow_first,
    square,
    text,
)


class OldSequence:
    """__getitem__ alone, which iter() takes."""

    def __getitem__(self, index):
        if index == 7:
            raise IndexError
        return index


class NoLength:
    def __iter__(self):
        return (x * x for x in range(23))


ITERABLES = {
    "empty list": list,
    "empty generator": lambda: iter(()),
    "one": lambda: [42],
    "generator": lambda: (x for x in range(23)),
    "range": lambda: range(23),
    "dict": lambda: {"a": 1, "b": 2},
    "keys": lambda: {"a": 1, "b": 2, 3: "c"}.keys(),
    "items": lambda: {"a": 1, "b": [2]}.items(),
    "values": lambda: {"a": 1, "b": [2]}.values(),
    "set": lambda: {1, 2, 3},
    "string": lambda: "mpi über alles",
    "bytes": lambda: b"ints",
    "bytearray": lambda: bytearray(b"ints"),
    "memoryview": lambda: memoryview(b"ints"),
    "tuples": lambda: [(), (1,), (1, 2)],
    "mixed": lambda: [1, "a", 2.5, None, True, {"k": {3}}, b"x", 1 + 2j, 10**30],
    "map object": lambda: map(int, "12345"),
    "deque": lambda: collections.deque(range(9)),
    "old sequence": OldSequence,
    "no length": NoLength,
}


def check_iterables(pool, methods, order):
    for name, tasks in ITERABLES.items():
        expected = order([text(x) for x in tasks()])
        for method, call in methods.items():
            for chunksize in (None, 1, 3, 100):
                result = call(pool, text, tasks(), **given(chunksize))
                where = (method, name, chunksize)
                equal((where, order(result)), (where, expected))
                assert type(result) is list, where


@check
def ordered_methods_equal_a_serial_map(pool):
    check_iterables(pool, ORDERED, list)


@check
def unordered_methods_equal_a_serial_map(pool):
    check_iterables(pool, UNORDERED, sorted)


@check(where=["istarmap"])
def istarmap_equals_a_serial_map(pool):
    check_iterables(pool, {"istarmap": STARRED["istarmap"]}, list)
    check_iterables(pool, {"istarmap_unordered": STARRED["istarmap_unordered"]}, sorted)
    equal(list(pool.istarmap(add, zip(range(9), range(9)))), list(range(0, 18, 2)))


@check
def order_where_the_first_are_the_slowest(pool):
    for method, call in ORDERED.items():
        equal((method, call(pool, slow_first, range(9), chunksize=1))[1], list(range(9)))


@check
def starmap_unpacks_anything(pool):
    rows = [(1, 2), [3, 4], "ab", range(2), {5: 0, 6: 0}]
    expected = [arguments(*row) for row in rows]
    equal(pool.starmap(arguments, rows), expected)
    equal(pool.starmap_async(arguments, iter(rows)).get(), expected)
    equal(pool.starmap(arguments, [(), ()]), [((), {})] * 2)
    rows = [tuple(range(n)) for n in range(20)]
    equal(pool.starmap(arguments, rows), [(row, {}) for row in rows])
    equal(type(raised(pool.starmap, arguments, [5])), TypeError)
    equal(type(raised(pool.starmap, square, [(1, 2)])), TypeError)
    works(pool)


@check
def apply_passes_arguments_on(pool):
    equal(pool.apply(nothing), None)
    equal(pool.apply(arguments), ((), {}))
    equal(pool.apply(arguments, (1, [2])), ((1, [2]), {}))
    equal(pool.apply(arguments, [1, 2], {"a": 3}), ((1, 2), {"a": 3}))
    equal(pool.apply(arguments, "ab"), (("a", "b"), {}))
    names = dict.fromkeys(("self", "func", "args", "kwds", "callback", "timeout"), 1)
    equal(pool.apply(arguments, (), names), ((), names))
    equal(pool.apply_async(arguments, (), names).get(), ((), names))
    equal(type(raised(pool.apply, square, (1, 2))), TypeError)
    equal(type(raised(pool.apply, square, (), {"y": 2})), TypeError)


@check
def callables_of_many_kinds(pool):
    for function, task in (
        (abs, -1),
        (str, 5),
        (functools.partial(add, y=5), 1),
        (operator.itemgetter(1), (1, 2)),
        ("{:03d}".format, 7),
        ([5, 6, 7].__getitem__, 2),
        (Watched(), 3),
    ):
        equal(pool.map(function, [task]), [function(task)])
    equal(pool.apply(Watched().method), 5)


@check(where=["by value"])
def lambdas_travel(pool):
    factor = 3
    equal(pool.map(lambda x: x * factor, range(4)), [0, 3, 6, 9])
    equal(pool.apply(lambda: factor), 3)
    equal(list(pool.imap(lambda x: -x, range(3))), [0, -1, -2])


@check(unless=["by value"])
def lambdas_do_not_travel(pool):
    for call in (pool.apply_async(lambda: 1), pool.map_async(lambda x: x, [1])):
        assert isinstance(raised(call.get), (pickle.PicklingError, AttributeError))
    works(pool)


@check
def none_and_exceptions_are_results(pool):
    """What a task returns is returned, be it an exception; only what it raises is not."""
    for value in (None, ValueError("returned"), FalseError("returned"), False, ()):
        seen, errors = [], []
        result = pool.apply_async(same, (value,), {}, seen.append, errors.append)
        equal(repr(result.get()), repr(value))
        assert result.successful() and not errors
        equal([repr(x) for x in seen], [repr(value)])
        for method, call in EVERY.items():
            found = call(pool, same, [value] * 3)
            equal((method, repr(found)), (method, repr([value] * 3)))


@check
def large_arguments_and_results(pool):
    size = 8 << 20
    equal(pool.apply(count_bytes, (b"a" * size,)), (size, b"a", b"a"))
    equal(pool.apply(as_bytes, (size,)), b"r" * size)
    data = [b"%d" % (i % 10) * (2 << 20) for i in range(4)]
    equal(pool.map(same, data, 1) == data, True)
    equal(list(pool.imap(same, data)) == data, True)


@check
def the_pool_keeps_nothing(pool):
    """Arguments and results go when their user lets go of them."""
    tasks = [Watched() for _ in range(5)]
    refs = [weakref.ref(task) for task in tasks]
    pool.map(same, tasks)
    pool.apply_async(same, (tasks[0],)).get()
    for result in pool.imap(same, tasks):
        refs.append(weakref.ref(result))
        del result
        gc.collect()
        assert refs[-1]() is None, "the iterator keeps what it gave away"
    del tasks
    gc.collect()
    until(lambda: not any(ref() for ref in refs), "tasks to be let go")


# --- arguments ---


@check(unless=["old names"])
def arguments_by_name(pool):
    equal(pool.map(func=square, iterable=[3], chunksize=1), [9])
    equal(pool.apply(func=add, args=(1,), kwds={"y": 2}), 3)
    check_names_besides_maps(pool)


@check(where=["old names"])
def arguments_by_old_names(pool):
    equal(pool.map(worker=square, tasks=[3], callback=None, chunksize=1), [9])
    check_names_besides_maps(pool)


def check_names_besides_maps(pool):
    seen, errors = [], []
    back = {"callback": seen.append, "error_callback": errors.append}
    result = pool.apply_async(func=add, args=(1,), kwds={"y": 2}, **back)
    equal(result.get(timeout=NEVER), 3)
    result = pool.map_async(func=square, iterable=[3], chunksize=1, **back)
    equal(result.get(timeout=NEVER), [9])
    equal(pool.starmap(func=add, iterable=[(1, 2)], chunksize=1), [3])
    result = pool.starmap_async(func=add, iterable=[(1, 2)], chunksize=1, **back)
    result.wait(timeout=NEVER)
    equal(result.get(), [3])
    equal((seen, errors), ([3, [9], [3]], []))
    equal(list(pool.imap(func=square, iterable=[3], chunksize=1)), [9])
    equal(list(pool.imap_unordered(func=square, iterable=[3], chunksize=1)), [9])


@check
def arguments_by_position(pool):
    seen, errors = [], []
    pool.apply_async(add, (1,), {"y": 2}, seen.append, errors.append).get()
    pool.apply_async(inverse, (0,), {}, seen.append, errors.append).wait()
    pool.map_async(square, [3], 1, seen.append, errors.append).get()
    pool.map_async(inverse, [0], 1, seen.append, errors.append).wait()
    pool.starmap_async(add, [(1, 2)], 1, seen.append, errors.append).get()
    pool.starmap_async(inverse, [(0,)], 1, seen.append, errors.append).wait()
    equal(seen, [3, [9], [3]])
    equal([type(error) for error in errors], [ZeroDivisionError] * 3)
    equal(pool.starmap(add, [(1, 2)], 1), [3])
    equal(pool.map(square, [3], 1), [9])
    equal(list(pool.imap(square, [3], 1)), [9])
    equal(list(pool.imap_unordered(square, [3], 1)), [9])


METHODS = "apply apply_async starmap starmap_async map_async imap imap_unordered "
METHODS += "close terminate join"


def check_signature(ours, theirs, but=()):
    """Ours begins as theirs: names, order, defaults; more may follow."""
    mine = list(inspect.signature(ours).parameters.values())[1:]  # without self
    theirs = list(inspect.signature(theirs).parameters.values())[1:]
    for index, wanted in enumerate(theirs):
        assert index < len(mine), (ours, wanted)
        found = mine[index]
        equal((ours, found.name, found.kind), (ours, wanted.name, wanted.kind))
        if wanted.name not in but:
            equal((ours, found.name, found.default), (ours, wanted.name, wanted.default))


@check
def signatures(pool):
    theirs = multiprocessing.pool.Pool
    for name in METHODS.split():
        but = ["kwds"]  # where None is as good as {}
        but += ["chunksize"] if name.startswith("imap") else []
        check_signature(getattr(type(pool), name), getattr(theirs, name), but)
    result = pool.apply_async(nothing)
    result.get()
    for name in ("get", "wait", "ready", "successful"):
        method = getattr(multiprocessing.pool.AsyncResult, name)
        check_signature(getattr(type(result), name), method)


@check(unless=["old names"])
def signatures_of_map_and_constructor(pool):
    theirs = multiprocessing.pool.Pool
    check_signature(type(pool).map, theirs.map)
    check_signature(type(pool).__init__, theirs.__init__)


@check(unless=["chosen chunksize"])
def default_chunksize_of_imap_is_1(pool):
    for method in (type(pool).imap, type(pool).imap_unordered):
        equal(inspect.signature(method).parameters["chunksize"].default, 1)


@check(where=["chosen chunksize"])
def default_chunksize_of_imap_is_chosen(pool):
    for method in (type(pool).imap, type(pool).imap_unordered):
        equal(inspect.signature(method).parameters["chunksize"].default, None)
    equal(list(pool.imap(square, range(9), None)), [x * x for x in range(9)])


@check
def wrong_chunksize_of_imap(pool):
    """Refused at the call, and nothing is drawn from the iterable."""
    tasks = iter(range(3))
    for method in (pool.imap, pool.imap_unordered):
        for chunksize, kind in ((0, ValueError), (-1, ValueError), ("3", TypeError)):
            is_a(raised(method, square, tasks, chunksize), kind)
    equal(next(tasks), 0)
    works(pool)


@check(where=["checked chunksize"])
def wrong_chunksize(pool):
    tasks = iter(range(3))
    for method in (
        pool.map,
        pool.map_async,
        pool.starmap,
        pool.starmap_async,
        pool.imap,
        pool.imap_unordered,
        pool.istarmap,
        pool.istarmap_unordered,
    ):
        for chunksize in (0, -1):
            is_a(raised(method, square, tasks, chunksize=chunksize), ValueError)
        for chunksize in (1.5, "3", [1]):
            is_a(raised(method, square, tasks, chunksize=chunksize), TypeError)
    equal(next(tasks), 0)
    works(pool)


@check
def what_is_not_iterable(pool):
    for name, method in (
        ("map", pool.map),
        ("map_async", pool.map_async),
        ("starmap", pool.starmap),
        ("starmap_async", pool.starmap_async),
    ):
        equal((name, type(raised(method, square, 3))), (name, TypeError))
    for name, method in (("imap", pool.imap), ("imap_unordered", pool.imap_unordered)):
        error = raised(lambda m=method: list(m(square, 3)))
        equal((name, type(error)), (name, TypeError))
    works(pool)


@check
def what_is_not_callable(pool):
    """Before any task, or by each: but it is a TypeError, and the pool goes on."""
    for name, call in EVERY.items():
        equal((name, type(raised(call, pool, 3, [1, 2]))), (name, TypeError))
    is_a(raised(lambda: pool.apply_async(None, (1,)).get()), TypeError)
    works(pool)
