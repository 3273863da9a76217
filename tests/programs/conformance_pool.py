"""conformance_pool.py IMPLEMENTATION [CHECK ...] -- pools behave as multiprocessing's."""

import multiprocessing

from conformance import (
    pool_ends,  # noqa: F401
    pool_failures,  # noqa: F401
    pool_iterators,  # noqa: F401
    pool_later,  # noqa: F401
    pool_results,  # noqa: F401
)
from conformance.pool import end, suite
from conformance.suite import Implementation


def multiprocessing_pool():
    def new(processes=2, *args, **kwargs):
        return fork.Pool(processes, *args, **kwargs)

    fork = multiprocessing.get_context("fork")
    return Implementation("multiprocessing", new, end, lambda pool: pool._processes)


def ezmpi_pool():
    import ezmpi

    return Implementation("ezmpi", ezmpi.Pool, end, lambda pool: pool._processes)


def mpipool():
    import ezmpi

    return Implementation("mpipool", ezmpi.MPIPool, end, lambda pool: pool.size)


IMPLEMENTATIONS = {
    "multiprocessing": multiprocessing_pool,
    "ezmpi": ezmpi_pool,
    "mpipool": mpipool,
}

if __name__ == "__main__":
    suite.main(IMPLEMENTATIONS)
