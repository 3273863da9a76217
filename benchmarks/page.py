"""docs/performance.md: a text with figures filled in."""

import re
from pathlib import Path
from string import Template
from typing import Callable, Dict

import policy
from report import ERROR_WIDTH, bad_ends, measured, over_floor, repetition, skipped, table
from results import Results
from saved import Figures, Saved
from simulation import CHUNK_SECONDS, CHUNK_WORKERS, DISTRIBUTIONS, Simulation, busy
from sweeps import EVERY_ROW
from targets import counted, missed, targets

TEXT = Path(__file__).resolve().parent / "performance.md"

PATH = re.compile(r"(?<![\w./:])/(?:[^\s/|]+/)+")  # all but a path's last word

SMOKE = "**A smoke run: the figures show that it works, and nothing else.**"


# ---- what was measured ----


def conditions(tables: Dict[str, Saved]) -> str:
    lines = []
    for mpi, saved in tables.items():
        found = {name: told.partition(",")[0] for name, told in saved.versions.items()}
        told = ", ".join(" ".join(pair) for pair in found.items())
        load = saved.results.plan.load
        lines.append(f"- {mpi}: {saved.machine}; load average before: {load:.1f}.")
        lines.append(f"  Versions: {told}. {repetition(saved.results)}")
    if any(saved.results.plan.in_turn for saved in tables.values()):
        lines.insert(0, f"{SMOKE}\n")
    return "\n".join(lines)


def sweep_repetition(sweeps: Dict[str, Results]) -> str:
    return repetition(next(iter(sweeps.values())))


def failures(results: Results) -> str:
    """What is missing in a plot, and why."""
    lines = []
    for row in results.rows:
        for pool in results.pools:
            errors = results.errors(row, pool)
            if errors and results.seconds(row, pool) is None:
                title = EVERY_ROW[row].title
                lines.append(f"- {pool}, {title}: {errors[0][:ERROR_WIDTH]}")
    return "\n".join(["Not drawn, for want of a figure:", "", *lines]) if lines else ""


def tables_of(tables: Dict[str, Saved], make: Callable[[Results], str]) -> str:
    parts = []
    for mpi, saved in tables.items():
        made = make(saved.results)
        parts += [f"{mpi}:", made] if made else []
    return "\n\n".join(parts)


# ---- simulated ----


def scaling(simulation: Simulation) -> str:
    found = {(s.distribution, s.mean, s.workers): s for s in simulation.scaling}
    counts = sorted({share.workers for share in simulation.scaling})
    means = list(dict.fromkeys(share.mean for share in simulation.scaling))
    lines = []
    for distribution in DISTRIBUTIONS:
        for mean in means:
            shares = [found[distribution, mean, count] for count in counts]
            cells = [f"{s.share:.3f}{' m' if s.master_bound else ''}" for s in shares]
            lines.append([distribution, mean.replace("us", "µs"), *cells])
    return table(["tasks", "mean", *(f"{count:,}" for count in counts)], lines)


def chunks(simulation: Simulation) -> str:
    lines = []
    for size in simulation.chunks:
        most = policy.bound(CHUNK_SECONDS, CHUNK_WORKERS, int(size)) if size != "0" else 0
        name = "chosen by the pool" if size == "0" else size
        share = busy(simulation, size).share
        lines.append([name, f"{share:.3f}", f"{most:.3f}" if most else ""])
    return table(["chunksize", "cores busy", "that the master can fill"], lines)


# ---- the page ----


def words(figures: Figures) -> Dict[str, str]:
    tables, simulation = figures.tables, figures.simulation
    return {
        **policy.words(),
        "conditions": conditions(tables),
        "sweep_repetition": sweep_repetition(figures.sweeps),
        "targets": targets(figures),
        "counted": counted(figures),
        "missed": missed(figures),
        "measured": tables_of(tables, measured),
        "skipped": tables_of(tables, skipped),
        "over_floor": tables_of(tables, over_floor),
        "bad_ends": tables_of(tables, bad_ends) or "None.",
        **{f"{name}_failed": failures(done) for name, done in figures.sweeps.items()},
        "isolation": figures.isolation,
        "per_worker": f"{simulation.per_worker:,}",
        "scaling": scaling(simulation),
        "chunks": chunks(simulation),
        "busy": f"{busy(simulation, '0').share:.1%}",
        "alone": f"{policy.bound(CHUNK_SECONDS, CHUNK_WORKERS, 1):.1%}",
        "interval": policy.duration(1e9 * CHUNK_SECONDS / CHUNK_WORKERS),
        "lifting": str(policy.smallest_chunk(CHUNK_SECONDS, CHUNK_WORKERS)),
    }


def without_paths(text: str) -> str:
    """What programs said may name files of this machine."""
    return PATH.sub("", text)


def page(figures: Figures) -> str:
    found = {name: without_paths(text) for name, text in words(figures).items()}
    text = Template(TEXT.read_text()).substitute(found)
    return re.sub(r"\n{3,}", "\n\n", text)
