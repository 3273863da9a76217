"""Arguments and results above 2 GiB."""

import sys
import zlib

from cases import case, check_works

from ezmpi import MPIPool

SIZE = (2 << 30) + 12345
kind = sys.argv[1]


def check(data):
    """Length, and a sum over parts at the piece boundaries and the ends."""
    view = memoryview(data).cast("B")
    parts = [view[i : i + 64] for i in range(0, len(view), (64 << 20) - 7)]
    return len(view), zlib.crc32(b"".join(map(bytes, parts))), bytes(view[-5:])


def make(size):
    if kind == "bytes":
        return bytes(size - 5) + b"tail!"
    import numpy as np

    array = np.zeros(size, "u1")
    array[:: 1 << 20] = 3
    array[-5:] = list(b"tail!")
    return array


pool = MPIPool()
data = make(SIZE)
expected = check(data)
case("as argument")
assert pool.map(check, [data]) == [expected]
check_works(pool)
case("in the callable")
assert pool.map((lambda data: lambda x: check(data))(data), [1]) == [expected]
check_works(pool)
del data
case("as result")
(result,) = pool.map(make, [SIZE])
assert check(result) == expected
check_works(pool)
print("ok")
