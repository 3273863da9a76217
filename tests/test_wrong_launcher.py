"""A script under the launcher of another MPI: one clear error, not N serial runs.

``EZMPI_TEST_OTHER_MPIEXEC`` names that launcher; two MPIs in one environment would
overwrite each other's.
"""

import os

import pytest
from launch import launch, mpi, mpi_of

OTHER = os.environ.get("EZMPI_TEST_OTHER_MPIEXEC")


@pytest.mark.skipif(not OTHER, reason="EZMPI_TEST_OTHER_MPIEXEC is not set")
@pytest.mark.parametrize("ranks", [2, 4])
def test_other_launcher(ranks):
    """By itself MPICH aborts every rank, and Open MPI takes each for a single one."""
    assert mpi_of(OTHER) != mpi(), "EZMPI_TEST_OTHER_MPIEXEC is this environment's own"
    result = launch("alone.py", ranks, launcher=OTHER)
    assert result.returncode != 0, result
    assert "mapped" not in result.stdout, result
    told = [error for error in result.errors if error]
    assert len(told) == 1, result
    assert "mpiexec" in told[0].splitlines()[-1], result
    assert result.left == [] and result.seconds < 20, result
