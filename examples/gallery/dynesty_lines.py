"""Is there one spectral line or two? The evidence of both, with dynesty.

mpiexec -n 4 python examples/gallery/dynesty_lines.py
"""

import os
import sys

# One thread in each process: several ranks share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import dynesty  # noqa: E402
import numpy as np  # noqa: E402

from ezmpi import MPIPool, SerialPool  # noqa: E402

NOISE = 0.3
X = np.linspace(0, 10, 100)
CALLS = []  # of each process its own


def lines(theta):
    """Lines of width 1, each with a height and a place."""
    heights, places = theta[0::2], theta[1::2]
    return sum(h * np.exp(-((X - p) ** 2) / 2) for h, p in zip(heights, places))


def log_likelihood(theta, y):
    CALLS.append(1)
    return -0.5 * np.sum((y - lines(theta)) ** 2) / NOISE**2


def prior(unit):
    """Heights up to 2, places up to 10, from left to right."""
    places = unit[1::2]
    theta = np.empty_like(unit)
    theta[0::2] = 2 * unit[0::2]
    theta[1::2] = 10 * np.sort(places)
    return theta


def calls():
    return len(CALLS)


def run(pool, queue_size):
    y = lines([1.0, 4.0, 0.7, 6.0]) + NOISE * np.random.default_rng(1).normal(size=100)
    results = []
    for count in (1, 2):
        sampler = dynesty.NestedSampler(
            log_likelihood,
            prior,
            2 * count,
            nlive=60,
            sample="rwalk",
            logl_args=(y,),
            rstate=np.random.default_rng(2),
            pool=pool,
            queue_size=queue_size,
        )
        sampler.run_nested(dlogz=1, print_progress=False)
        results.append(sampler.results)
    return results


if __name__ == "__main__":
    with MPIPool() as pool:
        one, two = run(pool, pool.size)
        print("Tasks per worker:", *pool.run_everywhere(calls))
    print(f"log evidence of one line = {one.logz[-1]:.2f} +- {one.logzerr[-1]:.2f}")
    print(f"log evidence of two = {two.logz[-1]:.2f} +- {two.logzerr[-1]:.2f}")
    serial = run(SerialPool(), pool.size)
    for pooled, alone in zip((one, two), serial):
        if not np.array_equal(pooled.samples, alone.samples):
            sys.exit("the pool's samples are not the serial ones")
    print("The pool and the serial run agree.")
