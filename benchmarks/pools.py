"""The pools that are compared, an adapter each.

`command` starts cell.py; `open` makes the pool in there, as its documentation says, and
gives a map of the form ``map(function, tasks) -> list``.

Pools with `requirements` get an environment of their own. They are what users on several
hosts pick today, and are measured for the record.
"""

# A pool is imported in its own runs only.
# ruff: noqa: PLC0415

from contextlib import contextmanager
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
)

from rows import Map, Row

MPI = "{mpiexec} -n {ranks} {python} cell.py"
MPI4PY_FUTURES = "{mpiexec} -n {ranks} {python} -m mpi4py.futures cell.py"


Opener = Callable[[Row], ContextManager[Map]]


class Pool(NamedTuple):
    command: str
    package: str = ""  # where its version is found
    open: Optional[Opener] = None  # None: not Python
    calls: bool = False  # it has submit, and open gives that for rows with calls
    pinned: str = ""  # this version, installed in a directory of its own
    requirements: Sequence[str] = ()


def _by_submit(submit: Callable[..., Any]) -> Map:
    def map(function: Callable[[Any], Any], tasks: Iterable[Any]) -> List[Any]:
        return [future.result() for future in [submit(function, t) for t in tasks]]

    return map


def _with_chunksize(map: Callable[..., Any], row: Row) -> Map:
    if row.chunksize is None:
        return map
    return lambda function, tasks: map(function, tasks, chunksize=row.chunksize)


@contextmanager
def _ezmpi(row: Row) -> Iterator[Map]:
    from ezmpi import MPIPool

    with MPIPool() as pool:
        yield _by_submit(pool.submit) if row.calls else _with_chunksize(pool.map, row)


@contextmanager
def _ezmpi_old(row: Row) -> Iterator[Map]:
    from ezmpi import MPIPool

    with MPIPool() as pool:
        yield pool.map  # one task a message, always


@contextmanager
def _schwimmbad(row: Row) -> Iterator[Map]:
    from schwimmbad import MPIPool

    with MPIPool(use_dill=row.by_value) as pool:
        yield pool.map  # one task a message, always


def _mpi4py_futures(**options: Any) -> Opener:
    @contextmanager
    def open(row: Row) -> Iterator[Map]:
        from mpi4py.futures import MPIPoolExecutor

        with MPIPoolExecutor(row.workers, **options) as executor:
            if row.calls:
                yield _by_submit(executor.submit)
                return
            map = _with_chunksize(executor.map, row)
            yield lambda function, tasks: list(map(function, tasks))

    return open


@contextmanager
def _mpi4py_pool(row: Row) -> Iterator[Map]:
    from mpi4py.util.pool import Pool

    with Pool(row.workers) as pool:
        yield _with_chunksize(pool.map, row)


@contextmanager
def _serial(row: Row) -> Iterator[Map]:
    yield lambda function, tasks: list(map(function, tasks))


@contextmanager
def _multiprocessing(row: Row) -> Iterator[Map]:
    from multiprocessing import Pool

    with Pool(row.workers) as pool:
        yield _with_chunksize(pool.map, row)


@contextmanager
def _processes(row: Row) -> Iterator[Map]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(row.workers) as executor:
        map = _with_chunksize(executor.map, row)
        by_map: Map = lambda function, tasks: list(map(function, tasks))  # noqa: E731
        yield _by_submit(executor.submit) if row.calls else by_map


@contextmanager
def _dragon(row: Row) -> Iterator[Map]:
    import multiprocessing

    import dragon  # noqa: F401  brings the start method

    multiprocessing.set_start_method("dragon")
    with multiprocessing.Pool(row.workers) as pool:
        yield _with_chunksize(pool.map, row)


@contextmanager
def _ray(row: Row) -> Iterator[Map]:
    from ray.util.multiprocessing import Pool

    with Pool(row.workers) as pool:
        yield _with_chunksize(pool.map, row)


OURS, REFERENCE, FLOOR = "ezmpi", "schwimmbad", "floor"

POOLS: Dict[str, Pool] = {
    FLOOR: Pool("{mpiexec} -n {ranks} {floor}"),
    OURS: Pool(MPI, "ezmpi", _ezmpi, calls=True),
    "ezmpi-0.1.0": Pool(MPI, "ezmpi", _ezmpi_old, pinned="0.1.0"),
    REFERENCE: Pool(MPI, "schwimmbad", _schwimmbad, pinned="0.4.2"),
    "mpi4py.futures": Pool(MPI4PY_FUTURES, "mpi4py", _mpi4py_futures(), calls=True),
    # Waits without sleeping, and pickles arrays out of band.
    "mpi4py.futures-tuned": Pool(
        MPI4PY_FUTURES,
        "mpi4py",
        _mpi4py_futures(backoff=0, use_pkl5=True),
        calls=True,
    ),
    "mpi4py.util.pool": Pool(MPI4PY_FUTURES, "mpi4py", _mpi4py_pool),
    "multiprocessing": Pool("{python} cell.py", "", _multiprocessing),
    "concurrent.futures": Pool("{python} cell.py", "", _processes, calls=True),
    "serial": Pool("{python} cell.py", "", _serial),
    "dragonhpc": Pool(
        # It hangs as the leader of a session.
        "sh -c 'dragon cell.py \"$@\"; exit $?' dragon",
        "dragon",
        _dragon,
        requirements=["dragonhpc==0.15.0", "numpy", "emcee"],
    ),
    "ray": Pool(
        "env RAY_AUTH_MODE=disabled {python} cell.py",
        "ray",
        _ray,
        requirements=["ray==2.60.0", "numpy", "emcee"],
    ),
}
