"""How `batched_map` splits tasks."""

from __future__ import annotations

import itertools

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Any, List, Tuple


def batches(tasks: List[Any], size: int) -> List[Tuple[Tuple[int, int], List[Any]]]:
    """At most size of them, each with its range; the first are one task longer."""
    share, extra = divmod(len(tasks), size)
    counts = [share + (i < extra) for i in range(size)]
    stops = itertools.accumulate(counts)
    ranges = [(stop - count, stop) for stop, count in zip(stops, counts) if count]
    return [((start, stop), tasks[start:stop]) for start, stop in ranges]
