"""Two threads make a pool each, of communicators of their own; MPI takes one at a time.

The second pool's call goes on when the script ends, and the first pool's thread is gone.
"""

import threading
import time
import warnings

import mpi4py

mpi4py.rc.thread_level = "serialized"

from mpi4py import MPI  # noqa: E402

from ezmpi import MPIPool  # noqa: E402

warnings.simplefilter("ignore")  # that nothing goes on in the background


def use_first():
    global first
    first = MPIPool(duplicate, test_mode=True)
    if first.is_master():
        assert first.map(abs, [-1, 2]) == [1, 2]
        first.close()


duplicate = MPI.COMM_WORLD.Dup()
thread = threading.Thread(target=use_first)
thread.start()
thread.join()
second = MPIPool()
second.submit(time.sleep, 1).add_done_callback(lambda future: print("ok", flush=True))
