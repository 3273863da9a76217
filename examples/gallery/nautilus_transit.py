"""The depth of a planet's transit, with nautilus.

mpiexec -n 4 python examples/gallery/nautilus_transit.py
"""

import os
import sys

# One thread in each process: several ranks share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import nautilus  # noqa: E402
import numpy as np  # noqa: E402

from ezmpi import MPIPool  # noqa: E402

NOISE = 0.3
CALLS = []  # of each process its own


def flux(depth, middle, duration, t):
    """A box with soft edges, in thousandths of the star's light."""
    return -depth / (1 + np.exp(40 * (np.abs(t - middle) - duration / 2)))


class LogLikelihood:
    def __init__(self):
        self.t = np.linspace(0, 5, 300)
        noise = NOISE * np.random.default_rng(1).normal(size=self.t.size)
        self.y = flux(1.2, 2.4, 0.8, self.t) + noise

    def __call__(self, theta):
        CALLS.append(1)
        residuals = self.y - flux(*theta, self.t)
        return -0.5 * np.sum(residuals**2) / NOISE**2


def prior(unit):
    """Depth up to 2, middle from 2 to 3, duration from 0.4 to 1.2."""
    return np.array([0, 2, 0.4]) + np.array([2, 1, 0.8]) * unit


def calls():
    return len(CALLS)


def run(pool):
    sampler = nautilus.Sampler(
        prior,
        LogLikelihood(),
        n_dim=3,
        n_live=100,
        n_networks=0,  # ellipsoids will do; the default, 4 networks, takes longer
        n_batch=100,  # else the number of workers has a say
        pool=(pool, None),  # likelihoods on the workers, the sampler's own work here
        seed=2,
    )
    sampler.run(n_eff=200, verbose=False)
    points, log_w, _ = sampler.posterior()
    return points, np.exp(log_w), sampler.log_z


if __name__ == "__main__":
    with MPIPool() as pool:
        points, weights, log_z = run(pool)
        print("Tasks per worker:", *pool.run_everywhere(calls))
    mean = np.average(points, axis=0, weights=weights)
    spread = np.sqrt(np.average((points - mean) ** 2, axis=0, weights=weights))
    for name, value, error in zip(("depth", "middle", "duration"), mean, spread):
        print(f"{name} = {value:.3f} +- {error:.3f}")
    print(f"log evidence = {log_z:.2f}")
    serial, _, serial_log_z = run(None)
    if not (np.array_equal(points, serial) and log_z == serial_log_z):
        sys.exit("the pool's points are not the serial ones")
    print("The pool and the serial run agree.")
