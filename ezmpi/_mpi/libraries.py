"""Where MPI libraries lie: in this process, in the environment, on the system."""

import ctypes
import mmap
import os
import re
import shutil
import site
import sys
from typing import Iterable, Iterator, List, Optional

# The C bindings: not libmpifort, libmpi_mpifh, libmpi_usempif08, libmpi_cxx ...
_LIBRARY_FILE = re.compile(r"libmpi(ch|_abi|_cray\w*|_gnu\w*)?\.so\b")
_SONAME = re.compile(r"libmpi\w*\.so\.\d+")
_SONAME_INSIDE = re.compile(rb"\0(libmpi\w*\.so\.\d+)\0")


def soname_inside(path: str) -> str:
    """The MPI library's name that a shared object holds: its own, or what it needs."""
    with open(path, "rb") as file:
        contents = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    match = _SONAME_INSIDE.search(contents)
    return match.group(1).decode() if match else ""


def soname(path: str) -> str:
    """The name under which programs need the library: "libmpi.so.12"; "": unknown."""
    for name in (path, os.path.realpath(path)):
        match = _SONAME.match(os.path.basename(name))
        if match:
            return match.group()
    return soname_inside(path)


def is_library(path: str) -> bool:
    """Whether it is a shared object; libmpi.so may be a script for the linker."""
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def loaded() -> List[str]:
    """The MPI libraries that are in this process (on Linux; else none is known)."""
    try:
        with open("/proc/self/maps") as maps:
            lines = [line.rstrip("\n").split(None, 5) for line in maps]
    except OSError:
        return []
    files = dict.fromkeys(line[5] for line in lines if len(line) == 6)
    return [file for file in files if _LIBRARY_FILE.match(os.path.basename(file))]


def _directories() -> Iterator[str]:
    user = [site.USER_BASE] if site.ENABLE_USER_SITE and site.USER_BASE else []
    for prefix in (sys.prefix, *user, *site.PREFIXES):  # where wheels put them
        yield os.path.join(prefix, "lib")
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    mpiexec = shutil.which("mpiexec")
    if mpiexec:
        root = os.path.dirname(os.path.dirname(os.path.realpath(mpiexec)))
        yield from (os.path.join(root, name) for name in ("lib", "lib64"))


def installed(sonames: Iterable[str]) -> List[str]:
    """The MPI libraries of these names, and libmpi.so, the nearest first.

    libmpi.so comes before libmpi.so.12 because mpi4py takes them so, and they may be
    copies of each other (Intel's wheel), of which a process must hold one only.
    """
    names = ("libmpi.so", *sonames)
    paths = [os.path.join(place, name) for place in _directories() for name in names]
    return [path for path in dict.fromkeys(paths) if is_library(path)]


def load_from_system(name: str) -> Optional[str]:
    """Load the library that the dynamic linker finds by its name; return its path."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return None
    return next((path for path in loaded() if soname(path) == name), None)


def beside(library: str, program: str) -> Optional[str]:
    """A program that was installed with the library: mpiexec, mpicc."""
    path = os.path.join(os.path.dirname(library), "..", "bin", program)
    return os.path.normpath(path) if os.access(path, os.X_OK) else None
