"""Runs one set of checks on several implementations: the standard library's and ours.

A check is a function registered with `Suite.check`; it gets what its parameters name:

    pool, executor  a new one of the implementation, ended after the check
    make            makes more of them, ended after the check
    gate            a `Gate`, opened after the check
    room            the path of an empty directory
    workers         how many workers there are

Where implementations differ, a `Difference` says who and why, and the check says
that it holds only ``where`` the difference is, or ``unless`` it is.
"""

import faulthandler
import inspect
import io
import os
import sys
import tempfile
import time
import traceback
from typing import List, NamedTuple, Optional, Tuple

from cases import case, ignore_fork_warnings

from conformance.tasks import leave_mark, wait_for_file

PATIENCE = float(os.environ.get("EZMPI_TEST_PATIENCE", "1"))
SECONDS = 15 * PATIENCE  # for one check
NEVER = 8 * max(PATIENCE, 1)  # what waits longer for another thread waits in vain
LATE = 2 * max(PATIENCE, 1)  # what takes longer was not done at once
MOMENT = 0.05  # enough for what is wrong to happen


class Difference(NamedTuple):
    """Who is different, why, and if it is the standard library: before which Python."""

    who: Tuple[str, ...]
    why: str
    before: Optional[Tuple[int, int]] = None

    def holds_for(self, implementation):
        old = self.before is None or sys.version_info < self.before
        return implementation.name in self.who and old


class Implementation(NamedTuple):
    """How to make one and how to end it."""

    name: str
    new: object
    end: object
    size: object


class Gate:
    """Tasks that `hold` wait before it in their processes, until it is open."""

    def __init__(self, room):
        self.path = os.path.join(room, "gate")

    def open(self):
        leave_mark(self.path)


class Check(NamedTuple):
    """A check, and for whom it is."""

    function: object
    where: List[str]
    unless: List[str]
    workers: int


class Suite:
    """Checks and differences by name."""

    def __init__(self, kind, differences):
        self.kind = kind  # the name of the parameter: "pool" or "executor"
        self.differences = differences
        self.checks = {}

    def check(self, function=None, *, where=(), unless=(), workers=1):
        """Register a check; `workers` is how many it needs."""
        if function is None:
            return lambda f: self.check(f, where=where, unless=unless, workers=workers)
        assert function.__name__ not in self.checks, function.__name__
        assert {*where, *unless} <= set(self.differences), function.__name__
        self.checks[function.__name__] = Check(function, [*where], [*unless], workers)
        return function

    def main(self, implementations):
        """``program IMPLEMENTATION [CHECK ...]``"""
        named = [name for c in self.checks.values() for name in c.where + c.unless]
        assert set(self.differences) == set(named), set(self.differences) ^ set(named)
        implementation = implementations[sys.argv[1]]()
        ignore_fork_warnings()
        # On an MPI job's other ranks this does not return: they serve, without a limit.
        first = implementation.new()
        workers = implementation.size(first)
        implementation.end(first)
        failed = []
        for name in sys.argv[2:] or self._meant_for(implementation, workers):
            if not self._passes(name, implementation, workers):
                failed.append(name)
        faulthandler.dump_traceback_later(SECONDS, exit=True)  # of the exit itself
        if failed:
            sys.exit("%s fails: %s" % (implementation.name, " ".join(failed)))
        print("ok")

    def _meant_for(self, implementation, workers):
        def differs(name):
            return self.differences[name].holds_for(implementation)

        for name, check in self.checks.items():
            left_out = any(map(differs, check.unless)) or workers < check.workers
            if all(map(differs, check.where)) and not left_out:
                yield name

    def _passes(self, name, implementation, workers):
        case(name)
        # The C function, and not a timer thread: it works where a thread is stuck
        # with the GIL. The line above tells whose stacks it writes.
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        start = time.monotonic()
        try:
            self._run(self.checks[name].function, implementation, workers)
        except Exception:
            traceback.print_exc()
            sys.stderr.flush()
            return False
        finally:
            faulthandler.cancel_dump_traceback_later()
        print("      %.2f s" % (time.monotonic() - start))
        return True

    def _run(self, function, implementation, workers):
        made = []

        def make(*args, **kwargs):
            made.append(implementation.new(*args, **kwargs))
            return made[-1]

        with tempfile.TemporaryDirectory() as room:
            gate = Gate(room)
            givers = {
                self.kind: make,
                "make": lambda: make,
                "gate": lambda: gate,
                "room": lambda: room,
                "workers": lambda: workers,
            }
            names = inspect.signature(function).parameters
            try:
                function(**{name: givers[name]() for name in names})
            finally:
                gate.open()  # first, or the end would wait for who waits there
                for each in reversed(made):
                    implementation.end(each)


# --- what checks are made of ---


def equal(got, expected):
    assert got == expected, "got %r, expected %r" % (got, expected)


def is_a(error, kind, text=""):
    """An exception that is caught by the class, and says the text."""
    assert isinstance(error, kind) and text in str(error), repr(error)


def until(condition, what):
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + NEVER
    while not condition():
        assert time.monotonic() < deadline, "waited in vain: " + what
        time.sleep(0.002)


def begun(path):
    """Wait until a task has left this mark."""
    assert wait_for_file(path, NEVER), "no task began: " + path


def told(error):
    """What a user is shown of an exception that nobody catches."""
    kind, trace = type(error), error.__traceback__
    return "".join(traceback.format_exception(kind, error, trace))


class Stopwatch:
    """Fails where its block takes longer, or less."""

    def __init__(self, least=0.0, most=LATE):
        self.least, self.most = least, most

    def __enter__(self):
        self.start = time.monotonic()

    def __exit__(self, kind, error, trace):
        taken = time.monotonic() - self.start
        if kind is None:
            assert self.least <= taken <= self.most, "took %.3f s" % taken


class Reports:
    """Catches what Python would tell of an exception that nobody can catch."""

    def __enter__(self):
        self.lines = io.StringIO()
        self.stderr, sys.stderr = sys.stderr, self.lines
        return self.lines

    def __exit__(self, *exception):
        sys.stderr = self.stderr
