"""The examples run, and find that the pool and the serial run agree."""

from pathlib import Path

import pytest
from launch import launch

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_survey_of_the_standard_library():
    result = launch(EXAMPLES / "survey_stdlib.py", 4, timeout=240)
    assert result.returncode == 0, result
    assert "The most complex functions" in result.stdout
    assert "The pool and the serial run agree." in result.stdout, result
    assert result.stderr == "", result


def test_emcee_fit():
    pytest.importorskip("emcee", reason="emcee is not installed (extra: examples)")
    result = launch(
        EXAMPLES / "fit_line_emcee.py", 3, "0.1", "--steps", "20", timeout=120
    )
    assert result.returncode == 0, result
    assert "The pooled chain is the serial one." in result.stdout, result
    assert result.stderr == "", result
