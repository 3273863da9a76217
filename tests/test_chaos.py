"""Everything at once, at random, each call compared with a serial run.

EZMPI_TEST_CHAOS says for how many seconds, and EZMPI_TEST_SEED where to begin; the seed
of a run that failed is in what is printed.
"""

import os
import subprocess
import sys
import time

import pytest
from launch import PATIENCE, PROGRAMS, check

SECONDS = float(os.environ.get("EZMPI_TEST_CHAOS", "15"))
SEED = int(os.environ.get("EZMPI_TEST_SEED", time.time()))
PROGRAM = "chaos.py"
ENDING = 60  # seconds for the call that goes on, in which 30 MB may travel


@pytest.mark.parametrize("ranks", [2, 8])
def test_ranks(ranks):
    check(PROGRAM, ranks, str(SEED), str(SECONDS), timeout=SECONDS + ENDING)


def test_forked():
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / PROGRAM), str(SEED), str(SECONDS), "local"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=(SECONDS + ENDING) * PATIENCE,
    )
    assert done.returncode == 0 and done.stdout.endswith("ok\n"), (SEED, done.stdout)
