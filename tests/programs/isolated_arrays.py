"""Large arrays for tasks that run in a child of each worker: isolate=True.

The child gets those where its rank has them, but where the user limits files.  The
arguments: a folder, and "shared" or "copied".
"""

import os
import pathlib
import random
import re
import resource
import signal
import sys

import numpy
from cases import Block, case, check_works, limit_memory, raised, told, wait_until

from ezmpi import MPIPool, WorkerDied

PLACE = pathlib.Path(sys.argv[1])
is_shared = sys.argv[2] == "shared"
ONES = [numpy.full(250_000 + i, 1.0) for i in range(100)]  # 2 MB, a bit more each
SUMS = [float(array.size) for array in ONES]
kept = []


def echo(array):
    return array


def halve(array):
    assert array.flags.writeable
    array /= 2
    return array.sum()


def keep(array):
    kept.append(array)


def sums_of_kept():
    return [array.sum() for array in kept]


def drop_kept(count=None):
    del kept[:count]


def die_with(array):
    assert array.sum() == array.size
    os.kill(os.getpid(), signal.SIGKILL)


def sum_of(shared):
    return shared.value.sum()


def fork_and_return(array):
    """What it forks looks at the array when the task has long ended."""
    if os.fork() == 0:
        signal.alarm(60)
        wait_until((PLACE / "look").exists)
        (PLACE / "part").write_text(str(array.sum()))
        (PLACE / "part").rename(PLACE / "seen")
        os._exit(0)


def add_one(data):
    assert type(data.data) is bytearray
    data.data.append(1)
    return data


def fork_and_tell(array):
    """Bytes that a fork takes of memory."""
    before = memory("RssAnon")
    pid = os.fork()
    if pid == 0:
        os._exit(int(array.sum() != array.size))
    assert os.waitpid(pid, 0)[1] == 0
    return memory("RssAnon") - before


def sum_with_data(numbers, several, array):
    return sum(len(each.data) for each in several) + array.sum()


def is_lent(array):
    while isinstance(array, numpy.ndarray):
        array = array.base
    return type(getattr(array, "obj", None)).__name__ == "Loan"


def take_number_of_file(path):
    """Closes what it did not open, and opens its own file by that number."""
    for name in os.listdir("/proc/self/fd"):
        link = "/proc/self/fd/" + name
        if os.path.exists(link) and "ezmpi arena" in os.readlink(link):
            os.dup2(os.open(path, os.O_RDWR), int(name))


def blocks():
    """So many this process sees."""
    return pathlib.Path("/proc/self/maps").read_text().count("memfd:ezmpi arena")


def memory(kind, which="getpid"):
    """Of this process, or of the rank: its parent."""
    status = pathlib.Path("/proc/%d/status" % getattr(os, which)()).read_text()
    return int(re.search(kind + r":\s+(\d+) kB", status).group(1)) * 1024


def shared_memory(which):
    return memory("RssShmem", which)


def limit_own(room):
    limit_memory(os.getpid(), room)


if not is_shared:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, resource.RLIM_INFINITY))
with MPIPool(isolate=True) as pool:
    case("they may be altered, and nobody else sees it")
    for chunksize in (1, 7, None):
        got = pool.map(halve, ONES, chunksize=chunksize)
        assert got == [each / 2 for each in SUMS], got
        assert all((array == 1).all() for array in ONES)

    case("they may be given back")
    for one, same in zip(ONES, pool.map(echo, ONES)):
        assert (one == same).all() and same.flags.writeable

    case("tasks may keep them, and more than there are blocks")
    for times in (1, 2, 3):
        pool.map(keep, ONES, chunksize=1)
        sums = sum(pool.run_everywhere(sums_of_kept), [])
        assert sorted(sums) == sorted(times * SUMS)
    assert max(pool.run_everywhere(blocks)) == (64 if is_shared else 0)
    # What they keep is theirs: where memory is short the rank must not be blamed.
    wait_until(lambda: max(pool.run_everywhere(shared_memory, "getppid")) < 16 << 20)
    pool.run_everywhere(drop_kept, 10)
    assert pool.map(numpy.sum, ONES) == SUMS
    pool.run_everywhere(drop_kept)

    case("what nobody needs is given back")
    wait_until(lambda: max(pool.run_everywhere(shared_memory, "getppid")) < 16 << 20)
    wait_until(lambda: max(pool.run_everywhere(shared_memory, "getpid")) < 16 << 20)

    case("there are no more blocks than are needed at once")
    growing = [numpy.ones(250_000 + 1000 * i) for i in range(100)]
    pool.map(numpy.sum, growing, chunksize=1)
    used = max(pool.run_everywhere(shared_memory, "getppid"))
    assert used < 64 << 20, used

    case("what a process had that died is used again, and others' is as it was")
    shared = pool.share(ONES[0])
    for _ in range(70):
        error = raised(pool.apply, die_with, (ONES[1],))
        assert type(error) is WorkerDied, told(error)
    assert pool.map(numpy.sum, ONES) == SUMS
    assert pool.map(sum_of, [shared] * 4) == SUMS[:1] * 4

    case("what a task has forked sees what the task saw")
    pool.apply(fork_and_return, (ONES[5],))
    for _ in range(20):
        pool.map(halve, [array * 3 for array in ONES[:10]])
    (PLACE / "look").touch()
    wait_until((PLACE / "seen").exists)
    assert float((PLACE / "seen").read_text()) == SUMS[5]

    case("to fork costs no more than what the task looks at")
    pool.map(numpy.sum, [numpy.ones(16 << 20)])
    taken = max(pool.map(fork_and_tell, ONES[:4], chunksize=1))
    assert taken < 8 << 20, taken

    case("what is no array's is a bytearray, large or not")
    for size in (10_000, 1 << 20):
        (data,) = pool.map(add_one, [Block(bytearray(size))])
        assert data.data == bytearray(size) + b"\1"

    case("beside many other buffers")
    blocks = [bytes(12_000 + i) for i in range(60)]
    numbers = [random.random() for _ in range(400)]
    for array in ONES[:5]:
        several = [(numbers, [Block(block) for block in blocks], array)] * 3
        total = sum(map(len, blocks)) + array.size
        got = pool.starmap(sum_with_data, several, chunksize=1)
        assert got == [total] * 3, got

    case("when much is shared, too")
    shares = [pool.share(array) for array in ONES[:70]]
    assert pool.map(sum_of, shares) == SUMS[:70]
    assert set(pool.map(is_lent, ONES)) == {is_shared}

    if is_shared:
        case("there may be no memory to look at one")
        pool.run_everywhere(limit_own, 8 << 20)
        error = raised(pool.map, numpy.sum, [numpy.ones(24 << 20)])
        assert type(error) is MemoryError and "receiving task" in told(error), told(error)
        check_works(pool)
        assert pool.map(numpy.sum, ONES[:3]) == SUMS[:3]
        pool.run_everywhere(limit_own, 0)
        assert pool.map(numpy.sum, [numpy.ones(24 << 20)]) == [24 << 20]

        case("a task may have closed the file behind it, and that number is its own")
        (PLACE / "users").write_bytes(b"the user's" * 8 * 10**6)
        pool.run_everywhere(take_number_of_file, str(PLACE / "users"))
        error = raised(pool.map, halve, [numpy.ones(32 << 20)])
        assert type(error) is MemoryError, told(error)
        assert (PLACE / "users").read_bytes() == b"the user's" * 8 * 10**6

print("ok")
