"""The values of the scheduler's policy, read from its source."""

import math
import re
from pathlib import Path
from typing import Dict

from simulation import PROGRAM, ROOT

SCHEDULE = ROOT / "csrc" / "schedule.c"
DEFINE = re.compile(r"^#define (\w+) ([\d.e+-]+)\b", re.MULTILINE)


def values(source: Path) -> Dict[str, float]:
    return {name: float(value) for name, value in DEFINE.findall(source.read_text())}


def duration(nanoseconds: float) -> str:
    """To be read: 25 µs."""
    for unit, size in (("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def smallest_chunk(task_seconds: float, workers: int) -> int:
    """With fewer tasks in a chunk the master's messages bound the simulated rate."""
    costs = values(PROGRAM)
    left = task_seconds / workers - 2 * costs["TASK"]
    return math.ceil(2 * costs["MESSAGE"] / left)


def bound(task_seconds: float, workers: int, chunksize: int) -> float:
    """The share of the workers' time that the simulated master can fill."""
    costs = values(PROGRAM)
    master = 2 * (costs["TASK"] + costs["MESSAGE"] / chunksize)
    return min(1.0, task_seconds / workers / master)


def words() -> Dict[str, str]:
    """What the page's text names; a name that the source has no more is an error."""
    policy, costs = values(SCHEDULE), values(PROGRAM)
    times = "CHUNK_TIME CHUNK_TIME_UNKNOWN BRIEF QUICK SHORT LATE_TIME DRAWING".split()
    times += ["MASTER_MESSAGES", "MASTER_TASK"]
    counts = "LATE DEPTH TRUST".split()
    found = {name.lower(): duration(policy[name]) for name in times}
    found.update({name.lower(): f"{policy[name]:g}" for name in counts})
    found["master_load"] = f"{policy['MASTER_LOAD']:.0%}"
    found.update({f"simulated_{n.lower()}": duration(1e9 * v) for n, v in costs.items()})
    found["simulated_both"] = duration(2e9 * costs["TASK"])
    return found
