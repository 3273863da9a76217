"""Of several failures the one that a serial loop would have met; no task after it."""

import os
import time

from cases import case, check_works, raised, told

from ezmpi import MPIPool


def task(number):
    """Fails as the plan says, after leaving a trace of having run."""
    index, delay, error = number
    time.sleep(delay)
    with open("ran-%d" % index, "w"):
        pass
    if error is not None:
        raise error
    return index


def ran():
    indexes = sorted(int(n[4:]) for n in os.listdir(".") if n.startswith("ran-"))
    for index in indexes:
        os.remove("ran-%d" % index)
    return indexes


def plan(count, delays, errors):
    return [(i, delays.get(i, 0), errors.get(i)) for i in range(count)]


with MPIPool() as pool:
    case("a higher index fails first")
    tasks = plan(
        60,
        {0: 0.4, 1: 0.2, 2: 0.05},
        {i: ValueError("error of %d" % i) for i in (0, 1, 2, 50)},
    )
    error = raised(pool.map, task, tasks)
    assert str(error) == "error of 0", repr(error)
    assert "task 0" in told(error)
    ran()
    check_works(pool)

    case("the tasks below a failure run to their end")
    tasks = plan(60, {0: 0.5}, {1: ValueError("error of 1")})
    seen = []
    started = time.monotonic()
    error = raised(pool.map, task, tasks, seen.append)
    assert str(error) == "error of 1"
    assert 0 in seen and 1 not in seen, seen
    assert 0 in ran()
    assert time.monotonic() - started > 0.4
    check_works(pool)

    case("no task is begun after a failure is known")
    tasks = plan(400, {i: 0.01 for i in range(2, 400)}, {1: ValueError("error of 1")})
    error = raised(pool.map, task, tasks)
    assert str(error) == "error of 1"
    time.sleep(0.1)
    assert len(ran()) <= 2 + 4 * pool.size
    check_works(pool)

    case("a chunk's tasks above the failure are not begun")
    tasks = plan(40, {}, {7: ValueError("error of 7")})
    error = raised(pool.map, task, tasks, chunksize=5)
    assert str(error) == "error of 7"
    indexes = ran()
    assert set(range(8)) <= set(indexes), indexes
    assert 8 not in indexes and 9 not in indexes, indexes
    check_works(pool)

    case("a chunk above the failure is dropped where it stands")
    tasks = plan(200, {i: 0.05 for i in range(50, 200)}, {3: ValueError("error of 3")})
    started = time.monotonic()
    error = raised(pool.map, task, tasks, chunksize=50)
    assert str(error) == "error of 3"
    check_works(pool)
    assert time.monotonic() - started < 1.5
    assert len(ran()) < 40

    case("a chunk with a lower failure, found later")
    tasks = plan(40, {i: 0.05 for i in range(5)}, {})
    tasks[4] = (4, 0.05, ValueError("error of 4"))
    tasks[5] = (5, 0, ValueError("error of 5"))
    error = raised(pool.map, task, tasks, chunksize=5)
    assert str(error) == "error of 4"
    ran()
    check_works(pool)

    case("a failing task below an unpicklable one")
    tasks = plan(3, {0: 0.3}, {0: ValueError("error of 0")})
    tasks[2] = (x for x in ())
    error = raised(pool.map, task, tasks)
    assert str(error) == "error of 0", repr(error)
    ran()
    check_works(pool)

    case("a failing task below an iterator that raises")

    def drawn():
        yield (0, 0.3, ValueError("error of 0"))
        if pool.size > 1:
            raise LookupError("no more")

    error = raised(pool.map, task, drawn())
    assert str(error) == "error of 0", repr(error)
    check_works(pool)
print("ok")
