"""What cannot be kept in step is a clear error; use_dill=False is pickle alone."""

import copyreg
import os
import pickle
import sys
import threading
import typing  # noqa: F401  it adds to the table below, whoever imports it first

from cases import case, check_works, raised, told

from ezmpi import MPIPool

DISPATCHED = dict(copyreg.dispatch_table)  # by every rank, before there is a pool
HANDLE = open(os.devnull)
EARLY = 1


class EarlyClass:
    def __init__(self, x=1):
        self.x = x


def early(x):
    return x + EARLY


def uses_early_handle(x):
    return HANDLE.name == os.devnull


def make_adder(n):
    def adder(x):
        return x + n

    return adder


pool = MPIPool()

case("an unpicklable global that was there before the pool is the worker's own")
assert pool.map(uses_early_handle, [1, 2]) == [True, True]
assert pool.map(lambda x: uses_early_handle(x), [1, 2]) == [True, True]

case("an unpicklable global bound after the pool is named")
LATE_HANDLE = (x for x in ())


def uses_late_handle(x):
    return LATE_HANDLE is not None


for function in (uses_late_handle, lambda x: uses_late_handle(x)):
    for chunksize in (1, 3):
        error = raised(pool.map, function, range(6), chunksize=chunksize)
        assert isinstance(error, Exception) and "LATE_HANDLE" in str(error), told(error)
        check_works(pool)
LATE_HANDLE = 3
assert pool.map(uses_late_handle, [1]) == [True]

case("one in the closure, an argument, an attribute")
generator = (x for x in ())
error = raised(pool.map, lambda x, g=generator: x, [1])
assert isinstance(error, Exception) and "generator" in str(error), told(error)
check_works(pool)
holder = EarlyClass(generator)
assert "generator" in str(raised(pool.map, early, [holder]))
check_works(pool)

case("what pickle cannot send and dill can")


class HoldsLock:
    def __init__(self, data):
        self.before = data
        self.lock = threading.Lock()
        self.after = data

    def __call__(self, x):
        with self.lock:
            return self.before[x], self.after[-1], len(self.after)


data = bytearray(range(200)) * 1000
expected = (3, 199, 200000)
assert pool.map(lambda h: h(3), [HoldsLock(data)] * 3) == [expected] * 3
assert pool.map(HoldsLock(data), [3, 3]) == [expected] * 2
assert pool.map(HoldsLock, [data])[0](3) == expected

case("an open file does not travel: dill would open it again, and empty it")


class Logs:
    def __init__(self):
        self.log = open("chain.log", "w")
        self.out = sys.stdout  # every process has its own

    def __call__(self, x):
        return self.log.name, self.out is sys.stdout


logs = Logs()
logs.log.write("a day of output\n")
logs.log.flush()
late_log = logs.log
for function, tasks in (
    (logs, [1]),
    (lambda x: logs.log.name, [1]),
    (lambda x: late_log.name, [1]),
    (lambda file: file.name, [logs.log]),
    (open, ["chain.log"]),
    (lambda x: open(x), ["chain.log"]),
):
    error = raised(pool.map, function, tasks)
    assert "cannot pickle" in str(error), repr(error)
    assert open("chain.log").read() == "a day of output\n"
check_works(pool)
logs.log = late_log = logs.log.close()
assert pool.map(lambda x: sys.stdout.fileno(), [1]) == [sys.stdout.fileno()]

case("in-place changes of a global object are not seen; of the callable they are")
TABLE = {"a": 1}


def by_table(x):
    return TABLE["a"]


assert pool.map(by_table, [0]) == [1]
TABLE = dict(TABLE, a=2)
assert pool.map(by_table, [0]) == [2]
TABLE["a"] = 3
assert pool.map(by_table, [0] * pool.size) == [2] * pool.size
TABLE = dict(TABLE)
assert pool.map(by_table, [0]) == [3]

pool.close()

case("use_dill=False: by reference what both sides have")
pool = MPIPool(use_dill=False)
check_works(pool)
assert pool.map(early, [1, 2]) == [2, 3]
assert pool.map(abs, [-1]) == [1]
objects = pool.map(EarlyClass, [5])
assert type(objects[0]) is EarlyClass and objects[0].x == 5
assert pool.map(uses_early_handle, [1]) == [True]

case("use_dill=False: clear errors")
for function in (lambda x: x, make_adder(3)):
    error = raised(pool.map, function, [1])
    assert isinstance(error, Exception), repr(error)
    assert "pickle" in str(error).lower() or "local object" in str(error), repr(error)
    check_works(pool)


def late_function(x):
    return x


class LateClass:
    pass


error = raised(pool.map, late_function, [1])
assert isinstance(error, AttributeError) and "late_function" in str(error), told(error)
check_works(pool)
error = raised(pool.map, early, [0, LateClass()])
assert isinstance(error, AttributeError) and "LateClass" in str(error), told(error)
assert "task 1" in told(error)
check_works(pool)
with MPIPool() as dilled:  # beside it, on the same workers
    assert dilled.map(lambda x: late_function(x), [3]) == [3]
    assert type(dilled.map(lambda x: x, [LateClass()])[0]) is LateClass
assert pool.map(early, [4]) == [5]
pool.close()

case("no other code's pickling is changed")


def plain_pickle(x):
    """Here and on the workers, where tasks have gone by dill."""
    refused = isinstance(raised(pickle.dumps, lambda x: x), Exception)
    kept = pickle.loads(pickle.dumps(EarlyClass(3))).x == 3
    return refused and kept and copyreg.dispatch_table == DISPATCHED


pool = MPIPool()
assert pool.map(lambda f: f(3), [lambda x: x] * pool.size) == [3] * pool.size
assert pool.map(plain_pickle, [0] * pool.size) == [True] * pool.size
assert plain_pickle(0)
pool.close()
print("ok")
