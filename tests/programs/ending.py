"""ending.py HOW WHERE [OPTION...]: the ways in which a master's script ends.

HOW: plain, exception, exit3, text, zero.  WHERE: with, close, open (not closed), with_out
(after the with).  OPTION: test_mode; before, after (mpi4py is imported before or after
the pool is made); busy (a worker is in an abandoned task for a minute).
"""

import sys
import time

if "before" in sys.argv:
    from mpi4py import MPI  # noqa: F401

from cases import square

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


def nap(seconds):
    time.sleep(seconds)
    if seconds < 1:
        raise ValueError("soon")


def use(pool):
    if pool.is_worker():  # test_mode: the constructor returned
        return
    if "after" in sys.argv:
        from mpi4py import MPI  # noqa: F401
    assert pool.map(square, range(20)) == [x * x for x in range(20)]
    if "busy" in sys.argv:
        try:
            pool.map(nap, [0.3] + [60] * 20)
        except ValueError:
            pass


def main():
    where = sys.argv[2]
    if where.startswith("with"):
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
        if pool.is_master():
            end()


main()
