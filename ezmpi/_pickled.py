"""What workers call in place of the user's callable, where results are kept in a file."""

from __future__ import annotations

import _pickle as pickle  # pickle.py adds nothing but the time to import it

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Callable

_PROTOCOL = 5


class Pickled:
    """Called with a task, returns the pickled result.

    Parameters
    ----------
    function : callable
        The user's. People are told its name (csrc/callable.c).
    star : bool
        Whether it is called with what a task holds.
    """

    def __init__(self, function: Callable[..., Any], star: bool) -> None:
        self.function = function
        self._star = star

    def __call__(self, task: Any) -> bytes:
        return _dumps(self.function(*task) if self._star else self.function(task))


def _dumps(result: object) -> bytes:
    try:
        return pickle.dumps(result, _PROTOCOL)
    except Exception:  # local functions and classes
        from . import _pickling, errors

        try:
            return _pickling.Encoder(None)(result, None)
        except Exception as error:
            errors._mark_by_result(error)
            raise
