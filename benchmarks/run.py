"""Measures every row with every pool, side by side, and prints a Markdown table.

Each (row, pool) is a process run of its own, with a time limit, and the pools take turns
in every repetition, so that a drift of the machine hits all alike. Needs mpiexec and
mpicc, numpy, mpi4py, dill and emcee in the environment; what is pinned in pools.py is
fetched from the package index.
"""

import argparse
import itertools
import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from pools import FLOOR, OURS, POOLS, REFERENCE
from rows import ROWS, UNITS

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / "build" / "benchmarks"  # the floor, and what is pinned

Result = Dict[str, Any]  # what a run printed, or {"error": why there is nothing}
Results = Dict[str, Dict[str, List[Result]]]  # of a row, of a pool


class Plan(NamedTuple):
    rows: List[str]
    pools: List[str]
    repeat: int
    scale: float  # of every n
    budget: float  # seconds that a measurement may take
    limit: float  # seconds after which a run hangs
    mpiexec: str


# ---- running --------------------------------------------------------------------------


def tool(name: str) -> str:
    """The environment's own program, or the one on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"benchmarks need {name}; pip install mpich brings it")
    return found


def prepare(plan: Plan) -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    if FLOOR in plan.pools:
        source, program = str(HERE / "floor.c"), str(WORK / "floor")
        subprocess.run([tool("mpicc"), "-O2", source, "-o", program], check=True)
    for pool in map(POOLS.__getitem__, plan.pools):
        place = pinned_place(pool.package, pool.pinned)
        if pool.pinned and not place.exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
            package = f"{pool.package}=={pool.pinned}"
            subprocess.run([*pip, "--target", str(place), package], check=True)


def pinned_place(package: str, version: str) -> Path:
    return WORK / f"{package}-{version}"


def command(plan: Plan, row_name: str, pool_name: str) -> List[str]:
    row, pool = ROWS[row_name], POOLS[pool_name]
    start = pool.command.format(
        mpiexec=plan.mpiexec,
        ranks=row.workers + 1,
        python=shlex.quote(sys.executable),
        floor=shlex.quote(str(WORK / "floor")),
    )
    n = units(plan, row_name)
    if pool.open is not None:
        return [*shlex.split(start), row_name, pool_name, str(n), str(plan.budget)]
    there, back, once, tasks, maps = row.floor
    shape = (n * maps, tasks, there, back, once) if tasks else (1, n, there, back, once)
    return [*shlex.split(start), *map(str, shape)]


def units(plan: Plan, row: str) -> int:
    return max(1, int(ROWS[row].n * plan.scale))


def environment(pool_name: str) -> Dict[str, str]:
    pool = POOLS[pool_name]
    place = [str(pinned_place(pool.package, pool.pinned))] if pool.pinned else []
    inherited = [path for path in [os.environ.get("PYTHONPATH")] if path]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(place + inherited)}


def run(plan: Plan, row: str, pool: str) -> Result:
    process = subprocess.Popen(
        command(plan, row, pool),
        cwd=HERE,
        env=environment(pool),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        universal_newlines=True,
    )
    hung = False
    try:
        out, err = process.communicate(timeout=plan.limit)
    except subprocess.TimeoutExpired:
        hung = True
        out, err = end(process)
    finally:
        kill(process)
    result = parse(out)
    if result is not None:
        return {**result, "exit": "hangs" if hung else process.returncode}
    if hung:
        return {"error": f"hangs: no end within {plan.limit:g} s", "hung": True}
    lines = err.strip().splitlines() or ["nothing on stderr"]
    return {"error": f"exit code {process.returncode}: {lines[-1]}"}


def end(process: "subprocess.Popen[str]") -> Tuple[str, str]:
    """Lets the launcher end its ranks, which may be in sessions of their own."""
    process.terminate()
    try:
        return process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        kill(process)
        return process.communicate()


def kill(process: "subprocess.Popen[str]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def parse(out: str) -> "Result | None":
    """The first object; where all ranks fail, each prints one, perhaps on one line."""
    start = out.find("{")
    if start < 0:
        return None
    result: Result = json.JSONDecoder().raw_decode(out, start)[0]
    return result


def measure(plan: Plan) -> Results:
    results: Results = {row: {pool: [] for pool in plan.pools} for row in plan.rows}
    cells = list(itertools.product(range(plan.repeat), plan.rows, plan.pools))
    for number, (_, row, pool) in enumerate(cells, 1):
        earlier = results[row][pool]
        if any("hung" in result for result in earlier):
            continue  # it would take the whole limit again
        result = run(plan, row, pool)
        result.setdefault("n", units(plan, row))
        if "seconds" in result:
            result["unit_seconds"] = result["seconds"] / result["n"]
        earlier.append(result)
        told = result.get("error") or number_of(UNITS[ROWS[row].unit](seconds([result])))
        print(f"[{number}/{len(cells)}] {row}, {pool}: {told}", file=sys.stderr)
    return results


# ---- reporting ------------------------------------------------------------------------


def values(results: Iterable[Result]) -> List[float]:
    return [result["unit_seconds"] for result in results if "unit_seconds" in result]


def seconds(results: Iterable[Result]) -> float:
    """The median time of a unit."""
    return statistics.median(values(results))


def number_of(value: float) -> str:
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def ratio(results: Dict[str, List[Result]], pool: str, to: str) -> "float | None":
    """How many times as fast as the other pool."""
    if not values(results[pool]) or not values(results.get(to, [])):
        return None
    return seconds(results[to]) / seconds(results[pool])


def cell(plan: Plan, row: str, results: Dict[str, List[Result]], pool: str) -> str:
    runs = results[pool]
    failed = [run["error"] for run in runs if "error" in run]
    if not values(runs):
        return failed[0].replace("|", "/")[:70]
    notes = []
    times = ratio(results, pool, REFERENCE)
    if times is not None and pool != REFERENCE:
        notes.append(f"{number_of(times)}×")
    smallest = min(run["n"] for run in runs if "unit_seconds" in run)
    if smallest < units(plan, row):
        notes.append(f"n = {smallest}")
    if failed:
        notes.append(f"failed {len(failed)} of {len(runs)} times: {failed[0][:70]}")
    value = number_of(UNITS[ROWS[row].unit](seconds(runs)))
    return f"{value} ({', '.join(notes)})" if notes else value


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(head)
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def measured(plan: Plan, results: Results) -> str:
    head = ["", "n", "unit", *plan.pools]
    return table(
        head,
        (
            [
                ROWS[row].title,
                str(units(plan, row)),
                ROWS[row].unit,
                *(cell(plan, row, results[row], pool) for pool in plan.pools),
            ]
            for row in plan.rows
        ),
    )


def over_floor(plan: Plan, results: Results) -> str:
    pools = [pool for pool in plan.pools if pool != FLOOR]
    lines = []
    for row in plan.rows:
        ratios = [ratio(results[row], FLOOR, pool) for pool in pools]
        shown = ["" if times is None else number_of(times) for times in ratios]
        lines.append([ROWS[row].title, *shown])
    return table(["", *pools], lines)


def verdict(target: float, reached: "float | None") -> str:
    if reached is None:
        return "not measured"
    return "met" if reached >= target else "missed"


def targets(plan: Plan, results: Results) -> str:
    lines = []
    for row in plan.rows:
        reached = ratio(results[row], OURS, REFERENCE) if OURS in plan.pools else None
        shown = "" if reached is None else f"{number_of(reached)}×"
        target = ROWS[row].target
        lines.append([ROWS[row].title, f"{target:g}×", shown, verdict(target, reached)])
    return table(["", "target", "reached", ""], lines)


def machine() -> str:
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {cores} cores, {memory:.0f} GiB, {system}"


def versions(plan: Plan, results: Results) -> Dict[str, str]:
    found = {"Python": platform.python_version()}
    for row, pool in itertools.product(plan.rows, plan.pools):
        for result in results[row][pool]:
            if "version" in result:
                found[pool] = " ".join(result["version"].split())
    return found


def spread(plan: Plan, results: Results) -> str:
    if plan.repeat == 1:
        return "One run of each cell."
    apart = []
    for row, pool in itertools.product(plan.rows, plan.pools):
        times = values(results[row][pool])
        if len(times) > 1:
            apart.append((max(times) - min(times)) / statistics.median(times))
    typical = f"; typically they lie {statistics.median(apart):.0%} apart" if apart else ""
    return f"Medians of {plan.repeat} runs{typical}."


def bad_ends(plan: Plan, results: Results) -> List[str]:
    """Runs that measured something, and then did not end as they should."""
    notes = []
    for pool in plan.pools:
        runs = [run for row in plan.rows for run in results[row][pool] if "exit" in run]
        bad = [str(run["exit"]) for run in runs if run["exit"] != 0 and "seconds" in run]
        if bad:
            codes = ", ".join(sorted(set(bad)))
            notes.append(
                f"- {pool}: {len(bad)} of {len(runs)} runs did not end with exit code 0 "
                f"({codes}) after the measurement."
            )
    return notes


def report(plan: Plan, results: Results) -> str:
    found = (f"{name} {version}" for name, version in versions(plan, results).items())
    parts = [
        f"- Machine: {machine()}\n- Versions: {', '.join(found)}\n"
        f"- {spread(plan, results)} 1 worker unless the row says more.",
        f"In brackets: times as fast as {REFERENCE}; n where it had to be smaller to fit "
        f"{plan.budget:g} s.",
        measured(plan, results),
    ]
    if FLOOR in plan.pools:
        parts += [
            "Time as a multiple of the floor: C and MPI_Send of the same messages, one "
            "task each, with the callable's data once (emcee: without emcee's own work).",
            over_floor(plan, results),
        ]
    if {OURS, REFERENCE} <= set(plan.pools):
        parts += [f"Targets of {OURS} over {REFERENCE}.", targets(plan, results)]
    parts += ["\n".join(bad_ends(plan, results))]
    return "\n\n".join(filter(None, parts))


# ---- the command line -----------------------------------------------------------------


def parse_plan() -> Tuple[Plan, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    add("--pools", nargs="+", choices=POOLS, default=list(POOLS), metavar="POOL")
    add("--repeat", type=int, help="runs of a cell (default: 5)")
    add("--quick", action="store_true", help="each row once, and few tasks")
    add("--limit", type=float, default=60, help="seconds after which a run hangs")
    add("--mpiexec", help="the launcher, with options: 'mpiexec --oversubscribe'")
    add("--json", type=Path, metavar="FILE", help="write every run's figures")
    add("--write", type=Path, metavar="FILE", help="write the tables there, too")
    options = parser.parse_args()
    quick = options.quick
    plan = Plan(
        options.rows,
        options.pools,
        options.repeat or (1 if quick else 5),
        0.01 if quick else 1.0,
        0.2 if quick else 5.0,
        min(options.limit, 5) if quick else options.limit,
        options.mpiexec or shlex.quote(tool("mpiexec")),
    )
    return plan, options


def main() -> int:
    plan, options = parse_plan()
    prepare(plan)
    results = measure(plan)
    text = report(plan, results)
    print(text)
    if options.write:
        options.write.write_text(text + "\n")
    if options.json:
        about = {"machine": machine(), "versions": versions(plan, results)}
        options.json.write_text(json.dumps({**about, "results": results}, indent=1))
    ours = [run for row in plan.rows for run in results[row].get(OURS, [])]
    return int(any("error" in run or run["exit"] != 0 for run in ours))


if __name__ == "__main__":
    sys.exit(main())
