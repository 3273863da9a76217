"""Writes docs/performance.md, its plots and the README's table, from runs.

run.py measures: the table of all rows, and the sweeps of the plots; isolate.py what
isolation costs. Under MPICH, in the environment that runs this; with --openmpi PYTHON,
the table also in that one's. The figures of each part are kept, so that --reuse goes on
where a run was ended, or writes the page anew without measuring. About 25 minutes on two
cores; half as long again with Open MPI. Needs what run.py needs, and matplotlib.

The text of the page is performance.md, beside this; what is said of a missed target is
in missed.md. The exit status is 1 if one has no explanation there, or if ezmpi failed.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List, NamedTuple

import page
import plots
import readme
import saved
import simulation
import targets
from pools import FLOOR, OURS, POOLS
from results import is_for_the_record
from sweeps import SWEEPS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ["ezmpi-0.1.0", "schwimmbad", "mpi4py.futures", "multiprocessing"]
QUICK_PEERS = ["schwimmbad"]
SWEEP_REPEAT, SWEEP_LIMIT = 2, 30
QUICK_ROWS = slice(0, 5, 2)  # of a sweep


class Part(NamedTuple):
    """What one call of run.py measures."""

    name: str
    python: str
    options: List[str]


# ---- what is measured ----


def pools_option(*pools: str) -> List[str]:
    return ["--pools", *dict.fromkeys(pools)]  # each once


def table_options(options: argparse.Namespace, *more: str) -> List[str]:
    words = pools_option(FLOOR, OURS, *options.pools, *more, "serial")
    if options.quick:
        return [*words, "--quick", "--limits", "crowded", "--rows", *readme.README_ROWS]
    return [*words, "--repeat", str(options.repeat), "--budget", str(options.budget)]


def sweep_part(name: str, options: argparse.Namespace) -> Part:
    sweep = SWEEPS[name]
    rows = list(sweep.rows)[QUICK_ROWS] if options.quick else list(sweep.rows)
    words = ["--rows", *rows, *pools_option(OURS, *options.pools, *sweep.beside)]
    if options.quick:
        return Part(name, sys.executable, [*words, "--quick", "--limits"])
    repeat = str(min(SWEEP_REPEAT, options.repeat))
    words += ["--limits", "--repeat", repeat, "--budget", str(options.budget)]
    return Part(name, sys.executable, [*words, "--limit", str(SWEEP_LIMIT)])


def openmpi_part(options: argparse.Namespace) -> Part:
    launcher = shlex.quote(str(Path(options.openmpi).parent / "mpiexec"))
    words = [*table_options(options), "--mpiexec", f"{launcher} --oversubscribe"]
    return Part("table-openmpi", options.openmpi, words)


def parts(options: argparse.Namespace) -> List[Part]:
    # What users on several hosts pick: in one table.
    record = [] if options.quick else filter(is_for_the_record, POOLS)
    found = [Part("table-mpich", sys.executable, table_options(options, *record))]
    found += [sweep_part(name, options) for name in SWEEPS]
    return found + ([openmpi_part(options)] if options.openmpi else [])


# ---- measuring ----


def environment(scratch: str) -> Dict[str, str]:
    """Launchers trip over what killed ones left in /tmp; Open MPI's refuses root."""
    environ = {**os.environ, "TMPDIR": scratch}
    if os.geteuid() == 0:
        environ["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        environ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    return environ


def measure(part: Part, path: Path) -> None:
    if path.exists():
        path.unlink()
    words = [part.python, "run.py", *part.options, "--json", str(path)]
    scratch = tempfile.mkdtemp()
    try:
        done = subprocess.run(
            words, cwd=HERE, env=environment(scratch), stdout=subprocess.DEVNULL
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if not path.exists():  # failures of single cells do not end it
        raise SystemExit(f"{part.name}: run.py ended with {done.returncode}, no figures")


def simulate(path: Path, quick: bool) -> None:
    few = {"per_worker": 10, "most_workers": 4096, "chunk_tasks": 10}
    done = simulation.run(path.parent, **(few if quick else {}))
    simulation.save(done, path)


def isolate(quick: bool) -> str:
    """The table that isolate.py prints."""
    words = [sys.executable, "isolate.py", *(["--quick"] if quick else [])]
    return subprocess.run(
        words, cwd=HERE, check=True, stdout=subprocess.PIPE, universal_newlines=True
    ).stdout


def figures(options: argparse.Namespace) -> saved.Figures:
    """Measured, or read where they are there already."""
    paths = {}
    for part in parts(options):
        start = time.monotonic()
        paths[part.name] = path = options.figures / f"{part.name}.json"
        if not (options.reuse and path.exists()):
            measure(part, path)
        print(f"== {part.name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    isolation = options.figures / "isolation.md"
    if not (options.reuse and isolation.exists()):
        isolation.write_text(isolate(options.quick))
    simulated = options.figures / "simulation.json"
    if not (options.reuse and simulated.exists()):
        simulate(simulated, options.quick)
    tables = {"MPICH": saved.load(paths["table-mpich"])}
    if options.openmpi:
        tables["Open MPI"] = saved.load(paths["table-openmpi"])
    sweeps = {name: saved.load(paths[name]).results for name in SWEEPS}
    return saved.Figures(
        tables, sweeps, simulation.load(simulated), isolation.read_text()
    )


# ---- writing ----


def write(found: saved.Figures, docs: Path) -> None:
    plots.draw_all(found.sweeps, found.simulation, docs / "performance")
    (docs / "performance.md").write_text(page.page(found))
    text = readme.readme((ROOT / "README.md").read_text(), found.tables["MPICH"])
    (docs.parent / "README.md").write_text(text)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--openmpi", metavar="PYTHON", help="of an environment with Open MPI")
    add("--pools", nargs="+", choices=POOLS, metavar="POOL", help="to compare with")
    add("--repeat", type=int, default=5, help="runs of each cell of the table (5)")
    add(
        "--budget",
        type=float,
        default=0.3,
        help="seconds of a measurement (0.3)",
    )
    add("--figures", type=Path, metavar="DIR", help="where the runs' figures are kept")
    add("--reuse", action="store_true", help="measure only what has no figures there")
    add("--quick", action="store_true", help="a smoke run; writes to build/ only")
    options = parser.parse_args()
    options.openmpi = options.openmpi and os.path.abspath(options.openmpi)
    options.pools = options.pools or (QUICK_PEERS if options.quick else PEERS)
    build = ROOT / "build" / ("performance-quick" if options.quick else "performance")
    options.figures = (options.figures or build).resolve()
    options.figures.mkdir(parents=True, exist_ok=True)
    options.docs = build / "docs" if options.quick else ROOT / "docs"
    return options


def failures(found: saved.Figures) -> List[str]:
    """Rows that ezmpi failed in."""
    tables = [table.results for table in found.tables.values()]
    every = [*tables, *found.sweeps.values()]
    return [row for part in every for row in part.rows if part.errors(row, OURS)]


def main() -> int:
    options = parse_options()
    found = figures(options)
    write(found, options.docs)
    print(f"wrote {options.docs / 'performance.md'}", file=sys.stderr)
    wrong = {"ezmpi failed": failures(found)}
    if not options.quick:
        wrong["missed, and not in missed.md"] = targets.unexplained(found)
    for what, names in wrong.items():
        print(f"{what}: {', '.join(names) or 'none'}", file=sys.stderr)
    return int(any(wrong.values()))


if __name__ == "__main__":
    sys.exit(main())
