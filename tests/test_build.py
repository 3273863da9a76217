"""What the build makes: contents, run paths, compilers, and what it says without one.

Each build works on a copy of the source, through the hooks that pip calls.
"""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from c_program import ROOT, compiler

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
PARTS = ("csrc", "ezmpi", "setup.py", "pyproject.toml", "README.md", "LICENSE")
SONAMES = {"mpich": "libmpi.so.12", "mpich-libmpich": "libmpich.so.12"}


def find_mpicc():
    """The compiler of the MPI in this environment."""
    beside = Path(sys.executable).parent / "mpicc"
    found = str(beside) if beside.exists() else shutil.which("mpicc")
    return found or pytest.skip("no mpicc beside Python or on PATH")


@pytest.fixture(scope="module")
def setuptools(tmp_path_factory):
    """A directory with what pyproject.toml requires for a build."""
    target = tmp_path_factory.mktemp("setuptools")
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(target)]
    done = subprocess.run(
        command + ["setuptools>=61", "wheel"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip("setuptools cannot be had from the package index: " + done.stdout)
    return target


class Source:
    """A copy of the source, and how to build it."""

    def __init__(self, root, setuptools):
        self.root = root
        self.dist = root / "dist"
        self._path = [str(setuptools), str(root / "csrc")]
        root.mkdir(exist_ok=True)
        for part in PARTS:
            if (ROOT / part).is_dir():
                ignored = shutil.ignore_patterns("*.so", "__pycache__")
                shutil.copytree(str(ROOT / part), str(root / part), ignore=ignored)
            elif (ROOT / part).exists():
                shutil.copy(str(ROOT / part), str(root))

    def call(self, code, **changes):
        """Run the code with the backend's hooks at hand, as pip does."""
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("EZMPI_") and name not in ("MPICC", "CFLAGS")
        }
        env.update(changes, PYTHONPATH=os.pathsep.join(self._path))
        return subprocess.run(
            [sys.executable, "-c", "import build_backend as backend\n" + code],
            cwd=str(self.root),
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            check=False,
            timeout=300,
        )

    def wheel(self, **changes):
        """Build a wheel; return it, unpacked."""
        done = self.call("backend.build_wheel('dist')", **changes)
        assert done.returncode == 0, done.stdout[-5000:]
        (path,) = self.dist.glob("*.whl")
        unpacked = self.root / "unpacked"
        with zipfile.ZipFile(str(path)) as file:
            file.extractall(str(unpacked))
        path.unlink()
        return unpacked

    def refusal(self, **changes):
        done = self.call("backend.build_wheel('dist')", **changes)
        assert done.returncode != 0 and not list(self.dist.glob("*.whl")), done.stdout
        return done.stdout.splitlines()[-1]


@pytest.fixture
def source(tmp_path, setuptools):
    return Source(tmp_path, setuptools)


def without_mpicc(directory):
    """A PATH with the C compiler and no mpicc."""
    names = [compiler()[0], "cc", "gcc", "as", "ld", "ld.bfd", "collect2"]
    for name in set(names):
        found = shutil.which(name)
        if found:
            (directory / os.path.basename(name)).symlink_to(found)
    return str(directory)


def shared_objects(folder):
    return {str(path.relative_to(folder)): path for path in folder.rglob("*.so")}


def dynamic_section(path):
    if shutil.which("readelf") is None:
        pytest.skip("no readelf")
    return subprocess.check_output(["readelf", "-d", str(path)], universal_newlines=True)


def wrapper(path, mpicc, extra):
    """An mpicc whose flags hold more run paths than the environment's own."""
    show = subprocess.check_output([mpicc, "-show"], universal_newlines=True).strip()
    path.write_text(
        '#!/bin/sh\n[ "$1" = -show ] && echo {} && exit\nexec {} "$@"\n'.format(
            shlex.quote(show + " " + extra), shlex.quote(mpicc)
        )
    )
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, setuptools):
    """A wheel, built with warnings as errors and all ways to write a run path."""
    source = Source(tmp_path_factory.mktemp("paths") / "build-directory", setuptools)
    run_paths = "-Wl,-rpath,/run/1 -Wl,-rpath=/run/2 -Xlinker -rpath -Xlinker /run/3"
    mpicc = wrapper(source.root / "wrapped-mpicc", find_mpicc(), run_paths)
    return source.wheel(EZMPI_MPICC=mpicc, EZMPI_WERROR="1")


def test_contents(wheel):
    """The package, its types and its shared objects, and nothing else."""
    files = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    expected = {
        str(path.relative_to(ROOT))
        for pattern in ("*.py", "*.pyi", "py.typed")
        for path in (ROOT / "ezmpi").rglob(pattern)
    }
    package = {name for name in files if ".dist-info" not in name}
    objects = {name for name in package if name.endswith(".so")}
    assert package - objects == expected
    assert "ezmpi/_ezmpi" + SUFFIX in objects
    assert "ezmpi/_mpi/local.so" in objects
    transports = objects - {"ezmpi/_ezmpi" + SUFFIX, "ezmpi/_mpi/local.so"}
    assert transports in (
        {"ezmpi/_mpi/mpich.so", "ezmpi/_mpi/mpich-libmpich.so"},
        {"ezmpi/_mpi/openmpi.so"},
        {"ezmpi/_mpi/mpiabi.so"},
    )


def test_no_path_of_the_build_stays(wheel):
    prefix = str(Path(find_mpicc()).parent.parent)
    paths = [str(wheel.parent), prefix] if prefix != "/usr" else [str(wheel.parent)]
    for name, path in shared_objects(wheel).items():
        contents = path.read_bytes()
        for unwanted in paths:
            assert os.fsencode(unwanted) not in contents, name
        section = dynamic_section(path)
        assert "RPATH" not in section and "RUNPATH" not in section, name


def test_transport_needs_its_mpi_and_no_python(wheel):
    for path in (wheel / "ezmpi" / "_mpi").glob("*.so"):
        section = dynamic_section(path)
        assert ("libmpi" in section) == (path.stem != "local")
        assert "libpython" not in section
        if path.stem in SONAMES:
            assert "[" + SONAMES[path.stem] + "]" in section
    (engine,) = (wheel / "ezmpi").glob("_ezmpi*.so")
    assert "libmpi" not in dynamic_section(engine)


def test_metadata(wheel):
    (path,) = wheel.glob("*.dist-info/METADATA")
    lines = path.read_text().splitlines()
    code = (ROOT / "ezmpi" / "__init__.py").read_text()
    (version,) = [line for line in lines if line.startswith("Version: ")]
    assert '__version__ = "{}"'.format(version.split()[1]) in code
    assert "Requires-Python: >=3.8" in lines
    needed = [line for line in lines if line.startswith("Requires-Dist: ")]
    assert [line for line in needed if "extra ==" not in line] == [
        line for line in needed if line.startswith("Requires-Dist: dill")
    ]
    extras = {line.split()[1] for line in lines if line.startswith("Provides-Extra")}
    expected = "mpich openmpi joblib progress threads examples gallery test docs"
    assert extras == set(expected.split())


def test_older_builds_leave_nothing(source):
    """Neither another MPI's transport nor objects made with other switches."""
    source.wheel(EZMPI_MPICC=find_mpicc(), EZMPI_DEBUG="1")
    (folder,) = source.root.glob("build/lib.*/ezmpi/_mpi")
    (folder / "vanished.so").write_bytes(b"of an earlier build")
    shutil.rmtree(str(source.root / "unpacked"))
    unpacked = source.wheel(EZMPI_MPICC=find_mpicc())
    assert not (unpacked / "ezmpi" / "_mpi" / "vanished.so").exists()
    for name, path in shared_objects(unpacked).items():
        assert b".debug_info" not in path.read_bytes(), name


def test_warnings_are_errors_where_asked(source):
    with open(str(source.root / "csrc" / "codec.c"), "a") as file:
        file.write("int not_declared_before(void)\n{\n    return 0;\n}\n")
    command = "backend.build_wheel('dist')"
    done = source.call(command, EZMPI_MPICC=find_mpicc(), EZMPI_WERROR="1")
    assert done.returncode != 0 and "-Werror=missing-prototypes" in done.stdout


# ---- which compilers --------------------------------------------------------------

REQUIRES = "print(backend.get_requires_for_build_{}(None)[-1])"


@pytest.mark.parametrize("kind", ["wheel", "editable"])
@pytest.mark.parametrize(
    "setting, wanted",
    [({}, "mpich"), ({"EZMPI_BUILD_WITH": "openmpi"}, "openmpi")],
)
def test_an_mpi_is_asked_for_where_none_is(source, tmp_path, kind, setting, wanted):
    (tmp_path / "path").mkdir()
    changes = dict(setting, PATH=without_mpicc(tmp_path / "path"))
    done = source.call(REQUIRES.format(kind), **changes)
    assert done.stdout.splitlines()[-1:] == [wanted], done.stdout


@pytest.mark.parametrize("where", ["EZMPI_MPICC", "MPICC", "PATH"])
def test_no_mpi_is_asked_for_where_a_compiler_is(source, tmp_path, where):
    folder = tmp_path / "path"
    folder.mkdir()
    (folder / "mpicc").write_text("#!/bin/sh\n")
    (folder / "mpicc").chmod(0o755)
    value = folder if where == "PATH" else folder / "mpicc"
    changes = dict({"PATH": without_mpicc(folder)}, **{where: str(value)})
    done = source.call("print(backend._mpi_requirement())", **changes)
    assert done.stdout == "[]\n"


def test_order_of_compilers(source):
    code = "print(backend.mpi_compilers())"
    settings = {"EZMPI_MPICC": "/a/mpicc:/b/mpicc -cc=icx", "MPICC": "/c/mpicc"}
    found = source.call(code, **settings).stdout.strip()
    assert found == "[['/a/mpicc'], ['/b/mpicc', '-cc=icx']]"
    assert source.call(code, MPICC="/c/mpicc").stdout.strip() == "[['/c/mpicc']]"


def test_no_compiler(source, tmp_path):
    """As with pip's --no-build-isolation, where nothing asked for an MPI."""
    (tmp_path / "path").mkdir()
    said = source.refusal(PATH=without_mpicc(tmp_path / "path"))
    assert "no MPI compiler" in said
    assert "pip install mpich" in said and "EZMPI_MPICC=" in said


def test_compiler_that_is_not_there(source):
    said = source.refusal(EZMPI_MPICC="/nowhere/mpicc")
    assert "/nowhere/mpicc" in said and "EZMPI_MPICC" in said


def test_two_compilers_of_one_mpi(source):
    said = source.refusal(EZMPI_MPICC=find_mpicc() + ":" + find_mpicc())
    assert "two MPI compilers for" in said and find_mpicc() in said
