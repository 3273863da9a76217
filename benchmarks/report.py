"""Results as Markdown."""

import math
import os
import platform
import statistics
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Sequence, Tuple

from limits import LIMITS, Limit
from pools import FLOOR, OURS, REFERENCE
from results import Results, Run, is_for_the_record
from rows import UNITS
from sweeps import EVERY_ROW

ERROR_WIDTH = 70
NOISY = 0.5  # typical spread above which ratios say little


def number(value: float) -> str:
    """Three digits, or all before the point, and at most four behind it."""
    digits = min(4, max(0, 2 - math.floor(math.log10(value))))
    return f"{value:,.{digits}f}"


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def speed(results: Results, row: str, pool: str, reference: str) -> str:
    times = results.speed(row, pool, reference)
    return "" if times is None else f"{number(times)}x"


def cell(results: Results, row: str, pool: str) -> str:
    seconds = results.seconds(row, pool)
    errors = [text.replace("|", "/")[:ERROR_WIDTH] for text in results.errors(row, pool)]
    if seconds is None:
        return errors[0] if errors else ""
    notes = []
    if pool != REFERENCE:
        notes.append(speed(results, row, pool, REFERENCE))
    runs = [run for run in results.runs[row][pool] if "seconds" in run]
    smallest = min(run["n"] for run in runs)
    if smallest < results.plan.n(row):
        notes.append(f"n = {smallest}")
    if errors:
        notes.append(f"{len(errors)} of {len(errors) + len(runs)} failed: {errors[0]}")
    shown = ", ".join(filter(None, notes))
    return number(UNITS[EVERY_ROW[row].unit](seconds)) + (f" ({shown})" if shown else "")


def measured(results: Results) -> str:
    lines = []
    for row in results.rows:
        start = [EVERY_ROW[row].title, str(results.plan.n(row)), EVERY_ROW[row].unit]
        lines.append(start + [cell(results, row, pool) for pool in results.pools])
    return table(["", "n", "unit", *results.pools], lines)


def skipped(results: Results) -> str:
    """Rows that were not measured, and why."""
    told = [f"{EVERY_ROW[row].title}: {why}." for row, why in results.skipped.items()]
    return "\n\n".join(told)


def over_floor(results: Results) -> str:
    pools = [pool for pool in results.pools if pool != FLOOR]
    lines = [
        [EVERY_ROW[row].title, *(speed(results, row, FLOOR, pool) for pool in pools)]
        for row in results.rows
    ]
    return table(["", *pools], lines)


def verdicts(results: Results) -> Iterator[Tuple[str, str, float, str]]:
    """Row, pool, our speed over the pool's that is to be reached, and whether it is."""
    for row in results.rows:
        for pool, target in EVERY_ROW[row].targets.items():
            reached = results.speed(row, OURS, pool)
            if reached is None:
                yield row, pool, target, "not measured"
            else:
                yield row, pool, target, "met" if reached >= target else "missed"


def targets(results: Results) -> str:
    lines = [
        [
            EVERY_ROW[row].title,
            pool,
            f"{target:g}x",
            speed(results, row, OURS, pool),
            verdict,
        ]
        for row, pool, target, verdict in verdicts(results)
    ]
    return table(["", "over", "target", "reached", ""], lines)


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    model = models[0].strip() if models else platform.machine()
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = f"{platform.system()} {platform.release()}"
    return f"{model}, {cores} cores, {memory:.0f} GiB, {kernel}"


def versions(results: Results) -> Dict[str, str]:
    found = {"Python": platform.python_version()}
    for pool in results.pools:
        told = [run["version"] for run in results.of_pool(pool) if "version" in run]
        if told:
            found[pool] = " ".join(told[0].split())
    return found


def repetition(results: Results) -> str:
    if results.plan.repeat == 1:
        return "One run of each cell."
    typical = statistics.median(results.spreads() or [0.0])
    noisy = " Too far to judge by: measure on a quiet machine." if typical > NOISY else ""
    once = " and ".join(filter(is_for_the_record, results.pools))
    return (
        f"Medians of {results.plan.repeat} runs; the longest and the shortest are "
        f"typically {typical:.0%} apart.{noisy}"
        + (f" {once}, for the record, once." if once else "")
    )


def bad_ends(results: Results) -> str:
    """Runs that measured something, and then did not end as they should."""
    lines = []
    for pool in results.pools:
        runs = [run for run in results.of_pool(pool) if "seconds" in run]
        codes = sorted({str(run["exit"]) for run in runs if run["exit"] != 0})
        count = sum(run["exit"] != 0 for run in runs)
        if codes:
            lines.append(
                f"- {pool}: {count} of {len(runs)} runs measured and then did not end "
                f"with exit code 0 ({', '.join(codes)})."
            )
    return "\n".join(lines)


def wanted_of(limit: Limit) -> str:
    return f"{'at least' if limit.at_least else 'at most'} {limit.target:,g}"


def reached_limit(limit: Limit, run: Run) -> Tuple[str, str]:
    """The figure, or why there is none; met or missed."""
    value = run.get("value")
    if value is None:
        return run.get("error", "")[:ERROR_WIDTH], "missed"
    told = f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return told, "met" if limit.is_met(value) else "missed"


def limits_table(limits: Dict[str, Run]) -> str:
    lines = [
        [
            LIMITS[name].title,
            LIMITS[name].unit,
            wanted_of(LIMITS[name]),
            *reached_limit(LIMITS[name], done),
        ]
        for name, done in limits.items()
    ]
    return table(["", "unit", "target", "reached", ""], lines)


def report(results: Results, limits: Dict[str, Run]) -> str:
    found = versions(results).items()
    parts: List[str] = [
        f"- Machine: {machine()}; load average before: {results.plan.load:.1f}\n"
        f"- Versions: {', '.join(' '.join(pair) for pair in found)}\n"
        f"- {repetition(results)} One worker unless the row says more.",
        f"In brackets: times as fast as {REFERENCE}; n, where it had to be smaller to "
        f"fit {results.plan.budget:g} s.",
        measured(results),
        skipped(results),
    ]
    if FLOOR in results.pools:
        parts += [
            "Time over that of the floor: C with MPI_Send and MPI_Recv, one message a "
            "task and a result, a callable's data once (emcee: nothing of emcee's work).",
            over_floor(results),
        ]
    if results.plan.in_turn:
        parts.append("A smoke run: the figures show that it works, and nothing else.")
    elif {OURS, REFERENCE} <= set(results.pools):
        parts += [f"Speed of {OURS} over others.", targets(results)]
        parts += [limits_table(limits) if limits else ""]
    return "\n\n".join(filter(None, [*parts, bad_ends(results)]))
