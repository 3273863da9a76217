"""Ctrl-C while a MultiPool works: its processes do not hold up the end. No mpiexec."""

import os
import signal
import sys
import threading
import time

from ezmpi import MultiPool


def slow(x):
    time.sleep(0.1)
    return x


def interrupt():
    """As a terminal does: every process of the group gets it."""
    time.sleep(0.5)
    os.killpg(0, signal.SIGINT)


if __name__ == "__main__":
    os.setpgrp()
    # a shell without job control has what it starts in the background ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for callback in (None, lambda result: None):
        threading.Thread(target=interrupt).start()
        start = time.monotonic()
        try:
            with MultiPool(2) as pool:
                pool.map(slow, range(1000), callback=callback)
        except KeyboardInterrupt:
            seconds = time.monotonic() - start
            assert seconds < 20, seconds
        else:
            sys.exit("it was not interrupted")
    print("ok")
