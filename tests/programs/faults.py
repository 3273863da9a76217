"""faults.py SCENARIO [HOW]: what users of the existing pools suffer from.

It uses only what all these pools have, so that it also runs on them: POOL names the
module that MPIPool comes from.  Prints "begun" when the first pool is there, and "ok"
where all is as it should be.
"""

import enum
import importlib
import os
import signal
import sys
import tempfile
import threading
import time

scenarios = {}
PoolType = importlib.import_module(os.environ.get("POOL", "ezmpi")).MPIPool


def MPIPool(**options):
    pool = PoolType(**options)
    print("begun", flush=True)
    return pool


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
def lowest_of_several_failures():
    """The one that a serial loop would have met, though a later task fails first."""
    with MPIPool() as pool:
        check_raises(pool, LookupError, fail_late_or_soon, ["late", "soon"])


def fail_late_or_soon(when):
    if when == "soon":
        raise ValueError(when)
    time.sleep(0.3)
    raise LookupError(when)


@scenario
def uncaught_failure():
    """The caller looks for code 1."""
    with MPIPool() as pool:
        pool.map(inverse, [2, 1, 0])


@scenario
def ending_within(how):
    """The caller looks at the exit code."""
    with MPIPool() as pool:
        assert pool.map(double, [1]) == [2]
        end(how)


@scenario
def ending_after(how):
    with MPIPool() as pool:
        assert pool.map(double, [1]) == [2]
    end(how)


def end(how):
    print("ok", flush=True)
    if how == "exit":
        sys.exit(3)
    if how == "error":
        raise LookupError("deliberate")


def interrupt_soon():
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()


@scenario
def interrupt_not_caught():
    """The caller looks for an end long before that of the tasks."""
    with MPIPool() as pool:
        interrupt_soon()
        pool.map(time.sleep, [30] * 4)


@scenario
def end_while_workers_are_busy():
    """The same, where the script caught the interrupt."""
    with MPIPool() as pool:
        interrupt_soon()
        try:
            pool.map(time.sleep, [30] * 4)
        except KeyboardInterrupt:
            pass


@scenario
def interrupt_at_a_worker():
    """The launcher sends Ctrl-C to every rank: one that waits is not to mind it."""
    with MPIPool() as pool:
        (worker,) = pool.map(process_id, [0])
        os.kill(worker, signal.SIGINT)
        time.sleep(0.3)
        assert pool.map(double, range(5)) == [0, 2, 4, 6, 8]


def process_id(x):
    return os.getpid()


@scenario
def next_map_after_an_interrupt():
    with MPIPool() as pool:
        interrupt_soon()
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
            os.path.exists(sign) or open(sign, "w").close()

        def tasks():
            for number in range(20_000):
                assert number < 19_999 or os.path.exists(sign), "all drawn at once"
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
def constant_changed_later():
    global OFFSET
    with MPIPool() as pool:
        for OFFSET in (10, 20):
            assert pool.map(add_offset, [1, 2]) == [OFFSET + 1, OFFSET + 2]


OFFSET = 0


def add_offset(x):
    return x + OFFSET


@scenario
def callable_changed_in_place():
    with MPIPool() as pool:
        adder = Adder()
        for adder.amounts[0] in (10, 20):
            assert pool.map(adder, [1]) == [adder.amounts[0] + 1]


class Adder:
    def __init__(self):
        self.amounts = [0]

    def __call__(self, x):
        return x + self.amounts[0]


@scenario
def callable_is_sent_once():
    with MPIPool() as pool:
        counter = Counter()
        pool.map(counter, range(100))
        assert counter.pickled < 10, counter.pickled


class Counter:
    pickled = 0

    def __call__(self, x):
        return x

    def __reduce__(self):
        self.pickled += 1
        return Counter, ()


@scenario
def enum_member_stays_the_same():
    with MPIPool() as pool:
        assert pool.map(is_red, [[Color.RED]]) == [True]


class Color(enum.Enum):
    RED = 1


def is_red(colors):
    return colors[0] is Color.RED


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


@scenario
def waiting_master():
    with MPIPool() as pool:
        before = time.process_time()
        pool.map(time.sleep, [2])
        used = time.process_time() - before
        assert used < 0.4, used


scenarios[sys.argv[1]](*sys.argv[2:])
print("ok")
