"""Pools whose workers were forked: MPIPool(fallback="local"), without mpiexec."""

import os
import signal
import subprocess
import sys
import time

import pytest
from launch import PATIENCE, PROGRAMS, check

# What asks nothing of a launcher, and has the workers of one pool only.
SHARED = """
ahead callback failures_lowest inside_task main_classes main_guard main_limits main_names
main_unchanged many_submits misuse results results_plain sharing spawns threads workers
""".split()


def run(program, *args, seconds=60, **environment):
    """Exit code, output, standard error."""
    done = subprocess.run(
        [sys.executable, str(PROGRAMS / program), *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=seconds * PATIENCE,
        cwd=str(PROGRAMS),
        env=dict(os.environ, **environment),
    )
    return done.returncode, done.stdout, done.stderr


def check_run(program, *args, **environment):
    code, output, errors = run(program, *args, **environment)
    assert code == 0, (code, output, errors)
    return output


def test_isolated_workers(tmp_path):
    assert "ok" in check_run("isolated.py", "forked", str(tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_what_isolated_tasks_leave_behind(tmp_path):
    # Its pipes are read to their end, which what is left would hold open.
    assert "ok" in check_run("isolated.py", "left_behind", str(tmp_path), "local")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_ctrl_c_while_children_begin(tmp_path):
    code, output, errors = run("isolated.py", "interrupted_at_birth", str(tmp_path))
    assert code == 0 and "ok" in output, (output, errors)
    assert "run_child" not in errors, errors


def test_another_thread_reads_a_line():
    """Which holds the lock of C's stdin."""
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    command = [sys.executable, str(PROGRAMS / "reads_line.py")]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=str(PROGRAMS)
    )
    try:
        assert process.wait(30 * PATIENCE) == 0, os.read(ours, 4096)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("program", SHARED)
def test_programs_do_as_under_mpiexec(program):
    check_run("over_forks.py", "3", str(PROGRAMS / f"{program}.py"))


def test_one_worker():
    check_run("over_forks.py", "1", str(PROGRAMS / "results.py"))


@pytest.mark.parametrize("shared_memory", ["0", "1"])
@pytest.mark.parametrize("program", ["results", "results_numpy", "sharing_numpy"])
def test_arrays(program, shared_memory):
    pytest.importorskip("numpy", reason="needs numpy")
    program = str(PROGRAMS / f"{program}.py")
    check_run("over_forks.py", "3", program, EZMPI_SHARED_MEMORY=shared_memory)


@pytest.mark.parametrize(
    "case",
    "arguments ends deaths hidden_deaths reaped_by_others constructors signals drops "
    "messages no_room tasks_and_pools".split(),
)
def test_it(case):
    assert check_run("forked.py", case).endswith("ok\n")


OWNED = {"closed": 100, "used": 20, "terminated": 10, "dropped": 20, "failed": 20}


@pytest.mark.parametrize("end, pools", [*OWNED.items(), ("died", 20)])
def test_nothing_is_left_of_many(end, pools):
    assert check_run("local_owned.py", end, str(pools)).endswith("ok\n")


def test_deaths_that_only_the_sockets_tell_of():
    check_run("forked.py", "deaths", EZMPI_SHARED_MEMORY="0")


def test_no_worker_runs_the_script():
    assert check_run("forked.py", "is_interrupted") == "True\nok\n"


def test_what_is_written_is_written_once():
    assert check_run("forked.py", "prints") == "before\nin a task\nafter\n"


@pytest.mark.parametrize("case, expected", [("fails", 1), ("leaves", 5)])
def test_exit_codes(case, expected):
    start = time.monotonic()
    code, output, errors = run("forked.py", case)
    assert (code, output) == (expected, ""), (code, output, errors)
    assert time.monotonic() - start < 20
    assert case == "leaves" or "LookupError: the script" in errors


def is_there(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "XZ"
    except OSError:
        return False


def check_end(workers):
    deadline = time.monotonic() + 10 * PATIENCE
    while any(map(is_there, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers and not any(map(is_there, workers))


def test_workers_end_with_a_master_that_is_killed():
    code, output, errors = run("forked.py", "is_killed")
    assert code == -9, (code, output, errors)
    check_end(set(map(int, output.split())))


def test_workers_of_a_thread_end_with_a_master_that_is_killed():
    """Though a child of the master's holds their sockets."""
    code, output, errors = run("forked.py", "is_killed_in_thread")
    assert (code, errors) == (-9, ""), (code, output, errors)
    lives_on, *workers = map(int, output.splitlines()[-1].split())
    try:
        check_end(set(workers))
    finally:
        os.kill(lives_on, signal.SIGKILL)


def test_where_there_is_a_launcher_it_says():
    check("forked.py", 3, "under_mpiexec")
