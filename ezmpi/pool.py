"""MPIPool: the C type and the conveniences that need no speed."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import weakref

from . import _ezmpi, _forks, _mpi, errors

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from types import TracebackType
    from typing import (
        Any,
        Callable,
        Iterable,
        Iterator,
        List,
        Mapping,
        Optional,
        Set,
        Tuple,
        Type,
        Union,
    )

    from ._checkpoint import Key, Path
    from ._failures import Failures, RetryOn, Types
    from ._future import AsyncResult, PoolFuture
    from ._progress import Display, Wanted
    from ._shared import Shared
    from ._signals import Hook
    from ._status import WorkerStatus

__all__ = ["MPIPool", "Pool"]

_ENDING_SECONDS = 5.0  # what busy workers get to end with the master ...
_TERMINATED_SECONDS = 1.0  # ... and isolating ones with a pool of their own, ...
_INTERRUPTED_SECONDS = 2.0  # ... and when Ctrl-C ended it: somebody waits

WINDOW = 1000  # tasks for each worker that imap draws ahead of what was taken

_AT_ONCE_SECONDS = 0.5  # ... and when end_at_once was called
_is_ending = False  # the process is
_code_at_once: Optional[int] = None

# A pool that comes back to the process that made it is that pool again.
_process_token = os.urandom(16).hex()
_pools: "weakref.WeakValueDictionary[int, MPIPool]" = weakref.WeakValueDictionary()


class MPIPool(_ezmpi.MPIPool):
    """A pool of MPI processes: rank 0 hands tasks out, the other ranks run them.

    Every rank of the communicator makes the pool. On rank 0, the master, it returns
    and `map` can be used. On the other ranks, the workers, it serves the master until
    the master's process ends, and then ends the worker with ``sys.exit(0)``: what
    follows in the script runs on the master alone.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or int, optional
        The communicator, as an mpi4py object or a Fortran handle. Default: the world.
    use_dill : bool, optional
        With True (the default) lambdas, local functions and what the script defined
        after the pool was made can be sent. With False only what `pickle` does, by
        reference.
    test_mode : bool, optional
        With True a worker's constructor returns after one `close` of the master
        instead of ending the process; `wait` then serves again.
    initializer : callable, optional
        Called once on each worker, before its first task of this pool.
    initargs : tuple, optional
        The arguments of `initializer`.
    threads_per_worker : int or "auto", optional
        How many threads BLAS and OpenMP libraries use on a worker, from its first task
        of this pool on; needs threadpoolctl. With "auto" the processors of the host
        over its ranks. Default: what they use already.
    retries : int, optional
        How often at most a task is run again that has failed with an exception of
        `retry_on`, or with `WorkerDied` or `TaskTimeout`: of a map, of `submit`, `apply`
        and `apply_async`. Another worker runs it, where one is free. Then the last
        exception counts. Without `retry_on`, what a task raises is final.
    retry_on : type or tuple of types, optional
        After what exceptions of a task; also one that cannot be pickled, and is raised as
        a `RemoteError`. `WorkerDied` and `TaskTimeout` need no mention. Default: none. A
        task's `SystemExit` is meant by `SystemExit` and `TaskExit`, not by `Exception`.
    isolate : bool, optional
        Whether each worker runs tasks in a process that it forks. One that dies, by a
        signal, by `os._exit` or for want of memory, then costs the task that it ran,
        which raises `WorkerDied`, and not the job: another is forked. Give it on every
        rank, to the first pool on a communicator: later ones have the same workers, and
        are isolated, too. Default: whether the environment has ``EZMPI_ISOLATE=1``.
    task_timeout : float, optional
        Seconds that a task of this pool may run, from where it begins: one that takes
        longer is killed, and raises `TaskTimeout`. Needs `isolate`. Default: any.
    fallback : "local", optional
        Where no launcher started several processes, as in a notebook or with plain
        ``python script.py``, and no `comm` is given, workers are forked here, and end
        with the pool. Default: a ValueError there.
    processes : int, optional
        How many workers are then forked; under a launcher it has no meaning. Default:
        the processors that this process may use.
    on_signal : callable, optional
        Called as ``on_signal(signum)`` on the master, in its main thread, when SIGUSR1 or
        SIGTERM comes, as queues send it before a job's time is over. What it raises is
        raised where the script is, for example out of `map`. When it returns, the script
        goes on after SIGUSR1, and ends with code 143 after SIGTERM; but a handler that
        was there before the pool is called instead. If it returns true nothing else is
        done. Workers ignore both signals; give it on every rank. What was there before is
        restored when the pool is closed and nothing of it is left.

    Attributes
    ----------
    rank : int
        This process's rank in the communicator.
    size : int
        Number of workers (not of processes), on every rank; on rank 0 without those
        that have died, where a job survives that.
    master : int
        The master's rank, 0.
    workers : set of int
        The workers' ranks.
    comm : mpi4py.MPI.Comm or int
        The communicator: mpi4py's object where mpi4py is there, else the handle; None
        where the workers were forked.
    closed : bool
        Whether `close` or `terminate` was called; True on workers.

    Raises
    ------
    TransportError
        If no MPI library is found that fits the launcher, or MPI reports an error.
    ValueError
        If there is only one MPI process, and no `fallback`; if `threads_per_worker` or
        `processes` is below 1, or `retries` below 0; if `on_signal` is given in another
        thread than the main one; or if `task_timeout` is given and tasks are not
        isolated, or `isolate` and a worker does not do so.
    TypeError
        If `comm` is neither a communicator nor an int, `initializer` or `on_signal` is
        not callable, `initargs` is not iterable, `retries` is not an int, `isolate` not a
        bool, `task_timeout` not a number, or `retry_on` does not hold exception types.
    ImportError
        If `threads_per_worker` is given and threadpoolctl is not installed.
    RuntimeError
        If made in a task, on a communicator of the worker that runs it, or in a worker
        that was forked; or if
        ``__init__`` is called again.
    Exception
        On the master, what pickling `initializer` and `initargs` raised.
    SystemExit
        On a worker, with code 0, when the master's process ends; not in `test_mode`.

    Notes
    -----
    A worker that is free gets the next chunk: self-scheduling [1]_. Large buffers
    travel beside the pickles, not in them [2]_.

    References
    ----------
    .. [1] P. Tang and P.-C. Yew, "Processor self-scheduling for multiple-nested
       parallel loops", Proceedings of the 1986 International Conference on Parallel
       Processing, pp. 528-535.
    .. [2] A. Pitrou, "Pickle protocol 5 with out-of-band data", PEP 574, 2018.

    Examples
    --------
    With the following in ``script.py``, ``mpiexec -n 4 python script.py`` prints
    ``[0, 1, 4, 9]``::

        from ezmpi import MPIPool

        def square(x):
            return x * x

        with MPIPool() as pool:
            print(pool.map(square, range(4)))
    """

    master: int = 0
    _retries: Tuple[int, Types] = (0, ())  # at most, and after what
    _timeout = 0  # nanoseconds that a task may take; 0: any
    _hook: Optional[Hook] = None
    _is_isolated = False

    def __init__(
        self,
        comm: Any = None,
        use_dill: bool = True,
        test_mode: bool = False,
        *,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
        threads_per_worker: Union[int, str, None] = None,
        retries: int = 0,
        retry_on: RetryOn = (),
        isolate: Optional[bool] = None,
        task_timeout: Optional[float] = None,
        fallback: Optional[str] = None,
        processes: Optional[int] = None,
        on_signal: Optional[Callable[[int], object]] = None,
    ) -> None:
        _refuse_spawned()
        _forks.refuse_inside()
        if self._is_masters():  # before anything of its own is ended for a failure
            raise RuntimeError("a pool is initialised once")
        _forks.check(fallback, processes)
        stall = _watcher()
        _pools[id(self)] = self
        initargs = tuple(initargs)
        if threads_per_worker is not None:
            from . import _threads

            _threads.check(threads_per_worker)
            initargs = threads_per_worker, initializer, initargs
            initializer = _threads.begin
        plan = None
        if retries or retry_on != ():
            from . import _failures

            self._retries = _failures.check(retries, retry_on)
            plan = _failures.make_plan(*self._retries)
        local = _forks.isolation(isolate, use_dill)
        if task_timeout is not None:
            self._timeout = _forks.nanoseconds(task_timeout, local is not None)
        self._is_isolated = local is not None
        self._is_local = self._is_to_fork(fallback, comm)
        transport = handle = None
        if not self._is_local:
            transport, handle = _mpi.start(), _mpi.handle(comm)
        if on_signal is not None:
            from . import _signals

            self._hook = _signals.Hook(on_signal)
            if initializer is None or callable(initializer):  # else it is refused
                initargs = initializer, initargs
                initializer = _signals.begin
        try:
            if self._is_local:
                transport, handle = self._fork(processes, use_dill, local)
                test_mode = False
            super().__init__(
                transport,
                handle,
                use_dill,
                test_mode,
                initializer,
                initargs,
                plan,
                local,
                self._timeout,
            )
            if self._hook is not None:
                self._begin_hook(self._hook)
            _watch_exit()
            if stall is not None:
                stall.watch()
            if _is_ending:
                self._end()
        except BaseException as error:
            handle = None  # the exception holds what is here: workers end now
            if self._is_local and self._is_masters():
                self._part(0)
            if not isinstance(error, SystemExit):  # a worker's end: it ignores on
                self._remove_hook()
            raise

    def _fork(
        self, processes: Optional[int], use_dill: bool, local: Any
    ) -> Tuple[Any, Any]:
        fork = functools.partial(_forks.begin, processes, use_dill, local, forget)
        if self._hook is None:
            return fork(lambda: None)
        from . import _signals

        pair: Tuple[Any, Any] = _signals.forking(fork)
        return pair

    @staticmethod
    def _is_to_fork(fallback: Optional[str], comm: Any) -> bool:
        return fallback is not None and comm is None and _mpi.is_alone()

    def map(  # type: ignore[override]
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        callback: Union[Callable[[Any], object], int, None] = None,
        return_results: bool = True,
        *,
        chunksize: Optional[int] = None,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Optional[List[Any]]:
        """Call ``worker(task)`` for every task, on the workers.

        Tasks start in order and are drawn lazily: with ``return_results=False`` a
        generator of any length runs in constant memory. Several maps may run at once,
        each in a thread of its own, or called from another's callback or tasks.

        Parameters
        ----------
        worker : callable
            Takes one task. It is sent once to each worker that does not hold it yet.
        tasks : iterable
            What to call it with.
        callback : callable or int, optional
            Called with each result, in the order in which results come, in the thread
            that called `map`. An int here is `chunksize`, as in `multiprocessing`.
        return_results : bool, optional
            With False the results are not kept, and None is returned.
        chunksize : int, optional
            Tasks sent in one message, at least 1. Default: as many as run for about
            0.1 ms, by what came back so far; long tasks one by one.
        progress : bool, str or callable, optional
            True, or a description: a bar on standard error, of `tqdm` [2]_, with tasks
            done, rate, remaining time and busy workers. It is shown where standard
            error, or the launcher's on this host, is a terminal, in a notebook, and
            where the environment has ``EZMPI_PROGRESS=1`` (0: nowhere). A callable gets
            the numbers instead, about ten times a second and at the end: tasks done, of
            how many (None: not known before an iterable without a length ends), and
            workers that have tasks, of this or another job.
        on_error : {"raise", "return"}, optional
            With "return" what a task raised stands in place of its result, also for
            `callback`, and the others go on.
        retries : int, optional
            How often at most a task is run again that failed with an exception of
            `retry_on`. Default: the pool's.
        retry_on : type or tuple of types, optional
            After what exceptions. Default: the pool's.
        checkpoint : str or path-like, optional
            A file that results are written to as they come, within a second. Where it
            holds some already, as of a run of the same script that was killed, these
            are taken from it, and their tasks are not run. See :doc:`checkpoint`.
        checkpoint_key : callable, optional
            Called with a task, gives what it is recognised by: for tasks that are equal
            and do not pickle to equal bytes, such as sets. Default: its pickle.

        Returns
        -------
        list or None
            The results in the order of the tasks. On a worker, where `map` is
            `wait`, None.

        Raises
        ------
        Exception
            What the lowest-numbered failed task raised, with the worker's traceback
            as its cause and a note that names task, rank and host. No later task is
            begun; the pool can be used on.
        RemoteError
            If that exception cannot be pickled or made again on the master.
        TaskExit
            If a task called `sys.exit`.
        BrokenPoolError
            If the initializer failed.
        PoolClosedError
            If the pool is closed.
        RuntimeError
            If called from inside a task, in a forked child, or by what pickles an
            object for the pool; or from another thread than the one that made the
            pool, where MPI was initialised for one thread only.
        TypeError, ValueError
            If an argument is not of its kind, `chunksize` is below 1, or `retries`
            below 0.
        KeyboardInterrupt
            At Ctrl-C, at once; the pool can be used on.
        TransportError
            If MPI reports an error.
        ImportError
            If `progress` wants a bar, and tqdm is not installed.
        CheckpointError
            If the file holds results of another callable or of other tasks, is in use
            by another process, or cannot be read or written.

        Notes
        -----
        Of several failures the lowest is raised, not the first to come, since that is
        the one that a serial loop meets, and `concurrent.futures.Executor.map`, too.

        Without a `chunksize`, chunks double from one task until they run for 0.1 ms, or
        longer where hundreds of workers keep the master busy. They are at most half of
        a worker's share of the tasks that are left [1]_, or a few microseconds' worth,
        and one task again after a chunk that took far longer than expected: what of it
        was not begun by then goes to other workers. What was learned of a callable is
        used by the next `map` with it.

        References
        ----------
        .. [1] S. F. Hummel, E. Schonberg, L. E. Flynn, "Factoring: a method for
           scheduling parallel loops", Communications of the ACM 35 (8), 1992.
        .. [2] https://tqdm.github.io

        Examples
        --------
        >>> pool.map(abs, [-1, 2, -3])
        [1, 2, 3]
        """
        if checkpoint is not None or checkpoint_key is not None:
            return self._map_kept(
                (checkpoint, checkpoint_key, worker, False, tasks),
                self._failures(on_error, retries, retry_on),
                (callback, return_results, chunksize),
                progress,
            )
        if on_error != "raise" or retries is not None or retry_on is not None:
            return self._map_with(
                self._failures(on_error, retries, retry_on),
                (worker, tasks, callback, return_results),
                chunksize,
                progress,
            )
        if progress is not None:
            arguments = worker, tasks, callback, return_results
            return self._map_with(None, arguments, chunksize, progress)
        # not super(), which costs some per cent of a map of one task
        results: Optional[List[Any]] = _ezmpi.MPIPool.map(
            self, worker, tasks, callback, return_results, chunksize=chunksize
        )
        return results

    def _map_kept(
        self,
        call_arguments: Tuple[Any, Any, Callable[..., Any], bool, Iterable[Any]],
        failures: Optional[Failures],
        others: Tuple[Any, bool, Optional[int]],
        progress: Wanted,
    ) -> Optional[List[Any]]:
        """`map` or `starmap` with a checkpoint."""
        base = functools.partial(_ezmpi.MPIPool.map, self)
        _, _, worker, _, tasks = call_arguments
        callback, return_results, chunksize = others
        if self.is_worker() or not (callback is None or callable(callback)):
            if callback is None or type(callback) is not int or chunksize is not None:
                none: Optional[List[Any]] = base(
                    worker, (), callback, chunksize=chunksize
                )
                return none  # it was `wait`, or has refused the callback
            callback, chunksize = None, callback
        from ._checkpoint import Call

        call = Call(*call_arguments)
        with self._display(progress, tasks) as show:

            def run(function: Any, missing: Iterable[Any], arrived: Any) -> None:
                further: Any = {"chunksize": chunksize, "_failures": failures}
                if show is not None:
                    further["progress"] = call.shown(show)
                base(function, missing, None, False, _arrived=arrived, **further)

            return call.map(run, callback, return_results)

    def _map_with(
        self,
        failures: Optional[Failures],
        arguments: Tuple[Any, ...],
        chunksize: Optional[int],
        progress: Wanted,
    ) -> Optional[List[Any]]:
        mapped = functools.partial(
            super().map, *arguments, chunksize=chunksize, _failures=failures
        )
        results: Optional[List[Any]] = (
            mapped()
            if progress is None
            else self._show_while(mapped, progress, arguments[1])
        )
        return results

    def _failures(
        self, on_error: str, retries: Optional[int], retry_on: Optional[RetryOn]
    ) -> Optional[Failures]:
        """What C is told; None: as usual with this pool."""
        if on_error == "raise" and retries is None and retry_on is None:
            return None
        from . import _failures

        arguments = on_error, retries, retry_on, self._retries
        is_returned, plan = _failures.of_call(*arguments)
        return is_returned, plan, self._timeout

    def _show_while(
        self, mapped: Callable[..., Any], progress: Wanted, tasks: Iterable[Any]
    ) -> Any:
        with self._display(progress, tasks) as show:
            return mapped(progress=show)

    def _display(self, progress: Wanted, tasks: Iterable[Any]) -> Display:
        from . import _progress

        return _progress.Display(progress if self.is_master() else None, tasks)

    # --- multiprocessing.Pool ---

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},  # noqa: B006
    ) -> Any:
        """Call ``func(*args, **kwds)`` on a worker, and wait for the result.

        Parameters
        ----------
        func : callable
            What to call.
        args : iterable, optional
            Its arguments.
        kwds : mapping, optional
            Its keyword arguments.

        Returns
        -------
        object
            What it returned.

        Raises
        ------
        Exception
            What it raised, with the worker's traceback as its cause.
        BrokenPoolError, PoolClosedError, RuntimeError, TypeError, TransportError
            As `map`.

        Examples
        --------
        >>> pool.apply(pow, (2, 3))
        8
        """
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},  # noqa: B006
        callback: Optional[Callable[[Any], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> AsyncResult:
        """Have ``func(*args, **kwds)`` called on a worker, and go on.

        Parameters
        ----------
        func : callable
            What to call.
        args : iterable, optional
            Its arguments; pickled before this returns.
        kwds : mapping, optional
            Its keyword arguments.
        callback : callable, optional
            Called with the result, in a thread of the pool's, before `get` returns it.
            It should be quick: other callbacks wait for it. What it raises is logged.
        error_callback : callable, optional
            The same, with what the call raised.

        Returns
        -------
        AsyncResult
            With methods ``get``, ``wait``, ``ready`` and ``successful``. What pickling
            `func`, `args` or `kwds` raised counts as what the call raised.

        Raises
        ------
        PoolClosedError, RuntimeError, TypeError, TransportError
            As `map`.

        Examples
        --------
        >>> result = pool.apply_async(pow, (2, 3))
        >>> result.get(timeout=10)
        8
        """
        future = _new_future(callback, error_callback)
        future._ticket = self._call(func, tuple(args), dict(kwds), future, None)
        result: AsyncResult = _future().AsyncResult(future)
        return result

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[List[Any]], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
    ) -> AsyncResult:
        """Begin a `map`, and go on.

        Parameters
        ----------
        func : callable
            Takes one task.
        iterable : iterable
            The tasks. A list may be changed at once; another iterable is drawn from
            as the workers need tasks, in a thread of the pool's.
        chunksize : int, optional
            As of `map`.
        callback : callable, optional
            Called once with the list of results, in a thread of the pool's, before
            `get` returns it. It should be quick: other callbacks wait for it. What it
            raises is logged.
        error_callback : callable, optional
            The same, with the exception of the lowest-numbered failed task.
        progress : bool, str or callable, optional
            As of `map`, in a thread of its own.
        on_error, retries, retry_on : optional
            As of `map`.

        Returns
        -------
        AsyncResult
            Its `get` gives what `map` would, or raises it.

        Raises
        ------
        PoolClosedError, RuntimeError, TransportError
            As `map`.
        TypeError, ValueError
            If an argument is not of its kind, or `chunksize` is below 1.
        Exception
            What pickling `func` raised.

        Examples
        --------
        >>> pool.map_async(abs, [-1, 2, -3]).get()
        [1, 2, 3]
        """
        failures = self._failures(on_error, retries, retry_on)
        arguments = func, iterable, False, chunksize
        return self._begin_map(arguments, failures, callback, error_callback, progress)

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[List[Any]], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
    ) -> AsyncResult:
        """Begin a `starmap`, and go on.

        Parameters
        ----------
        func : callable
            Takes what a task holds.
        iterable : iterable of iterables
            The tasks, as of `map_async`.
        chunksize : int, optional
            As of `map`.
        callback, error_callback : callable, optional
            As of `map_async`.
        progress : bool, str or callable, optional
            As of `map_async`.
        on_error, retries, retry_on : optional
            As of `map`.

        Returns
        -------
        AsyncResult
            Its `get` gives what `starmap` would, or raises it.

        Raises
        ------
        Exception
            As `map_async`.

        Examples
        --------
        >>> pool.starmap_async(pow, [(2, 3), (3, 2)]).get()
        [8, 9]
        """
        failures = self._failures(on_error, retries, retry_on)
        arguments = func, iterable, True, chunksize
        return self._begin_map(arguments, failures, callback, error_callback, progress)

    def _begin_map(
        self,
        arguments: Tuple[Callable[..., Any], Iterable[Any], bool, Optional[int]],
        failures: Optional[Failures],
        callback: Optional[Callable[[List[Any]], object]],
        error_callback: Optional[Callable[[BaseException], object]],
        progress: Wanted,
    ) -> AsyncResult:
        func, iterable, star, chunksize = arguments
        display = None if progress is None else self._display(progress, iterable)
        future = _new_future(callback, error_callback)
        future._ticket = self._begin(func, iterable, future, star, chunksize, failures)
        if display is not None and display.show is not None:
            from . import _progress

            _progress.follow(future, display)
        result: AsyncResult = _future().AsyncResult(future)
        return result

    def starmap(  # type: ignore[override]
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> List[Any]:
        """Call ``func(*task)`` for every task, on the workers.

        Parameters
        ----------
        func : callable
            Takes what a task holds.
        iterable : iterable of iterables
            The tasks: the arguments of each call.
        chunksize : int, optional
            As of `map`.
        progress : bool, str or callable, optional
            As of `map`.
        on_error, retries, retry_on, checkpoint, checkpoint_key : optional
            As of `map`.

        Returns
        -------
        list
            The results in the order of the tasks.

        Raises
        ------
        Exception
            As `map`.

        Examples
        --------
        >>> pool.starmap(pow, [(2, 3), (3, 2)])
        [8, 9]
        """
        failures = self._failures(on_error, retries, retry_on)
        if checkpoint is not None or checkpoint_key is not None:
            kept = self._map_kept(
                (checkpoint, checkpoint_key, func, True, iterable),
                failures,
                (None, True, chunksize),
                progress,
            )
            return kept  # type: ignore[return-value]
        arguments = func, iterable, chunksize
        mapped = functools.partial(super().starmap, *arguments, _failures=failures)
        results: List[Any] = (
            mapped() if progress is None else self._show_while(mapped, progress, iterable)
        )
        return results

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Iterator[Any]:
        """Call ``func(task)`` for every task, and give the results in order as they come.

        Work begins at once. It is at most a thousand tasks for each worker ahead of
        what was taken, so that an iterable without end can be used.

        Parameters
        ----------
        func : callable
            Takes one task.
        iterable : iterable
            The tasks, as of `map_async`.
        chunksize : int, optional
            As of `map`; with 1 each result is sent as soon as it is there. Default: a
            result may wait for others of its chunk, by what was seen for 0.1 ms.
        progress : bool, str or callable, optional
            As of `map`, while results are taken.
        on_error : {"raise", "return"}, optional
            With "return" what a task raised is given in its place, and not raised.
        retries, retry_on : optional
            As of `map`.
        checkpoint, checkpoint_key : optional
            As of `map`. Results are written when they come, not when they are taken.

        Returns
        -------
        iterator
            Each result as soon as it and all before it are there. Its method
            ``next(timeout=None)`` raises `TimeoutError` where none is in so many
            seconds. When the iterator goes, what was not begun is not begun.

        Raises
        ------
        Exception
            From the iterator: what a task raised, in its place; the next ``next`` goes
            on behind it. What the iterable raised, behind all results of the tasks
            before; and that is the end.
        PoolClosedError, RuntimeError, TypeError, ValueError, TransportError
            As `map_async`.

        Examples
        --------
        >>> results = pool.imap(abs, [-1, 2, -3])
        >>> next(results), results.next(timeout=10)
        (1, 2)
        """
        failures = self._failures(on_error, retries, retry_on)
        arguments = func, iterable, False, False, chunksize
        file = checkpoint, checkpoint_key
        return self._iterate_over(arguments, failures, progress, file)

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Iterator[Any]:
        """Call ``func(task)`` for every task, and give the results as they come.

        Parameters
        ----------
        func : callable
            Takes one task.
        iterable : iterable
            The tasks, as of `map_async`.
        chunksize : int, optional
            As of `imap`.
        progress : bool, str or callable, optional
            As of `imap`.
        on_error, retries, retry_on, checkpoint, checkpoint_key : optional
            As of `imap`.

        Returns
        -------
        iterator
            As of `imap`, but each result as soon as it is there.

        Raises
        ------
        Exception
            As `imap`.

        Examples
        --------
        >>> sorted(pool.imap_unordered(abs, [-1, 2, -3]))
        [1, 2, 3]
        """
        failures = self._failures(on_error, retries, retry_on)
        arguments = func, iterable, False, True, chunksize
        file = checkpoint, checkpoint_key
        return self._iterate_over(arguments, failures, progress, file)

    def istarmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Iterator[Any]:
        """Call ``func(*task)`` for every task: the `imap` of `starmap`.

        Parameters
        ----------
        func : callable
            Takes what a task holds.
        iterable : iterable of iterables
            The tasks, as of `map_async`.
        chunksize : int, optional
            As of `imap`.
        progress : bool, str or callable, optional
            As of `imap`.
        on_error, retries, retry_on, checkpoint, checkpoint_key : optional
            As of `imap`.

        Returns
        -------
        iterator
            As of `imap`.

        Raises
        ------
        Exception
            As `imap`.

        Examples
        --------
        >>> list(pool.istarmap(pow, [(2, 3), (3, 2)]))
        [8, 9]
        """
        failures = self._failures(on_error, retries, retry_on)
        arguments = func, iterable, True, False, chunksize
        file = checkpoint, checkpoint_key
        return self._iterate_over(arguments, failures, progress, file)

    def istarmap_unordered(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Iterator[Any]:
        """Call ``func(*task)`` for every task: the `imap_unordered` of `starmap`.

        Parameters
        ----------
        func : callable
            Takes what a task holds.
        iterable : iterable of iterables
            The tasks, as of `map_async`.
        chunksize : int, optional
            As of `imap`.
        progress : bool, str or callable, optional
            As of `imap`.
        on_error, retries, retry_on, checkpoint, checkpoint_key : optional
            As of `imap`.

        Returns
        -------
        iterator
            As of `imap_unordered`.

        Raises
        ------
        Exception
            As `imap`.

        Examples
        --------
        >>> sorted(pool.istarmap_unordered(pow, [(2, 3), (3, 2)]))
        [8, 9]
        """
        failures = self._failures(on_error, retries, retry_on)
        arguments = func, iterable, True, True, chunksize
        file = checkpoint, checkpoint_key
        return self._iterate_over(arguments, failures, progress, file)

    def _iterate_over(
        self,
        arguments: Tuple[Callable[..., Any], Iterable[Any], bool, bool, Optional[int]],
        failures: Optional[Failures],
        progress: Wanted,
        file: Tuple[Optional[Path], Key],
    ) -> Iterator[Any]:
        func, iterable, star, unordered, chunksize = arguments
        show = None if progress is None else self._display(progress, iterable).show
        if self.is_worker() or file == (None, None):
            return self._iterate(*arguments, self._window, show, failures)
        from ._checkpoint import Call, Results

        call = Call(*file, func, star, iterable)
        iterator = self._iterate(
            call.worker,
            call.missing(),
            False,
            unordered,
            chunksize,
            self._window,
            call.shown(show),
            failures,
            call.keep,
            call.calm,
        )
        return Results(call, iterator, unordered)

    def join(self) -> None:
        """Wait until all that was begun before `close` is done.

        Also for tasks that still run though their `map` has failed; but after
        `terminate` for nothing.

        Raises
        ------
        ValueError
            If the pool is not closed.
        RuntimeError
            If called from a callback or the tasks' iterator of a map of this pool.

        Examples
        --------
        >>> pool.close()
        >>> pool.join()
        """
        if not self.closed:
            raise ValueError("the pool is not closed: call close or terminate first")
        self._join(None, True)
        self._part(_ENDING_SECONDS)
        self._remove_hook_if_over()

    def terminate(self) -> None:
        """Close the pool, and wait for nothing that was begun.

        Calls that no worker was given are cancelled; all other results end without
        success at once: ``get`` and ``result`` raise `TimeoutError`, and iterators, too.
        Workers drop what they have not begun. A task that runs there is killed with its
        process where that isolates tasks, and ends by itself elsewhere.

        Examples
        --------
        >>> pool.terminate()
        """
        if self.is_worker():
            return
        for future in self._waiting():
            future.cancel()
        with self._until_gone():
            self._abandon("the pool was terminated before the result came", False)
            if self._is_isolated:  # workers end tasks, and the programs these started
                self.close()
        self._part(_TERMINATED_SECONDS if self._is_isolated else 0)
        self.close()

    # --- concurrent.futures.Executor ---

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> PoolFuture:
        """Have ``fn(*args, **kwargs)`` called on a worker, and go on.

        Parameters
        ----------
        fn : callable
            What to call.
        *args, **kwargs
            Its arguments; pickled before this returns.

        Returns
        -------
        concurrent.futures.Future
            `concurrent.futures.wait` and `as_completed` take it, and
            `asyncio.wrap_future`. It can be cancelled until a worker is given the
            call, which is at once where one is free. What pickling the function or its
            arguments raised counts as what the call raised.

        Raises
        ------
        PoolClosedError, RuntimeError, TypeError, TransportError
            As `map`.

        Examples
        --------
        >>> future = pool.submit(pow, 2, 3)
        >>> future.result(timeout=10)
        8
        """
        future: PoolFuture = _future().PoolFuture()
        future._ticket = self._call(fn, args, kwargs, future, None)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close the pool, as `concurrent.futures.Executor.shutdown` does.

        Parameters
        ----------
        wait : bool, optional
            Whether to wait until all that was begun is done.
        cancel_futures : bool, optional
            Whether to cancel the calls that no worker was given; a map goes on.

        Raises
        ------
        RuntimeError
            As `join`.

        Examples
        --------
        >>> pool.shutdown()
        """
        if cancel_futures:
            for future in self._waiting():
                future.cancel()
        self.close()
        if wait:
            self._join(None, True)
            self._part(_ENDING_SECONDS)
            self._remove_hook_if_over()

    # --- on every worker ---

    def run_everywhere(self, fn: Callable[..., Any], /, *args: Any) -> List[Any]:
        """Call ``fn(*args)`` once on every worker.

        Parameters
        ----------
        fn : callable
            What to call. On a worker that is busy it waits for what runs there.
        *args
            Its arguments.

        Returns
        -------
        list
            One result per worker, in the order of their ranks.

        Raises
        ------
        Exception
            What it raised on the lowest of the ranks where it did, when all have ended.
        BrokenPoolError, PoolClosedError, TransportError
            As `map`.

        Examples
        --------
        >>> import os
        >>> len(pool.run_everywhere(os.getpid)) == pool.size
        True
        """
        futures = [self._submit_to(rank, fn, *args) for rank in sorted(self.workers)]
        _future().wait(futures)
        return [future.result() for future in futures]

    def _submit_to(self, rank: int, fn: Callable[..., Any], *args: Any) -> PoolFuture:
        """`submit`, to one worker."""
        future: PoolFuture = _future().PoolFuture()
        future._ticket = self._call(fn, args, {}, future, rank)
        return future

    def share(self, obj: Any) -> Shared:
        """Send an object to all workers once, for all later tasks to use.

        Parameters
        ----------
        obj : object
            For example large arrays that every task reads. It should not be changed
            any more: what has not left yet would change, too.

        Returns
        -------
        Shared
            A handle. Its ``value`` is the object, on the master and on the workers;
            it can be used in callables and tasks, and travels as a few bytes. The
            workers let go of the object when the handle goes. Workers that were forked
            are of one pool: those of another one do not hold it.

        Raises
        ------
        Exception
            What pickling the object raised.
        PoolClosedError, TransportError
            As `map`.

        Notes
        -----
        A large object goes along a binomial tree to the workers that are idle: the
        master sends it ``log2`` of their number times.

        Examples
        --------
        >>> table = pool.share({"a": 1, "b": 2})
        >>> pool.map(lambda key: table.value[key], ["b", "a"])
        [2, 1]
        """
        from . import _shared

        return _shared.share(self, _process_token, obj)

    def workers_status(self) -> List[WorkerStatus]:
        """What each worker does now, as far as the master knows.

        It may be called from any thread, also while another one waits in `map`, and
        when the pool is closed.

        Returns
        -------
        list of WorkerStatus
            One for each worker, in the order of their ranks, whatever pool it works for;
            none where the workers were forked and have ended with their pool. It is a
            named tuple of ``rank``; ``host`` (None: not known yet); ``state``, "idle" or
            "busy"; ``callable``, the name of what it calls (None: it is idle, or the job
            was given up); ``first_task``, the number of the first task that it has not
            answered for (of a single call None), and ``tasks``, how many it got together;
            ``seconds`` since it got these, or answered last (None: it never had any).

        Raises
        ------
        RuntimeError
            If called on a worker, in a forked child, or by what pickles an object for
            the pool.
        TransportError
            If MPI reports an error, or a worker that was forked has died.

        Notes
        -----
        Long tasks travel one by one, so ``first_task`` is the task that runs. Of several
        in one message it is one of ``range(first_task, first_task + tasks)``. Seconds
        are known to some milliseconds.

        Examples
        --------
        >>> [worker.state for worker in pool.workers_status()]  # of mpiexec -n 4
        ['idle', 'idle', 'idle']
        """
        from . import _status

        return _status.of(self._workers_status())

    def batched_map(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        *args: Any,
        **kwargs: Any,
    ) -> Optional[List[Any]]:
        """Call `map` on the tasks cut into one batch per worker, as schwimmbad does.

        Parameters
        ----------
        worker : callable
            Takes one batch: a tuple ``((start, stop), tasks[start:stop])``.
        tasks : iterable
            What to cut; all of it is read first.
        *args, **kwargs
            The other arguments of `map`.

        Returns
        -------
        list or None
            One result per batch, in order. The first ``len(tasks) % size`` batches
            hold one task more than the others; there is no empty batch.

        Raises
        ------
        Exception
            As `map`.

        Examples
        --------
        >>> def total(batch):
        ...     (start, stop), numbers = batch
        ...     return sum(numbers)
        >>> pool.batched_map(total, range(10))
        [6, 15, 24]
        """
        from ._batches import batches

        return self.map(worker, batches(list(tasks), self.size), *args, **kwargs)

    def wait(self, callback: Optional[Callable[[], object]] = None) -> None:
        """Serve the master, on a worker; returns at once on the master.

        Called by the constructor. With ``test_mode=True`` it may be called again, and
        returns after one `close` of the master.

        Parameters
        ----------
        callback : callable, optional
            Called without arguments on the worker when it stops serving.

        Raises
        ------
        RuntimeError
            If called from inside a task.

        Examples
        --------
        >>> pool.wait()
        """
        super().wait(callback)

    def close(self) -> None:
        """Take no more work; what was begun goes on. Later calls do nothing.

        What the pool holds on the workers is freed when all is done. They serve on: a
        later ``MPIPool()`` of the master is a fresh pool on them. In ``test_mode`` it
        waits, as `join`, and each worker ends one `wait`. On a worker nothing happens.

        Raises
        ------
        RuntimeError
            In ``test_mode``, as `join`.

        Examples
        --------
        >>> pool.close()
        """
        with self._until_gone():
            super().close()
            self._remove_hook_if_over()

    def is_master(self) -> bool:
        """Whether this process is rank 0.

        Returns
        -------
        bool
            True on the master.

        Examples
        --------
        >>> pool.is_master()
        True
        """
        return bool(self.rank == 0)

    def is_worker(self) -> bool:
        """Whether this process is not rank 0.

        Returns
        -------
        bool
            True on a worker.

        Examples
        --------
        >>> pool.is_worker()
        False
        """
        return not self.is_master()

    @staticmethod
    def enabled() -> bool:
        """Whether a pool can be made: an MPI is there and has several processes.

        Returns
        -------
        bool
            False also where no MPI is found, or the launcher is another one's.

        Examples
        --------
        >>> MPIPool.enabled()
        True
        """
        return _mpi.enabled()

    @property
    def workers(self) -> Set[int]:
        """The workers' ranks.

        Returns
        -------
        set of int
            All but 0, on every rank; on rank 0 without those that have died.

        Examples
        --------
        >>> sorted(pool.workers)  # of mpiexec -n 4
        [1, 2, 3]
        """
        return self._ranks

    @property
    def comm(self) -> Any:
        """The communicator that the pool was made on.

        Returns
        -------
        mpi4py.MPI.Comm or int
            Where mpi4py cannot be imported, its Fortran handle.

        Examples
        --------
        >>> comm = pool.comm
        """
        return None if self._is_local else _mpi.communicator(self._handle)

    @property
    def _processes(self) -> int:  # where multiprocessing.Pool keeps its size
        return int(self.size)

    @property
    def _max_workers(self) -> int:  # where concurrent.futures keeps it
        return int(self.size)

    @property
    def _window(self) -> int:
        return WINDOW * int(self.size)

    def __call__(
        self,
        worker: Callable[[Any], Any],
        tasks: Iterable[Any],
        *args: Any,
        **kwargs: Any,
    ) -> Optional[List[Any]]:
        """Call `map`.

        Parameters
        ----------
        worker : callable
            Takes one task.
        tasks : iterable
            What to call it with.
        *args, **kwargs
            The other arguments of `map`.

        Returns
        -------
        list or None
            As `map`.

        Raises
        ------
        Exception
            As `map`.

        Examples
        --------
        >>> pool(abs, [-1, 2, -3])
        [1, 2, 3]
        """
        return self.map(worker, tasks, *args, **kwargs)

    def __enter__(self) -> "MPIPool":
        """Begin a ``with`` statement; its end closes the pool and waits for its results.

        After an exception it terminates the pool.

        Returns
        -------
        MPIPool
            The pool itself.

        Examples
        --------
        >>> with pool as same:
        ...     same is pool
        True
        """
        if self.closed and self.is_master():
            raise errors.PoolClosedError("the pool is closed")
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        exception: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if exception is None:
            self.close()
            self._join(None, False)
            self._part(_ENDING_SECONDS)
            self._remove_hook_if_over()
            return
        self.terminate()
        # Of others `_at_exit` knows whether they were caught.
        code = exit_code(exception) if isinstance(exception, SystemExit) else 0
        if code and self.is_master():
            seconds = getattr(exception, "ending_seconds", _ENDING_SECONDS)
            _mpi.set_ending(seconds, code)

    def _begin_hook(self, hook: Hook) -> None:
        if self.is_master():
            hook.begin()
            weakref.finalize(self, hook.remove).atexit = False
        else:
            self._remove_hook()

    def _remove_hook(self) -> None:
        if self._hook is not None:
            self._hook.remove()

    def _remove_hook_if_over(self) -> None:
        """Not while something goes on that a signal would end."""
        if self._hook is None or self.is_worker():
            return
        try:
            is_over = self._join(0, False)
        except RuntimeError:  # a callback of its own has closed it
            return
        if is_over:
            self._hook.remove()

    @contextlib.contextmanager
    def _until_gone(self) -> Iterator[None]:
        """Where a forked worker has died, whoever waited for it was told."""
        try:
            yield
        except errors.TransportError:
            if not self._is_local:
                raise
            self._part(0)

    def _is_masters(self) -> bool:
        try:
            return self.is_master()
        except RuntimeError:  # its constructor failed
            return False

    def _finish(self) -> None:
        """At exit: wait for what was begun, as concurrent.futures does.

        But not for what might never end, nor after an exception.
        """
        if _uncaught() is not None or _code_at_once is not None:
            self.terminate()
        self._abandon("the script has ended", True)
        self._join(None, False)
        self._remove_hook_if_over()

    def __reduce__(self) -> Tuple[Any, ...]:
        return _find_pool, (_process_token, id(self), self.size)


class Pool(MPIPool):
    """An `MPIPool` with the constructor of `multiprocessing.Pool`.

    ``from multiprocessing import Pool`` becomes ``from ezmpi import Pool``, and the
    script starts with mpiexec. As there, the end of a ``with`` block terminates it.

    Parameters
    ----------
    processes : int, optional
        Not used under mpiexec, with a warning if it is another number: the workers are
        the processes that it started, but for rank 0.
    initializer : callable, optional
        Called once on each worker, before its first task of this pool.
    initargs : tuple, optional
        The arguments of `initializer`.
    maxtasksperchild, context : optional
        Not used, with a warning.
    fallback : "local", optional
        As of `MPIPool`: `processes` workers are forked where no launcher started any.

    Raises
    ------
    ValueError
        If `processes` is below 1, or there is only one MPI process, and no `fallback`.
    Exception
        As `MPIPool`.

    Examples
    --------
    >>> from ezmpi import Pool
    >>> with Pool() as pool:
    ...     print(pool.map(abs, [-1, 2, -3]))
    [1, 2, 3]
    """

    def __init__(
        self,
        processes: Optional[int] = None,
        initializer: Optional[Callable[..., object]] = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: Optional[int] = None,
        context: Any = None,
        *,
        fallback: Optional[str] = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (
            not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0
        ):
            raise ValueError("maxtasksperchild must be a positive int or None")
        super().__init__(
            initializer=initializer,
            initargs=initargs,
            fallback=fallback,
            processes=None if fallback is None else processes,
        )
        if processes is not None and processes != self.size:
            _warn(f"processes={processes}: mpiexec started {self.size} workers")
        if maxtasksperchild is not None:
            _warn("maxtasksperchild: a worker is not replaced")
        if context is not None:
            _warn("context: the workers are MPI processes")

    def map(  # type: ignore[override]
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: Optional[int] = None,
        *,
        progress: Wanted = None,
        on_error: str = "raise",
        retries: Optional[int] = None,
        retry_on: Optional[RetryOn] = None,
        checkpoint: Optional[Path] = None,
        checkpoint_key: Key = None,
    ) -> Optional[List[Any]]:
        """Call ``func(task)`` for every task: `MPIPool.map` with multiprocessing's names.

        Parameters
        ----------
        func : callable
            Takes one task.
        iterable : iterable
            The tasks.
        chunksize : int, optional
            As of `MPIPool.map`.
        progress : bool, str or callable, optional
            As of `MPIPool.map`.
        on_error, retries, retry_on, checkpoint, checkpoint_key : optional
            As of `MPIPool.map`.

        Returns
        -------
        list
            The results in the order of the tasks.

        Raises
        ------
        Exception
            As `MPIPool.map`.

        Examples
        --------
        >>> pool.map(func=abs, iterable=[-1, 2, -3])
        [1, 2, 3]
        """
        return super().map(
            func,
            iterable,
            chunksize=chunksize,
            progress=progress,
            on_error=on_error,
            retries=retries,
            retry_on=retry_on,
            checkpoint=checkpoint,
            checkpoint_key=checkpoint_key,
        )

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        exception: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if exception is None:
            self.terminate()
        else:
            super().__exit__(kind, exception, traceback)


def _warn(what: str) -> None:
    import warnings

    warnings.warn(f"ezmpi.Pool does not use {what}", UserWarning, stacklevel=3)


@functools.lru_cache(maxsize=None)
def _future() -> Any:
    # concurrent.futures takes long to import
    from . import _future as module

    return module


def _new_future(
    callback: Optional[Callable[[Any], object]],
    error_callback: Optional[Callable[[BaseException], object]],
) -> Any:
    if callback is None and error_callback is None:
        return _future().PoolFuture()
    return _future().CallbackFuture(callback, error_callback)


class _PoolStub:
    """What a pool is on a worker, so that objects which hold it can be sent."""

    master = 0
    closed = True

    def map(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "a task used the pool that runs it; give the master that work, "
            "or call the function directly"
        )

    __call__ = batched_map = starmap = imap = imap_unordered = map
    istarmap = istarmap_unordered = apply = submit = run_everywhere = share = map
    workers_status = map
    apply_async = map_async = starmap_async = map

    def __init__(self, token: str, number: int, size: int) -> None:
        self._made_from = token, number, size
        self.size = self._processes = self._max_workers = size
        self.workers = set(range(1, size + 1))

    def close(self) -> None:
        pass

    def is_master(self) -> bool:
        return False

    def is_worker(self) -> bool:
        return True

    def __reduce__(self) -> Tuple[Any, ...]:
        return _find_pool, self._made_from


def forget() -> None:
    """In a forked worker: the pools are another process's."""
    global _process_token
    _process_token = os.urandom(16).hex()
    _pools.clear()


def _find_pool(token: str, number: int, size: int) -> Union[MPIPool, _PoolStub]:
    pool = _pools.get(number) if token == _process_token else None
    return _PoolStub(token, number, size) if pool is None else pool


def _refuse_spawned() -> None:
    process: Any = sys.modules.get("multiprocessing.process")
    # while a child imports the script, it has no parent_process() yet
    if process and (
        process.parent_process() is not None
        or getattr(process.current_process(), "_inheriting", False)
    ):
        raise RuntimeError(
            "a child process of multiprocessing cannot make an MPI pool; if this is the "
            'script that it imports, guard its end with if __name__ == "__main__":'
        )


def _watcher() -> Any:
    """What warns of workers that have had a task for long, where that is wanted."""
    if not os.environ.get("EZMPI_STALL"):
        return None
    from . import _stall

    _stall.seconds()  # raises on every rank, before others wait for this one
    return _stall


@functools.lru_cache(maxsize=None)
def _watch_exit() -> None:
    # At the first pool: what Python is given while it ends already is not called.
    atexit.register(_at_exit)


def _at_exit() -> None:
    global _is_ending
    _is_ending = True
    of_script = _uncaught()
    of_pools: List[BaseException] = []
    try:
        of_pools = _finish_all()
    finally:
        for pool in _masters():
            pool._end()
        driver = sys.modules.get("ezmpi._driver")
        if driver is not None:
            driver.join()
        for name in ("ezmpi._progress", "ezmpi._stall"):
            module = sys.modules.get(name)
            if module is not None:
                module.join()
        checkpoint = sys.modules.get("ezmpi._checkpoint")
        if checkpoint is not None:
            checkpoint.end()
    if any(isinstance(error, KeyboardInterrupt) for error in [of_script, *of_pools]):
        _mpi.set_ending(_INTERRUPTED_SECONDS, _mpi.INTERRUPTED)
    elif _code_at_once is not None:
        _mpi.set_ending(_AT_ONCE_SECONDS, _code_at_once)
    elif of_script is not None:
        _mpi.set_ending(_ENDING_SECONDS, 1)
    for error in of_pools:
        raise error


def _masters() -> List[MPIPool]:
    return [pool for pool in list(_pools.values()) if pool._is_masters()]


def _finish_all() -> List[BaseException]:
    """Each pool, though others raise; what they raised."""
    raised: List[BaseException] = []
    for pool in _masters():
        try:
            pool._finish()
        except BaseException as error:
            raised.append(error)
    return raised


def end_at_once(code: int) -> None:
    """Let no pool hold up the end, which has this code, not 0: for `ezmpi._command`."""
    global _code_at_once
    _code_at_once = code
    for pool in _masters():
        pool.terminate()  # now: Python waits for threads before it calls _at_exit


def _uncaught() -> Optional[BaseException]:
    """The exception that ended the script, where Python leaves it."""
    return getattr(sys, "last_value", None)


def exit_code(exception: BaseException) -> int:
    """The code that Python ends with when the exception is not caught."""
    if isinstance(exception, KeyboardInterrupt):
        return 130
    if not isinstance(exception, SystemExit):
        return 1
    if exception.code is None:
        return 0
    return exception.code & 0xFF if isinstance(exception.code, int) else 1
