"""Where pools differ from multiprocessing's, and what the checks of pools share."""

from conformance.suite import Difference, Suite, equal
from conformance.tasks import hold, square

OURS = ("ezmpi", "mpipool")
STANDARD = ("multiprocessing",)

DIFFERENCES = {
    "lowest failure": Difference(
        OURS, "of several failed tasks map raises the lowest's: every run tells the same"
    ),
    "ends at a failure": Difference(
        OURS, "map begins no task behind a failed one, so it can end an endless iterable"
    ),
    "checked chunksize": Difference(
        OURS, "multiprocessing's map makes [None, None] of two tasks in chunks of 0"
    ),
    "chosen chunksize": Difference(
        OURS, "imap's chunks are as large as pays, not 1: its default is None"
    ),
    "look-ahead": Difference(
        OURS, "imap draws a bounded number of tasks ahead of what was taken from it"
    ),
    "failed chunk": Difference(
        STANDARD,
        "imap with chunks is a generator over lists: no next(timeout), a "
        "failed task takes its chunk with it and ends the iteration",
    ),
    "shared iterator": Difference(
        OURS,
        "multiprocessing's may raise TimeoutError, or wait for ever, where "
        "several threads take from it",
    ),
    "StopIteration": Difference(
        OURS, "in multiprocessing's map it silently ends a chunk's results"
    ),
    "istarmap": Difference(OURS, "multiprocessing has no lazy starmap"),
    "ended results": Difference(
        OURS, "get() of what terminate ended raises; multiprocessing's waits for ever"
    ),
    "terminate at once": Difference(
        OURS, "just behind the begin of a job, multiprocessing's may wait for ever"
    ),
    "one TimeoutError": Difference(
        OURS, "late is the same everywhere; multiprocessing's is a class of its own"
    ),
    "callback raises": Difference(
        OURS,
        "an exception in a callback ends the thread by which multiprocessing's "
        "results come, and each later get() waits for ever",
    ),
    "callback of nothing": Difference(
        OURS, "multiprocessing never calls back where there are no tasks"
    ),
    "workers are given": Difference(
        ("ezmpi",), "by mpiexec: processes is checked, and warned of where it differs"
    ),
    "by value": Difference(OURS, "dill sends lambdas, and multiprocessing has no dill"),
    "unloadable": Difference(
        OURS, "what cannot be unpickled breaks multiprocessing's pool for good"
    ),
    "reason": Difference(
        OURS,
        "an unpicklable result raises what pickling it raised, which "
        "multiprocessing turns into a MaybeEncodingError",
    ),
    "broken": Difference(
        OURS, "multiprocessing starts workers whose initializer fails again and again"
    ),
    "travels": Difference(
        OURS, "a pool may be pickled with a callable that holds it, as emcee's do"
    ),
    "closed is two": Difference(
        OURS, "PoolClosedError is the RuntimeError of executors, too"
    ),
    "with waits": Difference(("mpipool",), "the end of a block waits for its results"),
    "old names": Difference(
        ("mpipool",), "MPIPool's constructor and map are older: comm; worker, tasks"
    ),
    "maxtasksperchild unchecked": Difference(
        STANDARD, "every value was accepted", before=(3, 10)
    ),
}

suite = Suite("pool", DIFFERENCES)
check = suite.check

# --- every way to run a function over tasks ---


def given(chunksize):
    return {} if chunksize is None else {"chunksize": chunksize}


def alone(tasks):
    """For starmap; as lazy as the tasks are."""
    return ((task,) for task in tasks)


ORDERED = {
    "map": lambda p, f, t, **n: p.map(f, t, **n),
    "map_async": lambda p, f, t, **n: p.map_async(f, t, **n).get(),
    "starmap": lambda p, f, t, **n: p.starmap(f, alone(t), **n),
    "starmap_async": lambda p, f, t, **n: p.starmap_async(f, alone(t), **n).get(),
    "imap": lambda p, f, t, **n: list(p.imap(f, t, **n)),
}
UNORDERED = {"imap_unordered": lambda p, f, t, **n: list(p.imap_unordered(f, t, **n))}
STARRED = {
    "istarmap": lambda p, f, t, **n: list(p.istarmap(f, alone(t), **n)),
    "istarmap_unordered": lambda p, f, t, **n: list(
        p.istarmap_unordered(f, alone(t), **n)
    ),
}
EVERY = dict(ORDERED, **UNORDERED)


def every_call(pool):
    """Each method with one task, for what must refuse to begin it."""
    return {
        "apply": lambda: pool.apply(square, (2,)),
        "apply_async": lambda: pool.apply_async(square, (2,)),
        "map": lambda: pool.map(square, [2]),
        "map of nothing": lambda: pool.map(square, []),
        "map_async": lambda: pool.map_async(square, [2]),
        "starmap": lambda: pool.starmap(square, [(2,)]),
        "starmap_async": lambda: pool.starmap_async(square, [(2,)]),
        "imap": lambda: pool.imap(square, [2]),
        "imap in chunks": lambda: pool.imap(square, [2], 2),
        "imap_unordered": lambda: pool.imap_unordered(square, [2]),
        "imap_unordered in chunks": lambda: pool.imap_unordered(square, [2], 2),
    }


def works(pool):
    equal(pool.map(square, range(20)), [x * x for x in range(20)])


def asked(pool, gate):
    """One AsyncResult of each kind; they wait before the gate."""
    return {
        "apply_async": (pool.apply_async(hold, (gate.path, 5)), 5),
        "map_async": (pool.map_async(hold, [gate.path] * 3, 1), [None] * 3),
        "starmap_async": (pool.starmap_async(hold, [(gate.path, 6)]), [6]),
    }


def end(pool):
    pool.terminate()
    pool.join()
