"""The examples of the gallery: each client's run on the pool is its serial run.

A new one is a line in `EXAMPLES`.  Each compares the two runs itself, and exits with 1
where they differ; and prints how many tasks ran in the workers' processes, as counted
there.
"""

import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from launch import launch

ROOT = Path(__file__).resolve().parent.parent
GALLERY = ROOT / "examples" / "gallery"


class Example(NamedTuple):
    program: str
    needs: str  # the module of the client
    says: str  # the beginning of a line; behind it stands a number,
    value: float  # which is this one,
    within: float  # but for so much


EXAMPLES = [
    Example("adaptive_resonance.py", "adaptive", "peak = ", 0.3137, 0.002),
    Example("emcee_ringdown.py", "emcee", "period = ", 3.0, 0.05),
    Example("bilby_pulse.py", "bilby", "height = ", 1.0, 0.2),
    Example("dynesty_lines.py", "dynesty", "log evidence of two = ", -46.5, 3),
    Example("nautilus_transit.py", "nautilus", "depth = ", 1.2, 0.2),
    Example("zeus_decay.py", "zeus", "lifetime = ", 2.0, 0.3),
    Example("lmfit_decay.py", "lmfit", "t2 = ", 8.0, 1.0),
    Example("pypesto_multistart.py", "pypesto", "frequency = ", 0.35, 0.005),
    Example("scipy_period.py", "scipy", "period = ", 5.3, 0.02),
    Example("sklearn_grid_search.py", "sklearn", "score = ", 0.98, 0.02),
]


def number_after(says, text):
    (found,) = re.findall("^" + re.escape(says) + r"(\S+)", text, re.MULTILINE)
    return float(found)


@pytest.mark.parametrize("example", EXAMPLES, ids=[e.program for e in EXAMPLES])
def test_the_pool_and_the_serial_run_agree(example):
    if importlib.util.find_spec(example.needs) is None:
        pytest.skip("%s is not installed (extra: gallery)" % example.needs)
    result = launch(GALLERY / example.program, 3, timeout=240)
    assert result.returncode == 0, result
    assert "The pool and the serial run agree." in result.stdout.splitlines(), result
    assert abs(number_after(example.says, result.stdout) - example.value) <= (
        example.within
    ), result
    (tasks,) = re.findall("^Tasks per worker: (.*)$", result.stdout, re.MULTILINE)
    assert len(tasks.split()) == 2, result
    assert all(int(count) > 0 for count in tasks.split()), result
    assert result.stderr == "", result
    assert result.left == [], result


def test_every_example_is_run_and_shown():
    """By a line above, and on a page of the docs."""
    files = sorted(path.name for path in GALLERY.glob("*.py"))
    assert files == sorted(example.program for example in EXAMPLES)
    pages = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    for name in files:
        assert "```{literalinclude} ../../examples/gallery/%s\n" % name in pages, name
