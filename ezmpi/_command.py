"""What ``python -m ezmpi`` does: runs a script on the master alone, or tells of MPI.

The workers serve without running the script. Their ``__main__`` has the script's
``__file__`` and ``__package__``, and nothing else: all that tasks need of the script
travels with them (`ezmpi._main`).

Not by `runpy`: it takes the script's ``__main__`` away at its end, when threads and exit
handlers of the script may still use the pool, and its frames show in tracebacks.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import os
import sys

from . import _mpi, pool
from ._mpi.launcher import let_first_go_first
from .errors import TransportError

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType
    from typing import Any, Dict, List, NoReturn, Optional, Tuple

USAGE = """\
usage: mpiexec -n 4 python -m ezmpi [script.py | -m module | -c code | -] [argument ...]
       python -m ezmpi -n 4 [script.py | -m module | -c code | -] [argument ...]
       python -m ezmpi info

Runs a script on rank 0; the other ranks are workers of the pools that it makes. With -n
the launcher is found and started. info tells of MPI and of the machine."""


class Program:
    """What is to be run; a script may be a file, a directory or an archive."""

    def __init__(self, kind: str, what: str, arguments: List[str]) -> None:
        self.kind = kind  # "script", "-m", "-c" or "-"
        self.what = what
        self.arguments = arguments


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


# ---- what the script finds, as Python has it ---------------------------------------


def _set_paths(program: Program) -> None:
    """``sys.argv``, and where the script's modules are found; on all ranks."""
    sys.argv = [program.what if program.kind == "script" else program.kind]
    sys.argv += program.arguments
    is_safe = getattr(sys.flags, "safe_path", sys.flags.isolated)
    if program.kind == "script" and _main_inside(program.what) is not None:
        sys.path[: 0 if is_safe else 1] = [_full_path(program.what)]
    elif program.kind == "script" and not is_safe:
        sys.path[0] = os.path.dirname(os.path.realpath(program.what))
    elif program.kind in ("-c", "-") and not is_safe:
        sys.path[0] = ""


def _main_inside(path: str) -> Optional[ModuleSpec]:
    """``__main__.py`` of a directory or an archive."""
    spec = importlib.machinery.PathFinder.find_spec("__main__", [path])
    return None if spec is None or spec.loader is None else spec


def _names(**names: Any) -> Dict[str, Any]:
    """What a ``__main__`` has before it runs."""
    none = dict.fromkeys(("__doc__", "__loader__", "__package__", "__spec__"))
    return {**none, "__name__": "__main__", "__builtins__": builtins, **names}


def _names_without_spec(program: Program) -> Dict[str, Any]:
    if program.kind == "script":
        return _names(__file__=_full_path(program.what), __cached__=None)
    names = _names(__loader__=importlib.machinery.BuiltinImporter)
    if program.kind == "-":
        names.update(__file__="<stdin>", __cached__=None)
    return names


def _names_by(spec: ModuleSpec) -> Dict[str, Any]:
    return _names(
        __file__=spec.origin,
        __cached__=spec.cached,
        __loader__=spec.loader,
        __package__=spec.parent,
        __spec__=spec,
    )


def _become(names: Dict[str, Any]) -> Dict[str, Any]:
    """This process's ``__main__``, with nothing else in it."""
    namespace = sys.modules["__main__"].__dict__
    namespace.clear()
    namespace.update(names)
    return namespace


def _full_path(path: str) -> str:
    return os.path.join(os.getcwd(), path)  # not abspath: "link/.." is another place


def _names_of_worker(program: Program) -> Dict[str, Any]:
    """What functions of the script need that import relatively or show their source."""
    spec = None
    if program.kind == "-m":
        spec = _look_for(f"{program.what}.__main__") or _look_for(program.what)
    elif program.kind == "script":
        spec = _main_inside(program.what)
    return _names_without_spec(program) if spec is None else _names_by(spec)


def _look_for(name: str) -> Optional[ModuleSpec]:
    """The module's spec, found without importing the packages that it is in."""
    spec, path, full_name = None, None, ""
    for part in name.split("."):
        if spec is not None and path is None:
            return None  # not a package
        full_name = f"{full_name}.{part}".lstrip(".")
        try:
            found = (finder.find_spec(full_name, path) for finder in sys.meta_path)
            spec = next(filter(None, found), None)
        except KeyError:  # a namespace package in one that is not imported
            return None
        if spec is None:
            return None
        path = spec.submodule_search_locations
        if path is not None and spec.origin is None:
            __import__(full_name)  # a namespace package, which runs nothing
    return spec


# ---- loading -----------------------------------------------------------------------


def _load(program: Program) -> Tuple[CodeType, Dict[str, Any]]:
    """The code, and what its ``__main__`` has before it runs."""
    if program.kind == "-m":
        code, names = _load_module(program.what)
        sys.argv[0] = names["__file__"]
        return code, names
    names = _names_without_spec(program)
    if program.kind == "-c":
        return compile(program.what, "<string>", "exec"), names
    if program.kind == "-":
        return compile(sys.stdin.buffer.read(), "<stdin>", "exec"), names
    spec = _main_inside(program.what)
    if spec is not None:
        return _load_by(spec)
    if os.path.isdir(program.what):
        sys.exit(f"ezmpi: can't find '__main__' module in {program.what!r}")
    try:
        code, names["__loader__"] = _load_file(names["__file__"])
    except OSError as error:
        print(f"ezmpi: can't open {program.what!r}: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
    return code, names


def _load_file(path: str) -> Tuple[CodeType, Any]:
    if path.endswith(".pyc"):
        compiled = importlib.machinery.SourcelessFileLoader("__main__", path)
        code: Any = compiled.get_code("__main__")
        return code, compiled
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    # not get_code, which would leave a __pycache__ beside the script
    return loader.source_to_code(loader.get_data(path), path), loader


def _load_module(name: str) -> Tuple[CodeType, Dict[str, Any]]:
    spec = _find_module(name)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = _find_module(f"{name}.__main__")
        if spec is None:
            sys.exit(f"ezmpi: {name!r} is a package without a module __main__")
    if spec is None:
        sys.exit(f"ezmpi: no module named {name!r}")
    return _load_by(spec)


def _find_module(name: str) -> Optional[ModuleSpec]:
    import importlib.util

    parent = name.rpartition(".")[0]
    try:
        if parent:
            __import__(parent)  # whose own errors are shown as any of the script
        return importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise
        return None


def _load_by(spec: ModuleSpec) -> Tuple[CodeType, Dict[str, Any]]:
    loader: Any = spec.loader
    code = loader.get_code(spec.name) if hasattr(loader, "get_code") else None
    if code is None:
        sys.exit(f"ezmpi: {spec.name!r} has no Python code to run")
    return code, _names_by(spec)


# ---- running -----------------------------------------------------------------------


def _run(program: Program) -> None:
    if not _mpi.is_under_launcher():
        _refuse("start it with mpiexec, or say how many processes: -n 4")
    _set_paths(program)
    first = _mpi.is_first()
    _become(_names() if first else _names_of_worker(program))
    # Before the script is looked for: all ranks have to come here, or none may end.
    # On a worker it serves, and ends in SystemExit; on rank 0 it is kept to the end.
    workers = pool.MPIPool()
    try:
        code, names = _load(program)
        exec(code, _become(names))
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
    sys.excepthook(type(error), error, traceback)


def _is_ours(code: CodeType) -> bool:
    name = code.co_filename
    return name == __file__ or name.startswith("<frozen importlib")
