"""Every kind of pool, many times, and several at once; to the end of the script."""

import atexit
import multiprocessing
import threading
import warnings

from ezmpi import MPIPool, Pool, choose_pool
from ezmpi.futures import MPICommExecutor, MPIPoolExecutor

SCALE = 3


def scaled(x):
    return SCALE * x


def forked(x):
    return -x


def check(pool_map, count=5):
    assert list(pool_map(scaled, range(count))) == [SCALE * x for x in range(count)]


def one_after_the_other():
    global SCALE
    for number in range(20):
        SCALE = number  # bound anew: the next pool sees it
        with MPIPool() as pool:
            check(pool.map)
        with Pool() as pool:
            check(pool.map)
        with MPIPoolExecutor() as executor:
            check(executor.map)
        with MPICommExecutor() as executor:
            check(executor.map)
        with choose_pool(mpi=True) as pool:
            check(pool.map)
        with MPIPool(test_mode=True) as pool:
            check(pool.map)


def left_open():
    for number in range(20):
        pool = MPIPool(initializer=scaled, initargs=(number,))
        check(pool.map)


def at_once():
    pools = [MPIPool(), Pool(), MPIPoolExecutor()]
    for pool in pools:
        check(pool.map)
    results = [pool.submit(scaled, 2) for pool in pools]
    for pool in pools:
        pool.shutdown()
    assert [result.result() for result in results] == [2 * SCALE] * 3


def in_threads():
    def use():
        for _ in range(5):
            with MPIPool() as pool:
                check(pool.map, 20)
        done.append(1)

    done = []
    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 4


def with_multiprocessing():
    with warnings.catch_warnings():  # of fork, where there are threads
        warnings.simplefilter("ignore")
        for method in ("spawn", "fork"):
            with multiprocessing.get_context(method).Pool(1) as pool:
                assert pool.map(forked, range(3)) == [0, -1, -2]


def at_exit():
    check(MPIPool().map)
    print("ok")


def after_the_script():
    threading.main_thread().join()
    check(MPIPool().map)
    print("thread ok")


if __name__ == "__main__":
    with_multiprocessing()
    one_after_the_other()
    left_open()
    at_once()
    in_threads()
    atexit.register(at_exit)
    threading.Thread(target=after_the_script).start()
    SCALE = 7
