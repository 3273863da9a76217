"""How long ezmpi takes to start, beyond what MPI and Python take.

Both are whole jobs of two ranks under the launcher, from its start to its end:

- Python, which imports ezmpi, makes the pool and maps nothing;
- Python, which does nothing, and when it has ended, on the same rank, a C program that
  does MPI_Init and MPI_Finalize (with the same MPI library).

The second has all that the first cannot do without: the launcher, the start and end of
Python and of MPI on two ranks at once, which share the machine's cores, memory and disk
caches. The difference is ezmpi's: its import, finding and opening the library, a
duplicate of the communicator, the farewells, and what threads cost MPI. The jobs
alternate, so that a drift of the machine hits both.
"""

import shlex
import statistics
import subprocess
import sys
import time
from typing import List

from programs import compile_c

PAIRS = 20
RANKS = "2"
POOL = "from ezmpi import MPIPool\nwith MPIPool():\n    pass"


def milliseconds(command: List[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1e3


def startup(launcher: List[str], scale: float) -> float:
    """Milliseconds, median of the pairs' differences."""
    python = shlex.quote(sys.executable)
    bare = f"{python} -c pass && exec {shlex.quote(compile_c('init'))}"
    start = [*launcher, "-n", RANKS]
    jobs = [*start, sys.executable, "-c", POOL], [*start, "sh", "-c", bare]
    for job in jobs:  # reads the files
        milliseconds(job)
    pairs = max(1, int(PAIRS * scale))
    differences = [milliseconds(jobs[0]) - milliseconds(jobs[1]) for _ in range(pairs)]
    return statistics.median(differences)
