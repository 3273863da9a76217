"""Threads that use one pool at once, at random, until it is closed under them.

The arguments: a seed, and how many seconds. For a build with EZMPI_SANITIZE=thread and
the sanitizer loaded first (tests/test_races.py): so it needs no MPI, only workers that
are forked. What each call gives is checked, too.
"""

import itertools
import random
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError

from cases import ignore_fork_warnings

from ezmpi import MPIPool, PoolClosedError

USERS, PROCESSES, STEPS = 3, 2, 25
# What threads are told that had begun something just before.
TERMINATED = "the pool was terminated", "the pool's workers have ended"


class Odd(Exception):
    pass


def work(x):
    if x % 50 == 7:
        time.sleep(0.001)
    if x == 1234:
        raise Odd(x)
    return x, bytes(200_000 if x % 100 == 3 else 10)


def expected(x):
    return work(x)[0]


def take_time(x):
    time.sleep(0.001)
    return x


class User:
    """A thread of the user's, with futures and iterators that it has."""

    def __init__(self, pool, seed):
        self.pool = pool
        self.random = random.Random(seed)
        self.futures = []
        self.iterators = []
        self.error = None
        self.thread = threading.Thread(target=self.run)

    def tasks(self):
        first, count = self.random.randrange(1000), self.random.choice([0, 1, 5, 60])
        return list(range(first, first + count))

    def check(self, results, tasks):
        assert [result[0] for result in results] == tasks, tasks

    def map(self):
        tasks = self.tasks()
        made = self.random.choice([list, iter])(tasks)
        self.check(self.pool.map(work, made), tasks)

    def map_calling_back(self):
        tasks, came = self.tasks(), []
        self.pool.map(work, tasks, callback=came.append, return_results=False)
        self.check(sorted(came), tasks)

    def failing(self):
        try:
            self.pool.map(work, [1, 2, 1234, 3])
        except Odd:
            return
        raise AssertionError("nothing was raised")

    def submit(self):
        x = self.random.randrange(1000)
        future = self.pool.submit(work, x)
        if self.random.random() < 0.3:
            future.add_done_callback(lambda done: done.cancelled())
        self.futures.append((x, future))

    def submit_many(self):
        for _ in range(20):
            self.submit()

    def cancel(self):
        for _, future in self.futures:
            if self.random.random() < 0.5:
                future.running(), future.cancel(), future.done()

    def take_results(self):
        for x, future in self.futures:
            try:
                assert future.result(60)[0] == x
            except CancelledError:
                pass
        self.futures.clear()

    def begin_in_background(self):
        tasks = iter(self.tasks())
        result = self.pool.map_async(work, tasks, callback=lambda results: len(results))
        if self.random.random() < 0.5:
            result.wait(0.002)

    def iterate(self):
        if len(self.iterators) < 3:
            method = self.random.choice([self.pool.imap, self.pool.imap_unordered])
            self.iterators.append(method(work, itertools.count(2000)))
        results = self.random.choice(self.iterators)
        for _ in range(self.random.randrange(20)):
            assert next(results)[0] >= 2000
        if self.random.random() < 0.3:
            self.iterators.remove(results)

    def ask(self):
        assert len(self.pool.workers_status()) == PROCESSES

    def share(self):
        shared = self.pool.share([self.random.random()])
        assert len(self.pool.run_everywhere(len_of, shared)) == PROCESSES

    def run(self):
        ways = [self.map, self.map, self.map_calling_back, self.failing, self.submit]
        ways += [self.submit_many, self.cancel, self.take_results, self.iterate, self.ask]
        ways += [self.begin_in_background, self.share]
        try:
            for _ in range(STEPS):
                self.random.choice(ways)()
            self.take_results()
        except (PoolClosedError, CancelledError, StopIteration):
            pass
        except KeyboardInterrupt:
            pass  # it came while the main thread took this one's results in
        except BaseException as error:
            if not any(text in str(error) for text in TERMINATED):
                self.error = error
        self.iterators.clear()


def len_of(shared):
    return len(shared.value)


def interrupt_map(pool):
    """Ctrl-C, while this thread waits and others do."""
    main = threading.main_thread().ident
    timer = threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT))
    try:
        timer.start()
        pool.map(take_time, range(100))
        timer.join()
        time.sleep(0.01)  # for it to come
    except KeyboardInterrupt:
        pass
    timer.join()


def live(seed):
    """From a pool's beginning to its end."""
    choices = random.Random(seed)
    pool = MPIPool(fallback="local", processes=PROCESSES)
    users = [User(pool, seed + i / 10) for i in range(USERS)]
    for user in users:
        user.thread.start()
    if choices.random() < 0.3:
        interrupt_map(pool)
    time.sleep(choices.random() * 0.5)
    end = choices.choice(["close", "terminate", "join", "drop"])
    if end in ("close", "join"):
        pool.close()
    if end == "terminate":
        pool.terminate()
    for user in users:
        user.thread.join()
    if end == "join":
        pool.join()
    for user in users:
        if user.error is not None:
            raise user.error


def main(seed, seconds):
    deadline = time.monotonic() + seconds
    for lives in itertools.count(1):
        print("seed:", seed, flush=True)
        live(seed)
        seed += 1
        if time.monotonic() > deadline:
            return lives


if __name__ == "__main__":
    ignore_fork_warnings()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print("pools:", main(int(sys.argv[1]), float(sys.argv[2])))
    print("ok")
