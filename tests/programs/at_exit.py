"""at_exit.py HOW -- the script ends while something is unfinished."""

import itertools
import os
import signal
import sys
import threading
import time

from ezmpi import MPIPool


def nap(x, seconds=0.05):
    time.sleep(seconds)
    return x


def pending():
    for future in [pool.submit(nap, i) for i in range(10)]:
        future.add_done_callback(lambda f: print("done", f.result(), flush=True))


def map_async():
    pool.map_async(nap, range(10), callback=lambda r: print("done", r, flush=True))


def endless():
    pool.kept = pool.imap(nap, itertools.count())
    print("first", next(pool.kept), flush=True)


def error():
    pool.kept = [pool.submit(nap, i) for i in range(1000)]
    raise KeyError("the script's own")


def error_in_with():
    with pool:
        error()


def exit_3():
    pending()
    sys.exit(3)


def interrupted():
    """By Ctrl-C, when the script has ended and a call is waited for."""
    pool.submit(nap, 1, 20)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.daemon = True  # or it is waited for before
    timer.start()


def exit_at_once():
    pool.submit(nap, 1)
    os._exit(5)


def dropped():
    """No pool is left, but what it began in the background."""
    global pool
    print("done", pool.apply(nap, (9,)), flush=True)
    del pool


def thread():
    results = lambda: print("sum", sum(pool.map(nap, range(20))), flush=True)  # noqa: E731
    threading.Thread(target=results).start()


pool = MPIPool()
globals()[sys.argv[1]]()
