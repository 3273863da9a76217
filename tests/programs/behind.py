"""Behind an MPICommExecutor each rank goes on, the workers for longer than the master."""

import time

from ezmpi.futures import MPICommExecutor

with MPICommExecutor() as executor:
    if executor is not None:
        assert list(executor.map(abs, [-1, 2])) == [1, 2]
if executor is None:
    time.sleep(60)
    print("finished", flush=True)
