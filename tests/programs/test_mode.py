"""test_mode: every rank goes on after the pool, as old suites want it."""

import sys

from cases import check_works, raised, square

from ezmpi import MPIPool, PoolClosedError


def say(text):
    print(text, flush=True)


def collective():
    """Every rank makes every pool, and the master closes it."""
    for number in range(3):
        pool = MPIPool(test_mode=True)
        if pool.is_master():
            check_works(pool)
            pool.close()
        else:
            pool.close()  # nothing on a worker
            say("pool %d served" % number)


def sitting():
    """The workers sit in the constructor of the first of many pools."""
    pool = MPIPool(test_mode=True)
    if pool.is_worker():
        say("first pool served")
        return
    for _ in range(20):
        pool = MPIPool(test_mode=True)
        check_works(pool)
    pool.close()
    assert type(raised(pool.map, square, [1])) is PoolClosedError


def nobody_there():
    """The workers have gone on, and the master gives work all the same."""
    pool = MPIPool(test_mode=True)
    pool.close()
    if pool.is_master():
        MPIPool(test_mode=True).map(square, [1])


def credits():
    """Each close ends one wait, in whatever order they come."""
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        pools = [pool] + [MPIPool(test_mode=True) for _ in range(4)]
        for each in pools:
            each.close()
            each.close()  # not a second one
        last = MPIPool(test_mode=True)
        check_works(last)
        MPIPool().close()  # not in test_mode: ends no wait
        check_works(last)
        assert last.wait() is None  # at once, on the master
        last.close()
        say("all closed")
        return
    say("constructor returned")
    for _ in range(4):
        assert pool.wait(lambda: say("wait returned")) is None
    assert pool.map(square, [1, 2]) is None  # on a worker, map is wait
    say("map returned")
    pool.wait()  # no close any more: until the master's process ends
    say("the master has ended")
    pool.wait()  # and for ever
    assert pool.map(None, None) is None
    say("still ended")


def attributes():
    pool = MPIPool(test_mode=True)
    ranks = int(sys.argv[2])
    assert pool.size == ranks - 1 == len(pool.workers)
    assert pool.workers == set(range(1, ranks))
    assert pool.master == 0
    assert pool._processes == pool._max_workers == pool.size
    assert pool.is_worker() is (pool.rank != 0)
    assert pool.is_master() is (pool.rank == 0)
    assert MPIPool.enabled() is True and pool.enabled() is True
    assert pool.closed is pool.is_worker()
    pool.close()
    say("rank %d of %d" % (pool.rank, ranks))


def failing_callback():
    """What a worker's own callback raises is the worker's own."""
    pool = MPIPool(test_mode=True)
    pool.close()
    if pool.is_worker():
        error = raised(pool.wait, lambda: 1 / 0)
        assert type(error) is ZeroDivisionError
        say("raised")
    else:
        MPIPool(test_mode=True).close()


globals()[sys.argv[1]]()
