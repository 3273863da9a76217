"""Counts of a decaying source on a background, sampled with zeus.

mpiexec -n 4 python examples/gallery/zeus_decay.py
"""

import os
import random
import sys

# One thread in each process: several ranks share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import zeus  # noqa: E402

from ezmpi import MPIPool  # noqa: E402

TRUTH = np.array([5.0, 1.5, 2.0])  # log of the source, log of background, lifetime
WALKERS, STEPS = 12, 100
CALLS = []  # of each process its own


def expected(theta, t):
    source, background, lifetime = theta
    return np.exp(source - t / lifetime) + np.exp(background)


def log_probability(theta, t, counts):
    CALLS.append(1)
    if not (np.all(np.abs(theta[:2]) < 10) and 0.1 < theta[2] < 20):
        return -np.inf
    rate = expected(theta, t)
    return np.sum(counts * np.log(rate) - rate)


def calls():
    return len(CALLS)


def run(pool):
    generator = np.random.default_rng(1)
    t = np.linspace(0, 12, 120)
    counts = generator.poisson(expected(TRUTH, t))
    start = TRUTH + 1e-2 * generator.normal(size=(WALKERS, 3))
    random.seed(2)  # zeus draws from both
    np.random.seed(2)
    sampler = zeus.EnsembleSampler(
        WALKERS, 3, log_probability, args=(t, counts), pool=pool, verbose=False
    )
    sampler.run_mcmc(start, STEPS, progress=False)
    return sampler.get_chain()


if __name__ == "__main__":
    with MPIPool() as pool:
        chain = run(pool)
        print("Tasks per worker:", *pool.run_everywhere(calls))
    for name, values in zip(("log source", "log background", "lifetime"), chain[50:].T):
        print(f"{name} = {values.mean():.3f} +- {values.std():.3f}")
    if not np.array_equal(chain, run(None)):
        sys.exit("the pool's chain is not the serial one")
    print("The pool and the serial run agree.")
