"""Where MPI libraries lie, and which transports this installation holds."""

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional

# The names under which the libraries of each transport's MPI are installed.
LIBRARIES = {
    "mpich": ("libmpi.so.12", "libmpi.12.dylib"),
    "openmpi": ("libmpi.so.40", "libmpi.40.dylib"),
    "mpiabi": ("libmpi_abi.so.1", "libmpi_abi.1.dylib", "libmpi_abi.so.0"),
}
_LIBRARY_FILE = re.compile(r"/lib(mpi|mpich|mpi_abi)(\.so(\.\d+)*|\.\d+\.dylib)$")


def built_variants() -> Dict[str, Path]:
    """The transports that were compiled, by name."""
    folder = Path(__file__).parent
    return {path.stem: path for path in sorted(folder.glob("*.so"))}


def variant_of(library: str) -> Optional[str]:
    """The transport that fits an MPI library, by its file name; None: unknown."""
    name = os.path.basename(os.path.realpath(library))
    if name.startswith("libmpich"):  # Debian's MPICH; the same ABI
        return "mpich"
    for variant, names in LIBRARIES.items():
        if any(name.startswith(known) for known in names):
            return variant
    return None


def in_prefix(variant: str) -> Optional[str]:
    """The library in the environment's own lib folder."""
    for name in LIBRARIES[variant]:
        path = Path(sys.prefix, "lib", name)
        if path.exists():
            return str(path)
    return None


def on_system(variant: str) -> bool:
    """Whether the dynamic linker finds the library by its name."""
    for name in LIBRARIES[variant]:
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
