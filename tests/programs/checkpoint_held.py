"""Only one process may have a checkpoint open: `file hold|refused|free`."""

import sys
import time

from cases import raised

from ezmpi import CheckpointError, MPIPool

file, what = sys.argv[1:]

with MPIPool() as pool:
    if what == "refused":
        began = time.monotonic()
        error = raised(pool.map, abs, [-1], checkpoint=file)
        assert isinstance(error, CheckpointError), error
        assert "in use by another process" in str(error), error
        assert time.monotonic() - began < 30
        assert pool.map(abs, [-1]) == [1]
    else:
        assert pool.map(abs, [-1, 2], checkpoint=file) == [1, 2]
    if what == "hold":
        print("held", flush=True)
        time.sleep(600)
print("ok", flush=True)
