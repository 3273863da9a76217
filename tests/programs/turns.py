"""turns.py HOW -- who drives, of several threads, and nobody waits for ever."""

import atexit
import concurrent.futures
import ctypes
import gc
import random
import sys
import threading
import time
import warnings

from cases import case, check_works, launchers_rank, raised, square

from ezmpi import MPIPool, _mpi

PATIENCE = 10  # seconds, for what takes a moment
THREADS = 8


def nap(seconds):
    time.sleep(seconds)
    return seconds


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def held():
    from ezmpi import _shared

    return len(_shared._held)


def in_threads(function, count=THREADS):
    threads = [threading.Thread(target=function, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def generator(count):
    yield from range(count)


def first_calls():
    """Several threads' first calls at once begin one thread of the pool's."""
    pool = MPIPool()
    sys.setswitchinterval(1e-6)
    results = [None] * THREADS
    barrier = threading.Barrier(THREADS)

    def begin(number):
        barrier.wait()
        results[number] = pool.map_async(square, generator(100))

    in_threads(begin)
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("ezmpi-driver") == 1, names
    sys.setswitchinterval(0.005)
    expected = [number * number for number in range(100)]
    assert [result.get(PATIENCE) for result in results] == [expected] * THREADS
    check_works(pool)


def first_pools():
    """The first pool of all, which all ranks make together, of several threads."""
    if launchers_rank() > 0:
        MPIPool()
    sys.setswitchinterval(1e-6)
    results = [None] * THREADS
    barrier = threading.Barrier(THREADS)

    def make(number):
        barrier.wait()
        pool = MPIPool()
        results[number] = pool.map(abs, [-number])

    in_threads(make)
    sys.setswitchinterval(0.005)
    assert results == [[number] for number in range(THREADS)], results
    check_works(MPIPool())


def start_mpi_for_one_thread():
    mpi = ctypes.CDLL(_mpi._load().library.path)
    assert mpi.MPI_Init_thread(None, None, 0, ctypes.byref(ctypes.c_int())) == 0
    atexit.register(mpi.MPI_Finalize)  # after the pool's own, which come later


def elsewhere(function, *args):
    """What it returns or raises in another thread."""
    found = []

    def call(_):
        try:
            found.append(function(*args))
        except BaseException as error:
            found.append(error)

    in_threads(call, 1)
    return found[0]


def one_thread():
    """Where MPI was initialised for one thread, the others are refused."""
    start_mpi_for_one_thread()
    warnings.simplefilter("ignore")  # that nothing goes on in the background
    pool = MPIPool()
    check_works(pool)
    future = pool.submit(nap, 0.1)
    waiting = [pool.submit(nap, 0.01) for _ in range(20)]
    results, dropped = (pool.imap(square, range(20)) for _ in range(2))
    handles = [pool.share([1])]
    for function, *args in (
        (pool.map, abs, [-1]),
        (pool.submit, abs, -1),
        (pool.share, 1),
        (future.result,),
        (future.exception, 1),
        (waiting[-1].cancel,),
        (next, results),
        (pool.terminate,),
    ):
        case(function.__name__)
        error = elsewhere(function, *args)
        assert type(error) is RuntimeError, repr(error)
        assert "initialised for one thread" in str(error), error
    case("what is let go there is let go of here")
    assert elsewhere(dropped.close) is None
    assert type(raised(next, dropped)) is StopIteration
    assert elsewhere(handles.clear) is None
    gc.collect()
    assert [future.result(), *(one.result() for one in waiting)] == [0.1] + [0.01] * 20
    assert list(results) == [number * number for number in range(20)]
    assert pool.run_everywhere(held) == [0] * pool.size
    case("pools of another thread")
    error = elsewhere(lambda: MPIPool().map(abs, [-1]))
    assert type(error) is RuntimeError, repr(error)
    gc.collect()
    check_works(pool)
    pool.terminate()


def starving():
    """Threads that submit all the time leave the driver its turn to draw."""
    pool = MPIPool()
    count = 3000
    for threads in (1, 4):
        case("%d threads" % threads)
        futures = []
        deadline = time.monotonic() + 4
        result = pool.map_async(abs, generator(count), chunksize=1)

        def submit(_, futures=futures, result=result, deadline=deadline):
            while not result.ready() and time.monotonic() < deadline:
                futures.append(pool.submit(abs, 1))

        in_threads(submit, threads)
        assert result.ready(), len(futures)
        assert result.get() == list(range(count))
        assert all(future.result(PATIENCE) == 1 for future in futures)


def wake_ups():
    """Who waits for futures is told, whoever has driven until then."""
    pool = MPIPool()
    numbers = random.Random(1)
    end = time.monotonic() + 3
    futures = {pool.submit(spin, 1e-4) for _ in range(2)}
    while time.monotonic() < end:
        done, futures = concurrent.futures.wait(
            futures, PATIENCE, concurrent.futures.FIRST_COMPLETED
        )
        assert done, "nobody drives"
        while len(futures) < 2:
            futures.add(pool.submit(spin, numbers.random() * 3e-4))
    check_works(pool)


globals()[sys.argv[1]]()
print("ok")
