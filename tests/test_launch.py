"""The harness itself: what a job that does not end leaves in the report, and alive."""

import os
import signal

import pytest
from launch import launch, start


def test_a_hanging_job_fails_with_every_stack_and_is_ended():
    with start("hang.py", 2) as job:
        job.wait_for("waiting")
        with pytest.raises(pytest.fail.Exception) as caught:
            job.finish(timeout=0.5)
        text = str(caught.value)
        assert "did not end in 0.5 s" in text
        assert text.count("in where_it_waits") == 2, text
        assert job.running() == []


def test_a_job_that_ends_early_fails_its_waiting_test():
    with start("results.py", 1) as job, pytest.raises(pytest.fail.Exception) as caught:
        job.wait_for("never printed")
    assert "ended before 'never printed'" in str(caught.value)


def test_processes_left_behind_are_named():
    with start("hang.py", 2) as job:
        job.wait_for("waiting\nwaiting")  # both ranks: the second leaves the process
        sleepers = [pid for pid in job.running() if _program(pid) == "sleep"]
        os.kill(job.launcher_pid, signal.SIGKILL)
        assert set(sleepers) & set(job.finish().left)
    assert job.running() == []


def test_ctrl_c_is_heeded_where_the_shell_ignores_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        job = start("hang.py", 2)
    finally:
        signal.signal(signal.SIGINT, before)
    with job:
        job.wait_for("waiting")
        with open("/proc/%d/status" % job.pid(0)) as file:
            ignored = next(line for line in file if line.startswith("SigIgn:"))
    assert not int(ignored.split()[1], 16) & 1 << signal.SIGINT - 1, ignored


def _program(pid):
    with open("/proc/%d/comm" % pid) as file:
        return file.read().strip()


def test_standard_error_is_kept_by_rank(tmp_path):
    program = tmp_path / "complain.py"
    program.write_text(
        "import os, sys\n"
        "names = 'PMI_RANK', 'OMPI_COMM_WORLD_RANK'\n"
        "rank, = [os.environ[n] for n in names if n in os.environ]\n"
        "sys.exit('I am ' + rank)\n"
    )
    result = launch(program, 2)
    assert result.returncode == 1
    assert result.errors == ["I am 0\n", "I am 1\n"]
    assert "--- rank 1\nI am 1\n" in result.stderr
