"""An executor's map, and what ours takes over from mpi4py.futures and Python 3.14."""

import concurrent.futures
import functools
import gc
import itertools
import os
import threading
import time
import weakref

from cases import raised

from conformance.executor import check, works
from conformance.suite import MOMENT, NEVER, Stopwatch, begun, equal, is_a, until
from conformance.tasks import (
    SaysWhen,
    Unpicklable,
    Watched,
    add,
    arguments,
    fail_deep,
    fail_if,
    hold,
    hold_if,
    mark_begin_and_end,
    mark_if_positive,
    nothing,
    same,
    slow_first,
    square,
)

TimeoutError = concurrent.futures.TimeoutError
CHUNKSIZES = (1, 2, 7, 100)


@check(unless=["a pool"])
def map_equals_a_serial_map(executor):
    for chunksize in CHUNKSIZES:
        for tasks in (range(23), "text", {"a": 1, "b": 2}, [], [None] * 3, [3]):
            for source in (tasks, iter(tasks)):
                found = list(executor.map(arguments, source, chunksize=chunksize))
                equal(found, [arguments(x) for x in tasks])
    equal(list(executor.map(slow_first, range(9))), list(range(9)))


@check(unless=["a pool"])
def map_of_several_iterables(executor):
    for chunksize in CHUNKSIZES:
        more = {"chunksize": chunksize}
        equal(
            list(executor.map(pow, range(9), range(9), **more)), [x**x for x in range(9)]
        )
        found = list(executor.map(arguments, range(9), "abc", iter(range(5)), **more))
        equal(found, [arguments(*x) for x in zip(range(9), "abc", range(5))])
        found = list(executor.map(add, itertools.count(), range(5), **more))
        equal(found, [0, 2, 4, 6, 8])
        equal(list(executor.map(add, range(5), [], **more)), [])
        equal(list(executor.map(nothing, **more)), [])


@check(unless=["a pool"])
def map_is_an_iterator(executor):
    iterator = executor.map(square, range(3))
    assert iter(iterator) is iterator
    equal([next(iterator) for _ in range(3)], [0, 1, 4])
    is_a(raised(next, iterator), StopIteration)
    is_a(raised(next, iterator), StopIteration)


@check(unless=["a pool"])
def map_begins_at_the_call(executor, room, gate):
    iterator = executor.map(functools.partial(mark_if_positive, room), [1])
    begun(os.path.join(room, "task-1"))
    gate.open()
    equal(list(iterator), [1])


@check(unless=["a pool"])
def map_returns_at_once(executor, gate):
    with Stopwatch():
        iterator = executor.map(hold, [gate.path] * 100, range(100))
    gate.open()
    equal(list(iterator), list(range(100)))


@check(unless=["a pool"])
def map_gives_results_as_they_are_there(executor, gate):
    """And not only when all are."""
    function = functools.partial(hold_if, gate=gate.path, held=3)
    iterator = executor.map(function, range(4), timeout=NEVER)
    equal([next(iterator) for _ in range(3)], [0, 1, 2])
    gate.open()
    equal(list(iterator), [3])


@check(unless=["a pool"])
def maps_side_by_side(executor):
    iterators = [executor.map(add, range(i, i + 50)) for i in range(8)]
    rows = list(zip(*iterators))
    equal(rows, [tuple(range(i, i + 8)) for i in range(50)])


@check(unless=["a pool"])
def map_with_a_wrong_chunksize(executor):
    for chunksize in (0, -1):
        is_a(raised(executor.map, square, [1], chunksize=chunksize), ValueError)
    is_a(raised(executor.map, square, [1], chunksize="3"), TypeError)
    is_a(raised(lambda: list(executor.map(square, 3))), TypeError)
    is_a(raised(lambda: list(executor.map(3, [1]))), TypeError)
    works(executor)


@check(unless=["a pool"])
def map_that_is_late(executor, gate):
    """The timeout counts from the call, and ends the iteration."""
    works(executor)  # the start of workers may take longer than the timeout
    function = functools.partial(hold_if, gate=gate.path, held=2)
    iterator = executor.map(function, range(4), timeout=4 * MOMENT)
    equal([next(iterator), next(iterator)], [0, 1])
    with Stopwatch():
        is_a(raised(next, iterator), TimeoutError)
    is_a(raised(next, iterator), StopIteration)
    iterator = executor.map(hold, [gate.path], timeout=MOMENT)
    time.sleep(2 * MOMENT)
    with Stopwatch():
        is_a(raised(next, iterator), TimeoutError)
    for timeout in (0, -1):
        iterator = executor.map(hold, [gate.path], timeout=timeout)
        with Stopwatch():
            is_a(raised(next, iterator), TimeoutError)
    gate.open()
    equal(list(executor.map(square, range(5), timeout=NEVER)), [0, 1, 4, 9, 16])


@check(unless=["a pool"])
def map_raises_at_the_failed_task_and_ends(executor):
    iterator = executor.map(functools.partial(fail_if, bad=(2, 4)), range(6))
    equal([next(iterator), next(iterator)], [0, 1])
    is_a(raised(next, iterator), ValueError, "task 2")
    equal(list(iterator), [])
    error = raised(lambda: list(executor.map(fail_deep, [1, 2])))
    equal(error.detail, {"task": 1})
    assert "in innermost" in str(error.__cause__)
    error = raised(lambda: list(executor.map(fail_deep, [1, 2], chunksize=2)))
    equal(error.detail, {"task": 1})
    works(executor)


@check(unless=["a pool"])
def map_raises_what_its_iterable_raises(executor):
    """At the call, or in the iteration."""

    def tasks():
        yield 1
        raise SaysWhen("when")

    for chunksize in CHUNKSIZES:
        error = raised(lambda n=chunksize: list(executor.map(same, tasks(), chunksize=n)))
        is_a(error, SaysWhen, "when")
    works(executor)


@check(unless=["a pool"])
def map_of_an_unpicklable_task(executor):
    iterator = executor.map(same, [1, 2, Unpicklable(), 4])
    equal([next(iterator), next(iterator)], [1, 2])
    is_a(raised(next, iterator), LookupError, "not this")
    works(executor)


@check(unless=["a pool"])
def a_map_that_is_dropped_cancels_its_rest(executor, gate, room):
    function = functools.partial(mark_if_positive, room)
    for how in ("close", "drop"):
        iterator = executor.map(function, range(60))
        equal(next(iterator), 0)
        if how == "close":
            iterator.close()
        del iterator
        gc.collect()
        gate.open()
        works(executor)
        assert len([x for x in os.listdir(room) if x.startswith("task")]) < 59, how
        os.remove(gate.path)


@check(unless=["a pool"])
def shutdown_waits_for_what_a_dropped_map_began(executor, gate, room):
    """Nothing of a block runs when the block is over."""
    iterator = executor.map(functools.partial(mark_begin_and_end, room), range(60))
    next(iterator)
    begun(os.path.join(room, "begin-1"))
    iterator.close()
    threading.Timer(4 * MOMENT, gate.open).start()
    executor.shutdown()
    names = [name.split("-") for name in os.listdir(room) if "-" in name]
    begins, ends = [{x for how, x in names if how == w} for w in ("begin", "end")]
    equal(begins, ends)


@check(unless=["a pool"])
def a_map_keeps_nothing(executor):
    for result in executor.map(same, [Watched() for _ in range(5)]):
        ref = weakref.ref(result)
        del result
        gc.collect()
        until(lambda ref=ref: ref() is None, "a result to be let go")


@check(unless=["a pool"])
def maps_of_eight_threads(executor):
    def run(number):
        for i in range(8):
            found = list(executor.map(add, range(number + i), chunksize=1 + i % 3))
            equal(found, list(range(number + i)))
        over.append(number)

    over = []
    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(sorted(over), list(range(8)))


# --- buffersize, of Python 3.14 ---


class Counted:
    """range, and how much of it was drawn."""

    def __init__(self):
        self.drawn = 0

    def __iter__(self):
        return self

    def __next__(self):
        self.drawn += 1
        return self.drawn - 1


@check(unless=["a pool", "buffersize"])
def map_with_a_buffer(executor):
    """Draws as far as results are taken: the iterables may be endless."""
    tasks = Counted()
    iterator = executor.map(square, tasks, buffersize=8)
    time.sleep(MOMENT)
    assert tasks.drawn <= 9, tasks.drawn
    for taken in range(1, 100):
        equal(next(iterator), (taken - 1) ** 2)
        assert tasks.drawn <= taken + 9, (taken, tasks.drawn)
    del iterator
    gc.collect()
    works(executor)
    found = list(executor.map(add, range(9), range(9), buffersize=2))
    equal(found, list(range(0, 18, 2)))
    for buffersize in (0, -1):
        is_a(raised(executor.map, square, [1], buffersize=buffersize), ValueError)
    is_a(raised(executor.map, square, [1], buffersize="3"), TypeError)


# --- what mpi4py.futures has more ---


@check(where=["mpi4py's"])
def starmap(executor):
    rows = [(x, x + 1) for x in range(9)]
    for chunksize in CHUNKSIZES:
        for source in (rows, iter(rows)):
            found = list(executor.starmap(arguments, source, chunksize=chunksize))
            equal(found, [arguments(*row) for row in rows])
    equal(list(executor.starmap(arguments, [(), "ab"])), [((), {}), (("a", "b"), {})])
    is_a(raised(executor.starmap, add, rows, chunksize=0), ValueError)
    equal(sorted(executor.starmap(add, rows, unordered=True)), list(range(1, 19, 2)))


@check(where=["mpi4py's"])
def unordered(executor):
    for chunksize in CHUNKSIZES:
        more = {"chunksize": chunksize, "unordered": True}
        found = executor.map(pow, range(9), range(9), **more)
        equal(sorted(found), [x**x for x in range(9)])


@check(where=["mpi4py's"], workers=2)
def unordered_results_come_as_they_are_done(executor, gate):
    function = functools.partial(hold_if, gate=gate.path, held=0)
    iterator = executor.map(function, range(4), unordered=True)
    equal({next(iterator) for _ in range(3)}, {1, 2, 3})
    gate.open()
    equal(list(iterator), [0])
    os.remove(gate.path)
    iterator = executor.map(function, range(3), unordered=True, timeout=4 * MOMENT)
    equal({next(iterator) for _ in range(2)}, {1, 2})
    is_a(raised(next, iterator), TimeoutError)


@check(where=["mpi4py's"])
def bootup(make, workers):
    executor = make()
    for wait in (True, False):
        executor.bootup(wait)
        executor.bootup(wait=wait)
    equal(executor.num_workers, workers)
    works(executor)
    executor.shutdown()
    is_a(raised(executor.bootup), RuntimeError)
