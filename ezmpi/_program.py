"""The program of ``python -m ezmpi``: found and loaded as Python itself does it.

Not by `runpy`, which takes the script's ``__main__`` away at its end, when threads and
exit handlers of the script may still use the pool; and whose frames show in tracebacks.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import os
import sys

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType
    from typing import Any, Dict, List, Optional, Tuple


class Program:
    """What is to be run; a script may be a file, a directory or an archive."""

    def __init__(self, kind: str, what: str, arguments: List[str]) -> None:
        self.kind = kind  # "script", "-m", "-c" or "-"
        self.what = what
        self.arguments = arguments


# ---- what the script finds, as Python has it ---------------------------------------


def set_paths(program: Program) -> None:
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


def names_of_main(**names: Any) -> Dict[str, Any]:
    """What a ``__main__`` has before it runs."""
    none = dict.fromkeys(("__doc__", "__loader__", "__package__", "__spec__"))
    if sys.version_info < (3, 14):
        none["__annotations__"] = {}
    return {**none, "__name__": "__main__", "__builtins__": builtins, **names}


def _names_without_spec(program: Program) -> Dict[str, Any]:
    if program.kind == "script":
        return names_of_main(__file__=_full_path(program.what), __cached__=None)
    names = names_of_main(__loader__=importlib.machinery.BuiltinImporter)
    if program.kind == "-":
        names.update(__file__="<stdin>", __cached__=None)
    return names


def _names_by(spec: ModuleSpec) -> Dict[str, Any]:
    return names_of_main(
        __file__=spec.origin,
        __cached__=spec.cached,
        __loader__=spec.loader,
        __package__=spec.parent,
        __spec__=spec,
    )


def become(names: Dict[str, Any]) -> Dict[str, Any]:
    """This process's ``__main__``, with nothing else in it."""
    namespace = sys.modules["__main__"].__dict__
    namespace.clear()
    namespace.update(names)
    return namespace


def _full_path(path: str) -> str:
    return os.path.join(os.getcwd(), path)  # not abspath: "link/.." is another place


def names_of_worker(program: Program) -> Dict[str, Any]:
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


def load(program: Program) -> Tuple[CodeType, Dict[str, Any]]:
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
