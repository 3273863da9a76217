"""joblib's Parallel on the workers; scikit-learn is in the gallery's tests."""

import sys

import pytest
from c_program import run_command
from launch import check, launch

pytest.importorskip("joblib", reason="joblib is not installed (extra: joblib)")


@pytest.mark.parametrize("ranks", [3, 4])
def test_parallel(ranks):
    check("joblib_backend.py", ranks, timeout=120)


def test_large_arguments():
    check("joblib_arrays.py", 3, timeout=120)


def test_without_workers():
    """One process is an error that says so, and not a serial run."""
    result = launch("joblib_alone.py", 1)
    assert result.returncode == 1, result
    assert "ValueError" in result.errors[0] and "mpiexec" in result.errors[0], result


def test_import_without_a_launcher(tmp_path, monkeypatch):
    """Tools that import modules run on one process, without a launcher."""
    code = "import ezmpi.joblib; print('ok')"
    monkeypatch.chdir(tmp_path)  # the source tree is not compiled
    assert run_command([sys.executable, "-c", code], 60).split() == ["ok"]
