"""Names, attributes and conveniences that scripts for other pools rely on."""

import inspect
import sys

from cases import case, check_works, raised, square

import ezmpi
from ezmpi import MPIPool

enabled_before = MPIPool.enabled()
assert enabled_before is True

pool = MPIPool(None, True, False)

case("the module")
assert ezmpi.__version__ == "1.0.0.dev0"
for name in ezmpi.__all__:
    assert hasattr(ezmpi, name), name
assert issubclass(ezmpi.TransportError, ImportError)
assert issubclass(ezmpi.RemoteError, Exception)
assert issubclass(ezmpi.TaskExit, RuntimeError)
assert issubclass(ezmpi.PoolClosedError, RuntimeError)
assert issubclass(ezmpi.PoolClosedError, ValueError)
assert issubclass(ezmpi.BrokenPoolError, RuntimeError)
assert ezmpi.TaskExit(3).code == 3 and "3" in str(ezmpi.TaskExit(3))

case("attributes")
assert pool.is_master() and not pool.is_worker() and pool.enabled()
assert pool.rank == 0 and pool.master == 0
assert pool.size == len(pool.workers) == max(pool.workers) >= 1
assert 0 not in pool.workers and isinstance(pool.workers, set)
pool.workers.clear()  # a copy
assert len(pool.workers) == pool.size
assert pool._processes == pool._max_workers == pool.size
assert pool.closed is False
try:
    from mpi4py import MPI
except ImportError:
    assert isinstance(pool.comm, int)
else:
    assert pool.comm == MPI.COMM_WORLD
    assert pool.comm.Get_size() == pool.size + 1
    assert MPI.Is_initialized()
for name in ("rank", "size", "workers"):
    assert isinstance(raised(setattr, pool, name, 5), AttributeError), name
pool.label = "users may add theirs"

case("signatures")
names = list(inspect.signature(MPIPool.map).parameters)
assert names[:5] == ["self", "worker", "tasks", "callback", "return_results"]
names = list(inspect.signature(MPIPool.__init__).parameters)
assert names[1:4] == ["comm", "use_dill", "test_mode"]
for call in (
    lambda: MPIPool(nonsense=1),
    lambda: MPIPool(None, True, False, abs),
    lambda: pool.wait(1, 2),
    lambda: pool.close(1),
):
    assert type(raised(call)) is TypeError
check_works(pool)

case("calling the pool is map")
assert pool(square, [1, 2]) == [1, 4]
seen = []
assert pool(square, [3], seen.append) == [9] and seen == [9]
assert pool(square, range(5), chunksize=2) == [0, 1, 4, 9, 16]

case("batched_map as schwimmbad has it")


def batch(task):
    (start, stop), numbers = task
    assert stop - start == len(numbers)
    return [(start + i, x) for i, x in enumerate(numbers)]


for count in (0, 1, 2, 7, 30):
    for tasks in (list(range(count)), tuple(range(count)), iter(range(count))):
        batches = pool.batched_map(batch, tasks)
        assert len(batches) == min(count, pool.size)
        assert sum(batches, []) == [(i, i) for i in range(count)]
        sizes = [len(b) for b in batches]
        assert not sizes or max(sizes) - min(sizes) <= 1
seen = []
pool.batched_map(batch, range(9), callback=seen.append)
assert sum(map(len, seen)) == 9

case("a subclass")


class MyPool(MPIPool):
    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def map(self, function, tasks):
        return [self.scale * r for r in super().map(function, tasks)]


with MyPool(10) as mine:
    assert mine.map(square, [1, 2]) == [10, 40]
    assert mine(square, [1]) == [10]

case("wait on the master, close, with")
assert pool.wait() is None
assert pool.wait(lambda: 1 / 0) is None
with pool as same:
    assert same is pool
assert pool.closed
assert pool.close() is None
assert pool.rank == 0 and pool.size >= 1  # stay readable
assert "ezmpi" in sys.modules
print("ok")
