"""Objects that the workers hold: `MPIPool.share`."""

from __future__ import annotations

import itertools
import weakref

from . import _forks

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Dict, Tuple

    from .pool import MPIPool

    _Key = Tuple[str, int]  # of the master's process; a number

__all__ = ["Shared"]

# On a worker: what it was sent, and whether that is why it could not be made.
_held: Dict[_Key, Tuple[Any, bool]] = {}
_numbers = itertools.count()
_shared: "weakref.WeakValueDictionary[_Key, Shared]" = weakref.WeakValueDictionary()


class Shared:
    """A handle on an object that all workers hold; made by `MPIPool.share`.

    It can be used in callables and tasks, where it travels as a few bytes. The workers
    let go of the object when the master's handle goes.

    Attributes
    ----------
    value : object
        The object: on the master the one that was shared, on a worker its copy.

    Examples
    --------
    >>> table = pool.share({"a": 1})
    >>> pool.map(lambda key: table.value[key], ["a"])
    [1]
    """

    def __init__(self, key: _Key, value: Any) -> None:
        self._key = key
        self._value = value

    @property
    def value(self) -> Any:
        """The object.

        Returns
        -------
        object
            What was shared, or this worker's copy of it; not to be changed.

        Raises
        ------
        LookupError
            On a worker, if the master has let go of its handle; where workers were
            forked, also on those of another pool.
        Exception
            On a worker, what unpickling the object raised there.

        Examples
        --------
        >>> pool.share([1, 2, 3]).value
        [1, 2, 3]
        """
        return self._value

    def __repr__(self) -> str:
        return f"<Shared {self._key[1]}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        return _find, (self._key,)


class _Copy(Shared):
    """What a handle is on a worker."""

    def __init__(self, key: _Key) -> None:
        super().__init__(key, None)

    @property
    def value(self) -> Any:
        try:
            value, failed = _held[self._key]
        except KeyError:
            raise LookupError(_why_not()) from None
        if failed:
            raise value.with_traceback(None)  # each use would add to it
        return value


def _why_not() -> str:
    if _forks.siblings:
        return (
            "what was shared is not here: the master let go of its handle, or shared it "
            "with another pool only, which has workers of its own: share it with this "
            "pool, too"
        )
    return "what was shared is not here any more: the master let go of its handle"


def share(pool: MPIPool, token: str, value: Any) -> Shared:
    """Send the value to the pool's workers; token: of this process."""
    shared = Shared((token, next(_numbers)), value)
    pool._share(shared._key, value)
    _shared[shared._key] = shared
    weakref.finalize(shared, pool._unshare, shared._key).atexit = False
    return shared


def _find(key: _Key) -> Shared:
    shared = _shared.get(key)
    return _Copy(key) if shared is None else shared


# --- called by the engine, on a worker ---


def hold(key: _Key, value: Any, failed: bool) -> None:
    """Keep what the master shared; failed: the exception in its place."""
    _held[key] = value, failed


def drop(key: _Key, value: Any, failed: bool) -> None:
    """Let go of it."""
    _held.pop(key, None)
