"""Scenarios of engine_over_fake.py in which allocations fail.

For that the process is started with PYTHONMALLOC=malloc, and with
tests/c/failing_malloc.c preloaded. What three threads allocate counts: the master's, a
worker's, and the driver's. First a run without a failure notes the places in the code
that allocate, by who called them, and by the thread. Then for each place that no scenario
before came to, in a run of its own, the first allocation there fails, and in another run
this one and some that follow. Each such run has a process of its own, a fork of the one
that noted, and so finds what that one found; some of them go on at once.
"""

import contextlib
import ctypes
import errno
import faulthandler
import gc
import os
import subprocess
import sys
import sysconfig
import tempfile
import threading
import traceback
import types
from collections import Counter
from ctypes import c_long, c_size_t, c_uint64

from ezmpi import _checkpoint, _checkpoint_file, _driver, _ezmpi
from ezmpi.errors import CheckpointError, RemoteError, RemoteTraceback, TransportError

NO_SYMBOLS = "this Python has no symbols, by which its own faults are known"
WHO = {0: 1, 1: 2}  # by rank; the second worker always has memory
DRIVER = 3
NAMES = (None, "master", "worker", "driver")
FRAMES = 40  # all callers
MORE = (0, 4)  # allocations that fail with the first one
TRIES = 3
ROOM = 1 << 16
LEAK = 100000  # bytes; less than a large result, more than what a crew takes


# What CPython says where a lock, or a thread, cannot be had.
OF_LOCKS = ("can't allocate lock", "can't start new thread")

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
    # 3.11: the same; an AttributeError comes of it.
    "_PyObject_GetDictPtr": 4,
    # 3.11: an exception, though the thread has started: this one's end has one, too.
    "thread_PyThread_start_new_thread": 3,
    # 3.11: NULL without an exception, where there is no memory for the name.
    "PyType_FromModuleAndSpec": 1,
}


def leave(condition, kind, error, traceback):
    """Of CPython, 3.11: its own makes a tuple, without which the lock is kept."""
    condition._lock.release()


class Lock:
    """For threading's own, whose ends are the same."""

    def __init__(self):
        lock = self._lock = threading.RLock()
        self.acquire, self.release = lock.acquire, lock.release

    def __enter__(self):
        self._lock.acquire()

    __exit__ = leave


def condition(lock):
    return threading.Condition(lock._lock)


class Short:
    """Controls of the preloaded allocator, as `Memory` of engine_over_fake.py."""

    def __init__(self, transport):
        self.allocator = ctypes.CDLL(None)
        self.allocator.memory_live.restype = c_long
        self.allocator.memory_places.restype = c_size_t
        preloaded = os.environ["LD_PRELOAD"].split(":")[0]
        self.allocator.memory_own(*code_of(preloaded))
        self.allocator.memory_module(*code_of(_ezmpi.__file__))
        self.allocator.memory_spare(*code_of(transport), FRAMES)
        for name, first, end in functions_of_python():
            self.allocator.memory_spare(first, end, SPARED[name])
        threading.Condition.__exit__ = leave
        _checkpoint._lock = Lock()
        _checkpoint_file.threading = types.SimpleNamespace(
            **dict(vars(threading), Lock=Lock, RLock=Lock, Condition=condition)
        )
        watched = types.SimpleNamespace(**vars(_ezmpi))
        watched.drive = self.drive
        _driver._ezmpi = watched

    def short(self, rank):
        return Counted(self.allocator, WHO[rank]) if rank in WHO else EVER

    def drive(self, crew):
        """What fails before it drives is the thread's start, which is Python's."""
        while True:
            try:
                with Counted(self.allocator, DRIVER):
                    return _ezmpi.drive(crew)
            except MemoryError:
                pass

    def fail(self, place, more):
        self.allocator.memory_plan(c_uint64(place), more)

    def note(self):
        self.allocator.memory_note()

    def failed(self):
        return bool(self.allocator.memory_failed())

    def may_stand(self, error):
        """For a result: what had no memory, and what came of that.

        A checkpoint's file may be open until its thread has ended.
        """
        of_that = (TransportError, CheckpointError)
        return self.failed() and (isinstance(error, of_that) or is_of_memory(error))

    def places(self):
        """Those that were noted, in the order in which they were met."""
        places = (c_uint64 * ROOM)()
        count = self.allocator.memory_places(places, c_size_t(ROOM))
        return places[:count]

    def live(self):
        return self.allocator.memory_live()


EVER = contextlib.nullcontext()


class Counted:
    """While what this thread allocates counts."""

    def __init__(self, allocator, who):
        self.allocator = allocator
        self.who = who

    def __enter__(self):
        try:
            self.allocator.memory_begin(self.who)
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


def is_of_memory(error):
    """Is it a MemoryError, or one that came of it, here or on a worker?

    One that a function has left beside a result, or instead of none, is no such.
    """
    if isinstance(error, RuntimeError) and str(error) in OF_LOCKS:
        return True
    found = False
    while error is not None:
        if isinstance(error, SystemError):
            return False
        found = found or isinstance(error, MemoryError)
        found = found or getattr(error, "errno", None) == errno.ENOMEM
        if isinstance(error, RemoteError):
            found = found or "builtins.MemoryError" in error._kinds
        if isinstance(error, RemoteTraceback):
            found = found or "MemoryError" in str(error)
            if "SystemError" in str(error):
                return False
        error = error.__cause__ or error.__context__
    return found


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


def run(runner, scenarios, seed, shares):
    """Every so-manieth plan, which is another one with the next seed; 1: all."""
    tries = Tries()
    known, number = set(), 0
    for scenario in scenarios:
        for place in places_of(runner, scenario):
            if place in known:
                continue
            known.add(place)
            for more in MORE:
                number += 1
                if number % shares == seed % shares:
                    name = f"{scenario.function.__name__} {place:x} {more}"
                    tries.begin(name, try_plan, runner, scenario, place, more)
    tries.end()
    print(f"{number} plans, of which seed {seed} of {shares}:", flush=True)
    for kinds, count in tries.ended.most_common():
        print(f"{count:5} {kinds}", flush=True)
    if tries.wrong:
        sys.exit(f"{tries.wrong} went wrong")


def places_of(runner, scenario):
    """Where it allocates, as a child finds it that then is as those of the plans are."""
    runner.scenario = scenario
    runner.memory.fail(0, 0)
    run_one(runner)  # in which Python loads modules, and fills its caches
    gc.freeze()
    faulthandler.cancel_dump_traceback_later()  # whose thread no child has
    said = tempfile.TemporaryFile("w+")
    child = fork(said, note, runner, scenario)
    _, status = os.waitpid(child, 0)
    lines = text_of(said).splitlines()
    if status != 0:
        raise Wrong("\n".join(lines))
    scenario.usual, *places = map(int, lines)
    return places


def note(runner, scenario):
    runner.memory.note()
    usual, _ = run_one(runner)
    print(max(usual, 0), *runner.memory.places(), sep="\n")


def text_of(file):
    with file:
        file.seek(0)
        return file.read()


def fork(said, function, runner, *arguments):
    """A child that calls the function; what it prints goes into the file."""
    sys.stdout.flush()
    child = os.fork()
    if child != 0:
        return child
    status = 1
    try:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        _driver._process = os.getpid()
        threading._active_limbo_lock = Lock()  # a fork makes a new one
        function(runner, *arguments)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


class Tries:
    """Children, so many at once as there are processors, and what became of them."""

    def __init__(self):
        self.running = {}  # their names and what they print, by their ids
        self.ended = Counter()
        self.wrong = 0

    def begin(self, name, function, runner, *arguments):
        while len(self.running) >= (os.cpu_count() or 1):
            self.end_one()
        said = tempfile.TemporaryFile("w+")
        self.running[fork(said, function, runner, *arguments)] = name, said

    def end(self):
        while self.running:
            self.end_one()

    def end_one(self):
        child, status = os.waitpid(next(iter(self.running)), 0)
        name, said = self.running.pop(child)
        text = text_of(said)
        if status == 0:
            self.ended[text.rpartition("ended: ")[2].strip()] += 1
            return
        self.wrong += 1
        how = f"signal {status}" if os.WIFSIGNALED(status) else f"status {status >> 8}"
        print(f"WRONG {name}: {how}\n{text[-9000:]}", flush=True)


def try_plan(runner, scenario, place, more):
    """What is kept for good is kept once, and not every run comes to each place."""
    runner.scenario = scenario
    too_much = False
    for _ in range(TRIES):
        runner.memory.fail(place, more)
        left, kinds = run_one(runner)
        if not runner.memory.failed():
            continue
        if left <= scenario.usual + LEAK:
            print("ended:", kinds)
            return
        if too_much:
            raise Wrong(f"{left} bytes were left behind, not {scenario.usual}")
        too_much = True
    print("ended: not met again")


class Wrong(Exception):
    pass


def run_one(runner):
    """As the plan says: a right result, or an exception of what had no memory.

    Returns how many bytes it left behind, as its crews live on, and what it met.
    """
    memory = runner.memory
    ignored = []  # such as what a pool of a job before meets, when it goes
    sys.unraisablehook = lambda each: ignored.append(each.exc_value)
    threading.excepthook = sys.unraisablehook
    before, left, failures = memory.live(), 0, []
    try:
        job, _ = runner.run()
        failures = job.failures.copy()
        # One that failed leaves messages with those that did not get them.
        if job.exits == job.workers:
            left = memory.live() - before - runner.kept(job)
    except Exception as error:
        if not memory.may_stand(error):
            raise
        failures.append(repr(error))
    for error in ignored:
        if not memory.may_stand(error):
            raise Wrong("it was ignored") from error
    kinds = {error.partition("(")[0] for error in [*failures, *map(repr, ignored)]}
    return left, " ".join(sorted(kinds)) or "right"
