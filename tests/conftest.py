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


def pytest_addoption(parser):
    help = "leave out what runs on more than three ranks, if it runs on fewer, too"
    parser.addoption("--few-ranks", action="store_true", help=help)


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--few-ranks"):
        return
    few = {item.originalname for item in items if _ranks(item) <= 3}
    many = [item for item in items if _ranks(item) > 3 and item.originalname in few]
    config.hook.pytest_deselected(items=many)
    items[:] = [item for item in items if item not in many]


def _ranks(item):
    """On how many ranks the test runs; 0 where it is not parametrised by that."""
    call = getattr(item, "callspec", None)
    ranks = call.params.get("ranks") if call else None
    return ranks if isinstance(ranks, int) else 0


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes more than 20 seconds")


def pytest_report_header():
    found = launch.find_mpiexec()
    return "mpiexec: " + (found + " of " + launch.mpi() if found else "none found")


@pytest.fixture(scope="session")
def mpi():
    """Whose launcher starts the jobs: "mpich", "openmpi" or "intelmpi"."""
    return launch.mpi()
