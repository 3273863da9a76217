"""A pulse in noise, with bilby and its usual sampler, dynesty.

mpiexec -n 4 python examples/gallery/bilby_pulse.py
"""

import multiprocessing
import os
import sys
import tempfile
import warnings

# One thread in each process: several ranks share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import bilby  # noqa: E402
import numpy as np  # noqa: E402

import ezmpi  # noqa: E402

TRUTH = {"height": 1.0, "middle": 4.0, "width": 0.7}
CALLS = []  # of each process its own


def pulse(t, height, middle, width):
    CALLS.append(1)
    return height * np.exp(-0.5 * ((t - middle) / width) ** 2)


def calls():
    return len(CALLS)


def run(npool, **options):
    t = np.linspace(0, 10, 200)
    y = pulse(t, **TRUTH) + 0.3 * np.random.default_rng(1).normal(size=t.size)
    bilby.core.utils.random.seed(3)  # bilby's own random numbers
    with tempfile.TemporaryDirectory() as outdir:  # nothing to resume from
        return bilby.run_sampler(
            likelihood=bilby.likelihood.GaussianLikelihood(t, y, pulse, sigma=0.3),
            priors={
                "height": bilby.core.prior.Uniform(0, 5),
                "middle": bilby.core.prior.Uniform(0, 10),
                "width": bilby.core.prior.Uniform(0.1, 3),
            },
            sampler="dynesty",
            sample="acceptance-walk",  # act-walk and rwalk keep state in a process
            naccept=5,
            nlive=50,
            rstate=np.random.default_rng(2),  # dynesty's
            dlogz=1,
            npool=npool,
            outdir=outdir,
            print_method="interval-600",
            check_point_plot=False,
            save=False,
            **options,
        )


if __name__ == "__main__":
    bilby.core.utils.setup_logger(log_level="WARNING")
    warnings.simplefilter("ignore", FutureWarning)  # of bilby's own likelihoods
    with ezmpi.MPIPool() as pool:
        multiprocessing.Pool = ezmpi.Pool  # bilby makes one for npool > 1
        result = run(pool.size)
        print("Tasks per worker:", *pool.run_everywhere(calls))
    for name, values in result.posterior[list(TRUTH)].items():
        print(f"{name} = {values.mean():.3f} +- {values.std():.3f}")
    print(f"log evidence = {result.log_evidence:.2f} +- {result.log_evidence_err:.2f}")
    serial = run(pool.size, pool=ezmpi.SerialPool())
    if not result.posterior.equals(serial.posterior):
        sys.exit("the pool's samples are not the serial ones")
    print("The pool and the serial run agree.")
