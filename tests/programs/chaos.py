"""Everything at once, at random: methods, tasks that fail, large ones, Ctrl-C, pools.

The arguments: a seed, how many seconds, and "local" for workers that are forked,
"isolated" for tasks that die, hang and are killed. What each call gave is compared with
a serial run. A failing seed fails again in most runs: the same calls are made in the same
order, but what comes in between depends on time.
"""

import faulthandler
import itertools
import os
import pathlib
import random
import resource
import signal
import sys
import tempfile
import threading
import time

import ezmpi
from ezmpi import MPIPool, TaskExit, TaskTimeout, WorkerDied

LARGE, HUGE = 1 << 17, 100 << 20  # bytes
PATIENCE = float(os.environ.get("EZMPI_TEST_PATIENCE", "1"))
TIMEOUT = 8 * PATIENCE  # seconds; no other task takes so long


class Odd(Exception):
    pass


class NeedsTwo(Exception):
    """Cannot be made again of its arguments."""

    def __init__(self, one, two):
        super().__init__(one)


def work(task):
    kind, value = task
    if kind == "nap":
        time.sleep(value)
    elif kind == "bytes":
        return bytes(len(value)) + value[:10]
    elif kind == "raise":
        raise Odd(value)
    elif kind == "exit":
        sys.exit(value)
    elif kind == "interrupt":
        raise KeyboardInterrupt
    elif kind == "two":
        raise NeedsTwo(value, value)
    elif kind == "unpicklable":
        return (i for i in range(value))
    elif kind == "flaky":
        return attempt(fail, *value)
    elif kind == "fragile":
        return attempt(die, *value)
    elif kind == "die":
        die()
    elif kind == "leave":
        os._exit(value % 4)
    elif kind == "hang":
        time.sleep(600)
    elif kind == "grow":
        grow()
    return kind, value


def fail():
    raise Odd("not yet")


def die():
    faulthandler.disable()  # the tests' launcher has it on
    os.kill(os.getpid(), signal.SIGSEGV)


def grow():
    """Until there is no more memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    most = used * resource.getpagesize() + (300 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        blocks = []
        while True:
            blocks.append(bytes(10 << 20))
    finally:
        blocks = None
        resource.setrlimit(resource.RLIMIT_AS, before)


def attempt(fail, place, failures):
    """Fails so many times, on whatever workers."""
    for number in range(failures):
        try:
            os.close(os.open(f"{place}-{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        fail()
    return "after %d" % failures


def work_star(kind, value):
    return work((kind, value))


FAILS = {
    "raise": Odd,
    "exit": TaskExit,
    "interrupt": KeyboardInterrupt,
    "two": ezmpi.RemoteError,
    "unpicklable": TypeError,
    "grow": MemoryError,
}
DEADLY = {"die": WorkerDied, "leave": WorkerDied}


def expected(task, retries=0):
    """The result, or the type of the exception, of a task."""
    kind, value = task
    if kind == "hang":
        return TaskTimeout
    if kind in FAILS or kind in DEADLY:
        return FAILS.get(kind) or DEADLY[kind]
    if kind in ("flaky", "fragile"):
        failure = Odd if kind == "flaky" else WorkerDied
        return "after %d" % value[1] if value[1] <= retries else failure
    return None if kind == "nap" else work(task)


def same(got, wanted):
    if isinstance(wanted, type):
        return type(got) is wanted
    return wanted is None or got == wanted  # of a nap: whatever, it has come


class Chaos:
    def __init__(self, seed, seconds, how, directory):
        self.random = random.Random(seed)
        self.deadline = time.monotonic() + seconds
        self.how = how
        self.is_local = "local" in how
        self.is_isolated = "isolated" in how
        self.kinds = sorted({**FAILS, **DEADLY} if self.is_isolated else FAILS)
        self.places = (str(pathlib.Path(directory, str(i))) for i in itertools.count())
        self.pool = None
        self.counts = {}

    # ---- tasks

    def task(self, failing):
        draw = self.random.random()
        if failing and draw < 0.1:
            return self.random.choice(self.kinds), self.random.randrange(1, 100)
        if draw < 0.15:
            return "nap", self.random.choice([0.0, 0.001, 0.01])
        if draw < 0.2:
            largest = HUGE if self.random.random() < 0.02 else LARGE
            size = self.random.randrange(largest)
            return "bytes", self.random.getrandbits(8 * size + 1).to_bytes(
                size + 1, "big"
            )
        return "number", self.random.randrange(1000)

    def tasks(self, failing, flaky=0):
        count = self.random.choice([0, 1, 2, 5, 20, 100, 1000])
        tasks = [self.task(failing) for _ in range(count)]
        kinds = ["flaky", "fragile"] if self.is_isolated else ["flaky"]
        for i in range(len(tasks)):
            if flaky and self.random.random() < 0.1:
                times = self.random.randint(1, flaky)
                tasks[i] = self.random.choice(kinds), (next(self.places), times)
        return tasks

    def iterable(self, tasks):
        return self.random.choice([list, tuple, iter])(tasks)

    def chunksize(self):
        return self.random.choice([None, None, 1, 3, 50])

    # ---- what is called, and compared

    def compare(self, call, tasks, retries=0):
        """Of a method that raises for the lowest task that failed."""
        wanted = [expected(task, retries) for task in tasks]
        failed = next((w for w in wanted if isinstance(w, type)), None)
        try:
            got = call()
        except BaseException as error:
            assert failed is not None and type(error) is failed, (failed, repr(error))
            return
        assert failed is None, (failed, got)
        self.check(got, wanted)

    def map(self):
        tasks = self.tasks(self.random.random() < 0.5)
        self.compare(
            lambda: self.pool.map(work, self.iterable(tasks), chunksize=self.chunksize()),
            tasks,
        )

    def starmap(self):
        tasks = self.tasks(self.random.random() < 0.5)
        self.compare(lambda: self.pool.starmap(work_star, tasks), tasks)

    def lambdas(self):
        tasks, factor = self.tasks(False), self.random.random()
        got = self.pool.map(lambda task: (work(task), factor), tasks)
        assert all(factor == each for _, each in got) and len(got) == len(tasks)

    def map_without_results(self):
        tasks = self.tasks(False)
        seen = []
        result = self.pool.map(work, tasks, callback=seen.append, return_results=False)
        assert result is None and len(seen) == len(tasks)

    def errors_in_place(self):
        tasks = self.tasks(True)
        got = self.pool.map(
            work, self.iterable(tasks), on_error="return", chunksize=self.chunksize()
        )
        self.check(got, [expected(task) for task in tasks])

    def check(self, got, wanted):
        assert len(got) == len(wanted)
        for i in range(len(got)):
            assert same(got[i], wanted[i]), (i, repr(got[i])[:500], repr(wanted[i])[:500])

    def retried(self):
        retries = self.random.randint(0, 3)
        tasks = self.tasks(False, flaky=3)
        options = {"retries": retries, "retry_on": Odd, "chunksize": self.chunksize()}
        self.compare(
            lambda: self.pool.map(work, self.iterable(tasks), **options), tasks, retries
        )

    def imap(self):
        tasks = self.tasks(True)
        results = self.pool.imap(work, iter(tasks), chunksize=self.chunksize())
        stop = self.random.choice([None, None, 3])
        for task in tasks[:stop]:
            self.one(task, lambda: next(results))

    def one(self, task, call):
        wanted = expected(task)
        try:
            got = call()
        except BaseException as error:
            got = error
        assert same(got, wanted), (repr(got)[:200], wanted)

    def imap_unordered(self):
        tasks = self.tasks(False)
        got = list(self.pool.imap_unordered(work, tasks, chunksize=self.chunksize()))
        assert len(got) == len(tasks)
        numbers = sorted(value for kind, value in tasks if kind == "number")
        assert (
            sorted(g[1] for g in got if type(g) is tuple and g[0] == "number") == numbers
        )

    def background(self):
        lists = [self.tasks(self.random.random() < 0.3) for _ in range(3)]
        results = [self.pool.map_async(work, tasks) for tasks in lists]
        futures = [(task, self.pool.submit(work, task)) for task in self.tasks(True)[:50]]
        self.map()
        for tasks, result in zip(lists, results):
            self.compare(lambda result=result: result.get(60 * PATIENCE), tasks)
        for task, future in futures:
            self.one(task, lambda future=future: future.result(60 * PATIENCE))

    def from_threads(self):
        wrong = []

        def use(seed):
            chaos = Chaos(seed, 0, self.how, ".")
            chaos.pool = self.pool
            try:
                chaos.map()
                chaos.imap_unordered()
            except BaseException as error:
                wrong.append(error)

        seeds = [self.random.random() for _ in range(3)]
        threads = [threading.Thread(target=use, args=(seed,)) for seed in seeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong

    def everywhere(self):
        value = self.random.random()
        shared = self.pool.share([value])
        assert self.pool.run_everywhere(shared_value, shared) == [value] * self.pool.size

    def interrupted(self):
        """Whatever that one gives; the next is right."""
        tasks = [("nap", 0.002)] * self.random.choice([10, 300])
        timer = threading.Timer(self.random.random() * 0.2, interrupt)
        timer.start()
        try:
            self.pool.map(work, tasks, chunksize=self.chunksize())
            timer.join()
            time.sleep(0.01)  # for it to come
        except KeyboardInterrupt:
            pass
        finally:
            timer.join()

    def another_pool(self):
        how = self.random.choice(["close", "terminate", "drop", "join"])
        if self.pool is not None and how != "drop":
            if how == "terminate":
                self.pool.map_async(work, [("nap", 0.01)] * 20)
                self.pool.terminate()
            self.pool.close()
            if how == "join":
                self.pool.join()
        self.pool = new_pool(self.how)

    def hung(self):
        tasks = self.tasks(False)[:20] + [("hang", 0)]
        self.random.shuffle(tasks)
        self.compare(lambda: self.pool.map(work, tasks), tasks)

    def killed(self):
        """Processes that are killed from outside cost an attempt, and no result."""
        children = self.pool.run_everywhere(os.getpid)
        tasks = self.tasks(False)
        result = self.pool.map_async(work, tasks, retries=20)
        for child in self.random.sample(children, self.random.randint(1, len(children))):
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass
            time.sleep(self.random.random() * 0.01)
        self.compare(lambda: result.get(60 * PATIENCE), tasks)

    def died(self):
        """A worker that is killed ends its pool, and nothing else."""
        try:
            self.pool.map(kill_one, self.tasks(False) + [0], chunksize=self.chunksize())
        except ezmpi.TransportError as error:
            assert "signal 9" in str(error), error
        else:
            raise AssertionError("nobody died")
        self.pool.terminate()
        self.pool = new_pool(self.how)

    def run(self):
        ways = [self.map] * 4
        ways += [self.starmap, self.lambdas, self.map_without_results, self.retried]
        ways += [self.errors_in_place, self.imap, self.imap_unordered, self.background]
        ways += [self.from_threads, self.everywhere, self.interrupted]
        ways += [self.another_pool]
        if self.is_isolated:
            ways += [self.hung, self.killed, self.killed]
        elif self.is_local:
            ways += [self.died]
        self.another_pool()
        while time.monotonic() < self.deadline:
            way = self.random.choice(ways)
            self.counts[way.__name__] = self.counts.get(way.__name__, 0) + 1
            try:
                way()
            except BaseException:
                print(way.__name__, "after", self.counts, file=sys.stderr)
                raise
        self.pool.close()


def new_pool(how):
    options = {"fallback": "local", "processes": 3} if "local" in how else {}
    if "isolated" in how:
        options.update(isolate=True, task_timeout=TIMEOUT)
    return MPIPool(**options)


def shared_value(shared):
    return shared.value[0]


def interrupt():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def kill_one(task):
    if task == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(task)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seed, seconds, *how = sys.argv[1:]
    if "local" not in how:
        new_pool(how)  # where workers stay
    with tempfile.TemporaryDirectory() as directory:
        chaos = Chaos(int(seed), float(seconds), how, directory)
        chaos.run()
    print("calls:", sum(chaos.counts.values()))
    print("ok")
