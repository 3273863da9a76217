"""Fit a line with emcee, whose log-probability carries its data.

The data travel to each worker once, not with every task, so the size hardly matters to
the pool. The same chain is run serially: both must agree to the last digit.

    mpiexec -n 3 python examples/fit_line_emcee.py            # 1 MB of data
    mpiexec -n 3 python examples/fit_line_emcee.py 8 --steps 200
"""

import argparse
import os
import sys
import time
from typing import Any, Optional, Tuple

# One thread per process: several ranks share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import emcee  # noqa: E402
import numpy as np  # noqa: E402

from ezmpi import MPIPool  # noqa: E402

SLOPE, INTERCEPT, NOISE = 2.5, -1.0, 0.5
WALKERS = 32


def log_probability(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """Gaussian likelihood, flat prior in slope, intercept and log noise."""
    slope, intercept, log_noise = theta
    if not -10 < log_noise < 10:
        return -np.inf
    residuals = (y - slope * x - intercept) * np.exp(-log_noise)
    return -0.5 * float(residuals @ residuals) - len(x) * log_noise


def observe(megabytes: float) -> Tuple[np.ndarray, np.ndarray]:
    """Noisy points on a line: two arrays of doubles of that size together."""
    random = np.random.default_rng(1)
    count = max(3, int(megabytes * 2**20 / 16))
    x = random.uniform(0, 10, count)
    return x, SLOPE * x + INTERCEPT + NOISE * random.normal(size=count)


def sample(
    data: Tuple[np.ndarray, np.ndarray], steps: int, pool: Optional[Any]
) -> Tuple[np.ndarray, float]:
    """The chain (steps, walkers, 3), and steps per second."""
    start = np.array([SLOPE, INTERCEPT, np.log(NOISE)])
    positions = start + 1e-3 * np.random.default_rng(2).normal(size=(WALKERS, 3))
    np.random.seed(3)  # emcee's own random numbers
    sampler = emcee.EnsembleSampler(WALKERS, 3, log_probability, args=data, pool=pool)
    state = sampler.run_mcmc(positions, 1)  # the data reach the workers here
    began = time.perf_counter()
    sampler.run_mcmc(state, steps)
    return sampler.get_chain(), steps / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("megabytes", type=float, nargs="?", default=1.0)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    with MPIPool() as pool:
        data = observe(options.megabytes)
        pooled, pooled_rate = sample(data, options.steps, pool)
        serial, serial_rate = sample(data, options.steps, None)

    print(f"{len(data[0])} points, {options.megabytes:g} MB, {WALKERS} walkers")
    print(f"serial: {serial_rate:8.1f} steps/s")
    print(f"pooled: {pooled_rate:8.1f} steps/s with {pool.size} workers")
    kept = pooled[len(pooled) // 2 :].reshape(-1, 3)
    for name, values in zip(("slope", "intercept", "log noise"), kept.T):
        print(f"{name:>10} = {values.mean():.5f} +- {values.std():.5f}")
    if not np.array_equal(pooled, serial):
        sys.exit("the pooled chain is not the serial one")
    print("The pooled chain is the serial one.")


if __name__ == "__main__":
    main()
