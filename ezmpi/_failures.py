"""What becomes of a task that fails: `on_error`, `retries` and `retry_on`."""

from __future__ import annotations

import operator

from .errors import TaskExit, TaskTimeout, WorkerDied

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple, Type, Union

    Types = Tuple[Type[BaseException], ...]
    RetryOn = Union[Type[BaseException], Types]
    # How many attempts at most behind the first, and after what exceptions: of these
    # types, but not of those. See csrc/retries.h.
    Plan = Tuple[int, Types, Types]
    # Do failures stand in place of results? The plan, and the nanoseconds that a task may
    # take (0: any).
    Failures = Tuple[bool, Optional[Plan], int]

_MOST = (1 << 31) - 1  # attempts: a C int


def check(retries: Any, retry_on: Any) -> Tuple[int, Types]:
    """The same, of the types that the plan needs."""
    return check_retries(retries), check_types(retry_on)


def check_on_error(on_error: Any) -> bool:
    """Whether failures are to stand in place of results."""
    if not isinstance(on_error, str) or on_error not in ("raise", "return"):
        raise ValueError(f'on_error must be "raise" or "return", not {on_error!r}')
    return on_error == "return"


def of_call(
    on_error: Any, retries: Any, retry_on: Any, usual: Tuple[int, Types]
) -> Tuple[bool, Optional[Plan]]:
    """Of a call's arguments, where None is as usual with the pool."""
    is_returned = check_on_error(on_error)
    plan = make_plan(
        usual[0] if retries is None else check_retries(retries),
        usual[1] if retry_on is None else check_types(retry_on),
    )
    return is_returned, plan


def check_retries(retries: Any) -> int:
    if isinstance(retries, bool) or not hasattr(retries, "__index__"):
        raise TypeError(f"retries must be an int, not {type(retries).__name__}")
    number = operator.index(retries)
    if number < 0:
        raise ValueError(f"retries must be at least 0, not {number}")
    return min(number, _MOST)


def check_types(retry_on: Any) -> Types:
    types = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    for each in types:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise TypeError(
                f"retry_on must be an exception type or a tuple of them; it has {each!r}"
            )
    return types


def make_plan(retries: int, retry_on: Types) -> Optional[Plan]:
    """None: no task is to be run again, whatever happens."""
    if retries == 0:
        return None
    retry_on = (*retry_on, WorkerDied, TaskTimeout)  # no word of the task's own
    # A task's SystemExit comes as a TaskExit, a RuntimeError that nobody means who lists
    # Exception.
    if issubclass(SystemExit, retry_on):
        return retries, (*retry_on, TaskExit), ()
    return retries, retry_on, () if TaskExit in retry_on else (TaskExit,)
