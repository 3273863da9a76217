"""Tasks that end the process they run in, or never end: isolate=True.

The arguments: a case, a folder where tasks say that they ran.
"""

import functools
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from cases import (
    Block,
    case,
    check_works,
    launchers_rank,
    limit_memory,
    raised,
    told,
    wait_until,
)

import ezmpi
from ezmpi import BrokenPoolError, MPIPool, TaskTimeout, WorkerDied

PLACE = pathlib.Path(sys.argv[2])
scale = 1


def note(x):
    """Each run of a task leaves a byte."""
    with open(PLACE / str(x), "ab") as file:
        file.write(b"x")


def runs(x):
    path = PLACE / str(x)
    return len(path.read_bytes()) if path.exists() else 0


def forget():
    for path in PLACE.iterdir():
        path.unlink()


def echo(x):
    note(x)
    return x


def die_at_five(x):
    if x == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return echo(x)


def killed_at_three(x):
    if x == 3:
        os.kill(os.getpid(), signal.SIGUSR2)
    return x


def leave_at_three(x):
    if x == 3:
        os._exit(7)
    return x


def die_once(x):
    if x == 5 and runs("died") == 0:
        note("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return echo(x)


def hang_at_three(x):
    if x == 3:
        time.sleep(600)
    return x


def kinds(results):
    return [type(r) if isinstance(r, BaseException) else r for r in results]


def with_one(number, kind, count):
    return [kind if i == number else i for i in range(count)]


def deaths():
    pool = MPIPool(isolate=True)
    case("what died is named; what was done before in its chunk is kept, or dropped")
    error = raised(pool.map, die_at_five, range(20), chunksize=10)
    assert type(error) is WorkerDied, repr(error)
    assert (error.task, error.signal) == (5, signal.SIGKILL), vars(error)
    assert 1 <= error.rank <= pool.size and error.host
    assert "SIGKILL" in str(error) and "task 5" in told(error), told(error)
    assert [runs(x) for x in range(5)] == [1] * 5
    check_works(pool)

    case("each task runs once, but for the one that dies")
    forget()
    got = pool.map(die_at_five, range(40), chunksize=10, on_error="return")
    assert kinds(got) == with_one(5, WorkerDied, 40)
    assert [runs(x) for x in range(40)] == [int(x != 5) for x in range(40)]

    case("other ways to end")
    for function, text in [(killed_at_three, "SIGUSR2"), (leave_at_three, "code 7")]:
        error = raised(pool.map, function, range(8))
        assert type(error) is WorkerDied and text in str(error), repr(error)
        assert error.task == 3
    assert (error.signal, error.exitcode) == (None, 7), vars(error)
    error = raised(pool.map, sys.exit, [3])
    assert type(error) is ezmpi.TaskExit, repr(error)

    case("calls, iterators, jobs in the background")
    assert type(raised(pool.submit(os._exit, 1).result)) is WorkerDied
    assert type(raised(pool.apply, os._exit, (2,))) is WorkerDied
    assert kinds(pool.imap(killed_at_three, range(8), on_error="return")) == with_one(
        3, WorkerDied, 8
    )
    result = pool.map_async(killed_at_three, range(8))
    assert type(raised(result.get, 30)) is WorkerDied
    assert pool.starmap(pow, [(2, 3)]) == [8]
    for _ in range(20):
        assert type(raised(pool.submit(os._exit, 1).result)) is WorkerDied
    check_works(pool)
    pool.close()


def retries():
    with MPIPool(isolate=True, retries=1) as pool:
        case("run again, without the user listing anything")
        assert pool.map(die_once, range(10), chunksize=10) == list(range(10))
        assert [runs(x) for x in range(10)] == [1] * 10

        case("given up, and named")
        error = raised(pool.map, die_at_five, range(10))
        assert type(error) is WorkerDied and "2 attempts" in told(error), told(error)
        check_works(pool)


def set_up(value):
    global started
    started = value


def was_started(x):
    return started, x


def state():
    global scale
    with MPIPool(isolate=True, initializer=set_up, initargs=("yes",)) as pool:
        case("initializer, bound names, callables and what was shared come again")
        scale = 7

        def scaled(x):
            return x * scale

        shared = pool.share([1, 2, 3])
        other = pool.share("other")
        for _ in range(3):
            assert pool.map(scaled, [1, 2]) == [7, 14]
            assert pool.map(was_started, [1]) == [("yes", 1)]
            assert pool.run_everywhere(value_of, shared) == [[1, 2, 3]] * pool.size
            errors = pool.map(os._exit, [1] * 2 * pool.size, on_error="return")
            assert kinds(errors) == [WorkerDied] * 2 * pool.size
        del shared
        assert pool.run_everywhere(value_of, other) == ["other"] * pool.size
        check_works(pool)


def value_of(shared):
    return shared.value


def timeout():
    case("what it needs")
    if launchers_rank() == 0:
        error = raised(MPIPool, task_timeout=1)
        assert type(error) is ValueError and "isolate=True" in str(error), repr(error)
        error = raised(MPIPool, isolate="no")
        assert type(error) is TypeError and "not 'no'" in str(error), repr(error)
    with MPIPool(isolate=True, task_timeout=0.5) as pool:
        case("the child lives as long as no task is late")
        for _ in range(3):
            children = pool.run_everywhere(os.getpid)
            for _ in range(30):
                pool.map(abs, range(1000))
            assert pool.run_everywhere(os.getpid) == children
        case("a task that hangs")
        start = time.monotonic()
        got = pool.map(hang_at_three, range(8), on_error="return")
        assert kinds(got) == with_one(3, TaskTimeout, 8)
        assert time.monotonic() - start < 30
        error = got[3]
        assert error.task == 3 and isinstance(error, TimeoutError), told(error)
        for _ in range(2):  # the second time the pool gets only what is not in the file
            error = raised(
                pool.map, hang_at_three, range(8), checkpoint=PLACE / "run.sqlite"
            )
            assert error.task == 3 and str(error).startswith("task 3 "), told(error)
        assert type(raised(pool.submit(time.sleep, 600).result)) is TaskTimeout
        assert pool.map(time.sleep, [0.2] * 4 * pool.size, chunksize=2) == [None] * (
            4 * pool.size
        )
        check_works(pool)


def large():
    with MPIPool(isolate=True) as pool:
        case("a task cannot make a pool, and is told so")
        for inside in ({}, {"fallback": "local"}):
            error = raised(pool.apply, MPIPool, (), inside)
            assert type(error) is RuntimeError, told(error)
            assert "in the script" in str(error), told(error)

        case("large tasks and results, also those before a death")

        def grow(block):
            if len(block) == 5:
                os._exit(1)
            return block + b"more"

        tasks = [bytes([i]) * (3 << 20) for i in range(4)] + [b"five."]
        assert len(pool.submit(lambda: bytes(70 << 20)).result(60)) == 70 << 20
        assert pool.apply(lambda: [bytes(66000)] * 1100) == [bytes(66000)] * 1100
        got = pool.map(grow, tasks, chunksize=5, on_error="return")
        assert got[:4] == [task + b"more" for task in tasks[:4]]
        assert type(got[4]) is WorkerDied


def many():
    with MPIPool(isolate=True) as pool:
        case("nothing is left of many deaths")

        def descriptors():
            return len(os.listdir("/proc/%d/fd" % os.getppid()))

        # One more is open while a child begins.
        looks = [pool.run_everywhere(descriptors) for _ in range(20)]
        before = list(map(min, zip(*looks)))
        for _ in range(25):
            pool.map(os._exit, [1] * 4, on_error="return", chunksize=1)
        wait_until(lambda: pool.run_everywhere(descriptors) == before, 30)


def elsewhere():
    case("workers that do not isolate are not taken for such that do")
    rank = launchers_rank()
    if rank > 0:
        MPIPool(isolate=rank == 1)  # does not return
    error = raised(MPIPool, isolate=True)
    assert type(error) is ValueError and "rank 2" in str(error), repr(error)
    with MPIPool() as pool:  # one has a guard, which does no harm
        check_works(pool)
        kinds(pool.map(square_all, [range(3)] * 20, chunksize=3))


def square_all(numbers):
    return [x * x for x in numbers]


class Deadly:
    """Ends whoever unpickles it."""

    def __reduce__(self):
        return os._exit, (9,)

    def __call__(self, x):
        return x


def note_and_leave(code):
    note("began")
    os._exit(code)


def in_vain():
    options = {"initializer": note_and_leave, "initargs": (4,), "retries": 5}
    with MPIPool(isolate=True, **options) as pool:
        case("an initializer that nobody survives breaks the pool, as one that raises")
        error = raised(pool.map, abs, range(100), on_error="return")
        assert type(error) is BrokenPoolError, told(error)
        for word in ("initializer failed on rank", "code 4"):
            assert word in str(error), told(error)
        assert 3 <= runs("began") <= 3 * pool.size + 2, runs("began")
        case("and at once from then on")
        began = runs("began")
        assert type(raised(pool.apply, abs, (1,))) is BrokenPoolError
        assert type(raised(pool.map, abs, [1])) is BrokenPoolError
        assert runs("began") <= max(began, 3 * pool.size), runs("began")
    with MPIPool(isolate=True) as pool:
        check_works(pool)


class Noted:
    """Ends whoever unpickles it, and says that it was."""

    def __reduce__(self):
        return note_and_leave, (9,)

    def __call__(self, x):
        return x


def unpickled():
    with MPIPool(isolate=True) as pool:
        case("a callable that nobody unpickles and lives")
        error = raised(pool.map, Deadly(), range(10))
        assert type(error) is WorkerDied and "unpickling" in str(error), told(error)
        assert "a call" in str(raised(pool.apply, Deadly(), (1,)))
        got = pool.map(Noted(), range(50), on_error="return")
        assert kinds(got) == [WorkerDied] * 50 and got[7].task == 7
        assert runs("began") <= 3 * pool.size, runs("began")
        case("and is no affair of a map that runs meanwhile")
        slow = pool.map_async(nap, range(3), chunksize=1)
        assert type(raised(pool.run_everywhere, Deadly(), 1)) is WorkerDied
        assert slow.get(60) == list(range(3))
        case("such a task is one of many")
        tasks = [Deadly() if i == 6 else i for i in range(10)]
        got = pool.map(type, tasks, chunksize=5, on_error="return")
        assert got == [int] * 6 + [got[6]] + [int] * 3, got
        assert type(got[6]) is WorkerDied and got[6].task == 6
        check_works(pool)

        case("what was shared and kills costs the tasks that use it, and three processes")
        forget()
        deadly, good = pool.share(Noted()), pool.share("good")
        values = [value_of] * 10 + [abs] * 10
        given = [deadly] * 10 + [1] * 10
        got = pool.map(call_with, list(zip(values, given)), on_error="return")
        assert kinds(got) == [WorkerDied] * 10 + [1] * 10, got
        for word in ("before the task began", "given what was shared", "code 9"):
            assert word in str(got[0]), told(got[0])
        assert runs("began") <= 3 * pool.size, runs("began")
        for _ in range(2):
            assert pool.run_everywhere(value_of, good) == ["good"] * pool.size
            pool.map(os._exit, [1] * pool.size, on_error="return")
        assert runs("began") <= 3 * pool.size, runs("began")
        del deadly
        check_works(pool)


def unaccounted():
    """An exception that kills whoever makes an account of it."""
    with MPIPool(isolate=True) as pool:
        case("a task is blamed for its exception, too, and runs once")
        for chunksize in (8, 1):
            forget()
            error = raised(pool.map, raise_deadly, range(8), chunksize=chunksize)
            assert type(error) is WorkerDied and error.task == 3, told(error)
            assert "ran task 3" in str(error), told(error)
            assert runs(3) == 1, runs(3)


class DeadlyError(Exception):
    def __reduce__(self):
        os._exit(9)


def raise_deadly(x):
    note(x)
    if x == 3:
        raise DeadlyError
    return x


def call_with(pair):
    function, argument = pair
    return function(argument)


def hang(place):
    pathlib.Path(place).touch()
    while True:
        time.sleep(60)


def wait_for(paths):
    wait_until(lambda: all(path.exists() for path in paths))


def terminated():
    """Those that hang would keep the job for as long as the launcher's limit."""
    options = {"isolate": True}
    with MPIPool(**options) as pool, MPIPool(**options) as other:
        case("terminate ends tasks that run, and no other pool's")
        paths = [PLACE / f"hangs {i}" for i in range(pool.size)]
        theirs = other.submit(nap_until, str(PLACE / "go on"))
        wait_for([PLACE / "go on, please"])
        hung = pool.map_async(hang, map(str, paths[1:]), chunksize=1)
        wait_for(paths[1:])
        pool.terminate()
        (PLACE / "go on").touch()
        assert theirs.result(60) == "went on"
        check_works(other)
        assert type(raised(hung.get, 60)) is ezmpi.TimeoutError
    with MPIPool(**options) as pool:
        case("also of a map that has failed, when the pool was closed")
        place = str(PLACE / "hangs, too")
        tasks = [(hangs, pool.size > 1, place) for hangs in (False, True)]
        assert type(raised(pool.map, hang_or_raise, tasks, chunksize=1)) is LookupError
        pool.close()
        pool.terminate()
        with MPIPool(**options) as other:
            check_works(other)
    case("and so does an exception that leaves the block")
    with MPIPool(**options) as pool:
        paths = [PLACE / f"and {i}" for i in range(pool.size)]
        pool.map_async(hang, map(str, paths), chunksize=1)
        wait_for(paths)
        print("ok", flush=True)
        sys.exit(0)


def limit_guard(room):
    """Of the rank, this process's parent."""
    limit_memory(os.getppid(), room)


def count_blocks(blocks, x=None):
    return len(blocks)


def memory():
    blocks = [Block(bytearray(12 << 20)) for _ in range(8)]
    with MPIPool(isolate=True) as pool:
        pool.run_everywhere(limit_guard, 32 << 20)
        case("a task that the rank has no memory for fails, ...")
        error = raised(pool.map, count_blocks, [blocks])
        assert type(error) is MemoryError and "receiving task" in told(error), told(error)
        check_works(pool)

        case("... so does a function, ...")
        function = functools.partial(count_blocks, blocks)
        error = raised(pool.map, function, [1])
        assert type(error) is MemoryError, told(error)
        pool.run_everywhere(limit_guard, 0)
        assert pool.map(function, [1]) == [8]

        case("... and a task with such a result")
        pool.run_everywhere(limit_guard, 32 << 20)
        error = raised(pool.apply, bytes, (96 << 20,))
        assert type(error) is MemoryError, told(error)
        assert "a message of 1006" in str(error) and "rank" in told(error), told(error)
        got = pool.map(bytes, [1, 2, 3], on_error="return", chunksize=1)
        assert got == [bytes(1), bytes(2), bytes(3)]
        check_works(pool)


def no_memory():
    """Not even to drop what came."""
    with MPIPool(isolate=True) as pool:
        pool.run_everywhere(limit_guard, 32 << 20)
        pool.map(len, [bytes(96 << 20)])


def nap_until(path):
    pathlib.Path(path + ", please").touch()
    wait_for([pathlib.Path(path)])
    return "went on"


def hang_or_raise(task):
    hangs, waits, place = task
    if hangs:
        hang(place)
    if waits:
        wait_for([pathlib.Path(place)])
    raise LookupError


def note_slowly(x):
    note(x)
    time.sleep(0.4)
    return os.getpid()


def calls():
    with MPIPool(isolate=True) as pool:
        case("calls that wait behind slow ones run once, and can be cancelled until then")
        futures = [pool.submit(note_slowly, i) for i in range(4 * pool.size)]
        last = pool.submit(note, "cancelled")
        was_cancelled = last.cancel()
        for future in futures:
            future.result(60)
        assert [runs(i) for i in range(4 * pool.size)] == [1] * 4 * pool.size
        assert was_cancelled and runs("cancelled") == 0

        case("what workers do, and since when")
        future = pool.submit(time.sleep, 1)
        while not [s for s in pool.workers_status() if s.callable == "sleep"]:
            time.sleep(0.01)
        future.result()


def signal_all(number):
    os.killpg(os.getpgid(0), number)  # as launchers do
    time.sleep(0.2)
    return "lived"


def signals():
    with MPIPool(isolate=True, on_signal=lambda number: True) as pool:
        case("a queue's signals end neither the rank nor its child")
        for number in (signal.SIGUSR1, signal.SIGTERM):
            assert pool.map(signal_all, [number]) == ["lived"]
        case("Ctrl-C ends a task, as it does without isolation")
        error = raised(pool.map, signal_all, [signal.SIGINT])
        assert type(error) is KeyboardInterrupt or "KeyboardInterrupt" in told(error)
        check_works(pool)


class Signalled(Exception):
    pass


def raise_signalled(number, frame):
    raise Signalled(number)


def signal_both(x):
    if x == 1:
        os.kill(os.getppid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.2)
    return x


def die_signalling(x):
    """Signals come to the rank while it answers for the task."""
    if x == 1:
        dies, rank = os.getpid(), os.getppid()
        if os.fork() == 0:
            for _ in range(200):
                os.kill(rank, signal.SIGUSR1)
            os.kill(dies, signal.SIGKILL)
            while True:
                os.kill(rank, signal.SIGUSR1)
        time.sleep(60)
    return x


def handlers_and_death():
    case("also where the rank just answers for a task that died")
    check_handlers(die_signalling, WorkerDied, 5)


def handlers():
    case("a handler that raises costs the task, and not the job")
    check_handlers(signal_both, Signalled, 3)


def check_handlers(function, kind, times):
    signal.signal(signal.SIGUSR1, raise_signalled)
    with MPIPool(isolate=True) as pool:
        for _ in range(times):
            got = pool.map(function, range(4), on_error="return")
            assert kinds(got) == with_one(1, kind, 4), got
        check_works(pool)


INTERRUPT_CHILDREN = """
import os, signal, sys, time
seen = set()
while True:
    with open("/proc/{0}/task/{0}/children".format(sys.argv[1])) as file:
        new = set(file.read().split()) - seen
    for child in new:
        time.sleep(0.0005)
        try:
            os.kill(int(child), signal.SIGINT)
        except OSError:
            pass
    seen |= new
"""


def interrupted_at_birth():
    case("Ctrl-C ends tasks, and not what a child does before them")
    with MPIPool(fallback="local", processes=1, isolate=True) as pool:
        rank = pool.apply(os.getppid)
        command = [sys.executable, "-c", INTERRUPT_CHILDREN, str(rank)]
        interrupting = subprocess.Popen(command)
        try:
            options = {"chunksize": 1, "on_error": "return"}
            got = pool.map(os._exit, [3] * 150, **options)
        finally:
            interrupting.kill()
        assert set(kinds(got)) <= {WorkerDied, KeyboardInterrupt}, got


def forked():
    case("local workers have children, too")
    with MPIPool(fallback="local", processes=2, isolate=True, task_timeout=1) as pool:
        got = pool.map(die_at_five, range(20), on_error="return")
        assert kinds(got) == with_one(5, WorkerDied, 20)
        assert kinds(pool.map(time.sleep, [0, 100], on_error="return")) == [
            None,
            TaskTimeout,
        ]
        check_works(pool)
    options = {"fallback": "local", "processes": 2, "isolate": True}
    with MPIPool(on_signal=lambda number: True, **options) as pool:
        assert pool.map(die_of, [signal.SIGUSR1]) == ["lived"]

    case("terminate ends programs that tasks have started, too")
    for _ in range(3):
        with MPIPool(**options) as pool:
            begun = pool.map_async(subprocess.call, [["sleep", "614"]] * 2)
            wait_until(lambda: running().count("sleep 614") == 2, 20)
            pool.terminate()
            assert begun.ready()
        wait_until(lambda: "sleep 614" not in running(), 20)

    case("and waits for no callback")
    lock = threading.Lock()
    pool = MPIPool(**options)
    with lock:
        pool.submit(abs, -1).add_done_callback(lambda future: lock.acquire())
        time.sleep(0.5)
        pool.terminate()


class Slowly:
    """Takes longer to be unpickled than a task may."""

    def __reduce__(self):
        return slowly, ()


def slowly():
    time.sleep(1.5)
    return "slow"


def nap(x):
    time.sleep(0.1)
    return x


def blamed():
    with MPIPool(isolate=True) as pool:
        for block in (bytes(24 << 20), [bytes(70000)] * 21):

            def give(x, block=block):
                note(x)
                if x == 9:
                    os._exit(3)
                return block

            case("more results than the guard has room for: blamed is what died")
            forget()
            got = pool.map(give, range(12), chunksize=12, on_error="return")
            assert [i for i, result in enumerate(got) if result != block] == [9]
            assert type(got[9]) is WorkerDied and runs(5) == runs(11) == 1
    with MPIPool(isolate=True, task_timeout=1) as pool:
        case("what comes between tasks is not theirs")
        maps = [pool.map_async(nap, range(12), chunksize=4) for _ in range(2)]
        slow = pool.share(Slowly())
        for each in maps:
            assert each.get(60) == list(range(12))
        assert pool.run_everywhere(value_of, slow) == ["slow"] * pool.size


def pinned():
    with MPIPool(isolate=True) as pool:
        case("calls that are each worker's own come to it, whatever dies before")
        wanted = pool.run_everywhere(launchers_rank)
        for _ in range(5):
            deaths = pool.map_async(os._exit, [1] * 2 * pool.size, on_error="return")
            assert pool.run_everywhere(launchers_rank) == wanted
            deaths.get(60)


def journal():
    global large_one
    with MPIPool(isolate=True) as pool:
        case("a child that dies of what it hears first does not end the job")
        shares = [pool.share(bytes(1000)) for _ in range(300)]
        with MPIPool(isolate=True, initializer=os._exit, initargs=(5,)) as deadly:
            assert type(raised(deadly.map, abs, [1])) is BrokenPoolError
            case("and is nothing to another pool")
            assert pool.map(abs, range(9)) == list(range(9))
        assert pool.run_everywhere(value_of, shares[7]) == [bytes(1000)] * pool.size

        case("what is bound again and again is kept once")
        for i in range(20):
            large_one = bytes([i]) * (10 << 20)
            assert pool.map(part_of_large, [0]) == [i]
        memory = pool.run_everywhere(guards_memory)
        assert max(memory) < 150 << 20, memory


def rebound():
    """What is bound anew is needed as it was, too, by what came in between."""
    with MPIPool(isolate=True) as pool:
        case("a shared object whose class there is no more is there again after a death")
        define_settings(1)
        shared = pool.share(Settings())
        with MPIPool(isolate=True, initializer=settings_of, initargs=(0,)) as set_up:
            assert set_up.map(settings_of, [0] * 9) == [1] * 9
            assert pool.run_everywhere(value_of_value, shared) == [1] * pool.size
            define_settings(2)
            for _ in range(3):
                assert pool.map(settings_of, [0] * 9) == [2] * 9
                assert set_up.map(settings_of, [0] * 9) == [2] * 9
                assert pool.run_everywhere(value_of_value, shared) == [1] * pool.size
                pool.map(os._exit, [1] * pool.size, on_error="return")

    with MPIPool(isolate=True) as pool:
        case("names that kill who unpickles them are well again when they are bound anew")
        bind(Deadly())
        error = raised(pool.map, is_well, range(3))
        assert type(error) is WorkerDied, told(error)
        shared = pool.share("between")
        bind(0)
        assert pool.map(is_well, range(3)) == [True] * 3
        assert pool.run_everywhere(value_of, shared) == ["between"] * pool.size


def bind(value):
    """Of a name that workers do not have."""
    global bound
    bound = value


def is_well(x):
    return bound == 0


def define_settings(number):
    """A class that workers do not have."""
    global Settings

    class Settings:
        value = number

    Settings.__qualname__ = "Settings"


def settings_of(x):
    return Settings.value


def value_of_value(shared):
    return type(shared.value).value


def part_of_large(x):
    return large_one[x]


def guards_memory():
    pages = pathlib.Path(f"/proc/{os.getppid()}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def draw(x):
    import numpy

    return numpy.random.random()


def random_numbers():
    import numpy  # noqa: F401  before the workers fork

    with MPIPool(isolate=True) as pool:
        case("the process after one that died draws other numbers")
        drawn = []
        for _ in range(3):
            drawn += pool.run_everywhere(draw, 0)
            pool.map(os._exit, [1] * 3 * pool.size, chunksize=1, on_error="return")
        assert len(set(drawn)) >= 2 * pool.size + 1, drawn


def starts_program(x):
    if x == 3:
        subprocess.run(["sh", "-c", "sleep 611 & sleep 612"])
    return x


def orphans():
    mine = subprocess.Popen(["sleep", "613"])
    try:
        with MPIPool(isolate=True, task_timeout=1) as pool:
            case("a task that is over its time ends with the programs that it started")
            got = pool.map(starts_program, range(8), on_error="return")
            assert kinds(got) == with_one(3, TaskTimeout, 8)
            assert "sleep 611" not in running() and "sleep 612" not in running()
            assert "sleep 613" in running()  # nobody else's do
    finally:
        mine.kill()


def leave_behind(x):
    multiprocessing.Process(target=time.sleep, args=(600,), daemon=x == 1).start()
    subprocess.Popen(["sleep", "615"])
    return x


def left_behind():
    """The job ends, though tasks have left what would hold it up."""
    local = {"fallback": "local", "processes": 2} if "local" in sys.argv else {}
    with MPIPool(isolate=True, **local) as pool:
        assert pool.map(leave_behind, range(3)) == [0, 1, 2]
        assert "sleep 615" in running()


def running():
    """What all processes were started with, but for those that have ended."""
    lines = ""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines += path.read_text().replace("\0", " ") + "\n"
        except OSError:
            pass
    return lines


def die_of(number):
    os.kill(os.getpid(), number)
    return "lived"


def said_before():
    """What the rank printed, and its stream holds yet, no child says again."""
    with MPIPool(isolate=True) as pool:
        assert type(raised(pool.map, os._exit, [0])) is WorkerDied
        check_works(pool)


def by_environment():
    assert os.environ["EZMPI_ISOLATE"] == "1"
    with MPIPool() as pool:
        assert type(raised(pool.map, os._exit, [0])) is WorkerDied
        check_works(pool)


if __name__ == "__main__":
    if sys.argv[1] == "said_before":
        print("said once")
    globals()[sys.argv[1]]()
    print("ok")
