"""Ranks of one job that run different versions: one clear error, and the job ends."""

import sys

import pytest
from launch import check, launch, node

import ezmpi

PYTHON = "{}.{}".format(*sys.version_info)
EXPECTED = {
    "ezmpi": f"runs ezmpi 0.9, and rank 0 ezmpi {ezmpi.__version__};",
    "Python": f"runs Python 3.7, and rank 0 Python {PYTHON};",
}


def test_all_run_the_same():
    check("versions.py", 3, "none")


@pytest.mark.parametrize("what", EXPECTED)
@pytest.mark.parametrize(("ranks", "rank"), [(2, 1), (4, 2), (4, 0)])
def test_one_runs_another(what, ranks, rank):
    result = launch("versions.py", ranks, what, rank)
    assert result.returncode != 0, result
    assert "ok" not in result.stdout, result
    assert result.left == [], result
    said = [text for text in result.errors if "TransportError" in text]
    assert len(said) == 1 and said[0] == result.errors[0], result
    last = said[0].strip().splitlines()[-1]
    assert "start all ranks of the job with the same Python and ezmpi" in last, result
    if rank != 0:
        host = node(rank)
        assert f"TransportError: rank {rank} on {host} {EXPECTED[what]}" in last, result


def test_error_is_caught():
    """The workers are of no use to a second pool, either."""
    result = launch("versions.py", 3, "caught", 2)
    assert result.returncode != 0, result
    assert result.stdout.split() == ["caught", "again"], result
    assert result.left == [], result
