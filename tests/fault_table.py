"""The table of docs/when-things-go-wrong.md: every fault, as a job of three ranks.

    python tests/fault_table.py [--write] [--runs N] [MPIEXEC...]

prints it: what is seen under each launcher given, with the Python beside it, or else
under this environment's, and without one.  With --write the page gets what was seen, and
keeps its lines on launchers that were not there.  A line of the table is a fault, what is
set, what happened, and the launchers under which it did. Where it is a matter of chance,
which is said of the fault here, it is run many times.

tests/test_fault_table.py compares the page with what the launcher at hand does.
"""

import argparse
import functools
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import launch
from launch import PATIENCE

PAGE = launch.HERE.parent / "docs" / "when-things-go-wrong.md"
BEGIN = "<!-- tests/fault_table.py prints from here -->\n"
END = "<!-- to here -->\n"
OR = ", **or** "  # between what happens by chance
PROGRAM = "goes_wrong.py"
RANKS = 3
TASKS = 12  # in that program
JOBS = 3  # at once: they mostly wait
LAUNCHERS = {
    "mpich": "MPICH",
    "intelmpi": "Intel MPI",
    "openmpi": "Open MPI",
    "ulfm": "Open MPI `--with-ft ulfm`",
    "local": "none",
}

# ---- bringing faults in ----


def wait_for_file(job, name):
    path = job.directory / name
    deadline = time.monotonic() + 30 * PATIENCE
    while not path.exists() and time.monotonic() < deadline and job.is_running():
        time.sleep(0.01)
    return path


def pids_of(job, name="busy"):
    """Of the process that runs the task, and of its parent."""
    path = wait_for_file(job, name)
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def is_gone(pid):
    try:
        return Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


# Each does it to a job when that is ready, and returns when it was: time.time().


def by_task(job, cell):
    """The task does it."""
    return wait_for_file(job, "fault").stat().st_mtime


def kill(job, cell, number=signal.SIGKILL, which=0, name="busy"):
    """The process that runs the task; which=1: its parent."""
    pid = pids_of(job, name)[which]
    now = time.time()
    os.kill(pid, number)
    return now


def kill_rank(job, cell):
    return kill(job, cell, which=1)


def is_idle(pid):
    """It waits for tasks, and ignores Ctrl-C: some moments after its last answer."""
    status = Path("/proc/%d/status" % pid).read_text()
    ignored = int(re.search(r"SigIgn:\s*(\w+)", status).group(1), 16)
    return ignored >> (signal.SIGINT - 1) & 1


def kill_idle(job, cell, number=signal.SIGKILL):
    deadline = time.monotonic() + 10
    while not is_idle(pids_of(job)[0]):
        assert time.monotonic() < deadline, "the worker is not idle"
        time.sleep(0.01)
    now = kill(job, cell, number)
    while number != signal.SIGINT and not is_gone(pids_of(job)[0]):
        time.sleep(0.01)
    (job.directory / "gate").touch()
    return now


def kill_master(job, cell):
    wait_until_busy(job)
    now = time.time()
    job.signal(0, signal.SIGKILL)
    return now


def kill_all(job, cell):
    wait_until_written(job)
    now = time.time()
    job.kill()
    return now


def interrupt_late(job, cell):
    wait_until_written(job)
    return send(job, cell, "launcher", signal.SIGINT)


def kill_worker_late(job, cell):
    wait_until_written(job)
    return kill(job, cell, name=next(job.directory.glob("busy-?")).name)


def send(job, cell, to, number):
    now = time.time()
    try:
        if to == "master":
            job.signal(0, number)
        elif cell.launcher == "local" and number == signal.SIGINT:
            os.killpg(job.launcher_pid, number)  # as a terminal does
        else:
            os.kill(job.launcher_pid, number)
    except ProcessLookupError:  # the first one was enough
        pass
    return now


def signals(to, number, times):
    def bring(job, cell):
        wait_until_busy(job)
        now = send(job, cell, to, number)
        if times == "twice":
            time.sleep(0.3)
            send(job, cell, to, number)
        return now

    return bring


def queue(number):
    """To all ranks, the workers first."""

    def bring(job, cell):
        wait_until_busy(job)
        now = time.time()
        for rank in reversed(range(job.ranks)):
            try:
                job.signal(rank, number)
            except ProcessLookupError:
                pass
        while "hook" in cell.setting and "hook" not in job.stdout() and job.is_running():
            time.sleep(0.01)
        time.sleep(0.5)  # who dies of it does so at once
        (job.directory / "gate").touch()
        return now

    return bring


def wait_until_written(job):
    """Until all workers are in late tasks, and a checkpoint has some of the results."""
    wait_until_busy(job)
    file = job.directory / "run.sqlite"
    deadline = time.monotonic() + 30 * PATIENCE
    while file.exists() and not is_written(file) and time.monotonic() < deadline:
        time.sleep(0.05)


def is_written(file):
    """Whether it has results, of a transaction that is complete: the journal is empty."""
    journal = Path("%s-journal" % file)
    is_there = count_results(file, is_open=True) > 0
    return is_there and not (journal.exists() and journal.stat().st_size)


def wait_until_busy(job):
    """Until each worker has said that it is in a task."""
    deadline = time.monotonic() + 30 * PATIENCE
    while len(list(job.directory.glob("busy-?"))) < RANKS - 1:
        if time.monotonic() > deadline or not job.is_running():
            break
        time.sleep(0.01)


# ---- the faults ----


class Fault(
    namedtuple("Fault", "text name settings bring seconds launchers chance program waits")
):
    """
    Attributes
    ----------
    text : str
        What the page calls it.
    name : str
        What tests/programs/goes_wrong.py does.
    settings : list of str
        What is set; one job for each.
    bring : callable
        What the test does.
    seconds : float
        In which the job has ended, or goes on.
    launchers : str
        Under which it is tried.
    chance : str
        Why it does not always end in the same way, and where; "" otherwise.
    program : tuple
        Another program, and its arguments.
    waits : bool
        Whether a job that goes on after `seconds` is said to wait for ever.
    """

    def __new__(
        cls,
        text,
        name,
        settings=("",),
        bring=by_task,
        seconds=5,
        launchers="mpich intelmpi openmpi local",
        chance="",
        program=(),
        waits=False,
    ):
        values = (
            text,
            name,
            tuple(settings),
            bring,
            seconds,
            launchers,
            chance,
            program,
            waits,
        )
        return super().__new__(cls, *values)


ALL = "mpich intelmpi openmpi ulfm local"
MPIS = "mpich intelmpi openmpi"
RETURN = 'on_error="return"'
ISOLATE = "isolate=True"
AGAIN = "isolate=True, retries=1"
FILE = 'checkpoint="run.sqlite"'
LIMIT = "isolate=True, task_timeout=1"
ISOLATED = [ISOLATE, AGAIN]
DEATHS = ["", *ISOLATED]

GROUPS = {
    "A task fails": [
        Fault(
            "raises an exception",
            "raises",
            ["", RETURN, "retries=1, retry_on=ValueError"],
        ),
        Fault(
            "raises an exception that cannot be pickled",
            "raises_unpicklable",
            ["", "retries=1, retry_on=Unpicklable"],
        ),
        Fault("returns what cannot be pickled", "returns_unpicklable"),
        Fault("calls `sys.exit(3)`", "exits", ["", RETURN]),
        Fault("meets a limit on its memory (`ulimit -v`)", "out_of_memory", ["", RETURN]),
    ],
    "A task ends its process": [
        Fault("has a segmentation fault", "segfaults", DEATHS, launchers=ALL),
        Fault(
            "has one each time it is run", "segfaults_each_time", [AGAIN], launchers=ALL
        ),
        Fault("has one each time it is run", "segfaults_each_time", launchers="ulfm"),
        Fault(
            "calls `os._exit(0)`",
            "leaves_0",
            launchers="mpich intelmpi",
            chance="MPICH's launcher may see the end of another rank first",
        ),
        Fault("calls `os._exit(0)`", "leaves_0", launchers="openmpi ulfm local"),
        Fault("calls `os._exit(0)`", "leaves_0", ISOLATED, launchers=ALL),
        Fault("calls `os._exit(1)`", "leaves_1"),
        Fault("calls `os._exit(1)`", "leaves_1", seconds=15, launchers="ulfm"),
        Fault(
            "calls `os._exit(1)`",
            "leaves_1",
            ["EZMPI_SHARED_MEMORY=0"],
            seconds=5,
            launchers="ulfm",
            waits=True,
        ),
        Fault("calls `os._exit(1)`", "leaves_1", ISOLATED, launchers=ALL),
        Fault(
            "its process is killed, as by the kernel for lack of memory",
            "killed",
            DEATHS,
            kill,
            launchers=ALL,
        ),
        Fault(
            "the process is killed while it has no task",
            "idle",
            ["", ISOLATE],
            kill_idle,
            launchers=ALL,
        ),
        Fault(
            "the rank is killed that has MPI, and not its child that runs the task",
            "rank_killed",
            [AGAIN],
            kill_rank,
            launchers=ALL,
        ),
    ],
    "A task does not end": [
        Fault(
            "sleeps, or takes too long",
            "hangs",
            ["", "EZMPI_STALL=1"],
            seconds=4,
            waits=True,
        ),
        Fault(
            "hangs in C code, and holds the GIL",
            "hangs_in_c",
            ["", "EZMPI_STALL=1"],
            seconds=4,
            waits=True,
        ),
        Fault("sleeps, or takes too long", "hangs", [LIMIT, LIMIT + ", retries=1"]),
        Fault("hangs in C code, and holds the GIL", "hangs_in_c", [LIMIT]),
    ],
    "The master": [
        Fault("is killed", "master_killed", ["", ISOLATE], kill_master, launchers=ALL),
        Fault("raises outside of the pool's calls", "master_raises", launchers=ALL),
        Fault(
            "the same, while workers run tasks that take ten minutes",
            "master_raises_while_busy",
            seconds=15,
            launchers=ALL,
        ),
    ],
    "Signals, during a map": [
        *(
            Fault(
                "%s to the %s, %s" % (signal.Signals(number).name, to, times),
                "signals",
                bring=signals(to, number, times),
            )
            for to in ("launcher", "master")
            for number in (signal.SIGINT, signal.SIGTERM)
            for times in ("once", "twice")
        ),
        Fault(
            "SIGUSR1 to all ranks, as a queue sends it",
            "queue",
            ["", "on_signal=hook"],
            queue(signal.SIGUSR1),
            launchers=MPIS,
        ),
        Fault(
            "SIGTERM to all ranks",
            "queue",
            ["", "on_signal=hook"],
            queue(signal.SIGTERM),
            launchers=MPIS,
        ),
        Fault(
            "SIGINT to a worker that runs a task",
            "sigint_worker",
            ["", ISOLATE],
            functools.partial(kill, number=signal.SIGINT),
        ),
        Fault(
            "SIGINT to a worker that is idle",
            "idle",
            ["", ISOLATE],
            functools.partial(kill_idle, number=signal.SIGINT),
        ),
        Fault(
            "SIGTERM to a worker that runs a task",
            "sigterm_worker",
            ["", AGAIN],
            functools.partial(kill, number=signal.SIGTERM),
        ),
        Fault(
            "SIGTERM to a worker that is idle",
            "idle",
            ["", ISOLATE],
            functools.partial(kill_idle, number=signal.SIGTERM),
        ),
    ],
    "The job is lost, and is run a second time": [
        Fault("all its processes are killed", "second_run", ["", FILE], kill_all),
        Fault("Ctrl-C", "second_run", [FILE], interrupt_late),
        Fault("a worker is killed", "second_run", [FILE], kill_worker_late),
        Fault("the disk is full", "no_room", [FILE]),
    ],
    "Ranks that do not fit": [
        *(
            Fault(
                "a worker sends a message that is " + how,
                "sends_a_bad_message",
                ["EZMPI_TEST_MESSAGE=" + how],
                launchers="mpich openmpi",  # they have an mpicc
            )
            for how in ("truncated", "garbled")
        ),
        Fault(
            "a rank runs another version of ezmpi",
            "",
            seconds=15,  # from the job's start
            launchers=MPIS,
            program=("versions.py", "ezmpi", "1"),
        ),
        Fault(
            "a rank runs another Python",
            "",
            seconds=15,  # from the job's start
            launchers=MPIS,
            program=("versions.py", "Python", "1"),
        ),
    ],
}


# ---- seeing what happens ----


class Seen:
    """What a job did.

    Attributes
    ----------
    said : dict
        What the program printed: its words by the first one.
    code : int or None
        The exit code; None: it went on, and was ended by the test.
    is_late : bool
        Whether it took longer than it should.
    errors : str
        Standard error of the master.
    left : list of int
        Processes that were left.
    """

    def __init__(self, fault, job, brought):
        patience = 1 if fault.waits else PATIENCE
        self.code = job.wait(max(brought + fault.seconds * patience - time.time(), 0.1))
        self.is_late = self.code is None and not fault.waits
        if self.is_late:
            self.code = job.wait(60)
        if self.code is None:
            job.kill()
        self.left = job.left()
        lines = [line.split() for line in job.stdout().splitlines() if line]
        self.said = {words[0]: words[1:] for words in lines}
        self.errors = job.rank_stderr(0)
        self.shown = "code %r\n%s\n%s\n%s" % (
            self.code,
            job.stdout(),
            self.errors,
            job.launcher_stderr(),
        )
        self.exception = None if "twice" in fault.text else self._exception()

    def _exception(self):
        """What the script ended with: its type."""
        pattern = r"^(?:\w+\.)*([A-Z]\w+)(?:: .*)?$"
        found = re.findall(pattern, self.errors, re.MULTILINE)
        return found[-1] if "Traceback" in self.errors and found else None


def words(fault, seen):
    """The same as the page says it."""
    parts = [
        part for part in (of_results(seen), of_rest(seen), of_end(fault, seen)) if part
    ]
    return "; ".join(parts)


def of_results(seen):
    hook = "the hook is called, and " if "hook" in seen.said else ""
    if "complete" in seen.said:
        return hook + "all results come"
    if "partial" in seen.said:
        return (
            "`%s` stands in its place, and all other results come"
            % seen.said["partial"][0]
        )
    if "raised" in seen.said:
        name, *named = seen.said["raised"]
        return "`%s` is raised%s" % (name, ", and names the task" if named else "")
    return hook.replace(", and ", "")


def of_rest(seen):
    parts = []
    if "goes_on" in seen.said:
        less = int(seen.said["mapping"][0]) - int(seen.said["size"][0])
        parts.append("the pool works on" + (" with a worker less" if less else ""))
    if "refuses" in seen.said:
        same = seen.said["refuses"] == seen.said.get("raised", [])[:1]
        what = "it" if same else "`%s`" % seen.said["refuses"][0]
        parts.append("the pool raises %s from then on" % what)
    if "RuntimeWarning" in seen.errors:
        parts.append("a warning names the worker")
    if " has run task" in seen.errors:
        parts.append("a message says which rank has run which task since when")
    if "after rank 0 ended; aborting" in seen.errors:
        parts.append("a message says which ranks were still busy")
    return ", ".join(parts)


def of_end(fault, seen):
    if seen.code is None:
        return "the map waits for it"
    parts = []
    if "over" not in seen.said:
        late = "after more than %d s" if seen.is_late else "within %d s"
        by = "" if seen.exception is None else " with `%s`" % seen.exception
        parts.append("the job ends %s%s" % (late % fault.seconds, by))
    if "raised" not in seen.said or seen.code != 0:  # 0: the program caught it
        parts.append("exit code " + code_of(seen))
    if seen.left:
        parts.append("processes are left")
    return ", ".join(parts)


def code_of(seen):
    """What it is where the script made it; else, what who asks needs to know."""
    code = 128 - seen.code if seen.code < 0 else seen.code  # as a shell says it
    is_own = "over" in seen.said or seen.exception or "hook" in seen.said
    return str(code) if is_own or code == 0 else "not 0"


def second_words(fault, first, second, ran, kept):
    text = words(fault, first)
    if "complete" not in second.said or second.code != 0 or ran != TASKS - kept:
        return text + "; the second run fails"
    what = "only tasks whose results are not in the file" if kept else "all tasks again"
    return text + "; the second run gives all results, and runs " + what


# ---- running ----


def options_of(launcher, setting, mpiexec):
    """mpiexec's options, the changes of the environment, and the program's settings."""
    parts = [part for part in setting.split(", ") if part]
    env = dict(part.split("=") for part in parts if part.startswith("EZMPI_"))
    rest = [part for part in parts if not part.startswith("EZMPI_")]
    if "EZMPI_TEST_MESSAGE" in env:
        env.update(LD_PRELOAD=bad_sender(mpiexec), EZMPI_SHARED_MEMORY="0")
    if launcher == "local":
        rest += ['fallback="local"', "processes=%d" % (RANKS - 1)]
    return ("--with-ft", "ulfm") if launcher == "ulfm" else (), env, ", ".join(rest)


def start(cell, mpiexec, directory=None):
    options, env, text = options_of(cell.launcher, cell.setting, mpiexec)
    program = cell.fault.program or (PROGRAM, cell.fault.name, text)
    if cell.launcher == "local":
        return launch.start_alone(*program, env=env, directory=directory)
    more = {"options": options, "env": env, "directory": directory}
    more.update(launcher=mpiexec, interpreter=python_of(mpiexec))
    return launch.start(program[0], RANKS, *program[1:], **more)


def python_of(mpiexec):
    """The Python beside the launcher, for it has what fits; else this one."""
    beside = Path(mpiexec).parent / "python"
    return str(beside) if beside.exists() else sys.executable


@functools.lru_cache(maxsize=None)
def bad_sender(mpiexec):
    """The library that makes bad messages, compiled."""
    library = launch._new_directory() / "bad_sender.so"
    command = [Path(mpiexec).parent / "mpicc", "-shared", "-fPIC", "-o", library]
    source = launch.HERE / "c" / "bad_sender.c"
    subprocess.run([*map(str, command), str(source)], check=True)
    return library


def broke_its_launcher(seen):
    """MPICH's launcher 5.0.2 fails itself, with code 0, where the second Ctrl-C comes in
    the moment in which the job ends from the first."""
    return seen.code == 0 and "demux engine error" in seen.shown and not seen.left


def observe(cell, mpiexec):
    """Run it; returns the page's words, and what is to be shown where they are wrong."""
    fault = cell.fault
    with start(cell, mpiexec) as job:
        if fault.program:
            brought = time.time()
        else:
            if not fault.name.startswith("master_raises"):
                job.wait_for("mapping")
            brought = fault.bring(job, cell)
        seen = Seen(fault, job, brought)
    if broke_its_launcher(seen):
        return observe(cell, mpiexec)
    if fault.name in ("second_run", "no_room"):
        return observe_again(cell, mpiexec, job.directory, seen)
    return words(fault, seen), seen.shown


def observe_again(cell, mpiexec, directory, first):
    kept = count_results(directory / "run.sqlite")
    ran = directory / "ran"
    ran.unlink()
    (directory / "second").touch()
    (directory / "stdout").unlink()
    with start(cell, mpiexec, directory) as job:
        second = Seen(cell.fault._replace(seconds=30), job, time.time())
    count = len(ran.read_text().split()) if ran.exists() else 0
    text = second_words(cell.fault, first, second, count, kept)
    return text, first.shown + second.shown


def count_results(file, is_open=False):
    """In a checkpoint; one that a job has open is locked, and may be half written."""
    if not file.exists():
        return 0
    mode = "ro&immutable=1" if is_open else "rw"
    connection = sqlite3.connect("file:%s?mode=%s" % (file, mode), uri=True)
    try:
        query = "SELECT total(count) FROM results WHERE piece = 0"
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.Error:
        return 0
    finally:
        connection.close()


Cell = namedtuple("Cell", "group fault setting launcher")


def cells(launchers):
    """All that are to be filled under these launchers."""
    for group, faults in GROUPS.items():
        for fault in faults:
            for setting in fault.settings:
                for launcher in fault.launchers.split():
                    if launcher in launchers:
                        yield Cell(group, fault, setting, launcher)


def launchers_of(mpiexec):
    mpi = launch.mpi_of(mpiexec)
    return [mpi, "ulfm"] if mpi == "openmpi" else [mpi]


# ---- the page ----


def key_of(cell):
    return cell.group, cell.fault.text, show(cell.setting), LAUNCHERS[cell.launcher]


def show(setting):
    return "nothing" if not setting or "_TEST_" in setting else "`%s`" % setting


def table(seen):
    """seen: the words of each key, several where it is a matter of chance."""
    lines = []
    for group, faults in GROUPS.items():
        found = [
            row
            for text in unique(f.text for f in faults)
            for row in rows(group, text, seen)
        ]
        if found:
            head = (
                "| fault | what is set | launcher | what happens |",
                "|---|---|---|---|",
            )
            lines += ["### " + group, "", *head, *found, ""]
    return "\n".join(lines)


def unique(values):
    return list(dict.fromkeys(values))


def rows(group, text, seen):
    """Of a fault: one for each end, with all launchers under which it ends so."""
    found = {}
    for setting in unique(
        show(setting)
        for fault in GROUPS[group]
        for setting in fault.settings
        if fault.text == text
    ):
        for launcher in LAUNCHERS.values():
            words = OR.join(sorted(seen.get((group, text, setting, launcher), ())))
            if words:
                found.setdefault((setting, words), []).append(launcher)
    for (setting, words), launchers in found.items():
        yield "| %s | %s | %s | %s |" % (text, setting, ", ".join(launchers), words)
        text = ""


def read(page):
    """The table's cells: words by key."""
    seen, group, fault = {}, None, None
    for line in page.split(BEGIN)[1].split(END)[0].splitlines():
        if line.startswith("### "):
            group = line[4:]
        elif line.startswith("| ") and not line.startswith("| fault"):
            name, setting, launchers, text = map(str.strip, line[1:-1].split("|"))
            fault = name or fault
            for launcher in launchers.split(", "):
                seen[group, fault, setting, launcher] = set(text.split(OR))
    return seen


def by_chance():
    """The keys of what need not be seen in any one run of this program."""
    return {key_of(cell) for cell in cells(LAUNCHERS) if cell.fault.chance}


def fill(mpiexecs, runs, only=""):
    """Run all; returns words by key."""
    seen = {}
    with ThreadPoolExecutor(JOBS) as threads:
        futures = []
        wanted = [(None, ["local"])] + [(path, launchers_of(path)) for path in mpiexecs]
        for mpiexec, launchers in wanted:
            for cell in cells(launchers):
                if only not in cell.fault.text + cell.group:
                    continue
                for _ in range(runs if cell.fault.chance else 1):
                    futures.append((cell, threads.submit(observe, cell, mpiexec)))
        for cell, future in futures:
            try:
                seen.setdefault(key_of(cell), set()).add(future.result()[0])
            except BaseException as error:  # as pytest's, and the others are worth much
                print("not seen: %s\n%s" % (key_of(cell), error), file=sys.stderr)
    return seen


def main():
    parser = argparse.ArgumentParser(description="Print the table of faults.")
    parser.add_argument("--write", action="store_true", help="into the page, too")
    parser.add_argument("--runs", type=int, default=25, help="of what is up to chance")
    parser.add_argument("--only", default="", help="faults whose text holds this")
    parser.add_argument("mpiexec", nargs="*", default=[launch.find_mpiexec()])
    options = parser.parse_args()
    seen = fill(options.mpiexec, options.runs, options.only)
    print(table(seen))
    if options.write:
        text = PAGE.read_text()
        merged = read(text)
        for key, words in seen.items():
            known = merged.get(key, set()) if key in by_chance() else set()
            merged[key] = known | words
        before, _, after = text.partition(BEGIN)
        after = after.partition(END)[2]
        PAGE.write_text(before + BEGIN + table(merged) + END + after)


if __name__ == "__main__":
    main()
