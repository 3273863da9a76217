"""What a callable and a task are, as digests that another run can compare.

A callable is compared in parts with names ("the code of f", "the global SCALE"), so that
one can be told which differs.  The same program has the same digests in every process,
under every PYTHONHASHSEED: sets count in the order of their items' digests, also those
among the constants of code; and no address, file name or line counts.

Functions and classes of the user's own modules are followed: their code, and what they
read from their modules.  What belongs to Python or is installed counts by its name.
"""

from __future__ import annotations

import copyreg
import functools
import io
import marshal
import os
import pickle
import sys
import types
from hashlib import blake2b

from ._main import _names_read, is_by_value

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import (
        Any,
        Dict,
        FrozenSet,
        Iterable,
        List,
        Mapping,
        Optional,
        Set,
        Tuple,
    )

__all__ = ["CALLABLE", "digest_of", "parts_of", "TaskDigest"]

CALLABLE = "the callable"  # the part that covers all that it carries itself

_PROTOCOL = 5
_SIZE = 16  # bytes of a digest
_SLICE = 10000  # items that are written at once
_KNOWN = 1000  # functions and classes of tasks that are remembered
_SHORT = 48  # bytes of a pickle, which is no longer than its digest is worth
_ROUNDS = 4  # in which objects of a cycle are told apart

_NUMBERS = frozenset({int, float, complex, bool, type(None)})
_ATOMS = _NUMBERS | {str, bytes}
_BY_NAME = types.FunctionType, type  # they are pickled so

# What Python keeps in a class for itself, or what says nothing of what it does.
_NOT_OF_A_CLASS = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__doc__",
        "__firstlineno__",
        "__static_attributes__",
        "__annotations__",
        "__annotations_cache__",
        "__annotate__",
        "__annotate_func__",
        "__slotnames__",
        "_abc_impl",
    }
)


def digest_of(obj: object) -> bytes:
    """A digest of any object, by what it holds."""
    return _Digester().digest(obj)


def parts_of(function: object) -> Dict[str, str]:
    """The digests of what a callable is made of, by name.

    Parameters
    ----------
    function : callable
        Any: also a method, a `functools.partial`, an object with ``__call__``.

    Returns
    -------
    dict
        To each name a digest in hexadecimal.
    """
    digester = _Digester()
    digester.part(CALLABLE, digester.digest(function))
    digester.follow()
    return digester.parts()


class TaskDigest:
    """Gives digests of tasks by their pickles, with the code of what they refer to.

    A short pickle is its own digest. For each task of a map it is called once, by the
    master: so it uses one pickler for all, and none for numbers and texts, whose bytes by
    `marshal` (without references, as of version 2) say as much.
    """

    def __init__(self) -> None:
        self._file = io.BytesIO()
        self._pickler = _TaskPickler(self._file)

    def __call__(self, task: Any) -> bytes:
        if type(task) in _ATOMS:
            data = marshal.dumps(task, 2)
            if len(data) <= _SHORT:
                return data
            return blake2b(data, digest_size=_SIZE).digest()
        buffers = self._pickler.buffers
        try:
            data = self._pickled(task)
            if not buffers and len(data) <= _SHORT:
                return data
            made = blake2b(data, digest_size=_SIZE)
            for buffer in buffers:
                made.update(buffer.raw())
        except Exception:  # for locks and the like: pickling it is the pool's to refuse
            return digest_of(task)
        finally:
            if buffers:
                buffers.clear()
        return made.digest()

    def _pickled(self, task: object) -> bytes:
        pickler, file = self._pickler, self._file
        try:
            pickler.dump(task)
            return file.getvalue()
        finally:  # nothing of it is kept
            pickler.clear_memo()
            file.seek(0)
            file.truncate()


class _TaskPickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        self.buffers: List[pickle.PickleBuffer] = []
        super().__init__(file, _PROTOCOL, buffer_callback=self.buffers.append)
        self._known: Dict[int, Tuple[object, bytes]] = {}  # by id, which it keeps

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, _BY_NAME):
            digest = self._referred(obj)
            if digest:
                return bytes, (digest,)
        return NotImplemented

    def _referred(self, obj: object) -> bytes:
        """What a task refers to by its name: it may be another one the next time.

        No bytes: it counts by that name.
        """
        known = self._known.get(id(obj))
        if known is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            followed = _is_followed(obj)
            made = digest_of(sorted(parts_of(obj).items())) if followed else b""
            known = self._known[id(obj)] = obj, made
        return known[1]


# ---- whose it is -----------------------------------------------------------------


@functools.lru_cache(maxsize=None)
def _is_users(module: str) -> bool:
    """Whether the module is neither Python's nor installed nor compiled."""
    if module == "__main__":
        return True
    path = getattr(sys.modules.get(module), "__file__", None)
    if path is None or module.partition(".")[0] == "ezmpi":
        return False
    path = os.path.abspath(path)
    is_installed = "site-packages" in path or "dist-packages" in path
    return not is_installed and not path.startswith(os.path.dirname(os.__file__) + os.sep)


def _is_followed(obj: Any) -> bool:
    """Whether a function or class counts by what it does, not by its name alone."""
    module = getattr(obj, "__module__", None)
    if module == "builtins":
        return False
    return not isinstance(module, str) or _is_users(module) or is_by_value(obj)


def _is_array(obj: Any) -> bool:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or type(obj) is not numpy.ndarray:
        return False
    return not obj.dtype.hasobject and obj.dtype.itemsize > 0


def _name(obj: Any) -> str:
    """Where an object of a module is found, or as much as it says of that."""
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    return f"{module}.{name}" if isinstance(name, str) else ""


# ---- digests ---------------------------------------------------------------------


def _joined(kind: str, *digests: bytes) -> bytes:
    made = blake2b(kind.encode(), digest_size=_SIZE)
    made.update(b"\0")
    for digest in digests:
        made.update(digest)
    return made.digest()


def _of_data(kind: str, data: Any) -> bytes:
    made = blake2b(kind.encode(), digest_size=_SIZE)
    made.update(b"\0")
    made.update(data)
    return made.digest()


def _of_atom(obj: Any) -> bytes:
    if type(obj) in _NUMBERS:
        return _of_data(type(obj).__name__, repr(obj).encode())
    is_text = type(obj) is str
    data = obj.encode("utf-8", "surrogatepass") if is_text else obj
    return _of_data(type(obj).__name__, data)


@functools.lru_cache(maxsize=4096)
def _names_in(code: types.CodeType) -> FrozenSet[str]:
    """All names, of globals and of attributes, in the code and in code inside it."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return frozenset(names)


class _Node:
    """An object that is being digested, or that holds one which is."""

    def __init__(self, obj: object) -> None:
        self.obj = obj
        self.is_held = False  # by what it holds
        self.parts: List[Tuple[str, bytes]] = []


class _Digester:
    """Gives each object a digest of what it holds.

    Objects that hold each other, in a cycle, have digests that depend neither on which of
    them was come to first nor on the order of sets. Tarjan's algorithm finds them, and
    they are digested together: see `_close_cycle`.
    """

    def __init__(self) -> None:
        self._parts: Dict[str, Set[bytes]] = {}
        # Of what is known, by id, the object, which is kept for that, and its digest.
        # The first for good, others on top of it for as long as something is assumed.
        self._known: List[Dict[int, Tuple[object, bytes]]] = [{}]
        self._open: List[_Node] = []  # what is not known yet, in the order it was come to
        self._places: Dict[int, int] = {}  # of these, by id
        self._reached = 0  # the lowest place that what is being digested leads to
        self._noted: Optional[List[Tuple[str, bytes]]] = None  # parts of the same
        self._assumes = False  # parts do not count
        self._seen: Set[Tuple[int, str]] = set()
        self._to_follow: List[Tuple[Mapping[str, Any], str, FrozenSet[str]]] = []

    def part(self, name: str, digest: bytes) -> None:
        if self._noted is None:
            self._parts.setdefault(name, set()).add(digest)
        else:
            self._noted.append((name, digest))

    def _add(self, parts: List[Tuple[str, bytes]]) -> None:
        for name, digest in () if self._assumes else parts:
            self._parts.setdefault(name, set()).add(digest)

    def parts(self) -> Dict[str, str]:
        """Functions may share a name, as lambdas do: so may parts."""
        return {
            name: _joined("part", *sorted(digests)).hex()
            for name, digests in sorted(self._parts.items())
        }

    def digest(self, obj: Any) -> bytes:
        if type(obj) in _ATOMS:
            return _of_atom(obj)
        for known in self._known:
            if id(obj) in known:
                return known[id(obj)][1]
        if id(obj) in self._places:
            return self._held(self._places[id(obj)])
        # All in one function: recursion is as deep as the data.
        node, place = _Node(obj), len(self._open)
        self._open.append(node)
        self._places[id(obj)] = place
        above, self._reached = self._reached, place
        noted, self._noted = self._noted, node.parts
        made = self._made(obj)
        self._noted = noted
        if self._reached == place:  # nothing that it leads to leads above it
            made = self._close(place, made)
        self._reached = min(above, self._reached)
        return made

    def _held(self, place: int) -> bytes:
        """What is open already leads to itself; its digest is asked for again then."""
        self._open[place].is_held = True
        self._reached = min(self._reached, place)
        return b""

    def _close(self, place: int, made: bytes) -> bytes:
        nodes = self._open[place:]
        del self._open[place:]
        for node in nodes:
            del self._places[id(node.obj)]
        if len(nodes) > 1 or nodes[0].is_held:
            return self._close_cycle([node.obj for node in nodes])
        self._known[-1][id(nodes[0].obj)] = nodes[0].obj, made
        self._add(nodes[0].parts)
        return made

    def _close_cycle(self, objects: List[Any]) -> bytes:
        """Digest objects each of which leads to all others; that of the first.

        Colour refinement (Weisfeiler and Leman 1968), with as few rounds as tell apart
        what differs nearby; what differs anywhere is in the digest of all.
        """
        labels = [b""] * len(objects)
        assumes, self._assumes = self._assumes, True
        for _ in range(_ROUNDS):
            labels = self._labelled(objects, labels)
        self._assumes = assumes
        whole = _joined("cycle", *sorted(labels))
        digests = [_joined("of a cycle", label, whole) for label in labels]
        self._labelled(objects, digests)  # for the parts
        for obj, digest in zip(objects, digests):
            self._known[-1][id(obj)] = obj, digest
        return digests[0]

    def _labelled(self, objects: List[Any], labels: List[bytes]) -> List[bytes]:
        """Digests of the objects, if those of all were what is given."""
        reached, noted = self._reached, self._noted
        pairs = zip(objects, labels)
        self._known.append({id(obj): (obj, label) for obj, label in pairs})
        self._noted = []
        made = [self._made(obj) for obj in objects]
        self._add(self._noted)
        self._known.pop()
        self._reached, self._noted = reached, noted
        return made

    def _made(self, obj: Any) -> bytes:
        kind = type(obj)
        if kind in (tuple, list):
            return _joined(kind.__name__, *self._sequence(obj))
        if kind is dict:
            return self._dict(obj)
        if isinstance(obj, (set, frozenset)):
            return self._set(obj)
        if kind is bytearray:
            return _of_data("bytearray", obj)
        if isinstance(obj, pickle.PickleBuffer):
            return _of_data("buffer", obj.raw())
        if isinstance(obj, types.CodeType):
            return self._code(obj)
        if isinstance(obj, types.FunctionType):
            return self._function(obj)
        if isinstance(obj, type):
            return self._class(obj)
        return self._wrapper(obj)

    def _wrapper(self, obj: Any) -> bytes:
        """What stands for functions and modules; else an object with data."""
        if isinstance(obj, types.ModuleType):
            return _of_data("module", obj.__name__.encode())
        if isinstance(obj, types.MethodType):
            return _joined("method", *map(self.digest, (obj.__func__, obj.__self__)))
        if isinstance(obj, (staticmethod, classmethod)):
            return _joined(type(obj).__name__, self.digest(obj.__func__))
        if isinstance(obj, property):
            functions = obj.fget, obj.fset, obj.fdel
            return _joined("property", *map(self.digest, functions))
        if type(obj).__module__.partition(".")[0] == "ezmpi":
            return self._own(obj)
        if _is_array(obj):
            return self._array(obj)
        # of functools.lru_cache, jax, numba ...
        held = getattr(obj, "__dict__", None) or {}
        wrapped = held.get("__wrapped__") or held.get("py_func")
        if isinstance(wrapped, types.FunctionType):
            return _joined(_name(type(obj)), self.digest(wrapped))
        return self._object(obj)

    def _own(self, obj: Any) -> bytes:
        """A pool is the same in the next run, though it is another object."""
        shared = sys.modules.get("ezmpi._shared")
        if shared is not None and isinstance(obj, shared.Shared):
            return _joined("shared", self.digest(obj.value))
        return _of_data("ezmpi", _name(type(obj)).encode())

    # --- data ---

    def _sequence(self, items: Any) -> Iterable[bytes]:
        """Digests of the items; of many numbers and texts not one by one."""
        if len(items) > 100 and set(map(type, items)) <= _ATOMS:
            for i in range(0, len(items), _SLICE):
                yield _of_data("atoms", marshal.dumps(list(items[i : i + _SLICE]), 2))
            return
        for item in items:
            yield self.digest(item)

    def _dict(self, obj: Dict[Any, Any]) -> bytes:
        """In their order: who loops over it gets another result for another one."""
        keys, values = list(obj), list(obj.values())
        return _joined("dict", *self._sequence(keys), *self._sequence(values))

    def _set(self, obj: Any) -> bytes:
        kind = _name(type(obj))
        held = getattr(obj, "__dict__", None) or None
        return _joined(kind, self.digest(held), *sorted(map(self.digest, obj)))

    def _array(self, obj: Any) -> bytes:
        """Whatever its strides; numpy pickles a part of an array in another way."""
        numpy: Any = sys.modules["numpy"]
        data = numpy.ascontiguousarray(obj).reshape(-1).view("u1")
        shape = self.digest((obj.shape, str(obj.dtype.descr)))
        return _joined("array", shape, _of_data("buffer", data))

    def _object(self, obj: Any) -> bytes:
        """By what it would be pickled as."""
        reduce = copyreg.dispatch_table.get(type(obj))
        try:
            made = reduce(obj) if reduce else obj.__reduce_ex__(_PROTOCOL)
            if isinstance(made, str):
                return _of_data("name", f"{_name(obj)} {made}".encode())
            function, arguments, state, items, pairs = (*made, None, None, None)[:5]
            held = [function, arguments, state, list(items or ()), dict(pairs or ())]
        except Exception:  # a lock, a file ...: it has no data that could be kept
            kind = _name(type(obj))
            return _of_data("opaque", f"{kind} {_name(obj)}".encode())
        return _joined("object", *map(self.digest, held))

    # --- code ---

    def _code(self, code: types.CodeType) -> bytes:
        return _joined(
            "code",
            *map(self.digest, code.co_consts),
            *map(
                self.digest,
                (
                    code.co_code,
                    getattr(code, "co_exceptiontable", b""),
                    code.co_names,
                    code.co_varnames,
                    code.co_freevars,
                    code.co_cellvars,
                    code.co_argcount,
                    code.co_posonlyargcount,
                    code.co_kwonlyargcount,
                    code.co_flags,
                ),
            ),
        )

    def _function(self, function: types.FunctionType) -> bytes:
        name = _name(function)
        if not _is_followed(function):
            wrapped = self.digest(vars(function).get("__wrapped__"))
            return _joined("function", name.encode(), wrapped)
        label = function.__qualname__
        code = self.digest(function.__code__)
        defaults = self.digest((function.__defaults__, function.__kwdefaults__))
        attributes = self.digest(vars(function))
        cells = self._cells(function)
        self.part(f"the code of {label}", code)
        if vars(function):
            self.part(f"the attributes of {label}", attributes)
        if function.__defaults__ or function.__kwdefaults__:
            self.part(f"the defaults of {label}", defaults)
        self._reach(function)
        return _joined(f"function {name}", code, defaults, attributes, *cells)

    def _cells(self, function: types.FunctionType) -> List[bytes]:
        digests = []
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            try:
                contents = [cell.cell_contents]
            except ValueError:  # not bound yet
                contents = []
            digest = self.digest(contents[0]) if contents else b""
            self.part(f"the variable {name} of {function.__qualname__}", digest)
            digests.append(digest)
        return digests

    def _class(self, cls: type) -> bytes:
        name = _name(cls)
        if not _is_followed(cls):
            return _of_data("class", name.encode())
        held = {n: v for n, v in vars(cls).items() if n not in _NOT_OF_A_CLASS}
        parts = type(cls), cls.__bases__, held
        digest = _joined(f"class {name}", *map(self.digest, parts))
        self.part(f"the class {cls.__qualname__}", digest)
        return digest

    # --- globals ---

    def _reach(self, function: types.FunctionType) -> None:
        """What it reads from its module is to be followed, if that is the user's."""
        module = function.__globals__.get("__name__")
        if isinstance(module, str) and _is_users(module):
            code = function.__code__
            self._read(function.__globals__, _names_read(code), _names_in(code))

    def _read(
        self, held: Mapping[str, Any], names: Iterable[str], then: FrozenSet[str]
    ) -> None:
        for name in names:
            if name in held:
                self._to_follow.append((held, name, then))

    def follow(self) -> None:
        """Add the globals that were found to be read, and those that they read."""
        while self._to_follow:
            held, name, then = self._to_follow.pop()
            value = held[name]
            if isinstance(value, types.ModuleType) and _is_users(value.__name__):
                self._follow_module(value, then)
            elif (id(held), name) not in self._seen:
                self._seen.add((id(held), name))
                self._follow_global(held["__name__"], name, value)

    def _follow_module(self, module: types.ModuleType, names: FrozenSet[str]) -> None:
        for name in names & vars(module).keys():
            if (id(module), name) not in self._seen:
                self._seen.add((id(module), name))
                self._read(vars(module), (name,), names)

    def _follow_global(self, module: str, name: str, value: Any) -> None:
        digest = self.digest(value)
        if isinstance(value, (types.FunctionType, type)) and _is_followed(value):
            digest = _name(value).encode()  # its parts say the rest
        label = name if module == "__main__" else f"{module}.{name}"
        self.part(f"the global {label}", digest)
