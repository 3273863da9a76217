"""ending.py HOW WHERE [OPTION...]: the ways in which a master's script ends.

HOW: plain, exception, exit3, text, zero, interrupt.  WHERE: with, close, terminate, open
(not closed), with_out (after the with), with_caught (after one that an exception left).
OPTION: test_mode; before, after (mpi4py is imported before or after the pool is made);
busy=SECONDS (a worker is in an abandoned task for so long); interrupted (by Ctrl-C it
was abandoned); daemon, numpy (there are other threads).
"""

import os
import signal
import sys
import threading
import time

if "before" in sys.argv:
    from mpi4py import MPI  # noqa: F401

from cases import raised, square

from ezmpi import MPIPool


def end():
    print("ending", flush=True)
    how = sys.argv[1]
    if how == "exception":
        raise LookupError("deliberate")
    if how == "exit3":
        sys.exit(3)
    if how == "text":
        sys.exit("deliberate last words")
    if how == "zero":
        sys.exit(0)
    if how == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)


def nap(seconds):
    time.sleep(seconds)
    if seconds < 1:
        raise ValueError("soon")
    print("napped", flush=True)


def use(pool):
    if pool.is_worker():  # test_mode: the constructor returned
        return
    if "after" in sys.argv:
        from mpi4py import MPI  # noqa: F401
    assert pool.map(square, range(20)) == [x * x for x in range(20)]
    for option in sys.argv:
        if option.startswith("busy="):
            keep_busy(pool, float(option[5:]))
    if "daemon" in sys.argv:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    if "numpy" in sys.argv:
        import numpy as np

        np.ones((500, 500)) @ np.ones((500, 500))  # its threads are those of BLAS


def keep_busy(pool, seconds):
    if "interrupted" in sys.argv:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        expected, naps = KeyboardInterrupt, [seconds] * 20
    else:
        expected, naps = ValueError, [0.3] + [seconds] * 20
    assert type(raised(pool.map, nap, naps)) is expected


def main():
    where = sys.argv[2]
    if where == "with_caught":
        try:
            with MPIPool() as pool:
                use(pool)
                raise LookupError("caught outside")
        except LookupError:
            end()
    elif where.startswith("with"):
        with MPIPool(test_mode="test_mode" in sys.argv) as pool:
            use(pool)
            if where == "with" and pool.is_master():
                end()
        if where == "with_out" and pool.is_master():
            end()
    else:
        pool = MPIPool(test_mode="test_mode" in sys.argv)
        use(pool)
        if where == "close":
            pool.close()
        if where == "terminate":
            pool.terminate()
        if pool.is_master():
            end()


main()
