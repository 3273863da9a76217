"""Chooses and loads the transport when the first pool needs it, never at import.

Order of choice: ``EZMPI_MPI``, the launcher that started the process, an MPI that
mpi4py has loaded, the environment's own prefix, the system.
"""

import functools
import os
import sys
from typing import Any, List, NamedTuple, NoReturn, Optional

from .. import _ezmpi
from ..errors import TransportError
from . import find
from .launcher import START, find_launcher, raise_once

WORLD = -(2**31)  # TRANSPORT_WORLD in transport.h

_REBUILD = (
    "rebuild ezmpi for it: EZMPI_MPICC=/path/to/its/mpicc "
    "pip install --force-reinstall --no-cache-dir --no-deps ezmpi"
)


class Choice(NamedTuple):
    """A transport and the MPI library to load for it (None: by its name)."""

    variant: str
    library: Optional[str]


def _vendor(variant: str) -> str:
    return "mpich" if variant == "mpiabi" else variant


def _listed(names: List[str]) -> str:
    return ", ".join(names) if names else "none"


def _fail(found: str, mend: str) -> NoReturn:
    raise TransportError(f"{found}. To mend it: {mend}.")


def _check_built(variant: str, why: str) -> None:
    built = sorted(find.built_variants())
    if variant not in built:
        others = [START[_vendor(name)] for name in built]
        _fail(
            f"{why}, but this ezmpi has no transport for {variant} "
            f"(it has: {_listed(built)})",
            f"{_REBUILD}; or start the script with {' or '.join(others)}"
            if others
            else _REBUILD,
        )


def _located(variant: str) -> Optional[Choice]:
    library = find.in_prefix(variant)
    if library is not None:
        return Choice(variant, library)
    return Choice(variant, None) if find.on_system(variant) else None


def _from_setting(setting: str) -> Choice:
    if setting in find.LIBRARIES:
        _check_built(setting, f"EZMPI_MPI={setting} asks for it")
        return _located(setting) or _fail(
            f"EZMPI_MPI={setting}, but no {find.LIBRARIES[setting][1]} was found in "
            f"{sys.prefix}/lib or by the dynamic linker",
            "install that MPI, or set EZMPI_MPI to its libmpi's path",
        )
    if not os.path.exists(setting):
        _fail(
            f"EZMPI_MPI={setting} is neither a transport's name "
            f"({_listed(sorted(find.LIBRARIES))}) nor an existing file",
            "set it to one of them, or unset it",
        )
    variant = find.variant_of(setting)
    if variant is None:
        _fail(
            f"EZMPI_MPI={setting} does not have the name of an MPI library",
            "give the path of libmpi.so.12, libmpi.so.40 or libmpi_abi.so.1",
        )
    _check_built(variant, f"EZMPI_MPI={setting} asks for it")
    return Choice(variant, setting)


def _from_mpi4py() -> Optional[Choice]:
    """What mpi4py uses: a process must not load a second MPI library."""
    if "mpi4py.MPI" not in sys.modules:
        return None
    for library in find.loaded_libraries():
        variant = find.variant_of(library)
        if variant is not None:
            _check_built(variant, f"mpi4py has loaded {library}")
            return Choice(variant, library)
    return None


def _from_launcher(vendor: str, name: str) -> Choice:
    fitting = [v for v in sorted(find.built_variants()) if _vendor(v) == vendor]
    if not fitting:
        _check_built(vendor, f"the job was started by {name}")
    for variant in fitting:
        choice = _located(variant)
        if choice is not None:
            return choice
    _fail(
        f"the job was started by {name}, but no {find.LIBRARIES[vendor][1]} was found "
        f"in {sys.prefix}/lib or by the dynamic linker",
        f"pip install {vendor}, or set EZMPI_MPI to the path of that MPI's libmpi",
    )


def _from_installed() -> Choice:
    built = sorted(find.built_variants())
    for variant in built:
        library = find.in_prefix(variant)
        if library is not None:
            return Choice(variant, library)
    for variant in built:
        if find.on_system(variant):
            return Choice(variant, None)
    _fail(
        f"no MPI library was found in {sys.prefix}/lib or by the dynamic linker "
        f"(transports: {_listed(built)})",
        "pip install mpich, or load your cluster's MPI module",
    )


def choose() -> Choice:
    """The transport and library for this process.

    Raises
    ------
    TransportError
        If none fits, or two demands contradict each other.
    """
    launcher = find_launcher()
    setting = os.environ.get("EZMPI_MPI")
    if setting:
        choice: Optional[Choice] = _from_setting(setting)
    else:
        choice = _from_mpi4py()
    vendor = launcher.vendor if launcher is not None and launcher.ranks > 1 else None
    if choice is None and launcher is not None and launcher.vendor is not None:
        choice = _from_launcher(launcher.vendor, launcher.name)
    if choice is None:
        choice = _from_installed()
    if launcher is not None and vendor is not None and vendor != _vendor(choice.variant):
        reason = f"EZMPI_MPI={setting}" if setting else "mpi4py"
        _fail(
            f"the job was started by {launcher.name}, with {launcher.ranks} processes, "
            f"but {reason} chose {choice.library or choice.variant}; its ranks would "
            "not find each other",
            f"start the script with {START[_vendor(choice.variant)]}",
        )
    return choice


@functools.lru_cache(maxsize=None)
def start() -> Any:
    """The transport, loaded, and MPI started.

    Returns
    -------
    capsule
        What the C type's constructor takes.

    Raises
    ------
    TransportError
        If no MPI can be used: what was found, and the command that mends it.
    """
    launcher = find_launcher()
    try:
        choice = choose()
        path = str(find.built_variants()[choice.variant])
        transport = _ezmpi.load_transport(path, choice.library)
        _ezmpi.start_transport(transport)
    except TransportError as error:
        raise_once(error, launcher)
    return transport


def refuse_one_process(handle: int) -> NoReturn:
    """Raise the ValueError for a communicator of one process."""
    message = "Tried to create an MPI pool, but there was only one MPI process available"
    if handle != WORLD:
        raise ValueError(f"{message} on this communicator. Need at least two.")
    launcher = find_launcher()
    if launcher is None or launcher.ranks < 2:
        raise ValueError(
            f"{message}. Need at least two: start the script with mpiexec, for "
            "example: mpiexec -n 4 python script.py"
        )
    variant, _, library = _ezmpi.describe_transport(start())
    error = ValueError(
        f"{message}, although {launcher.name} started {launcher.ranks}: each of them is "
        f"alone, because this MPI ({library}) does not work with that launcher. Start "
        f"the script with {START[_vendor(variant)]}, or install the MPI of the launcher."
    )
    raise_once(error, launcher)


def handle(comm: Any) -> int:
    """The Fortran handle of a communicator.

    Raises
    ------
    TransportError
        If it is mpi4py's and mpi4py runs on another MPI library.
    TypeError
        If it is neither a communicator, an int nor None.
    """
    if comm is None:
        return WORLD
    if isinstance(comm, int) and not isinstance(comm, bool):
        return comm
    py2f = getattr(comm, "py2f", None)
    if py2f is None:
        raise TypeError(
            "comm must be an mpi4py communicator, a Fortran handle (int) or None, "
            f"not {type(comm).__name__}"
        )
    libraries = find.loaded_libraries()
    if len(libraries) > 1:
        _fail(
            "mpi4py and ezmpi use different MPI libraries in this process: "
            + " and ".join(libraries),
            "import mpi4py before the first pool is made, or set EZMPI_MPI to the "
            "library that mpi4py uses",
        )
    return int(py2f())


def communicator(handle: int) -> Any:
    """mpi4py's object for a handle where mpi4py is there, else the handle."""
    try:
        from mpi4py import MPI
    except ImportError:
        return handle
    return MPI.COMM_WORLD if handle == WORLD else MPI.Comm.f2py(handle)


def enabled() -> bool:
    """Whether a pool can be made; starts no MPI."""
    launcher = find_launcher()
    if launcher is None or launcher.ranks < 2:
        return False
    try:
        choose()
    except TransportError:
        return False
    return True
