"""A damped oscillation by local fits from many starting points, with pypesto.

mpiexec -n 4 python examples/gallery/pypesto_multistart.py
"""

import os
import sys

# One thread in each process: several ranks share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import pypesto  # noqa: E402
import pypesto.optimize  # noqa: E402
from pypesto.engine import Engine, SingleCoreEngine  # noqa: E402

from ezmpi import MPIPool  # noqa: E402

TRUTH = np.array([0.35, 6.0])  # frequency, decay time
TIMES = np.linspace(0, 20, 200)
CALLS = []  # of each process its own


def signal(frequency, decay):
    return np.exp(-TIMES / decay) * np.cos(2 * np.pi * frequency * TIMES)


DATA = signal(*TRUTH) + 0.1 * np.random.default_rng(1).normal(size=TIMES.size)


def misfit(theta):
    return 0.5 * np.sum((DATA - signal(*theta)) ** 2) / 0.1**2


def execute(task):
    CALLS.append(1)
    return task.execute()


def calls():
    return len(CALLS)


class PoolEngine(Engine):
    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def execute(self, tasks, progress_bar=None):
        return self.pool.map(execute, tasks, progress=progress_bar or None)


def run(engine):
    objective = pypesto.Objective(fun=misfit)
    problem = pypesto.Problem(objective, lb=[0, 1], ub=[1, 20])
    np.random.seed(2)  # where pypesto takes the starting points
    result = pypesto.optimize.minimize(
        problem, n_starts=12, engine=engine, progress_bar=False
    )
    return result.optimize_result


if __name__ == "__main__":
    with MPIPool() as pool:
        found = run(PoolEngine(pool))
        print("Tasks per worker:", *pool.run_everywhere(calls))
    print("frequency = {:.3f} and decay time = {:.2f}".format(*found.x[0]))
    print(f"{sum(np.isclose(found.fval, found.fval[0]))} of 12 fits came to it")
    serial = run(SingleCoreEngine())
    if not np.array_equal(found.x, serial.x) or found.fval != serial.fval:
        sys.exit("the pool's fits are not the serial ones")
    print("The pool and the serial run agree.")
