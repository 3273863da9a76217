"""A narrow resonance found by sampling where it matters, with adaptive.

mpiexec -n 4 python examples/gallery/adaptive_resonance.py
"""

import sys

import adaptive
import numpy as np

from ezmpi.futures import MPIPoolExecutor

CENTRE, WIDTH, GOAL = 0.3137, 0.01, 0.01
CALLS = []  # of each process its own


def response(x):
    CALLS.append(1)
    return WIDTH**2 / (WIDTH**2 + (x - CENTRE) ** 2)


def calls():
    return len(CALLS)


def area(learner):
    points = learner.to_numpy()
    x, y = points[np.argsort(points[:, 0])].T
    return np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2)


def run(executor, ntasks):
    learner = adaptive.Learner1D(response, bounds=(-1, 1))
    adaptive.BlockingRunner(
        learner,
        loss_goal=GOAL,
        executor=executor,
        ntasks=ntasks,
        shutdown_executor=False,
    )
    return learner


if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        learner = run(executor, executor.num_workers)
        workers = executor.num_workers
        print("Tasks per worker:", *executor._pool.run_everywhere(calls))
    serial = run(adaptive.runner.SequentialExecutor(), 1)
    x, y = max(learner.data.items(), key=lambda point: point[1])
    print(f"peak = {x:.4f} from {learner.npoints} points, {serial.npoints} serially")
    print(f"area = {area(learner):.5f}, {area(serial):.5f} serially")

    # Which points are asked for depends on the order in which results come, so it is
    # the values that are compared, and what both runs have come to.
    if any(y != response(x) for x, y in learner.data.items()):
        sys.exit("a value of the pool's is not that of a call")
    if max(learner.loss(), serial.loss()) > GOAL or not np.isclose(
        area(learner), area(serial), rtol=0.01
    ):
        sys.exit("the runs have not come to the same")
    print("The pool and the serial run agree.")
