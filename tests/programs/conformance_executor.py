"""conformance_executor.py IMPLEMENTATION [CHECK ...] -- as concurrent.futures' behave."""

import concurrent.futures
import multiprocessing

from conformance import (
    executor_ends,  # noqa: F401
    executor_futures,  # noqa: F401
    executor_map,  # noqa: F401
)
from conformance.executor import suite
from conformance.suite import Implementation


def end(executor):
    executor.shutdown()


def process_pool_executor():
    def new(max_workers=2, **kwargs):
        return concurrent.futures.ProcessPoolExecutor(max_workers, fork, **kwargs)

    fork = multiprocessing.get_context("fork")
    return Implementation("concurrent.futures", new, end, lambda e: e._max_workers)


def mpi_pool_executor():
    from ezmpi.futures import MPIPoolExecutor

    return Implementation("ezmpi", MPIPoolExecutor, end, lambda e: e._max_workers)


def mpipool():
    from ezmpi import MPIPool

    return Implementation("mpipool", MPIPool, end, lambda pool: pool.size)


IMPLEMENTATIONS = {
    "concurrent.futures": process_pool_executor,
    "ezmpi": mpi_pool_executor,
    "mpipool": mpipool,
}

if __name__ == "__main__":
    suite.main(IMPLEMENTATIONS)
