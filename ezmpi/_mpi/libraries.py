"""Where MPI libraries lie: in this process, in the environment, on the system."""

from __future__ import annotations

import mmap
import os
import site
import sys

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Optional

# The C bindings: not libmpifort, libmpi_mpifh, libmpi_usempif08, libmpi_cxx ...
_STEMS = ("libmpi", "libmpich", "libmpi_abi")
_STEMS_BEGIN = ("libmpi_cray", "libmpi_gnu")


def _is_mpi(file: str) -> bool:
    stem, suffix, version = os.path.basename(file).partition(".so")
    known = stem in _STEMS or stem.startswith(_STEMS_BEGIN)
    return known and bool(suffix) and version[:1] in ("", ".", " ")


def _soname_in(name: str) -> str:
    """ "libmpi.so.12" of "libmpi.so.12.5.0"; "" of other names."""
    stem, _, version = name.partition(".so.")
    number = version.partition(".")[0]
    fits = stem.startswith("libmpi") and stem.isidentifier() and number.isdigit()
    return f"{stem}.so.{number}" if fits else ""


def soname_inside(path: str) -> str:
    """The MPI library's name that a shared object holds: its own, or what it needs."""
    with open(path, "rb") as file:
        contents = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    begin = contents.find(b"\0libmpi")
    while begin >= 0:
        end = contents.find(b"\0", begin + 1)
        name = contents[begin + 1 : end].decode("latin-1")
        if name and _soname_in(name) == name:
            return name
        begin = contents.find(b"\0libmpi", end)
    return ""


def soname(path: str) -> str:
    """The name under which programs need the library: "libmpi.so.12"; "": unknown."""
    for name in (path, os.path.realpath(path)):
        found = _soname_in(os.path.basename(name))
        if found:
            return found
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
    return [file for file in files if _is_mpi(file)]


def _directories() -> Iterator[str]:
    user = [site.USER_BASE] if site.ENABLE_USER_SITE and site.USER_BASE else []
    for prefix in (sys.prefix, *user, *site.PREFIXES):  # where wheels put them
        yield os.path.join(prefix, "lib")
    yield from filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    import shutil  # which most that look have no need of: they found one above

    mpiexec = shutil.which("mpiexec")
    if mpiexec:
        root = os.path.dirname(os.path.dirname(os.path.realpath(mpiexec)))
        yield from (os.path.join(root, name) for name in ("lib", "lib64"))


def installed(sonames: Iterable[str]) -> Iterator[str]:
    """The MPI libraries of these names, and libmpi.so, the nearest first.

    libmpi.so comes before libmpi.so.12 because mpi4py takes them so, and they may be
    copies of each other (Intel's wheel), of which a process must hold one only. Some
    may come twice.
    """
    names = ("libmpi.so", *sonames)
    paths = (os.path.join(place, name) for place in _directories() for name in names)
    return filter(is_library, paths)


def load_from_system(name: str) -> Optional[str]:
    """Load the library that the dynamic linker finds by its name; return its path."""
    import ctypes

    try:
        ctypes.CDLL(name)
    except OSError:
        return None
    return next((path for path in loaded() if soname(path) == name), None)


def beside(library: str, program: str) -> Optional[str]:
    """A program that was installed with the library: mpiexec, mpicc."""
    path = os.path.join(os.path.dirname(library), "..", "bin", program)
    return os.path.normpath(path) if os.access(path, os.X_OK) else None
