"""Two decays in noise: a global fit, then the uncertainties by emcee, with lmfit.

mpiexec -n 4 python examples/gallery/lmfit_decay.py
"""

import os
import sys

# One thread in each process: several ranks share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import lmfit  # noqa: E402
import numpy as np  # noqa: E402

from ezmpi import MPIPool  # noqa: E402

NOISE = 0.1
CALLS = []  # of each process its own


def model(params, t):
    p = params.valuesdict()
    return p["a1"] * np.exp(-t / p["t1"]) + p["a2"] * np.exp(-t / p["t2"])


def residual(params, t, y):
    CALLS.append(1)
    return (model(params, t) - y) / NOISE


def calls():
    return len(CALLS)


def run(pool):
    t = np.linspace(0, 20, 250)
    params = lmfit.Parameters()
    params.add("a1", 3.0, min=0.1, max=20)
    params.add("t1", 2.0, min=0.1, max=3)
    params.add("a2", 2.0, min=0.1, max=20)
    params.add("t2", 8.0, min=3, max=20)
    y = model(params, t) + NOISE * np.random.default_rng(1).normal(size=t.size)

    minimizer = lmfit.Minimizer(residual, params, fcn_args=(t, y))
    best = minimizer.minimize(
        method="differential_evolution",
        seed=2,
        updating="deferred",
        workers=pool.map if pool else 1,
    )
    sampled = minimizer.minimize(
        method="emcee",
        params=best.params,
        steps=150,
        burn=50,
        nwalkers=16,
        seed=3,
        progress=False,
        workers=pool or 1,
    )
    return best.params, sampled


if __name__ == "__main__":
    with MPIPool() as pool:
        best, sampled = run(pool)
        print("Tasks per worker:", *pool.run_everywhere(calls))
    for name, value in sampled.params.items():
        print(
            f"{name} = {value.value:.2f} +- {value.stderr:.2f} ({best[name].value:.2f})"
        )
    best_alone, sampled_alone = run(None)
    if best.valuesdict() != best_alone.valuesdict() or not np.array_equal(
        sampled.chain, sampled_alone.chain
    ):
        sys.exit("the pool's fit is not the serial one")
    print("The pool and the serial run agree.")
