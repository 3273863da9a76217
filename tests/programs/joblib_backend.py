"""joblib's Parallel on the workers: what it promises of any backend, and of this one."""

import os
import signal
import sys
import threading
import time
import warnings
import weakref

import joblib
from cases import (
    case,
    check_works,
    ignore_fork_warnings,
    launchers_rank,
    raised,
    square,
    told,
)
from joblib import Parallel, delayed

import ezmpi.joblib
from ezmpi import MPIPool, PoolClosedError, TaskExit


def where(x):
    return x, launchers_rank()


def nap(seconds):
    time.sleep(seconds)
    return seconds


def span(seconds):
    start = time.time()
    time.sleep(seconds)
    return start, time.time()


def fail(x):
    if x == 5:
        raise ZeroDivisionError("of task %d" % x)
    return x


def nested(backend, n_jobs):
    """What a task's own Parallel ran on: process ids, threads."""
    with Parallel(n_jobs=n_jobs, backend=backend) as parallel:
        calls = (delayed(identity)() for _ in range(8))
        ids = parallel(calls)
    return os.getpid(), {pid for pid, _ in ids}, {thread for _, thread in ids}


def identity():
    time.sleep(0.01)
    return os.getpid(), threading.get_ident()


def most_at_once(spans):
    return max(sum(a <= start < b for a, b in spans) for start, _ in spans)


def leave():
    sys.exit(3)


def tasks(drawn, count):
    for i in range(count):
        drawn.append(i)
        yield delayed(nap)(0.01)


pool = ezmpi.joblib.register()
assert isinstance(pool, MPIPool) and launchers_rank() == 0
all_workers = set(range(1, pool.size + 1))
assert pool.size >= 2, "joblib runs what one worker would do in the master"

case("on the workers alone, in order")
with joblib.parallel_config("ezmpi"):
    results = Parallel(batch_size=1)(delayed(where)(x) for x in range(200))
    assert [x for x, _ in results] == list(range(200))
    assert {rank for _, rank in results} == all_workers
    assert Parallel()(delayed(square)(x) for x in range(5000)) == [
        x * x for x in range(5000)
    ]
    assert Parallel()([]) == []
    assert Parallel()(delayed(lambda x, y: x + y)(x, y=1) for x in range(4)) == [
        1,
        2,
        3,
        4,
    ]
assert Parallel(backend="ezmpi")(delayed(square)(x) for x in range(3)) == [0, 1, 4]

case("many that end at once do not nest")
with joblib.parallel_config("ezmpi"):
    for _ in range(5):
        results = Parallel(batch_size=1)(delayed(abs)(x) for x in range(2000))
        assert results == list(range(2000))

case("n_jobs")
with joblib.parallel_config("ezmpi"):
    assert joblib.effective_n_jobs() == joblib.effective_n_jobs(None) == pool.size
    assert joblib.effective_n_jobs(-2) == max(pool.size - 1, 1)
    assert joblib.effective_n_jobs(1000) == pool.size
    assert isinstance(raised(joblib.effective_n_jobs, 0), ValueError)
    assert {rank for _, rank in Parallel(n_jobs=1)([delayed(where)(1)])} == {0}
    for pre_dispatch in ("2*n_jobs", "all"):
        parallel = Parallel(n_jobs=2, pre_dispatch=pre_dispatch, batch_size=1)
        spans = parallel(delayed(span)(0.05) for _ in range(8 * pool.size))
        assert most_at_once(spans) == 2, spans
with joblib.parallel_config("ezmpi", n_jobs=2):
    assert joblib.effective_n_jobs(None) == 2

case("generators")
for return_as in ("generator", "generator_unordered"):
    with joblib.parallel_config("ezmpi"):
        first = Parallel(return_as=return_as)(delayed(square)(x) for x in range(100))
        second = Parallel(return_as=return_as)(delayed(square)(x) for x in range(50))
        assert sorted(second) == [x * x for x in range(50)]
        assert sorted(first) == [x * x for x in range(100)]
with joblib.parallel_config("ezmpi"), warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    left = Parallel(return_as="generator")(delayed(nap)(0.01) for _ in range(100))
    next(left)
    del left
    assert Parallel()(delayed(square)(x) for x in range(9)) == [x * x for x in range(9)]
    assert any("cancelled" in str(warning.message) for warning in warned), warned

case("a slow one comes last")
with joblib.parallel_config("ezmpi"):
    naps = [0.5] + [0.01] * 6
    unordered = Parallel(return_as="generator_unordered", batch_size=1)
    assert list(unordered(delayed(nap)(x) for x in naps))[-1] == 0.5

case("failures")
with joblib.parallel_config("ezmpi"):
    error = raised(Parallel(), (delayed(fail)(x) for x in range(1000)))
    assert type(error) is ZeroDivisionError and "of task 5" in str(error), error
    assert "in fail" in str(error.__cause__), error.__cause__
    assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]
    assert isinstance(raised(Parallel(), [delayed(leave)()]), TaskExit)
    error = raised(Parallel(), [delayed(square)(threading.get_native_id)] * 3)
    assert isinstance(error, TypeError), error
    error = raised(Parallel(), [delayed(square)(x) for x in (1, open(__file__))])
    assert "pickle" in str(error), error
    with Parallel(n_jobs=2) as parallel:  # what was left of the failed call is not run
        for _ in range(8):
            calls = [delayed(fail)(5)] + [delayed(nap)(0.05)] * 50
            assert isinstance(raised(parallel, calls), ZeroDivisionError)
            assert parallel(delayed(square)(x) for x in range(3)) == [0, 1, 4]

case("the generator of tasks fails, at once and later")
for good in (0, 100):
    with joblib.parallel_config("ezmpi"):
        calls = (delayed(square)(1 // (good - x)) for x in range(1000))
        assert isinstance(raised(Parallel(), calls), ZeroDivisionError)

case("a time limit")
with joblib.parallel_config("ezmpi"):
    error = raised(Parallel(timeout=0.1), [delayed(nap)(0.5)] * pool.size)
    assert type(error).__name__ == "TimeoutError", error
    assert Parallel(timeout=10)([delayed(nap)(0)] * 4) == [0] * 4

case("Ctrl-C")
with joblib.parallel_config("ezmpi"):
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.perf_counter()
    error = raised(Parallel(batch_size=1), (delayed(nap)(0.1) for _ in range(1000)))
    assert type(error) is KeyboardInterrupt and time.perf_counter() - began < 5
    assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]

case("batches, and what is drawn ahead")
with joblib.parallel_config("ezmpi"):
    drawn = []
    results = Parallel(return_as="generator", pre_dispatch=4, batch_size=1)(
        tasks(drawn, 100)
    )
    next(results)
    assert len(drawn) < 50, len(drawn)
    assert len(list(results)) == 99 and len(drawn) == 100
    parallel = Parallel(batch_size=7, pre_dispatch="all")
    results = parallel(delayed(where)(x) for x in range(84))
    by_seven = [{rank for _, rank in results[i : i + 7]} for i in range(0, 84, 7)]
    assert all(len(ranks) == 1 for ranks in by_seven), results

case("a task's own Parallel")
with joblib.parallel_config("ezmpi"):
    calls = [(None, 2), (None, -1), ("threading", 3), ("ezmpi", 4), ("ezmpi", -1)]
    for backend, n_jobs in calls:
        for pid, pids, threads in Parallel()([delayed(nested)(backend, n_jobs)] * 4):
            assert pids == {pid} and pid != os.getpid()
            if backend == "ezmpi":
                assert len(threads) == 1
            elif n_jobs > 0:
                assert len(threads) <= n_jobs

case("several threads")
answers = {}


def in_thread(number):
    with joblib.parallel_config("ezmpi"):
        calls = (delayed(square)(x) for x in range(number, number + 500))
        answers[number] = Parallel()(calls)


threads = [threading.Thread(target=in_thread, args=(n,)) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert answers == {n: [x * x for x in range(n, n + 500)] for n in range(4)}

case("nothing is kept of what is done")
with joblib.parallel_config("ezmpi"):
    parallel = Parallel(return_as="generator", batch_size=1)
    results = parallel(delayed(set)([x]) for x in range(200))
    kept = [weakref.ref(result) for result in results]
    assert sum(reference() is not None for reference in kept) <= 1

case("another pool, registered again, a closed one")
with MPIPool() as another:
    with joblib.parallel_config("ezmpi", pool=another):
        assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]
    check_works(another)
with joblib.parallel_config("ezmpi", pool=another):
    error = raised(Parallel(), [delayed(square)(x) for x in range(3)])
    assert isinstance(error, PoolClosedError), told(error)
again = ezmpi.joblib.register()
assert again is not pool
with joblib.parallel_config("ezmpi"):
    assert Parallel()(delayed(square)(x) for x in range(3)) == [0, 1, 4]
assert ezmpi.joblib.register(pool) is pool
check_works(pool)
with joblib.parallel_config("ezmpi"):
    closing = Parallel(return_as="generator", batch_size=1)
    results = closing(delayed(nap)(0.01) for _ in range(1000))
    next(results)
    pool.close()  # no hang, though what comes next is begun in a thread of the pool's
    assert isinstance(raised(list, results), PoolClosedError)
assert isinstance(raised(joblib.parallel_config, "ezmpi", pol=1), TypeError)


def with_initializer():  # joblib 1.4 takes none, 1.6 passes it on
    return Parallel(n_jobs=2, backend="ezmpi", initializer=print)([delayed(square)(1)])


assert isinstance(raised(with_initializer), TypeError)

case("in a child of another backend")
ignore_fork_warnings()
inner = [delayed(nested)("ezmpi", 2)] * 2
for pid, pids, _ in Parallel(n_jobs=2, backend="multiprocessing")(inner):
    assert pids == {pid} and pid != os.getpid()
print("ok")
