"""How pools are made, and how they end."""

import multiprocessing
import multiprocessing.pool
import os
import pickle
import threading
import time
import warnings

from cases import raised

from conformance.pool import asked, check, end, every_call, works
from conformance.suite import MOMENT, Reports, Stopwatch, equal, is_a, told
from conformance.tasks import (
    SaysWhen,
    add_to_state,
    fail_to_begin,
    get_state,
    hold,
    set_state,
    square,
)


@check
def initializer(make, room, workers):
    """Is called in each process before its first task."""
    pool = make(initializer=set_state, initargs=("set", room))
    found = pool.map(get_state, range(40), 1)
    equal({state for state, _ in found}, {"set"})
    here = {int(name.split("-")[1]) for name in os.listdir(room)}
    assert {pid for _, pid in found} <= here and len(here) <= workers, (found, here)
    pool = make(initializer=set_state, initargs=["again", room])
    equal(pool.apply(get_state)[0], "again")


@check
def initializer_runs_once(make):
    pool = make(initializer=add_to_state, initargs=(1000,))
    for _ in range(2):
        equal({state for state, _ in pool.map(get_state, range(40), 1)}, {1000})


@check
def an_initializer_that_cannot_be_called(make):
    is_a(raised(make, initializer=123), TypeError)
    is_a(raised(make, initializer="text", initargs=(1,)), TypeError)
    works(make())


@check(where=["broken"])
def a_failing_initializer(make):
    """One BrokenPoolError for all that was asked for, and the next pool works."""
    from ezmpi import BrokenPoolError

    with Reports():
        pool = make(initializer=fail_to_begin, initargs=("no start",))
        results = [pool.apply_async(square, (x,)) for x in range(5)]
        iterator = pool.imap(square, range(5))
        errors = [raised(result.get) for result in results]
        errors += [raised(next, iterator), raised(pool.map, square, [1])]
    for error in errors:
        is_a(error, BrokenPoolError)
        assert "no start" in told(error), told(error)
    end(pool)
    works(make())


@check(unless=["old names"])
def processes(make):
    for number in (0, -1):
        is_a(raised(make, number), ValueError)
        is_a(raised(make, processes=number), ValueError)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for pool in (make(1), make(processes=1), make(None)):
            works(pool)


@check(unless=["old names", "workers are given"])
def one_process_is_one(make):
    """Tasks that must not run beside one another rely on it."""
    pool = make(1)
    equal(len({pid for _, pid in pool.map(get_state, range(40), 1)}), 1)


@check(unless=["old names"])
def maxtasksperchild(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for pool in (make(1, None, (), 3), make(maxtasksperchild=3)):
            works(pool)


@check(unless=["old names", "maxtasksperchild unchecked"])
def wrong_maxtasksperchild(make):
    for number in (0, -1, 0.5, "12"):
        is_a(raised(make, 1, maxtasksperchild=number), ValueError)


@check(unless=["travels"])
def a_pool_does_not_travel(pool):
    is_a(raised(pickle.dumps, pool), NotImplementedError)


@check(where=["travels"])
def a_pool_travels(pool):
    assert pickle.loads(pickle.dumps(pool)) is pool


# --- the end ---


@check
def nothing_begins_after_the_end(make):
    for how in ("close", "terminate"):
        pool = make()
        works(pool)
        getattr(pool, how)()
        for name, call in every_call(pool).items():
            error = raised(call)
            assert isinstance(error, ValueError), (how, name, error)
        pool.join()
        for name, call in every_call(pool).items():
            assert isinstance(raised(call), ValueError), (how, name)
        is_a(raised(pool.__enter__), ValueError)


@check(where=["closed is two"])
def a_closed_pool_says_so_in_two_ways(make):
    from ezmpi import PoolClosedError

    pool = make()
    pool.close()
    for name, call in every_call(pool).items():
        error = raised(call)
        equal((name, type(error)), (name, PoolClosedError))
        assert isinstance(error, RuntimeError) and isinstance(error, ValueError)


@check
def join_wants_an_end(pool):
    is_a(raised(pool.join), ValueError)
    works(pool)


@check
def the_end_twice(make):
    for order in ("cc", "ct", "tc", "tt", "cjcj", "cjt", "tjj"):
        pool = make()
        works(pool)
        for letter in order:
            {"c": pool.close, "t": pool.terminate, "j": pool.join}[letter]()
        pool.join()


@check
def close_keeps_what_was_asked_for(pool, gate):
    results = [result for result, _ in asked(pool, gate).values()]
    results += [pool.apply_async(square, (x,)) for x in range(30)]
    iterator = pool.imap(square, range(40))
    with Stopwatch():
        pool.close()
    assert not results[0].ready()
    gate.open()
    pool.join()
    assert all(result.ready() for result in results)
    equal([result.get(0) for result in results[3:]], [x * x for x in range(30)])
    equal(list(iterator), [x * x for x in range(40)])


@check
def join_waits_for_what_nobody_takes(pool):
    """An iterator may be read after the end, however long it is."""
    iterator = pool.imap(square, range(5000), 10)
    unordered = pool.imap_unordered(square, range(5000), 10)
    pool.close()
    pool.join()
    equal(list(iterator), [x * x for x in range(5000)])
    equal(sorted(unordered), [x * x for x in range(5000)])


@check
def join_waits(pool, gate):
    result = pool.apply_async(hold, (gate.path, 3))
    threading.Timer(2 * MOMENT, gate.open).start()
    pool.close()
    pool.join()
    equal((result.ready(), result.get(0)), (True, 3))


@check
def terminate_waits_for_nobody(make):
    """Results that had come stay; what had not does not hang who waits a while."""
    pool = make()
    done = pool.apply_async(square, (3,))
    done.wait()
    late = [pool.map_async(time.sleep, [0.2] * 500, 1)]
    late += [pool.apply_async(time.sleep, (0.2,)) for _ in range(20)]
    iterator = pool.imap(time.sleep, [0.2] * 20)
    with Stopwatch():
        pool.terminate()
        pool.join()
    equal((done.ready(), done.successful(), done.get()), (True, True, 9))
    with Stopwatch():
        for result in late:
            is_a(raised(result.get, 0.01), multiprocessing.TimeoutError)
        is_a(raised(iterator.next, 0.01), multiprocessing.TimeoutError)


@check(where=["ended results"])
def terminate_ends_results(make, gate):
    """Those who wait in other threads, too; and no callback is called with a result."""
    pool = make()
    seen, errors = [], []
    results = [result for result, _ in asked(pool, gate).values()]
    results.append(pool.apply_async(hold, (gate.path,), callback=seen.append))
    iterator = pool.imap(hold, [gate.path] * 3)
    waiter = threading.Thread(target=lambda: errors.append(raised(results[0].get)))
    reader = threading.Thread(target=lambda: errors.append(raised(next, iterator)))
    waiter.start()
    reader.start()
    time.sleep(MOMENT)
    with Stopwatch():
        pool.terminate()
        waiter.join()
        reader.join()
        for result in results:
            result.wait()
            assert result.ready() and not result.successful()
            is_a(raised(result.get), multiprocessing.TimeoutError)
        is_a(raised(next, iterator), multiprocessing.TimeoutError)
    equal(len(errors), 2)
    for error in errors:
        is_a(error, multiprocessing.TimeoutError)
    gate.open()
    pool.join()
    equal(seen, [])


@check(unless=["with waits"])
def the_end_of_a_block_terminates(make):
    pool = make()
    with Stopwatch():
        with pool:
            late = pool.map_async(time.sleep, [0.2] * 100, 1)
    is_a(raised(late.get, 0.01), multiprocessing.TimeoutError)
    is_a(raised(pool.map, square, [1]), ValueError)
    pool.join()


@check(where=["with waits"])
def the_end_of_a_block_waits(make, gate):
    with make() as pool:
        late = pool.apply_async(hold, (gate.path, 4))
        iterator = pool.imap(square, range(3000))
        threading.Timer(2 * MOMENT, gate.open).start()
    assert late.ready() and late.successful()
    equal(late.get(), 4)
    equal(list(iterator), [x * x for x in range(3000)])
    is_a(raised(pool.map, square, [1]), ValueError)


@check
def a_block_that_fails(make):
    def block():
        with pool as entered:
            assert entered is pool
            pool.map_async(time.sleep, [0.2] * 200, 1)
            raise SaysWhen("in the block")

    pool = make()
    with Stopwatch():
        is_a(raised(block), SaysWhen)
    is_a(raised(pool.map, square, [1]), ValueError)
    pool.join()
