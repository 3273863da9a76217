"""The tests run the installed package, never the source tree beside them."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent

sys.path.insert(0, str(TESTS))  # what the tests share: launch, c_program
import launch  # noqa: E402


def _leads_to_source_tree(entry):
    return Path(entry or ".").resolve() == ROOT


# `python -m pytest` puts the working directory on sys.path, and with it a package
# without its extension, unless it was built in place.
if not list((ROOT / "ezmpi").glob("_ezmpi*.so")):
    sys.path[:] = [entry for entry in sys.path if not _leads_to_source_tree(entry)]


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than 20 seconds")


def pytest_report_header():
    found = launch.find_mpiexec()
    return "mpiexec: " + (found + " of " + launch.mpi() if found else "none found")


@pytest.fixture(scope="session")
def mpi():
    """Whose launcher starts the jobs: "mpich", "openmpi" or "intelmpi"."""
    return launch.mpi()
