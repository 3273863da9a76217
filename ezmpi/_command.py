"""What ``python -m ezmpi`` does: runs a script on the master alone, or tells of MPI.

The workers serve without running the script. Their ``__main__`` has the script's
``__file__`` and ``__package__``, and nothing else: all that tasks need of the script
travels with them (`ezmpi._main`).
"""

from __future__ import annotations

import os
import sys

from . import _forks, _mpi, _program, pool
from ._mpi.launcher import let_first_go_first
from ._program import Program
from .errors import TransportError

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from types import CodeType
    from typing import List, NoReturn, Tuple

USAGE = """\
usage: mpiexec -n 4 python -m ezmpi [script.py | -m module | -c code | -] [argument ...]
       python -m ezmpi -n 4 [script.py | -m module | -c code | -] [argument ...]
       python -m ezmpi info

Runs a script on rank 0; the other ranks are workers of the pools that it makes. With -n
the launcher is found and started. info tells of MPI and of the machine."""


def main() -> None:
    """Run what the command line asks for."""
    arguments = sys.argv[1:]
    try:
        if arguments[:1] in (["-h"], ["--help"]):
            if _mpi.is_first():
                print(USAGE)
        elif arguments == ["info"]:
            from . import _info

            _info.main()
        elif arguments and arguments[0].startswith("-n"):
            if arguments[0] == "-np":  # as launchers have it, too
                arguments[0] = "-n"
            _start(*_option(arguments))
        else:
            _run(_parse(arguments))
    except TransportError as error:  # not the script's: they are said in _run
        sys.exit(f"ezmpi: {error}")


# ---- the command line ------------------------------------------------------------


def _refuse(why: str) -> NoReturn:
    """End with Python's code for a wrong command line; rank 0 says why, and is first."""
    if _mpi.is_first():
        print(f"{USAGE}\n\nezmpi: {why}", file=sys.stderr)
    let_first_go_first()
    raise SystemExit(2)


def _option(arguments: List[str]) -> Tuple[str, List[str]]:
    """What is given with -n, -m or -c, in one word with it or not; and the rest."""
    name, value = arguments[0][:2], arguments[0][2:]
    if value:
        return value, arguments[1:]
    if len(arguments) == 1:
        _refuse(f"{name} needs an argument")
    return arguments[1], arguments[2:]


def _parse(arguments: List[str]) -> Program:
    if not arguments:
        _refuse("there is nothing to run")
    first, rest = arguments[0], arguments[1:]
    if first == "-":
        return Program("-", first, rest)
    if first.startswith(("-m", "-c")):
        return Program(first[:2], *_option(arguments))
    if first.startswith("-"):
        _refuse(f"there is no option {first}")
    return Program("script", first, rest)


# ---- starting --------------------------------------------------------------------


def _start(number: str, arguments: List[str]) -> NoReturn:
    """Become the launcher of the MPI that ezmpi would take."""
    if not number.isdecimal() or int(number) < 2:
        _refuse("-n needs a number of processes, at least 2: rank 0 and its workers")
    if _mpi.is_under_launcher():
        _refuse("mpiexec has started this process already: leave -n out")
    if arguments != ["info"]:
        _parse(arguments)
    command = [*_mpi.launch_command(int(number)), sys.executable, *_python_options()]
    os.execvp(command[0], [*command, *arguments])


def _python_options() -> List[str]:
    """What this Python was started with, up to ``-m ezmpi``."""
    given = getattr(sys, "orig_argv", None)
    if given:
        options: List[str] = given[1 : len(given) - len(sys.argv[1:])]
        return options
    import subprocess  # Python 3.8 and 3.9; -u, which leaves no trace, is lost

    flags: List[str] = subprocess._args_from_interpreter_flags()  # type: ignore
    return [*flags, "-m", "ezmpi"]


# ---- running -----------------------------------------------------------------------


def _run(program: Program) -> None:
    if not _mpi.is_under_launcher():
        _refuse("start two processes or more: with mpiexec -n 4, or with -n 4 here")
    _program.set_paths(program)
    if _mpi.is_first():
        _program.become(_program.names_of_main())
    else:
        _program.become(_program.names_of_worker(program))
        if _forks.is_isolation_set():
            from . import _signals

            _signals.follow_child()
    # Before the script is looked for: all ranks have to come here, or none may end.
    # On a worker it serves, and ends in SystemExit; on rank 0 it is kept to the end.
    workers = pool.MPIPool()
    try:
        code, names = _program.load(program)
        exec(code, _program.become(names))
    except BaseException as error:
        ending = pool.exit_code(error)
        try:
            if isinstance(error, SystemExit):
                raise
            _say(error)
        finally:
            if ending:
                pool.end_at_once(ending)
        raise SystemExit(ending) from None
    del workers


def _say(error: BaseException) -> None:
    """As Python does, without the frames before the script's."""
    traceback = error.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame.f_code):
        traceback = traceback.tb_next
    error.__traceback__ = traceback
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    _call_hook(error)


def _call_hook(error: BaseException) -> None:
    """The script's own may raise, or be missing: then Python says so, and shows both."""
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit:
        raise
    except BaseException as of_hook:
        rest = of_hook.__traceback__.tb_next if of_hook.__traceback__ else None
        print("Error in sys.excepthook:", file=sys.stderr)
        sys.__excepthook__(type(of_hook), of_hook, rest)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)


def _is_ours(code: CodeType) -> bool:
    name = code.co_filename
    return name in (__file__, _program.__file__) or name.startswith("<frozen importlib")
