"""The examples run, say what they promise, and the pool and the serial run agree."""

import re
from pathlib import Path

import pytest
from launch import launch

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def numbers(pattern, text):
    """The groups of the only line that matches, as numbers."""
    (found,) = re.findall("^" + pattern + "$", text, re.MULTILINE)
    return [float(number) for number in found]


def table(title, text):
    """The rows under a title, up to the next empty line."""
    _, _, rest = text.partition(title)
    return rest.split("\n\n")[0].splitlines()[1:]


def test_survey_of_the_standard_library():
    result = launch(EXAMPLES / "survey_stdlib.py", 4, timeout=240)
    assert result.returncode == 0, result
    said = result.stdout
    modules, functions, lines = numbers(
        r"(\d+) modules, (\d+) functions, (\d+) lines", said
    )
    assert 100 < modules < functions < lines, result
    for title, columns in (("functions", r"\d+ +\d+  \S+:\d+"), ("modules", r"\d+ +\d+")):
        rows = table("The most complex " + title, said)
        assert len(rows) == 20, result
        assert all(re.match(r"  \S+ +" + columns + "$", row) for row in rows), rows
        complexities = [int(row.split()[1]) for row in rows]
        assert complexities == sorted(complexities, reverse=True), rows
    shares = numbers(r"Tasks per worker: (\d+) (\d+) (\d+)", said)
    assert sum(shares) == modules and min(shares) > 0, result
    pooled, workers, serial, speedup = numbers(
        r"(\S+) s with (\d+) workers, (\S+) s serially: (\S+) times as fast", said
    )
    assert workers == 3 and abs(speedup - serial / pooled) < 0.05, result
    assert "The pool and the serial run agree." in said, result
    assert result.stderr == "", result


def test_asyncio_futures():
    result = launch(EXAMPLES / "asyncio_futures.py", 4, timeout=60)
    assert result.returncode == 0, result
    pi, error, calls, left = numbers(
        r"pi = (\S+) \+- (\S+) from (\d+) calls; (\d+) left", result.stdout
    )
    # Neither counts one that ended meanwhile.
    assert abs(pi - 3.1416) < 6 * error and 950 < calls + left <= 1000, result
    assert result.stderr == "", result


def test_threads_and_callbacks():
    result = launch(EXAMPLES / "threads_and_callbacks.py", 4, timeout=60)
    assert result.returncode == 0, result
    said = result.stdout
    assert numbers(r"small: (\d+) steps from (\d+)", said) == [216, 2919], result
    steps, start = numbers(r"large: (\d+) steps from (\d+)", said)
    assert steps > 216 and 10**6 <= start < 10**6 + 3000, result
    assert numbers(r"(\d+) of 10 parts: (\d+) numbers", said) == [10, 1000], result
    assert result.stderr == "", result


@pytest.mark.parametrize("megabytes", [[], ["0.1"]], ids=["1 MB by default", "0.1 MB"])
def test_emcee_fit(megabytes):
    pytest.importorskip("emcee", reason="emcee is not installed (extra: examples)")
    arguments = [*megabytes, "--steps", "20"]
    result = launch(EXAMPLES / "fit_line_emcee.py", 3, *arguments, timeout=120)
    assert result.returncode == 0, result
    said = result.stdout
    points, size, walkers = numbers(r"(\d+) points, (\S+) MB, (\d+) walkers", said)
    assert size == float(megabytes[0] if megabytes else 1), result
    assert points == int(size * 2**20 / 16) and walkers == 32, result
    serial, pooled, workers = numbers(
        r"serial: +(\S+) steps/s\npooled: +(\S+) steps/s with (\d+) workers", said
    )
    assert serial > 0 and pooled > 0 and workers == 2, result
    for name, true in (("slope", 2.5), ("intercept", -1), ("log noise", -0.693)):
        mean, spread = numbers(" +" + name + r" = (\S+) \+- (\S+)", said)
        assert abs(mean - true) < 0.1 and 0 < spread < 0.1, result
    assert "The pooled chain is the serial one." in said, result
    assert result.stderr == "", result
