"""However the master's script ends: the workers end, and its exit code is kept."""

import signal

import pytest
from launch import check, launch, mpi

CODES = {
    "plain": 0,
    "exception": 1,
    "exit3": 3,
    "text": 1,
    "zero": 0,
    "interrupt": 128 + signal.SIGINT,
}
LAST_WORDS = {
    "exception": "LookupError: deliberate",
    "text": "deliberate last words",
    "interrupt": "\nKeyboardInterrupt",
}


def check_ending(how, ranks, *args, seconds=10):
    result = launch("ending.py", ranks, how, *args)
    assert result.returncode == CODES[how], result
    assert result.stdout.count("ending\n") == 1, result
    assert result.left == [], result
    assert result.seconds < seconds, result
    assert all(error == "" for error in result.errors[1:]), result
    if how in LAST_WORDS:
        assert result.errors[0].rstrip().endswith(LAST_WORDS[how]), result
        assert result.errors[0].count("deliberate") <= 2, result  # and the line itself
    else:
        assert result.errors[0] == "", result
    if CODES[how] == 0:
        assert result.stderr == "", result


@pytest.mark.parametrize("mode", ["exits", "test_mode"])
@pytest.mark.parametrize("where", ["with", "with_out", "close", "open"])
@pytest.mark.parametrize("how", ["plain", "exception", "exit3"])
def test_ending(how, where, mode):
    """ezmpi 0.1.0 and schwimmbad 0.4.2 close at exit, after a ``with`` once more; that
    is a message too many, and the exit code is lost now and then."""
    check_ending(how, 3, where, mode)


@pytest.mark.parametrize("how", ["text", "zero"])
def test_ending_by_other_exits(how):
    check_ending(how, 4, "with")


@pytest.mark.parametrize("ranks", [2, 8])
@pytest.mark.parametrize("how", ["plain", "exception"])
def test_ending_at_other_sizes(how, ranks):
    check_ending(how, ranks, "open")


@pytest.mark.parametrize("imported", ["before", "after"])
@pytest.mark.parametrize("where", ["with", "open"])
@pytest.mark.parametrize("how", ["plain", "exception", "exit3"])
def test_ending_with_mpi4py(how, where, imported):
    """Imported before, mpi4py initialises and finalises MPI; after, it finds it."""
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    check_ending(how, 3, where, imported)


@pytest.mark.parametrize("imported", ["", "after"])
@pytest.mark.parametrize("where", ["with", "open"])
@pytest.mark.parametrize("thread", ["", "daemon", "numpy"])
def test_ending_by_ctrl_c(thread, where, imported):
    """Where Python sends itself the signal once more, launchers report a crash."""
    if thread == "numpy":
        pytest.importorskip("numpy", reason="needs numpy")
    if imported:
        pytest.importorskip("mpi4py", reason="needs mpi4py")
    check_ending("interrupt", 3, where, thread, imported)


def broke_its_launcher(result):
    """The launcher of Open MPI 5.0.11 itself dies of SIGSEGV after one MPI_Abort in
    ten where another rank has ended before, in a plain mpi4py program as well."""
    return mpi() == "openmpi" and result.returncode == -signal.SIGSEGV


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "where", "code", "owner"),
    [
        ("exit3", "with", 3, ""),  # __exit__ has seen it
        ("exception", "with", 1, ""),
        ("exception", "open", 1, ""),
        ("plain", "with", 1, ""),  # a worker had to be killed: not a success, ...
        ("plain", "terminate", 0, ""),  # ... unless it was given up, ...
        ("plain", "with_caught", 0, ""),  # ... as an exception does that leaves a with
        ("exit3", "open", 3, ""),  # the process's own is seen when it exits, ...
        ("exit3", "with", 3, "before"),
        ("exception", "open", 1, "before"),
        ("plain", "with", 1, "before"),
        ("exit3", "open", 1, "before"),  # ... but mpi4py finalises MPI before
    ],
)
def test_ending_while_workers_are_busy(how, where, code, owner):
    """ezmpi 0.1.0 and schwimmbad 0.4.2 hang."""
    if owner:
        pytest.importorskip("mpi4py", reason="needs mpi4py")
    result = launch("ending.py", 3, how, where, "busy=60", owner)
    check_aborted(result, code)
    if how == "exception":
        assert result.errors[0].count("LookupError: deliberate") == 1, result


def check_aborted(result, code):
    assert result.returncode == code or broke_its_launcher(result), result
    assert result.left == [], result
    assert result.seconds < 11, result
    lines = [line for line in result.errors[0].splitlines() if "ezmpi: rank" in line]
    assert len(lines) == 1, result
    assert "5 s after rank 0 ended; aborting the job" in lines[0], result


def test_ending_while_workers_do_their_own_part():
    result = launch("behind.py", 3)
    check_aborted(result, 1)
    assert "finished" not in result.stdout, result


@pytest.mark.slow
@pytest.mark.parametrize("owner", ["", "before"])
@pytest.mark.parametrize(
    ("how", "where", "options"),
    [
        ("plain", "open", ["busy=2"]),
        ("exit3", "open", ["busy=2"]),
        # What the user has caught is no reason to hurry, nor for another code.
        ("plain", "open", ["busy=3", "interrupted"]),
        ("plain", "with_caught", ["busy=3"]),
    ],
)
def test_ending_while_workers_finish_in_time(how, where, options, owner):
    if owner:
        pytest.importorskip("mpi4py", reason="needs mpi4py")
    result = launch("ending.py", 3, how, where, *options, owner)
    assert result.returncode == CODES[how], result
    assert result.left == [] and result.seconds < 10, result
    assert "napped" in result.stdout, result  # the worker was busy, and not killed
    assert all(error == "" for error in result.errors), result


@pytest.mark.parametrize("imported", ["", "before", "after"])
def test_exit_hooks_still_have_the_pool(imported):
    if imported:
        pytest.importorskip("mpi4py", reason="needs mpi4py")
    check("exit_hooks.py", 3, imported)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV"])
@pytest.mark.parametrize("ranks", [2, 4])
def test_the_death_of_a_worker_ends_the_job(ranks, how):
    """The launcher sees to it; nobody waits for the answer."""
    result = launch("killed.py", ranks, how)
    assert result.returncode != 0 and result.seconds < 10, result
    assert "mapping" in result.stdout and "finished" not in result.stdout, result
    assert result.left == [], result


@pytest.mark.slow
def test_two_hundred_short_jobs():
    """After the pools that send "stop" twice, MPICH 5 ends some of them with 9."""
    for number in range(200):
        result = launch("short.py", 2 + number % 3)
        assert result.returncode == 0 and result.stderr == "", (number, result)
        assert result.left == [], (number, result)


@pytest.mark.parametrize(("code", "owner"), [(0, ""), (3, ""), (0, "mpi4py")])
def test_exit_of_c_code_in_a_task_is_no_success(code, owner):
    """After exit(0) MPICH's launcher takes the job for finished: exit code 0."""
    if owner:
        pytest.importorskip("mpi4py", reason="needs mpi4py")
    result = launch("exit_call.py", 3, code, owner)
    assert result.returncode != 0, result
    assert "finished" not in result.stdout and result.left == [], result
    said = [error for error in result.errors if "called exit()" in error]
    assert len(said) == 1, result


@pytest.mark.parametrize("ranks", [2, 4])
def test_join_takes_in_what_nobody_wants(ranks):
    """Large results of a map that failed, which are still on their way."""
    check("late_answers.py", ranks, "500")
