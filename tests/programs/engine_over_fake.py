"""Runs a small job in one process, over tests/c/fake_transport.c.

    engine_over_fake.py LIBRARY SCENARIO
    engine_over_fake.py LIBRARY SCENARIO RANK
    engine_over_fake.py LIBRARY SCENARIO memory SEED SHARES

The master runs in the main thread, each worker in another. With a rank, the
scenario is repeated: the first call of a kind that this rank makes fails, then
the second ..., until the scenario runs through without a failure; and again
with all later calls failing, too. Whatever fails, the scenario sees a right
result or a TransportError, the job ends, and nothing is left behind. With
`memory` it is no call that fails, but an allocation: see failing_memory.py;
the scenario may be "all".
"""

import collections
import contextlib
import ctypes
import faulthandler
import functools
import gc
import itertools
import operator
import os
import pickle
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
from ctypes import c_char_p, c_int, c_int32, c_long, c_size_t, c_uint32, c_void_p

import failing_memory

from ezmpi import _checkpoint, _driver, _ezmpi, _shared, errors
from ezmpi._future import CallbackFuture, PoolFuture
from ezmpi.errors import (
    BrokenPoolError,
    PoolClosedError,
    RemoteError,
    TaskExit,
    TransportError,
    WorkerDied,
)
from ezmpi.pool import MPIPool

LARGE = 300000  # bytes; more than travels with the header
LEAK = 100000  # less than one large argument, more than what a crew takes
# Seconds that a run may take
PATIENCE = 30 * float(os.environ.get("EZMPI_TEST_PATIENCE", "1"))
CALLABLE = 3  # the verb, in protocol.h
GATE = 1  # seconds that a task waits for another
START_CALLS = ("check", "start")  # before any job
CALLS = ("open", "send", "multicast", "flush", "wait", "take", "close")

# ---- the fake transport -----------------------------------------------------


class Fake(ctypes.Structure):
    """The controls, as in fake_transport.c."""

    _fields_ = [
        ("ranks", c_int),
        ("plan", ctypes.CFUNCTYPE(None, c_int, c_char_p, c_long, c_int)),
        ("tripped", ctypes.CFUNCTYPE(c_int)),
        ("violations", ctypes.CFUNCTYPE(c_int)),
        ("finalize", ctypes.CFUNCTYPE(None, c_int32)),
        ("die", ctypes.CFUNCTYPE(None, c_int32)),
        ("over", ctypes.CFUNCTYPE(c_int, c_int32)),
        ("kept", ctypes.CFUNCTYPE(c_size_t, c_int32)),
        ("lose", ctypes.CFUNCTYPE(None, c_int, c_long)),
        ("to_lose", ctypes.CFUNCTYPE(c_long)),
        ("share", ctypes.CFUNCTYPE(None, c_int)),
        ("survive", ctypes.CFUNCTYPE(None, c_int)),
        ("inject", ctypes.CFUNCTYPE(None, c_int32, c_int, c_int, c_void_p, c_size_t)),
        ("arrived", ctypes.CFUNCTYPE(c_int, c_int32, c_int)),
    ]

    @classmethod
    def behind_table(cls, library):
        """They stand behind the table, whose second field is its size."""
        table = (c_uint32 * 2).in_dll(ctypes.CDLL(library), "ezmpi_transport")
        return cls.from_address(ctypes.addressof(table) + table[1])


class Wrong(BaseException):
    """What must not happen, whatever call fails."""


class Memory:
    """There is enough of it; class Short of failing_memory.py is for the opposite."""

    def short(self, rank):
        """While this rank's thread is in here."""
        return contextlib.nullcontext()

    def failed(self):
        return False

    def may_stand(self, error):
        """Whether this is an exception that may come in place of any result."""
        return isinstance(error, TransportError)


# ---- a job ------------------------------------------------------------------


class Job:
    """A master and its workers, on a communicator of their own."""

    numbers = itertools.count()

    def __init__(self, fake, transport, scenario, memory):
        first = fake.ranks * next(self.numbers)
        self.fake = fake
        self.transport = transport
        self.scenario = scenario
        self.handles = range(first, first + fake.ranks)
        self.workers = fake.ranks - 1
        self.memory = memory
        self.failures = []  # exceptions that came in place of a result
        self.exits = 0  # workers that ended as they should

    def tell(self, control, *values):
        """Call one of the fake's controls, also where Python has no memory for that."""
        while True:  # what fails is at its end some time
            try:
                return getattr(self.fake, control)(*values)
            except (MemoryError, ctypes.ArgumentError):
                if not self.memory.failed():
                    raise

    def die(self, rank):
        """As `tell`, but where nothing may come out of the call of it either."""
        while True:
            try:
                return self.fake.die(self.handles[rank])
            except (MemoryError, ctypes.ArgumentError):
                pass

    def pool(self, rank=0, **options):
        options = dict(self.scenario.options, **options)
        kind = PublicPool if self.scenario.public else _ezmpi.MPIPool
        return kind(self.transport, self.handles[rank], **options)

    def serve(self, rank):
        """A worker's process."""
        try:
            with self.memory.short(rank):
                pool = self.pool(rank)
                for _ in range(self.scenario.waits):
                    pool.wait()
            raise SystemExit
        except SystemExit:
            self.exits += 1
        except Exception as error:
            self.die(rank)
            if not self.memory.may_stand(error):
                raise

    def lead(self):
        """The master's process."""
        pool = None
        try:
            with self.memory.short(0):
                pool = self.attempt(self.pool)
                if pool is self:
                    self.die(0)
                    return
                self.scenario.function(self, pool)
                self.attempt(pool.close)
        except BaseException:
            gate.set()
            self.die(0)
            end_driver(pool)
            raise
        end_driver(pool)
        self.fake.finalize(self.handles[0])

    def run(self):
        ranks = range(1, 1 + self.workers)
        threads = [threading.Thread(target=self.serve, args=(i,)) for i in ranks]
        for thread in threads:
            thread.start()
        try:
            self.lead()
        finally:
            for thread in threads:
                thread.join()
        ends = self.fake.over(self.handles[0]) or self.scenario.survives
        ends = ends or self.memory.failed()
        if self.exits < self.workers and not ends:
            raise Wrong("a worker ended, but not the job")

    # What a scenario says.  After a failure it goes on, as users would who
    # caught the exception.

    def attempt(self, function, *args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not self.memory.may_stand(error):
                raise
            self.failures.append(repr(error))
            return self

    def is_smooth(self):
        """So that it is known what else is done, and how often."""
        return not self.failures and not self.memory.failed()

    def gives(self, expected, function, *args, **kwargs):
        try:
            got = self.attempt(function, *args, **kwargs)
        except self.scenario.raises as error:
            if self.is_smooth():
                raise
            self.failures.append(repr(error))
            return
        except RemoteError as error:
            if not self.is_one_of(self.scenario.raises, error):
                raise
            self.failures.append(repr(error))
            return
        if got is not self and got != expected:
            raise Wrong(f"{got!r:.200}, not {expected!r:.200}")

    def raises(self, kinds, function, *args, **kwargs):
        try:
            got = self.attempt(function, *args, **kwargs)
        except kinds:
            return
        except RemoteError as error:
            if not self.is_one_of(kinds, error):
                raise
            return
        if got is not self:
            raise Wrong(f"{got!r:.200}, not {kinds}")

    def is_one_of(self, kinds, error):
        """Of it memory was for no more than its text."""
        kinds = kinds if isinstance(kinds, tuple) else (kinds,)
        return self.memory.failed() and errors._was_of(error, kinds)

    def draws(self, expected, draw):
        """Results and kinds of exceptions, one after another.

        After one that may always come some of them may be missing.
        """
        kinds = tuple(each for each in expected if isinstance(each, type))
        left = list(expected)
        for _ in range(2 * len(expected)):
            try:
                got = self.attempt(draw)
            except (StopIteration, *kinds) as error:
                got = type(error)
            except RemoteError as error:
                if not self.is_one_of(kinds, error):
                    raise
                got = kinds[0]
            if got is self:
                continue
            if got is StopIteration and self.failures:
                return
            skipped = left.index(got) if got in left and self.failures else 0
            if left[skipped : skipped + 1] != [got]:
                raise Wrong(f"{got!r:.200}, not {left}")
            del left[: skipped + 1]
            if not left:
                return
        if not self.failures:
            raise Wrong(f"not all of {expected}")

    # What goes on in the background, as ezmpi/pool.py begins it.

    def call(self, pool, function, *args, rank=None, **kwargs):
        future = PoolFuture()
        future._ticket = self.attempt(pool._call, function, args, kwargs, future, rank)
        return future

    def begin(self, pool, function, tasks, *callbacks, chunksize=None, failures=None):
        future = CallbackFuture(*callbacks) if callbacks else PoolFuture()
        future._ticket = self.attempt(
            pool._begin, function, tasks, future, False, chunksize, failures
        )
        return future

    def iterate(
        self,
        pool,
        function,
        tasks,
        *,
        unordered=False,
        chunksize=1,
        window=4,
        show=None,
        failures=None,
        arrived=None,
    ):
        """What is left where it cannot be begun has nothing to give."""
        how = unordered, chunksize, window, show, failures, arrived
        results = self.attempt(pool._iterate, function, tasks, False, *how)
        return FailedIterator() if results is self else results

    def ends(self, future):
        """What `gives` and `raises` are to call."""
        if future._ticket is not self:
            return future.result(PATIENCE / 2)
        raise TransportError("it was not begun")


class PublicPool(MPIPool):
    """What users have, whose constructor would look for an MPI."""

    _is_local = False

    def __init__(self, transport, handle, **options):
        _ezmpi.MPIPool.__init__(self, transport, handle, **options)


class FailedIterator:
    def __iter__(self):
        return self

    def __next__(self):
        raise TransportError("it was not begun")

    def _take(self, timeout):
        raise TransportError("it was not begun")

    def close(self):
        pass


def end_driver(pool):
    """As at exit."""
    if pool is not None:
        pool._end()
    _driver.join()
    if any(thread.is_alive() for thread, _ in _driver._threads):
        raise Wrong("the driver's thread does not end")
    _driver._threads.clear()


# ---- what tasks do ----------------------------------------------------------


def double(number):
    return 2 * number


FIRST_BAD = 3


def fail_from_three(number):
    if number >= FIRST_BAD:
        raise ValueError(number)
    return number


class Block:
    """Bytes that travel out-of-band."""

    def __init__(self, data):
        self.data = bytearray(data)

    def __reduce_ex__(self, protocol):
        return Block, (pickle.PickleBuffer(self.data),)

    def __eq__(self, other):
        return self.data == other.data

    __hash__ = None


def echo(value):
    return value


def grow(block):
    return Block(block.data + b"more")


def leave(code):
    sys.exit(code)


def interrupt(_):
    raise KeyboardInterrupt


def generator(_):
    return (i for i in range(3))


class Adder:
    loads = 0  # how often one was made of a message

    def __init__(self, amount):
        self.amount = amount
        self.ballast = Block(bytes(LARGE))

    def __call__(self, number):
        return number + self.amount

    def __setstate__(self, state):
        Adder.loads += 1
        self.__dict__ = state


class Gate:
    """An event that needs no memory, nor a lock that would be held when there is none."""

    is_open = False

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while not self.is_open and time.monotonic() < end:
            time.sleep(0.001)

    def set(self):
        self.is_open = True

    def clear(self):
        self.is_open = False


gate = Gate()  # what a scenario does meanwhile may take its time


def late_zero(number):
    """Task 0 comes back when another task has opened the gate."""
    if number == 0:
        gate.wait(GATE)
    return number


def open_gate(number):
    gate.set()
    return number


def fail_late_zero(number):
    """Task 0 fails, but after task 1 has."""
    if number == 0:
        gate.wait(GATE)
        time.sleep(0.02)
        raise KeyError(number)
    gate.set()
    raise ValueError(number)


initialized = []


def initialize(number):
    initialized.append(number)


def fail():
    raise ValueError("no")


# ---- scenarios --------------------------------------------------------------


class Scenario:
    def __init__(
        self, function, waits=0, words=1, survives=0, raises=(), public=0, **options
    ):
        self.function = function
        self.public = public  # with the pool of ezmpi/pool.py, not the one below it
        self.raises = raises  # what tasks do, where it cannot be noted that they did
        self.survives = survives  # the death of a worker
        self.waits = waits  # after the constructor's
        self.words = words  # that master and workers share, or 0
        self.options = options


SCENARIOS = {}


def scenario(**options):
    def enlist(function):
        SCENARIOS[function.__name__] = Scenario(function, **options)
        return function

    return enlist


@scenario()
def plain(job, pool):
    for chunksize in (None, 1, 3, 5, 100):
        job.gives([0, 2, 4, 6, 8], pool.map, double, range(5), chunksize=chunksize)
    job.gives([], pool.map, double, [])
    job.gives([0, 2], pool.map, double, (i for i in range(2)))
    job.gives(None, pool.map, double, range(5), return_results=False)


def pass_gate(value):
    gate.wait(PATIENCE)
    return value


def nap(seconds):
    if seconds:
        time.sleep(seconds)
    return seconds


def held(key):
    """What was shared; not an exception, whose first text has Python load modules."""
    value, failed = _shared._held.get(key, (None, False))
    if failed:
        raise value.with_traceback(None)
    return value


def doze(x):
    if x >= 28:
        time.sleep(0.01)
    return x


@scenario()
def late(job, pool):
    """Chunks that take far longer than others: what is not begun comes back."""
    job.gives(list(range(30)), pool.map, doze, range(30))


@scenario()
def large(job, pool):
    blocks = [Block(bytes([i]) * LARGE) for i in range(4)]
    grown = [Block(block.data + b"more") for block in blocks]
    job.gives(grown, pool.map, grow, blocks)
    job.gives(grown, pool.map, grow, iter(blocks), chunksize=3)
    texts = [str(i) * LARGE for i in range(4)]
    job.gives(texts, pool.map, echo, texts, chunksize=2)


@scenario()
def callables(job, pool):
    adder = Adder(1)
    Adder.loads = 0
    for _ in range(3):
        job.gives([1, 2, 3, 4], pool.map, adder, range(4))
    if Adder.loads > job.workers and job.is_smooth():
        raise Wrong(f"the callable travelled {Adder.loads} times")
    adder.amount = 5
    job.gives([5, 6, 7], pool.map, adder, range(3))
    for amount in range(6):
        job.gives([amount], pool.map, Adder(amount), [0])
    job.gives([5], pool.map, adder, [0])
    job.gives([3], pool.map, lambda number: number + 3, [0])


@scenario()
def multicast(job, pool):
    """A callable so large that all idle workers get it at once."""
    for amount in range(2):
        adder = Adder(amount)
        adder.ballast = Block(bytes(1_100_000))
        job.gives([amount, amount + 1], pool.map, adder, range(2), chunksize=1)


@scenario()
def forgotten(job, pool):
    """A worker that does not hold the callable asks for it, and its tasks wait."""
    for amount, chunksize in enumerate([1, 2, 4]):
        job.tell("lose", CALLABLE, 1)
        expected = list(range(amount, amount + 8))
        job.gives(expected, pool.map, Adder(amount), range(8), chunksize=chunksize)
        if job.tell("to_lose") and job.is_smooth():
            raise Wrong("the callable did not travel")
    job.tell("lose", CALLABLE, 1)
    job.raises(ValueError, pool.map, fail_from_three, range(8))
    job.gives([0, 2], pool.map, double, range(2))


@scenario()
def failing(job, pool):
    blocks = [Block(bytes(LARGE)) for _ in range(3)]
    for chunksize in (1, 2, 5):
        job.raises(ValueError, pool.map, fail_from_three, range(8), chunksize=chunksize)
        job.gives([0, 1, 2], pool.map, fail_from_three, range(3))
    job.raises(TypeError, pool.map, generator, blocks)
    job.raises(TypeError, pool.map, echo, [*blocks, generator(0)], chunksize=4)
    job.gives(blocks, pool.map, echo, blocks)


class Flaky:
    """Fails with the first so many attempts at a task, whatever worker runs it.

    Each counts its own, since a call that could not be waited for may still run.
    """

    made = itertools.count()
    attempts = collections.Counter()

    def __init__(self):
        self.which = next(Flaky.made)

    def __call__(self, number):
        if self.attempt(number) <= number:
            raise ValueError(number)
        return number

    def block(self, block):
        if self.attempt(len(block.data)) == 1:
            raise ValueError("block")
        return block

    def attempt(self, number):
        Flaky.attempts[self.which, number] += 1
        return Flaky.attempts[self.which, number]


TWICE = 2, (ValueError,), (TaskExit,)  # ezmpi._failures' plan


@scenario()
def returned(job, pool):
    """Failures in place of results."""
    failures = True, None, 0
    expected = ["0", "1", "2", "ValueError(3)", "ValueError(4)"]
    for chunksize in (1, 3):
        arguments = {"chunksize": chunksize, "_failures": failures}
        job.gives(expected, texts, job, pool.map, fail_from_three, range(5), **arguments)
    came = job.iterate(pool, fail_from_three, range(5), failures=failures)
    job.gives(expected, texts, job, list, came)
    future = job.begin(pool, fail_from_three, range(5), failures=failures)
    job.gives(expected, texts, job, job.ends, future)
    job.gives([2], pool.map, double, [1])


def texts(job, function, *args, **kwargs):
    """Of results, and of failures among them; but what may always come is raised."""
    values = function(*args, **kwargs)
    for value in values:
        if isinstance(value, Exception) and job.memory.may_stand(value):
            raise value
        if isinstance(value, RemoteError) and job.memory.failed():
            raise value  # there was memory for no more
    return [repr(value) for value in values]


@scenario()
def retried(job, pool):
    """Tasks that fail twice, by themselves and in a chunk; and ones that do not end."""
    for chunksize in (1, 3):
        arguments = {"chunksize": chunksize, "_failures": (False, TWICE, 0)}
        job.gives([0, 1, 2], pool.map, Flaky(), range(3), **arguments)
    job.raises(ValueError, pool.map, Flaky(), range(5), _failures=(False, TWICE, 0))
    job.gives([2], pool.map, double, [1])


@scenario()
def retried_bytes(job, pool):
    """What was drawn, or is large, or gives nothing, is there when it is run again."""
    arguments = {"chunksize": 3, "_failures": (False, TWICE, 0)}
    tasks = (i for i in range(3))
    flaky = Flaky()
    job.gives(None, pool.map, flaky, tasks, None, False, **arguments)
    if flaky.attempts[flaky.which, 2] != 1 + TWICE[0] and job.is_smooth():
        raise Wrong(Flaky.attempts)
    blocks = [Block(bytes(LARGE + i)) for i in range(3)]
    job.gives(blocks, pool.map, Flaky().block, blocks, **arguments)


@scenario()
def retried_iterators(job, pool):
    arguments = {"chunksize": 2, "failures": (False, TWICE, 0)}
    came = job.iterate(pool, Flaky(), range(4), **arguments)
    job.draws([0, 1, 2, ValueError], came.__next__)
    job.iterate(pool, Flaky(), itertools.count(), **arguments).close()
    job.gives([2], pool.map, double, [1])


@scenario(raises=ValueError, retries=TWICE)
def retried_calls(job, pool):
    flaky = Flaky()
    futures = [job.call(pool, flaky, number) for number in range(4)]
    for number, future in enumerate(futures[:3]):
        job.gives(number, job.ends, future)
    job.raises(ValueError, job.ends, futures[3])
    job.raises(TaskExit, job.ends, job.call(pool, leave, 3))
    job.raises(ValueError, job.ends, job.call(pool, Flaky(), 1, rank=1))
    left = job.call(pool, Flaky(), 2)
    job.attempt(pool._abandon, "left", False)
    try:
        job.ends(left)
    except (TransportError, errors.TimeoutError):
        pass


@scenario()
def exits(job, pool):
    job.raises(TaskExit, pool.map, leave, [3, 4])
    job.raises(KeyboardInterrupt, pool.map, interrupt, [0])
    job.gives([2], pool.map, double, [1])


@scenario()
def iterator_fails(job, pool):
    def tasks():
        yield Block(bytes(LARGE))
        yield Block(bytes(LARGE))
        raise KeyError("tasks")

    for chunksize in (1, 2, 3):
        job.raises(KeyError, pool.map, echo, tasks(), chunksize=chunksize)
        job.gives([2], pool.map, double, [1])


@scenario()
def callback(job, pool):
    blocks = [Block(bytes(LARGE)) for _ in range(3)]
    seen = []
    job.gives([0, 2, 4], pool.map, double, range(3), seen.append)
    if sorted(seen) != [0, 2, 4] and not job.failures:
        raise Wrong(seen)

    count = itertools.count()

    def fail_second(result):
        if next(count) == 1:
            raise KeyError("callback")

    def nested(result):
        job.gives([2], pool.map, double, [1])

    job.raises(KeyError, pool.map, echo, blocks, fail_second)
    job.gives(blocks, pool.map, echo, blocks, nested)
    job.gives([2], pool.map, double, [1])


@scenario()
def late_answers(job, pool):
    """An answer to a job that was left is no answer to the next one."""

    def fail(result):
        raise KeyboardInterrupt  # which waits for no other task

    gate.clear()
    job.raises(KeyboardInterrupt, pool.map, late_zero, range(3), fail)
    job.gives([5, 6, 7, 8], pool.map, open_gate, [5, 6, 7, 8])
    gate.clear()
    job.raises(KeyError, pool.map, fail_late_zero, range(3))
    gate.set()
    job.gives([2], pool.map, double, [1])


@scenario(initializer=initialize, initargs=(1,))
def initializer(job, pool):
    del initialized[:]
    job.gives([2, 4], pool.map, double, [1, 2])
    job.gives([2, 4], pool.map, double, [1, 2])
    if not 1 <= len(initialized) <= job.workers and job.is_smooth():
        raise Wrong(initialized)


@scenario(initializer=fail, initargs=())
def bad_initializer(job, pool):
    job.raises(BrokenPoolError, pool.map, double, [1, 2])
    job.raises(BrokenPoolError, pool.map, double, [1, 2])


@scenario()
def pools(job, pool):
    for number in range(4):
        job.gives([number], pool.map, Adder(number), [0])
        job.attempt(pool.close)
        job.raises(PoolClosedError, pool.map, double, [1])
        pool = job.attempt(job.pool)
        if pool is job:
            return
    job.gives([2], pool.map, double, [1])
    job.attempt(pool.close)


@scenario(waits=2, test_mode=True)
def waits(job, pool):
    job.gives([2], pool.map, double, [1])
    job.attempt(pool.close)
    for number in range(job.scenario.waits):
        pool = job.attempt(job.pool)
        if pool is job:
            return
        job.gives([number], pool.map, Adder(number), [0])
        job.attempt(pool.close)


@scenario()
def late_names(job, pool):
    for number in range(3):
        # Other names each time: here the worker binds them in the master's
        # own __main__, and after a failure it may do so late.
        exec(
            f"def late{number}(x): return helper{number}(x) + {number}\n"
            f"def helper{number}(x): return 10 * x + {number}\n",
            globals(),
        )
        expected = [10 * x + 2 * number for x in range(3)]
        job.gives(expected, pool.map, globals()[f"late{number}"], range(3))


@scenario()
def calls(job, pool):
    futures = [job.call(pool, double, number) for number in range(4)]
    failed = job.call(pool, fail_from_three, FIRST_BAD)
    large = job.call(pool, grow, Block(bytes(LARGE)))
    named = job.call(pool, double, number=4)
    unpicklable = job.call(pool, echo, generator(0))
    job.gives(Block(bytes(LARGE) + b"more"), job.ends, large)
    job.gives([0, 2, 4, 6], lambda: [job.ends(future) for future in futures])
    job.raises(ValueError, job.ends, failed)
    job.gives(8, job.ends, named)
    job.raises(TypeError, job.ends, unpicklable)


@scenario()
def cancelled(job, pool):
    """What is not begun is taken back, or waits."""
    learn(job, pool)
    gate.clear()
    futures = [job.call(pool, pass_gate, 1) for _ in range(6)]
    taken = {future for future in reversed(futures[2:5]) if future.cancel()}
    gate.set()
    for future in futures:
        if future not in taken:
            job.gives(1, job.ends, future)
        elif not future.cancelled():
            raise Wrong("a call was cancelled, and was not")
    if not taken and job.is_smooth() and job.scenario.words:
        raise Wrong("none was cancelled")


@scenario(words=0)
def without_words(job, pool):
    """None can be taken back."""
    cancelled(job, pool)


@scenario()
def stuck(job, pool):
    """What waits behind a call that turns out to be long is moved."""
    learn(job, pool)
    naps = [0, 0.02, *[0] * 4]
    futures = [job.call(pool, nap, seconds) for seconds in naps]
    for seconds, future in zip(naps, futures):
        job.gives(seconds, job.ends, future)


def learn(job, pool):
    """Calls are short: from now on some are sent ahead."""
    for future in [job.call(pool, echo, 0) for _ in range(4)]:
        job.gives(0, job.ends, future)


@scenario()
def iterators(job, pool):
    """To the end; failing at one place; as they come."""
    job.gives([0, 2, 4], list, job.iterate(pool, double, range(3)))
    blocks = [Block(bytes(LARGE)) for _ in range(3)]
    job.gives(blocks, list, job.iterate(pool, echo, iter(blocks), chunksize=2))
    came = job.iterate(pool, double, (i for i in range(3)), unordered=True)
    job.gives([0, 2, 4], sorted, came)
    results = job.iterate(pool, fail_from_three, range(4), chunksize=2)
    job.draws([0, 1, 2, ValueError, StopIteration], results.__next__)


@scenario()
def arrivals(job, pool):
    """Results are told when they come, and so is what a task raised; also if taken."""

    def kept(came, result, index):
        came.append(result)
        if isinstance(result, Exception) and job.memory.may_stand(result):
            raise result
        if index < FIRST_BAD:
            assert result == index
        elif not job.is_one_of(ValueError, result):
            assert isinstance(result, ValueError)

    came = []
    arrived = functools.partial(kept, came)
    results = job.iterate(pool, fail_from_three, range(5), window=0, arrived=arrived)
    expected = [0, 1, 2, ValueError, ValueError, StopIteration]
    job.draws(expected, lambda: take(results, PATIENCE))
    assert len({repr(each) for each in came}) == len(came), came
    listed = []
    how = {"failures": (True, None, 0), "arrived": functools.partial(kept, listed)}
    results = job.iterate(pool, fail_from_three, range(5), **how)
    job.gives((5, 5), lambda: (len(list(results)), len(listed)))
    told = []
    how = {"_failures": (True, None, 0), "_arrived": functools.partial(kept, told)}
    mapped = functools.partial(pool.map, fail_from_three, range(5), None, False, **how)
    job.gives((None, 5), lambda: (mapped(), len(told)))

    def refuse(result, index):
        raise LookupError(result)

    job.raises(LookupError, list, job.iterate(pool, double, range(3), arrived=refuse))
    gate.clear()
    results = job.iterate(pool, pass_gate, [1])

    def take_late():
        try:
            return take(results, PATIENCE if gate.is_open else 0)
        finally:
            gate.set()

    job.draws([None, 1], take_late)


def take(results, timeout):
    taken = results._take(timeout)
    if taken is None:
        return None
    is_result, result = taken
    if not is_result:
        raise result
    return result


@scenario()
def dropped(job, pool):
    """Iterators half way, of tasks without end; one before its first result."""
    for unordered in (False, True):
        tasks = itertools.count()
        results = job.iterate(pool, double, tasks, unordered=unordered)
        if not unordered:
            job.gives(0, next, results)
        results.close()
    del results
    job.iterate(pool, echo, [Block(bytes(LARGE)) for _ in range(3)])
    job.gives([2], pool.map, double, [1])


@scenario()
def shown(job, pool):
    """How far it is, to a function that may raise, or use the pool."""
    seen = []

    def show(*numbers):
        seen.append(numbers)

    def refuse(*numbers):
        raise LookupError(numbers)

    def work(*numbers):
        job.gives([2], pool.map, double, [1])

    job.gives([0, 2, 4], lambda: pool.map(double, range(3), progress=show))
    job.gives([0, 2, 4], list, job.iterate(pool, double, range(3), show=show))
    job.gives([0, 2, 4], list, job.iterate(pool, double, range(3), show=work))
    job.raises(LookupError, lambda: pool.map(double, range(3), progress=refuse))
    job.raises(LookupError, list, job.iterate(pool, double, range(3), show=refuse))
    future = job.begin(pool, double, range(3))
    job.gives([0, 2, 4], job.ends, future)
    if future._ticket is not job:
        seen.append(future._ticket.progress())
    assert all(done <= 3 and total == 3 for done, total, _ in seen), seen


@scenario()
def background(job, pool):
    """Maps, with callbacks and without, side by side."""
    told = []
    ways = told.append, told.append
    doubled = job.begin(pool, double, (i for i in range(6)), *ways, chunksize=2)
    failed = job.begin(pool, fail_from_three, range(8), *ways)
    silent = job.begin(pool, echo, [Block(bytes(LARGE)) for _ in range(3)])
    job.gives([0, 2, 4, 6, 8, 10], job.ends, doubled)
    job.raises(ValueError, job.ends, failed)
    job.gives([Block(bytes(LARGE))] * 3, job.ends, silent)
    if job.is_smooth() and len(told) < len(ways):  # see ezmpi._future._call_back
        raise Wrong(told)


@scenario()
def abandoned(job, pool):
    """As terminate does."""
    late = errors.TimeoutError
    gate.clear()  # until it opens no task ends
    futures = [job.call(pool, pass_gate, 1) for _ in range(6)]
    futures.append(job.begin(pool, pass_gate, [1] * 6, chunksize=1))
    results = job.iterate(pool, pass_gate, itertools.repeat(1))
    has_not_ended = job.attempt(pool._abandon, "it has ended", False) is job
    gate.set()
    if has_not_ended:
        return
    for future in futures:
        job.raises(late, job.ends, future)
    job.raises(late, next, results)


@scenario()
def everywhere(job, pool):
    """Calls for one worker each, and what all are sent."""
    for number, value in enumerate([[1, 2], Block(bytes(2 * LARGE))]):
        key = "everywhere", number
        if job.attempt(pool._share, key, value) is job:
            continue
        ranks = range(1, 1 + job.workers)
        futures = [job.call(pool, held, key, rank=rank) for rank in ranks]
        for future in futures:
            job.gives(value, job.ends, future)
        job.attempt(pool._unshare, key)
        for future in [job.call(pool, echo, 0, rank=rank) for rank in ranks]:
            job.gives(0, job.ends, future)
        if key in _shared._held and job.is_smooth():
            raise Wrong("what was shared is still held")


@scenario(survives=1)
def deaths(job, pool):
    """A worker whose call fails dies, and the other one does its work."""
    warnings.simplefilter("ignore", RuntimeWarning)
    blocks = [Block(bytes([i]) * LARGE) for i in range(4)]
    grown = [Block(block.data + b"more") for block in blocks]
    for chunksize in (None, 1, 3):
        job.gives([0, 2, 4, 6, 8], pool.map, double, range(5), chunksize=chunksize)
    job.gives(grown, pool.map, grow, blocks)
    job.raises(ValueError, pool.map, fail_from_three, range(8), chunksize=2)
    adder = Adder(1)
    adder.ballast = Block(bytes(1_100_000))  # not along a tree
    job.gives([1, 2], pool.map, adder, range(2), chunksize=1)
    futures = [job.call(pool, echo, block) for block in blocks]
    for future, block in zip(futures, blocks):
        job.gives(block, job.ends, future)
    job.gives([0, 2, 4], list, job.iterate(pool, double, iter(range(3))))
    try:
        job.gives(7, job.ends, job.call(pool, echo, 7, rank=1))
    except WorkerDied as error:
        here = os.uname().nodename
        if (error.rank, error.task) != (1, None) or error.host not in (here, None):
            raise Wrong(error.rank, error.host, error.task) from error
    job.gives(7, job.ends, job.call(pool, echo, 7, rank=2))
    if pool.size != len(pool._ranks) or pool.size < job.workers - 1:
        raise Wrong(pool.size)


@scenario()
def statuses(job, pool):
    """What workers do, asked while they have calls, and when these are over."""
    futures = [job.call(pool, double, number) for number in range(6)]
    told = [job.attempt(pool._workers_status)]
    for number, future in enumerate(futures):
        job.gives(2 * number, job.ends, future)
    told.append(job.attempt(pool._workers_status))
    if not job.is_smooth():
        return
    names = {row[3] for row in told[0]} | {row[3] for row in told[1]}
    busy = [row[2] for row in told[1]]
    if names - {None, "double"} or busy != [False] * job.workers:
        raise Wrong(told)


@scenario(public=1)
def methods(job, pool):
    """The public pool's, one after another."""
    pairs, seconds = [(1, 2), (3, 4)], PATIENCE / 2
    add, told = operator.add, []
    job.gives([3, 7], pool.starmap, add, pairs)
    job.gives([3, 7], lambda: list(pool.istarmap(add, pairs)))
    job.gives([3, 7], lambda: sorted(pool.istarmap_unordered(add, pairs)))
    job.gives([0, 2, 4], lambda: list(pool.imap(double, range(3))))
    job.gives([0, 2, 4], lambda: sorted(pool.imap_unordered(double, range(3), 2)))
    job.gives(4, pool.apply, double, (2,))
    job.gives(4, lambda: pool.apply_async(double, (2,)).get(seconds))
    job.gives(4, lambda: pool.submit(double, 2).result(seconds))
    job.gives([0, 2], lambda: pool.map_async(double, range(2)).get(seconds))
    later = functools.partial(pool.starmap_async, add, pairs, callback=told.append)
    job.gives([3, 7], lambda: later().get(seconds))
    if job.is_smooth() and told != [[3, 7]]:
        raise Wrong(told)
    job.gives([7] * job.workers, pool.run_everywhere, echo, 7)
    job.gives(job.workers, lambda: len(pool.workers_status()))
    table = job.attempt(pool.share, {"a": Block(bytes(LARGE))})
    if table is not job:
        look_up = functools.partial(length_in, table)
        job.gives([LARGE] * 2, pool.map, look_up, ["a", "a"])
    if job.attempt(pool.shutdown) is not job:
        job.raises(RuntimeError, pool.submit, double, 2)


def length_in(table, name):
    return len(table.value[name].data)


@scenario(public=1, raises=ValueError)
def failures_of_methods(job, pool):
    """What `on_error`, `retries` and `retry_on` say, to each that takes them."""
    expected = ["0", "1", "2", "ValueError(3)", "ValueError(4)"]
    returned = {"on_error": "return"}
    again = {"retries": 2, "retry_on": ValueError}
    job.gives(expected, texts, job, pool.map, fail_from_three, range(5), **returned)
    listed = functools.partial(pool.imap, fail_from_three, range(5), **returned)
    job.gives(expected, texts, job, lambda: list(listed()))
    job.gives([0, 1], pool.starmap, Flaky(), [(0,), (1,)], **again)
    job.gives([0, 1], lambda: sorted(pool.imap_unordered(Flaky(), range(2), **again)))
    job.raises(ValueError, pool.map, Flaky(), [3], **again)


@scenario(public=1)
def checkpoints(job, pool):
    """What is in the file is not run again."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "run.sqlite")
        try:
            for _ in range(2):
                job.gives([0, 2, 4], pool.map, double, range(3), checkpoint=path)
                results = functools.partial(pool.imap, double, checkpoint=path)
                job.gives([0, 2], lambda: list(results(range(2))))  # noqa: B023
                for error in _checkpoint.close_all():
                    job.attempt(raise_it, error)
        finally:
            _checkpoint.close_all()


def raise_it(error):
    raise error


@scenario()
def misused(job, pool):
    """What ezmpi/pool.py never does: each time an exception, and the pool works on."""
    kinds = (AttributeError, RuntimeError, TypeError, ValueError)
    made = functools.partial(_ezmpi.MPIPool, job.transport, job.handles[0])
    for function in (
        _ezmpi.load_transport,
        _ezmpi.fork_workers,
        _ezmpi.part,
        _ezmpi.set_ending,
        functools.partial(_ezmpi.start_transport, None),
        functools.partial(_ezmpi.describe_transport, None),
        functools.partial(_ezmpi.drive, None),
        functools.partial(_ezmpi.stop_driving, None),
        functools.partial(_ezmpi.fork_workers, None, 1, double),
        functools.partial(_ezmpi.part, None, 1),
        functools.partial(_ezmpi.set_ending, None, 1.0, 1),
        functools.partial(_ezmpi.MPIPool, None, 0),
        functools.partial(made, initializer=1),
        functools.partial(made, retries=1),
        pool.__init__,
        pool.map,
        pool._begin,
        pool._iterate,
        pool._call,
        pool._abandon,
        functools.partial(pool.map, 1, [1]),
        functools.partial(pool.map, double, [1], _failures=1),
        functools.partial(pool.map, double, [1], _failures=(False, 1)),
        functools.partial(pool._begin, 1, [1], None, False, None, None),
        functools.partial(pool._call, 1, (), {}, None, None),
        functools.partial(pool._call, double, (1,), {}, PoolFuture(), 77),
    ):
        job.raises(kinds, function)
    unmade = _ezmpi.MPIPool.__new__(_ezmpi.MPIPool)
    for name in dir(_ezmpi.MPIPool):
        if name[:2] != "__" and name not in ("_end", "close"):  # which end what is none
            job.raises(kinds, lambda: getattr(unmade, name)())  # noqa: B023
    job.gives([2], pool.map, double, [1])


# Not where memory is short: its workers bind names of __main__, here the master's, and
# so may be half way with that in the next run.
NOT_SHORT = {"late_names"}

# Where no job is left before all its answers have come. Otherwise the last
# ones may still be on their way when the master ends.
ANSWERED = {"plain", "large", "callables", "initializer", "pools", "waits"}


# ---- running them -----------------------------------------------------------


class Runner:
    def __init__(self, library, scenario):
        self.fake = Fake.behind_table(library)
        for call in START_CALLS:
            self.fake.plan(0, call.encode(), 1, 0)
            self.start_fails(library, call)
        self.start(library)
        self.scenario = scenario
        self.memory = Memory()

    def start(self, library):
        self.transport = _ezmpi.load_transport(library, None)
        _ezmpi.start_transport(self.transport)

    def start_fails(self, library, call):
        try:
            self.start(library)
        except TransportError as error:
            if f"{call}: failed as planned" in str(error):
                return
            raise
        raise Wrong(f"{call} did not fail")

    def run(self, rank=0, call=b"send", number=0, lasting=0):
        """One job; returns it and the bytes that it left behind."""
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        self.fake.plan(rank, call, number, lasting)
        self.fake.share(self.scenario.words)
        self.fake.survive(self.scenario.survives)
        job = Job(self.fake, self.transport, self.scenario, self.memory)
        job.run()
        _shared._held.clear()  # which the workers share, since they are threads
        if self.fake.violations():
            raise Wrong("the engine broke the transport's contract")
        gc.collect()
        return job, tracemalloc.get_traced_memory()[0] - before

    def kept(self, job):
        """Bytes of messages that have not left, or were not reaped since."""
        return sum(self.fake.kept(handle) for handle in job.handles)

    def run_without_failure(self):
        """Returns what a job leaves behind: its crews live on."""
        for _ in range(2):
            job, left = self.run()
            if job.failures or job.exits < job.workers:
                raise Wrong(f"failures: {job.failures}")
            kept = self.kept(job)
            if kept > 0 and self.scenario.function.__name__ in ANSWERED:
                raise Wrong("not all messages were reaped")
        if left > LEAK + kept:
            raise Wrong(f"{left} bytes were left behind")
        return left - kept

    def run_with_failures(self, rank, call, lasting, usual):
        for number in itertools.count(1):
            print(rank, call, number, lasting, flush=True)
            job, left = self.run(rank, call.encode(), number, lasting)
            if self.scenario.survives and rank > 0 and job.failures:
                raise Wrong(f"a worker's death came through: {job.failures}")
            if not self.fake.tripped():
                return
            # A worker that cannot go on ends the job, with all that it holds.
            ended_well = job.exits == job.workers
            if ended_well and left > usual + self.kept(job) + LEAK:
                raise Wrong(f"{left} bytes were left behind")


def main(library, name, rank=None, seed=None, shares=None):
    if rank == "memory":
        names = set(SCENARIOS) - NOT_SHORT if name == "all" else {name}
        runner = Runner(library, None)
        runner.memory = failing_memory.Short(library)
        scenarios = [SCENARIOS[each] for each in sorted(names)]
        failing_memory.run(runner, scenarios, int(seed), int(shares))
        print("ok")
        return
    runner = Runner(library, SCENARIOS[name])
    tracemalloc.start()
    usual = runner.run_without_failure()
    if rank is not None:
        for call in CALLS:
            for lasting in (0, 1):
                runner.run_with_failures(int(rank), call, lasting, usual)
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
