"""How objects are pickled where dill is allowed: the C pickler, with an override.

Only functions, classes and modules are looked at; all else the C pickler does alone.
What it cannot do at all is handed to dill.
"""

from __future__ import annotations

import _pickle as pickle  # pickle.py adds nothing but the time to import it
import io
import types

from . import _by_value
from ._main import NAMED, Held, MainRecord, is_by_value, namespace

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    BufferCallback = Callable[[Any], Any]

_PROTOCOL = 5


class Encoder:
    """Pickles objects, and notes what the workers' ``__main__`` must hold for them.

    Parameters
    ----------
    record : MainRecord or None
        What the workers hold; None where nothing is kept in step: on a worker.
    """

    def __init__(self, record: Optional[MainRecord]) -> None:
        self._record = record
        self._met: List[object] = []
        self._kept: List[object] = []
        self._sending: Dict[str, Optional[Held]] = {}
        self.by_value = _by_value.ByValue(self.meet)

    def __call__(self, obj: object, buffer_callback: Optional[BufferCallback]) -> bytes:
        file = io.BytesIO()
        try:
            _Pickler(file, self, buffer_callback).dump(obj)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            # Locks, files, generators' functions ...: dill knows more types.
            if buffer_callback is not None:
                buffer_callback(None)  # forget the buffers of the first attempt
            return self._by_dill(obj, error)
        return file.getvalue()

    def _by_dill(self, obj: object, error: Exception) -> bytes:
        try:
            pickled = self.by_value.dumps(obj)
        except Exception:
            raise error from None  # what pickle says of it is what users know
        return pickle.dumps(_Loaded(pickled), _PROTOCOL)

    def meet(self, obj: object) -> None:
        """Note a function or class that was pickled."""
        if self._record is not None:
            self._met.append(obj)

    def take_bindings(self) -> Optional[Tuple[int, bytes]]:
        """What to bind on the workers before what was pickled is loaded there.

        And a number, the same for the same names: a guard (csrc/guard.c) keeps the last.

        Raises
        ------
        pickle.PicklingError
            If a global that is to be bound cannot be pickled.
        """
        if self._record is None:
            return None
        names = self._record.missing([*self._kept, *self._met])
        bindings = self._bindings(self._record, names) if names else None
        self._met.clear()
        self._kept.clear()
        return bindings

    def bindings_sent(self) -> None:
        """The workers will hold what `take_bindings` returned last."""
        if self._record is not None:
            self._record.note(self._sending)

    def keep_met(self) -> None:
        """What was met so far is to be sent with whatever job comes first."""
        self._kept.extend(self._met)
        self._met.clear()

    def forget_met(self) -> None:
        """A job begins; what an earlier one met and never sent is not needed."""
        self._met.clear()

    def _bindings(self, record: MainRecord, names: List[str]) -> Tuple[int, bytes]:
        """Extends names by what their values in turn are found to need."""
        bound = namespace()
        done = 0
        while done < len(names):
            done = len(names)
            values = {name: bound[name] for name in names if name in bound}
            self._sending = record.held(names)
            # all at once: what is one object under two names stays one
            pickled = self._pickle(values)
            names.extend(n for n in record.missing(self._met) if n not in names)
        number = hash(frozenset(names)) & 0xFFFF_FFFF_FFFF_FFFF
        return number, pickle.dumps((names, pickled), _PROTOCOL)

    def _pickle(self, values: Dict[str, object]) -> bytes:
        try:
            return self.by_value.dumps_definitions(values)
        except Exception as error:
            name = self._culprit(values)
            raise pickle.PicklingError(
                f"the workers need the global {name}, which was bound in __main__ "
                "after they had come to the pool, and it cannot be pickled "
                f"({type(error).__name__}: {error}); bind it before the pool is made, "
                "or pass what the function needs with its tasks"
            ) from error

    def _culprit(self, values: Dict[str, object]) -> str:
        for name, value in values.items():
            try:
                self.by_value.dumps_definitions({name: value})
            except Exception:
                return name
        return " or ".join(values)


class _Pickler(pickle.Pickler):
    def __init__(
        self,
        file: io.BytesIO,
        encoder: Encoder,
        buffer_callback: Optional[BufferCallback],
    ) -> None:
        super().__init__(file, _PROTOCOL, buffer_callback=buffer_callback)
        self._encoder = encoder

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type):
            self._encoder.meet(obj)
            if obj.__module__ != "builtins" and is_by_value(obj):
                return self._encoder.by_value.reduce_class(obj)
        elif type(obj) is types.FunctionType:
            self._encoder.meet(obj)
            if is_by_value(obj):
                return _by_value.loads, (self._encoder.by_value.dumps(obj),)
        elif isinstance(obj, NAMED):
            self._encoder.meet(obj)
        elif type(obj) is types.ModuleType:
            import importlib

            return importlib.import_module, (obj.__name__,)
        return NotImplemented


class _Loaded:
    """Pickles to the object that dill's bytes stand for."""

    def __init__(self, pickled: bytes) -> None:
        self._pickled = pickled

    def __reduce__(self) -> Tuple[Any, ...]:
        return _by_value.loads, (self._pickled,)


def bind(bindings: bytes) -> None:
    """Bind on a worker what `Encoder.take_bindings` made."""
    names, pickled = pickle.loads(bindings)
    for name in names:  # what is there now must not pass for the new one
        namespace().pop(name, None)
    namespace().update(_by_value.loads(pickled))
