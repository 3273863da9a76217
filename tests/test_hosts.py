"""Two hosts: what becomes of a job when a cable is pulled, a host dies or the launcher's
process there; and that the ranks need nothing of each other but the network.

Any other test runs so with EZMPI_TEST_HOSTS=2, see launch.py; here is a sample. The table
in docs/when-things-go-wrong.md has a row for each of these.
"""

import os
import signal
import time

import pytest
from launch import PATIENCE, check, launch, start
from two_hosts import TwoHosts, why_not

SECONDS = 15  # for the end of a job that cannot go on
LIMIT = 4  # for which the script waits for a result
RETRIES = 3  # of TCP, until it gives up: some seconds; Linux has 15, a quarter of an hour

HOW = pytest.mark.parametrize("how", ["short", "long"])


@pytest.fixture(scope="module")
def joined():
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with TwoHosts() as hosts:
        yield hosts


@pytest.fixture
def hosts():
    """Of the test's own, since it breaks them."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with TwoHosts() as hosts:
        yield hosts


def wait_until(holds):
    deadline = time.monotonic() + 30 * PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begin(hosts, how, limit, **options):
    """A job amid its tasks, on two ranks of each host."""
    job = start("cable.py", 4, how, limit, across=hosts, **options)
    job.wait_for("mapping")
    begun = ["begun-%d" % task for task in range(3 if how == "long" else 0)]
    wait_until(lambda: all((job.directory / name).exists() for name in begun))
    time.sleep(0.5)
    return job


def proxies(job, host):
    """The launcher's own processes on a host."""
    found = []
    for pid in filter(host.runs, job.running()):
        with open("/proc/%d/cmdline" % pid) as file:
            name = os.path.basename(file.read().split("\0")[0])
        if name in ("hydra_pmi_proxy", "prted"):
            found.append(pid)
    return found


def lost_its_daemon(result):
    """Open MPI's launcher 5.0.11 ends the job then, and says so, but with code 0."""
    return "PRTE has lost communication with a remote daemon" in result.launcher


def check_ended(result):
    assert result.returncode != 0 or lost_its_daemon(result), result
    assert result.seconds < SECONDS * PATIENCE and result.left == [], result


@HOW
def test_a_cable_is_out_for_two_seconds(hosts, how):
    with begin(hosts, how, 60) as job:
        hosts[1].pull()
        time.sleep(2)
        hosts[1].plug()
        (job.directory / "gate").touch()
        result = job.finish()
    assert result.returncode == 0 and result.stderr == "", result
    assert result.stdout.endswith("hosts: ['node1', 'node2']\nok\n"), result
    assert result.left == [], result


@HOW
def test_a_cable_is_pulled(hosts, how):
    """Nobody tells: it is seen that a host is silent. What ends the job is that the
    script waits for no longer, and the launcher for no longer than TCP does."""
    for host in hosts:
        host.set("net.ipv4.tcp_retries2", RETRIES)
    with begin(hosts, how, LIMIT * PATIENCE, env={"EZMPI_STALL": "1"}) as job:
        hosts[1].pull()
        result = job.finish()
        left = [pid for pid in result.left if not hosts[1].runs(pid)]
    assert result.returncode != 0 and "ok" not in result.stdout.split(), result
    assert left == [], result
    silent = result.stdout.splitlines()[-1]
    assert silent.startswith("silent: [") and "'node2'" in silent, result
    assert "TimeoutError: no result came in time" in result.errors[0], result
    assert " on node2 has run task" in result.errors[0], result


@HOW
def test_a_host_dies(hosts, how):
    with begin(hosts, how, 60) as job:
        hosts[1].kill()
        check_ended(job.finish())


@HOW
def test_the_launchers_process_on_a_host_dies(mpi, hosts, how):
    """MPICH's launcher learns of it when the job ends; the results had come."""
    with begin(hosts, how, 60) as job:
        for pid in proxies(job, hosts[1]):
            os.kill(pid, signal.SIGKILL)
        if mpi == "mpich":
            time.sleep(0.5)
            (job.directory / "gate").touch()
        result = job.finish()
    check_ended(result)
    assert ("ok" in result.stdout.split()) == (mpi == "mpich"), result


@HOW
def test_ulfm_survives_no_host(mpi, hosts, how):
    """The master does, but its launcher says that it cannot, and ends the job."""
    if mpi != "openmpi":
        pytest.skip("only Open MPI's launcher lets a job survive a rank")
    with begin(hosts, how, 60, options=("--with-ft", "ulfm")) as job:
        hosts[1].kill()
        result = job.finish()
    check_ended(result)
    assert "ok" not in result.stdout.split(), result


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_a_worker_on_another_host_dies(joined, how):
    result = launch("killed.py", 2, how, across=joined)
    check_ended(result)
    assert "mapping" in result.stdout and "finished" not in result.stdout, result


@pytest.mark.parametrize("program", ["results", "failures", "retries", "status"])
def test_as_on_one_host(joined, program):
    check(program + ".py", 3, across=joined)
