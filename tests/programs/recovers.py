"""What failed once on a worker may work in the next map."""

import importlib
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path

from cases import case, check_works, raised, square

from ezmpi import MPIPool

SLOW = [("callable", x) for x in range(9)]
SEVENS = [x * 7 for x in range(9)]

interrupted = set()


def interrupt_once(what):
    """As a Ctrl-C that reaches a worker in the middle of this."""
    if what not in interrupted:
        interrupted.add(what)
        raise KeyboardInterrupt


class Slow:
    """Takes long to be unpickled."""

    def __init__(self, name):
        self.name = name

    def __setstate__(self, state):
        interrupt_once(state["name"])
        self.__dict__.update(state)

    def __call__(self, x):
        return self.name, x


def set_up():
    interrupt_once("set_up")
    interrupted.add("was set up")


def was_set_up(x):
    return "was set up" in interrupted


def import_from(directory):
    sys.path.append(directory)
    importlib.invalidate_caches()


class Nested:
    """Makes a pool where it is unpickled, or pickled."""

    def __init__(self, when):
        self.when = when

    def __setstate__(self, state):
        self.__dict__.update(state)
        if self.when == "unpickled":
            MPIPool()

    def __getstate__(self):
        if self.when == "pickled":
            MPIPool()
        return self.__dict__


def in_a_thread(x):
    errors = []

    def body():
        errors.append(raised(MPIPool))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    return type(errors[0])


def until_right(failure, call, expected):
    """Each worker may fail once more, when it comes to have a task; then it works."""
    failures = in_a_row = 0
    while in_a_row < 5:
        try:
            assert call() == expected
            in_a_row += 1
        except failure:
            in_a_row = 0
            failures += 1
            assert failures <= pool.size


pool = MPIPool()

case("a callable whose unpickling was interrupted")
slow = Slow("callable")
assert type(raised(pool.map, slow, range(9))) is KeyboardInterrupt
until_right(KeyboardInterrupt, lambda: pool.map(slow, range(9)), SLOW)

case("an initializer that was interrupted")
with MPIPool(initializer=set_up) as other:
    error = raised(other.map, was_set_up, range(9))
    assert type(error) is KeyboardInterrupt, repr(error)
    until_right(KeyboardInterrupt, lambda: other.map(was_set_up, range(9)), [True] * 9)

case("names that the workers cannot bind, at first")
with tempfile.TemporaryDirectory() as directory:
    Path(directory, "plugin_of_master.py").write_text("scale = 7\n")
    import_from(directory)
    import plugin_of_master

    def by_plugin(x):
        return plugin_of_master.scale * x

    error = raised(pool.map, by_plugin, [1, 2])
    assert type(error) is ModuleNotFoundError, repr(error)
    check_works(pool)
    late = 5
    assert pool.map(lambda x: x + late, [1]) == [6]
    error = raised(pool.map, by_plugin, [1, 2])
    assert type(error) is ModuleNotFoundError, repr(error)
    with MPIPool(initializer=import_from, initargs=(directory,)) as other:
        other.map(time.sleep, [0.05] * (3 * pool.size))  # on every worker
    until_right(ModuleNotFoundError, lambda: pool.map(by_plugin, range(9)), SEVENS)

case("a pool made while a task is unpickled, its result pickled, in its thread")
error = raised(pool.map, str, [Nested("unpickled")])
assert type(error) is RuntimeError and "task" in str(error), repr(error)
error = raised(pool.map, Nested, ["pickled"])
assert type(error) is RuntimeError and "task" in str(error), repr(error)
assert pool.map(in_a_thread, [0]) == [RuntimeError]
check_works(pool)

case("a map of no tasks keeps nothing")


class Data:
    pass


data = Data()
held = weakref.ref(data)
assert pool.map(lambda x, data=data: (data, square(x)), []) == []
del data
check_works(pool)
pool.map(lambda x: x, [1])
assert held() is None
print("ok")
