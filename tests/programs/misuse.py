"""Uses that cannot work are clear errors, and the pool goes on."""

import copy
import pickle

from cases import case, check_works, raised, square

from ezmpi import MPIPool, PoolClosedError


class Sampler:
    """An object that holds its pool, as samplers do."""

    def __init__(self, pool):
        self.pool = pool
        self.scale = 10

    def log_prob(self, x):
        return self.scale * x

    def run(self, xs):
        return self.pool.map(self.log_prob, xs)

    def nested(self, x):
        return self.pool.map(square, [x])

    def says(self, x):
        pool = self.pool
        return pool.is_master(), pool.is_worker(), pool.size, pool.workers, pool.close()


def makes_pool(x):
    return MPIPool()


def makes_test_pool(x):
    return MPIPool(test_mode=True)


def maps_global(x):
    return pool.map(square, [x])


def mapping(function):
    """Tasks from an iterator that calls the function."""
    for task in range(4):
        function()
        yield task


class UsesPool:
    """Whoever pickles it calls the function."""

    def __init__(self, function):
        self.function = function

    def __reduce__(self):
        return int, (self.function(),)


def wait_for(pool):
    pool.close()
    pool.join()


pool = MPIPool()

case("map inside a task")
sampler = Sampler(pool)
for function in (maps_global, sampler.nested, lambda x: pool(square, [x])):
    for chunksize in (1, 4):
        error = raised(pool.map, function, range(8), chunksize=chunksize)
        assert type(error) is RuntimeError and "task" in str(error), repr(error)
        assert "used the pool that runs it" in str(error), repr(error)
        check_works(pool)

case("a pool made inside a task")
for function in (makes_pool, makes_test_pool):
    error = raised(pool.map, function, range(4))
    assert type(error) is RuntimeError and "task" in str(error), repr(error)
    check_works(pool)

case("methods of an object that holds its pool")
assert sampler.run(range(5)) == [0, 10, 20, 30, 40]
sampler.scale = 100
assert sampler.run(range(5)) == [0, 100, 200, 300, 400]
assert pool.map(sampler.says, [0]) == [(False, True, pool.size, pool.workers, None)]
assert sampler.pool is pool

case("the pool as task and as result")
assert pool.map(lambda p: p.is_worker(), [pool] * 3) == [True] * 3
assert pool.map(lambda p: p, [pool])[0] is pool

case("a pool that is pickled and copied is itself")
assert pickle.loads(pickle.dumps(pool)) is pool
assert copy.deepcopy(sampler).pool is pool

case("map inside a callback, and inside the tasks' iterator")
for call in (
    lambda *_: pool.map(square, [1, 2]),
    lambda *_: MPIPool().map(square, [1, 2]),
    lambda *_: pool.submit(square, 1).result(),
    lambda *_: list(pool.imap(square, [1, 2])),
):
    assert pool.map(square, range(20), call) == [x * x for x in range(20)]
    for chunksize in (1, 4):
        assert pool.map(square, mapping(call), chunksize=chunksize) == [0, 1, 4, 9]
check_works(pool)

case("a pool that is used by what it pickles")
for call in (lambda: pool.map(square, [1]), lambda: pool.submit(square, 1)):
    error = raised(pool.map, square, [UsesPool(call)])
    assert type(error) is RuntimeError and "pickles" in str(error), repr(error)
check_works(pool)

case("close inside a callback, or an iterator: the map goes on")
for use in (
    lambda other: other.map(square, range(20), lambda result: other.close()),
    lambda other: other.map(square, mapping(other.close)),
):
    other = MPIPool()
    assert use(other)[:4] == [0, 1, 4, 9]
    assert other.closed
check_works(pool)

case("join inside a callback, or an iterator: it would wait for itself")
for use in (
    lambda other: other.map(square, range(20), lambda result: wait_for(other)),
    lambda other: other.map(square, mapping(lambda: wait_for(other))),
):
    error = raised(use, MPIPool())
    assert type(error) is RuntimeError and "itself" in str(error), repr(error)
check_works(pool)

case("making and closing another pool inside a callback")


def another(result):
    other = MPIPool()
    seen.append((other.size, other.close()))


seen = []
assert pool.map(square, range(3), another) == [0, 1, 4]
assert len(seen) == 3 and all(size == pool.size for size, _ in seen)
check_works(pool)

case("a number of workers where the communicator goes")
error = raised(MPIPool, 1000)
assert isinstance(error, ImportError) and "mpiexec -n" in str(error), repr(error)
check_works(pool)

case("map after close")
closed = MPIPool()
closed.close()
closed.close()
for call in (
    lambda: closed.map(square, [1]),
    lambda: closed(square, [1]),
    lambda: closed.map(square, []),
    lambda: closed.batched_map(square, [1]),
):
    error = raised(call)
    assert type(error) is PoolClosedError and "closed" in str(error), repr(error)
    assert isinstance(error, RuntimeError) and isinstance(error, ValueError)
check_works(pool)
with MPIPool() as closed:
    check_works(closed)
assert type(raised(closed.map, square, [1])) is PoolClosedError
assert closed.closed and not pool.closed

case("a pool that was never made")
blank = MPIPool.__new__(MPIPool)
for call in (
    lambda: blank.map(square, [1]),
    lambda: blank.rank,
    lambda: blank.size,
    lambda: blank.wait(),
):
    assert type(raised(call)) is RuntimeError
blank.close()
case("a pool that is made twice")
assert type(raised(pool.__init__)) is RuntimeError
check_works(pool)
pool.close()
print("ok")
