"""Many tasks, maps and deaths of workers: is what the processes hold flat?

    mpiexec -n 3 python tests/programs/soak.py --tasks 1e8 --maps 1e5
    python tests/programs/soak.py --processes 2 --tasks 1e8 --maps 1e5
    mpiexec -n 3 python tests/programs/soak.py --deaths 1e4

The first takes ten minutes or so.  With --deaths the pool is isolate=True, and all that
is asked for runs on it.  At ten points, a tenth of everything between two, it prints
resident memory in MB, descriptors, children and threads: the master's, and the most that
a worker has, or with --deaths the child of one in which its tasks run.

The rule: the first half is a warm-up.  In the second no process may have more
descriptors, children or threads than it had at the most in the first, nor over 2 MB more
memory: which is 0.04 bytes a task of 1e8, 40 bytes a map of 1e5, 400 a death of 1e4.  (A
worker runs little Python beside its child's, and its garbage waits for long.)
Else it says what grew, and ends with code 1.  Linux only.
"""

import argparse
import inspect
import itertools
import os
import signal
import sys
import time

import dill  # noqa: F401  each new child would, at its first closure

from ezmpi import MPIPool

POINTS, WARM_UP = 10, 5
SLACK_MB = 2.0
TASKS_AT_ONCE, DEATHS_AT_ONCE = 10**7, 50
QUANTITIES = "MB", "descriptors", "children", "threads"


class Failure(Exception):
    pass


# ---- what workers run ------------------------------------------------------------


def echo(x):
    return x


def square(x):
    return x * x


def fail_at_three(x):
    if x == 3:
        raise Failure("deliberate")
    return x


def die_if_odd(x):
    """Of a signal, or by itself."""
    if x % 4 == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if x % 4 == 3:
        os._exit(3)
    return x


def count_children(pid):
    """Those that ended and were not waited for, too."""
    parents = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                parents.append(int(file.read().rsplit(")", 1)[1].split()[1]))
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended meanwhile
    return parents.count(pid)


def state_of(pid):
    with open(f"/proc/{pid}/statm") as file:
        memory = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    return memory, descriptors, count_children(pid), len(os.listdir(f"/proc/{pid}/task"))


def least_of(pid):
    """What it holds, and not what it has open for a moment: a worker looks for programs
    once a second, and where a child begins."""
    looks = [state_of(pid)]
    for _ in range(4):
        time.sleep(0.005)
        looks.append(state_of(pid))
    return tuple(map(min, zip(*looks)))


def states(is_isolated):
    """Of a worker, and before it of the child of its own that runs tasks."""
    pids = [os.getpid(), os.getppid()] if is_isolated else [os.getpid()]
    return [least_of(pid) for pid in pids]


# ---- tasks -----------------------------------------------------------------------


def run_tasks(pool, count):
    """The sum of what came says that all did."""
    total = 0

    def add(x):
        nonlocal total
        total += x

    for first in range(0, count, TASKS_AT_ONCE):
        last = min(first + TASKS_AT_ONCE, count)
        pool.map(echo, range(first, last), callback=add, return_results=False)
    assert total == count * (count - 1) // 2, (total, count)


# ---- maps ------------------------------------------------------------------------


def by_list(pool, number):
    tasks = list(range(number % 9))
    assert pool.map(square, tasks) == [x * x for x in tasks]


def by_generator(pool, number):
    assert pool.map(square, (x + number for x in (0, 1, 2)))[2] == (number + 2) ** 2


def by_closure(pool, number):
    assert pool.map(lambda x: x + number, [1, 2]) == [number + 1, number + 2]


def by_starmap(pool, number):
    assert pool.starmap(pow, [(number, 2)] * 3) == [number**2] * 3


def by_imap(pool, number):
    assert list(pool.imap(square, [number, 2, 3])) == [number**2, 4, 9]


def half_taken(pool, number):
    results = pool.imap_unordered(square, itertools.repeat(number), chunksize=2)
    assert next(results) == number**2


def in_background(pool, number):
    assert pool.map_async(square, [number, 3]).get() == [number**2, 9]


def by_submit(pool, number):
    futures = [pool.submit(square, x) for x in (number, 2, 3)]
    futures[2].cancel()
    assert futures[0].result() == number**2 and futures[1].result() == 4


def failing(pool, number):
    try:
        pool.map(fail_at_three, range(5))
    except Failure:
        return
    raise AssertionError("nothing was raised")


def in_place(pool, number):
    results = pool.map(fail_at_three, range(5), on_error="return")
    assert type(results[3]) is Failure and results[4] == 4


def with_bytes(pool, number):
    size = number % 100 * 2000
    assert pool.map(len, [bytes(size), bytearray(size)]) == [size, size]


WAYS = [by_list] * 6 + [by_generator, by_closure, by_starmap, by_imap, half_taken]
WAYS += [in_background, by_submit, failing, in_place, with_bytes]


def run_maps(pool, count):
    for number in range(count):
        WAYS[number % len(WAYS)](pool, number)


# ---- deaths ----------------------------------------------------------------------


def run_deaths(pool, count):
    from ezmpi import WorkerDied

    for first in range(0, count, DEATHS_AT_ONCE):
        deaths = min(DEATHS_AT_ONCE, count - first)
        results = pool.map(die_if_odd, range(2 * deaths), on_error="return")
        assert results[::2] == list(range(0, 2 * deaths, 2)), results
        assert all(type(result) is WorkerDied for result in results[1::2]), results


# ---- points ----------------------------------------------------------------------


def measure(pool, is_isolated):
    """By process: its QUANTITIES."""
    found = {"master": state_of(os.getpid())}
    for number, one in enumerate(pool.run_everywhere(states, is_isolated), start=1):
        found[f"worker {number}"] = one[-1]
        if is_isolated:
            found[f"child of worker {number}"] = one[0]
    return found


def most(points):
    """Of each quantity."""
    return [max(values) for values in zip(*points)]


def show(begun, done, found):
    cells = ["%6.0f s" % (time.monotonic() - begun)]
    cells += ["%g %s" % (count, name) for name, count in done.items() if count]
    for kind in ("master", "worker", "child of"):
        of_kind = [state for name, state in found.items() if name.startswith(kind)]
        if of_kind:
            cells.append(kind.split()[0] + " %.1f %d %d %d" % tuple(most(of_kind)))
    print("   ".join(cells), flush=True)


def find_growth(points):
    """What the rule says is not flat, in words."""
    for name in points[0]:
        limits = most(point[name] for point in points[:WARM_UP])
        limits[0] += SLACK_MB
        last = most(point[name] for point in points[WARM_UP:])
        for quantity, limit, value in zip(QUANTITIES, limits, last):
            if value > limit:
                yield f"{name}: {value:g} {quantity}, where at most {limit:g} may be"


def run(pool, asked):
    """Returns what grew."""
    runs = {"tasks": run_tasks, "maps": run_maps, "deaths": run_deaths}
    done = dict.fromkeys(runs, 0)
    points, begun = [], time.monotonic()
    print("time, what was done, and of whom: " + ", ".join(QUANTITIES), flush=True)
    for point in range(1, POINTS + 1):
        for name, run_one in runs.items():
            until = asked[name] * point // POINTS
            run_one(pool, until - done[name])
            done[name] = until
        points.append(measure(pool, asked["deaths"] > 0))
        show(begun, done, points[-1])
    return list(find_growth(points))


def count(text):
    return int(float(text))


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("tasks", "maps", "deaths"):
        parser.add_argument(f"--{name}", type=count, default=0, metavar="COUNT")
    parser.add_argument(
        "--processes", type=count, default=2, help="of a local pool: without mpiexec"
    )
    asked = vars(parser.parse_args())
    if not (asked["tasks"] or asked["maps"] or asked["deaths"]):
        parser.error("say how many --tasks, --maps or --deaths")
    if asked["deaths"] and "isolate" not in inspect.signature(MPIPool).parameters:
        parser.error("--deaths needs MPIPool(isolate=True), which this ezmpi has not")
    return asked


if __name__ == "__main__":
    asked = parse()
    options = {"isolate": True} if asked["deaths"] else {}
    with MPIPool(fallback="local", processes=asked["processes"], **options) as pool:
        grown = run(pool, asked)
    if grown:
        sys.exit("not flat: " + "; ".join(grown))
    print("ok")
