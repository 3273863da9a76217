"""What ``python -m ezmpi`` does: runs a script on the master alone, or tells of MPI.

The workers serve without running the script. Their ``__main__`` is empty, and so is the
master's when they arrive: all that tasks need of the script travels with them
(`ezmpi._main`).
"""

from __future__ import annotations

import builtins
import os
import sys

from . import _mpi, pool
from .errors import TransportError

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any, Dict, List, NoReturn, Optional, Tuple

USAGE = """\
usage: mpiexec -n 4 python -m ezmpi [script.py | -m module | -c code] [argument ...]
       python -m ezmpi -n 4 [script.py | -m module | -c code] [argument ...]
       python -m ezmpi info

Runs a script on rank 0; the other ranks are workers of the pools that it makes. With -n
the launcher is found and started. info tells of MPI and of the machine."""


class Program:
    """What is to be run; names as Python gives them to it."""

    def __init__(self, kind: str, what: str, arguments: List[str]) -> None:
        self.kind = kind  # "script", "-m" or "-c"
        self.what = what
        self.arguments = arguments


def _refuse(why: str) -> NoReturn:
    print(f"{USAGE}\n\nezmpi: {why}", file=sys.stderr)
    raise SystemExit(2)


def _parse(arguments: List[str]) -> Tuple[Optional[int], Program]:
    """The number of processes to start, or None, and the program."""
    processes = None
    if arguments[:1] == ["-n"]:
        processes = _count(arguments[1:2])
        arguments = arguments[2:]
    if not arguments:
        _refuse("there is nothing to run")
    kind, rest = "script", arguments
    if arguments[0] in ("-m", "-c"):
        kind, rest = arguments[0], arguments[1:]
        if not rest:
            _refuse(f"{kind} needs an argument")
    elif arguments[0].startswith("-"):
        _refuse(f"there is no option {arguments[0]}")
    return processes, Program(kind, rest[0], rest[1:])


def _count(argument: List[str]) -> int:
    if not argument or not argument[0].isdigit() or int(argument[0]) < 2:
        _refuse("-n needs a number of processes, at least 2: rank 0 and its workers")
    return int(argument[0])


# ---- starting ------------------------------------------------------------------


def _start(processes: int) -> NoReturn:
    """Become the launcher of the MPI that ezmpi would take."""
    if _mpi.is_under_launcher():
        _refuse("-n is for a start by hand; mpiexec has started this process")
    command = _mpi.launch_command(processes)
    arguments = sys.argv[3:]  # behind "-n", N
    os.execvp(command[0], [*command, sys.executable, "-m", "ezmpi", *arguments])


# ---- running -------------------------------------------------------------------


def _code(program: Program) -> Tuple[CodeType, Dict[str, Any]]:
    """The code, and what its ``__main__`` has before it runs."""
    names: Dict[str, Any] = dict.fromkeys(
        ("__doc__", "__loader__", "__package__", "__spec__")
    )
    names.update(__name__="__main__", __builtins__=builtins)
    if program.kind == "-c":
        return compile(program.what, "<string>", "exec"), names
    if program.kind == "-m":
        return _module_code(program.what, names)
    path = os.path.abspath(program.what)
    names["__file__"] = program.what
    try:
        with open(path, "rb") as file:
            return compile(file.read(), program.what, "exec"), names
    except OSError as error:
        _refuse(f"can't open {program.what!r}: {error.strerror}")


def _module_code(name: str, names: Dict[str, Any]) -> Tuple[CodeType, Dict[str, Any]]:
    import importlib.util

    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ImportError as error:
        _refuse(f"no module named {name!r}: {error}")
    loader: Any = spec.loader if spec is not None else None
    code = loader.get_code(spec.name) if spec is not None and loader is not None else None
    if spec is None or code is None:
        _refuse(f"no module named {name!r} that can be run")
    names.update(
        __file__=spec.origin, __loader__=loader, __package__=spec.parent, __spec__=spec
    )
    return code, names


def _become(names: Dict[str, Any]) -> Dict[str, Any]:
    """This process's ``__main__``, with nothing else in it."""
    namespace = sys.modules["__main__"].__dict__
    namespace.clear()
    namespace.update(names)
    return namespace


def _set_paths(program: Program) -> None:
    """As Python does for the program; on all ranks."""
    if program.kind == "script":
        sys.path[0] = os.path.dirname(os.path.realpath(program.what))
    elif program.kind == "-c":
        sys.path[0] = ""
    first = program.what if program.kind == "script" else program.kind
    sys.argv = [first, *program.arguments]


def _run(program: Program) -> None:
    if not _mpi.is_under_launcher():
        _refuse("start it with mpiexec, or say how many processes: -n 4")
    _set_paths(program)
    if not _mpi.is_first():
        _become({"__name__": "__main__", "__builtins__": builtins})
        pool.MPIPool()  # serves, and ends in SystemExit
    code, names = _code(program)
    if program.kind == "-m":
        sys.argv[0] = str(names["__file__"])
    namespace = _become(names)
    workers = pool.MPIPool()  # which serve to the end, whatever pools there are
    try:
        exec(code, namespace)
    except SystemExit as error:
        ending = pool.exit_code(error)
        if ending:
            pool.end_at_once(ending)
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _say(error)
        pool.end_at_once(1)
        raise SystemExit(1) from None
    del workers  # not before


def _say(error: BaseException) -> None:
    """As Python does, without the frames of this file."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    error.__traceback__ = traceback
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
    sys.excepthook(type(error), error, traceback)


def main() -> None:
    """Run what the command line asks for."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return
    if arguments[:1] == ["info"]:
        from . import _info

        _info.main()
        return
    processes, program = _parse(arguments)
    try:
        if processes is not None:
            _start(processes)
        _run(program)
    except TransportError as error:
        sys.exit(f"ezmpi: {error}")
