"""on_signal: what a queue sends before a job's time is over."""

import os
import signal
import time

import pytest
from launch import PROGRAMS, check, start

USR1, TERM = signal.SIGUSR1, signal.SIGTERM


def send_to_all(job, number):
    """As a queue does: to every rank, the workers first."""
    for rank in reversed(range(job.ranks)):
        job.signal(rank, number)


def wait_until_busy(job, how):
    tasks = 0 if how == "idles" else min(job.ranks - 1, 3)
    deadline = time.monotonic() + 60
    while not all((job.directory / ("begun-%d" % i)).exists() for i in range(tasks)):
        assert time.monotonic() < deadline, job.stdout()
        time.sleep(0.02)
    time.sleep(0.2)


def run(how, number, ranks=3, to="all", under_command=False, env=None):
    program = PROGRAMS / "signals.py"
    arguments = ("-m", "ezmpi", program) if under_command else (program,)
    with start(None, ranks, *arguments, how, env=env) as job:
        job.wait_for("mapping")
        wait_until_busy(job, how)
        sent = time.monotonic()
        if to == "all":
            send_to_all(job, number)
        else:
            os.kill(job.launcher_pid if to == "launcher" else job.pid(0), number)
        result = job.finish(timeout=40)
        result.after = job.started + result.seconds - sent
    assert result.left == [], result
    assert all(not error for error in result.errors[1:]), result
    return result


def check_goes_on(result, number, came):
    assert result.returncode == 0 and result.stderr == "", result
    lines = result.stdout.splitlines()
    assert lines.count("hook %d" % number) == 1 and "ok" in lines, result
    assert "came %r" % (came,) in lines, result


@pytest.mark.parametrize("to", ["all", "master"])
@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("how", ["goes_on", "idles"])
def test_the_map_goes_on(how, ranks, to):
    check_goes_on(run(how, USR1, ranks, to), USR1, [int(USR1)])


def test_the_launcher_passes_it_on():
    check_goes_on(run("goes_on", USR1, to="launcher"), USR1, [int(USR1)])


@pytest.mark.parametrize("number", [USR1, TERM])
def test_it_may_raise(number):
    """Out of the map, which is given up; the pool works on."""
    check_goes_on(run("is_given_up", number), number, [int(number)])


@pytest.mark.parametrize("number", [USR1, TERM])
def test_true_is_all(number):
    check_goes_on(run("all", number), number, [int(number)])


@pytest.mark.parametrize("number", [USR1, TERM])
def test_a_handler_from_before_is_called(number):
    check_goes_on(run("before", number), number, [int(number), -int(number)])


@pytest.mark.parametrize("ranks", [2, 4])
def test_sigterm_ends_the_script(ranks):
    result = run("goes_on", TERM, ranks)
    assert result.returncode == 128 + TERM and result.after < 5, result
    assert "hook %d" % TERM in result.stdout.splitlines(), result
    assert "ok" not in result.stdout.splitlines(), result
    assert result.errors[0] == "", result


@pytest.mark.parametrize("isolate", ["0", "1"])
@pytest.mark.parametrize(("number", "code"), [(USR1, 0), (TERM, 128 + TERM)])
def test_under_the_command(number, code, isolate):
    """There the workers do not see the constructor's argument."""
    env = {"EZMPI_ISOLATE": isolate}
    result = run("goes_on", number, under_command=True, env=env)
    assert result.returncode == code, result
    assert "hook %d" % number in result.stdout.splitlines(), result


@pytest.mark.parametrize("ranks", [2, 4])
def test_what_was_before_is_restored(ranks):
    check("signals.py", ranks, "restored")
