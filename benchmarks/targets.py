"""Which targets are met under which MPI, and why others are missed."""

import re
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

from limits import LIMITS
from pools import OURS
from report import reached_limit, speed, table, verdicts, wanted_of
from saved import Figures, Saved
from simulation import Simulation, busy
from sweeps import EVERY_ROW

EXPLANATIONS = Path(__file__).resolve().parent / "missed.md"
SIMULATED, SIMULATED_TARGET = "simulated", 0.9


class Verdict(NamedTuple):
    name: str  # of the row or limit
    title: str
    target: str
    reached: Dict[str, Tuple[str, str]]  # by MPI: the figure, met or missed


# ---- met or missed ----


def row_verdicts(tables: Dict[str, Saved]) -> Iterator[Verdict]:
    found: Dict[Tuple[str, str, float], Dict[str, Tuple[str, str]]] = {}
    for mpi, saved in tables.items():
        for row, pool, target, verdict in verdicts(saved.results):
            reached = speed(saved.results, row, OURS, pool)
            found.setdefault((row, pool, target), {})[mpi] = (reached, verdict)
    for (row, pool, target), reached_by in found.items():
        wanted = f"{target:g}x {pool}"
        yield Verdict(row, EVERY_ROW[row].title, wanted, reached_by)


def limit_verdicts(tables: Dict[str, Saved]) -> Iterator[Verdict]:
    for name, limit in LIMITS.items():
        reached = {
            mpi: reached_limit(limit, saved.limits[name])
            for mpi, saved in tables.items()
            if name in saved.limits
        }
        if reached:
            wanted = f"{wanted_of(limit)} {limit.unit}"
            yield Verdict(name, limit.title, wanted, reached)


def simulated_verdict(simulation: Simulation) -> Verdict:
    share = busy(simulation, "0").share
    verdict = "met" if share >= SIMULATED_TARGET else "missed"
    title = "simulated: 4096 workers, 10^7 tasks of 1 ms"
    wanted = f"at least {SIMULATED_TARGET:g} of the cores busy"
    return Verdict(SIMULATED, title, wanted, {"any": (f"{share:.3f}", verdict)})


def all_verdicts(figures: Figures) -> List[Verdict]:
    return [
        *row_verdicts(figures.tables),
        *limit_verdicts(figures.tables),
        simulated_verdict(figures.simulation),
    ]


def under(verdict: Verdict, mpi: str) -> Tuple[str, str]:
    return verdict.reached.get(mpi, verdict.reached.get("any", ("", "")))


def counted(figures: Figures) -> str:
    """How many are met, by MPI."""
    parts = []
    for mpi in figures.tables:
        words = [under(verdict, mpi)[1] for verdict in all_verdicts(figures)]
        measured = len(words) - words.count("not measured") - words.count("")
        parts.append(f"{words.count('met')} of {measured} under {mpi}")
    return ", ".join(parts)


def shown(verdict: Verdict, mpi: str) -> str:
    reached, word = under(verdict, mpi)
    said = f"**{word}**" if word == "missed" else word
    return ", ".join(filter(None, [reached, said]))


def targets(figures: Figures) -> str:
    names = list(figures.tables)
    lines = [
        [found.title, found.target, *(shown(found, mpi) for mpi in names)]
        for found in all_verdicts(figures)
    ]
    return table(["", "target", *names], lines)


# ---- explanations ----


def explanations() -> Dict[str, str]:
    parts = re.split(r"^## (.+)\n", EXPLANATIONS.read_text(), flags=re.MULTILINE)
    return {name.strip(): text.strip() for name, text in zip(parts[1::2], parts[2::2])}


def misses(figures: Figures) -> Dict[str, List[Verdict]]:
    found: Dict[str, List[Verdict]] = {}
    for verdict in all_verdicts(figures):
        if any(word == "missed" for _, word in verdict.reached.values()):
            found.setdefault(verdict.name, []).append(verdict)
    return found


def unexplained(figures: Figures) -> List[str]:
    known = explanations()
    return [name for name in misses(figures) if not known.get(name)]


def missed(figures: Figures) -> str:
    known = explanations()
    lines = []
    for name, verdicts_of in misses(figures).items():
        where = [
            f"{verdict.target}: {reached}" + ("" if mpi == "any" else f" under {mpi}")
            for verdict in verdicts_of
            for mpi, (reached, word) in verdict.reached.items()
            if word == "missed"
        ]
        text = known.get(name) or "Not explained yet."
        lines.append(f"**{verdicts_of[0].title}** ({'; '.join(where)}). {text}")
    return "\n\n".join(lines) or "None."
