"""imap and imap_unordered."""

import functools
import gc
import itertools
import multiprocessing
import multiprocessing.pool
import os
import queue
import threading
import time

from cases import raised

from conformance.pool import check, works
from conformance.suite import MOMENT, NEVER, Stopwatch, begun, equal, is_a, until
from conformance.tasks import add, hold, hold_if, leave_mark, nothing, same, square


@check
def an_iterator_is_an_iterator(pool):
    for iterator in (pool.imap(square, range(3)), pool.imap_unordered(square, range(3))):
        assert iter(iterator) is iterator
        found = [next(iterator), iterator.next(), iterator.next(timeout=NEVER)]
        equal(sorted(found), [0, 1, 4])
        for _ in range(2):
            is_a(raised(next, iterator), StopIteration)
            is_a(raised(iterator.next, 0), StopIteration)
    equal(list(pool.imap(square, range(5), 2)), [0, 1, 4, 9, 16])


@check
def late_in_an_iterator(pool, gate):
    """Being late takes nothing away: the result comes at its place."""
    iterators = [pool.imap(hold, [gate.path] * 2)]
    iterators.append(pool.imap_unordered(hold, [gate.path] * 2))
    for iterator in iterators:
        for timeout in (MOMENT, 0, -1):
            with Stopwatch():
                is_a(raised(iterator.next, timeout), multiprocessing.TimeoutError)
        with Stopwatch(0.9 * MOMENT):
            is_a(raised(iterator.next, timeout=MOMENT), multiprocessing.TimeoutError)
    gate.open()
    for iterator in iterators:
        equal([iterator.next(NEVER), iterator.next(NEVER)], [None, None])
        is_a(raised(next, iterator), StopIteration)


@check(unless=["failed chunk"])
def late_in_an_iterator_with_chunks(pool, gate):
    iterator = pool.imap(hold, [gate.path] * 5, 2)
    is_a(raised(iterator.next, MOMENT), multiprocessing.TimeoutError)
    gate.open()
    equal(list(iterator), [None] * 5)


@check(workers=2)
def unordered_results_come_as_they_are_done(pool, gate):
    function = functools.partial(hold_if, gate=gate.path, held=0)
    iterator = pool.imap_unordered(function, range(4), 1)
    equal({next(iterator) for _ in range(3)}, {1, 2, 3})
    is_a(raised(iterator.next, MOMENT), multiprocessing.TimeoutError)
    gate.open()
    equal(list(iterator), [0])


@check(workers=2)
def ordered_results_wait_for_the_first(pool, gate):
    function = functools.partial(hold_if, gate=gate.path, held=0)
    iterator = pool.imap(function, range(4), 1)
    is_a(raised(iterator.next, 2 * MOMENT), multiprocessing.TimeoutError)
    gate.open()
    equal(list(iterator), [0, 1, 2, 3])


@check
def imap_begins_at_the_call(pool, room):
    """Nobody has to ask for the first result."""
    for number, method in enumerate((pool.imap, pool.imap_unordered)):
        path = os.path.join(room, str(number))
        iterator = method(leave_mark, [path])
        begun(path)
        equal(list(iterator), [None])


@check
def imap_returns_while_its_iterable_waits(pool):
    for method in (pool.imap, pool.imap_unordered):
        more = threading.Event()

        def tasks(more=more):
            yield 1
            assert more.wait(NEVER), "imap waited for all its tasks"
            yield 2

        with Stopwatch():
            iterator = method(square, tasks())
        more.set()
        equal(sorted(iterator), [1, 4])


@check
def an_iterable_may_wait_for_what_was_taken(pool):
    """A pipeline: the next task is made of the last result."""
    results = queue.Queue()

    def tasks():
        x = 2
        for _ in range(3):
            yield x
            x = results.get(timeout=NEVER)

    found = []
    for x in pool.imap(square, tasks()):
        found.append(x)
        results.put(x)
    equal(found, [4, 16, 256])


@check
def an_iterable_may_wait_for_another_result(pool):
    """map's may ask, imap's may wait for what was asked."""
    equal(pool.map(square, (pool.apply(add, (x, 1)) for x in range(4))), [1, 4, 9, 16])
    asked = [pool.apply_async(add, (x, 1)) for x in range(4)]
    equal(list(pool.imap(square, (r.get(NEVER) for r in asked))), [1, 4, 9, 16])


@check
def iterators_side_by_side(pool):
    iterators = [pool.imap(add, range(i, i + 50)) for i in range(8)]
    iterators.append(pool.imap_unordered(same, range(8, 58)))
    columns = list(zip(*iterators))
    equal([row[:8] for row in columns], [tuple(range(i, i + 8)) for i in range(50)])
    equal(sorted(row[8] for row in columns), list(range(8, 58)))


@check(where=["shared iterator"])
def several_threads_take_from_one_iterator(pool):
    for method in (pool.imap, pool.imap_unordered):
        found = []
        iterator = method(square, range(200))

        def run(iterator=iterator, found=found):
            for x in iterator:
                found.append(x)

        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal(sorted(found), [x * x for x in range(200)])


@check(unless=["look-ahead"])
def imap_draws_everything(pool, gate):
    drawn = []
    tasks = (drawn.append(x) or gate.path for x in range(5000))
    iterator = pool.imap(nothing, tasks)
    until(lambda: len(drawn) == 5000, "the iterable to be drawn")
    equal(list(iterator), [None] * 5000)


def rests(drawn):
    before = drawn[0]
    time.sleep(2 * MOMENT)
    return drawn[0] == before


@check(where=["look-ahead"])
def an_endless_iterable(pool):
    """Is drawn as far as results are taken, and no longer when the iterator is gone."""
    for method in (pool.imap, pool.imap_unordered):
        drawn = [0]

        def tasks(drawn=drawn):
            for drawn[0] in itertools.count():
                yield drawn[0]

        iterator = method(square, tasks())
        found = list(itertools.islice(iterator, 500))
        equal(len(set(found)), 500)
        until(lambda drawn=drawn: rests(drawn), "an end of the look-ahead")
        assert drawn[0] < 20000, drawn
        del iterator
        gc.collect()
        works(pool)
        assert rests(drawn), drawn
    pool.close()
    pool.join()
