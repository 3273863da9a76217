"""The period of a variable star from uneven observations, with scipy.

A global fit, a scan of periods and an integral over the likelihood, all on the workers.

mpiexec -n 4 python examples/gallery/scipy_period.py
"""

import sys

import numpy as np
from scipy.integrate import quad_vec
from scipy.optimize import brute, differential_evolution

from ezmpi import MPIPool

NOISE = 0.3
random = np.random.default_rng(1)
TIMES = np.sort(random.uniform(0, 60, 300))  # days
FLUX = 0.8 * np.sin(2 * np.pi * TIMES / 5.3 + 1.0) + NOISE * random.normal(size=300)
CALLS = []  # of each process its own


def misfit(theta):
    CALLS.append(1)
    frequency, amplitude, phase = theta
    model = amplitude * np.sin(2 * np.pi * frequency * TIMES + phase)
    return 0.5 * np.sum((FLUX - model) ** 2) / NOISE**2


def power(frequency):
    CALLS.append(1)
    wave = np.exp(2j * np.pi * frequency * TIMES)
    return -(np.abs(FLUX @ wave) ** 2) / len(TIMES) / NOISE**2


def likelihood(frequency):
    density = np.exp(-power(frequency) - 300)
    return density * np.array([1, frequency, frequency**2])


def calls():
    return len(CALLS)


def run(workers):
    bounds = [(0.05, 1), (0.1, 3), (0, 2 * np.pi)]
    fit = differential_evolution(
        misfit, bounds, rng=3, maxiter=60, updating="deferred", workers=workers
    )
    scan = brute(power, [slice(0.05, 1, 0.0005)], finish=None, workers=workers)
    moments, _ = quad_vec(likelihood, 0.18, 0.2, workers=workers, epsrel=1e-6)
    return np.array([*fit.x, scan, *moments])


if __name__ == "__main__":
    with MPIPool() as pool:
        found = run(pool.map)
        print("Tasks per worker:", *pool.run_everywhere(calls))
    frequency, _, _, scanned, total, first, second = found
    spread = np.sqrt(second / total - (first / total) ** 2)
    print(f"period = {1 / frequency:.3f} days; by the scan {1 / scanned:.3f}")
    print(f"frequency = {first / total:.5f} +- {spread:.5f} by the integral")
    if not np.array_equal(found, run(map)):
        sys.exit("the pool's results are not the serial ones")
    print("The pool and the serial run agree.")
