"""``python -m ezmpi``: the script is the same as under Python alone, and has workers."""

import os
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from launch import (
    PATIENCE,
    PROGRAMS,
    Job,
    check,
    launch,
    launcher_environment,
    mpi,
    mpi_of,
    mpiexec,
)

COMMAND = PROGRAMS / "command"
EZMPI = ("-m", "ezmpi")
NO_INPUT = "Open MPI 5.0's launcher does not tell any program the end of standard input"
OTHER = os.environ.get("EZMPI_TEST_OTHER_MPIEXEC")
needs_other = pytest.mark.skipif(not OTHER, reason="EZMPI_TEST_OTHER_MPIEXEC is not set")


def alone(*arguments, cwd, env=None, stdin=os.devnull):
    """Python with these arguments, without a launcher."""
    with open(str(stdin)) as into:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=str(cwd),
            env=launcher_environment(mpiexec(), env),
            stdin=into,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=60 * PATIENCE,
        )


def started(*arguments, cwd, env=None, timeout=60):
    """The same, where it becomes a launcher and leaves nothing behind."""
    directory = Path(tempfile.mkdtemp(dir=str(cwd)))
    command = [sys.executable, *map(str, arguments)]
    with Job(command, 0, launcher_environment(mpiexec(), env), directory) as job:
        return job.finish(timeout)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """The same program in every place that Python can run one from."""
    root = tmp_path_factory.mktemp("places")
    source = COMMAND / "place.py"
    for name in ("script", "module", "pack/__main__", "pack/sub/module", "dir/__main__"):
        path = root / (name + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(source), str(path))
        (path.parent / "beside.py").write_text("WORD = 'beside %s'\n" % name)
    (root / "spaces").mkdir()
    shutil.copytree(str(root / "pack" / "sub"), str(root / "spaces" / "in"))
    (root / "pack" / "__init__.py").write_text("")
    (root / "pack" / "sub" / "__init__.py").write_text("")
    with zipfile.ZipFile(str(root / "archive.zip"), "w") as archive:
        archive.write(str(source), "__main__.py")
    py_compile.compile(str(root / "script.py"), str(root / "compiled.pyc"))
    (root / "away").mkdir()
    (root / "away" / "link.py").symlink_to(root / "script.py")
    (root / "input.txt").write_text("first line\n")
    return root


# ---- as under Python alone ---------------------------------------------------------


@pytest.mark.parametrize(
    "what",
    [
        ["away/../away/link.py"],
        ["dir"],
        ["archive.zip"],
        ["compiled.pyc"],
        ["-m", "pack"],
        ["-mpack.sub.module"],
        ["-m", "spaces.in.module"],
        ["-c"],
        ["-"],
    ],
    ids=" ".join,
)
def test_place(what, places, tmp_path):
    """Its names, arguments, paths, standard input; also what its functions see."""
    if what == ["-"] and mpi() == "openmpi":
        pytest.skip(NO_INPUT)
    if what[0][0] not in "-":
        what = [str(places / what[0])]
    stdin = places / ("script.py" if what == ["-"] else "input.txt")
    if what == ["-c"]:
        what = ["-c", (places / "script.py").read_text()]
    arguments = [*what, "a b", "", "-x", "--", "-m"]
    env = {"PLACE_ROOT": places, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    if mpi() != "openmpi":
        env["PLACE_INPUT"] = "1"
    expected = alone(*arguments, cwd=tmp_path, env=env, stdin=stdin)
    assert "names = " in expected.stdout, expected
    env["PLACE_MPI"] = "1"
    result = launch(None, 3, *EZMPI, *arguments, env=env, stdin=stdin)
    assert result.stdout == expected.stdout, (expected, result)
    assert result.returncode == expected.returncode == 0, (expected, result)
    assert result.errors == ["", "", ""] and result.left == [], result


@pytest.mark.parametrize(
    "how",
    [
        *["end", "chain", "thread", "hook", "import", "import_syntax", "interrupt"],
        *["exit_none", "exit_3", "exit_minus", "exit_text", "exit_odd"],
    ],
)
def test_ending(how, tmp_path):
    """What it says, and its exit code; the traceback has no line of ezmpi's."""
    program = COMMAND / "endings.py"
    expected = alone(program, how, cwd=tmp_path)
    code = expected.returncode if expected.returncode >= 0 else 128 - expected.returncode
    result = launch("command/endings.py", 3, how, python=EZMPI)
    assert result.stdout == expected.stdout, (expected, result)
    said = re.sub("/[^ ]*/module_of", "module_of", result.errors[0])
    assert said == re.sub("/[^ ]*/module_of", "module_of", expected.stderr)
    assert result.returncode == code, (expected, result)
    assert result.errors[1:] == ["", ""] and result.left == [], result
    assert result.seconds < 10, result


def test_hook_that_fails():
    result = launch("command/endings.py", 3, "broken_hook", python=EZMPI)
    assert result.returncode == 1 and result.left == [], result
    assert "OSError: in the hook" in result.errors[0], result
    assert "\nOriginal exception was:\nTraceback" in result.errors[0], result
    assert "ValueError: second" in result.errors[0], result


@pytest.mark.parametrize("mode", ["map", "calls", "thread"])
def test_uncaught_error_waits_for_no_task(mode):
    result = launch("command/at_once.py", 3, mode, python=EZMPI)
    assert result.returncode == 1 and result.left == [], result
    assert result.seconds < 10, result
    assert "LookupError: deliberate" in result.errors[0], result
    assert "after the error" not in result.stdout, result


@pytest.mark.parametrize(
    ("what", "code", "words"),
    [
        (["absent.py"], 2, "can't open 'absent.py': No such file"),
        (["-m", "absent.module"], 1, "no module named 'absent.module'"),
        (["-m", "json"], 1, "'json' is a package without a module __main__"),
        (["-c", "x = = 1"], 1, "SyntaxError"),
        (["."], 1, "can't find '__main__' module in '.'"),
        (["--unknown"], 2, "there is no option --unknown"),
        (["-n", "4", "-c", "pass"], 2, "leave -n out"),
    ],
    ids=str,
)
def test_nothing_to_run(what, code, words):
    """Said once, and nobody waits for a rank that ended."""
    result = launch(None, 3, *EZMPI, *what)
    assert result.returncode == code, result
    assert words in result.errors[0].splitlines()[-1], result
    assert result.errors[1:] == ["", ""] and result.left == [], result
    assert result.seconds < 10 and "Traceback" not in result.stderr, result


def test_no_pool():
    """The job ends at once: nobody waits for a pool that is never made."""
    result = launch(None, 4, *EZMPI, "-c", "print('ran')", timeout=10)
    assert result.returncode == 0 and result.stdout == "ran\n", result
    assert result.stderr == "" and result.left == [], result


# ---- with workers ------------------------------------------------------------------


def test_pools():
    """Any number, of all kinds, one after the other and at once; to the very end."""
    result = check("command/pools.py", 3, python=EZMPI)
    assert "thread ok" in result.stdout, result


def test_functions_and_classes():
    check("command/values.py", 3, python=EZMPI)


# ---- the launcher is found -----------------------------------------------------------

FLAGS = """\
import sys, ezmpi
def flags(_):
    return list(sys.flags), sys.warnoptions, sorted(sys._xoptions), sys.argv[1:]
print(flags(0), sys.stdout.write_through)
with ezmpi.choose_pool(mpi=%r) as pool:
    assert pool.map(flags, [1, 2]) == [flags(0)] * 2
"""


def test_start(tmp_path):
    """Python's own options reach the ranks, -u from Python 3.10 on."""
    options = ["-W", "error::UserWarning", "-X", "dev", "-O", "-B", "-s", "-b"]
    options += ["-u"] if sys.version_info >= (3, 10) else []
    arguments = ["a b", "", "-n", "3"]
    expected = alone(*options, "-c", FLAGS % False, *arguments, cwd=tmp_path)
    assert expected.returncode == 0 and "dev" in expected.stdout, expected
    command = [*options, *EZMPI, "-n", "3", "-c", FLAGS % True, *arguments]
    result = started(*command, cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == "", result
    assert result.stdout == expected.stdout, (expected, result)


def test_start_of_a_script_that_fails(tmp_path):
    command = [*EZMPI, "-n4", COMMAND / "endings.py", "exit_3"]
    result = started(*command, cwd=tmp_path)
    assert result.returncode == 3 and result.left == [], result


@pytest.mark.parametrize("number", ["", "1", "0", "-2", "x", "2.5"])
def test_start_of_a_wrong_number(number, tmp_path):
    result = alone(*EZMPI, "-n", number, "-c", "pass", cwd=tmp_path)
    assert result.returncode == 2, result
    assert "number of processes, at least 2" in result.stderr, result


def test_start_of_nothing(tmp_path):
    for arguments, words in (
        ([], "nothing to run"),
        (["-n"], "-n needs an argument"),
        (["-n", "3"], "nothing to run"),
        (["-n", "3", "-m"], "-m needs an argument"),
        (["script.py"], "start two processes or more: with mpiexec"),
    ):
        result = alone(*EZMPI, *arguments, cwd=tmp_path)
        assert result.returncode == 2 and words in result.stderr, result
    assert alone(*EZMPI, "--help", cwd=tmp_path).stdout.startswith("usage:")


# ---- info --------------------------------------------------------------------------

LINES = ["ezmpi", "python", "transports", "library", "launcher", "ranks", "processors"]
LINES += ["round trip", "bandwidth", "problems"]


def facts(result):
    """What it told, by line; the ten are always there."""
    lines = [line.partition(":") for line in result.stdout.splitlines()]
    assert [name for name, _, _ in lines] == LINES, result
    return {name: text.strip() for name, _, text in lines}


def test_info_alone(tmp_path):
    result = alone(*EZMPI, "info", cwd=tmp_path)
    assert result.returncode == 0 and result.stderr == "", result
    told = facts(result)
    assert mpi() in told["transports"] or mpi() == "intelmpi", told
    assert "libmpi" in told["library"] and "MPI" in told["library"], told
    assert told["launcher"] == "seen: none; expected: " + mpiexec(), told
    assert told["ranks"] == "this process alone", told
    assert told["problems"].startswith("none found; with workers: " + mpiexec()), told


def test_info_with_workers():
    result = launch(None, 3, *EZMPI, "info")
    assert result.returncode == 0 and result.stderr == "", result
    told = facts(result)
    assert "mpiexec, 3 ranks; expected: " + mpiexec() in told["launcher"], told
    assert told["ranks"] == os.uname().nodename + ": 0-2", told
    assert told["processors"].startswith(os.uname().nodename + ": "), told
    for line, unit in (("round trip", " µs"), ("bandwidth", " GB/s")):
        values = told[line][: -len(unit)].split(", ")
        assert told[line].endswith(unit) and len(values) == 2, told
        assert all(float(value) > 0 for value in values), told


def test_info_of_too_many_ranks():
    ranks = (os.cpu_count() or 1) + 2
    if ranks > 10:
        pytest.skip("too many processors to start more ranks")
    told = facts(launch(None, ranks, *EZMPI, "info"))
    assert "%d ranks on" % ranks in told["problems"], told


def broken_info(words, cwd, env):
    result = alone(*EZMPI, "info", cwd=cwd, env=env)
    told = facts(result)
    assert result.returncode == 1 and result.stderr == "", result
    assert words in told["problems"], told
    assert told["round trip"] == "not measured: no workers", told
    return told


def test_info_of_a_library_that_is_not_there(tmp_path):
    absent = str(tmp_path / "libmpi.so.12")
    broken_info("unset EZMPI_MPI", tmp_path, {"EZMPI_MPI": absent})
    result = alone(
        *EZMPI, "-n", "3", "-c", "pass", cwd=tmp_path, env={"EZMPI_MPI": absent}
    )
    assert result.returncode == 1 and "Traceback" not in result.stderr, result
    assert "is not a library" in result.stderr, result


def test_info_of_a_garbage_library(tmp_path):
    """Of a name that no MPI has, and of one that the transport needs."""
    needed = "libmpi.so.40" if mpi() == "openmpi" else "libmpi.so.12"
    for name, words in (
        ("libmpi.so.0", "is of another MPI than"),
        (needed, "cannot be loaded"),
    ):
        library = tmp_path / name
        library.write_bytes(b"\x7fELF" + bytes(100))
        told = broken_info(words, tmp_path, {"EZMPI_MPI": library})
        assert told["library"] == "none that can be used", told
        assert "EZMPI_" in told["problems"], told
    result = launch(None, 3, *EZMPI, "info", env={"EZMPI_MPI": library})
    assert facts(result)["ranks"] == "no pool can be made: see problems", result
    assert result.returncode == 1 and result.left == [], result


def test_no_launcher(tmp_path):
    """None beside the library, none on PATH, or only another MPI's."""
    is_open = mpi() == "openmpi"
    library = facts(alone(*EZMPI, "info", cwd=tmp_path))["library"].split(" (")[0]
    (tmp_path / "lib").mkdir()
    linked = tmp_path / "lib" / os.path.basename(library)
    linked.symlink_to(library)
    (tmp_path / "empty").mkdir()
    env = {"EZMPI_MPI": linked, "PATH": tmp_path / "empty"}
    told = facts(alone(*EZMPI, "info", cwd=tmp_path, env=env))
    assert told["launcher"] == "seen: none; expected: not known", told
    start = [*EZMPI, "-n", "3", "-c", "pass"]
    result = alone(*start, cwd=tmp_path, env=env)
    assert result.returncode == 1 and result.stdout == "", result
    assert "ezmpi: no mpiexec was found for %s" % linked in result.stderr, result
    assert "on PATH none" in result.stderr, result
    other = tmp_path / "empty" / "mpiexec"
    other.write_text("#!/bin/sh\necho %s\n" % ("HYDRA" if is_open else "Open MPI"))
    other.chmod(0o755)
    result = alone(*start, cwd=tmp_path, env=env)
    assert result.returncode == 1, result
    assert "on PATH %s of another MPI" % other in result.stderr, result


def test_info_without_transports(tmp_path):
    import ezmpi

    shutil.copytree(
        os.path.dirname(ezmpi.__file__),
        str(tmp_path / "ezmpi"),
        ignore=lambda path, names: (
            [name for name in names if path.endswith("_mpi") and name.endswith(".so")]
        ),
    )
    told = broken_info("no transport for any MPI", tmp_path, {"PYTHONPATH": tmp_path})
    assert told["transports"] == "none", told


@needs_other
def test_other_launcher():
    """Of the other MPI: the script does not run, and info says how to start it."""
    assert mpi_of(OTHER) != mpi(), "EZMPI_TEST_OTHER_MPIEXEC is this environment's own"
    result = launch(None, 3, *EZMPI, "-c", "print('ran')", launcher=OTHER)
    assert result.returncode != 0 and "ran" not in result.stdout, result
    assert len([error for error in result.errors if error]) == 1, result
    assert result.errors[0].startswith("ezmpi: this process was started by"), result
    assert result.left == [] and result.seconds < 20, result
    result = launch(None, 3, *EZMPI, "info", launcher=OTHER)
    told = facts(result)
    assert result.returncode != 0 and result.left == [], result
    assert "this process was started by" in told["problems"], told
    assert told["launcher"].endswith("expected: " + mpiexec()), told
    assert result.errors == ["", "", ""], result
