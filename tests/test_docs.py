"""The README and the docs: every script in them runs and prints what they say.

A script is a fenced block, python or a diff, with a block behind it that shows how it is
started and what it prints; "..." there stands for anything::

    $ mpiexec -n 4 python script.py
    [0, 1, 4]

A diff is two scripts, and so has two commands, which must print the same: the one marked
"# before" starts what the lines without "+" make, with the pool that the page is about.
"""

import ast
import fnmatch
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from launch import launch

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Other pools are not installed: one of them is also called ezmpi. Each lies in a
# directory of its own, in the directory that EZMPI_TEST_PEERS names.
PEERS = {"schwimmbad.md": "schwimmbad", "ezmpi-0.1.md": "ezmpi-0.1.0"}


class Script(NamedTuple):
    page: Path
    kind: str
    text: str
    command: str
    output: str

    @property
    def is_before(self):
        return self.command.endswith("# before")

    @property
    def source(self):
        if self.kind != "diff":
            return self.text
        kept = " -" if self.is_before else " +"
        lines = self.text.splitlines()
        return "\n".join(line[1:] for line in lines if line[:1] in kept) + "\n"


def blocks(page):
    """Kind and text of each block; behind the last one, an empty one."""
    return [*FENCE.findall(page.read_text()), ("", "")]


def scripts(page):
    found = blocks(page)
    for (kind, text), (_, shown) in zip(found, found[1:]):
        if kind in ("python", "diff"):
            lines = shown.splitlines(keepends=True)
            commands = [line[2:].strip() for line in lines if line.startswith("$ ")]
            output = "".join(line for line in lines if not line.startswith("$ "))
            for command in commands:
                yield Script(page, kind, text, command, output)


SCRIPTS = [
    pytest.param(script, id="%s-%d" % (page.relative_to(ROOT), number))
    for page in PAGES
    for number, script in enumerate(scripts(page))
]


# ---- running ---------------------------------------------------------------------


def imports(source):
    nodes = ast.parse(source).body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def peer_path(script):
    """Where the page's pool lies, for a script that is to run with that, or in part."""
    peer = PEERS.get(script.page.name)
    if peer is None or not (script.is_before or peer in imports(script.source)):
        return None
    path = Path(os.environ.get("EZMPI_TEST_PEERS", "/nowhere"), peer)
    if not path.is_dir():
        pytest.skip("EZMPI_TEST_PEERS does not name a directory with " + peer)
    pytest.importorskip("mpi4py", reason=peer + " needs mpi4py")
    return path


def skip_without_modules(script, path):
    extra = " (extra: gallery)" if script.page.parent.name == "gallery" else ""
    for name in imports(script.source):
        top = name.partition(".")[0]
        if not (path and (path / top).is_dir()) and not importlib.util.find_spec(top):
            pytest.skip(top + " is not installed" + extra)


def run(command, program, env):
    """Start the program as the command says; returns what it printed and said."""
    command = shlex.split(command, comments=True)
    ranks = 0
    if command[0] == "mpiexec":
        ranks = int(command[2])
        del command[:3]
    place = command.index("script.py")
    assert command[0] == "python", command
    options, args = command[1:place], command[place + 1 :]
    if ranks:
        result = launch(program, ranks, *args, env=env, python=options)
        return result.returncode, result.stdout, result.stderr
    done = subprocess.run(
        [sys.executable, *options, str(program), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
        cwd=str(program.parent),
        env=dict(os.environ, **env),
    )
    return done.returncode, done.stdout, done.stderr


def matches(output, expected):
    """Whether the output is what is shown, where "..." stands for anything."""
    pattern = re.sub(r"([*?[])", r"[\1]", expected).replace("...", "*")
    return fnmatch.fnmatchcase(output.rstrip(), pattern.rstrip())


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_prints_what_is_shown(script, tmp_path):
    path = peer_path(script)
    skip_without_modules(script, path)
    program = tmp_path / "script.py"
    program.write_text(script.source)
    env = {"PYTHONPATH": str(path)} if path else {}
    code, output, errors = run(script.command, program, env)
    if script.is_before:
        # MPICH kills some jobs of the other pools at their end, and says so in stdout.
        assert matches(output, script.output.rstrip() + "..."), (output, errors)
    else:
        assert matches(output, script.output), (output, errors)
        assert (code, errors) == (0, "")


# ---- the pages -------------------------------------------------------------------


def is_complete(kind, text):
    if kind == "diff":
        return any(line.startswith(" ") for line in text.splitlines())
    return kind == "python" and "import" in text.split("\n")[0]


def test_every_script_is_followed_by_its_output():
    """A block that begins with an import is meant to be complete; a diff with context."""
    for page in PAGES:
        found = blocks(page)
        for (kind, text), (_, shown) in zip(found, found[1:]):
            if is_complete(kind, text):
                assert shown.startswith("$ "), (page, text)


def test_every_python_block_is_python():
    for page in PAGES:
        for kind, text in blocks(page):
            if kind == "python":
                compile(text, str(page), "exec")


def test_links_lead_to_files():
    for page in PAGES:
        for link in re.findall(r"\]\((?!https:)([^)#]+)[^)]*\)", page.read_text()):
            assert (page.parent / link).exists(), (page, link)


def test_files_that_are_named_exist():
    """`csrc/...`, `ezmpi/...`, `tests/...` in backticks."""
    pattern = r"`((?:csrc|ezmpi|tests|examples|benchmarks|docs|\.ci)/[\w./-]*)`"
    for page in PAGES:
        for name in re.findall(pattern, page.read_text()):
            assert (ROOT / name).exists(), (page, name)


def test_what_was_measured_names_no_directory():
    """Programs that failed may have said where they lay."""
    page = (ROOT / "docs" / "performance.md").read_text()
    text = re.sub(r"https?://\S+", "", page)
    assert re.findall(r"(?<![\w.])/(?:\w[^\s/|]*/)+.*", text) == []


def all_text(directory, pattern):
    """The sources, with string literals that stand one after the other joined."""
    text = "\n".join(path.read_text() for path in directory.rglob(pattern))
    return re.sub(r'"\s*\n\s*f?"', "", text)


def test_messages_that_are_explained_exist():
    """The terms of docs/troubleshooting.md, in quotes; "..." parts what may vary."""
    known = all_text(ROOT / "ezmpi", "*.py") + all_text(ROOT / "csrc", "*.c")
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    messages = re.findall(r'^"(.+)"\n: ', page, re.MULTILINE)
    assert len(messages) >= 5
    for message in messages:
        for part in message.split("..."):
            assert part.strip() in known, part


# ---- these tests -----------------------------------------------------------------


def test_a_wrong_output_is_noticed():
    assert matches("[0, 1]\n", "[0, 1]\n")
    assert matches("a, rank 3 on host.\n[1]\n", "a, rank ... on ....\n[1]\n")
    assert not matches("[0, 1]\n", "[0, 2]\n")
    assert not matches("0\n", "[0]\n")


def test_a_diff_is_two_scripts():
    text = "-old\n+new\n both\n"
    before = Script(ROOT, "diff", text, "python script.py    # before", "")
    assert before.source == "old\nboth\n"
    assert before._replace(command="python script.py").source == "new\nboth\n"
