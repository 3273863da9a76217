"""Do all ranks of a job run the same ezmpi and Python?  See csrc/hello.h."""

import os
import struct
import sys

from .errors import TransportError

# A job's ranks differ in what they run where hosts have other modules loaded or other
# environments, or where mpiexec starts several programs. What they then say to each
# other may be misread, and the results be wrong: so these must be equal.
_NAMES = ("ezmpi", "Python", "the protocol", "the sizes of numbers")
_SEPARATOR = "\n"


def describe(protocol: int) -> bytes:
    """What this rank runs, and where; `protocol` is the number of the messages'."""
    import ezmpi

    python = "{}.{}".format(*sys.version_info)  # the same code objects and pickles
    sizes = [struct.calcsize(letter) for letter in "Plq"]
    numbers = f"{sys.byteorder} {sizes}"
    words = [ezmpi.__version__, python, str(protocol), numbers, os.uname().nodename]
    return _SEPARATOR.join(words).encode()


def check(rank: int, said: bytes, protocol: int) -> str:
    """Raise a `TransportError` unless that rank runs what this one does; its host."""
    theirs = said.decode(errors="replace").split(_SEPARATOR)
    ours = describe(protocol).decode().split(_SEPARATOR)
    count = len(_NAMES)
    if len(theirs) <= count or theirs[:count] != ours[:count]:
        raise TransportError(_explain(rank, theirs, ours))
    return theirs[count]


def _explain(rank: int, theirs: "list[str]", ours: "list[str]") -> str:
    pairs = zip(_NAMES, theirs, ours)
    differ = [(f"{name} {a}", f"{name} {b}") for name, a, b in pairs if a != b]
    host = f" on {theirs[len(_NAMES)]}" if len(theirs) > len(_NAMES) else ""
    there = " and ".join(a for a, _ in differ) or "another version of ezmpi"
    here = " and ".join(b for _, b in differ) or f"ezmpi {ours[0]}"
    return (
        f"rank {rank}{host} runs {there:.200}, and rank 0 {here}; start all ranks of "
        "the job with the same Python and ezmpi, from one environment that every "
        "host has"
    )
