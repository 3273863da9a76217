"""Pools without MPI do what a script asks of MPIPool, and schwimmbad's of theirs."""

import doctest
import functools
import inspect
import itertools
import operator
import pickle
import subprocess
import sys
import time

import pytest
from launch import PROGRAMS, launch

import ezmpi
import ezmpi._batches
import ezmpi.local
from ezmpi import JoblibPool, MPIPool, MultiPool, SerialPool, choose_pool


def joblib_pool(**backend):
    pytest.importorskip("joblib")
    return JoblibPool(2, **backend)


POOLS = {
    "serial": SerialPool,
    "multi": lambda: MultiPool(2),
    "joblib": joblib_pool,
    "joblib-threads": lambda: joblib_pool(backend="threading"),
}


@pytest.fixture(params=POOLS.values(), ids=POOLS.keys())
def pool(request):
    with request.param() as pool:
        yield pool


@pytest.fixture(params=[name for name in POOLS if name != "multi"])
def other_pool(request):
    """Those that are no MPIPool, whose tests are elsewhere."""
    with POOLS[request.param]() as pool:
        yield pool


def run(program, *args, code=None):
    """Start it without mpiexec; returns exit code, output and standard error."""
    source = [str(PROGRAMS / program)] if code is None else ["-c", code]
    done = subprocess.run(
        [sys.executable, *source, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120,
        cwd=str(PROGRAMS),
    )
    return done.returncode, done.stdout, done.stderr


# Joblib's processes cannot import this file.
inverse = functools.partial(operator.truediv, 1)


# ---- what a script that chooses by a flag may call -------------------------------


@pytest.mark.parametrize("cls", [SerialPool, JoblibPool])
def test_the_methods_of_mpipool_are_there(cls):
    """Each with at least the parameters that it has there."""
    not_there = {"comm", "closed", "run_everywhere", "workers", "workers_status"}
    own_names = {"map": {"worker", "tasks"}}  # as in schwimmbad, they differ
    for name, method in inspect.getmembers(MPIPool):
        if name.startswith("_") or name in not_there:
            continue
        there = getattr(cls, name, None)
        if not callable(method):
            continue
        assert callable(there), name
        wanted = set(inspect.signature(method).parameters) - own_names.get(name, set())
        missing = wanted - set(inspect.signature(there).parameters)
        assert not missing, (name, missing)


def test_who_it_is(pool):
    assert (pool.rank, pool.master) == (0, 0)
    assert pool.is_master() and not pool.is_worker() and pool.enabled()
    assert pool.wait() is None and pool.wait(lambda: 1 / 0) is None
    assert pool.size == pool._processes == pool._max_workers
    assert pool.size == (1 if isinstance(pool, SerialPool) else 2)


def test_map(pool):
    seen = []
    assert pool.map(abs, range(-3, 0)) == pool(abs, range(-3, 0)) == [3, 2, 1]
    assert pool.map(abs, iter([-1, 2]), seen.append) == [1, 2] == sorted(seen)
    assert pool.map(abs, [-3], callback=seen.append, return_results=False) is None
    assert seen[2:] == [3]
    assert pool.map(abs, [-1, -2, -3], chunksize=2) == [1, 2, 3]
    assert pool.map(abs, [-1, -2, -3], 2) == [1, 2, 3]  # as multiprocessing has it
    assert pool.map(abs, []) == []
    assert pool.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]


# Joblib says of the tasks that it then drops that it drops them.
@pytest.mark.filterwarnings("ignore:.*tasks which were still being processed")
def test_a_failure_is_raised_and_the_pool_can_be_used_on(pool):
    with pytest.raises(ZeroDivisionError):
        pool.map(inverse, [1, 0, 2])
    with pytest.raises(ZeroDivisionError):
        pool.map(abs, [1, 2], callback=lambda result: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pool.map(abs, (1 / x for x in [1, 0]))
    assert pool.map(abs, [-1]) == [1]


class Flaky:
    """Fails with the first attempt at each odd task."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, x):
        before = self.folder / str(x)
        if x % 2 and not before.exists():
            before.touch()
            raise OSError(x)
        return x


@pytest.mark.parametrize("make", [SerialPool, functools.partial(MultiPool, 2)])
def test_failures_in_place_and_again(make, tmp_path):
    def tasks_of(name):
        (tmp_path / name).mkdir()
        return Flaky(tmp_path / name), range(4)

    again = {"retries": 1, "retry_on": OSError}
    with make() as pool:
        for number, method in enumerate((pool.map, pool.imap, pool.imap_unordered)):
            results = method(*tasks_of("in-place-%d" % number), on_error="return")
            assert sorted(map(repr, results)) == ["0", "2", "OSError(1)", "OSError(3)"]
            results = method(*tasks_of("again-%d" % number), **again)
            assert sorted(results) == [0, 1, 2, 3]
        assert pool.map_async(*tasks_of("async"), **again).get() == [0, 1, 2, 3]
        zero, one = pool.starmap(divmod, [(0, 1), (1, 0)], on_error="return", **again)
        assert zero == (0, 0) and type(one) is ZeroDivisionError
        with pytest.raises(ZeroDivisionError) as error:
            pool.map(inverse, [0], retries=2, retry_on=(OSError, ZeroDivisionError))
        if sys.version_info >= (3, 11):
            assert "Given up after 3 attempts" in str(error.value.__notes__)
    with make(**again) as pool:
        assert pool.map(*tasks_of("pool")) == [0, 1, 2, 3]
        function, _ = tasks_of("calls")
        assert pool.submit(function, 1).result() == pool.apply(function, [1]) == 1
        assert pool.apply_async(function, (3,)).get() == 3
        with pytest.raises(OSError):
            pool.map(*tasks_of("none"), retries=0)
    with pytest.raises(ValueError, match="retries"):
        make(retries=-1)


@pytest.mark.parametrize("method", ["map", "imap", "map_async", "starmap"])
def test_what_is_done_about_failures_is_checked(pool, method):
    for bad, error in (
        ({"on_error": "x"}, ValueError),
        ({"retries": -1}, ValueError),
        ({"retries": "2"}, TypeError),
        ({"retry_on": 3}, TypeError),
        ({"retry_on": [OSError]}, TypeError),
    ):
        with pytest.raises(error, match=next(iter(bad))):
            getattr(pool, method)(abs, [(1,)], **bad)


def test_joblib_gives_failures_in_place():
    with joblib_pool() as pool:
        results = pool.map(inverse, [1, 0, 2], on_error="return")
        assert results[::2] == [1, 0.5] and type(results[1]) is ZeroDivisionError


def test_a_serial_map_is_ended_by_ctrl_c_whatever_it_returns():
    def interrupt(task):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SerialPool().map(interrupt, [1], on_error="return")


def test_one_by_one(pool):
    assert list(pool.imap(abs, [-1, -2])) == [1, 2]
    assert sorted(pool.imap_unordered(abs, [-1, -2])) == [1, 2]
    assert list(pool.istarmap(pow, [(2, 3), (3, 2)])) == [8, 9]
    assert sorted(pool.istarmap_unordered(pow, [(2, 3), (3, 2)])) == [8, 9]
    results = pool.imap(abs, [-1, -2])
    assert [next(results), results.next(timeout=60)] == [1, 2]
    with pytest.raises(StopIteration):
        next(results)


def test_a_serial_iterator_is_lazy_and_goes_on_behind_a_failure():
    results = SerialPool().imap(inverse, itertools.count(-1))
    assert next(results) == -1
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results) == 1


def test_results_that_are_to_come(pool):
    seen = []
    result = pool.map_async(abs, [-1, -2], callback=seen.append)
    assert result.get(60) == [1, 2] and result.ready() and result.successful()
    assert pool.starmap_async(pow, [(2, 3)]).get(60) == [8]
    assert pool.apply(pow, (2, 3)) == 8 and pool.apply(int, ("11",), {"base": 2}) == 3
    assert pool.apply_async(pow, (2, 3), callback=seen.append).get(60) == 8
    failed = pool.apply_async(inverse, (0,), error_callback=seen.append)
    failed.wait(60)
    assert failed.ready() and not failed.successful()
    with pytest.raises(ZeroDivisionError):
        failed.get()
    assert seen[:2] == [[1, 2], 8] and type(seen[2]) is ZeroDivisionError
    assert pool.submit(int, "11", base=2).result(60) == 3
    assert type(pool.submit(inverse, 0).exception(60)) is ZeroDivisionError


@pytest.mark.parametrize("method", ["map", "starmap", "imap", "istarmap", "map_async"])
def test_progress(other_pool, method):
    shown = []
    tasks = [(x,) for x in range(5)] if "star" in method else range(5)
    results = getattr(other_pool, method)(abs, tasks, progress=lambda *a: shown.append(a))
    results = results.get(60) if method == "map_async" else results
    assert list(results) == [0, 1, 2, 3, 4]
    assert shown[-1] == (5, 5, 0)
    assert all(0 < done <= 5 and total == 5 for done, total, _ in shown)


def test_progress_of_a_failure_ends(other_pool):
    shown = []
    with pytest.raises(ZeroDivisionError):
        other_pool.map(inverse, [0, 0], progress=lambda *numbers: shown.append(numbers))
    joblib_drops_it = isinstance(other_pool, JoblibPool)
    assert shown[-1] == (0 if joblib_drops_it else 1, 2, 0)
    with pytest.raises(TypeError, match="progress"):
        other_pool.map(abs, [1], progress=3)


def test_a_task_that_raises_stop_iteration_ends_no_map():
    with SerialPool() as pool:
        with pytest.raises(RuntimeError, match="StopIteration"):
            pool.map(next, [iter([1]), iter([])], callback=lambda result: None)


class Stop(BaseException):
    pass


def stop(*args):
    raise Stop


@pytest.mark.filterwarnings("ignore:.*tasks which were still being processed")
# The other of the two, where both happen at once.
@pytest.mark.filterwarnings(
    "ignore:.*ignored in. <function _knowing:pytest.PytestUnraisableExceptionWarning"
)
def test_what_the_progress_callable_raises(pool):
    """It comes out of map; of two exceptions, the task's does."""
    with pytest.raises(Stop):
        pool.map(abs, [-1, -2], progress=stop)
    with pytest.raises(ZeroDivisionError):
        pool.map(inverse, [0], progress=stop)
    assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("method", ["map", "starmap", "imap", "istarmap", "map_async"])
@pytest.mark.parametrize(
    "function, chunksize, error, message",
    [
        (5, None, TypeError, "what the pool is to call must be callable, not int"),
        (abs, 0, ValueError, "chunksize must be at least 1, not 0"),
        (abs, 1.5, TypeError, "chunksize must be an int or None, not float"),
    ],
)
def test_arguments_are_checked_at_the_call(
    pool, method, function, chunksize, error, message
):
    for progress in (None, lambda *numbers: None):
        with pytest.raises(error, match=message):
            getattr(pool, method)(function, [], chunksize=chunksize, progress=progress)


METHODS = ["imap", "imap_unordered", "istarmap", "istarmap_unordered"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("chunksize", [None, 1, 2, 4, 100])
def test_chunks_one_by_one(pool, method, chunksize):
    tasks = range(-7, 0)
    tasks = ((x,) for x in tasks) if "star" in method else iter(tasks)
    results = getattr(pool, method)(abs, tasks, chunksize=chunksize)
    first = results.next(timeout=60)
    results = [first, *results]
    assert sorted(results) == list(range(1, 8))
    assert "unordered" in method or results == list(range(7, 0, -1))


@pytest.mark.parametrize("make", [SerialPool, lambda: MultiPool(2)])
@pytest.mark.parametrize("chunksize", [1, 4])
def test_a_failed_task_counts_and_takes_no_other_with_it(make, chunksize):
    shown = []
    tasks = [1, 2, 0, 4, 5, 8]
    with make() as pool:
        results = pool.imap(
            inverse, tasks, chunksize, progress=lambda *numbers: shown.append(numbers)
        )
        got = [next(results), next(results)]
        with pytest.raises(ZeroDivisionError):
            next(results)
        got += results
    assert got == [1, 0.5, 0.25, 0.2, 0.125]
    assert shown[-1] == (6, 6, 0)


def test_shared(pool):
    table = pool.share({"a": 1})
    assert table.value == {"a": 1}
    assert pool.map(table.value.get, ["a", "b"]) == [1, None]


def test_it_can_be_ended_in_every_way():
    for make in POOLS.values():
        with make() as pool:
            pool.map(abs, [1])
        pool.close()
        pool.join()
        pool.terminate()
        pool.shutdown()
        with pytest.raises(ZeroDivisionError):
            with make() as pool:
                raise ZeroDivisionError


# ---- batches ---------------------------------------------------------------------


def test_batches_are_schwimmbads():
    """Those of its batch_tasks(n_batches=size, data=tasks)."""
    assert ezmpi._batches.batches(list(range(7)), 3) == [
        ((0, 3), [0, 1, 2]),
        ((3, 5), [3, 4]),
        ((5, 7), [5, 6]),
    ]
    assert ezmpi._batches.batches([1], 4) == [((0, 1), [1])]
    assert ezmpi._batches.batches([], 4) == []


def test_batched_map(pool):
    seen = []
    results = pool.batched_map(operator.itemgetter(1), iter("abc"), callback=seen.append)
    expected = [list("abc")] if pool.size == 1 else [["a", "b"], ["c"]]
    assert results == sorted(seen) == expected
    ranges = pool.batched_map(operator.itemgetter(0), "abc")
    assert ranges == ([(0, 3)] if pool.size == 1 else [(0, 2), (2, 3)])
    assert pool.batched_map(inverse, []) == []


# ---- each ------------------------------------------------------------------------


def test_serial_takes_the_arguments_of_all():
    seen = []
    SerialPool(use_dill=True, initializer=seen.append, initargs=(1,), context=None)
    assert seen == [1]
    assert pickle.loads(pickle.dumps(SerialPool())).map(abs, [-1]) == [1]


def test_multi():
    assert run("local_multi.py") == (0, "ok\n", "")


def test_multi_in_an_interactive_session():
    code = """
from ezmpi import MultiPool
def double(x):
    return 2 * x
class Point:
    def __init__(self, x):
        self.x = double(x)
with MultiPool(2) as pool:
    points = pool.map(Point, [1, 2])
    print([point.x for point in points], {type(point) is Point for point in points})
"""
    assert run(None, code=code) == (0, "[2, 4] {True}\n", "")


def test_multi_and_ctrl_c():
    code, output, errors = run("local_interrupt.py")
    assert (code, output) == (0, "ok\n"), errors


def test_multi_has_schwimmbads_order_of_arguments():
    seen = []
    with MultiPool(2) as pool:
        assert pool.map(abs, [-1, -2], 1, seen.append) == [1, 2] == sorted(seen)
        assert pool.map(abs, [-3], None, seen.append) == [3] == seen[2:]


class HoldsPool:
    def __init__(self, pool):
        self.pool = pool

    def double(self, x):
        return 2 * x

    def misuse(self, x):
        return self.pool.map(abs, [x])


def test_multi_travels_with_what_holds_it():
    with MultiPool(2) as pool:
        assert pool.map(HoldsPool(pool).double, [1, 2]) == [2, 4]
        with pytest.raises(RuntimeError, match="a task used the pool"):
            pool.map(HoldsPool(pool).misuse, [1])


def drawn_slowly():
    for x in range(4):
        time.sleep(0.05)
        yield x


@pytest.mark.parametrize("progress", [None, lambda *numbers: time.sleep(0.2)])
def test_multi_is_closed_with_a_map_on_its_way(progress):
    """What was begun comes; join waits for it."""
    pool = MultiPool(2)
    result = pool.map_async(abs, drawn_slowly(), progress=progress)
    pool.close()
    pool.join()
    assert result.ready() and result.get() == [0, 1, 2, 3]


def test_multi_is_terminated_with_a_map_on_its_way():
    code = """
import time
from ezmpi import MultiPool
pool = MultiPool(2)
pool.map_async(time.sleep, [600, 600], progress=lambda *numbers: None)
pool.terminate()
pool.join()
print("ok")
"""
    assert run(None, code=code) == (0, "ok\n", "")


@pytest.mark.parametrize("processes", [0, -1])
def test_multi_of_no_process(processes):
    with pytest.raises(ValueError):
        choose_pool(processes=processes)


def test_joblib_is_needed_for_its_pool_alone():
    code = """
import sys
sys.modules["joblib"] = None
from ezmpi import JoblibPool, choose_pool
print(JoblibPool.enabled(), choose_pool().map(abs, [-1]))
JoblibPool(2)
"""
    exit_code, output, errors = run(None, code=code)
    assert (exit_code, output) == (1, "False [1]\n")
    assert errors.endswith("ImportError: JoblibPool needs joblib: pip install joblib\n")


def test_joblib_counts_its_jobs():
    pytest.importorskip("joblib")
    assert JoblibPool().size == 1
    assert JoblibPool(3).size == JoblibPool(n_jobs=3).size == 3


# ---- choosing --------------------------------------------------------------------


def test_choose_pool_without_mpi():
    assert type(choose_pool()) is SerialPool
    with choose_pool(mpi=False, processes=3, initializer=abs, initargs=[1]) as pool:
        assert type(pool) is MultiPool and pool.size == 3


@pytest.mark.parametrize(
    "arguments, chosen",
    [((), "SerialPool 1"), (("--ncores", "2"), "MultiPool 2")],
)
def test_a_script_of_schwimmbads(arguments, chosen):
    assert run("local_choose.py", *arguments) == (0, chosen + "\n", "")


def test_a_script_of_schwimmbads_on_mpi():
    result = launch(PROGRAMS / "local_choose.py", 3, "--mpi", timeout=60)
    assert (result.returncode, result.stdout, result.stderr) == (0, "MPIPool 2\n", "")


def test_the_flag_was_forgotten():
    """Every process runs the whole script, and rank 0 says so, once; or all but rank 0
    wait."""
    result = launch(PROGRAMS / "local_choose.py", 3, timeout=60)
    assert (result.returncode, result.stdout) == (0, "SerialPool 1\n" * 3), result
    warnings = [text.count("all others run the whole script") for text in result.errors]
    assert warnings == [1, 0, 0], result
    program = PROGRAMS / "local_choose.py"
    result = launch(program, 3, timeout=60, python=["-m", "ezmpi"])
    assert (result.returncode, result.stdout) == (0, "SerialPool 1\n"), result
    assert "all others wait, since choose_pool() was not told" in result.errors[0], result


def test_mpi_without_mpiexec():
    exit_code, output, errors = run("local_choose.py", "--mpi")
    assert (exit_code, output) == (1, "")
    assert "Need at least two" in errors or "TransportError" in errors


# ---- docstrings ------------------------------------------------------------------


def test_examples_of_the_docstrings():
    pytest.importorskip("joblib")
    names = {}
    for test in doctest.DocTestFinder().find(ezmpi.local):
        if test.examples:
            names[test.name.rpartition(".")[2]] = doctest.DocTestRunner().run(test)
    assert set(names) == {"choose_pool", "SerialPool", "MultiPool", "JoblibPool"}
    assert all(result.failed == 0 for result in names.values()), names
