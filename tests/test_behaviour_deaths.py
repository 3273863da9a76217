"""Ranks that die: the job goes on where that can be, and ends in time where not.

What test_fault_table.py sees of one death each, on three ranks, is not looked at here.
"""

import pytest
from launch import HOSTS, check, launch

ULFM = ("--with-ft", "ulfm")  # Open MPI's alone
SECONDS = 15  # for the end of a job that cannot go on


@pytest.fixture
def ulfm(mpi):
    if mpi != "openmpi":
        pytest.skip("only Open MPI's launcher lets a job survive a rank")
    return ULFM


SCENARIOS = [
    "maps",
    "chunks",
    "iterators",
    "background",
    "everywhere",
    "killer",
    "outside",
    "node",
    "idle",
]


def check_survives(ulfm, ranks, *args, env=None):
    """Standard error holds what a dying worker's fault handler said, and no more."""
    result = launch("deaths.py", ranks, *args, options=ulfm, env=env, timeout=120)
    assert result.returncode == 0, result
    assert result.stdout == "ok\n" and result.left == [], result
    assert result.errors[0] == "", result


@pytest.mark.parametrize("ranks", [4, 8])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_job_survives(ulfm, scenario, ranks):
    check_survives(ulfm, ranks, scenario)


@pytest.mark.parametrize("scenario", ["segfaults", "leaves", "unknown"])
def test_job_survives_other_deaths(ulfm, scenario):
    check_survives(ulfm, 3, scenario)


def test_what_workers_died_of_is_retried(ulfm):
    check_survives(ulfm, 8, "retried")


@pytest.mark.parametrize("ranks", [2, 4])
def test_nobody_is_left(ulfm, ranks):
    check_survives(ulfm, ranks, "last")


@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize("seed", range(3))
def test_deaths_amid_messages(ulfm, seed, memory):
    check_survives(ulfm, 4, "amid", seed, env={"EZMPI_SHARED_MEMORY": memory})


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("when", ["idle", "answers", "busy"])
@pytest.mark.parametrize("survives", [False, True])
def test_the_death_of_the_master_ends_the_job(mpi, survives, when, ranks):
    """Also where workers have begun tasks that take ten minutes."""
    if survives and mpi != "openmpi":
        pytest.skip("only Open MPI's launcher lets a job survive a rank")
    options = ULFM if survives else ()
    result = launch("death_of_master.py", ranks, when, options=options)
    assert result.returncode != 0 and result.seconds < SECONDS, result
    assert result.stdout.startswith("dying\n") and result.left == [], result
    assert "finished" not in result.stdout, result
    if survives:
        said = [error for error in result.errors[1:] if "rank 0 has died" in error]
        assert said != [], result


@pytest.mark.parametrize("ranks", [2, 8])
@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV", "SIGTERM", "_exit"])
def test_without_ulfm_the_job_ends(mpi, how, ranks):
    """The launcher sees to it; nobody waits for the answer."""
    if how == "_exit" and mpi != "openmpi":
        pytest.skip("MPICH's launcher takes _exit(0) for the end of the job")
    result = launch("killed.py", ranks, how)
    assert result.returncode != 0 and result.seconds < SECONDS, result
    assert "mapping" in result.stdout and "finished" not in result.stdout, result
    assert result.left == [], result


def test_an_end_with_a_code_is_not_survived(ulfm):
    """Of its own host Open MPI does not hear it; but the job does not wait for ever. Of
    another it does, and ends the job itself."""
    result = launch("killed.py", 3, "_exit1", options=ulfm)
    assert result.returncode != 0 and result.seconds < 2 * SECONDS, result
    said = "rank 1 on node2 died" if HOSTS else "MPI hears nothing"
    assert said in result.errors[0] and result.left == [], result


@pytest.mark.parametrize("how", ["plain", "exception", "exit3"])
def test_ends_as_ever_where_nobody_dies(ulfm, how):
    result = launch("ending.py", 3, how, "with", options=ulfm)
    assert result.returncode == {"plain": 0, "exception": 1, "exit3": 3}[how], result
    assert result.left == [] and result.seconds < SECONDS, result


def test_results_are_the_same(ulfm):
    check("results.py", 4, options=ulfm)
