"""Runs programs under the environment's own mpiexec, and leaves nothing behind.

``launch(program, ranks)`` runs one to its end; ``start(program, ranks)`` returns the
running `Job`, for tests that send signals.  Where a job does not end in time, the
test fails with each rank's standard error and Python stack.

With EZMPI_TEST_HOSTS=2 the ranks alternate between two hosts (two_hosts.py), the even
ones beside the launcher; then any test says what it sees there.

Every process of a job carries the job's token in its environment, and is found by it
in /proc: launchers put their proxies and ranks into sessions of their own.
"""

import functools
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest
import two_hosts

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
RANK = HERE / "rank.sh"

# Programs that hang are found by what they printed last; and a run under a
# sanitizer takes several times as long.
PATIENCE = float(os.environ.get("EZMPI_TEST_PATIENCE", "1"))
TOKEN = "EZMPI_TEST_JOB"
HOSTS = os.environ.get("EZMPI_TEST_HOSTS", "1") == "2"
# What Open MPI 5.0.11 sometimes says where there are two, and nothing comes of it.
NOISE = re.compile(r"^.*(plm:ssh: Warning: setpgid|\[warn\] Epoll ).*\n", re.MULTILINE)


class Result:
    """How a job ended.

    Attributes
    ----------
    returncode : int
        The launcher's exit code.
    stdout : str
        What the ranks printed.
    stderr : str
        The launcher's standard error and every rank's, labelled; empty if all are.
    launcher : str
        The launcher's standard error alone.
    errors : list of str
        Standard error by rank.
    seconds : float
        How long it took, from start to end of the launcher.
    left : list of int
        Processes of the job that ran on a second after the launcher's end.
    """

    def __init__(self, job, returncode, seconds):
        self.returncode = returncode
        self.seconds = seconds
        self.left = job.left()
        self.stdout = job.stdout()
        self.launcher = job.launcher_stderr()
        self.errors = [job.rank_stderr(rank) for rank in range(job.ranks)]
        parts = [("launcher", self.launcher)]
        parts += [("rank %d" % rank, text) for rank, text in enumerate(self.errors)]
        self.stderr = "".join(
            "--- %s\n%s\n" % (name, text.rstrip()) for name, text in parts if text
        )

    def __repr__(self):
        return "exit code %d after %.1f s\n--- stdout\n%s\n%s" % (
            self.returncode,
            self.seconds,
            self.stdout.rstrip(),
            self.stderr,
        )


class Job:
    """A program that runs; made by `start`, ended where its ``with`` ends."""

    def __init__(self, command, ranks, env, directory, stdin=os.devnull):
        self.ranks = ranks
        self.directory = directory
        self._token = uuid.uuid4().hex
        # Launchers keep files there under names made of their process id. Those of
        # one that was killed stay, and the next launcher that gets its number would
        # fail (Open MPI: "The PMIx server's listener thread failed to start").
        env = dict(env, **{TOKEN: self._token, "TMPDIR": str(directory)})
        self.started = time.monotonic()
        with open(str(directory / "stdout"), "ab") as out:
            with open(str(directory / "stderr"), "wb") as err, open(stdin) as into:
                self._launcher = subprocess.Popen(
                    command,
                    stdin=into,
                    stdout=out,
                    stderr=err,
                    cwd=str(directory),
                    env=env,
                    start_new_session=True,
                    preexec_fn=_heed_ctrl_c,
                )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()

    def _read(self, name):
        path = self.directory / name
        return path.read_text(errors="replace") if path.exists() else ""

    def stdout(self):
        return self._read("stdout")

    def launcher_stderr(self):
        return NOISE.sub("", self._read("stderr"))

    def rank_stderr(self, rank):
        return NOISE.sub("", self._read("rank-%d.stderr" % rank))

    def pid(self, rank):
        """The process id of a rank, or None where it has not begun."""
        text = self._read("rank-%d.pid" % rank)
        return int(text) if text else None

    @property
    def launcher_pid(self):
        return self._launcher.pid

    def signal(self, rank, number):
        os.kill(self.pid(rank), number)

    def wait_for(self, text, timeout=30):
        """Wait until the job has printed the text."""
        deadline = time.monotonic() + timeout * PATIENCE
        while text not in self.stdout():
            if self._launcher.poll() is not None and text not in self.stdout():
                pytest.fail("the job ended before %r: %r" % (text, self.finish()))
            if time.monotonic() > deadline:
                self._fail("the job did not print %r in %g s" % (text, timeout))
            time.sleep(0.005)

    def is_running(self):
        """Whether its launcher is."""
        return self._launcher.poll() is None

    def wait(self, seconds):
        """The launcher's exit code; None if it runs on after so many seconds."""
        try:
            return self._launcher.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def running(self):
        """Process ids of all that belongs to the job and has not ended."""
        wanted = ("%s=%s" % (TOKEN, self._token)).encode()
        return [pid for pid in _processes() if wanted in _environment(pid)]

    def left(self, seconds=1.0):
        """The same, after so long at most: ranks may end after their launcher."""
        deadline = time.monotonic() + seconds * PATIENCE
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.running()

    def finish(self, timeout=60):
        """Wait for the end; returns the `Result`.  `timeout` counts from the start."""
        left = self.started + timeout * PATIENCE - time.monotonic()
        try:
            code = self._launcher.wait(max(left, 0.01))
        except subprocess.TimeoutExpired:
            self._fail("the job did not end in %g s" % timeout)
        return Result(self, code, time.monotonic() - self.started)

    def _fail(self, why):
        self.dump_stacks()
        self.kill()
        result = Result(self, self._launcher.wait(), time.monotonic() - self.started)
        pytest.fail("%s\n%r" % (why, result))

    def dump_stacks(self):
        """Have every rank write its Python stack to its standard error and end."""
        pids = [self.pid(rank) for rank in range(self.ranks)]
        mine = self.running()
        ranks = [pid for pid in pids if pid in mine]
        for pid in mine:
            if pid not in ranks:  # a launcher kills the others when one rank ends
                _kill(pid, signal.SIGSTOP)
        for pid in ranks:
            _kill(pid, signal.SIGABRT)
        deadline = time.monotonic() + 3
        while set(ranks) & set(self.running()) and time.monotonic() < deadline:
            time.sleep(0.02)

    def kill(self):
        """End all that belongs to the job."""
        for _ in range(50):
            pids = self.running()
            if not pids:
                break
            for pid in pids:
                _kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self._launcher.wait()


def _heed_ctrl_c():
    """A shell has what it starts in the background ignore SIGINT, and all below it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _environment(pid):
    """Of a zombie, or another user's process: nothing."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


# --- which MPI ---


def find_mpiexec():
    """The launcher that belongs to this environment: beside its Python, or on PATH."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else shutil.which("mpiexec")


@functools.lru_cache(maxsize=None)
def mpiexec():
    found = find_mpiexec()
    if not found:
        pytest.fail("no mpiexec beside %s or on PATH" % sys.executable)
    return found


@functools.lru_cache(maxsize=None)
def mpi_of(launcher):
    """Whose launcher it is: "mpich", "openmpi" or "intelmpi"."""
    text = subprocess.run(
        [launcher, "--version"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=30,
    ).stdout
    for sign, name in (
        ("Open MPI", "openmpi"),
        ("OpenRTE", "openmpi"),
        ("prterun", "openmpi"),
        ("Intel(R) MPI", "intelmpi"),
        ("HYDRA", "mpich"),
    ):
        if sign in text:
            return name
    pytest.fail("%s is the launcher of no MPI known here:\n%s" % (launcher, text))


def mpi():
    return mpi_of(mpiexec())


def launcher_command(launcher, ranks, options=()):
    command = [launcher, "-n", str(ranks), *options]
    if mpi_of(launcher) == "openmpi":
        command.append("--oversubscribe")
    return command


def launcher_environment(launcher, changes=None):
    """The environment for a job; a change to None takes a variable away. `launcher` may
    be None."""
    # pytest changes that one, while threads of test_fault_table.py start jobs.
    names = [name for name in os.environ if name != "PYTEST_CURRENT_TEST"]
    env = {name: os.environ[name] for name in names}
    for name in names:  # pytest itself may run under a launcher
        if name.startswith(("PMI_", "PMIX_", "OMPI_COMM_", "MPI_LOCAL")):
            del env[name]
    env["PYTHONFAULTHANDLER"] = "1"
    env.pop("PYTHONUNBUFFERED", None)  # it would tear the lines of ranks apart
    if launcher and mpi_of(launcher) == "openmpi" and os.geteuid() == 0:
        env["OMPI_ALLOW_RUN_AS_ROOT"] = "1"
        env["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    for name, value in (changes or {}).items():
        env.pop(name, None)
        if value is not None:
            env[name] = str(value)
    return env


# --- hosts ---


@functools.lru_cache(maxsize=None)
def hosts():
    """The two hosts, made once."""
    import atexit

    reason = two_hosts.why_not()
    if reason:
        pytest.skip(reason)
    made = two_hosts.TwoHosts()
    made.__enter__()
    atexit.register(made.close)
    return made


def across_hosts(own, launcher, ranks, options, env):
    """`launcher_command` with ranks on both of two hosts. Open MPI's launcher leaves out
    there the variables that are not its own."""
    command = launcher_command(launcher, ranks, options)
    if mpi_of(launcher) == "openmpi":
        each = ",".join("%s:%d" % (name, ranks) for name in two_hosts.NAMES)
        command += ["--host", each, "--map-by", "node"]
        command += ["--prtemca", "plm_ssh_agent", own.ssh]
        for name in sorted(env):
            if name.startswith(("EZMPI_", "PYTHON")):
                command += ["-x", name]
    else:
        command += ["-hosts", ",".join(two_hosts.NAMES)]
        command += ["-launcher", "ssh", "-launcher-exec", own.ssh]
    return command


def node(rank):
    """The name of the host on which a rank runs."""
    return two_hosts.NAMES[rank % 2] if HOSTS else platform.node()


# --- running ---


def start(
    program,
    ranks,
    *args,
    options=(),
    env=None,
    launcher=None,
    python=(),
    stdin=os.devnull,
    directory=None,
    interpreter=sys.executable,
    across=None,
):
    """Start ``mpiexec -n ranks python program args``.

    Parameters
    ----------
    program : str or Path
        A name in ``tests/programs``, or a path; None: it is in the other arguments.
    options : sequence of str
        More for mpiexec.
    env : dict
        Changes of the environment; None takes a variable away.
    launcher : str
        Another mpiexec than the environment's.
    python : sequence of str
        Options of Python.
    stdin : str or Path
        A file, which the launcher gives to rank 0.
    directory : Path
        Of an earlier job, which this one goes on with.
    interpreter : str
        Another Python than this one.
    across : two_hosts.TwoHosts
        Hosts of the test's own, whose cables it pulls.
    """
    launcher = launcher or mpiexec()
    directory = directory or _new_directory()
    env = launcher_environment(launcher, env)
    if across or HOSTS:
        across = across or hosts()
        env["EZMPI_TEST_PROC"] = across.proc
        command = across_hosts(across, launcher, ranks, options, env)
    else:
        command = launcher_command(launcher, ranks, options)
    command += [str(RANK), str(directory), interpreter, *python]
    command += [] if program is None else [str(PROGRAMS / program)]
    command += map(str, args)
    if across:
        command = across[0].command(command, directory)
    return Job(command, ranks, env, directory, str(stdin))


def start_alone(program, *args, env=None, directory=None):
    """Start ``python program args``, without a launcher: what it needs is forked."""
    directory = directory or _new_directory()
    command = [str(RANK), str(directory), sys.executable, str(PROGRAMS / program)]
    command += map(str, args)
    return Job(command, 1, launcher_environment(None, env), directory)


def launch(program, ranks, *args, timeout=60, **options):
    """Run a program to its end; returns the `Result`.  For options see `start`."""
    with start(program, ranks, *args, **options) as job:
        return job.finish(timeout)


def check(program, ranks, *args, timeout=60, **options):
    """`launch`, of a program that must say "ok" and nothing on standard error."""
    result = launch(program, ranks, *args, timeout=timeout, **options)
    assert result.returncode == 0, result
    assert "ok" in result.stdout.splitlines(), result
    assert result.stderr == "", result
    assert result.left == [], result
    return result


def _new_directory():
    return Path(tempfile.mkdtemp(prefix="job-", dir=str(_runs())))


@functools.lru_cache(maxsize=None)
def _runs():
    """Where jobs run: outside the source tree, which would shadow the package."""
    import atexit

    directory = tempfile.mkdtemp(prefix="ezmpi-tests-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
