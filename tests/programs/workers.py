"""What concerns all workers: run_everywhere, share, threads_per_worker."""

import functools
import gc
import os
import sys
import time

from cases import case, check_works, raised

from ezmpi import BrokenPoolError, MPIPool


class Unloadable:
    def __reduce__(self):
        return fail_to_load, ()


def fail_to_load():
    raise LookupError("not here")


def fail_on(rank):
    from ezmpi import _ezmpi  # noqa: F401  a worker's own module

    if started == rank:
        raise ValueError(rank)
    return started


def remember(number):
    global started
    started = number


def pid(ballast):
    return os.getpid()


def held():
    from ezmpi import _shared

    return len(_shared._held)


def last_byte(position):
    return table.value[position]


def limits():
    import threadpoolctl

    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    libraries = [info["num_threads"] for info in threadpoolctl.threadpool_info()]
    return {os.environ.get(name) for name in names}, set(libraries)


started = 0

with MPIPool() as pool:
    case("run_everywhere: each worker once, in the order of ranks")
    pids = pool.run_everywhere(os.getpid)
    assert len(set(pids)) == pool.size and os.getpid() not in pids
    assert pool.run_everywhere(os.getpid) == pids
    assert pool.run_everywhere(pow, 2, 3) == [8] * pool.size

    case("run_everywhere while workers are busy")
    busy = pool.map_async(time.sleep, [0.1] * 2 * pool.size)
    assert pool.run_everywhere(os.getpid) == pids
    busy.get()

    case("run_everywhere with a large callable, while a worker is busy")
    large = functools.partial(pid, bytes(3 << 20))
    busy = pool.submit(time.sleep, 1.0)
    for _ in range(2 * pool.size - 2):
        assert pool.apply(large if pool.size > 2 else os.getpid) in pids
    assert pool.run_everywhere(large) == pids
    assert pool.run_everywhere(os.getpid) == pids
    busy.result()

    case("run_everywhere that fails")
    assert type(raised(pool.run_everywhere, fail_to_load)) is LookupError
    pool.run_everywhere(remember, 7)
    assert type(raised(pool.run_everywhere, fail_on, 7)) is ValueError
    check_works(pool)

    case("share: by callables and tasks, small and large")
    table = pool.share({"a": 1})
    assert table.value == {"a": 1}
    assert pool.map(lambda key: table.value[key], ["a"] * 10) == [1] * 10
    assert pool.map(lambda handle: handle.value["a"], [table] * 10) == [1] * 10
    assert pool.map(lambda handle: handle, [table])[0] is table
    table = pool.share(bytes(range(256)) * 40000)
    assert pool.map(last_byte, [-1, 0, 1]) == [255, 0, 1]
    assert pool.submit(last_byte, 5).result() == 5

    case("share while workers are busy")
    busy = pool.map_async(time.sleep, [0.1] * 2 * pool.size)
    table = pool.share(list(range(1000)))
    assert pool.map(last_byte, [3, 4]) == [3, 4]
    busy.get()

    case("share: what cannot be sent, or made there")
    assert raised(pool.share, (i for i in range(3)))
    broken = pool.share(Unloadable())
    assert type(raised(pool.map, lambda x: broken.value, [1])) is LookupError
    check_works(pool)

    case("share: freed with its handle")
    assert pool.run_everywhere(held) == [2] * pool.size  # table, broken
    table = broken = None
    gc.collect()
    assert pool.run_everywhere(held) == [0] * pool.size

    case("share: freed with its handle while the pool is busy")
    table = pool.share([1])
    busy = pool.map_async(time.sleep, [0.05] * 10 * pool.size)
    time.sleep(0.1)  # the driver's thread drives
    table = None
    busy.get()
    assert pool.run_everywhere(held) == [0] * pool.size

    case("threads_per_worker")
    if "threadpoolctl" in sys.argv:
        with MPIPool(threads_per_worker=1, initializer=remember, initargs=(5,)) as other:
            for variables, libraries in other.map(lambda _: limits(), range(8)):
                assert variables == {"1"} and libraries <= {1}, (variables, libraries)
            assert set(other.map(lambda _: started, range(8))) == {5}
        with MPIPool(threads_per_worker="auto") as other:
            assert other.map(lambda _: limits(), [1])
    for wrong in (0, -1, "many", True, 1.5):
        assert isinstance(raised(MPIPool, threads_per_worker=wrong), ValueError), wrong
    check_works(pool)

    case("an initializer that fails is one clear error, whatever the method")
    with MPIPool(initializer=int, initargs=["x"]) as other:
        for call in (
            lambda: other.map(abs, [1]),
            lambda: other.submit(abs, 1).result(),
            lambda: list(other.imap(abs, [1])),
            lambda: other.apply(abs, (1,)),
        ):
            error = raised(call)
            assert type(error) is BrokenPoolError and "ValueError" in str(error), error
print("ok")
