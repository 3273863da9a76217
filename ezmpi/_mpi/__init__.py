"""Chooses an MPI library and the transport for it, and loads both, once a process.

Called when the first pool needs it, never at import. The shared objects beside this
file are the transports, one for each MPI that ezmpi was built with.
"""

from __future__ import annotations

import functools
import os

from .. import _ezmpi
from ..errors import TransportError
from . import choice, libraries
from .launcher import find_launcher, raise_once, whose

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, List, NoReturn

WORLD = -(2**31)  # TRANSPORT_WORLD in transport.h
INTERRUPTED = -3  # TRANSPORT_INTERRUPTED there: a code for set_ending


_started: "List[Any]" = []  # transports


class _Loaded:
    """The transport; family: whose launchers can start it."""

    def __init__(self, capsule: Any, library: choice.Library, family: str) -> None:
        self.capsule = capsule
        self.library = library
        self.family = family


@functools.lru_cache(maxsize=None)
def _load() -> _Loaded:
    """The transport and its MPI library, loaded; MPI is not started."""
    transport, library = choice.choose(find_launcher())
    try:
        capsule = _ezmpi.load_transport(transport.path, library.path)
    except TransportError as error:
        raise TransportError(
            f"{error} [MPI library: {library.path}, {library.why}; transport: "
            f"{transport.path}]. Another library can be named: export "
            f"EZMPI_MPI=/path/to/{transport.needs}"
        ) from None
    _check_single(library.path)
    _, _, version = _ezmpi.describe_transport(capsule)
    return _Loaded(capsule, library, "openmpi" if "Open MPI" in version else "mpich")


def _check_single(library: str) -> None:
    """Raise if this process holds another MPI library, too."""
    for path in libraries.loaded():
        if not os.path.samefile(path, library):
            raise TransportError(
                f"this process uses two MPI libraries: ezmpi {library}, and mpi4py or "
                f"another package {path}. Let ezmpi take the same one: export "
                f"EZMPI_MPI={path}"
            )


def start() -> Any:
    """The transport, with MPI started.

    Returns
    -------
    capsule
        What the C type's constructor takes.

    Raises
    ------
    TransportError
        If no MPI can be used: what was found, and the command that mends it. Also a
        ValueError if that is because of the launcher.
    """
    launcher = find_launcher()
    try:
        loaded = _load()
        # Now, since MPICH ends the process if Open MPI's mpiexec started it.
        if launcher and loaded.family not in launcher.families:
            raise choice.wrong_launcher(launcher, loaded.library)
        _start(loaded.capsule)
    except TransportError as error:
        raise_once(error)
    return loaded.capsule


def _start(capsule: Any) -> None:
    """Start MPI; where Ctrl-C would raise KeyboardInterrupt, it ends the process there.

    MPI_Init does not return before all ranks have come to it, and Python would not see
    the signal before.
    """
    import _signal  # type: ignore[import-not-found]  # signal takes long to import

    number, python = _signal.SIGINT, _signal.default_int_handler
    is_default = False
    if capsule not in _started and _signal.getsignal(number) is python:
        try:
            _signal.signal(number, _signal.SIG_DFL)
            is_default = True
        except ValueError:  # not in Python's main thread
            pass
    try:
        _ezmpi.start_transport(capsule)
    finally:
        if is_default:
            _signal.signal(number, python)
    if capsule not in _started:
        _started.append(capsule)


@functools.lru_cache(maxsize=None)
def _load_local() -> Any:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), choice.LOCAL)
    return _ezmpi.load_transport(path, None)


def start_local() -> Any:
    """The transport to forked processes, in place of MPI."""
    capsule = _load_local()
    _start(capsule)
    return capsule


def describe() -> str:
    """The library that is taken, why, and what it says of itself.

    Raises
    ------
    TransportError
        If none can be; a `LauncherError` if that is because of the launcher.
    """
    loaded = _load()
    _, _, version = _ezmpi.describe_transport(loaded.capsule)
    return f"{loaded.library.path} ({loaded.library.why}): {' '.join(version.split())}"


def transports() -> List[str]:
    """The transports that there are, in words."""
    return [f"{each.name} (for {each.needs})" for each in choice.compiled()]


def launcher_seen() -> str:
    """Who started this process, in words; "" if none did."""
    launcher = find_launcher()
    return f"{launcher.name}, {launcher.ranks} ranks" if launcher else ""


def set_ending(seconds: float, code: int) -> None:
    """How long the job's end waits for busy workers, and the code if it aborts them."""
    for capsule in _started:
        _ezmpi.set_ending(capsule, seconds, code)


def refuse_one_process(handle: int) -> NoReturn:
    """Raise the ValueError for a communicator of one process."""
    message = "Tried to create an MPI pool, but there was only one MPI process available"
    if handle != WORLD:
        raise ValueError(f"{message} on this communicator. Need at least two.")
    loaded, launcher = _load(), find_launcher()
    if launcher is None or launcher.ranks == 1:
        command = choice.run(loaded.library.path, 4)
        raise ValueError(
            f"{message}. Need at least two: start the script with mpiexec, or let "
            f'MPIPool(fallback="local") fork the workers. For example: {command}'
        )
    raise_once(choice.alone(launcher, loaded.library, loaded.family))


def is_under_launcher() -> bool:
    """Whether a launcher started this process and others; starts no MPI."""
    return not is_alone()


def is_first() -> bool:
    """Whether this is rank 0, as the launcher has it; starts no MPI."""
    launcher = find_launcher()
    return launcher is None or launcher.rank == 0


def launch_command(processes: int) -> List[str]:
    """What starts so many under the MPI that would be taken here; starts no MPI.

    Raises
    ------
    TransportError
        If there is no such MPI, or no launcher of it.
    """
    transport, library = choice.choose(None)
    command = [_launcher_of(library.path, transport.name)]
    if whose(command[0]) == "openmpi":
        # It counts cores, of which rank 0 needs none, and the rest is the user's wish.
        command.append("--oversubscribe")
    return [*command, "-n", str(processes)]


def _launcher_of(library: str, family: str) -> str:
    """The path of the mpiexec that starts programs which use the library."""
    beside = libraries.beside(library, "mpiexec")
    if beside:
        return beside
    import shutil

    others = []
    # as Debian names them where several are installed
    for name in ("mpiexec", f"mpiexec.{family}", "mpiexec.hydra"):
        path = shutil.which(name)
        if path and whose(path) in (family, ""):
            return path
        others += [path] if path else []
    raise TransportError(
        f"no mpiexec was found for {library}: none beside it, and on PATH "
        f"{' and '.join(others) + ' of another MPI' if others else 'none'}. Install the "
        "one of that MPI, or put its directory on PATH"
    )


def is_alone() -> bool:
    """Whether no launcher started other processes; starts no MPI."""
    launcher = find_launcher()
    return launcher is None or launcher.ranks < 2


def enabled() -> bool:
    """Whether a pool can be made; starts no MPI."""
    launcher = find_launcher()
    if launcher is None or is_alone():
        return False
    try:
        return _load().family in launcher.families
    except TransportError:
        return False


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
    _check_single(_load().library.path)
    return int(py2f())


def communicator(handle: int) -> Any:
    """mpi4py's object for a handle where mpi4py is there, else the handle."""
    try:
        MPI = _mpi4py(_load().library.path)
    except (ImportError, RuntimeError):  # RuntimeError: it found no library
        return handle
    return MPI.COMM_WORLD if handle == WORLD else MPI.Comm.f2py(handle)


def _mpi4py(library: str) -> Any:
    """mpi4py's module; if it is imported now, it takes our library and no other."""
    name = "MPI4PY_LIBMPI"
    before = os.environ.get(name)
    os.environ[name] = library
    try:
        from mpi4py import MPI
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
    return MPI
