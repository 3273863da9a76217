"""A damped oscillation, sampled with emcee.

mpiexec -n 4 python examples/gallery/emcee_ringdown.py
"""

import os
import sys

# One thread in each process: several ranks share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import emcee  # noqa: E402
import numpy as np  # noqa: E402

from ezmpi import MPIPool  # noqa: E402

TRUTH = np.array([1.0, 3.0, 8.0])  # amplitude, period, decay time
LOW, HIGH = np.array([0.1, 2.0, 1.0]), np.array([10.0, 4.0, 50.0])
NOISE, WALKERS, STEPS = 0.2, 32, 300
CALLS = []  # of each process its own


def signal(theta, t):
    amplitude, period, decay = theta
    return amplitude * np.exp(-t / decay) * np.cos(2 * np.pi * t / period)


def log_probability(theta, t, y):
    CALLS.append(1)
    if not np.all((theta > LOW) & (theta < HIGH)):
        return -np.inf
    return -0.5 * np.sum((y - signal(theta, t)) ** 2) / NOISE**2


def calls():
    return len(CALLS)


def run(pool):
    random = np.random.default_rng(1)
    t = np.linspace(0, 20, 400)
    y = signal(TRUTH, t) + NOISE * random.normal(size=t.size)
    start = TRUTH * (1 + 1e-3 * random.normal(size=(WALKERS, 3)))
    np.random.seed(2)  # where emcee takes its random numbers
    sampler = emcee.EnsembleSampler(WALKERS, 3, log_probability, args=(t, y), pool=pool)
    sampler.run_mcmc(start, STEPS)
    return sampler.get_chain()


if __name__ == "__main__":
    with MPIPool() as pool:
        chain = run(pool)
        print("Tasks per worker:", *pool.run_everywhere(calls))
    for name, values in zip(("amplitude", "period", "decay"), chain[100:].T):
        print(f"{name} = {values.mean():.3f} +- {values.std():.3f}")
    if not np.array_equal(chain, run(None)):
        sys.exit("the pool's chain is not the serial one")
    print("The pool and the serial run agree.")
