"""faults.py SCENARIO: what users of the existing pools suffer from, in their own terms.

It uses only what all these pools have, so that it also runs on them: POOL names the
module that MPIPool comes from.  Prints "ok" where all is as it should be.
"""

import importlib
import os
import signal
import sys
import tempfile
import threading
import time

scenarios = {}
MPIPool = importlib.import_module(os.environ.get("POOL", "ezmpi")).MPIPool


def scenario(function):
    scenarios[function.__name__] = function
    return function


def double(x):
    return 2 * x


def inverse(x):
    return 1 / x


def leave(code):
    sys.exit(code)


def interrupted(x):
    raise KeyboardInterrupt


def hold_lock(x):
    return threading.Lock()


class NotOnWorkers:
    """Pickled on the master, it raises wherever it is unpickled."""

    def __reduce__(self):
        return inverse, (0,)


class NeedsTwo(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def raise_needs_two(x):
    raise NeedsTwo(1, 2)


class Point:
    def __init__(self, x):
        self.x = x


def is_point(pair):
    return isinstance(pair[0], Point)


def check_raises(pool, expected, function, tasks):
    """The master gets the exception, and the pool works on."""
    try:
        pool.map(function, tasks)
    except expected:
        pass
    else:
        raise AssertionError("nothing was raised")
    assert pool.map(double, range(5)) == [0, 2, 4, 6, 8]


@scenario
def exception():
    with MPIPool() as pool:
        check_raises(pool, ZeroDivisionError, inverse, [2, 1, 0])


@scenario
def unpickling_of_a_task():
    with MPIPool() as pool:
        check_raises(pool, ZeroDivisionError, double, [1, NotOnWorkers()])


@scenario
def pickling_of_a_result():
    with MPIPool(use_dill=False) as pool:
        check_raises(pool, TypeError, hold_lock, [1])


@scenario
def exception_that_cannot_travel():
    with MPIPool() as pool:
        check_raises(pool, Exception, raise_needs_two, [1])


@scenario
def exit_in_a_task():
    with MPIPool() as pool:
        check_raises(pool, RuntimeError, leave, [3])


@scenario
def interrupt_in_a_task():
    with MPIPool() as pool:
        check_raises(pool, KeyboardInterrupt, interrupted, [3])


@scenario
def exit_code():
    """The caller looks for code 3."""
    pool = MPIPool()
    print("ok" if pool.map(double, [1]) == [2] else "wrong")
    sys.exit(3)


@scenario
def next_map_after_an_interrupt():
    with MPIPool() as pool:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            pool.map(slow, range(100, 140))
        except KeyboardInterrupt:
            pass
        assert pool.map(double, range(8)) == [2 * x for x in range(8)]


def slow(x):
    time.sleep(0.1)
    return -x


@scenario
def map_after_close():
    pool = MPIPool()
    pool.map(double, [1])
    pool.close()
    try:
        pool.map(double, [1])
    except (RuntimeError, ValueError):
        return
    raise AssertionError("nothing was raised")


@scenario
def map_in_a_task():
    with MPIPool() as pool:

        def nested(x):
            return pool.map(double, [x])

        check_raises(pool, RuntimeError, nested, [1, 2])


@scenario
def ten_pools():
    for number in range(10):
        with MPIPool() as pool:
            assert pool.map(double, [number]) == [2 * number]


@scenario
def tasks_are_drawn_as_needed():
    with tempfile.TemporaryDirectory() as directory:
        sign = os.path.join(directory, "begun")

        def begin(x):
            open(sign, "w").close()

        def tasks():
            for number in range(100_000):
                assert number < 99_999 or os.path.exists(sign), "all drawn at once"
                yield number

        with MPIPool() as pool:
            pool.map(begin, tasks())


@scenario
def function_defined_later():
    global later
    with MPIPool() as pool:

        def later(x):
            return x + 1

        later.__qualname__ = "later"
        assert pool.map(later, [1, 2]) == [2, 3]


@scenario
def class_stays_the_same():
    with MPIPool() as pool:
        assert pool.map(is_point, [(Point(1), 2)]) == [True]


@scenario
def own_messages():
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == 1:
        MPI.COMM_WORLD.send("mine", 0, 7)
    with MPIPool() as pool:
        assert pool.map(double, range(5)) == [0, 2, 4, 6, 8]
        assert MPI.COMM_WORLD.recv(source=1, tag=7) == "mine"


@scenario
def idle_worker():
    """It uses less than a fifth of a processor."""
    with MPIPool() as pool:
        (before,) = pool.map(processor_seconds, [0])
        time.sleep(2)
        (after,) = pool.map(processor_seconds, [0])
        assert after - before < 0.4, after - before


def processor_seconds(x):
    return time.process_time()


scenarios[sys.argv[1]]()
print("ok")
