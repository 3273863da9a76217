"""What a task may do to its process: fork, read standard input, start programs."""

import os
import subprocess
import sys

from cases import case, check_works, ignore_fork_warnings, raised

from ezmpi import MPIPool

ignore_fork_warnings()


def fork(how):
    pid = os.fork()
    if pid == 0:
        if how == "exit":
            sys.exit(7)
        if how == "raise":
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            raise LookupError("in the child")
        return "the child's"
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if not hasattr(os, "waitstatus_to_exitcode"):  # Python 3.8
    os.waitstatus_to_exitcode = lambda status: status >> 8


def in_a_process(x):
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-x, x])


with MPIPool() as pool:
    for chunksize in (1, 3):
        case("a child that leaves the task, chunksize %d" % chunksize)
        ways = ["exit", "raise", "return", "exit"]
        assert pool.map(fork, ways, chunksize=chunksize) == [7, 1, 0, 7]
        check_works(pool)
    case("a pool of processes in a task")
    assert pool.map(in_a_process, [1, 2, 3]) == [[1, 1], [2, 2], [3, 3]]
    case("standard input is at its end")
    assert type(raised(pool.map, lambda x: input(), [1])) is EOFError
    assert pool.map(lambda x: sys.stdin.read(), [1, 2, 3]) == [""] * 3
    case("so it is for the programs that a task starts")
    assert pool.map(subprocess.check_output, [["cat"]] * 3) == [b""] * 3
    check_works(pool)
print("ok")
