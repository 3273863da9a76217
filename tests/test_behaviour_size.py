"""Large objects, and many tasks."""

import os
from pathlib import Path

import pytest
from launch import check

MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.slow
@pytest.mark.skipif(MEMORY < 12e9, reason="needs 12 GB of memory")
@pytest.mark.parametrize("kind", ["bytes", "array"])
def test_more_than_two_gigabytes(kind):
    if kind == "array":
        pytest.importorskip("numpy", reason="needs numpy")
    check("big.py", 2, kind, timeout=240)


@pytest.mark.slow
def test_a_million_tasks_in_bounded_memory():
    """The existing pools make a list of the tasks first."""
    check("million.py", 3, 10**6, timeout=240)


def large_pages():
    """Whether who asks for them gets them."""
    path = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return path.exists() and "[never]" not in path.read_text()


@pytest.mark.skipif(not large_pages(), reason="this system has no large pages")
def test_large_pages():
    check("large_pages.py", 2)


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_large_callables(ranks):
    check("large_callable.py", ranks)


@pytest.mark.parametrize("where", ["away", "circle", "end"])
def test_large_callables_and_absent_workers(where):
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    check("test_mode_large.py", 4, where)


@pytest.mark.parametrize("ranks", [2, 8])
def test_many_tasks_in_bounded_memory(ranks):
    check("million.py", ranks, 10**5)
