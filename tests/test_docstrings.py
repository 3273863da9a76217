"""What the docstrings show is what happens."""

from launch import check

import ezmpi


def test_examples():
    """Every public name has one; those of four ranks print what they say."""
    result = check("docstrings.py", 4)
    cases = result.stdout.replace("ezmpi.pool.", "").replace("ezmpi.errors.", "")
    ran = {line[6:] for line in cases.splitlines() if line.startswith("case: ")}
    methods = [name for name in vars(ezmpi.MPIPool) if not name.startswith("_")]
    wanted = {"MPIPool." + name for name in methods if name != "master"}
    wanted |= {name for name in ezmpi.__all__ if name[0].isupper()} - {"MPIPool"}
    assert wanted <= ran, wanted - ran
