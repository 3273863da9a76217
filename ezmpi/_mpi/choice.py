"""The rules: which transport, on which MPI library; and what to do if none fits."""

from __future__ import annotations

import os
import sys

from ..errors import TransportError
from . import libraries
from .launcher import Launcher, LauncherError

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Sequence, Tuple

LOCAL = "local.so"  # beside them: the transport to forked processes
_ABI = "mpiabi"  # the transport for the ABI of MPI 5, which several MPIs have

# Where a message says what else is there; the transports know what they need.
_SONAMES = {
    "mpich": ("libmpi.so.12", "libmpich.so.12"),
    "openmpi": ("libmpi.so.40",),
    _ABI: ("libmpi_abi.so.1",),
}


class Transport:
    """A transport as it was compiled; `needs` is the soname of its library."""

    def __init__(self, name: str, path: str, needs: str) -> None:
        self.name = name
        self.path = path
        self.needs = needs


class Library:
    """An MPI library, and why it is taken."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why


def compiled() -> List[Transport]:
    """This installation's transports over MPI: ``name.so`` or ``name-soname.so``."""
    here = os.path.dirname(os.path.abspath(__file__))
    names = [name for name in sorted(os.listdir(here)) if name.endswith(".so")]
    names = [name for name in names if name != LOCAL]
    paths = [os.path.join(here, name) for name in names]
    return [
        Transport(name[: -len(".so")].split("-")[0], path, libraries.soname_inside(path))
        for name, path in zip(names, paths)
    ]


# ---- what is said --------------------------------------------------------------


def _list(transports: Sequence[Transport]) -> str:
    return ", ".join(f"{each.name} ({each.needs})" for each in transports)


def _compile(library: Optional[str] = None) -> str:
    """The command that gives ezmpi a transport for the library's MPI."""
    mpicc = library and libraries.beside(library, "mpicc")
    return (
        f"EZMPI_MPICC={mpicc or '/path/to/its/mpicc'} pip install --force-reinstall "
        "--no-deps . (in the directory of ezmpi's source)"
    )


def run(library: str, ranks: int) -> str:
    """The command that starts a script under the library's own launcher."""
    mpiexec = libraries.beside(library, "mpiexec") or "mpiexec"
    return f"{mpiexec} -n {ranks} python script.py"


def wrong_launcher(launcher: Launcher, library: Library) -> LauncherError:
    """What to raise where the launcher is of another MPI than the library."""
    return LauncherError(
        f"this process was started by {launcher.name}, which cannot start programs "
        f"that use {library.path} ({library.why}). Start the script with the launcher "
        f"of that MPI: {run(library.path, launcher.ranks)}"
    )


def alone(launcher: Launcher, library: Library, family: str) -> LauncherError:
    """What to raise where several were started and MPI sees each of them alone."""
    how = "Start the script with the launcher of that MPI: "
    if launcher.name == "srun":
        kind = "pmix" if family == "openmpi" else "pmi2"
        how = (
            f"Try srun --mpi={kind} -n {launcher.ranks} python script.py (srun "
            "--mpi=list says what it can do), or use the launcher of that MPI: "
        )
    return LauncherError(
        f"{launcher.name} started {launcher.ranks} processes, but each of them sees "
        f"only one MPI process, itself, through {library.path} ({library.why}). {how}"
        + run(library.path, launcher.ranks)
    )


# ---- the rules, one by one -------------------------------------------------------


def _wish(transports: List[Transport]) -> Tuple[List[Transport], Optional[Library]]:
    """What EZMPI_MPI leaves: a transport's name, or the path of a library."""
    wish = os.environ.get("EZMPI_MPI")
    if not wish:
        return transports, None
    if os.sep in wish:
        if libraries.is_library(wish):
            return transports, Library(wish, "named by EZMPI_MPI")
        raise TransportError(
            f"EZMPI_MPI={wish} is not a library. Set it to the path of a libmpi or to "
            f"one of {_list(transports)}, or let ezmpi choose: unset EZMPI_MPI"
        )
    chosen = [transport for transport in transports if transport.name == wish]
    if chosen:
        return chosen, None
    raise TransportError(
        f"EZMPI_MPI={wish}, but this ezmpi has transports for {_list(transports)} only. "
        f"Let it choose: unset EZMPI_MPI; or compile another: {_compile()}"
    )


def _loaded(wish: Optional[Library]) -> Optional[Library]:
    """The library that is in this process already, else the one wished for.

    One process must not hold two: the second to start fails or hangs.
    """
    files = libraries.loaded()
    if not files:
        return wish
    if len(files) > 1:
        raise TransportError(
            f"this process holds two MPI libraries, {' and '.join(files)}: use only "
            "packages that were made for the same MPI"
        )
    if wish and not os.path.samefile(wish.path, files[0]):
        raise TransportError(
            f"EZMPI_MPI={wish.path}, but {files[0]} is already loaded in this process "
            "(as by mpi4py), and a process cannot use two. Take that one: unset "
            f"EZMPI_MPI; or let mpi4py take yours: export MPI4PY_LIBMPI={wish.path}"
        )
    return Library(files[0], "already loaded in this process, as by mpi4py")


def _for_library(transports: List[Transport], library: Library) -> List[Transport]:
    soname = libraries.soname(library.path)
    chosen = [transport for transport in transports if transport.needs == soname]
    if chosen:
        return chosen
    raise TransportError(
        f"{library.path} ({library.why}) is of another MPI than ezmpi has transports "
        f"for: {_list(transports)}. Compile one for it: {_compile(library.path)}"
    )


def _for_launcher(
    transports: List[Transport], launcher: Launcher, library: Optional[Library]
) -> List[Transport]:
    order = [*launcher.families, _ABI]
    chosen = [transport for transport in transports if transport.name in order]
    if chosen:
        return sorted(chosen, key=lambda transport: order.index(transport.name))
    if library:
        raise wrong_launcher(launcher, library)
    if os.environ.get("EZMPI_MPI"):
        raise LauncherError(
            f"this process was started by {launcher.name}, but EZMPI_MPI="
            f"{os.environ['EZMPI_MPI']} asks for another MPI. Start the script with the "
            "launcher of that MPI, or take the launcher's: unset EZMPI_MPI"
        )
    usable = next(_of_name([transport.needs for transport in transports]), None)
    start = run(usable, launcher.ranks) if usable else "its launcher"
    sonames = [soname for name in launcher.families for soname in _SONAMES[name]]
    raise LauncherError(
        f"this process was started by {launcher.name}, but ezmpi has a transport for "
        f"{_list(transports)} only. Start the script with that MPI: {start}; or compile "
        "a transport for the launcher's MPI: " + _compile(next(_of_name(sonames), None))
    )


def _of_name(sonames: Sequence[str]) -> Iterator[str]:
    """The installed libraries of these names, the nearest first; looks as it goes."""
    paths = libraries.installed(sonames)
    return (path for path in paths if libraries.soname(path) in sonames)


def _find(transports: List[Transport]) -> Tuple[Transport, Library]:
    """The nearest library that one of the transports runs on."""
    by_soname = {transport.needs: transport for transport in transports}
    for path in _of_name(list(by_soname)):
        return by_soname[libraries.soname(path)], Library(path, "the nearest found")
    for soname, transport in by_soname.items():
        found = libraries.load_from_system(soname)
        if found:
            return transport, Library(found, "the system's")
    known = [soname for sonames in _SONAMES.values() for soname in sonames]
    others = ", ".join(dict.fromkeys(_of_name(known))) or "none of another MPI either"
    wheel = transports[0].name.replace(_ABI, "mpich")
    raise TransportError(
        f"no MPI library was found for ezmpi's transports: {_list(transports)}. Looked "
        f"in {sys.prefix}/lib, LD_LIBRARY_PATH, beside mpiexec and where the system "
        f"keeps libraries; found {others}. Install one: pip install {wheel}; or name "
        f"it: export EZMPI_MPI=/path/to/{transports[0].needs}"
    )


def choose(launcher: Optional[Launcher]) -> Tuple[Transport, Library]:
    """The transport, and the MPI library to load before it.

    EZMPI_MPI, else the launcher, else the MPI in the process, else the nearest; but
    the MPI in the process must be taken in any case, or it is an error.
    """
    transports = compiled()
    if not transports:
        raise TransportError(
            "this installation of ezmpi has no transport for any MPI. Compile one: "
            + _compile()
        )
    transports, wish = _wish(transports)
    library = _loaded(wish)
    if library:
        transports = _for_library(transports, library)
    if launcher:
        transports = _for_launcher(transports, launcher, library)
    return (transports[0], library) if library else _find(transports)
