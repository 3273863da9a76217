"""A file that has no room for more: `file`."""

import resource
import signal
import sys

from cases import case, raised, told

from ezmpi import CheckpointError, MPIPool

file = sys.argv[1]


def large(x):
    return bytes([x]) * 200000


def until_full(pool):
    """It is found out when it is written, after up to a second."""
    while True:
        pool.map(large, range(100), 1, checkpoint=file)


signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, with EFBIG
with MPIPool() as pool:
    case("no room")
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000000, resource.RLIM_INFINITY))
    error = raised(until_full, pool)
    assert isinstance(error, CheckpointError), told(error)
    assert "cannot write to" in str(error), error

    case("the pool can be used on; and there is room again")
    assert pool.map(abs, [-1]) == [1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    for _ in range(2):  # the one that failed, and another
        got = pool.map(large, range(100), checkpoint=file)
        assert got == [large(x) for x in range(100)]
print("ok", flush=True)
