"""What the docstrings show is what happens."""

from launch import check

import ezmpi
import ezmpi._future
import ezmpi._shared
import ezmpi.futures

CLASSES = (
    ezmpi.MPIPool,
    ezmpi._future.AsyncResult,
    ezmpi._future.PoolFuture,
    ezmpi._shared.Shared,
    ezmpi.futures.MPIPoolExecutor,
    ezmpi.futures.MPICommExecutor,
)
MODULES = {"ezmpi", "pool", "errors", "futures", "_future", "_shared", "_status"}


def methods(cls):
    """The public ones, and what stands for one: properties, static methods."""
    return [
        cls.__name__ + "." + name
        for name, value in vars(cls).items()
        if not name.startswith("_") and (callable(value) or hasattr(value, "__get__"))
    ]


def test_examples():
    """Every public name has one; those of four ranks print what they say."""
    result = check("docstrings.py", 4)
    cases = [line for line in result.stdout.splitlines() if line.startswith("case: ")]
    names = [line[len("case: ") :].split(".") for line in cases]
    ran = {".".join(part for part in name if part not in MODULES) for name in names}
    wanted = {name for cls in CLASSES for name in [cls.__name__, *methods(cls)]}
    wanted |= {name for name in ezmpi.__all__ if name[0].isupper()}
    wanted -= {"MPIPool"}  # a script of its own
    wanted -= {"JoblibPool", "MultiPool", "SerialPool"}  # in test_local.py
    assert wanted <= ran, wanted - ran
