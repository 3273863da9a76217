"""Measures every row with every pool, side by side, and every limit; prints Markdown.

Each (row, pool) is measured in processes of its own, with a time limit, and the pools
take turns in every repetition, so that a drift of the machine hits all alike. Needs
mpiexec, mpicc, numpy, mpi4py, dill, emcee and multiprocess (for schwimmbad); pools pinned
to a version (pools.py) are fetched from the package index.
"""

import argparse
import contextlib
import itertools
import json
import math
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from limits import LIMITS
from pools import FLOOR, OURS, POOLS, REFERENCE, Pool
from programs import BUILD, HERE, compile_c, tool
from report import machine, number, report, verdicts, versions
from results import Plan, Results, Run, is_for_the_record
from rows import ROWS, UNITS, Row
from sweeps import EVERY_ROW

QUICK: Dict[str, Any] = {
    "repeat": 1,
    "scale": 0.01,
    "budget": 0.2,
    "limit": 15.0,
    "in_turn": True,
}
QUICK_LIMIT = 0.02  # how much of a limit's time a smoke run takes
FLOOR_TASKS = 50_000  # of the floor at most, which measures them nine times
LIMIT_SECONDS = 60  # that a limit may take longer than a row
END_SECONDS = 5  # what a launcher gets to end its ranks
PATIENCE = 2  # a cell that hung so often is not run again


# ---- preparing ----


def pinned_place(pool: Pool) -> Path:
    return BUILD / f"{pool.package}-{pool.pinned}"


def own_environment(pool: Pool) -> Path:
    return BUILD / f"environment-{pool.package}"


def make_environment(pool: Pool) -> None:
    place = own_environment(pool)
    if not pool.requirements or place.exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(place / "bin" / "pip"), "install", "--quiet"]
    subprocess.run([*pip, *pool.requirements], check=True)


def install(pool: Pool) -> None:
    place = pinned_place(pool)
    if not pool.pinned or place.exists():
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    package = f"{pool.package}=={pool.pinned}"
    subprocess.run([*pip, "--target", str(place), package], check=True)


# ---- rows that need much memory ----


def available_memory() -> int:
    """Bytes, as the system estimates; all where it does not tell."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else sys.maxsize


def without_memory(plan: Plan, rows: List[str]) -> Dict[str, str]:
    """The rows that this machine has not enough memory for, and what to say of them."""
    there = available_memory()
    needed = {row: plan.n(row) * EVERY_ROW[row].memory for row in rows}
    return {
        row: f"not measured: needs {size / 1e9:.1f} GB of memory, there are "
        f"{there / 1e9:.1f} GB"
        for row, size in needed.items()
        if size > there
    }


# ---- running ----


def units(plan: Plan, row: str, pool: str) -> int:
    n = plan.n(row)
    return min(n, FLOOR_TASKS) if pool == FLOOR else n


def command(plan: Plan, row_name: str, pool_name: str) -> List[str]:
    row, pool = EVERY_ROW[row_name], POOLS[pool_name]
    n = units(plan, row_name, pool_name)
    own = own_environment(pool) / "bin" / "python"
    python = str(own) if pool.requirements else sys.executable
    program = pool.command.format(
        mpiexec=plan.mpiexec,
        ranks=row.workers + 1,
        python=shlex.quote(python),
        floor=shlex.quote(str(BUILD / FLOOR)),
    )
    arguments = [row_name, pool_name, n, plan.budget]
    if pool_name == FLOOR:
        arguments = floor_arguments(row, n)
    return [*shlex.split(program), *map(str, arguments)]


def floor_arguments(row: Row, n: int) -> List[Any]:
    there, back, once, tasks, maps = row.floor
    if row.in_one:
        return [1, 1, there, n * back, once]
    maps, tasks = (n * maps, tasks) if tasks else (1, n)
    return [maps, tasks, there, back, once]


def environment(pool: Pool) -> Dict[str, str]:
    paths = [os.environ.get("PYTHONPATH", "")]
    programs = os.environ.get("PATH", "")
    if pool.pinned:
        paths.insert(0, str(pinned_place(pool)))
    if pool.requirements:
        programs = f"{own_environment(pool) / 'bin'}{os.pathsep}{programs}"
    found = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PATH": programs}
    return {**os.environ, **found}


def kill(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def outcome(process: "subprocess.Popen[str]", limit: float) -> Tuple[bool, str, str]:
    """Did it end within the limit? And its stdout and stderr."""
    try:
        return (True, *process.communicate(timeout=limit))
    except subprocess.TimeoutExpired:
        process.terminate()  # a launcher's ranks may be in sessions of their own
    try:
        return (False, *process.communicate(timeout=END_SECONDS))
    except subprocess.TimeoutExpired:
        kill(process)
        return (False, *process.communicate())


def run_command(words: List[str], environ: Dict[str, str], limit: float) -> Run:
    """What the program printed, or why it printed nothing."""
    process = subprocess.Popen(
        words,
        cwd=HERE,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        universal_newlines=True,
    )
    try:
        ended, out, err = outcome(process, limit)
    finally:
        kill(process)  # what it may have left behind
    code = process.returncode if ended else "no end"
    start = out.find("{")
    if start >= 0:  # where all ranks fail each prints an object: the first is enough
        found: Run = json.JSONDecoder().raw_decode(out, start)[0]
        return {**found, "exit": code}
    if not ended:
        return {"error": f"hangs: no result within {limit:g} s", "exit": code}
    last = err.strip().rpartition("\n")[2]
    return {"error": f"exit code {code}: {last}", "exit": code}


def run(plan: Plan, row: str, pool: str) -> Run:
    words = command(plan, row, pool)
    done = run_command(words, environment(POOLS[pool]), plan.limit)
    return done if "error" in done else {"n": units(plan, row, pool), **done}


def cells(results: Results) -> Iterator[Tuple[str, str]]:
    """What is measured in a repetition, in order."""
    others = [pool for pool in results.pools if pool not in (FLOOR, OURS, REFERENCE)]
    turn = itertools.cycle(others or [None])
    for row in results.rows:
        left_out = set(others) - {next(turn)} if results.plan.in_turn else set()
        if EVERY_ROW[row].calls:
            left_out |= {pool for pool in results.pools if not POOLS[pool].calls}
        yield from ((row, pool) for pool in results.pools if pool not in left_out)


def measure(results: Results) -> None:
    plan = results.plan
    for row, pool in list(cells(results)) * plan.repeat:
        runs = results.runs[row][pool]
        if runs and is_for_the_record(pool):
            continue
        if sum("error" in run and run["exit"] == "no end" for run in runs) == PATIENCE:
            continue
        runs.append(run(plan, row, pool))
        told = runs[-1].get("error")
        if told is None:
            value = UNITS[EVERY_ROW[row].unit](runs[-1]["seconds"] / runs[-1]["n"])
            told = f"{number(value)} {EVERY_ROW[row].unit}"
        print(f"{row}, {pool}: {told}", file=sys.stderr)


# ---- what is not a speed ----


def measure_limit(plan: Plan, name: str) -> Run:
    ranks = LIMITS[name].ranks
    launcher = shlex.split(plan.mpiexec)
    scale = str(1.0 if plan.scale == 1 else QUICK_LIMIT)
    program = [sys.executable, "limits.py", name, scale, *launcher]
    if ranks > 0:
        program = [*launcher, "-n", str(ranks), *program]
    limit = plan.limit + LIMIT_SECONDS
    done = run_command(program, dict(os.environ), limit)
    print(f"{name}: {done.get('value', done)}", file=sys.stderr)
    return done


# ---- the command line ----


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--rows", nargs="+", choices=EVERY_ROW, default=list(ROWS), metavar="ROW")
    add("--pools", nargs="+", choices=POOLS, metavar="POOL")
    add("--limits", nargs="*", choices=LIMITS, default=list(LIMITS), metavar="LIMIT")
    add("--quick", action="store_true", help="a smoke run: few tasks, once")
    add("--check", action="store_true", help="exit with 1 if a target is missed")
    add("--repeat", type=int, help="runs of each cell (5)")
    add("--budget", type=float, help="seconds that a measurement should take (5)")
    add("--limit", type=float, help="seconds after which a run is ended (60)")
    add("--mpiexec", help="the launcher, with options: 'mpiexec --oversubscribe'")
    add("--json", type=Path, metavar="FILE", help="write the figures of every run")
    add("--write", type=Path, metavar="FILE", help="write the tables there, too")
    options = parser.parse_args()
    if options.check and options.quick:
        parser.error("--check: the figures of a smoke run (--quick) say nothing")
    # A smoke run is not worth large environments.
    usual = [name for name in POOLS if not is_for_the_record(name)]
    options.pools = options.pools or (usual if options.quick else list(POOLS))
    return options


def make_plan(options: argparse.Namespace) -> Plan:
    launcher = options.mpiexec or shlex.quote(tool("mpiexec"))
    plan = Plan(mpiexec=launcher, load=os.getloadavg()[0])
    if options.quick:
        plan = plan._replace(**QUICK)
    given: Dict[str, Any] = vars(options)
    names = [n for n in ("repeat", "budget", "limit") if given[n] is not None]
    return plan._replace(**{name: given[name] for name in names})


def works(results: Results) -> bool:
    """Whether ezmpi never failed, schwimmbad has a figure in every row that it can
    run, to compare with, and every other pool has one somewhere."""
    ours = results.of_pool(OURS) if OURS in results.pools else []
    compared = results.rows if REFERENCE in results.pools else []
    if not POOLS[REFERENCE].calls:
        compared = [row for row in compared if not EVERY_ROW[row].calls]
    others = filter(None, map(results.of_pool, results.pools))
    return (
        all("error" not in run and run["exit"] == 0 for run in ours)
        and all(results.seconds(row, REFERENCE) for row in compared)
        and all(any("seconds" in run for run in runs) for runs in others)
    )


def all_targets_met(results: Results, limits: Dict[str, Run]) -> bool:
    return (
        not results.skipped
        and all(verdict == "met" for _, _, _, verdict in verdicts(results))
        and all(
            LIMITS[name].is_met(done.get("value", math.nan))
            for name, done in limits.items()
        )
    )


def main() -> int:
    options = parse_options()
    plan = make_plan(options)
    skipped = without_memory(plan, options.rows)
    for row, why in skipped.items():
        print(f"{row}: {why}", file=sys.stderr)
    rows = [row for row in options.rows if row not in skipped]
    results = Results(rows, options.pools, plan, skipped)
    if FLOOR in results.pools:
        compile_c(FLOOR)
    for pool in results.pools:
        install(POOLS[pool])
        make_environment(POOLS[pool])
    measure(results)
    limits = {name: measure_limit(results.plan, name) for name in options.limits}
    text = report(results, limits)
    print(text)
    if options.write:
        options.write.write_text(text + "\n")
    if options.json:
        about = {
            "machine": machine(),
            "versions": versions(results),
            "plan": results.plan._asdict(),
            "limits": limits,
            "skipped": dict(results.skipped),
        }
        options.json.write_text(json.dumps({**about, "runs": results.runs}, indent=1))
    fails = not works(results) or any("error" in done for done in limits.values())
    missed = options.check and not all_targets_met(results, limits)
    return int(fails or missed)


if __name__ == "__main__":
    sys.exit(main())
