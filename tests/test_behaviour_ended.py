"""SIGINT and SIGTERM, to the master or the launcher, once and twice, wherever the script
is: the job ends within 5 s, not as a success, and nothing is left. During a map, see
test_fault_table.py.
"""

import os
import re
import signal
import stat
import time

import pytest
from launch import PATIENCE, start

SIGNALS = [signal.SIGINT, signal.SIGTERM]
TIMES = pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
TO = pytest.mark.parametrize("to", ["master", "launcher"])
NUMBER = pytest.mark.parametrize("number", SIGNALS, ids=["SIGINT", "SIGTERM"])
IN_SHM = re.compile(r"(/dev/shm/.+?)(?: \(deleted\))?$", re.MULTILINE)


def shared_files(job):
    """What the job's processes have mapped of shared memory that has a name."""
    found = set()
    for pid in job.running():
        try:
            with open("/proc/%d/maps" % pid) as maps:
                found |= set(IN_SHM.findall(maps.read()))
        except OSError:
            pass
    return found


def is_left(path):
    """MPICH 5.0.2 leaves a file of its own where a rank does not come to MPI_Finalize,
    also of a C program that calls MPI_Abort. It is taken away here; ezmpi has none."""
    if not os.path.exists(path):
        return False
    is_mpichs = os.path.basename(path).startswith("mpich_shm_")
    if is_mpichs:
        os.remove(path)
    return not is_mpichs


def broke_its_launcher(result):
    """MPICH's launcher 5.0.2 fails itself, with code 0, where the second Ctrl-C comes in
    the moment in which the job ends from the first."""
    return (
        result.returncode == 0
        and "demux engine error" in result.launcher
        and result.left == []
    )


def sockets(directory):
    """Those that lie in the job's directory, which is its TMPDIR, too."""
    paths = [path for path in directory.rglob("*")]
    return [path for path in paths if stat.S_ISSOCK(os.lstat(str(path)).st_mode)]


def wait_until_there(job, where):
    job.wait_for("here")
    workers = range(1, job.ranks) if where not in ("start", "idle") else []
    deadline = time.monotonic() + 30 * PATIENCE
    while not all((job.directory / ("begun-%d" % rank)).exists() for rank in workers):
        assert time.monotonic() < deadline, job.stdout()
        time.sleep(0.02)
    time.sleep(1.0 if where in ("start", "idle") else 0.3)


def send(job, to, number):
    pid = job.launcher_pid if to == "launcher" else job.pid(0)
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # the first one was enough
        pass


@TIMES
@TO
@NUMBER
@pytest.mark.parametrize("where", ["imap", "close", "with", "start"])
@pytest.mark.parametrize("ranks", [3])
def test_the_job_ends(ranks, where, number, to, times):
    with start("ended.py", ranks, where, ranks - 1) as job:
        wait_until_there(job, where)
        shared = shared_files(job)
        sent = time.monotonic()
        send(job, to, number)
        if times == 2:
            time.sleep(0.3)
            send(job, to, number)
        result = job.finish(timeout=60)
        left = [path for path in shared if is_left(path)] + sockets(job.directory)
    if broke_its_launcher(result):
        return
    assert job.started + result.seconds - sent < 5 * PATIENCE, result
    assert result.returncode != 0 and "ok" not in result.stdout.splitlines(), result
    assert result.left == [] and left == [], (left, result)


@pytest.mark.parametrize("ranks", [4])
@pytest.mark.parametrize("where", ["map", "idle"])
def test_sigterm_ends_a_worker_and_so_the_job(where, ranks):
    """As it ends any rank of an MPI program, unless on_signal is given. For SIGINT see
    test_behaviour_interrupt.py."""
    with start("ended.py", ranks, where) as job:
        wait_until_there(job, where)
        shared = shared_files(job)
        sent = time.monotonic()
        job.signal(ranks - 1, signal.SIGTERM)
        result = job.finish(timeout=60)
        left = [path for path in shared if is_left(path)] + sockets(job.directory)
    assert job.started + result.seconds - sent < 5 * PATIENCE, result
    assert result.returncode != 0 and "ok" not in result.stdout.splitlines(), result
    assert result.left == [] and left == [], (left, result)
