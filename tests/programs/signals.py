"""signals.py HOW: on_signal, with tasks that end when there is a file "gate".

The test sends the signals, when it reads "mapping".
"""

import os
import signal
import subprocess
import sys
import threading
import time

from cases import case, check_works, ignore_fork_warnings, raised

from ezmpi import MPIPool

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
came = []


class Stop(Exception):
    pass


def task(number):
    open("begun-%d" % number, "w").close()
    deadline = time.monotonic() + 60
    while not os.path.exists("gate") and time.monotonic() < deadline:
        time.sleep(0.01)
    return number


def note(number):
    """The map goes on."""
    came.append(number)
    assert threading.current_thread() is threading.main_thread()
    print("hook", number, flush=True)
    open("gate", "w").close()


def note_all(number):
    note(number)
    return True


def stop(number):
    note(number)
    raise Stop(number)


def before(number, frame):
    came.append(-number)


def handlers():
    return [signal.getsignal(number) for number in SIGNALS]


def goes_on(pool):
    # more than there are workers, so that some have not come to a task yet
    print("mapping", flush=True)
    assert pool.map(task, range(3)) == [0, 1, 2]
    while not came:  # the workers may be faster
        time.sleep(0.01)
    check_works(pool)
    print("came", came, flush=True)


def idles(pool):
    check_works(pool)
    print("mapping", flush=True)
    while not came:
        time.sleep(0.01)
    check_works(pool)
    print("came", came, flush=True)


def is_given_up(pool):
    print("mapping", flush=True)
    error = raised(pool.map, task, range(100))
    assert type(error) is Stop, repr(error)
    check_works(pool)
    print("came", came, flush=True)


def end_child(x):
    """What a task starts or forks dies of SIGTERM."""
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        sleeper.terminate()
        codes = [sleeper.wait()]
    begun, begin = os.pipe()
    ignore_fork_warnings()
    child = os.fork()
    if child == 0:
        os.write(begin, b"1")  # Python drops what comes while it forks
        time.sleep(60)
        os._exit(0)
    os.read(begun, 1)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    codes.append(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
    return codes


def check_restored():
    old = handlers()
    case("at the end of with, and in it")
    with MPIPool(on_signal=note) as pool:
        assert handlers() != old
        with MPIPool(on_signal=note) as inner:
            check_works(inner)
        check_works(pool)
        assert pool.map(end_child, [0] * 4) == [[-signal.SIGTERM] * 2] * 4
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.1)
        assert came == [signal.SIGUSR1], came
    assert handlers() == old
    case("terminate")
    pool = MPIPool(on_signal=note)
    pool.terminate()
    assert handlers() == old
    case("close, while something goes on")
    os.remove("gate")
    pool = MPIPool(on_signal=note)
    result = pool.map_async(task, range(3))
    pool.close()
    assert handlers() != old
    open("gate", "w").close()
    assert result.get() == [0, 1, 2]
    pool.join()
    assert handlers() == old
    case("dropped")
    pool = MPIPool(on_signal=note)
    del pool
    assert handlers() == old
    case("closed in another thread: what comes is passed on")
    signal.signal(signal.SIGUSR1, before)
    pool = MPIPool(on_signal=note)
    closing = threading.Thread(target=pool.close)
    closing.start()
    closing.join()
    del came[:]
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(0.1)
    assert came == [-signal.SIGUSR1], came
    case("what is no hook")
    error = raised(MPIPool, on_signal="handler")
    assert type(error) is TypeError and "on_signal" in str(error), repr(error)
    errors = []
    make = threading.Thread(target=lambda: errors.append(raised(MPIPool, on_signal=note)))
    make.start()
    make.join()
    assert type(errors[0]) is ValueError and "main thread" in str(errors[0]), errors


how = sys.argv[1]
if how == "restored":
    MPIPool()  # the workers serve from here on
    check_restored()
else:
    if how == "before":
        for one in SIGNALS:
            signal.signal(one, before)
    hooks = {"is_given_up": stop, "all": note_all}
    with MPIPool(on_signal=hooks.get(how, note)) as pool:
        {"is_given_up": is_given_up, "idles": idles}.get(how, goes_on)(pool)
print("ok")
