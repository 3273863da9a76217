"""Compiles the engine and one transport for each MPI compiler; see pyproject.toml.

Switches, by environment: EZMPI_DEBUG=1 (symbols, assertions, no optimisation),
EZMPI_SANITIZE=1 (address and undefined-behaviour sanitizers) or =thread (the thread
sanitizer), EZMPI_COVERAGE=1 (gcov), EZMPI_WERROR=1 (warnings are errors). EZMPI_MPICC,
MPICC: the MPI compilers.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, "csrc")
from build_backend import mpi_compilers  # noqa: E402

ENGINE = """
module pool lease iterator ticket driver master progress job tasks results call dispatch
seats claim schedule chunk worker kit guard journal debts ledger orphans helm hello crew
callable initializer future codec plain rows array parcel loan arena snapshot pages errors
sigint forked protocol retries status
"""
MAILBOX = "mailbox inbox outbox multicast tree frame wire lanes lane segment pipe alarm"
MAILBOX += " sleeper patience"
OVER_MPI = f"transport_mpi watch {MAILBOX}"
LOCAL = f"transport_local link_local family stream reach watch {MAILBOX}"

WARNINGS = "-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes"
VARIANT_PROBE = """#include <mpi.h>
#if defined(MPI_ABI_VERSION) && !defined(MPICH_VERSION)
variant mpiabi
#elif defined(OPEN_MPI)
variant openmpi
#else
variant mpich
#endif
"""


def switch(name):
    return os.environ.get(name, "0") not in ("", "0")


def sources(names):
    found = [f"csrc/{name}.c" for name in names.split()]
    return found + ["tests/c/coverage.c"] * switch("EZMPI_COVERAGE")


def compile_flags():
    flags = shlex.split(f"-std=c11 -D_GNU_SOURCE -fvisibility=hidden {WARNINGS}")
    # No path of the build environment in the result.
    flags += [f"-ffile-prefix-map={Path.cwd()}=."]
    if switch("EZMPI_DEBUG") or switch("EZMPI_SANITIZE") or switch("EZMPI_COVERAGE"):
        flags += ["-g", "-UNDEBUG", "-O1" if switch("EZMPI_SANITIZE") else "-O0"]
    else:
        flags += ["-g0", "-O2"]
    if switch("EZMPI_WERROR"):
        flags += ["-Werror"]
    return flags + instrumentation()


def instrumentation():
    """For the compiler and the linker alike."""
    flags = []
    if switch("EZMPI_SANITIZE"):
        threads = os.environ["EZMPI_SANITIZE"] == "thread"
        sanitizers = "thread" if threads else "address,undefined"
        flags += [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer"]
    if switch("EZMPI_COVERAGE"):
        flags += ["--coverage"]
    return flags


def variant_of(compiler):
    """The transport's name, from the vendor's own macros."""
    result = subprocess.run(
        compiler + ["-E", "-P", "-x", "c", "-"],
        input=VARIANT_PROBE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        check=True,
    )
    return result.stdout.rsplit("variant ", 1)[1].strip()


def without_run_path(mpicc):
    """The compiler behind mpicc and its flags, without the run path."""
    result = subprocess.run(
        mpicc + ["-show"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        universal_newlines=True,
    )
    if result.returncode != 0:
        return mpicc, []  # not a wrapper, such as a Cray's cc
    words = iter(shlex.split(result.stdout))
    compiler, flags = [next(words)], []
    for word in words:
        if word in ("-Wl,-rpath", "-Xlinker"):
            next(words)
        elif not word.startswith(("-Wl,-rpath,", "-Wl,-rpath=")):
            flags.append(word)
    return compiler, flags


def find_transports():
    """The MPI compilers, by the names of the transports that they make."""
    found = {}
    for mpicc in mpi_compilers():
        if shutil.which(mpicc[0]) is None:
            raise SystemExit(f"ezmpi: no {mpicc[0]}; see EZMPI_MPICC and MPICC")
        name = variant_of(mpicc)
        if name in found:
            both = f"{found[name][0]} and {mpicc[0]}"
            raise SystemExit(f"ezmpi: two MPI compilers for {name}: {both}")
        found[name] = mpicc
    if not found:
        raise SystemExit(
            "ezmpi: no MPI compiler was found. Install one (pip install mpich) or "
            "name it: EZMPI_MPICC=/path/to/mpicc pip install ."
        )
    return found


class BuildExt(build_ext):
    def build_extensions(self):
        # Python's own settings may hold run paths of the machine that built it.
        linker = self.compiler.linker_so
        linker[:] = [word for word in linker if not word.startswith("-Wl,-rpath,")]
        super().build_extensions()

    def run(self):
        transports = find_transports()
        self.force = True  # the switches may be others than last time
        super().run()
        folder = Path(self.get_ext_fullpath("ezmpi._ezmpi")).parent / "_mpi"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.so"):
            old.unlink()
        self.build_local(folder / "local.so")
        for name, mpicc in transports.items():
            self.build_transport(mpicc, folder / f"{name}.so")

    def build_local(self, path):
        compiler = [self.compiler.compiler_so[0], "-shared", "-fPIC", "-pthread"]
        self.spawn(compiler + compile_flags() + sources(LOCAL) + ["-o", str(path)])

    def build_transport(self, mpicc, path):
        compiler, mpi_flags = without_run_path(mpicc)
        compiler += ["-shared", "-fPIC"] + compile_flags() + sources(OVER_MPI)
        self.spawn(compiler + ["-o", str(path)] + mpi_flags)
        if path.stem == "mpich" and sys.platform == "linux":
            self.build_alias(path, compiler, mpi_flags)

    def build_alias(self, path, compiler, mpi_flags):
        """The same for Debian's MPICH, whose library has another name; or back."""
        debian = b"libmpich.so.12" in path.read_bytes()
        soname = "libmpi.so.12" if debian else "libmpich.so.12"
        stub = Path(self.build_temp, soname)
        path = path.with_name(f"mpich-{soname.split('.')[0]}.so")
        empty = ["-shared", "-x", "c", os.devnull, f"-Wl,-soname,{soname}"]
        self.spawn([compiler[0]] + empty + ["-o", str(stub)])
        mpi_flags = [flag for flag in mpi_flags if not flag.startswith("-l")]
        link = ["-Wl,--no-as-needed", str(stub), "-o", str(path)]
        self.spawn(compiler + mpi_flags + link)


setup(
    ext_modules=[
        Extension(
            "ezmpi._ezmpi",
            sources(ENGINE),
            depends=[str(path) for path in Path("csrc").glob("*.h")],
            extra_compile_args=compile_flags(),
            extra_link_args=["-pthread", *instrumentation()],
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
