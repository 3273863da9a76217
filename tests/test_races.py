"""The driver's thread and others, under ThreadSanitizer.

CPython is not compiled for it, so there are two tests, and what each can show is said at
the head of its program and in docs/contributing.md. EZMPI_TEST_SEED says where both
begin; the seed of what failed is the last that is printed.
"""

import os
import subprocess
import sys
import time

import pytest
from c_program import (
    CSRC,
    HERE,
    SANITIZE_THREADS,
    compile_c,
    compiler,
    python_include,
    run_command,
    sanitize_flags,
)
from launch import PATIENCE, PROGRAMS

SEED = os.environ.get("EZMPI_TEST_SEED", str(int(time.time())))
STEPS = "10000"
SECONDS = 15

# What drives, with all below it, as it is; Python, jobs and calls are stubs.
ENGINE = "driver master dispatch crew lease parcel arena pages helm seats chunk"
ENGINE += " claim schedule protocol transport_local link_local family stream reach"
ENGINE += " mailbox inbox outbox multicast tree frame wire lanes lane segment pipe alarm"
ENGINE += " sleeper patience watch"
STUBS = "driver_test jobs_stub python_stub memory_stub"
STUBS = [HERE / f"{name}.c" for name in STUBS.split()]


def test_driver(tmp_path):
    """The engine in C, without Python."""
    sanitize = sanitize_flags(tmp_path, SANITIZE_THREADS)
    # What nothing here calls may need more of Python than the stubs have.
    unused = ["-ffunction-sections", "-Wl,--gc-sections"]
    flags = [*sanitize, *unused, "-I", str(python_include())]
    sources = STUBS + [CSRC / f"{name}.c" for name in ENGINE.split()]
    program = compile_c([*sources, "-lm"], tmp_path / "driver_test", *flags)
    assert run_command([str(program), SEED, STEPS], 120 * PATIENCE).endswith("ok\n")


def sanitizer():
    """What must be loaded before a Python that was not linked with it."""
    if os.environ.get("EZMPI_SANITIZE") != "thread":
        pytest.skip("the extension is not built with EZMPI_SANITIZE=thread")
    command = [*compiler(), "-print-file-name=libtsan.so"]
    return subprocess.check_output(command, universal_newlines=True).strip()


def test_extension():
    """All of the extension's C code, in a Python that is not compiled for it."""
    options = "die_after_fork=0 exitcode=66 history_size=4"
    # Python's own allocator hands memory on without the sanitizer's knowledge.
    environment = {"TSAN_OPTIONS": options, "PYTHONMALLOC": "malloc"}
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / "races.py"), SEED, str(SECONDS)],
        env=dict(os.environ, LD_PRELOAD=sanitizer(), **environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=(SECONDS + 60) * PATIENCE,
    )
    assert done.returncode == 0 and done.stdout.endswith("ok\n"), done.stdout[-8000:]
