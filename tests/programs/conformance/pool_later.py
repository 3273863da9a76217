"""Results that come later: AsyncResult, callbacks, many at once."""

import functools
import gc
import multiprocessing
import multiprocessing.pool
import os
import threading
import time

from cases import raised

from conformance.pool import asked, check, works
from conformance.suite import MOMENT, NEVER, Reports, Stopwatch, equal, is_a, until
from conformance.tasks import (
    Unpicklable,
    add,
    fail,
    fail_if,
    hold,
    inverse,
    nothing,
    same,
    sleep_and_return,
    square,
)


@check
def a_result_before_and_after(pool, gate):
    results = asked(pool, gate)
    for result, _ in results.values():
        assert result.ready() is False
        is_a(raised(result.successful), ValueError)
        equal(result.wait(MOMENT), None)
        assert result.ready() is False
    gate.open()
    for result, expected in results.values():
        equal(result.wait(), None)
        assert result.ready() is True and result.successful() is True
        equal((result.get(), result.get(0), result.get(timeout=-1)), (expected,) * 3)


@check
def late_results(pool, gate):
    results = asked(pool, gate)
    for result, _ in results.values():
        for timeout in (MOMENT, 0, -1, 1e-9):
            with Stopwatch():
                is_a(raised(result.get, timeout), multiprocessing.TimeoutError)
                equal(result.wait(timeout), None)
        with Stopwatch(0.9 * MOMENT):
            is_a(raised(result.get, timeout=MOMENT), multiprocessing.TimeoutError)
        is_a(raised(result.get, "soon"), TypeError)
    gate.open()
    equal([r.get(NEVER) for r, _ in results.values()], [x for _, x in results.values()])


@check(where=["one TimeoutError"])
def one_timeout_error(pool, gate):
    import concurrent.futures

    iterator = pool.imap(hold, [gate.path])
    for error in (
        raised(pool.apply_async(hold, (gate.path,)).get, 0),
        raised(iterator.next, 0),
    ):
        is_a(error, TimeoutError)
        is_a(error, multiprocessing.TimeoutError)
        is_a(error, concurrent.futures.TimeoutError)


@check
def failed_results(pool):
    for result in (
        pool.apply_async(inverse, (0,)),
        pool.map_async(inverse, [1, 0]),
        pool.starmap_async(inverse, [(0,)]),
    ):
        result.wait()
        assert result.ready() is True and result.successful() is False
        for _ in range(2):
            is_a(raised(result.get), ZeroDivisionError)


@check
def asking_returns_at_once(pool, gate):
    """With all workers busy, and many tasks in the queue."""
    with Stopwatch():
        held = pool.map_async(hold, [gate.path] * 20, 1)
        rest = [pool.apply_async(square, (x,)) for x in range(500)]
        iterator = pool.imap(square, range(9))
    assert not held.ready()
    gate.open()
    equal([result.get() for result in rest], [x * x for x in range(500)])
    equal(list(iterator), [x * x for x in range(9)])
    equal(held.get(), [None] * 20)


@check
def results_in_any_order(pool):
    results = [pool.apply_async(square, (x,)) for x in range(100)]
    results += [pool.map_async(square, range(x)) for x in range(20)]
    expected = [x * x for x in range(100)]
    expected += [[y * y for y in range(x)] for x in range(20)]
    found = [result.get() for result in reversed(results)]
    equal(found[::-1], expected)


@check(workers=2)
def a_held_job_holds_up_nobody(pool, gate):
    held = pool.apply_async(hold, (gate.path, 7))
    waiter = threading.Thread(target=held.get)
    waiter.start()
    equal(pool.apply(square, (3,)), 9)
    works(pool)
    equal(list(pool.imap(square, range(9))), [x * x for x in range(9)])
    assert not held.ready()
    gate.open()
    equal(held.get(), 7)
    waiter.join()


@check
def several_threads_wait_for_one_result(pool, gate):
    result = pool.apply_async(hold, (gate.path, 7))
    found = []

    def wait():
        found.append(result.get())

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(MOMENT)
    equal(found, [])
    gate.open()
    for thread in threads:
        thread.join()
    equal(found, [7] * 8)


@check
def who_waits_lets_threads_run(pool):
    """The GIL is free in get, apply, map, next and wait."""

    def count():
        while not over:
            counter[0] += 1
            time.sleep(0.001)

    counter, over = [0], []
    thread = threading.Thread(target=count)
    thread.start()
    try:
        for call in (
            lambda: pool.apply(time.sleep, (0.15,)),
            lambda: pool.map(time.sleep, [0.15]),
            lambda: pool.apply_async(time.sleep, (0.15,)).wait(),
            lambda: next(pool.imap(time.sleep, [0.15])),
        ):
            before = counter[0]
            call()
            assert counter[0] - before >= 5, counter[0] - before
    finally:
        over.append(True)
        thread.join()


@check
def a_result_keeps_its_pool(make):
    """Pool(...).apply_async(...) works where nobody holds the pool itself."""
    gone = [make()]
    result = gone[0].apply_async(sleep_and_return, (MOMENT, 4))
    iterator = gone[0].imap(square, range(5))
    gone.clear()
    gc.collect()
    equal(result.get(NEVER), 4)
    equal(list(iterator), [0, 1, 4, 9, 16])


# --- callbacks ---


@check
def callbacks_get_the_whole_result_once(pool):
    for ask, expected in (
        (lambda **back: pool.apply_async(square, (3,), **back), 9),
        (lambda **back: pool.map_async(square, range(50), 1, **back), None),
        (lambda **back: pool.map_async(square, [3], **back), [9]),
        (lambda **back: pool.starmap_async(add, [(1, 2)] * 9, 2, **back), [3] * 9),
    ):
        seen, errors = [], []
        result = ask(callback=seen.append, error_callback=errors.append)
        result.wait()
        equal((seen, errors), ([result.get()], []))
        assert expected is None or seen == [expected], seen


@check
def error_callbacks_get_the_exception_once(pool):
    for ask in (
        lambda **back: pool.apply_async(inverse, (0,), **back),
        lambda **back: pool.map_async(inverse, [1, 2, 0, 0, 0], 1, **back),
        lambda **back: pool.starmap_async(inverse, [(1,), (0,)], **back),
        lambda **back: pool.map_async(inverse, [1, Unpicklable(), 2], 1, **back),
    ):
        seen, errors = [], []
        result = ask(callback=seen.append, error_callback=errors.append)
        error = raised(result.get)
        time.sleep(MOMENT)
        equal(seen, [])
        equal([repr(e) for e in errors], [repr(error)])
        assert isinstance(error, (ZeroDivisionError, LookupError)), repr(error)


@check
def a_callback_is_done_when_the_result_is_there(pool):
    """What it wrote can be read after wait and get."""
    for ask in (
        lambda back: pool.apply_async(square, (3,), callback=back),
        lambda back: pool.map_async(square, [3], callback=back),
        lambda back: pool.apply_async(inverse, (0,), error_callback=back),
    ):
        seen = []
        ask(lambda x, seen=seen: (time.sleep(MOMENT), seen.append(x))).wait()
        equal(len(seen), 1)


@check
def callbacks_come_without_being_waited_for(pool):
    """No thread is in a call of the pool."""
    seen = []
    results = [pool.apply_async(square, (2,), callback=seen.append)]
    results.append(pool.apply_async(inverse, (0,), error_callback=seen.append))
    results.append(pool.map_async(square, range(30), 1, seen.append))
    until(lambda: len(seen) == 3, "callbacks")
    until(lambda: all(result.ready() for result in results), "results")


@check
def callbacks_run_in_this_process_one_at_a_time(pool):
    """Programs add to a list or a number in them, without a lock."""
    total, inside, pids = [0], [0], set()

    def back(x):
        assert_alone.append(inside[0])
        inside[0] += 1
        pids.add(os.getpid())
        before = total[0]
        time.sleep(0.001)
        total[0] = before + x
        inside[0] -= 1

    assert_alone = []
    results = [pool.apply_async(same, (x,), callback=back) for x in range(100)]
    for result in results:
        result.wait()
    equal((set(assert_alone), total[0], pids), ({0}, sum(range(100)), {os.getpid()}))


@check
def callbacks_do_not_run_where_jobs_are_asked_for(pool):
    """Who asks may hold a lock that the callback takes."""
    lock, taken = threading.Lock(), []

    def back(x):
        with_lock = lock.acquire(timeout=1)
        taken.append(with_lock)
        if with_lock:
            lock.release()

    with lock:
        for _ in range(50):
            pool.apply_async(nothing, callback=back)
            pool.map_async(nothing, [1, 2], callback=back)
        time.sleep(2 * MOMENT)
        equal(taken, [])
    until(lambda: len(taken) == 100 or False in taken, "callbacks")
    equal(set(taken), {True})


@check
def a_callback_asks_for_more(pool):
    seen = []
    over = threading.Event()

    def back(x):
        seen.append(x)
        if x < 5:
            pool.apply_async(add, (x, 1), callback=back)
            pool.map_async(square, [x])
            pool.imap(square, [x])
        else:
            over.set()

    pool.apply_async(same, (0,), callback=back)
    assert over.wait(NEVER), seen
    equal(seen, list(range(6)))
    works(pool)


@check(where=["callback of nothing"])
def callback_of_no_tasks(pool):
    seen = []
    equal(pool.map_async(square, [], callback=seen.append).get(), [])
    equal(pool.starmap_async(square, iter(()), callback=seen.append).get(), [])
    equal(seen, [[], []])


@check(unless=["callback of nothing"])
def no_callback_of_no_tasks(pool):
    seen = []
    equal(pool.map_async(square, [], callback=seen.append).get(), [])
    time.sleep(MOMENT)
    equal(seen, [])


@check(where=["callback raises"])
def a_callback_that_raises(pool):
    """Is told of, takes nothing from the result, and the pool goes on."""
    with Reports() as lines:
        for ask in (
            lambda **back: pool.apply_async(square, (3,), **back),
            lambda **back: pool.map_async(square, [3], **back),
            lambda **back: pool.apply_async(inverse, (0,), **back),
        ):
            back = functools.partial(fail, LookupError("in a callback"))
            back = functools.partial(lambda f, x: f(), back)
            result = ask(callback=back, error_callback=back)
            result.wait(NEVER)
            assert result.ready()
        equal(result.successful(), False)
        is_a(raised(result.get), ZeroDivisionError)
        works(pool)
    assert "in a callback" in lines.getvalue(), lines.getvalue()


# --- many at once ---


@check
def many_jobs_of_eight_threads(pool):
    def run(number):
        try:
            for i in range(25):
                equal(pool.apply(add, (number, i)), number + i)
                equal(pool.map(square, [number, i]), [number**2, i**2])
                equal(list(pool.imap(add, range(number))), list(range(number)))
                equal(pool.starmap_async(add, [(number, i)]).get(), [number + i])
                is_a(raised(pool.apply, fail_if, (i, (i,))), ValueError, "task %d" % i)
            over.append(number)
        except BaseException as error:
            errors.append(error)
            raise

    over, errors = [], []
    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal((sorted(over), errors), (list(range(8)), []))


@check
def many_jobs_in_the_queue(pool):
    results = [pool.apply_async(square, (x,)) for x in range(2000)]
    equal([result.get() for result in results], [x * x for x in range(2000)])


@check
def pools_again_and_again(make):
    for number in range(8):
        pool = make()
        equal(pool.map(add, range(number)), list(range(number)))
        pool.close()
        pool.join()
    for _ in range(8):
        pool = make()
        works(pool)
        pool.terminate()
        pool.join()


@check(where=["terminate at once"])
def pools_terminated_at_once(make):
    for number in range(20):
        pool = make()
        pool.apply_async(square, (number,))
        pool.map_async(square, range(number))
        pool.terminate()
        pool.join()


@check
def two_pools_at_once(make):
    one, other = make(), make()
    results = [pool.apply_async(square, (x,)) for x in range(9) for pool in (one, other)]
    one.close()
    one.join()
    works(other)
    equal([result.get() for result in results], [x * x for x in range(9) for _ in "12"])
    is_a(raised(one.map, square, [1]), ValueError)
