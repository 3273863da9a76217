"""Which MPI library and which transport a process takes, and what it says if none.

The choice is tried in processes of their own, in environments made here: a prefix
(sys.prefix) with libraries that only tell their version, a copy of the package with
transports for these, and the variables that launchers set. The last tests use the
real MPI of this environment.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

import launch
import pytest
from c_program import HERE, compile_c

SOURCE = HERE / "tiny_mpi.c"
SONAMES = {
    "mpich": "libmpi.so.12",
    "mpich-libmpich": "libmpich.so.12",
    "openmpi": "libmpi.so.40",
    "mpiabi": "libmpi_abi.so.1",
}
VERSIONS = {"mpich": "MPICH Version: 5", "openmpi": "Open MPI v5", "other": "Stranger 1"}

OPENMPI = {"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0"}
MPICH = {"PMI_SIZE": "3", "PMI_RANK": "0", "MPI_LOCALNRANKS": "3"}
SRUN = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "0"}

# Prints the transport's name and the library's path, or the error. What the system
# of this machine has is left out.
CHOOSE = """
import sys
from ezmpi import _ezmpi, _mpi
from ezmpi._mpi import libraries
from ezmpi.errors import TransportError
libraries.load_from_system = lambda soname: None
try:
    transport = _mpi.start()
except TransportError as error:
    print(type(error).__name__, isinstance(error, ValueError), error)
else:
    print(_ezmpi.describe_transport(transport)[0], *libraries.loaded())
"""


def clean_environment(**changes):
    """No launcher, no MPI on any path."""
    signs = ("PMI", "OMPI_", "MPI_", "SLURM_", "I_MPI_", "EZMPI_", "HYD", "PRTE_")
    drop = ("LD_LIBRARY_PATH", "PYTHONPATH", "MPI4PY_LIBMPI")
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(signs) and name not in drop
    }
    return dict(env, PATH="/nowhere", PYTHONNOUSERSITE="1", **changes)


def package():
    spec = importlib.util.find_spec("ezmpi")
    assert spec is not None and spec.origin, "ezmpi is not installed"
    return Path(spec.origin).parent


class Place:
    """A faked environment."""

    def __init__(self, root):
        self.root = root
        self.prefix = root / "prefix"
        self.lib = self.prefix / "lib"
        self.transports = root / "site" / "ezmpi" / "_mpi"
        venv.create(str(self.prefix), symlinks=True)
        shutil.copytree(
            str(package()),
            str(self.transports.parent),
            ignore=lambda directory, names: [
                name for name in names if directory.endswith("_mpi") and ".so" in name
            ],
        )
        self.python_path = [str(root / "site"), os.path.dirname(package())]

    def library(self, directory, soname, version, name=None):
        """Put a library there, under its soname or another name."""
        directory.mkdir(parents=True, exist_ok=True)
        flags = ["-shared", "-fPIC", "-Wl,-soname," + soname]
        flags.append('-DVERSION="{}"'.format(VERSIONS[version]))
        return str(compile_c([SOURCE], directory / (name or soname), *flags))

    def transport(self, name, soname=None):
        stub = self.library(self.root / "stubs", soname or SONAMES[name], "other")
        flags = ["-shared", "-fPIC", '-DVARIANT="{}"'.format(name.split("-")[0])]
        compile_c([SOURCE, stub], self.transports / (name + ".so"), *flags)

    def program(self, directory, name):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
        return str(directory / name)

    def start(self, code, *args, **changes):
        env = clean_environment(PYTHONPATH=os.pathsep.join(self.python_path))
        env.update(changes)
        return subprocess.Popen(
            [str(self.prefix / "bin" / "python"), "-c", code, *args],
            env=env,
            cwd=str(self.root),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )

    def run(self, code, *args, **changes):
        process = self.start(code, *args, **changes)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out.strip()

    def choose(self, before="", **changes):
        """What a process takes: the last line that it prints."""
        return self.run(before + CHOOSE, **changes).splitlines()[-1]

    def refusal(self, before="", **changes):
        """The error; MPI must not have been started."""
        said = self.run(before + CHOOSE, **changes)
        assert said.startswith(("TransportError", "LauncherError")), said
        return said


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def both(place):
    """Two MPIs in the prefix, and a transport for each."""
    for name in ("mpich", "openmpi"):
        place.transport(name)
        place.library(place.lib, SONAMES[name], name)
    return place


def load(path):
    return "import ctypes; ctypes.CDLL({!r})\n".format(str(path))


# ---- the rules, in their order ---------------------------------------------------


@pytest.mark.parametrize("name", ["mpich", "openmpi"])
def test_setting_names_the_transport(both, name):
    expected = "{} {}".format(name, both.lib / SONAMES[name])
    assert both.choose(EZMPI_MPI=name) == expected


def test_setting_names_the_library(both):
    path = both.library(both.root / "elsewhere", "libmpi.so.40", "openmpi")
    assert both.choose(EZMPI_MPI=path) == "openmpi " + path


@pytest.mark.parametrize(
    "launcher, name",
    [
        (OPENMPI, "openmpi"),
        (MPICH, "mpich"),
        (dict(MPICH, I_MPI_HYDRA_UUID="1"), "mpich"),
        (SRUN, "mpich"),
        (dict(SRUN, PMIX_RANK="0"), "openmpi"),
        (dict(SRUN, **OPENMPI), "openmpi"),
        (dict(SRUN, **MPICH), "mpich"),
    ],
)
def test_launcher_decides(both, launcher, name):
    expected = "{} {}".format(name, both.lib / SONAMES[name])
    assert both.choose(**launcher) == expected


def test_launcher_comes_before_the_nearest_library(both):
    """Open MPI's launcher, MPICH in the prefix, Open MPI on the system's path."""
    (both.lib / "libmpi.so.40").unlink()
    path = both.library(both.root / "system", "libmpi.so.40", "openmpi")
    found = both.choose(LD_LIBRARY_PATH=os.path.dirname(path), **OPENMPI)
    assert found == "openmpi " + path


def test_library_in_the_process_is_taken(both):
    """Though another one is nearer: one process, one MPI."""
    path = both.library(both.root / "elsewhere", "libmpi.so.40", "openmpi")
    assert both.choose(before=load(path)) == "openmpi " + path
    assert both.choose(before=load(path), **OPENMPI) == "openmpi " + path


def test_prefix_comes_before_the_system(both):
    path = both.library(both.root / "system", "libmpi.so.12", "mpich")
    found = both.choose(LD_LIBRARY_PATH=os.path.dirname(path))
    assert found == "mpich {}".format(both.lib / "libmpi.so.12")


def test_library_on_the_system_path(place):
    place.transport("mpich")
    path = place.library(place.root / "system", "libmpi.so.12", "mpich")
    assert place.choose(LD_LIBRARY_PATH=os.path.dirname(path)) == "mpich " + path


def test_library_beside_mpiexec(place):
    place.transport("mpich")
    place.program(place.root / "opt" / "bin", "mpiexec")
    path = place.library(place.root / "opt" / "lib", "libmpi.so.12", "mpich")
    assert place.choose(PATH=str(place.root / "opt" / "bin")) == "mpich " + path


def test_library_that_the_dynamic_linker_finds(place):
    place.transport("mpich")
    path = place.library(place.root / "system", "libmpi.so.12", "mpich")
    code = "from ezmpi._mpi import libraries\n"
    code += "libraries.installed = lambda sonames: []\n"
    code += CHOOSE.replace("libraries.load_from_system =", "unused =")
    found = place.run(code, LD_LIBRARY_PATH=os.path.dirname(path)).splitlines()[-1]
    assert found == "mpich " + path


def test_same_copy_as_mpi4py(place):
    """libmpi.so comes first where it is a library, as in Intel's wheel."""
    place.transport("mpich")
    place.library(place.lib, "libmpi.so.12", "mpich")
    path = place.library(place.lib, "libmpi.so.12", "mpich", name="libmpi.so")
    assert place.choose() == "mpich " + path
    Path(path).write_text("INPUT(libmpi.so.12)\n")
    assert place.choose() == "mpich {}".format(place.lib / "libmpi.so.12")


def test_library_of_debian(place):
    """The same MPI under another name has its own file of the same transport."""
    place.transport("mpich")
    place.transport("mpich-libmpich")
    path = place.library(place.lib, "libmpich.so.12", "mpich")
    assert place.choose() == "mpich " + path
    assert place.choose(EZMPI_MPI="mpich", **MPICH) == "mpich " + path


def test_abi_runs_on_what_the_launcher_starts(place):
    place.transport("mpiabi")
    path = place.library(place.lib, "libmpi_abi.so.1", "mpich")
    assert place.choose(**MPICH) == "mpiabi " + path


# ---- each error says what was found and how to mend it ----------------------------


def test_no_transport(place):
    said = place.refusal()
    assert "no transport" in said and "EZMPI_MPICC=" in said and "pip install" in said


def test_no_library(place):
    place.transport("mpich")
    place.library(place.lib, "libmpi.so.40", "openmpi")
    said = place.refusal()
    assert "no MPI library" in said and "mpich (libmpi.so.12)" in said
    assert str(place.lib / "libmpi.so.40") in said  # what was found
    assert "pip install mpich" in said and "export EZMPI_MPI=" in said


def test_setting_is_no_name(both):
    said = both.refusal(EZMPI_MPI="mvapich")
    assert "EZMPI_MPI=mvapich" in said and "openmpi (libmpi.so.40)" in said
    assert "unset EZMPI_MPI" in said


@pytest.mark.parametrize("contents", [None, "INPUT(libmpi.so.12)\n"])
def test_setting_is_no_library(both, contents):
    path = both.root / "libmpi.so"
    if contents:
        path.write_text(contents)
    said = both.refusal(EZMPI_MPI=str(path))
    assert str(path) in said and "unset EZMPI_MPI" in said


def test_library_of_an_mpi_without_transport(place):
    place.transport("mpich")
    root = place.root / "opt"
    path = place.library(root / "lib", "libmpi.so.40", "openmpi")
    mpicc = place.program(root / "bin", "mpicc")
    for said in (place.refusal(EZMPI_MPI=path), place.refusal(before=load(path))):
        assert path in said and "mpich (libmpi.so.12)" in said
        assert "EZMPI_MPICC=" + mpicc in said


def test_library_with_the_name_of_another(place):
    """Found out by what it says of itself, before MPI is started."""
    place.transport("mpich")
    path = place.library(place.lib, "libmpi.so.12", "other")
    said = place.refusal()
    assert "it is Stranger 1" in said and path in said and "export EZMPI_MPI=" in said


def test_library_that_cannot_be_loaded(place):
    place.transport("mpich")
    path = Path(place.library(place.lib, "libmpi.so.12", "mpich"))
    path.write_bytes(b"\x7fELF of another machine".ljust(100))
    said = place.refusal()
    assert str(path) in said and "export EZMPI_MPI=" in said


def test_two_libraries_in_the_process(both):
    one = both.lib / "libmpi.so.12"
    other = both.lib / "libmpi.so.40"
    said = both.refusal(before=load(one) + load(other))
    assert str(one) in said and str(other) in said


def test_setting_against_library_in_the_process(both):
    one = str(both.lib / "libmpi.so.12")
    other = str(both.lib / "libmpi.so.40")
    said = both.refusal(before=load(one), EZMPI_MPI=other)
    assert one in said and other in said
    assert "unset EZMPI_MPI" in said and "export MPI4PY_LIBMPI=" + other in said
    said = both.refusal(before=load(one), EZMPI_MPI="openmpi")
    assert one in said and "openmpi (libmpi.so.40)" in said


def test_second_library_after_ours(both):
    """mpi4py was imported after the first pool, and took another library."""
    other = both.library(both.root / "elsewhere", "libmpi.so.40", "openmpi")
    code = """
class Comm:
    def py2f(self):
        return 5
from ezmpi import _mpi
from ezmpi.errors import TransportError
_mpi.start()
assert _mpi.handle(Comm()) == 5
{}
try:
    _mpi.handle(Comm())
except TransportError as error:
    print(error)
"""
    said = both.run(code.format(load(other)))
    assert other in said and str(both.lib / "libmpi.so.12") in said
    assert "export EZMPI_MPI=" + other in said


# ---- the wrong launcher ----------------------------------------------------------


def test_launcher_without_transport(place):
    place.transport("mpich")
    place.library(place.lib, "libmpi.so.12", "mpich")
    mpiexec = place.program(place.prefix / "bin", "mpiexec")
    said = place.refusal(**OPENMPI)
    assert said.startswith("LauncherError True")
    assert "Open MPI's mpiexec" in said and "mpich (libmpi.so.12)" in said
    assert mpiexec + " -n 3 python script.py" in said and "EZMPI_MPICC=" in said


@pytest.mark.parametrize("ranks", ["1", "3"])
def test_launcher_against_setting(both, ranks):
    said = both.refusal(EZMPI_MPI="mpich", **dict(OPENMPI, OMPI_COMM_WORLD_SIZE=ranks))
    assert said.startswith("LauncherError True")
    assert "Open MPI's mpiexec" in said and "unset EZMPI_MPI" in said


def test_launcher_against_library(both):
    path = str(both.lib / "libmpi.so.12")
    for said in (
        both.refusal(EZMPI_MPI=path, **OPENMPI),
        both.refusal(before=load(path), **OPENMPI),
    ):
        assert said.startswith("LauncherError True")
        assert "Open MPI's mpiexec" in said and path in said
        assert "mpiexec -n 3 python script.py" in said


def test_launcher_against_abi(place):
    """Only the library itself tells whose it is."""
    place.transport("mpiabi")
    path = place.library(place.lib, "libmpi_abi.so.1", "mpich")
    said = place.refusal(**OPENMPI)
    assert said.startswith("LauncherError True") and path in said


def test_one_error_for_the_job(place):
    """Rank 0 tells it; the others end after it, with a code, in silence."""
    place.transport("mpich")
    place.library(place.lib, "libmpi.so.12", "mpich")
    began = time.monotonic()
    ranks = [
        place.start(
            "from ezmpi import MPIPool; MPIPool()",
            **dict(OPENMPI, OMPI_COMM_WORLD_RANK=str(rank)),
        )
        for rank in range(3)
    ]
    said = [rank.communicate(timeout=60)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [1, 1, 1]
    assert said[0].count("Traceback") == 1 and "LauncherError" in said[0]
    assert said[1:] == ["", ""]
    assert 1.5 < time.monotonic() - began < 20


def test_error_of_one_rank_is_told(place):
    """What may be wrong on one host only is not kept back."""
    place.transport("mpich")
    rank = place.start(
        "from ezmpi import MPIPool; MPIPool()", **dict(MPICH, PMI_RANK="2")
    )
    assert "no MPI library" in rank.communicate(timeout=60)[1]
    assert rank.returncode == 1


# ---- what a pool may be made on ---------------------------------------------------


@pytest.mark.parametrize("comm", ["True", "'world'", "1.5", "object()"])
def test_no_communicator(both, comm):
    code = "from ezmpi import _mpi\ntry:\n    _mpi.handle({})\n"
    code += "except TypeError as error:\n    print(error)"
    said = both.run(code.format(comm))
    assert "mpi4py communicator" in said and type(eval(comm)).__name__ in said


def test_enabled(both):
    code = "from ezmpi import MPIPool; print(MPIPool.enabled())"
    assert both.run(code) == "False"
    assert both.run(code, **MPICH) == "True"
    assert both.run(code, **dict(MPICH, PMI_SIZE="1")) == "False"
    (both.transports / "mpich.so").unlink()
    assert both.run(code, **MPICH) == "False"


LIBRARIES = """
print(*sorted({line.split("/")[-1].strip() for line in open("/proc/self/maps")
               if "/libmpi" in line or "/_mpi/" in line}))
"""


def test_import_loads_no_mpi(both):
    """Though there is one, which the pool would take."""
    changes = dict(MPICH, EZMPI_MPI="mpich")
    code = "from ezmpi import MPIPool\n" + LIBRARIES
    assert both.run(code, **changes) == ""
    code += "from ezmpi import _mpi; _mpi._load()\n" + LIBRARIES
    assert both.run(code, **changes).split() == ["libmpi.so.12", "mpich.so"]


def test_import_needs_neither_mpi_nor_numpy(place):
    code = "import sys; sys.modules.update(numpy=None, mpi4py=None)\n"
    code += "from ezmpi import MPIPool; from ezmpi._mpi import libraries\n"
    code += "print(MPIPool.__name__, libraries.loaded())"
    assert place.run(code) == "MPIPool []"


# ---- with the MPI of this environment ---------------------------------------------


def run_here(code, **changes):
    env = dict(clean_environment(), PATH=os.environ["PATH"], **changes)
    for name in ("LD_LIBRARY_PATH", "EZMPI_MPI"):
        if name in os.environ:
            env[name] = os.environ[name]
    return subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=str(HERE),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
        check=False,
    )


def test_one_process():
    done = run_here("from ezmpi import MPIPool; MPIPool()")
    assert done.returncode == 1
    assert "ValueError: " in done.stderr and "only one MPI process" in done.stderr
    assert "mpiexec -n 4 python script.py" in done.stderr


def test_srun_that_does_not_speak_to_this_mpi():
    """Each rank sees itself alone, and only the environment tells of the others."""
    code = "from ezmpi import _mpi; _mpi.refuse_one_process(_mpi.WORLD)"
    done = run_here(code, **SRUN)
    assert done.returncode == 1
    assert "srun started 3 processes" in done.stderr
    assert "only one MPI process" in done.stderr and "srun --mpi=pmi" in done.stderr
    silent = run_here(code, **dict(SRUN, SLURM_PROCID="1"))
    assert (silent.returncode, silent.stderr) == (1, "")


@pytest.mark.parametrize("first", ["pool", "mpi4py"])
def test_one_library_with_mpi4py(first):
    pytest.importorskip("mpi4py")
    code = "import mpi4py; mpi4py.rc.initialize = False\n"
    parts = ["from ezmpi import _mpi; _mpi.enabled()\n", "from mpi4py import MPI\n"]
    code += "".join(parts if first == "pool" else parts[::-1])
    code += "from ezmpi._mpi import libraries; print(*libraries.loaded(), sep='\\n')"
    launcher = OPENMPI if launch.mpi() == "openmpi" else MPICH
    done = run_here(code, **launcher)
    assert len(done.stdout.split("\n")) == 2, done


def test_transport_of_this_environment():
    """The library is that of the launcher that the tests use."""
    launcher = OPENMPI if launch.mpi() == "openmpi" else MPICH
    code = "from ezmpi import _ezmpi, _mpi\n"
    code += "print(*_ezmpi.describe_transport(_mpi._load().capsule), sep='\\n')"
    done = run_here(code, **launcher)
    name, _, library = done.stdout.strip().split("\n")
    said = {"mpich": "MPICH", "openmpi": "Open MPI", "intelmpi": "Intel(R) MPI"}
    assert said[launch.mpi()] in library, done
    assert name == ("openmpi" if launch.mpi() == "openmpi" else "mpich")
