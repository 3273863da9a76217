"""What goes wrong in a task is raised in the master, as it was; the pool goes on."""

import pickle
import socket
import sys
import threading

from cases import case, check_works, launchers_rank, raised, square, told

from ezmpi import MPIPool, RemoteError, TaskExit

# --- exceptions ---


class Plain(Exception):
    pass


class WithState(Exception):
    def __init__(self, text, detail):
        super().__init__(text, detail)
        self.detail = detail


class OtherArguments(Exception):
    """Cannot be made again from its args."""

    def __init__(self, one, two):
        super().__init__("%s and %s" % (one, two))


class HoldsLock(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.lock = threading.Lock()


class BadReduce(Exception):
    def __reduce__(self):
        raise OSError("no reduction today")


class BadStr(Exception):
    def __str__(self):
        raise OSError("no text today")


class BecomesInt(Exception):
    def __reduce__(self):
        return int, ("7",)


class EndsAtLoad(Exception):
    def __reduce__(self):
        return sys.exit, (5,)


class Base(BaseException):
    pass


def raises(error):
    raise error


def deep(x):
    return deep(x + 1)


def chained(x):
    try:
        raise KeyError("the first")
    except KeyError as first:
        raise Plain("the second") from first


def noted(x):
    error = Plain("with notes")
    error.add_note("the user's own note")
    raise error


MAKERS = {
    "ValueError": lambda: raises(ValueError("deliberate", 3)),
    "Plain": lambda: raises(Plain("deliberate")),
    "WithState": lambda: raises(WithState("deliberate", {"a": 1})),
    "OSError": lambda: open("/nonexistent/file"),
    "UnicodeDecodeError": lambda: b"\xff".decode(),
    "ZeroDivisionError": lambda: 1 // 0,
    "AssertionError": lambda: raises(AssertionError()),
    "StopIteration": lambda: next(iter(())),
    "GeneratorExit": lambda: raises(GeneratorExit()),
    "Base": lambda: raises(Base("deliberate")),
    "OtherArguments": lambda: raises(OtherArguments("deliberate one", "two")),
    "HoldsLock": lambda: raises(HoldsLock("deliberate")),
    "BadReduce": lambda: raises(BadReduce("deliberate")),
    "BadStr": lambda: raises(BadStr("deliberate")),
    "BecomesInt": lambda: raises(BecomesInt("deliberate")),
    "EndsAtLoad": lambda: raises(EndsAtLoad("deliberate")),
}
SAME = "ValueError Plain WithState OSError UnicodeDecodeError ZeroDivisionError "
SAME += "AssertionError StopIteration GeneratorExit Base BadStr "
SAME += "HoldsLock"  # dill can send a lock
SAME = SAME.split()


def failing(pair):
    index, name = pair
    if index == 5:
        with open("failed-on", "w") as file:
            file.write("%d on %s" % (launchers_rank(), socket.gethostname()))
        MAKERS[name]()
    return index


def check_account(error, index, name):
    """Type, remote traceback, note."""
    text = told_safely(error)
    cause = str(error.__cause__)
    assert "Traceback (most recent call last)" in cause, cause
    assert "in failing" in cause, cause
    assert name in cause, cause
    assert "task %d" % index in text, text
    with open("failed-on") as file:
        rank = "rank " + file.read()
    assert rank in text, text
    if sys.version_info >= (3, 11):
        (note,) = error.__notes__
        assert "task %d" % index in note and rank in note, note


def told_safely(error):
    if isinstance(error, BadStr):
        return "\n".join([str(error.__cause__), *getattr(error, "__notes__", ())])
    return told(error)


def check_types(pool):
    for name in MAKERS:
        for chunksize in (1, 4):
            case("%s, chunksize %d" % (name, chunksize))
            tasks = [(i, name) for i in range(40)]
            error = raised(pool.map, failing, tasks, chunksize=chunksize)
            expected = name if name in SAME else "RemoteError"
            if name == "OSError":
                expected = "FileNotFoundError"
            assert type(error).__name__ == expected, repr(error)
            check_account(error, 5, name.replace("OSError", "FileNotFoundError"))
            check_works(pool)


def check_details(pool):
    case("args and attributes")
    error = raised(pool.map, failing, [(5, "ValueError")])
    assert error.args == ("deliberate", 3)
    error = raised(pool.map, failing, [(5, "WithState")])
    assert type(error) is WithState and error.detail == {"a": 1}
    case("the text of what cannot travel")
    error = raised(pool.map, failing, [(0, ""), (5, "OtherArguments")])
    assert type(error) is RemoteError
    assert "OtherArguments: deliberate one and two" in str(error), str(error)
    assert "in failing" in str(error.__cause__)
    case("a class of a function")

    def local_class(x):
        class Local(Exception):
            pass

        raise Local("deliberate")

    error = raised(pool.map, local_class, [0])
    assert "deliberate" in str(error) and "Local" in told(error), told(error)
    check_works(pool)
    case("a chain of exceptions")
    error = raised(pool.map, chained, [0])
    assert type(error) is Plain and "the first" in str(error.__cause__)
    case("endless recursion")
    error = raised(pool.map, deep, [0])
    assert type(error) is RecursionError, repr(error)
    check_works(pool)
    if sys.version_info >= (3, 11):
        case("a note of the user's is kept")
        error = raised(pool.map, noted, [0])
        assert "the user's own note" in error.__notes__ and len(error.__notes__) == 2


def leave(how):
    if how == "code":
        sys.exit(3)
    if how == "text":
        sys.exit("deliberate")
    if how == "nothing":
        sys.exit()
    if how == "zero":
        raise SystemExit(0)
    if how == "unpicklable":
        sys.exit(lambda: threading.Lock())
    return how


def check_exits(pool):
    for how, code in (
        ("code", 3),
        ("text", "deliberate"),
        ("nothing", None),
        ("zero", 0),
    ):
        case("sys.exit in a task: " + how)
        error = raised(pool.map, leave, ["no", "no", how, "no"])
        assert type(error) is TaskExit and isinstance(error, RuntimeError)
        assert error.code == code, error.code
        assert "in leave" in str(error.__cause__)
        assert "task 2" in told(error)
        check_works(pool)
    case("sys.exit with what cannot be pickled")
    assert type(raised(pool.map, leave, ["unpicklable"])) in (TaskExit, RemoteError)
    check_works(pool)
    case("KeyboardInterrupt in a task")
    error = raised(pool.map, lambda x: raises(KeyboardInterrupt()), [0])
    assert type(error) is KeyboardInterrupt
    assert "task 0" in told(error)
    check_works(pool)


# --- tasks, results and callables that cannot travel ---


class Unloadable:
    """Is pickled by one side and not unpickled by the other."""

    def __init__(self, error=None):
        self.error = error or LookupError("not here")

    def __reduce__(self):
        return raises, (self.error,)


class Unpicklable:
    def __init__(self, error=None):
        self.error = error or LookupError("not this")

    def __reduce__(self):
        raise self.error


def identity(x):
    return x


def replace(x):
    return {"unloadable": Unloadable, "unpicklable": Unpicklable}.get(x, int)()


def tasks_with(bad, count=30, index=7):
    tasks = [0] * count
    tasks[index] = bad
    return tasks


def check_travel(pool):
    for chunksize in (1, 5, 100):
        for kind in (list, tuple, iter):
            case("an unpicklable task, %s, chunksize %d" % (kind.__name__, chunksize))
            tasks = kind(tasks_with(Unpicklable()))
            seen = []
            error = raised(pool.map, identity, tasks, seen.append, chunksize=chunksize)
            assert type(error) is LookupError and "not this" in str(error)
            assert "task 7" in told(error), told(error)
            assert len(seen) <= 7
            check_works(pool)
        case("a task that cannot be unpickled, chunksize %d" % chunksize)
        tasks = tasks_with(Unloadable())
        error = raised(pool.map, identity, tasks, chunksize=chunksize)
        assert type(error) is LookupError and "not here" in str(error), repr(error)
        assert "by unpickling task 7, rank" in told(error)
        assert "Traceback" in str(error.__cause__)
        check_works(pool)
        case("an unpicklable result, chunksize %d" % chunksize)
        tasks = tasks_with("unpicklable")
        error = raised(pool.map, replace, tasks, chunksize=chunksize)
        assert type(error) is LookupError and "not this" in str(error)
        assert "by pickling the result of task 7, rank" in told(error)
        check_works(pool)
        case("a result that cannot be unpickled, chunksize %d" % chunksize)
        tasks = tasks_with("unloadable")
        error = raised(pool.map, replace, tasks, chunksize=chunksize)
        assert type(error) is LookupError and "not here" in str(error)
        assert "task 7" in told(error)
        check_works(pool)
    case("a generator as task")
    error = raised(pool.map, identity, [(x for x in ())])
    assert isinstance(error, (TypeError, pickle.PicklingError)), repr(error)
    assert "generator" in str(error), repr(error)
    assert "task 0" in told(error)
    check_works(pool)
    case("exits in unpickling")
    error = raised(pool.map, identity, tasks_with(Unloadable(SystemExit(4))))
    assert type(error) is TaskExit and error.code == 4, repr(error)
    check_works(pool)
    case("an unpicklable result that nobody wants")
    tasks = tasks_with("unpicklable")
    assert pool.map(replace, tasks, return_results=False) is None
    case("unpicklable callables")
    error = raised(pool.map, Callable(Unpicklable()), [1])
    assert type(error) is LookupError, repr(error)
    check_works(pool)
    error = raised(pool.map, Callable(Unloadable()), [1, 2, 3])
    assert type(error) is LookupError and "not here" in str(error)
    assert "Traceback" in str(error.__cause__)
    check_works(pool)
    case("no task, and a callable that cannot be unpickled")
    assert pool.map(Callable(Unloadable()), []) == []
    check_works(pool)


class Callable:
    def __init__(self, data):
        self.data = data

    def __call__(self, x):
        return x


# --- iterators ---


def failing_iterator(count, error):
    yield from range(count)
    raise error


def endless():
    x = 0
    while True:
        yield x
        x += 1


def inverse(x):
    return 1 // (x - 50)


def check_iterators(pool):
    for chunksize in (1, 4):
        case("an iterator that raises, chunksize %d" % chunksize)
        for count in (0, 1, 13):
            seen = []
            tasks = failing_iterator(count, LookupError("no more"))
            error = raised(pool.map, square, tasks, seen.append, chunksize=chunksize)
            assert type(error) is LookupError and "no more" in str(error)
            assert "task %d" % count in told(error), told(error)
            assert sorted(seen) == [x * x for x in range(count)], seen
            check_works(pool)
        case("an iterator that is interrupted, chunksize %d" % chunksize)
        tasks = failing_iterator(9, KeyboardInterrupt())
        error = raised(pool.map, square, tasks, chunksize=chunksize)
        assert type(error) is KeyboardInterrupt
        check_works(pool)
        tasks = failing_iterator(9, SystemExit(3))
        assert raised(pool.map, square, tasks, chunksize=chunksize).code == 3
        check_works(pool)
        case("a task of an endless iterator fails, chunksize %d" % chunksize)
        tasks = endless()
        error = raised(
            pool.map, inverse, tasks, return_results=False, chunksize=chunksize
        )
        assert type(error) is ZeroDivisionError and "task 50" in told(error)
        check_works(pool)

    class NotIterable:
        def __iter__(self):
            raise LookupError("not iterable today")

    case("__iter__ raises")
    assert type(raised(pool.map, square, NotIterable())) is LookupError
    check_works(pool)


with MPIPool() as pool:
    check_types(pool)
    check_details(pool)
    check_exits(pool)
    check_travel(pool)
    check_iterators(pool)
print("ok")
