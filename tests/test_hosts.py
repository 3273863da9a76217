"""Two hosts: what becomes of a job when a cable is pulled, a host dies or the launcher's
process there; and that the ranks need nothing of each other but the network.

Any other test runs so with EZMPI_TEST_HOSTS=2, see launch.py; here is a sample. The table
in docs/when-things-go-wrong.md has a row for each of these.
"""

import os
import signal
import time

import pytest
from launch import PATIENCE, check, start
from two_hosts import TwoHosts, why_not

SECONDS = 15  # for the end of a job that cannot go on
LIMIT = 6  # for which the script waits for a result
RETRIES = 5  # of TCP, until it gives up: 13 s; Linux has 15, a quarter of an hour

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


def lose_ssh(job, hosts):
    """As where ServerAliveInterval has ssh find out that a host is silent."""
    for pid in job.running():
        with open("/proc/%d/cmdline" % pid) as file:
            if hosts.ssh in file.read().split("\0")[:2]:
                os.kill(pid, signal.SIGTERM)


def finish(job):
    """The `Result` of a job that must end soon, and not as a success; nor must anything
    of it go on, but that Open MPI's launcher may leave ranks their tasks."""
    result = job.finish()
    assert result.returncode != 0 or lost_its_daemon(result), result
    assert result.seconds < SECONDS * PATIENCE, result
    (job.directory / "gate").touch()
    assert job.left(SECONDS * PATIENCE) == [], result
    return result


@HOW
def test_a_cable_is_out_for_two_seconds(hosts, how):
    with begin(hosts, how, 60) as job:
        hosts[1].pull()
        time.sleep(2)
        hosts[1].plug()
        (job.directory / "gate").touch()
        result = job.finish()
    assert result.returncode == 0 and not any(result.errors), result
    assert result.stdout.endswith("hosts: ['node1', 'node2']\nok\n"), result
    assert result.left == [], result


@HOW
def test_a_cable_is_pulled(mpi, hosts, how):
    """Nobody tells. It is seen which workers are silent, and what ends the job is that
    the script does not wait for ever: then MPICH's launcher ends at once, Open MPI's when
    TCP gives up. With MPICH what is on the other host ends when the cable is back."""
    if mpi == "openmpi":
        for host in hosts:
            host.set("net.ipv4.tcp_retries2", RETRIES)
    with begin(hosts, how, LIMIT, env={"EZMPI_STALL": "1"}) as job:
        hosts[1].pull()
        result = job.finish()
        hosts[1].plug()
        left = job.left(60) if mpi == "mpich" else []
    assert result.returncode != 0 and "ok" not in result.stdout.split(), result
    assert left == [], result
    silent = result.stdout.splitlines()[-1]
    assert silent.startswith("silent: [") and "'node2'" in silent, result
    assert "TimeoutError: no result came in time" in result.errors[0], result
    assert " on node2 has run task" in result.errors[0], result


def test_ssh_finds_out(mpi, hosts):
    """MPICH's launcher does not look whether its ssh has ended."""
    if mpi != "openmpi":
        pytest.skip("only Open MPI's launcher heeds ssh")
    with begin(hosts, "long", 60) as job:
        hosts[1].pull()
        lose_ssh(job, hosts)
        result = job.finish()
    assert result.returncode == 255 and result.seconds < SECONDS * PATIENCE, result


def test_ulfm_survives_a_cable(mpi, hosts):
    """As if the workers there had died. The launcher waits for the host at the end, and
    takes the code of ranks that found the master gone."""
    if mpi != "openmpi":
        pytest.skip("only Open MPI's launcher lets a job survive a rank")
    env = {"OMPI_MCA_mpi_ft_detector": "true"}
    with begin(hosts, "long", 60, options=("--with-ft", "ulfm"), env=env) as job:
        hosts[1].pull()
        wait_until(lambda: job.rank_stderr(0).count("on node2 died") == 2)
        (job.directory / "gate").touch()
        job.wait_for("ok")
        hosts[1].plug()
        result = job.finish()
    assert "hosts: ['node1']" in result.stdout, result
    assert result.seconds < 2 * SECONDS * PATIENCE and result.left == [], result


@HOW
def test_a_host_dies(hosts, how):
    with begin(hosts, how, 60) as job:
        hosts[1].kill()
        result = finish(job)
    assert "ok" not in result.stdout.split(), result


@HOW
def test_the_launchers_process_on_a_host_dies(mpi, hosts, how):
    """MPICH's launcher learns of it when the job ends; the results had come."""
    with begin(hosts, how, 60) as job:
        for pid in proxies(job, hosts[1]):
            os.kill(pid, signal.SIGKILL)
        if mpi == "mpich":
            time.sleep(0.5)
            (job.directory / "gate").touch()
        result = finish(job)
    assert ("ok" in result.stdout.split()) == (mpi == "mpich"), result


@HOW
def test_ulfm_survives_no_host(mpi, hosts, how):
    """The master does, but its launcher says that it cannot, and ends the job."""
    if mpi != "openmpi":
        pytest.skip("only Open MPI's launcher lets a job survive a rank")
    with begin(hosts, how, 60, options=("--with-ft", "ulfm")) as job:
        hosts[1].kill()
        result = finish(job)
    assert "ok" not in result.stdout.split(), result


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_a_worker_on_another_host_dies(joined, how):
    with start("killed.py", 2, how, across=joined) as job:
        result = finish(job)
    assert "mapping" in result.stdout and "finished" not in result.stdout, result


@pytest.mark.parametrize("program", ["results", "failures", "status"])
def test_as_on_one_host(joined, program):
    check(program + ".py", 3, across=joined)
