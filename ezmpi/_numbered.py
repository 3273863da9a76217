"""What workers call in place of the user's callable, where results are kept in a file."""

from __future__ import annotations

import _pickle as pickle  # pickle.py adds nothing but the time to import it

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable, Tuple

_PROTOCOL = 5


class Numbered:
    """Called with a number and a task, returns the number and the pickled result.

    Parameters
    ----------
    function : callable
        The user's.
    star : bool
        Whether it is called with what a task holds.
    """

    def __init__(self, function: Callable[..., Any], star: bool) -> None:
        self._function = function
        self._star = star

    def __call__(self, numbered: Tuple[int, Any]) -> Tuple[int, bytes]:
        number, task = numbered
        result = self._function(*task) if self._star else self._function(task)
        return number, _dumps(result)


def _dumps(result: object) -> bytes:
    try:
        return pickle.dumps(result, _PROTOCOL)
    except Exception:  # local functions and classes
        from ._pickling import Encoder

        return Encoder(None)(result, None)
