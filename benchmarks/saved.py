"""What ``run.py --json`` wrote, read again."""

import json
from pathlib import Path
from typing import Dict, NamedTuple

from limits import LIMITS
from pools import POOLS
from results import Plan, Results, Run
from simulation import Simulation
from sweeps import EVERY_ROW


class Saved(NamedTuple):
    machine: str
    versions: Dict[str, str]
    limits: Dict[str, Run]
    results: Results


class Figures(NamedTuple):
    """All that the page is made of."""

    tables: Dict[str, Saved]  # by MPI
    sweeps: Dict[str, Results]
    simulation: Simulation
    isolation: str  # a table


def load(path: Path) -> Saved:
    """Without the rows, pools and limits that there are no more."""
    about = json.loads(path.read_text())
    rows = {row: runs for row, runs in about["runs"].items() if row in EVERY_ROW}
    pools = [pool for pool in next(iter(rows.values())) if pool in POOLS]
    skipped = {row: why for row, why in about["skipped"].items() if row in EVERY_ROW}
    results = Results(list(rows), pools, Plan(**about["plan"]), skipped)
    for row, runs in rows.items():
        results.runs[row] = {pool: runs[pool] for pool in pools}
    limits = {name: run for name, run in about["limits"].items() if name in LIMITS}
    return Saved(about["machine"], about["versions"], limits, results)
