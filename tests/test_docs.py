"""Every complete script in the README and the docs runs as it stands."""

import re
from pathlib import Path

import pytest
from launch import launch

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def scripts(page):
    blocks = BLOCK.findall(page.read_text())
    return [block for block in blocks if "import MPIPool" in block]


SCRIPTS = [
    pytest.param(script, id="%s-%d" % (page.relative_to(ROOT), number))
    for page in PAGES
    for number, script in enumerate(scripts(page))
]


def test_scripts_are_found():
    assert len(SCRIPTS) > 5


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_runs(script, tmp_path):
    program = tmp_path / "script.py"
    program.write_text(script)
    result = launch(program, 4)
    assert result.returncode == 0, result
    assert result.stdout.strip(), result
    assert result.stderr == "", result


def test_a_script_that_fails_is_noticed(tmp_path):
    program = tmp_path / "script.py"
    program.write_text("from ezmpi import MPIPool\nMPIPool().map(len, [1])\n")
    assert launch(program, 4).returncode != 0
