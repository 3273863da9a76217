"""Keeps the workers' ``__main__`` in step with the master's.

Workers ran the script up to the pool, so what it defined by then is there, and
objects of ``__main__`` travel by reference.  What the master bound since is
missing or stale there.  `MainRecord` knows what the workers have; the pickler
asks it about every function and class that it meets, and what they read from
``__main__`` and the workers lack travels ahead of them, to be bound there.
"""

from __future__ import annotations

import functools
import sys
import types
import weakref

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import (
        Any,
        Callable,
        Dict,
        FrozenSet,
        Iterable,
        List,
        Optional,
        Set,
        Tuple,
    )

_UNKNOWN = object()  # what no name is bound to
_CONTAINER_LIMIT = 1000  # longer lists are data, not tables of functions

# What is pickled as a reference to its name.
NAMED = (types.FunctionType, type, type(functools.lru_cache(None)(len)))


def namespace() -> Dict[str, Any]:
    return sys.modules["__main__"].__dict__


def _reference(value: object) -> Callable[[], object]:
    """How to find the value again, without keeping it alive where that can be."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _parts_that_change(value: object) -> Tuple[object, ...]:
    """What can be changed in a function while it stays the same object."""
    if not isinstance(value, types.FunctionType):
        return ()
    named = {**(value.__kwdefaults__ or {}), **vars(value)}
    return (value.__code__, value.__defaults__, *named.keys(), *named.values())


def _same(these: Tuple[object, ...], those: Tuple[object, ...]) -> bool:
    return len(these) == len(those) and all(a is b for a, b in zip(these, those))


class Held:
    """What the workers hold under a name."""

    def __init__(self, value: object) -> None:
        self._reference = _reference(value)
        self._is_none = value is None
        self._parts = _parts_that_change(value)

    def is_now(self, value: object) -> bool:
        if value is None:  # which a dead reference would give, too
            return self._is_none
        return self._reference() is value and _same(
            self._parts, _parts_that_change(value)
        )


@functools.lru_cache(maxsize=4096)
def _names_read(code: types.CodeType) -> FrozenSet[str]:
    """The global names that the code, or code inside it, reads."""
    import dis  # here: many jobs read no name

    names = {
        instruction.argval
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_read(constant)
    return frozenset(names)


def is_by_value(obj: Any) -> bool:
    """Whether one of `NAMED` cannot be found under its name."""
    module = sys.modules.get(getattr(obj, "__module__", None) or "")
    found: Any = module
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
    return module is None or found is not obj


def _parts_of_function(function: types.FunctionType) -> Iterable[object]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            pass
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from vars(function).values()


def _parts_of(value: Any) -> Iterable[object]:
    """Where functions and classes may hide in what a name stands for."""
    if isinstance(value, types.FunctionType):
        return _parts_of_function(value)
    if isinstance(value, type):
        return (*value.__bases__, *vars(value).values())
    if isinstance(value, (staticmethod, classmethod)):
        return (value.__func__,)
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    if isinstance(value, types.MethodType):
        return (value.__func__, value.__self__)
    if isinstance(value, functools.partial):
        return (value.func, *value.args, *value.keywords.values())
    if isinstance(value, dict):
        return () if len(value) > _CONTAINER_LIMIT else tuple(value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return () if len(value) > _CONTAINER_LIMIT else tuple(value)
    return (type(value), _wrapped(value))


def _wrapped(value: object) -> object:
    """What `functools.lru_cache` and the like wrap; runs no code of the user's."""
    try:
        return object.__getattribute__(value, "__dict__").get("__wrapped__")
    except AttributeError:
        return None


class MainRecord:
    """What the workers' ``__main__`` holds, as far as the master knows.

    Made when the workers arrive at their first pool: master and workers have then
    run the same part of the script.
    """

    def __init__(self) -> None:
        self._held = {name: Held(v) for name, v in namespace().items()}
        self._sent: Set[str] = set()

    def differs(self, name: str) -> bool:
        """Whether the workers lack it, or hold something else under that name."""
        held, bound = self._held.get(name), namespace()
        if held is None or name not in bound:
            return (held is None) == (name in bound)
        return not held.is_now(bound[name])

    def held(self, names: Iterable[str]) -> Dict[str, Optional[Held]]:
        """What the workers will hold once these are sent; None: nothing."""
        bound = namespace()
        return {name: Held(bound[name]) if name in bound else None for name in names}

    def note(self, held: Dict[str, Optional[Held]]) -> None:
        """The workers have been sent these."""
        self._sent.update(held)
        for name, value in held.items():
            if value is None:
                self._held.pop(name, None)
            else:
                self._held[name] = value

    def distrust(self) -> None:
        """A worker could not bind what it was sent: whatever was has to be again."""
        for name in self._sent:
            self._held[name] = Held(_UNKNOWN)

    def missing(self, roots: Iterable[object]) -> List[str]:
        """The names that the roots read in ``__main__`` and that differ there."""
        return [name for name in _Search().run(roots) if self.differs(name)]

    def reads(self, function: types.FunctionType) -> List[str]:
        """All names that the function reads in ``__main__``, at any distance."""
        return _Search().run((function,))


class _Search:
    """Walks from functions and classes to the names of ``__main__`` they read."""

    def __init__(self) -> None:
        self._namespace = namespace()
        self._seen: Dict[int, object] = {}  # by id; the values keep them alive
        self._names: Dict[str, None] = {}  # in the order found
        self._queue: List[object] = []

    def run(self, roots: Iterable[object]) -> List[str]:
        self._queue.extend(roots)
        while self._queue:
            value = self._queue.pop()
            if id(value) not in self._seen:
                self._seen[id(value)] = value
                self._visit(value)
        return list(self._names)

    def _visit(self, value: Any) -> None:
        if isinstance(value, types.FunctionType):
            if value.__globals__ is not self._namespace:
                # another module's; but it may wrap one of ours
                self._queue.extend(_parts_of_function(value))
                return
            self._read(_names_read(value.__code__))
        elif isinstance(value, type):
            if value.__module__ != "__main__":
                return
        elif isinstance(value, types.ModuleType):
            return
        if isinstance(value, NAMED) and value.__module__ == "__main__":
            self._read((value.__qualname__.partition(".")[0],))
        self._queue.extend(_parts_of(value))

    def _read(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._names:
                self._names[name] = None
                self._queue.append(self._namespace.get(name))


def main_object(qualname: str) -> Any:
    """The object that the name stands for in this process's ``__main__``."""
    return functools.reduce(getattr, qualname.split("."), sys.modules["__main__"])


def is_main_reference(obj: Any) -> bool:
    """Whether one of `NAMED` is found by its name in ``__main__``."""
    if getattr(obj, "__module__", None) != "__main__":
        return False
    return not is_by_value(obj)
