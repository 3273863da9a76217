"""goes_wrong.py FAULT [SETTINGS]: a script in which one thing goes wrong, once.

FAULT names a function below, or who brings the fault in from outside.  SETTINGS are
arguments of the pool and of `map`, as the page shows them: 'isolate=True, retries=1'.
It says what it sees; tests/fault_table.py makes the page's words of that.
"""

import ctypes
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

from cases import told

from ezmpi import MPIPool

NAME = sys.argv[1]
TASKS = range(12)
BAD = 3  # the task that meets the fault
OF_MAP = ("on_error", "checkpoint")
LONG = 600  # seconds


class Unpicklable(Exception):
    def __reduce__(self):
        raise TypeError("this exception cannot be pickled")


# ---- in a task ----


def raises():
    raise ValueError("deliberate")


def raises_unpicklable():
    raise Unpicklable("deliberate")


def returns_unpicklable():
    return (x for x in "a generator cannot be pickled")


def exits():
    sys.exit(3)


def out_of_memory():
    """As under a batch system's limit on memory."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, limits[1]))
    try:
        bytes(8 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def segfaults():
    ctypes.string_at(0)


segfaults_each_time = segfaults


def leaves_0():
    os._exit(0)


def leaves_1():
    os._exit(1)


def hangs():
    time.sleep(LONG)


def hangs_in_c():
    """With the GIL held, so that no signal's handler of Python's would run."""
    ctypes.PyDLL(None).sleep(LONG)


def sends_a_bad_message():
    """The first message behind this is one: tests/c/bad_sender.c."""
    return BAD * BAD


FROM_OUTSIDE = ("killed", "rank_killed", "sigint_worker", "sigterm_worker")
IN_ALL = ("signals", "queue", "master_killed")


# ---- tasks ----


def is_first():
    try:
        os.close(os.open("fault", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return NAME.endswith("each_time")
    return True


def write(name, text):
    """Whoever sees the file sees all of it."""
    Path(name + ".part").write_text(text)
    os.rename(name + ".part", name)


def is_there(name):
    return os.path.exists(name)


def wait_until(condition, *args):
    deadline = time.monotonic() + LONG
    while not condition(*args) and time.monotonic() < deadline:
        time.sleep(0.005)


def count(line):
    with open("ran", "a") as file:
        file.write("%d\n" % line)


def work(x):
    if NAME in IN_ALL:
        write("busy-%d" % x, "")
        wait_until(is_there, "gate")
    elif x == BAD and NAME in FROM_OUTSIDE and is_first():
        write("busy", "%d %d" % (os.getpid(), os.getppid()))
        time.sleep(LONG)
    elif x == BAD and NAME in globals() and is_first():
        return globals()[NAME]()
    return x * x


def work_and_count(x):
    """For a second run: what is run is counted."""
    count(x)
    if x >= 6 and not is_there("second"):
        write("busy-%d" % x, "%d %d" % (os.getpid(), os.getppid()))
        wait_until(is_there, "second")
    return bytes([x]) * 100_000


def work_until_full(x):
    """The disk is full when some results were written; then the last one ends."""
    count(x)
    if x >= 6 and not is_there("second"):
        wait_until(is_there, "full" if x == 11 else "limited")
    return bytes([x]) * 100_000


# ---- the master ----


def say(*words):
    print(*words, flush=True)


def hook(number):
    """on_signal: tasks that wait come to their end."""
    say("hook")
    write("gate", "")


def report(pool, function, expected, options):
    try:
        results = pool.map(function, TASKS, **options)
    except (Exception, KeyboardInterrupt) as error:
        if NAME in ("signals", "second_run"):
            raise
        named = "task %d" % BAD in told(error)
        say("raised", type(error).__name__, "named" if named else "")
        return
    bad = results[BAD]
    if results == expected:
        say("complete")
    elif results[:BAD] + results[BAD + 1 :] == expected[:BAD] + expected[BAD + 1 :]:
        say("partial", type(bad).__name__)


def check_goes_on(pool):
    try:
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))
    except Exception as error:
        say("refuses", type(error).__name__)
    else:
        say("goes_on")
    say("size", pool.size)


def run(pool, options):
    if NAME == "idle":
        pids = pool.run_everywhere(os.getpid)
        write("busy", "%d 0" % pids[0])
        wait_until(is_there, "gate")
    if NAME == "no_room" and is_first():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write then fails, with EFBIG
        threading.Thread(target=fill_disk, daemon=True).start()
    if NAME in ("no_room", "second_run"):
        function = work_until_full if NAME == "no_room" else work_and_count
        report(pool, function, [bytes([x]) * 100_000 for x in TASKS], options)
    else:
        report(pool, work, [x * x for x in TASKS], options)
    check_goes_on(pool)


def fill_disk(file="run.sqlite"):
    """When something was written there is no room for more."""
    wait_until(lambda: is_there(file) and os.path.getsize(file) > 100_000)
    time.sleep(0.1)  # the same transaction
    limit = os.path.getsize(file) + 50_000, resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    write("limited", "")
    from ezmpi import _checkpoint

    while not any(opened.file._failure for opened in _checkpoint._opened.values()):
        time.sleep(0.01)
    write("full", "")


def settings():
    """What the pool is given, and what `map` is."""
    text = sys.argv[2] if len(sys.argv) > 2 else ""
    both = eval("dict(%s)" % text)
    return (
        {name: value for name, value in both.items() if name not in OF_MAP},
        {name: value for name, value in both.items() if name in OF_MAP},
    )


def main():
    of_pool, of_map = settings()
    if NAME.startswith("master_raises"):
        pool = MPIPool(**of_pool)
        if NAME == "master_raises_while_busy":
            result = pool.map_async(time.sleep, [LONG] * 9)
            time.sleep(0.3)
        write("fault", "")
        raise LookupError("deliberate", pool, result if "busy" in NAME else None)
    with MPIPool(**of_pool) as pool:
        say("mapping", pool.size)
        run(pool, of_map)
    say("over")


main()
