"""Functions and classes that cannot travel by reference, as dill bytes.

Lambdas, local functions and classes, and what the script defined after the pool was
made.  dill writes them by value; what the workers' ``__main__`` holds under its name
stays a reference, so that ``isinstance`` and enum members keep their meaning.
"""

from __future__ import annotations

import collections
import copyreg
import functools
import io
import itertools
import os
import sys
import types
import weakref

from ._main import NAMED, is_by_value, is_main_reference, main_object

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import (
        AbstractSet,
        Any,
        Callable,
        Container,
        Dict,
        Iterator,
        Optional,
        Set,
        Tuple,
        Type,
    )

    _Names = Tuple[str, str, str, Optional[str]]
    _Attributes = Dict[str, Any]

_PROTOCOL = 5

# A local class is the same class again where it comes back to the process that
# defined it, and one class for all tasks of a worker: found by its origin.
_classes: "weakref.WeakValueDictionary[str, type]" = weakref.WeakValueDictionary()
_origins: "weakref.WeakKeyDictionary[type, Tuple[str, Optional[bytes]]]"
_origins = weakref.WeakKeyDictionary()
_fresh_origin: Iterator[str] = map(
    "{}-{}".format, itertools.repeat(os.urandom(16).hex()), itertools.count()
)


class ByValue:
    """Pickles functions and classes by value.

    Parameters
    ----------
    met : callable
        Called with each function and class of ``__main__`` that is referred to.
    """

    def __init__(self, met: Callable[[object], None]) -> None:
        self.met = met
        self.defining: AbstractSet[str] = frozenset()
        self.in_progress: Set[int] = set()

    def dumps(self, obj: object) -> bytes:
        file = io.BytesIO()
        _pickler_type()(file, self).dump(obj)
        return file.getvalue()

    def dumps_definitions(self, definitions: Dict[str, object]) -> bytes:
        """The same for objects of ``__main__`` that are to be bound anew."""
        self.defining = definitions.keys()
        try:
            return self.dumps(definitions)
        finally:
            self.defining = frozenset()

    def reduce_class(self, cls: type) -> Tuple[Any, ...]:
        origin, pickled = self._origin(cls)
        if pickled is None:  # defined here: it may have changed since
            # copyreg leaves this in a class when it pickles an instance; the same
            # class has to give the same bytes before and after.
            copyreg._slotnames(cls)  # type: ignore[attr-defined]
            self.in_progress.add(id(cls))
            try:
                pickled = self.dumps(cls)
            finally:
                self.in_progress.discard(id(cls))
        return load_class, (origin, pickled)

    def persistent_id(self, obj: Any) -> Optional[Tuple[Any, ...]]:
        """How dill is to refer to an object in its stream; None: by value."""
        if isinstance(obj, types.ModuleType):
            import importlib

            return importlib.import_module, (obj.__name__,)
        if not isinstance(obj, NAMED):
            return None
        if is_main_reference(obj):
            if obj.__qualname__.partition(".")[0] in self.defining:
                return None
            self.met(obj)
            return main_object, (obj.__qualname__,)
        if isinstance(obj, type) and id(obj) not in self.in_progress and is_by_value(obj):
            return self.reduce_class(obj)
        self.met(obj)
        return None

    @staticmethod
    def _origin(cls: type) -> Tuple[str, Optional[bytes]]:
        if cls not in _origins:
            origin = next(_fresh_origin)
            _origins[cls] = (origin, None)
            _classes[origin] = cls
        return _origins[cls]


def load_class(origin: str, pickled: bytes) -> type:
    known = _classes.get(origin)
    if known is not None and _origins[known][1] in (None, pickled):
        return known
    cls: type = loads(pickled)
    _origins[cls] = (origin, pickled)
    _classes[origin] = cls
    return cls


def loads(pickled: bytes) -> Any:
    return _unpickler_type()(io.BytesIO(pickled)).load()


@functools.lru_cache(maxsize=None)
def _pickler_type() -> Callable[[io.BytesIO, ByValue], Any]:
    from typing import TypeVar

    import dill  # here: importing it takes longer than all the rest

    class Pickler(dill.Pickler):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self, file: io.BytesIO, by_value: ByValue) -> None:
            super().__init__(file, _PROTOCOL, byref=False, recurse=False)
            self._by_value = by_value

        def persistent_id(self, obj: Any) -> Optional[Tuple[Any, ...]]:
            return self._by_value.persistent_id(obj)

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type):
                return _reduce_class(obj)
            if isinstance(obj, _FILES):
                return _reduce_file(obj)
            if isinstance(obj, TypeVar):
                return _reduce_typevar(obj)
            return _reduce_memmap(obj)

    return Pickler


@functools.lru_cache(maxsize=None)
def _unpickler_type() -> Type[Any]:
    import dill

    class Unpickler(dill.Unpickler):  # type: ignore[misc, name-defined, unused-ignore]
        def persistent_load(self, pid: Tuple[Any, ...]) -> Any:
            function, arguments = pid
            return function(*arguments)

    return Unpickler


# --- classes that dill writes wrongly, or not at all (0.4.1) ---

_FILES = (
    io.TextIOWrapper,
    io.FileIO,
    io.BufferedReader,
    io.BufferedWriter,
    io.BufferedRandom,
)


def _reduce_file(file: Any) -> Any:
    """dill would open it again, in the same mode: "w" empties the user's file."""
    for name in ("stdin", "stdout", "stderr"):
        if file is getattr(sys, name):
            return getattr, (sys, name)
    raise TypeError(f"cannot pickle '{type(file).__name__}' object: an open file")


def _reduce_memmap(obj: Any) -> Any:
    """As numpy does it, an array; dill takes it for one with an mmap to keep."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or not isinstance(obj, numpy.memmap):
        return NotImplemented
    return obj.__reduce_ex__(_PROTOCOL)


def _reduce_typevar(var: Any) -> Any:
    from typing import TypeVar

    if var.__module__ != "__main__":
        return NotImplemented
    variance = {
        "covariant": var.__covariant__,
        "contravariant": var.__contravariant__,
        "bound": var.__bound__,
    }
    make = functools.partial(TypeVar, **variance)
    return make, (var.__name__, *var.__constraints__)


def _reduce_class(cls: type) -> Any:
    import enum

    if not is_by_value(cls) and cls.__module__ != "__main__":
        return NotImplemented
    if issubclass(cls, enum.Enum):
        members = {name: member.value for name, member in cls.__members__.items()}
        return _make_enum, (_names(cls), cls.__bases__, members, _written(cls, members))
    if cls.__bases__ == (tuple,) and hasattr(cls, "_fields"):
        fields: Tuple[str, ...] = cls._fields
        defaults = tuple(cls._field_defaults.values())  # type: ignore[attr-defined]
        return _make_namedtuple, (_names(cls), fields, defaults, _written(cls, fields))
    return NotImplemented


def _names(cls: type) -> _Names:
    return cls.__name__, cls.__qualname__, cls.__module__, cls.__doc__


def _written(cls: type, without: Container[str]) -> _Attributes:
    """What the class's body defined, without what its metaclass generated."""
    written = {}
    for name, value in vars(cls).items():
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        if isinstance(function, types.FunctionType):
            if function.__module__ == cls.__module__:
                # an enum keeps the body's __new__ under another name
                is_new = function.__name__ == "__new__"
                written["__new__" if is_new else name] = value
        elif name[0] != "_" and name not in without:
            written[name] = value
    return written


def _set_names(cls: Any, names: _Names) -> None:
    cls.__name__, cls.__qualname__, cls.__module__, cls.__doc__ = names


def _make_enum(
    names: _Names, bases: Tuple[type, ...], members: _Attributes, written: _Attributes
) -> type:
    def body(namespace: Dict[str, Any]) -> None:
        for attributes in (written, members):
            for name, value in attributes.items():
                namespace[name] = value

    metaclass = type(bases[-1])
    cls = types.new_class(names[0], bases, {"metaclass": metaclass}, body)
    _set_names(cls, names)
    return cls


def _make_namedtuple(
    names: _Names, fields: Tuple[str, ...], defaults: Tuple[Any, ...], written: Any
) -> type:
    cls = collections.namedtuple(names[0], fields, defaults=defaults)  # type: ignore
    for name, value in written.items():
        setattr(cls, name, value)
    _set_names(cls, names)
    return cls
