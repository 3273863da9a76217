"""How executors are made, and how they end."""

import concurrent.futures
import gc
import inspect
import os
import threading
import warnings

from cases import raised

from conformance.executor import check, keep_busy, works
from conformance.suite import MOMENT, NEVER, Reports, Stopwatch, equal, is_a
from conformance.tasks import (
    SaysWhen,
    add_to_state,
    fail_to_begin,
    get_state,
    set_state,
    sleep_and_return,
    square,
)

# --- shutdown ---


@check
def shutdown_waits(executor, gate, workers):
    """For all that was submitted, begun or not."""
    futures = keep_busy(executor, gate, workers)
    futures += [executor.submit(square, x) for x in range(20)]
    threading.Timer(2 * MOMENT, gate.open).start()
    executor.shutdown()
    assert all(future.done() and not future.cancelled() for future in futures)
    expected = [*range(workers + 1), *(x * x for x in range(20))]
    equal([future.result(0) for future in futures], expected)


@check(unless=["waits"])
def shutdown_without_waiting(executor, gate, workers):
    futures = keep_busy(executor, gate, workers)
    futures += [executor.submit(square, x) for x in range(20)]
    with Stopwatch():
        executor.shutdown(wait=False)
    is_a(raised(executor.submit, square, 1), RuntimeError)
    assert not futures[0].done()
    gate.open()
    expected = [*range(workers + 1), *(x * x for x in range(20))]
    equal([future.result(NEVER) for future in futures], expected)
    executor.shutdown(True)


@check(unless=["cancel_futures"])
def shutdown_that_cancels(executor, gate, workers):
    """What has not begun; what has is done."""
    futures = keep_busy(executor, gate, workers)
    rest = [executor.submit(square, x) for x in range(20)]
    seen = []
    rest[-1].add_done_callback(seen.append)
    threading.Timer(2 * MOMENT, gate.open).start()
    executor.shutdown(wait=True, cancel_futures=True)
    equal([future.result(0) for future in futures[:1]], [0])
    assert all(future.done() for future in futures + rest)
    assert rest[-1].cancelled() and seen == [rest[-1]]
    is_a(raised(rest[-1].result), concurrent.futures.CancelledError)


@check(unless=["cancel_futures"])
def shutdown_that_cancels_without_waiting(executor, gate, workers):
    futures = keep_busy(executor, gate, workers)
    rest = [executor.submit(square, x) for x in range(20)]
    with Stopwatch():
        executor.shutdown(wait=False, cancel_futures=True)
        error = raised(rest[-1].result, NEVER)
    is_a(error, concurrent.futures.CancelledError)
    gate.open()
    equal(futures[0].result(NEVER), 0)


@check(where=["told of"])
def who_waits_is_told_of_a_shutdown_that_cancels(executor, gate, workers):
    futures = keep_busy(executor, gate, workers)
    futures += [executor.submit(square, x) for x in range(20)]
    found = []

    def run():
        found.extend(concurrent.futures.as_completed(futures, NEVER))

    waiter = threading.Thread(target=run)
    waiter.start()
    threading.Timer(2 * MOMENT, gate.open).start()
    executor.shutdown(cancel_futures=True)
    waiter.join()
    equal(set(found), set(futures))
    equal(concurrent.futures.wait(futures, NEVER).not_done, set())


@check
def nothing_begins_after_shutdown(make):
    for args in ((), (True,)):
        executor = make()
        works(executor)
        executor.shutdown(*args)
        for _ in range(2):
            is_not_begun(executor)
            executor.shutdown(wait=True)


@check(unless=["waits"])
def nothing_begins_after_shutdown_without_waiting(make):
    executor = make()
    works(executor)
    executor.shutdown(False)
    is_not_begun(executor)
    executor.shutdown()
    is_not_begun(executor)


def is_not_begun(executor):
    error = raised(executor.submit, square, 1)
    is_a(error, RuntimeError)
    error = raised(lambda: list(executor.map(square, [1])))
    is_a(error, RuntimeError)


@check
def shutdown_of_what_did_nothing(make):
    make().shutdown()
    make().shutdown(wait=False)
    with make():
        pass


@check
def the_end_of_a_block_waits(make):
    with make() as executor:
        futures = [executor.submit(sleep_and_return, 0.02, x) for x in range(10)]
    assert all(future.done() for future in futures)
    equal([future.result(0) for future in futures], list(range(10)))
    is_not_begun(executor)


@check
def a_block_that_fails(make):
    def block():
        with executor as entered:
            assert entered is executor
            raise SaysWhen("in the block")

    executor = make()
    is_a(raised(block), SaysWhen)
    is_not_begun(executor)


def failing_block(executor):
    """Futures of a block that fails behind them."""
    futures = []
    try:
        with executor:
            futures += [executor.submit(sleep_and_return, 0.02, x) for x in range(30)]
            raise SaysWhen
    except SaysWhen:
        return futures


@check(unless=["a pool"])
def a_block_that_fails_waits(make):
    equal([future.result(0) for future in failing_block(make())], list(range(30)))


@check(where=["a pool"])
def a_block_that_fails_terminates(make):
    """And nobody waits for what did not begin."""
    futures = failing_block(make())
    equal(concurrent.futures.wait(futures, NEVER).not_done, set())
    assert any(future.cancelled() for future in futures)


@check
def executors_again_and_again(make):
    for number in range(6):
        with make() as executor:
            futures = [executor.submit(square, x) for x in range(number)]
        equal([future.result(0) for future in futures], [x * x for x in range(number)])


@check
def two_executors_at_once(make):
    one, other = make(), make()
    futures = [(one.submit(square, x), other.submit(square, x)) for x in range(9)]
    one.shutdown()
    works(other)
    equal(
        [(a.result(), b.result()) for a, b in futures], [(x * x,) * 2 for x in range(9)]
    )


@check
def a_future_keeps_its_executor(make):
    """Executor(...).submit(...).result() works where nobody holds the executor."""
    future = make().submit(sleep_and_return, MOMENT, 4)
    gc.collect()
    equal(future.result(NEVER), 4)


# --- how they are made ---


@check(unless=["a pool"])
def an_executor_is_an_executor(executor):
    assert isinstance(executor, concurrent.futures.Executor)


@check
def signatures(executor):
    """submit and shutdown take what an Executor's do; ours on every Python."""
    parameters = inspect.signature(executor.submit).parameters
    equal(
        [p.kind.name for p in parameters.values()][-2:], ["VAR_POSITIONAL", "VAR_KEYWORD"]
    )
    parameters = list(inspect.signature(executor.shutdown).parameters.values())
    equal([(p.name, p.default) for p in parameters][:1], [("wait", True)])
    for parameter in parameters[1:]:
        equal((parameter.name, parameter.default), ("cancel_futures", False))


@check(unless=["a pool"])
def max_workers(make):
    for number in (0, -1):
        is_a(raised(make, number), ValueError)
        is_a(raised(make, max_workers=number), ValueError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for executor in (make(1), make(max_workers=1), make(None)):
            works(executor)


@check(unless=["a pool", "workers are given"])
def one_worker_is_one(make):
    executor = make(1)
    equal(len({pid for _, pid in executor.map(get_state, range(40))}), 1)


@check
def initializer(make, room, workers):
    executor = make(initializer=set_state, initargs=("set", room))
    found = [executor.submit(get_state) for _ in range(40)]
    found = [future.result() for future in found]
    equal({state for state, _ in found}, {"set"})
    here = {int(name.split("-")[1]) for name in os.listdir(room)}
    assert {pid for _, pid in found} <= here and len(here) <= workers, (found, here)
    executor = make(initializer=set_state, initargs=["again", room])
    equal(executor.submit(get_state).result()[0], "again")


@check
def initializer_runs_once(make):
    executor = make(initializer=add_to_state, initargs=(1000,))
    for _ in range(2):
        futures = [executor.submit(get_state) for _ in range(20)]
        equal({future.result()[0] for future in futures}, {1000})


@check
def an_initializer_that_cannot_be_called(make):
    is_a(raised(make, initializer=123), TypeError)
    works(make())


def broken(error):
    """BrokenProcessPool or our BrokenPoolError: neither knows the other."""
    names = {kind.__name__ for kind in type(error).__mro__}
    assert names & {"BrokenProcessPool", "BrokenPoolError"}, repr(error)
    is_a(error, RuntimeError)


@check
def a_failing_initializer(make):
    """Fails all that was submitted and all that follows; the next executor works."""
    with Reports():
        executor = make(initializer=fail_to_begin, initargs=("no start",))
        futures = []
        for x in range(5):
            try:
                futures.append(executor.submit(square, x))
            except RuntimeError as error:  # it failed before all were submitted
                broken(error)
        for future in futures:
            broken(raised(future.result, NEVER))
            assert future.done() and not future.cancelled()
        for _ in range(2):
            broken(raised(lambda: executor.submit(square, 1).result(NEVER)))
        equal(concurrent.futures.wait(futures, NEVER).not_done, set())
        executor.shutdown()
    works(make())


@check(unless=["a pool"])
def a_broken_executor_is_a_broken_executor(make):
    """What is caught by ``except concurrent.futures.BrokenExecutor``."""
    with Reports():
        executor = make(initializer=fail_to_begin, initargs=("no start",))
        error = raised(lambda: executor.submit(square, 1).result(NEVER))
    kind = getattr(concurrent.futures, "BrokenExecutor", RuntimeError)
    is_a(error, kind)
    works(make())
