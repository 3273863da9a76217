"""What ``progress=`` shows: to a function, in a terminal, in a file, in a notebook."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import launch
import pytest

COLUMNS = 72


@pytest.mark.parametrize("ranks", [2, 4])
def test_function(ranks):
    launch.check("progress.py", ranks)


class Terminal:
    """Runs a command in a terminal of its own; `text` is what it showed."""

    def __init__(self, command, env, timeout=60):
        process, self._terminal = pty.fork()
        if process == 0:
            os.execvpe(command[0], command, env)
        size = struct.pack("HHHH", 24, COLUMNS, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)
        self._deadline = time.monotonic() + timeout * launch.PATIENCE
        self.text = b"".join(iter(self._read, b"")).decode()
        if time.monotonic() > self._deadline:
            os.killpg(process, 9)
            pytest.fail("the job did not end in time; it showed\n" + self.text)
        _, self.status = os.waitpid(process, 0)

    def _read(self):
        left = max(self._deadline - time.monotonic(), 0)
        ready, _, _ = select.select([self._terminal], [], [], left)
        try:
            return os.read(self._terminal, 65536) if ready else b""
        except OSError:  # so it says that nobody has it open
            return b""


@pytest.fixture(scope="module")
def shown():
    pytest.importorskip("tqdm")
    command = launch.launcher_command(launch.mpiexec(), 3)
    program = str(launch.PROGRAMS / "progress_bar.py")
    env = launch.launcher_environment(launch.mpiexec(), {"COLUMNS": None})
    terminal = Terminal([*command, sys.executable, program], env)
    assert terminal.status == 0, terminal.text
    return terminal.text


def test_bar_in_a_terminal(shown):
    """Though the launcher gives rank 0 a pipe."""
    for title in ("sampling: ", "", "in the background: "):
        pattern = (
            "\r" + title + r" *(\d+)%\|[^\r]*\| (\d+)/40 \[[^\r]*task/s, (\d) busy\]"
        )
        steps = [list(map(int, step)) for step in re.findall(pattern, shown)]
        assert len(steps) >= 2, shown
        assert all(abs(percent - 2.5 * done) <= 0.5 for percent, done, _ in steps), steps
        assert any(0 < done < 40 for _, done, _ in steps), steps
        assert any(busy == 2 for _, _, busy in steps), steps
        assert re.search("\r" + title + r"100%\|[^\r]*\| 40/40 \[", shown), shown
    assert "between" in shown, shown


def test_bar_is_as_wide_as_the_terminal(shown):
    widths = [len(line) for line in re.findall("\r([^\r\n]+busy\\])", shown)]
    assert widths and all(COLUMNS - 10 < width <= COLUMNS for width in widths), shown


def test_silent_in_a_file():
    result = launch.launch("progress_bar.py", 3)
    assert result.returncode == 0 and result.stderr == "", result


def test_in_a_file_when_asked():
    pytest.importorskip("tqdm")
    result = launch.launch("progress_bar.py", 3, env={"EZMPI_PROGRESS": "1"})
    assert result.returncode == 0, result
    said = result.errors[0]
    assert "sampling: 100%" in said and "in the background: 100%" in said, result
    assert said.count("\r") <= 12, result  # not ten lines a second
    assert result.errors[1:] == ["", ""], result


def test_in_a_notebook(tmp_path):
    for module in ("ipykernel", "ipywidgets", "nbclient"):
        pytest.importorskip(module)
    command = launch.launcher_command(launch.mpiexec(), 3)
    done = subprocess.run(
        [sys.executable, str(launch.PROGRAMS / "progress_notebook.py"), *command]
        + [sys.executable],
        env=launch.launcher_environment(launch.mpiexec()),
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=120 * launch.PATIENCE,
    )
    assert done.returncode == 0 and done.stdout == "ok\n", done
