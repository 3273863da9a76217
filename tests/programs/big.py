"""Arguments and results above 2 GiB."""

import random
import sys
import zlib

from cases import case, check_works

from ezmpi import MPIPool

# Pieces of a GiB that change places would be seen: it holds no whole number of blocks.
LENGTH, BLOCKS = (1 << 20) + 7, 2049
BLOCK = random.Random(1).getrandbits(8 * LENGTH).to_bytes(LENGTH, "little")
kind = sys.argv[1]


def check(data):
    view = memoryview(data).cast("B")
    return type(data).__name__, len(view), zlib.crc32(view)


def make(blocks):
    if kind == "bytes":
        return BLOCK * blocks
    import numpy as np

    return np.tile(np.frombuffer(BLOCK, "u1"), blocks)


pool = MPIPool()
data = make(BLOCKS)
expected = check(data)
assert expected[1] > 2 << 30
case("as argument")
assert pool.map(check, [data]) == [expected]
check_works(pool)
case("in the callable")
assert pool.map((lambda data: lambda x: check(data))(data), [1]) == [expected]
check_works(pool)
del data
case("as result")
(result,) = pool.map(make, [BLOCKS])
assert check(result) == expected
check_works(pool)
print("ok")
