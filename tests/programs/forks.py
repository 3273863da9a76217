"""Children that the master, a task or an initializer forks and that come back."""

import os
import sys

from cases import case, check_works, ignore_fork_warnings, raised, square

from ezmpi import MPIPool

ignore_fork_warnings()


def forks(x):
    child = os.fork()
    if child == 0:
        return "of the child"  # into the worker's loop, which must end it
    return os.waitpid(child, 0)[1]


def sets_up():
    assert forks(0) in (0, "of the child")


class Forks:
    def __setstate__(self, state):
        assert forks(0) in (0, "of the child")

    def __getstate__(self):
        return {"some": "state"}


with MPIPool(initializer=sets_up) as pool:
    case("in the initializer")
    check_works(pool)
    case("in a task")
    for chunksize in (1, 5):
        assert pool.map(forks, range(20), chunksize=chunksize) == [0] * 20
    case("where a task is unpickled")
    assert pool.map(str, [Forks()] * 3) and pool.map(square, [3]) == [9]
    case("of the master")
    child = os.fork()
    if child == 0:
        error = raised(pool.map, square, [1])
        sys.exit(7 if type(error) is RuntimeError and "forked" in str(error) else 1)
    assert os.waitpid(child, 0)[1] >> 8 == 7
    check_works(pool)
print("ok")
