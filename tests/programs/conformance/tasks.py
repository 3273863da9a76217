"""What the conformance checks have workers do.

In a module of its own, so that every implementation sends it by reference.
"""

import os
import threading
import time


def square(x):
    return x * x


def add(x, y=0):
    return x + y


def same(x):
    return x


def nothing(*args):
    return None


def arguments(*args, **kwargs):
    return args, kwargs


def text(x):
    return type(x).__name__ + ": " + repr(x)


def slow_first(x):
    if x < 3:
        time.sleep(0.04 * (3 - x))
    return x


def sleep_and_return(seconds, x=None):
    time.sleep(seconds)
    return x


def as_bytes(count):
    return b"r" * count


def count_bytes(data):
    return len(data), data[:1], data[-1:]


# --- files as signals: any process of this machine can see them ---


def wait_for_file(path, seconds=8):
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def hold(gate, x=None):
    """Return when the gate is open, or gone with its check."""
    deadline = time.monotonic() + 8
    while os.path.isdir(os.path.dirname(gate)):
        if wait_for_file(gate, 0.1):
            return x
        if time.monotonic() > deadline:
            raise RuntimeError("nobody opened the gate")


def hold_if(x, gate, held):
    return hold(gate, x) if x == held else x


def leave_mark(path, x=None):
    with open(path, "w"):
        pass
    return x


def mark_and_hold(path, gate, x=None):
    leave_mark(path)
    return hold(gate, x)


def mark_begin_and_end(room, x):
    """Tasks but 0 wait for the gate in between."""
    leave_mark(os.path.join(room, "begin-%d" % x))
    if x:
        hold(os.path.join(room, "gate"))
    leave_mark(os.path.join(room, "end-%d" % x))


def mark_if_positive(room, x):
    """Leave a mark and wait for the gate, unless x is 0."""
    if x:
        mark_and_hold(os.path.join(room, "task-%d" % x), os.path.join(room, "gate"))
    return x


# --- initializers ---

state = None


def set_state(value, room):
    global state
    state = value
    leave_mark(os.path.join(room, "initialized-%d" % os.getpid()))


def add_to_state(value):
    global state
    state = (state if isinstance(state, int) else 0) + value


def get_state(_=None):
    time.sleep(0.005)  # so that each worker gets one
    return state, os.getpid()


def fail_to_begin(text):
    time.sleep(0.05)  # so that tasks are submitted before
    raise LookupError(text)


# --- failures ---


class Custom(Exception):
    """Has a state besides its arguments."""

    def __init__(self, text, detail):
        super().__init__(text, detail)
        self.detail = detail


class FalseError(Exception):
    """Is false, as an exception with a length of 0 is."""

    def __bool__(self):
        return False


class SaysWhen(Exception):
    """Of an iterable, or a block, and not of a task."""


class OddConstructor(Exception):
    """Cannot be made again from its args."""

    def __init__(self, one, two):
        super().__init__("%s and %s" % (one, two))


class HoldsLock(Exception):
    """Cannot be pickled by pickle."""

    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class Unpicklable:
    def __reduce__(self):
        raise LookupError("not this")


class Unloadable:
    """Can be pickled, and not unpickled."""

    def __reduce__(self):
        return fail, (LookupError("not here"),)


def fail(error):
    raise error


def fail_late(seconds, error):
    time.sleep(seconds)
    raise error


def fail_deep(x):
    def innermost(x):
        raise Custom("deliberate", {"task": x})

    return innermost(x)


def fail_if(x, bad):
    if x in bad:
        raise ValueError("task %d" % x)
    return x


def inverse(x):
    return 1 / x


def fail_in_turn(x, room):
    """Tasks 0 and 1 fail, 1 first."""
    path = os.path.join(room, "one")
    if x == 1:
        leave_mark(path)
        raise ValueError("task 1")
    if x == 0:
        wait_for_file(path)
        time.sleep(0.2)
        raise ValueError("task 0")


def mark_each_and_fail(x, room, bad):
    leave_mark(os.path.join(room, "task-%d" % x))
    if x == bad:
        raise ValueError("task %d" % x)


def odd_exception(_=None):
    raise OddConstructor("deliberate one", "two")


def lock_exception(_=None):
    raise HoldsLock("deliberate")


def unpicklable_result(_=None):
    return Unpicklable()


def unloadable_result(_=None):
    return Unloadable()


class Watched:
    """Something whose end can be seen; sends none of what it refers to."""

    def __call__(self, x=None):
        return x

    def method(self):
        return 5
