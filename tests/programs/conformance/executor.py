"""Where executors differ from concurrent.futures', and what their checks share."""

import logging

from conformance.suite import Difference, Suite, until
from conformance.tasks import hold, square

OURS = ("ezmpi", "mpipool")
STANDARD = ("concurrent.futures",)

DIFFERENCES = {
    "a pool": Difference(
        ("mpipool",),
        "MPIPool has submit and shutdown, but its map is a pool's, its "
        "constructor is its own, and it is no Executor",
    ),
    "cancel_futures": Difference(
        STANDARD, "shutdown has cancel_futures since 3.9", before=(3, 9)
    ),
    "waits": Difference(
        STANDARD, "shutdown(wait=False) lost what was submitted", before=(3, 9)
    ),
    "fn by name": Difference(
        STANDARD, "submit(fn=...) was deprecated first", before=(3, 9)
    ),
    "buffersize": Difference(STANDARD, "map has buffersize since 3.14", before=(3, 14)),
    "mpi4py's": Difference(
        ("ezmpi",), "bootup, num_workers, starmap and unordered come from mpi4py.futures"
    ),
    "told of": Difference(
        OURS,
        "who waits for futures that shutdown cancelled is told; "
        "concurrent.futures' wait and as_completed wait for ever",
    ),
    "workers are given": Difference(
        ("ezmpi",), "by mpiexec: max_workers is checked, and warned of where it differs"
    ),
    "by value": Difference(OURS, "dill sends lambdas; pickle does not"),
    "unloadable": Difference(
        OURS, "what cannot be unpickled breaks a ProcessPoolExecutor for good"
    ),
    "reason": Difference(
        OURS, "dill can send a lock, so that its exception comes as it was"
    ),
}

suite = Suite("executor", DIFFERENCES)
check = suite.check

# It writes what callbacks and initializers raise to standard error, from workers too.
logging.getLogger("concurrent.futures").setLevel(logging.CRITICAL + 1)


def works(executor):
    futures = [executor.submit(square, x) for x in range(20)]
    assert [future.result() for future in futures] == [x * x for x in range(20)]


def keep_busy(executor, gate, workers):
    """Futures of tasks that wait before the gate: all workers run one, and some wait.

    ProcessPoolExecutor hands out one task more than it has workers.
    """
    futures = [executor.submit(hold, gate.path, x) for x in range(workers + 1)]
    until(futures[0].running, "the first task to begin")
    return futures
