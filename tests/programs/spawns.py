"""A child process of multiprocessing, which imports this script, makes a pool."""

import multiprocessing

from ezmpi import MPIPool

pool = MPIPool()
child = multiprocessing.get_context("spawn").Process(target=print)
child.start()
child.join()
print("child:", child.exitcode)
