"""Runs another program as plain Python does, but its pools fork their workers.

The arguments: how many workers, the program, its arguments. No mpiexec.
"""

import os
import runpy
import sys

import ezmpi.pool

processes, program = int(sys.argv[1]), sys.argv[2]
make = ezmpi.pool.MPIPool.__init__


def make_local(self, *args, **kwargs):
    if type(self) is ezmpi.pool.Pool:
        return make(self, *args, **kwargs)
    kwargs.update(fallback="local", processes=processes)
    return make(self, *args, **kwargs)


ezmpi.pool.MPIPool.__init__ = make_local
sys.argv[:] = sys.argv[2:]
sys.path[0] = os.path.dirname(program)
runpy.run_path(program, run_name="__main__")
