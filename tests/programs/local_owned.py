"""Memory, descriptors and children stay where they are, however many pools there were.

The arguments: how they end, and how many. No mpiexec.
"""

import ctypes
import gc
import os
import sys
import weakref

from cases import case, ignore_fork_warnings, raised

from ezmpi import MPIPool, TransportError

ignore_fork_warnings()

BYTES, BLOCKS = 2_000, 20  # of each pool may stay, and so many blocks once
ONCE = 1_500


def square(x):
    return x * x


def dies(x):
    os._exit(x)


class Payload(bytearray):
    pass


def make(**options):
    return MPIPool(fallback="local", processes=2, **options)


def use(pool):
    """All that leaves something behind where something can stay."""
    block, table = bytearray(200_000), pool.share(bytearray(20_000))
    assert pool.map(square, [1, 2]) == [1, 4]
    assert pool.map(lambda x: len(block) + len(table.value), [1]) == [220_000]
    assert pool.submit(square, 3).result() == 9
    assert next(pool.imap(square, range(100))) == 0
    assert pool.apply_async(square, (3,), callback=str).get() == 9


def closed():
    with make() as pool:
        assert pool.map(square, [1, 2]) == [1, 4]


def used():
    with make() as pool:
        use(pool)


def terminated():
    """With work on its way; what it was to be done with goes at once."""
    pool, payload = make(), Payload(300_000)
    use(pool)
    futures = [pool.submit(lambda x, held=payload: len(held) + x, x) for x in range(20)]
    results = pool.imap(lambda x, held=payload: len(held) + x, range(1000))
    gone = weakref.ref(payload)
    pool.terminate()
    del payload, futures, results
    gc.collect()
    assert gone() is None


def dropped():
    use(make())


def failed():
    """In the constructor, after the fork."""
    error = raised(make, initializer=square, initargs=(sys._getframe(),))
    assert type(error) is TypeError


def died():
    with make() as pool:
        assert type(raised(pool.map, dies, [1])) is TransportError


class Mallinfo(ctypes.Structure):
    _names = (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    )
    _fields_ = [(name, ctypes.c_int) for name in _names.split()]


mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Mallinfo


def measure():
    gc.collect()
    info = mallinfo()
    memory = info.uordblks + info.hblkhd
    return memory, sys.getallocatedblocks(), len(os.listdir("/proc/self/fd"))


def has_children():
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True


end, pools = globals()[sys.argv[1]], int(sys.argv[2])
case(end.__name__)
for _ in range(10):
    end()
before = measure()
for _ in range(pools):
    end()
memory, blocks, descriptors = [b - a for a, b in zip(before, measure())]
print(memory / pools, blocks / pools, descriptors)
assert memory < BYTES * pools and blocks < BLOCKS * pools + ONCE
assert descriptors <= 0 and not has_children()
print("ok")
