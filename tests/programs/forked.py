"""A pool whose workers were forked; the argument names the case. No mpiexec."""

import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time

from cases import case, check_works, ignore_fork_warnings, raised, square, told

import ezmpi
from ezmpi import MPIPool


def make(processes=2, **kwargs):
    return MPIPool(fallback="local", processes=processes, **kwargs)


def pid_of(_):
    return os.getpid()


def children():
    """That this process has and did not reap."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return False
    return True


def child_pids():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def kill_self(signum):
    os.kill(os.getpid(), signum)


def arguments():
    case("without fallback nothing has changed")
    error = raised(MPIPool)
    assert type(error) is ValueError and "only one MPI process" in str(error), error
    assert "mpiexec" in str(error)
    assert type(raised(MPIPool, 0, fallback="local")) is not RuntimeError

    case("what it is called with")
    for wrong, kind, text in [
        ({"fallback": "threads"}, ValueError, 'must be "local"'),
        ({"processes": 2}, ValueError, 'fallback="local"'),
        ({"fallback": "local", "processes": 0}, ValueError, "at least 1"),
        ({"fallback": "local", "processes": 2.0}, TypeError, "an int"),
        ({"fallback": "local", "initializer": 3}, TypeError, "callable"),
    ]:
        error = raised(MPIPool, **wrong)
        assert type(error) is kind and text in str(error), (wrong, error)
    assert not children()

    case("who it is")
    with make(3) as pool:
        assert (pool.rank, pool.master, pool.size) == (0, 0, 3)
        assert pool.is_master() and pool.workers == {1, 2, 3} and pool.comm is None
        assert pool._processes == pool._max_workers == 3
    processors = len(os.sched_getaffinity(0))
    with MPIPool(fallback="local") as pool:
        assert pool.size == processors
    with make(processors, threads_per_worker="auto") as pool:
        assert pool.map(os.getenv, ["OMP_NUM_THREADS"]) == ["1"]
    with make(2, test_mode=True) as pool:
        check_works(pool)


def ends():
    case("the workers end with the pool, however that ends")

    def with_block():
        with make() as pool:
            check_works(pool)

    def close_and_join():
        pool = make()
        check_works(pool)
        pool.close()
        pool.join()
        error = raised(pool.map, abs, [1])
        assert type(error) is ezmpi.PoolClosedError, error
        pool.close()
        pool.join()

    def terminate():
        pool = make()
        waiting = pool.map_async(time.sleep, [60, 60, 60])
        time.sleep(0.1)
        start = time.monotonic()
        pool.terminate()
        assert time.monotonic() - start < 10
        assert isinstance(raised(waiting.get, 10), ezmpi.TimeoutError)
        pool.join()

    def drop():
        pool = make()
        check_works(pool)
        del pool
        gc.collect()

    def shutdown():
        pool = make()
        check_works(pool)
        pool.shutdown()

    def exception():
        try:
            with make() as pool:
                pool.map_async(time.sleep, [60, 60])
                raise LookupError
        except LookupError:
            pass

    def unused():
        make().terminate()

    for way in (with_block, close_and_join, terminate, shutdown, drop, exception, unused):
        case(way.__name__)
        way()
        assert not children()

    case("nothing is left of many")
    before = descriptors()
    for _ in range(30):
        with_block()
    assert descriptors() == before and not children()
    assert sum("driver" in each.name for each in threading.enumerate()) <= 1

    case("several at once, from several threads")
    made = []

    def use():
        with make() as pool:
            made.append(pool.map(square, range(50)) == [x * x for x in range(50)])

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [True] * 4 and not children()


def deaths():
    for kill, text in [
        (lambda x: kill_self(signal.SIGABRT), "signal 6"),
        (lambda x: kill_self(signal.SIGKILL), "signal 9"),
        (lambda x: os._exit(0), "exit code 0"),
        (lambda x: os._exit(3), "exit code 3"),
    ]:
        for large in (0, 1 << 22):
            case(f"a worker that dies: {text}, {large}")
            pool = make(3)
            tasks = [bytearray(large)] * 20
            start = time.monotonic()
            error = raised(pool.map, lambda x, kill=kill: kill(x), tasks, chunksize=1)
            assert type(error) is ezmpi.TransportError, repr(error)
            assert text in str(error) and "rank" in str(error), error
            assert time.monotonic() - start < 10
            assert type(raised(pool.map, abs, [1])) in (
                ezmpi.TransportError,
                ezmpi.PoolClosedError,
            )
            pool.close()
            pool.join()
            assert not children()

    case("idle ones, before and after a map; the pool ends, and nothing else")
    for calls in (0, 1):
        for end in ("close", "join", "terminate", "drop"):
            pool = make()
            victims = []
            if calls:
                victims += pool.run_everywhere(os.getpid)
            else:
                victims += [int(pid) for pid in child_pids()]
            for victim in victims:
                os.kill(victim, signal.SIGKILL)
            time.sleep(0.05)
            if end == "drop":
                del pool
            else:
                pool.close()
                if end != "close":
                    getattr(pool, end)()
    pool = make()
    for pid in child_pids():
        os.kill(int(pid), signal.SIGKILL)
    time.sleep(0.05)
    assert type(raised(pool.map, abs, [1])) is ezmpi.TransportError
    pool.terminate()

    case("an idle one, and what was begun")
    pool = make()
    victim = pool.map(pid_of, [0])[0]
    os.kill(victim, signal.SIGKILL)
    results = [pool.submit(time.sleep, 0.01) for _ in range(20)]
    assert any(isinstance(raised(r.result, 10), ezmpi.TransportError) for r in results)
    pool.terminate()
    with make() as pool:
        check_works(pool)
    assert not children()


def hidden_deaths():
    """What a task has forked lives on, and holds the sockets of its worker."""
    ignore_fork_warnings()
    waits, ends = os.pipe()

    def dies(x):
        if os.fork() == 0:
            os.close(ends)
            os.read(waits, 1)  # to the master's end
            os._exit(0)
        kill_self(signal.SIGABRT)

    for what in ("a map", "a call", "idle"):
        case(what)
        pool = make(2)
        if what == "a map":
            error = raised(pool.map, dies, [1])
        elif what == "a call":
            error = raised(pool.submit(dies, 1).result, 60)
        else:
            raised(pool.submit(dies, 1).result, 0.5)
            error = raised(pool.map, abs, range(10**9), None, False)
        assert type(error) is ezmpi.TransportError, repr(error)
        assert "signal 6" in str(error), error
        pool.terminate()
        assert not children()


def reaped_by_others():
    case("a thread waits for every child")
    is_over = threading.Event()

    def reap():
        while not is_over.is_set():
            if not children():
                time.sleep(0.001)

    thread = threading.Thread(target=reap)
    thread.start()
    try:
        for _ in range(5):
            with make() as pool:
                check_works(pool)
            pool = make()
            error = raised(pool.map, os._exit, [3])
            assert type(error) is ezmpi.TransportError, repr(error)
            assert "has ended" in str(error), error
            pool.terminate()
            make().terminate()
    finally:
        is_over.set()
        thread.join()


def constructors():
    """The exceptions are kept, and with them all that their frames hold."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background
    kept = []

    def fails(kind, **options):
        kept.append(raised(make, **options))
        assert type(kept[-1]) is kind, told(kept[-1])
        assert not children()

    case("what is wrong, is")
    fails(TypeError, on_signal=3)
    fails(TypeError, initializer=3)
    fails(TypeError, initializer=square, initargs=(sys._getframe(),))
    before = signal.getsignal(signal.SIGTERM)
    options = {"on_signal": print}
    thread = threading.Thread(target=fails, args=(ValueError,), kwargs=options)
    thread.start()
    thread.join()
    assert len(kept) == 4

    case("Ctrl-C when the workers are there, and when the pool is")

    def and_interrupt(function):
        def run(*args):
            try:
                return function(*args)
            finally:
                signal.raise_signal(signal.SIGINT)

        return run

    for module, name in (
        (ezmpi._ezmpi, "fork_workers"),
        (ezmpi._forks, "begin"),
        (ezmpi.pool, "_watch_exit"),
    ):
        function = getattr(module, name)
        setattr(module, name, and_interrupt(function))
        fails(KeyboardInterrupt)
        fails(KeyboardInterrupt, **options)
        setattr(module, name, function)
    assert signal.getsignal(signal.SIGTERM) is before
    with make() as pool:
        check_works(pool)


def no_room():
    """For descriptors of its own: each worker takes four while it is made."""
    with make(3) as pool:
        check_works(pool)  # all is loaded
    before, (_, most) = descriptors(), resource.getrlimit(resource.RLIMIT_NOFILE)
    for room in range(5):
        case(f"room for {room}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1 + room, most))
        error = raised(make, 3)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        assert type(error) is ezmpi.TransportError, repr(error)
        assert "no process can be forked: Too many open files" in str(error), error
        assert not children() and descriptors() == before
    with make(3) as pool:
        check_works(pool)


def signals():
    case("workers that have not run a task yet get the hook's signals")
    for number in (signal.SIGUSR1, signal.SIGTERM):
        with make(on_signal=lambda number: True) as pool:
            for pid in child_pids():
                os.kill(int(pid), number)
            check_works(pool)
            assert pool.map(programs_die, [number]) == [-number]


def programs_die(number):
    code = f"import os; os.kill(os.getpid(), {number:d})"
    return subprocess.run([sys.executable, "-c", code]).returncode


def drops():
    case("whoever drops a pool that is busy lets other threads run")
    counted, is_over = [0], threading.Event()

    def count():
        while not is_over.is_set():
            counted[0] += 1
            time.sleep(0)

    def counts_meanwhile():
        pool = make()
        pool.map_async(time.sleep, [600])
        results = pool.imap(time.sleep, [600])
        pool._abandon("not to be waited for", False)
        usual = sys.getswitchinterval()
        sys.setswitchinterval(600)  # it runs while this thread lets it, and not else
        before = counted[0]
        del results, pool
        after = counted[0]
        sys.setswitchinterval(usual)
        return after > before

    pool = make()
    pool.submit(time.sleep, 600)
    thread = threading.Thread(target=count)
    thread.start()
    pool.terminate()
    # It takes a millisecond or so, in which the thread may get no processor.
    let = any(counts_meanwhile() for _ in range(50))
    is_over.set()
    thread.join()
    assert let
    assert not children()


def messages():
    case("without a launcher: what to do")
    error = raised(MPIPool)
    assert 'MPIPool(fallback="local")' in str(error) and "mpiexec" in str(error), error
    with ezmpi.Pool(3, fallback="local") as pool:
        assert pool.size == 3 and pool.map(square, [3]) == [9]
    assert type(raised(ezmpi.Pool, 0, fallback="local")) is ValueError

    case("in a child that was forked")
    pool = make()
    pid = os.fork()
    if pid == 0:
        error = raised(pool.map, abs, [1])
        is_told = "its workers belong to the process that made the pool" in str(error)
        os._exit(0 if type(error) is RuntimeError and is_told else 1)
    assert os.waitpid(pid, 0)[1] == 0

    case("what another pool has shared")
    with make() as other:
        table = other.share({"a": 1})
        assert other.map(lambda key: table.value[key], ["a"]) == [1]
        error = raised(pool.map, lambda key: table.value[key], ["a"])
        assert type(error) is LookupError and "another pool" in str(error), error
        table = pool.share(table.value)
        assert pool.map(lambda key: table.value[key], ["a"]) == [1]

    case("a closed one")
    assert [each.state for each in pool.workers_status()] == ["idle"] * 2
    pool.close()
    pool.join()
    error = raised(pool.map, abs, [1])
    assert type(error) is ezmpi.PoolClosedError, error
    assert "with workers of its own" in str(error), error
    assert pool.workers_status() == []

    case("what the workers do, of whom one has died")
    pool = make()
    os.kill(pool.map(pid_of, [0])[0], signal.SIGKILL)
    error, deadline = None, time.monotonic() + 30
    while error is None and time.monotonic() < deadline:
        try:
            assert len(pool.workers_status()) == 2
        except ezmpi.TransportError as raised_error:
            error = raised_error
    assert "was ended by signal 9" in str(error), error
    pool.terminate()
    assert pool.workers_status() == []


def tasks_and_pools():
    case("a task cannot make one, nor use the one that runs it")
    with make() as pool:
        for inside in (make, MPIPool):
            error = raised(pool.map, lambda make: make().size, [inside])
            assert type(error) is RuntimeError, told(error)
            assert "in the script" in str(error), told(error)
        error = raised(pool.map, lambda x: pool.map(abs, [x]), [1])
        assert type(error) is RuntimeError and "task" in str(error), told(error)
        check_works(pool)

    ignore_fork_warnings()
    case("a fork and a program of a task are no worker's business")

    def forks(x):
        pid = os.fork()
        if pid == 0:
            os._exit(7)
        child = subprocess.run([sys.executable, "-c", "raise SystemExit(5)"])
        return os.WEXITSTATUS(os.waitpid(pid, 0)[1]), child.returncode

    with make() as pool:
        assert pool.map(forks, range(4)) == [(7, 5)] * 4
        check_works(pool)

    case("a fork of the master has no part in it")
    with make() as pool:
        pid = os.fork()
        if pid == 0:
            error = raised(pool.map, abs, [1])
            with make() as own:
                works = own.map(square, [3]) == [9]
            os._exit(0 if type(error) is RuntimeError and works else 1)
        assert os.waitpid(pid, 0)[1] == 0
        check_works(pool)


def is_interrupted():
    """A handler that raises while the workers come to be: none runs the script."""
    os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        make().map(abs, [1])
    except BaseException:
        pass
    print(os.getpid() == int(sys.argv[2]) or "a worker is here")


def prints():
    """What is written, here and there, is written once."""
    sys.stdout.write("before\n")  # not flushed
    with make(1) as pool:
        pool.map(print, ["in a task"])
    print("after")


def fails():
    pool = make()
    pool.map_async(time.sleep, [600, 600])
    time.sleep(0.2)
    raise LookupError("the script")


def leaves():
    pool = make()
    pool.map_async(time.sleep, [0.2, 0.2])
    sys.exit(5)


def is_killed():
    pool = make()
    print(*pool.map(pid_of, range(10), chunksize=1), flush=True)
    pool.map_async(time.sleep, [600, 600])
    time.sleep(0.2)
    kill_self(signal.SIGKILL)


def is_killed_in_thread():
    """It has made its pool in another thread; and has a child that lives on."""
    ignore_fork_warnings()
    made = []
    thread = threading.Thread(target=lambda: made.append(make()))
    thread.start()
    thread.join()
    pids = made[0].map(pid_of, range(10), chunksize=1)
    made[0].submit(time.sleep, 600)  # the other worker is idle
    lives_on = os.fork()
    if lives_on == 0:
        os.close(1), os.close(2)
        time.sleep(600)
    print(lives_on, *pids, flush=True)
    time.sleep(0.2)
    kill_self(signal.SIGKILL)


def under_mpiexec():
    with make(7) as pool:
        assert pool.size == 2 and pool.comm is not None, pool.size
        check_works(pool)


if __name__ == "__main__":
    if sys.argv[1] == "is_interrupted":
        sys.argv.append(str(os.getpid()))
    globals()[sys.argv[1]]()
    if sys.argv[1] != "prints":
        print("ok")
