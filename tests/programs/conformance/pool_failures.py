"""Tasks, iterables, arguments and results that fail."""

import functools
import itertools
import multiprocessing
import multiprocessing.pool
import os

from cases import raised

from conformance.pool import ORDERED, check, given, works
from conformance.suite import NEVER, Stopwatch, equal, is_a, told
from conformance.tasks import (
    Custom,
    FalseError,
    HoldsLock,
    SaysWhen,
    Unloadable,
    Unpicklable,
    fail,
    fail_deep,
    fail_if,
    fail_in_turn,
    lock_exception,
    mark_each_and_fail,
    odd_exception,
    same,
    square,
    unloadable_result,
    unpicklable_result,
)


@check
def an_exception_as_it_was(pool):
    for call in (
        lambda: pool.apply(fail_deep, (3,)),
        lambda: pool.apply_async(fail_deep, (3,)).get(),
        lambda: pool.map(fail_deep, [3]),
        lambda: pool.starmap(fail_deep, [(3,)]),
        lambda: list(pool.imap(fail_deep, [3])),
        lambda: list(pool.imap_unordered(fail_deep, [3])),
    ):
        error = raised(call)
        is_a(error, Custom)
        equal((error.args, error.detail), (("deliberate", {"task": 3}), {"task": 3}))
        cause = str(error.__cause__)
        assert "Traceback (most recent call last)" in cause, cause
        assert "in fail_deep" in cause and "in innermost" in cause, cause
        assert type(error.__cause__).__name__ == "RemoteTraceback"
        assert "raise Custom(" in told(error) and "in raised" in told(error)
    works(pool)


@check
def exceptions_of_many_kinds(pool):
    for error in (
        KeyError("k"),
        OSError(2, "no", "file"),
        FalseError("false"),
        UnicodeDecodeError("utf8", b"x", 0, 1, "why"),
        multiprocessing.TimeoutError("the task's own"),
        EOFError(),
    ):
        for found in (
            raised(pool.apply, fail, (error,)),
            raised(pool.map, fail, [error]),
            raised(pool.apply_async(fail, (error,)).get, NEVER),
        ):
            equal((type(found), found.args), (type(error), error.args))
    works(pool)


@check
def apply_raises_stop_iteration(pool):
    equal(raised(pool.apply, fail, (StopIteration(5),)).value, 5)


@check(where=["StopIteration"])
def map_raises_stop_iteration(pool):
    for chunksize in (1, 3):
        tasks = [AttributeError("later"), StopIteration(5)][::-1]
        equal(raised(pool.map, fail, tasks, chunksize).value, 5)


@check
def a_failure_in_an_iterator_is_at_its_place(pool):
    """And the iteration goes on."""
    function = functools.partial(fail_if, bad=(2, 3))
    iterator = pool.imap(function, range(6))
    equal([next(iterator), next(iterator)], [0, 1])
    is_a(raised(next, iterator), ValueError, "task 2")
    is_a(raised(iterator.next, NEVER), ValueError, "task 3")
    equal(list(iterator), [4, 5])
    iterator = pool.imap_unordered(function, range(6))
    found = []
    for _ in range(6):
        try:
            found.append(next(iterator))
        except ValueError as error:
            found.append(int(str(error)[-1]))
    equal(sorted(found), list(range(6)))
    is_a(raised(next, iterator), StopIteration)


@check(where=["failed chunk"])
def a_failed_task_takes_its_chunk(pool):
    iterator = pool.imap(functools.partial(fail_if, bad=(3,)), range(6), 2)
    equal([next(iterator), next(iterator)], [0, 1])
    is_a(raised(next, iterator), ValueError, "task 3")
    is_a(raised(next, iterator), StopIteration)


@check(unless=["failed chunk"])
def a_failed_task_takes_nothing_else(pool):
    for chunksize in (2, 4, 100):
        iterator = pool.imap(functools.partial(fail_if, bad=(3,)), range(6), chunksize)
        equal([next(iterator) for _ in range(3)], [0, 1, 2])
        is_a(raised(next, iterator), ValueError, "task 3")
        equal(list(iterator), [4, 5])


@check(unless=["lowest failure"], workers=2)
def the_first_failure_is_raised(pool, room):
    error = raised(pool.map, functools.partial(fail_in_turn, room=room), range(2), 1)
    is_a(error, ValueError, "task 1")


@check(where=["lowest failure"], workers=2)
def the_lowest_failure_is_raised(pool, room):
    function = functools.partial(fail_in_turn, room=room)
    for call in (pool.map, lambda *args: pool.map_async(*args).get()):
        is_a(raised(call, function, range(2), 1), ValueError, "task 0")
        os.remove(os.path.join(room, "one"))


@check(unless=["ends at a failure"])
def a_failed_map_runs_every_task(pool, room):
    function = functools.partial(mark_each_and_fail, room=room, bad=2)
    is_a(raised(pool.map, function, range(30), 1), ValueError, "task 2")
    equal(len(os.listdir(room)), 30)


@check(where=["ends at a failure"])
def a_failed_map_ends(pool, room):
    function = functools.partial(mark_each_and_fail, room=room, bad=2)
    with Stopwatch():
        is_a(raised(pool.map, function, itertools.count(), chunksize=1), ValueError)
    works(pool)
    assert len(os.listdir(room)) < 1000


class SaysItHasTwo:
    """Has a length, and raises all the same."""

    def __iter__(self):
        return failing_iterable(1)

    def __len__(self):
        return 2


def failing_iterable(count):
    yield from range(count)
    raise SaysWhen("when", count)


@check
def an_iterable_that_raises_fails_a_map(pool):
    """At the call, or by get: but it is the iterable's own exception, not a task's."""
    for count in (0, 1, 13):
        for chunksize in (None, 1, 4):
            for call in (ORDERED["map"], ORDERED["map_async"], ORDERED["starmap"]):
                tasks = failing_iterable(count)
                error = raised(call, pool, square, tasks, **given(chunksize))
                is_a(error, SaysWhen)
                equal(error.args, ("when", count))
    is_a(raised(pool.map, square, SaysItHasTwo(), 1), SaysWhen)
    works(pool)


@check
def an_iterable_that_raises_ends_an_iteration(pool):
    """After what it gave before."""
    for method in (pool.imap, pool.imap_unordered):
        for count in (0, 1, 13):
            iterator = method(square, failing_iterable(count), 1)
            found, error = [], None
            while error is None:
                try:
                    found.append(iterator.next(NEVER))
                except SaysWhen as raised_by_it:
                    error = raised_by_it
            found += list(iterator)  # an unordered one may raise before the rest
            equal(sorted(found), [x * x for x in range(count)])
            equal(error.args, ("when", count))
            is_a(raised(next, iterator), StopIteration)
    works(pool)


@check(unless=["failed chunk"])
def an_iterable_that_raises_takes_no_task_with_it(pool):
    for chunksize in (None, 4, 100):
        iterator = pool.imap(square, failing_iterable(6), **given(chunksize))
        equal([next(iterator) for _ in range(6)], [x * x for x in range(6)])
        is_a(raised(next, iterator), SaysWhen)
        is_a(raised(next, iterator), StopIteration)


@check
def unpicklable_tasks(pool):
    tasks = [1, 2, Unpicklable(), 4]
    for call in (
        lambda: pool.apply(same, (Unpicklable(),)),
        lambda: pool.apply(same, (), {"x": Unpicklable()}),
        lambda: pool.apply_async(same, (Unpicklable(),)).get(),
        lambda: pool.map(same, tasks),
        lambda: pool.map(same, tasks, 1),
        lambda: pool.map(same, [Unpicklable()] * 9),
        lambda: pool.starmap(same, [(task,) for task in tasks]),
    ):
        is_a(raised(call), LookupError, "not this")
    iterator = pool.imap(same, tasks)
    equal([next(iterator), next(iterator)], [1, 2])
    is_a(raised(next, iterator), LookupError, "not this")
    equal(list(iterator), [4])
    works(pool)


@check
def unpicklable_results_and_exceptions(pool):
    """Some exception tells of them; no worker is lost by it, and no result."""
    for _ in range(5):
        for call in (
            lambda: pool.apply(unpicklable_result),
            lambda: pool.map(unpicklable_result, range(3), 1),
            lambda: next(pool.imap(unpicklable_result, [1])),
        ):
            error = raised(call)
            assert isinstance(error, Exception) and "not this" in str(error), repr(error)
        error = raised(pool.apply, lock_exception)
        is_a(error, Exception)
        assert "HoldsLock" in repr(error) or "lock" in str(error), repr(error)
    works(pool)


@check(where=["reason"])
def unpicklable_results_raise_the_reason(pool):
    is_a(raised(pool.apply, unpicklable_result), LookupError, "not this")
    is_a(raised(pool.map, unpicklable_result, [1, 2]), LookupError, "not this")
    is_a(raised(pool.apply, lock_exception), HoldsLock, "deliberate")


@check(unless=["reason"])
def unpicklable_results_raise_an_encoding_error(pool):
    kind = multiprocessing.pool.MaybeEncodingError
    is_a(raised(pool.apply, unpicklable_result), kind, "not this")
    is_a(raised(pool.apply, lock_exception), kind, "lock")


@check(where=["unloadable"])
def what_cannot_be_unpickled(pool):
    """On either side; and exceptions whose constructors are odd."""
    import ezmpi

    for call in (
        lambda: pool.apply(same, (Unloadable(),)),
        lambda: pool.apply_async(unloadable_result).get(),
        lambda: pool.map(same, [1, Unloadable(), 2], 1),
        lambda: next(pool.imap(unloadable_result, [1])),
    ):
        is_a(raised(call), LookupError, "not here")
    for call in (
        lambda: pool.apply(odd_exception),
        lambda: pool.map(odd_exception, [1]),
        lambda: next(pool.imap(odd_exception, [1])),
    ):
        is_a(raised(call), ezmpi.RemoteError, "deliberate one and two")
    works(pool)
