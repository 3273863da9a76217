"""The README's table: the rows that matter most."""

import re

from page import conditions, without_paths
from pools import FLOOR, OURS
from report import number, speed, table
from rows import ROWS, UNITS
from saved import Saved

README_ROWS = ["tiny-main", "map-1-main", "array-in", "callable-8MB", "emcee-1MB"]
PLACE = re.compile(r"(<!-- speed[^>]*-->\n).*?(<!-- end of speed -->)", re.DOTALL)


def speed_table(saved: Saved) -> str:
    """The five rows that matter most: ours, and how many times as fast it is."""
    results = saved.results
    others = [pool for pool in results.pools if pool not in (OURS, "serial")]
    lines = []
    for row in README_ROWS:
        seconds = results.seconds(row, OURS)
        unit = ROWS[row].unit
        own = f"{number(UNITS[unit](seconds))} {unit}" if seconds else "failed"
        over = [speed(results, row, OURS, pool) for pool in others]
        lines.append([ROWS[row].title, own, *over])
    heads = ["bare MPI in C" if pool == FLOOR else pool for pool in others]
    return table(["", OURS, *(f"over {head}" for head in heads)], lines)


def readme(text: str, saved: Saved) -> str:
    """The text with the table in its place."""
    part = f"{speed_table(saved)}\n\n{conditions({'MPICH': saved})}\n"
    found, count = PLACE.subn(
        lambda match: match.group(1) + without_paths(part) + match.group(2), text
    )
    if count != 1:
        raise SystemExit("README.md has no place for the table")
    return found
