"""Scenarios of engine_over_fake.py in which allocations fail.

For that the process is started with PYTHONMALLOC=malloc, and with
tests/c/failing_malloc.c preloaded. What one thread allocates counts: the master's, a
worker's, or the driver's. First a run without a failure notes the places in the code
that allocate, by who called them; then at each place, in a run of its own, the first
allocation fails, and in another run this one and some that follow.
"""

import contextlib
import ctypes
import gc
import os
import random
import subprocess
import sys
import sysconfig
import threading
import time
import traceback
import types
from ctypes import c_long, c_size_t

from ezmpi import _driver, _ezmpi
from ezmpi.errors import TransportError

NO_SYMBOLS = "this Python has no symbols, by which its own faults are known"
DRIVER = -1  # in place of a rank
FRAMES = 40  # all callers
SEVERAL = 4  # allocations that fail together
TWICE = 2
ROOM = 1 << 16
LEAK = 100000  # bytes; less than a large result, more than what a crew takes


# Functions of CPython that do not bear it, so they get their memory where they are among
# so many callers of malloc.
SPARED = {
    # 3.11: dictiter_dealloc untracks what was never tracked.
    "dictitems_iter": 5,
    # 3.11: its own exception, in take_ownership, takes the place of any other.
    "_PyFrame_Clear": 4,
    # 3.11: NULL without an exception.
    "translate_newlines": 1,
    "_PyTokenizer_FromUTF8": 1,
    # 3.11: NULL without an exception, where there is no memory for the name.
    "PyType_FromModuleAndSpec": 1,
}


def leave(condition, kind, error, traceback):
    """Of CPython, 3.11: its own makes a tuple, without which the lock is kept."""
    condition._lock.release()


class Short:
    """Controls of the preloaded allocator, as `Memory` of engine_over_fake.py."""

    failures = (TransportError, MemoryError)

    def __init__(self, transport, rank):
        self.rank = rank
        self.allocator = ctypes.CDLL(None)
        self.allocator.memory_live.restype = c_long
        self.allocator.memory_counted.restype = c_long
        self.allocator.memory_places.restype = c_size_t
        preloaded = os.environ["LD_PRELOAD"].split(":")[0]
        self.allocator.memory_own(*code_of(preloaded))
        self.allocator.memory_module(*code_of(_ezmpi.__file__))
        self.allocator.memory_spare(*code_of(transport), FRAMES)
        for name, first, end in functions_of_python():
            self.allocator.memory_spare(first, end, SPARED[name])
        threading.Condition.__exit__ = leave
        if rank == DRIVER:
            watched = types.SimpleNamespace(**vars(_ezmpi))
            watched.drive = self.drive
            _driver._ezmpi = watched

    def short(self, rank):
        return self if rank == self.rank else contextlib.nullcontext()

    def __enter__(self):
        try:
            self.allocator.memory_begin()
        except MemoryError:
            self.__exit__()
            raise

    def __exit__(self, *error):
        while True:  # what fails is at its end some time
            try:
                self.allocator.memory_end()
                return
            except MemoryError:
                pass

    def drive(self, crew):
        """What fails before it drives is the thread's start, which is Python's."""
        while True:
            try:
                with self:
                    return _ezmpi.drive(crew)
            except MemoryError:
                pass

    def plan(self, first=0, last=0, note=0):
        self.allocator.memory_plan(c_long(first), c_long(last), note)

    def failed(self):
        return bool(self.allocator.memory_failed())

    def excuses(self, job, function, got):
        """A failure that was taken is one; and one may have kept `next` from a call."""
        if not self.failed():
            return False
        taken = (
            got if isinstance(got, tuple) else (got,)
        )  # also in place of what is shared
        if any(isinstance(each, self.failures) for each in taken):
            return True
        draws = function is next or getattr(function, "__name__", "") == "_take"
        return draws and bool(job.failures)

    def places(self):
        """The numbers of the first allocations at each place that was noted."""
        numbers = (c_long * ROOM)()
        count = self.allocator.memory_places(numbers, c_size_t(ROOM))
        return numbers[:count]

    def live(self):
        return self.allocator.memory_live()

    def show(self):
        sys.stdout.flush()
        self.allocator.memory_show()


def code_of(path):
    """Where a shared object's code is in memory."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            place, access, *_, name = line.split()
            if name == path and "x" in access:
                return [c_size_t(int(end, 16)) for end in place.split("-")]
    raise LookupError(path)


def functions_of_python():
    """Of those to be spared, name, first and end in memory, where that is known."""
    binary = sys.executable
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        binary = os.path.join(*sysconfig.get_config_vars("LIBDIR", "INSTSONAME"))
    command = ["nm", "-S", "--defined-only", binary]
    lines = subprocess.check_output(command, text=True).splitlines()
    found = {}
    for line in lines:
        place, size, *_, name = [*line.split(), None, None][:4]
        if name is not None:
            found[name.partition(".")[0], name] = int(place, 16), int(size, 16)
    if not any(name in SPARED for name, _ in found):
        sys.exit(NO_SYMBOLS)
    here = ctypes.cast(ctypes.pythonapi.PyObject_GetIter, ctypes.c_void_p).value
    moved = here - found["PyObject_GetIter", "PyObject_GetIter"][0]
    for (name, _), (place, size) in found.items():
        if name in SPARED:
            yield name, c_size_t(moved + place), c_size_t(moved + place + size)


def run(runner, memory, scenarios, seconds):
    """Within so many seconds, but for what the first runs take."""
    runner.memory = memory
    plans = []
    for scenario in scenarios:
        plans += [(scenario, *plan) for plan in plans_of(runner, scenario)]
    print(f"{len(plans)} plans", flush=True)
    random.Random(0).shuffle(plans)
    end, wrong = time.monotonic() + seconds, 0
    for done, (scenario, first, last) in enumerate(plans):
        if time.monotonic() > end:
            print(f"{done} were tried", flush=True)
            break
        print(scenario.function.__name__, first, last, flush=True)
        runner.scenario = scenario
        try:
            for _ in range(TWICE):  # what is kept for good is kept once
                memory.plan(first, last)
                left = run_one(runner)
                if left <= scenario.usual + LEAK:
                    break
            else:
                raise Wrong(f"{left} bytes were left behind, not {scenario.usual}")
        except BaseException:
            traceback.print_exc()
            memory.show()
            wrong += 1
            print("WRONG", flush=True)
    if wrong:
        sys.exit(f"{wrong} went wrong")


def plans_of(runner, scenario):
    """One for each place that no scenario before came to; and with some that follow."""
    runner.scenario = scenario
    runner.memory.plan()
    run_one(runner)  # in which Python loads modules, and fills its caches
    gc.freeze()
    known = len(runner.memory.places())
    runner.memory.plan(note=1)
    scenario.usual = max(run_one(runner), 0)
    for number in runner.memory.places()[known:]:
        yield number, number
        yield number, number + SEVERAL


class Wrong(Exception):
    pass


def run_one(runner):
    """As the plan says: a right result, or an exception of what had no memory.

    Returns how many bytes it left behind: its crews live on.
    """
    ignored = []  # such as what a pool of a job before meets, when it goes
    sys.unraisablehook = lambda each: ignored.append(each.exc_value)
    threading.excepthook = sys.unraisablehook
    before, left = runner.memory.live(), 0
    try:
        job, _ = runner.run()
        # One that failed leaves messages with those that did not get them.
        if job.exits == job.workers:
            left = runner.memory.live() - before - runner.kept(job)
    except (AssertionError, TimeoutError):
        raise
    except Exception as error:
        if not runner.memory.failed():
            raise
        ignored.append(error)
    for error in ignored:
        if isinstance(error, SystemError):
            raise Wrong("NULL without an exception") from error
    return left
