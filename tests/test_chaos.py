"""Everything at once, at random, each call compared with a serial run.

EZMPI_TEST_CHAOS says for how many seconds, and EZMPI_TEST_SEED where to begin; the seed
of a run that failed is in what is printed.  In CI it is three minutes: six tests under
MPICH, two under Open MPI.
"""

import os
import subprocess
import sys
import time

import pytest
from launch import PATIENCE, PROGRAMS, check

SECONDS = float(os.environ.get("EZMPI_TEST_CHAOS", "23"))
SEED = int(os.environ.get("EZMPI_TEST_SEED", time.time()))
PROGRAM = "chaos.py"
ENDING = 60  # seconds for the call that goes on, in which 30 MB may travel


@pytest.mark.parametrize("how", [[], ["isolated"]], ids="_".join)
@pytest.mark.parametrize("ranks", [2, 8])
def test_ranks(ranks, how):
    check(PROGRAM, ranks, str(SEED), str(SECONDS), *how, timeout=SECONDS + ENDING)


@pytest.mark.parametrize("how", [["local"], ["local", "isolated"]], ids="_".join)
def test_forked(how):
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / PROGRAM), str(SEED), str(SECONDS), *how],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=(SECONDS + ENDING) * PATIENCE,
    )
    assert done.returncode == 0 and done.stdout.endswith("ok\n"), (SEED, done.stdout)
