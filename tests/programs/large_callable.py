"""Callables so large that idle workers pass them on to each other."""

import collections
import os
import pickle
import tempfile
import time

from cases import case, check_works, launchers_rank, raised

from ezmpi import MPIPool

SIZE = 3_000_000  # bytes
NAP = 1.5  # seconds


class Holder:
    """Its data travel out-of-band, and belong to whoever has them."""

    def __init__(self, number, size=SIZE):
        self.number = number
        self.data = bytearray([number]) * size

    def __reduce_ex__(self, protocol):
        return type(self)._again, (self.number, pickle.PickleBuffer(self.data))

    @classmethod
    def _again(cls, number, data):
        holder = cls.__new__(cls)
        holder.number = number
        holder.data = memoryview(data)
        return holder

    def check(self):
        first = self.data[0]
        assert bytes(self.data) == bytes([first]) * len(self.data)
        return first


class Reader(Holder):
    def __call__(self, task):
        return self.check() == self.number and task


class Changer(Holder):
    """Every task, and being unpickled, changes all data in place."""

    def change(self):
        self.data[:] = bytes([self.data[0] + 1]) * len(self.data)

    @classmethod
    def _again(cls, number, data):
        holder = super()._again(number, data)
        holder.change()
        return holder

    def __call__(self, task):
        before = self.check()
        self.change()
        return before


class Broken(Holder):
    @classmethod
    def _again(cls, number, data):
        raise ValueError("cannot be unpickled")

    def __call__(self, task):
        return task


class Prepared(Reader):
    """Cannot be unpickled before the initializer has run."""

    @classmethod
    def _again(cls, number, data):
        assert os.environ["PREPARED"] == "yes"
        return super()._again(number, data)


class Sleeper(Reader):
    def __call__(self, task):
        time.sleep(NAP if task == 0 else 0.01)
        return task


class Dozer(Reader):
    """Says where it ran."""

    def __call__(self, task):
        time.sleep(0.02)
        return os.getpid()


def prepare(value):
    os.environ["PREPARED"] = value


def leave_trace(directory):
    open(os.path.join(directory, str(os.getpid())), "wb").close()


def nap_on(rank):
    if launchers_rank() == rank:
        time.sleep(NAP)


def interrupt(result):
    raise KeyboardInterrupt


def main(pool):
    for number in range(1, 8):
        case(f"callable {number}")
        assert pool.map(Reader(number), range(1, 9)) == list(range(1, 9))
    case("changed in place by the user")
    reader = Reader(1)
    for number in (3, 5):
        reader.number = number
        reader.data[:] = bytes([number]) * SIZE
        assert pool.map(reader, range(1, 9), chunksize=1) == list(range(1, 9))
    case("changed in place by the tasks")
    seen = pool.map(Changer(20), range(4 * pool.size), chunksize=1)
    assert set(seen) >= {21} and min(seen) == 21, seen
    assert all(n == 21 or n - 1 in seen for n in seen), seen
    case("a closure")
    data = b"x" * SIZE
    assert pool.map(lambda task: task + len(data), range(9)) == [
        task + SIZE for task in range(9)
    ]
    case("fewer tasks than workers, and nobody knows how many")
    assert pool.map(Reader(9), iter([7])) == [7]
    assert pool.map(Reader(10), [7]) == [7]
    case("one that cannot be unpickled")
    assert "cannot be unpickled" in str(raised(pool.map, Broken(1), range(1, 9)))
    check_works(pool)
    assert pool.map(Reader(11), range(1, 9)) == list(range(1, 9))
    assert pool.map(Reader(13), range(1, 9)) == list(range(1, 9))


def busy(pool):
    case("a worker that is still busy")
    raised(pool.map, Sleeper(1), range(pool.size), callback=interrupt, chunksize=1)
    start = time.monotonic()
    assert pool.map(Reader(12), range(1, 9), chunksize=1) == list(range(1, 9))
    assert time.monotonic() - start < NAP, "the others waited for it"
    assert pool.map(Reader(17), range(1, 9)) == list(range(1, 9))


with MPIPool() as pool:
    main(pool)
    case("an initializer")
    with MPIPool(initializer=prepare, initargs=("yes",)) as second:
        assert second.map(Prepared(14), range(1, 9)) == list(range(1, 9))
    case("no initializer where there is no task")
    with tempfile.TemporaryDirectory() as directory:
        with MPIPool(initializer=leave_trace, initargs=(directory,)) as second:
            assert second.map(Reader(15), iter([1])) == [1]
        assert len(os.listdir(directory)) == 1
    case("an initializer that is slow on one rank")
    with MPIPool(initializer=nap_on, initargs=(pool.size,)) as second:
        pids = second.map(Dozer(16), range(8 * pool.size), chunksize=1)
        counts = sorted(collections.Counter(pids).values())
        assert len(counts) == pool.size and 1 not in counts[1:], counts
    if pool.size > 1:
        busy(pool)
print("ok")
