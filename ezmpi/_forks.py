"""Workers that this process forks, where no launcher started any.

For ``MPIPool(fallback="local")``: the same engine, over sockets and shared memory in
place of MPI (csrc/transport_local.c).
"""

from __future__ import annotations

import os
import sys

from . import _ezmpi, _mpi

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, NoReturn, Optional, Tuple

siblings = 0  # in a worker: how many there are of its pool


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


def processors() -> int:
    """How many this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def begin(
    processes: Optional[int],
    use_dill: bool,
    forget_pools: Callable[[], None],
    begin_worker: Callable[[], None],
) -> Tuple[Any, Any]:
    """Fork the workers: the transport, and what the pool is made on.

    That ends them when it goes, if none was. In a worker it calls what a worker begins
    with, serves the pool, and does not return.

    Raises
    ------
    RuntimeError
        In a worker of such a pool.
    TransportError
        If no process can be forked.
    """
    if siblings:
        raise RuntimeError("a task cannot fork workers for a pool of its own")
    transport = _mpi.start_local()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()  # or each worker writes it again
    # What workers import at first another thread may be importing: then it would
    # never be done there.
    from . import _by_value, _hello, _main, _pickling  # noqa: F401

    workers = processes or processors()

    def serve(handle: int) -> None:
        _serve(transport, handle, workers, use_dill, (begin_worker, forget_pools))

    return transport, _ezmpi.fork_workers(transport, workers, serve)


def _serve(
    transport: Any,
    handle: int,
    workers: int,
    use_dill: bool,
    first: Iterable[Callable[[], None]],
) -> NoReturn:
    """The script that the worker is a copy of goes on in the master alone."""
    global siblings
    siblings = workers
    code = 1
    try:
        for each in first:
            each()
        _ezmpi.MPIPool(transport, handle, use_dill)
    except SystemExit:
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            pass  # nobody reads it, or the task has closed it
        if code == 0:
            _ezmpi.part(transport, handle)
        os._exit(code)
