"""Processes that are forked: workers, and children of workers.

Workers where no launcher started any, for ``MPIPool(fallback="local")``: the same engine,
over sockets and shared memory in place of MPI (csrc/transport_local.c). `begin` forks
them. Children of workers that isolate tasks, for ``MPIPool(isolate=True)``: csrc/guard.c
forks these. What both run is here, below.
"""

from __future__ import annotations

import functools
import os
import sys

from . import _ezmpi, _mpi

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn, Optional, Tuple

siblings = 0  # in a worker: how many there are of its pool
_is_forked = False  # a worker, or the child of one


# ---- in whatever process makes a pool: the script's, or every rank's -------------------


def refuse_inside() -> None:
    """Raise in a forked process: a worker, or the child of one."""
    if _is_forked:
        raise RuntimeError(
            "a task cannot make a pool here: make it in the script, and give it more "
            "tasks; for processes of a task's own take multiprocessing"
        )


def check(fallback: Optional[str], processes: Optional[int]) -> None:
    """Raise for what no pool can be made with."""
    if fallback not in (None, "local"):
        raise ValueError(f'fallback must be "local" or None, not {fallback!r}')
    if processes is None:
        return
    if fallback is None:
        raise ValueError(
            "how many workers there are is the launcher's to say: mpiexec -n; processes "
            'counts where there is no launcher: fallback="local"'
        )
    if not isinstance(processes, int) or isinstance(processes, bool):
        raise TypeError(
            f"processes must be an int or None, not {type(processes).__name__}"
        )
    if processes < 1:
        raise ValueError(f"processes must be at least 1, not {processes}")


def is_isolation_set() -> bool:
    """Whether the environment says that tasks are isolated."""
    return os.environ.get("EZMPI_ISOLATE", "0") not in ("", "0")


def isolation(isolate: Optional[bool], use_dill: bool) -> Any:
    """The transport to the children that workers fork for tasks; None: they do not."""
    if isolate is not None and not isinstance(isolate, bool):
        raise TypeError(f"isolate must be True, False or None, not {isolate!r}")
    if isolate is None:
        isolate = is_isolation_set()
    if not isolate:
        return None
    if use_dill:
        try:
            import dill  # noqa: F401  once, and not in each child
        except ImportError:
            pass
    return _mpi.start_local()


def nanoseconds(task_timeout: Any, is_isolated: bool) -> int:
    """What a task may take."""
    if not is_isolated:
        raise ValueError(
            "task_timeout needs isolate=True: only a process of its own can be ended"
        )
    if isinstance(task_timeout, bool) or not isinstance(task_timeout, (int, float)):
        raise TypeError(
            f"task_timeout must be a number of seconds, not {type(task_timeout).__name__}"
        )
    if not 0 < task_timeout < 1e9:
        raise ValueError(
            f"task_timeout must be above 0 and below 1e9 seconds, not {task_timeout}"
        )
    return max(1, int(1e9 * task_timeout))


def processors() -> int:
    """How many this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


# ---- in the script's process -----------------------------------------------------------


def begin(
    processes: Optional[int],
    use_dill: bool,
    local: Any,
    forget_pools: Callable[[], None],
    begin_worker: Callable[[], None],
) -> Tuple[Any, Any]:
    """Fork the workers: the transport, and what the pool is made on.

    That ends them when it goes, if none was. In a worker it calls what a worker begins
    with, serves the pool, and does not return; local is as `isolation` has it.

    Raises
    ------
    TransportError
        If no process can be forked.
    """
    transport = _mpi.start_local()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()  # or each worker writes it again
    # What workers import at first another thread may be importing: then it would
    # never be done there.
    from . import _by_value, _hello, _main, _pickling  # noqa: F401

    workers = processes or processors()
    first = begin_worker, forget_pools
    serve = functools.partial(_serve, first, workers, transport, use_dill, local)
    return transport, _ezmpi.fork_workers(transport, workers, serve)


# ---- in the process that was forked ----------------------------------------------------


def _serve(
    first: Tuple[Callable[[], None], ...],
    workers: int,
    transport: Any,
    use_dill: bool,
    local: Any,
    handle: int,
) -> None:
    """What a worker does; `begin` forks it."""
    global siblings
    siblings = workers
    work = functools.partial(_work, transport, handle, use_dill, local)
    _be(transport, handle, *first, work)


def _work(transport: Any, handle: int, use_dill: bool, local: Any) -> None:
    try:
        _ezmpi.MPIPool(transport, handle, use_dill, local=local)
    except SystemExit:
        pass


def run_child(crew: Any, handle: int, number: int) -> NoReturn:
    """What the child of a guard does, which had others before; csrc/guard.c calls it."""
    from .pool import forget

    if number > 1 and "numpy.random" in sys.modules:
        # Or it would draw what the one before has drawn. Python's own generator gets a
        # new state at each fork.
        sys.modules["numpy.random"].seed()
    _be(
        _mpi.start_local(), handle, forget, functools.partial(_ezmpi.serve_in_child, crew)
    )


def _be(transport: Any, handle: int, *what: Callable[[], object]) -> NoReturn:
    """Be a process that was forked: nothing of the script it is a copy of goes on."""
    global _is_forked
    _is_forked = True
    code = 1
    try:
        for each in what:
            each()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BaseException:
                pass  # nobody reads it, or the task has closed it
        if code == 0:
            _ezmpi.part(transport, handle)
        os._exit(code)
