"""workers_status(): what each worker does, while another thread maps and in between.

A task begins, says so by a file, and ends when there is a gate: another file.
"""

import functools
import os
import threading
import time

from cases import case, check_works, host_of, raised, told, wait_until

from ezmpi import MPIPool, WorkerStatus


def wait_for(name):
    wait_until(lambda: os.path.exists(name))


def touch(name):
    open(name, "w").close()


def task(names):
    """names: its own, and its gate's."""
    touch(names[0])
    wait_for(names[1])
    return names[0]


def call_with_both(name, gate):
    return task((name, gate))


def failing(names):
    if names[0] == "fails":
        wait_for("g-begun")
        raise ValueError("deliberate")
    return task(names)


class Model:
    def method(self, names):
        return task(names)

    __call__ = method


class Asks:
    def __reduce__(self):
        pool.workers_status()
        return Asks, ()


def check_fields(statuses, **wanted):
    for status in statuses:
        assert isinstance(status, WorkerStatus), status
        assert status.host == host_of(status.rank), status
        for name, value in wanted.items():
            assert getattr(status, name) == value, (name, value, status)


def check_busy(begin, prefix, **wanted):
    """Each worker has a task that begin() has begun; then the gate is opened."""
    names = ["%s-%d" % (prefix, number) for number in range(pool.size)]
    job = threading.Thread(target=begin, args=([(n, prefix) for n in names],))
    job.start()
    for name in names:
        wait_for(name)
    before = pool.workers_status()
    check_fields(before, state="busy", tasks=1, **wanted)
    time.sleep(0.1)
    after = pool.workers_status()
    for early, late in zip(before, after):
        assert early[:-1] == late[:-1], (early, late)
        assert 0 <= early.seconds <= late.seconds - 0.09, (early, late)
    touch(prefix)
    job.join()
    check_fields(pool.workers_status(), state="idle", tasks=0, callable=None)
    return before


with MPIPool() as pool:
    case("before anything was begun")
    deadline = time.monotonic() + 30
    while any(status.host is None for status in pool.workers_status()):
        assert time.monotonic() < deadline, pool.workers_status()
    check_fields(pool.workers_status(), state="idle", seconds=None)
    check_fields(pool.workers_status(), callable=None, first_task=None, tasks=0)
    ranks = [status.rank for status in pool.workers_status()]
    assert ranks == sorted(pool.workers), ranks

    case("while another thread is in map")
    found = check_busy(lambda tasks: pool.map(task, tasks), "a", callable="task")
    assert sorted(status.first_task for status in found) == list(range(pool.size))
    assert "has run task 0 of task for 0." in "\n".join(map(str, found)), found

    case("while the driver's thread drives")
    found = check_busy(
        lambda tasks: pool.map_async(task, tasks, chunksize=1).get(), "b", callable="task"
    )
    assert sorted(status.first_task for status in found) == list(range(pool.size))

    case("single calls")
    found = check_busy(
        lambda tasks: [f.result() for f in [pool.submit(task, t) for t in tasks]],
        "c",
        callable="task",
        first_task=None,
    )
    assert "has run a call of task for" in str(found[0]), str(found[0])

    case("several tasks in one message")
    tasks = [("d-0", "d")] + [("d", "d")] * 2
    job = threading.Thread(target=pool.map, args=(task, tasks), kwargs={"chunksize": 3})
    job.start()
    wait_for("d-0")
    found = [each for each in pool.workers_status() if each.state == "busy"]
    assert [(each.first_task, each.tasks) for each in found] == [(0, 3)], found
    assert "tasks 0 to 2 of task" in str(found[0]), str(found[0])
    touch("d")
    job.join()

    case("in a callback of the map itself")
    seen = []
    pool.map(abs, [1, 2], lambda result: seen.append(pool.workers_status()))
    assert len(seen) == 2 and all(len(each) == pool.size for each in seen), seen

    case("other callables than functions")
    for function, name in (
        (functools.partial(task), "task"),
        (Model().method, "Model.method"),
        (Model(), "Model"),
        (lambda names: task(names), "<lambda>"),
    ):
        check_busy(functools.partial(pool.map, function), name, callable=name)

    case("with a checkpoint: what workers call in its place is not named")
    for method, name in ((pool.map, "kept"), (pool.starmap, "kept-star")):
        kept = functools.partial(method, checkpoint="status.sqlite")
        function = Model().method if method == pool.map else call_with_both
        check_busy(
            functools.partial(kept, function), name, callable=function.__qualname__
        )

    case("by what pickles an object for the pool")
    error = raised(pool.map, str, [Asks()])
    assert type(error) is RuntimeError and "what pickles" in told(error), repr(error)

    case("from a task")
    error = raised(pool.map, lambda x: pool.workers_status(), [0])
    assert type(error) is RuntimeError, repr(error)

    if pool.size > 1:
        case("a job that was given up")
        job = [("g-begun", "g"), ("fails", "g")]
        error = raised(pool.map, failing, [job[1], job[0]], chunksize=1)
        assert type(error) is ValueError, repr(error)
        found = [each for each in pool.workers_status() if each.state == "busy"]
        assert [each.callable for each in found] == [None], found
        assert "of a job that was given up" in str(found[0]), str(found[0])
        touch("g")
        while any(each.state == "busy" for each in pool.workers_status()):
            pass
    check_works(pool)
case("when the pool is closed")
check_fields(pool.workers_status(), state="idle", tasks=0)
print("ok")
