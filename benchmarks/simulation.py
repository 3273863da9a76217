"""The real scheduler on machines that nobody has: tests/c/schedule_simulation.c, run."""

import json
import os
import shlex
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "tests" / "c" / "schedule_simulation.c"
SOURCES = [PROGRAM, *map(PROGRAM.with_name, ("crew_stub.c", "memory_stub.c"))]
SOURCES += [
    ROOT / "csrc" / f"{name}.c" for name in "dispatch claim seats schedule chunk".split()
]
FLAGS = ["-O2", "-std=c11", "-D_GNU_SOURCE", "-I", str(ROOT / "csrc")]
FLAGS += ["-I", sysconfig.get_paths()["include"]]  # of Python.h; it calls nothing of it

DISTRIBUTIONS = ["constant", "uniform", "lognormal", "pareto", "bimodal", "longest-last"]
CHUNKSIZES = [1, 4, 16, 32, 64]  # beside the scheduler's own
CHUNK_TASKS = 2442  # a worker; cut to 10^7 in all by the program
CHUNK_WORKERS, CHUNK_MEAN, CHUNK_SECONDS = 4096, "1 ms", 1e-3


class Share(NamedTuple):
    """Of the ideal, that one job reached."""

    distribution: str
    mean: str  # duration of a task
    workers: int
    share: float
    master_bound: bool  # the master's own work for the tasks is the ideal


class Simulation(NamedTuple):
    per_worker: int  # tasks, in `scaling`
    scaling: List[Share]
    chunks: Dict[str, List[Share]]  # by chunksize; "0": the scheduler's own


def compile_program(place: Path) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    output = place / "simulation"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    words = [*compiler, *FLAGS, *map(str, SOURCES), "-lm", "-o", str(output)]
    subprocess.run(words, check=True)
    return output


def shares(table: str) -> Iterator[Share]:
    head, _, *lines = table.splitlines()
    counts = [int(word) for word in head.split("|")[3:-1]]
    for line in lines:
        _, distribution, mean, *cells = (word.strip() for word in line.split("|"))
        for count, cell in zip(counts, filter(None, cells)):
            share, _, mark = cell.partition(" ")
            yield Share(distribution, mean, count, float(share), mark == "m")


def simulate(
    program: Path, per_worker: int, chunksize: int, most_workers: int, distribution: str
) -> List[Share]:
    words = [program, per_worker, chunksize, most_workers, distribution]
    found = subprocess.run(
        list(map(str, words)),
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    )
    return list(shares(found.stdout))


def run(
    place: Path,
    per_worker: int = 1000,
    most_workers: int = 100_000,
    chunk_tasks: int = CHUNK_TASKS,
) -> Simulation:
    program = compile_program(place)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        scaling = [
            threads.submit(simulate, program, per_worker, 0, most_workers, name)
            for name in DISTRIBUTIONS
        ]
        chunks = {
            str(size): threads.submit(
                simulate, program, chunk_tasks, size, CHUNK_WORKERS, "constant"
            )
            for size in [0, *CHUNKSIZES]
        }
        return Simulation(
            per_worker,
            [share for job in scaling for share in job.result()],
            {size: job.result() for size, job in chunks.items()},
        )


def busy(simulation: Simulation, chunksize: str) -> Share:
    """Of the cores, in the job that CHUNK_... names."""
    return next(
        share
        for share in simulation.chunks[chunksize]
        if (share.mean, share.workers) == (CHUNK_MEAN, CHUNK_WORKERS)
    )


def save(simulation: Simulation, path: Path) -> None:
    path.write_text(json.dumps(simulation._asdict(), indent=1))


def load(path: Path) -> Simulation:
    saved = json.loads(path.read_text())
    return Simulation(
        saved["per_worker"],
        [Share(*share) for share in saved["scaling"]],
        {size: [Share(*s) for s in found] for size, found in saved["chunks"].items()},
    )
