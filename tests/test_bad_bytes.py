"""What comes off the wire and is wrong: a clear error, or dropped; never a crash.

tests/programs/bad_bytes.py plays the peer; each scenario in a process of its own.
"""

import re
import sys
from pathlib import Path

import pytest
from c_program import HERE, compile_c, run_command

PROGRAMS = Path(__file__).parent / "programs"
PROGRAM = PROGRAMS / "bad_bytes.py"
LISTED = PROGRAM.read_text().split("SCENARIOS = [")[1].split("]")[0]
SHARED = ("-shared", "-fPIC", "-fvisibility=default")


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    library = tmp_path_factory.mktemp("fake") / "fake.so"
    return compile_c([HERE / "fake_transport.c"], library, *SHARED)


@pytest.mark.parametrize("scenario", re.findall(r"(\w+),", LISTED))
def test_engine(fake, scenario):
    command = [sys.executable, "-X", "faulthandler", str(PROGRAM), str(fake), scenario]
    assert run_command(command, 150).splitlines()[-1] == "ok"
