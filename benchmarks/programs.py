"""Where the programs are that a run needs, and how those in C are made."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "benchmarks"  # programs in C, and pools that are pinned


def tool(name: str) -> str:
    """The environment's own program, or the one on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise SystemExit(f"{name} was not found; pip install mpich brings it")
    return found


def compile_c(name: str) -> str:
    """The program made of ``name.c``, as a path."""
    BUILD.mkdir(parents=True, exist_ok=True)
    source, program = str(HERE / f"{name}.c"), str(BUILD / name)
    subprocess.run([tool("mpicc"), "-O2", source, "-o", program], check=True)
    return program
