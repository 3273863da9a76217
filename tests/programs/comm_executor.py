"""MPICommExecutor: comm_executor.py [root], with any number of processes."""

import os
import sys
import threading

from cases import case, launchers_rank, raised

from ezmpi.futures import MPICommExecutor, as_completed

comm, root = None, 0
if len(sys.argv) > 1:
    from mpi4py import MPI

    comm, root = MPI.COMM_WORLD, int(sys.argv[1])
ranks = int(os.environ.get("PMI_SIZE", os.environ.get("OMPI_COMM_WORLD_SIZE", 0)))
rank = launchers_rank() if ranks else 0
alone = ranks < 2


def where():
    return os.getpid(), threading.current_thread() is threading.main_thread()


for _ in range(3):
    with MPICommExecutor(comm, root) as executor:
        assert (executor is not None) == (rank == root)
        if executor is None:
            continue
        case("calls")
        assert executor.bootup() is executor
        assert executor.num_workers == executor._max_workers >= 1
        futures = [executor.submit(pow, 2, n) for n in range(10)]
        assert sorted(f.result() for f in as_completed(futures)) == [
            2**n for n in range(10)
        ]
        assert list(executor.map(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]
        assert list(executor.starmap(pow, [(2, 3), (3, 2)])) == [8, 9]
        assert sorted(executor.map(abs, [-3, 1], unordered=True)) == [1, 3]
        assert isinstance(executor.submit(int, "x").exception(), ValueError)
        pids = {executor.submit(where).result()[0] for _ in range(10)}
        assert (pids == {os.getpid()}) == alone, pids
    if rank == root:
        case("after the end")
        assert executor.num_workers == 0
        assert isinstance(raised(executor.submit, abs, 1), RuntimeError)
assert isinstance(raised(MPICommExecutor, comm, -1), ValueError)
if rank == root:
    print("ok")
