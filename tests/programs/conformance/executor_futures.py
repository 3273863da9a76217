"""submit, and what can be done with a future: also by wait, as_completed and asyncio."""

import asyncio
import concurrent.futures
import functools
import gc
import logging
import os
import pickle
import threading
import time
import warnings
import weakref
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION

from cases import raised

from conformance.executor import check, keep_busy, works
from conformance.suite import MOMENT, NEVER, Stopwatch, begun, equal, is_a, told, until
from conformance.tasks import (
    Custom,
    HoldsLock,
    Unloadable,
    Unpicklable,
    Watched,
    add,
    arguments,
    as_bytes,
    count_bytes,
    fail,
    fail_deep,
    fail_if,
    fail_late,
    hold,
    inverse,
    leave_mark,
    lock_exception,
    mark_and_hold,
    nothing,
    odd_exception,
    same,
    sleep_and_return,
    square,
    unloadable_result,
    unpicklable_result,
)

TimeoutError = concurrent.futures.TimeoutError  # a class of its own before 3.11
CancelledError = concurrent.futures.CancelledError

# --- submit ---


@check
def submit_passes_arguments_on(executor):
    equal(executor.submit(nothing).result(), None)
    equal(executor.submit(arguments, 1, [2], a=3).result(), ((1, [2]), {"a": 3}))
    names = dict.fromkeys(("args", "kwargs", "timeout", "callback", "wait"), 1)
    equal(executor.submit(arguments, **names).result(), ((), names))
    equal(executor.submit(pow, 2, 8).result(), 256)


@check
def submit_passes_self_on(executor):
    equal(executor.submit(arguments, 1, self=2).result(), ((1,), {"self": 2}))


@check(unless=["fn by name"])
def submit_passes_fn_on(executor):
    equal(executor.submit(arguments, fn=2).result(), ((), {"fn": 2}))
    is_a(raised(executor.submit, fn=arguments), TypeError)


@check(where=["fn by name"])
def submit_takes_fn(executor):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        equal(executor.submit(fn=nothing).result(), None)


@check
def submit_wants_a_function(executor):
    is_a(raised(executor.submit), TypeError)
    is_a(raised(executor.submit, a=1), TypeError)
    is_a(raised(lambda: executor.submit(3).result()), TypeError)
    works(executor)


@check
def futures_are_futures(executor):
    future = executor.submit(square, 3)
    assert isinstance(future, concurrent.futures.Future)
    equal(future.result(), 9)
    assert "finished returned int" in repr(future), repr(future)


@check
def callables_of_many_kinds(executor):
    for function, task in (
        (abs, -1),
        (str, 5),
        (complex, 1),
        (functools.partial(add, y=5), 1),
        ([5, 6, 7].__getitem__, 2),
        (Watched(), 3),
    ):
        equal(executor.submit(function, task).result(), function(task))


@check(where=["by value"])
def lambdas_travel(executor):
    factor = 3
    equal(executor.submit(lambda x: x * factor, 2).result(), 6)


@check(unless=["by value"])
def lambdas_do_not_travel(executor):
    error = executor.submit(lambda: 1).exception()
    assert isinstance(error, (pickle.PicklingError, AttributeError)), repr(error)
    works(executor)


@check
def none_and_exceptions_are_results(executor):
    for value in (None, ValueError("returned"), False, CancelledError(), ()):
        future = executor.submit(same, value)
        equal(repr(future.result()), repr(value))
        equal(future.exception(), None)
        assert not future.cancelled()


@check
def large_arguments_and_results(executor):
    size = 8 << 20
    data = executor.submit(count_bytes, b"a" * size)
    result = executor.submit(as_bytes, size)
    equal((data.result(), result.result()), ((size, b"a", b"a"), b"r" * size))


@check
def many_futures_of_eight_threads(executor):
    def run(number):
        for i in range(60):
            equal(executor.submit(add, number, i).result(), number + i)
        futures = [executor.submit(fail_if, i, (7,)) for i in range(20)]
        is_a(futures[7].exception(), ValueError, "task 7")
        del futures[7]
        equal(sum(future.result() for future in futures), sum(range(20)) - 7)
        over.append(number)

    over = []
    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(sorted(over), list(range(8)))


@check
def the_executor_keeps_nothing(executor):
    """The task goes when it is done, though nobody holds the future."""
    task = Watched()
    ref = weakref.ref(task)
    executor.submit(task.method)
    del task
    future = executor.submit(Watched)
    result = weakref.ref(future.result())
    del future
    gc.collect()
    until(lambda: ref() is None and result() is None, "task and result to be let go")


# --- states ---


@check
def a_future_before_and_after(executor, gate, room):
    path = os.path.join(room, "begun")
    future = executor.submit(mark_and_hold, path, gate.path, 5)
    begun(path)
    until(future.running, "a future whose task runs to say so")
    assert not future.done() and not future.cancelled()
    equal(future.cancel(), False)
    assert future.running()
    gate.open()
    equal((future.result(), future.result(0), future.result(timeout=-1)), (5, 5, 5))
    equal((future.exception(), future.exception(0)), (None, None))
    assert future.done() and not future.running() and not future.cancelled()
    equal(future.cancel(), False)
    equal(future.result(), 5)


@check
def late_futures(executor, gate):
    future = executor.submit(hold, gate.path, 5)
    for method in (future.result, future.exception):
        for timeout in (MOMENT, 0, -1):
            with Stopwatch():
                is_a(raised(method, timeout), TimeoutError)
        with Stopwatch(0.9 * MOMENT):
            is_a(raised(method, timeout=MOMENT), TimeoutError)
    gate.open()
    equal(future.result(NEVER), 5)


@check
def a_future_that_fails(executor):
    future = executor.submit(fail_deep, 3)
    error = future.exception()
    is_a(error, Custom)
    equal((error.args, error.detail), (("deliberate", {"task": 3}), {"task": 3}))
    assert raised(future.result) is error and raised(future.result) is error
    assert future.done() and not future.cancelled() and not future.running()
    cause = str(error.__cause__)
    assert "Traceback (most recent call last)" in cause, cause
    assert "in fail_deep" in cause and "in innermost" in cause, cause
    assert "raise Custom(" in told(error) and "in raised" in told(error)
    works(executor)


@check
def exceptions_of_many_kinds(executor):
    for error in (
        KeyError("k"),
        OSError(2, "no", "file"),
        StopIteration(5),
        CancelledError("the task's own"),
        TimeoutError("the task's own"),
        EOFError(),
        UnicodeDecodeError("utf8", b"x", 0, 1, "why"),
    ):
        future = executor.submit(fail, error)
        found = future.exception()
        equal((type(found), found.args), (type(error), error.args))
        assert future.done() and not future.cancelled()
    works(executor)


@check
def unpicklable_arguments(executor):
    before, future, after = [executor.submit(same, x) for x in (1, Unpicklable(), 2)]
    is_a(future.exception(), LookupError, "not this")
    equal((before.result(), after.result()), (1, 2))
    is_a(executor.submit(same, x=Unpicklable()).exception(), LookupError, "not this")
    works(executor)


@check
def unpicklable_results_and_exceptions(executor):
    for _ in range(5):
        error = executor.submit(unpicklable_result).exception()
        is_a(error, LookupError, "not this")
        error = executor.submit(lock_exception).exception()
        is_a(error, Exception)
        assert "HoldsLock" in repr(error) or "lock" in str(error), repr(error)
    works(executor)


@check(where=["reason"])
def exceptions_that_pickle_cannot_send(executor):
    is_a(executor.submit(lock_exception).exception(), HoldsLock, "deliberate")


@check(where=["unloadable"])
def what_cannot_be_unpickled(executor):
    from ezmpi import RemoteError

    error = executor.submit(same, Unloadable()).exception()
    is_a(error, LookupError, "not here")
    is_a(executor.submit(unloadable_result).exception(), LookupError, "not here")
    error = executor.submit(odd_exception).exception()
    is_a(error, RemoteError, "deliberate one and two")
    works(executor)


@check
def who_waits_lets_threads_run(executor):
    """The GIL is free in result, exception and wait."""

    def count():
        while not over:
            counter[0] += 1
            time.sleep(0.001)

    counter, over = [0], []
    thread = threading.Thread(target=count)
    thread.start()
    try:
        for wait in (
            lambda future: future.result(),
            lambda future: future.exception(),
            lambda future: concurrent.futures.wait([future]),
        ):
            before = counter[0]
            wait(executor.submit(time.sleep, 0.15))
            assert counter[0] - before >= 5, counter[0] - before
    finally:
        over.append(True)
        thread.join()


# --- cancel ---


@check
def cancel_of_what_has_not_begun(executor, gate, room, workers):
    busy = keep_busy(executor, gate, workers)
    mark = os.path.join(room, "begun")
    rest = [executor.submit(leave_mark, "%s-%d" % (mark, x), x) for x in range(20)]
    future = rest[-1]
    seen = []
    future.add_done_callback(seen.append)
    equal((future.cancel(), seen), (True, [future]))
    equal(future.cancel(), True)
    assert future.cancelled() and future.done() and not future.running()
    for method in (future.result, future.exception):
        with Stopwatch():
            is_a(raised(method), CancelledError)
    future.add_done_callback(seen.append)
    equal(seen, [future] * 2)
    gate.open()
    equal([x.result() for x in busy], list(range(workers + 1)))
    equal([x.result() for x in rest[:-1]], list(range(19)))
    works(executor)
    assert not os.path.exists(mark + "-19"), "it was cancelled, and ran"


@check
def cancel_of_many(executor, gate, workers):
    """Whatever is cancelled, the others come, and who waits for all is told."""
    busy = keep_busy(executor, gate, workers)
    rest = [executor.submit(square, x) for x in range(300)]
    cancelled = [future for future in rest[10:] if future.cancel()]
    equal(cancelled, rest[10:])
    threading.Timer(MOMENT, gate.open).start()
    done, late = concurrent.futures.wait(busy + rest, NEVER)
    equal((len(done), late), (len(busy + rest), set()))
    equal([future.result() for future in rest[:10]], [x * x for x in range(10)])
    works(executor)


@check
def cancel_while_others_wait(executor, gate, workers):
    """A cancelled future comes out of as_completed, and a result() of it ends."""
    busy = keep_busy(executor, gate, workers)
    future = [executor.submit(square, x) for x in range(20)][-1]
    errors = []
    waiter = threading.Thread(target=lambda: errors.append(raised(future.result)))
    waiter.start()
    time.sleep(MOMENT)
    equal(future.cancel(), True)
    waiter.join(NEVER)
    assert errors and isinstance(errors[0], CancelledError), errors
    gate.open()
    found = list(concurrent.futures.as_completed([future, busy[0]], NEVER))
    equal(set(found), {future, busy[0]})


# --- callbacks ---


@check
def callbacks(executor, gate):
    """In order, once, with the future, which is done; at once where it was before."""
    future = executor.submit(hold, gate.path, 5)
    seen = []

    def back(number, future):
        seen.append((number, future, future.done(), future.result(0)))

    for number in range(3):
        future.add_done_callback(functools.partial(back, number))
    time.sleep(MOMENT)
    equal(seen, [])
    gate.open()
    until(lambda: len(seen) == 3, "callbacks, while nobody waits for the result")
    future.add_done_callback(functools.partial(back, 3))
    equal(seen, [(number, future, True, 5) for number in range(4)])
    time.sleep(MOMENT)
    equal(len(seen), 4)


@check
def callbacks_of_a_failure(executor):
    seen = []
    future = executor.submit(inverse, 0)
    future.add_done_callback(lambda future: seen.append(future.exception()))
    until(lambda: seen, "a callback")
    is_a(seen[0], ZeroDivisionError)


@check
def a_callback_that_raises(executor, gate):
    """Is logged, and neither the next callback nor the executor is the worse for it."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("concurrent.futures")
    level = logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    try:
        future = executor.submit(hold, gate.path, 5)
        seen = []
        future.add_done_callback(lambda future: fail(LookupError("in a callback")))
        future.add_done_callback(seen.append)
        gate.open()
        until(lambda: seen, "the callback behind one that raises")
        equal((seen, future.result()), ([future], 5))
        future.add_done_callback(lambda future: fail(LookupError("at once")))
    finally:
        logger.setLevel(level)
        logger.propagate = True
        logger.removeHandler(handler)
    told = [str(record.exc_info[1]) for record in records]
    equal(told, ["in a callback", "at once"])
    works(executor)


@check
def callbacks_do_not_run_where_tasks_are_submitted(executor):
    """Who submits may hold a lock that the callback takes."""
    lock, taken = threading.Lock(), []

    def back(future):
        with_lock = lock.acquire(timeout=1)
        taken.append(with_lock)
        if with_lock:
            lock.release()

    with lock:
        first = executor.submit(sleep_and_return, MOMENT)
        first.add_done_callback(back)
        futures = [executor.submit(nothing) for _ in range(100)]
        equal(taken, [])
    until(lambda: taken, "the callback")
    equal(taken, [True])
    concurrent.futures.wait(futures)


@check
def a_callback_submits_more(executor):
    seen = []
    over = threading.Event()

    def back(future):
        seen.append(future.result())
        if seen[-1] < 5:
            executor.submit(add, seen[-1], 1).add_done_callback(back)
        else:
            over.set()

    executor.submit(same, 0).add_done_callback(back)
    assert over.wait(NEVER), seen
    equal(seen, list(range(6)))


# --- wait and as_completed ---


@check
def wait_for_the_first(executor, gate):
    quick, held = executor.submit(square, 3), executor.submit(hold, gate.path)
    done, late = concurrent.futures.wait([quick, held], NEVER, FIRST_COMPLETED)
    equal((done, late), ({quick}, {held}))
    with Stopwatch():
        again = concurrent.futures.wait([quick, held], None, FIRST_COMPLETED)
    equal(again, (done, late))


@check
def wait_for_the_first_exception(executor, gate):
    futures = [executor.submit(square, 3), executor.submit(fail_late, 0.05, EOFError())]
    futures.append(executor.submit(hold, gate.path))
    done, late = concurrent.futures.wait(futures, NEVER, FIRST_EXCEPTION)
    equal((done, late), (set(futures[:2]), {futures[2]}))
    gate.open()
    done, late = concurrent.futures.wait(futures[::2], NEVER, FIRST_EXCEPTION)
    equal((done, late), ({futures[0], futures[2]}, set()))


@check
def wait_for_all(executor, gate):
    futures = [executor.submit(square, x) for x in range(30)]
    futures += [executor.submit(inverse, 0), executor.submit(hold, gate.path)]
    done, late = concurrent.futures.wait(futures, 4 * MOMENT)
    assert futures[-1] in late and done | late == set(futures)
    with Stopwatch():
        late = concurrent.futures.wait(futures, 0).not_done
    assert futures[-1] in late
    threading.Timer(MOMENT, gate.open).start()
    done, late = concurrent.futures.wait(futures * 2, NEVER, ALL_COMPLETED)
    equal((done, late), (set(futures), set()))


@check
def as_completed_in_the_order_of_their_ends(executor, gate):
    held = executor.submit(hold, gate.path)
    held_is_last = [held]
    gate_opener = threading.Timer(2 * MOMENT, gate.open)
    gate_opener.start()
    found = list(concurrent.futures.as_completed(held_is_last * 2, NEVER))
    equal(found, [held])
    futures = [executor.submit(fail_if, x, (3,)) for x in range(20)]
    found = set(concurrent.futures.as_completed(iter(futures), NEVER))
    equal(found, set(futures))


@check(workers=2)
def as_completed_does_not_wait_for_the_slow(executor, gate):
    held = executor.submit(hold, gate.path)
    quick = [executor.submit(square, x) for x in range(5)]
    found = concurrent.futures.as_completed([held, *quick], NEVER)
    equal({next(found) for _ in range(5)}, set(quick))
    gate.open()
    equal(list(found), [held])


@check
def as_completed_that_is_late(executor, gate):
    held = executor.submit(hold, gate.path)
    for timeout in (MOMENT, 0):
        with Stopwatch():
            found = concurrent.futures.as_completed([held], timeout)
            is_a(raised(next, found), TimeoutError)
    gate.open()
    equal(list(concurrent.futures.as_completed([held], NEVER)), [held])


# --- asyncio ---


@check
def asyncio_waits_for_futures(executor, gate):
    async def program():
        loop = asyncio.get_running_loop()
        one = asyncio.wrap_future(executor.submit(square, 3))
        calls = [loop.run_in_executor(executor, square, x) for x in range(20)]
        equal(await one, 9)
        equal(await asyncio.gather(*calls), [x * x for x in range(20)])
        try:
            await loop.run_in_executor(executor, inverse, 0)
        except ZeroDivisionError:
            return "over"

    equal(asyncio.run(program()), "over")


@check
def asyncio_goes_on_meanwhile(executor, gate):
    """The loop runs while a worker does, and being late takes no result away."""

    async def program():
        loop = asyncio.get_running_loop()
        held = loop.run_in_executor(executor, hold, gate.path, 4)
        try:
            await asyncio.wait_for(asyncio.shield(held), MOMENT)
        except asyncio.TimeoutError:
            gate.open()
            return await held

    with Stopwatch(MOMENT):
        equal(asyncio.run(program()), 4)


@check
def asyncio_cancels_futures(executor, gate, workers):
    busy = keep_busy(executor, gate, workers)
    futures = [executor.submit(square, x) for x in range(20)]

    async def program():
        last = asyncio.wrap_future(futures[-1])
        last.cancel()
        try:
            await last
        except asyncio.CancelledError:
            return True

    equal(asyncio.run(program()), True)
    until(futures[-1].cancelled, "the future to be cancelled")
    gate.open()
    equal([future.result() for future in busy], list(range(workers + 1)))
    equal([future.result() for future in futures[:-1]], [x * x for x in range(19)])
