"""``checkpoint=``: what a second run of a script finds in the file of the first."""

import os
import random
import sqlite3
import time

import launch
import pytest


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_second_run_runs_nothing(tmp_path, ranks):
    for run in (1, 2, 3) if ranks == 2 else (1, 2):
        seed = {"PYTHONHASHSEED": str(run)}
        launch.check("checkpoint.py", ranks, tmp_path, run, env=seed)


def committed(file):
    """What is in the file, by map and task."""
    if not file.exists() or file.stat().st_size == 0:
        return set()
    connection = sqlite3.connect(str(file))
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return set()
        rows = connection.execute("SELECT place, first, count FROM results").fetchall()
        numbers = [(place, first + i) for place, first, n in rows for i in range(n)]
        assert len(set(numbers)) == len(numbers)  # each is written once
        return set(numbers)
    finally:
        connection.close()


def logged(log):
    if not log.exists():
        return set()
    lines = log.read_text().splitlines(keepends=True)
    log.unlink()
    return {tuple(map(int, line.split())) for line in lines if line.endswith("\n")}


@pytest.mark.parametrize("ranks", [2, 4])
def test_killed_at_any_instant(tmp_path, ranks):
    """What is in the file is right, and is not run again."""
    file, log = tmp_path / "run.sqlite", tmp_path / "log"
    seed = os.environ.get("EZMPI_TEST_SEED", str(random.randrange(10**6)))
    instants = random.Random(seed)
    kills, done, result = 0, set(), None
    while result is None:
        with launch.start("checkpoint_killed.py", ranks, file, log, seed) as job:
            job.wait_for("begins")
            end = time.monotonic() + instants.random() * (0.5 + kills / 10)
            while time.monotonic() < end and job._launcher.poll() is None:
                time.sleep(0.001)
            if job._launcher.poll() is None:
                job.kill()
                kills += 1
            else:
                result = job.finish()
        again = logged(log) & done
        assert not again, (seed, kills, sorted(again)[:10])
        before, done = done, committed(file)
        assert before <= done, (seed, kills)
    assert result.returncode == 0 and "ok" in result.stdout.split(), (seed, result)
    assert kills > 2 and len(done) == 600, (seed, kills)


def test_one_job_at_a_time(tmp_path):
    with launch.start("checkpoint_held.py", 2, tmp_path / "run.sqlite", "hold") as job:
        job.wait_for("held")
        launch.check("checkpoint_held.py", 2, tmp_path / "run.sqlite", "refused")
        job.kill()
    launch.check("checkpoint_held.py", 2, tmp_path / "run.sqlite", "free")


def test_results_are_written_while_nobody_takes_them(tmp_path):
    """Also those of imap, and where no other result comes."""
    file = tmp_path / "run.sqlite"
    with launch.start("checkpoint_idle.py", 3, file, tmp_path / "gate") as job:
        job.wait_for("10 are done")
        time.sleep(3)  # a second, by the documentation
        job.kill()
    assert len(committed(file)) == 10


def test_what_cannot_be_written_at_the_end():
    """The job ends as ever, but says so, and not with exit code 0."""
    result = launch.launch("checkpoint_unwritten.py", 2)
    assert result.returncode == 120 and result.left == [], result
    (said,) = result.errors[0].splitlines()
    assert said.startswith("ezmpi: cannot write to "), result
    assert said.endswith("run the script again") and result.errors[1] == "", result


def test_no_room(tmp_path):
    """What was written before stays; the error says what to do."""
    launch.check("checkpoint_full.py", 3, tmp_path / "run.sqlite")
