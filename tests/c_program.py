"""Compiles the C programs under tests/c with the system's compiler."""

import os
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
HERE = ROOT / "tests" / "c"

STRICT = [
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O2",
    "-g",
    "-pthread",
    "-Wall",
    "-Wextra",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
]
# As for the extension: setup.py.
COVERAGE = ["--coverage", "-O0"] if os.environ.get("EZMPI_COVERAGE") else []
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SANITIZE_THREADS = ["-fsanitize=thread"]


def compiler():
    """The C compiler's command, as a list; skips the test without one."""
    command = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(command[0]) is None:
        pytest.skip("no C compiler")
    return command


def python_include():
    """The folder of Python.h; skips the test without one."""
    folder = Path(sysconfig.get_paths()["include"])
    if not (folder / "Python.h").exists():
        pytest.skip("no Python.h")
    return folder


def run_command(command, seconds):
    """Run it; return what it printed, and fail with that if it fails."""
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0:
        said = f"exit code {done.returncode}: {' '.join(command)}\n{done.stdout}"
        pytest.fail(said[-5000:], pytrace=False)
    return done.stdout


def compile_c(sources, output, *flags):
    """Compile `sources` strictly into `output`."""
    command = compiler() + STRICT + COVERAGE + ["-I", str(CSRC)] + list(flags)
    command += [str(source) for source in sources] + ["-o", str(output)]
    run_command(command, 120)
    return output


def sanitize_flags(directory, wanted=SANITIZE):
    """Flags that turn sanitizers on, where a program can run with them."""
    if COVERAGE:  # what counts is loaded first, where a sanitizer would have to be
        return []
    probe = directory / "probe.c"
    probe.write_text("int main(void)\n{\n    return 0;\n}\n")
    program = directory / "probe"
    command = compiler() + wanted + [str(probe), "-o", str(program)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if subprocess.call(command, **quiet) or subprocess.call([str(program)], **quiet):
        assert "CI" not in os.environ, "no sanitizers for C programs"
        return []
    return wanted


def run_c(sources, directory, *flags):
    """Compile, with sanitizers where there are any, and run; return stdout."""
    flags += tuple(sanitize_flags(directory))
    program = compile_c(sources, directory / "program", *flags)
    return run_command([str(program)], 300)
