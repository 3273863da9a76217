"""``checkpoint=``: what the file knows, and what it refuses; with pools without MPI.

To the file each `end_run` is the end of a run.
"""

import functools
import importlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading

import pytest

from ezmpi import (
    CheckpointError,
    MultiPool,
    SerialPool,
    _checkpoint,
    _checkpoint_file,
    _fingerprint,
)
from ezmpi._fingerprint import TaskDigest, parts_of

end_run = _checkpoint.close_all


@pytest.fixture
def file(tmp_path):
    yield tmp_path / "run.sqlite"
    end_run()


def mapped(file, function, tasks, **options):
    """The results, and how many tasks were run, of a run with this map alone."""
    ran = []

    @functools.wraps(function)
    def counting(task):
        ran.append(task)
        return function(task)

    call = _checkpoint.Call(
        file, options.pop("checkpoint_key", None), function, False, tasks
    )
    call.worker.function = counting

    def run(function, tasks, arrived):
        for sent, answer in enumerate(SerialPool().imap(function, tasks)):
            arrived(answer, sent)

    try:
        results = call.map(run, None, True)
    finally:
        assert end_run() == []
    return results, len(ran)


# ---- the callable ----------------------------------------------------------------

MODULE = """
import functools
import threading
import {helpers}

SCALE = 3
TABLE = {{"a": 1, "b": [1, 2]}}
NAMES = {{"x", "y", "z"}}
LOCK = threading.Lock()

def helper(x):
    return x + 1

class Base:
    step = 1
    def go(self, x):
        return x

class Model(Base):
    def __init__(self, offset):
        self.offset = offset
        self.lock = threading.Lock()
    def __call__(self, x):
        return self.go(x) + self.offset

def plain(x, extra=2, *, more=(1, 2)):
    def inner(y):
        return y * SCALE if y not in {{"p", "q", "r"}} else TABLE
    with LOCK:
        return inner(x) + helper(x) + len(NAMES) + {helpers}.twice(x)

def make(n):
    def closed(x):
        return x + n
    return closed

closed = make(4)
partial = functools.partial(plain, extra=5)
model = Model(6)
method = Model(7).go
cached = functools.lru_cache(None)(helper)
"""
HELPERS = """
FACTOR = 2
def unused():
    return 1
def twice(x):
    return FACTOR * x
"""
names = ("parts%d" % i for i in range(10**6))


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Makes a module of the text with some of it replaced; it is called the same."""
    monkeypatch.syspath_prepend(str(tmp_path))
    helpers, main = next(names), next(names)

    def make(old="", new=""):
        assert old in MODULE + HELPERS
        for name, text in ((helpers, HELPERS), (main, MODULE.format(helpers=helpers))):
            changed = text.replace(old.replace("{{", "{").replace("}}", "}"), new)
            (tmp_path / (name + ".py")).write_text(changed if old else text)
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.dont_write_bytecode = True
        return importlib.import_module(main)

    return make


@pytest.mark.parametrize(
    "function, old, new, said",
    [
        ("plain", "y * SCALE", "y + SCALE", "the code of plain differs"),
        ("plain", '"r"', '"s"', "the code of plain differs"),
        ("plain", "SCALE = 3", "SCALE = 3.0", "global *.SCALE differs"),
        ("plain", "[1, 2]", "[1, 3]", "global *.TABLE differs"),
        ("plain", '"a": 1, "b": [1, 2]', '"b": [1, 2], "a": 1', "global *.TABLE differs"),
        ("plain", '"z"', '"w"', "global *.NAMES differs"),
        ("plain", "extra=2", "extra=3", "the defaults of plain differs"),
        ("plain", "more=(1, 2)", "more=(1, 3)", "the defaults of plain differs"),
        ("plain", "return x + 1", "return x + 9", "the code of helper differs"),
        ("plain", "FACTOR = 2", "FACTOR = 1", "global *.FACTOR differs"),
        ("plain", "FACTOR * x", "FACTOR - x", "the code of twice differs"),
        ("closed", "make(4)", "make(5)", "variable n of make.<locals>.closed differs"),
        ("partial", "extra=5", "extra=6", "the data it carries differs"),
        ("partial", "y * SCALE", "y + SCALE", "the code of plain differs"),
        ("model", "Model(6)", "Model(8)", "the data it carries differs"),
        ("model", "step = 1", "step = 2", "the class Base differs"),
        ("method", "return x\n", "return -x\n", "the code of Base.go differs"),
        ("method", "Model(7)", "Model(8)", "the data it carries differs"),
        ("cached", "return x + 1", "return x + 9", "the code of helper differs"),
        ("plain", "plain", "other", "it is that of *.plain, and not of *.other"),
    ],
)
def test_what_differs_is_named(load, file, function, old, new, said):
    before = load()
    found = getattr(before, function)
    assert mapped(file, found, [1, 2])[1] == 2
    assert mapped(file, getattr(load(), function), [1, 2])[1] == 0  # the same, again
    after = load(old, new)
    changed = getattr(after, function, None) or after.other
    with pytest.raises(CheckpointError) as caught:
        mapped(file, changed, [1, 2])
    text = str(caught.value).replace(before.__name__, "*")
    text = text.replace(before.__name__[:-1] + str(int(before.__name__[-1]) - 1), "*")
    for part in said.split("*"):
        assert part in text, text
    assert "delete the file" in text
    assert mapped(file, getattr(load(), function), [1, 2])[1] == 0  # it stays


@pytest.mark.parametrize(
    "function, old, new",
    [
        ("plain", "SCALE = 3", "\n\n\nSCALE = 3  # of the plot"),
        ("plain", "    return 1", "    return 2"),  # of what is not used
        ("closed", "SCALE = 3", "SCALE = 4"),
        ("model", "x + 1", "x + 2"),
    ],
)
def test_what_is_not_its_own_may_differ(load, file, function, old, new):
    assert mapped(file, getattr(load(), function), [1, 2])[1] == 2
    assert mapped(file, getattr(load(old, new), function), [1, 2])[1] == 0


def test_the_same_under_every_hash_seed(tmp_path):
    program = """
        import dataclasses, enum, functools, sys
        from ezmpi._fingerprint import parts_of, digest_of

        NAMES = {"a", "b", "c", frozenset({"d", "e"})}
        TABLE = {name: {name} for name in map(str, NAMES)} if 0 else {n: 1 for n in "abc"}
        BY_SET = {name: 1 for name in sorted({"p", "q", "r"})}
        class Color(enum.Enum):
            RED = 1
            BLUE = 2
        @dataclasses.dataclass(frozen=True)
        class Point:
            x: int = 1
            tags: frozenset = frozenset({"u", "v", "w"})
            def norm(self):
                return self.a if self.x in {"k", "l", "m"} else self.b
        class Own(set):
            pass
        OWN = Own("abc")
        class Held:
            def __init__(self, name):
                super().__init__()  # the class is in a cell of its own method
                self.name = name
        HELD = {Held(name) for name in "abcd"}
        for one in HELD:
            one.others = {one.name: 1, "all": HELD}
        A = []
        B = [A, 1]
        C = [A, B, next(iter(HELD - {1})).others["all"]]
        A += [B, C]
        def g(x):
            return A if x else B
        def f(x, among=frozenset({"i", "j"})):
            if x in {"one", "two", "three"}:
                return NAMES, TABLE, BY_SET, Color.RED, OWN, HELD, C, g(A) or B
            return lambda y: y in {"four", "five", ("six", frozenset({"seven", "eight"}))}
        for function in (f, Point(), Point().norm, functools.partial(f, {"s", "t"})):
            function = function if callable(function) else function.norm
            print(sorted(parts_of(function).items()))
        print(digest_of(Point()).hex(), digest_of([{"a", "b"}, {"c": {"d"}}]).hex())
    """
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    outputs = set()
    for seed in ("0", "1", "2", "3"):
        env = dict(os.environ, PYTHONHASHSEED=seed)
        done = subprocess.run(
            [sys.executable, str(path)], env=env, stdout=subprocess.PIPE, timeout=60
        )
        assert done.returncode == 0
        outputs.add(done.stdout)
    assert len(outputs) == 1 and b"the code of f" in outputs.pop()


def test_data_of_all_kinds():
    """Digests differ where the data does."""
    values = [
        *(1, 1.0, True, "1", b"1", None, (1,), [1], {1}, frozenset({1}), {1: 2}, {1: 3}),
        *(0.0, -0.0, 1j, bytearray(b"1"), range(3), range(4), slice(1), Ellipsis),
        *([1, 2], [2, 1], [[1], 2], [1, [2]], list(range(200)), list(range(201))),
        *(["a"] * 200, ["a"] * 199 + ["b"], {"a": 1, "b": 2}, {"a": 2, "b": 1}),
        *(abs, len, int, str, os, os.path.join, "x".join, [].append, KeyError(1)),
    ]
    digests = [_checkpoint.digest_of(value) for value in values]
    for i, digest in enumerate(digests):
        assert digests.count(digest) == 1, values[i]


class Held:
    """Of a set, which holds it in an order that no two runs share."""

    def __init__(self, name):
        self.name, self.others = name, set()


def ring(names):
    held = [Held(name) for name in names]
    for one, other in zip(held, [*held[1:], held[0]]):
        one.others |= {other, held[0]}
    return held


def test_data_that_holds_itself():
    digest = _checkpoint.digest_of
    loop = [1]
    loop.append(loop)
    other = [2]
    other.append(other)
    twice = [1, [1]]
    twice[1].append(twice)
    assert digest(loop) == digest(loop) != digest(other)
    assert len({digest(held) for held in (loop, other, [1, []], [1], [loop])}) == 5
    one, two, long = ring("abcdef"), ring("abcdef"), ring("abcdex")
    assert list(map(digest, one)) == list(map(digest, two))
    assert len(set(map(digest, one))) == 6
    assert all(digest(a) != digest(b) for a, b in zip(one, long))  # also the far ones
    # whatever is come to first
    numbers = digests_of(one), digests_of(two[::-1])[::-1]
    assert numbers[0] == numbers[1] == list(map(digest, one))
    assert digest([ring("abc"), ring("abc")]) == digest([ring("abc")] * 2)
    large = ring(map(str, range(40)))
    assert digest(large) == digest(ring(map(str, range(40))))


def digests_of(objects):
    """All by one digester, which remembers what it has seen."""
    return list(map(_fingerprint._Digester().digest, objects))


def test_arrays():
    numpy = pytest.importorskip("numpy")
    one = numpy.arange(1e6)
    two = one.copy()
    digest = _checkpoint.digest_of
    assert digest(one) == digest(two) != digest(one.reshape(1000, 1000))
    assert digest(one[::2]) == digest(one[::2].copy())
    two[123456] += 1
    assert digest(one) != digest(two) and TaskDigest()(one) != TaskDigest()(two)
    assert TaskDigest()(one) == TaskDigest()(one.copy())
    assert digest(numpy.sin) != digest(numpy.cos)


# ---- the tasks -------------------------------------------------------------------


def test_fewer_and_more_tasks(file):
    assert mapped(file, abs, range(10)) == (list(range(10)), 10)
    assert mapped(file, abs, range(5)) == (list(range(5)), 0)
    assert mapped(file, abs, iter(range(15))) == (list(range(15)), 5)
    assert mapped(file, abs, []) == ([], 0)


def test_other_tasks(file):
    mapped(file, abs, range(30))
    tasks = [*range(17), 99, *range(18, 30)]
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"task 17 is another one.*_key="):
            mapped(file, abs, tasks)
    assert mapped(file, abs, range(30)) == (list(range(30)), 0)
    with pytest.raises(CheckpointError, match="task 0 is another one"):
        mapped(file, abs, [0.0])


def test_a_key(file):
    def key(task):
        return task["name"]

    tasks = [{"name": "a", "when": 1}, {"name": frozenset("xyz"), "when": 1}]
    assert mapped(file, len, tasks, checkpoint_key=key) == ([2, 2], 2)
    later = [dict(task, when=2) for task in tasks]
    assert mapped(file, len, later, checkpoint_key=key) == ([2, 2], 0)
    with pytest.raises(CheckpointError, match="checkpoint_key was given, and is none"):
        mapped(file, len, later)
    with pytest.raises(CheckpointError, match="task 1 is another one"):
        mapped(file, len, [later[0], later[0]], checkpoint_key=key)
    with pytest.raises(KeyError):
        mapped(file, len, [{}], checkpoint_key=key)


def test_tasks_that_are_functions(load, file):
    """They are pickled by their names, and may do something else the next time."""
    function, changed = load().helper, load("return x + 1", "return x + 2").helper
    digest = TaskDigest()(function)
    assert digest == TaskDigest()(load().helper) != TaskDigest()(changed)
    assert TaskDigest()((1, function)) != TaskDigest()((1, changed))
    assert TaskDigest()(lambda x: x) != TaskDigest()(lambda x: x + 1)
    assert TaskDigest()(abs) != TaskDigest()(len)


# ---- several maps ----------------------------------------------------------------


def in_loop(file, run, steps, function=abs):
    with SerialPool() as pool:
        state = [1, 2, 3]
        for _ in range(steps):
            state = [x + 1 for x in pool.map(function, state, checkpoint=file)]
    end_run()
    return state


def test_each_map_has_its_place(file):
    assert in_loop(file, 1, 5) == [6, 7, 8]
    assert in_loop(file, 2, 8) == [9, 10, 11]  # five of them were there
    connection = sqlite3.connect(str(file))
    assert connection.execute("SELECT count(*) FROM maps").fetchone() == (8,)
    connection.close()


def failing_at(number):
    def fail(x):
        if x == number:
            raise KeyError(x)
        return x

    return fail


def test_a_map_that_failed_goes_on_when_it_is_called_again(file):
    ran, failing = [], [3]
    unseen = _Unseen(ran, failing)

    def work(x):
        unseen.lists[0].append(x)
        if x in unseen.lists[1]:
            raise KeyError(x)
        return x

    pool = SerialPool()
    for _ in range(2):
        with pytest.raises(KeyError):
            pool.map(work, range(6), checkpoint=file)
    failing.clear()
    assert pool.map(work, range(6), checkpoint=file) == list(range(6))
    assert ran == [0, 1, 2, 3, 3, 3, 4, 5]
    assert pool.map(work, range(6), checkpoint=file) == list(range(6))
    assert len(ran) == 14  # the next map, which a serial run would do again
    failing.append(3)
    for tasks in (range(6), range(1, 6)):  # who goes on to others after a failure
        with pytest.raises(KeyError):
            pool.map(work, tasks, checkpoint=file)
    assert sorted(pool.imap(work, [1, 2], checkpoint=file)) == [1, 2]


class _Unseen:
    """What is in it does not count among the data of a callable."""

    def __init__(self, *lists):
        self.lists = lists

    def __reduce__(self):
        raise TypeError("not to be pickled")


def test_a_function_may_be_mended_while_it_has_no_results(file):
    with pytest.raises(KeyError):
        mapped(file, failing_at(0), [0, 1])
    assert mapped(file, failing_at(5), [0, 1]) == ([0, 1], 2)
    with pytest.raises(CheckpointError, match=r"the variable number of .* differs"):
        mapped(file, failing_at(6), [0, 1])


def test_the_file_may_be_deleted(file):
    pool = SerialPool()
    assert pool.map(abs, [-1], checkpoint=file) == [1]
    file.unlink()
    assert pool.map(len, ["a"], checkpoint=str(file)) == [1]
    end_run()
    assert mapped(file, len, ["a"]) == ([1], 0)


# ---- the file --------------------------------------------------------------------


def test_no_database(file):
    file.write_bytes(b"x = 1\n" * 1000)
    with pytest.raises(CheckpointError, match="is not a checkpoint of ezmpi"):
        mapped(file, abs, [1])
    assert file.read_bytes() == b"x = 1\n" * 1000


@pytest.mark.parametrize("at", ["_look", "_select", "flush"])
def test_what_fails_leaves_it_to_others(file, monkeypatch, at):
    """Also while the exception is held, and with it what it came through."""

    def fail(*arguments):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint_file.File, at, fail)
        with pytest.raises(MemoryError) as held:
            _checkpoint_file.File(str(file)).close()
    _checkpoint_file.File(str(file)).close()
    assert held.traceback


def test_another_database(file):
    connection = sqlite3.connect(str(file))
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    with pytest.raises(CheckpointError, match="but not a checkpoint of ezmpi"):
        mapped(file, abs, [1])


@pytest.mark.parametrize("version", [1, 3])
def test_another_format(file, version):
    mapped(file, abs, [1])
    connection = sqlite3.connect(str(file))
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    held = file.read_bytes()
    with pytest.raises(CheckpointError, match=f"its format is {version}, this one's 2"):
        mapped(file, abs, [1])
    assert file.read_bytes() == held


def test_rows(file, monkeypatch):
    """Whatever order results come in, and however many are written together."""
    monkeypatch.setattr(_checkpoint_file, "_SECONDS", 60)
    monkeypatch.setattr(_checkpoint_file, "_ROW_BYTES", 300)
    monkeypatch.setattr(_checkpoint_file, "_BLOCK", 3)
    numbers = list(range(200))
    random.Random(1).shuffle(numbers)
    wanted = {n: (b"k" * (1 + n % 48), bytes([n]) * (n % 50)) for n in numbers}
    opened = _checkpoint_file.File(str(file))
    for begin in range(0, 180, 60):
        for n in numbers[begin : begin + 60]:
            opened.put(0, n, *wanted[n])
            opened.put(1, n, b"", b"of another map")
        opened.flush()
    opened.close()
    missing = numbers[180:]
    opened = _checkpoint_file.File(str(file))
    there = {n: wanted[n] for n in sorted(set(numbers) - set(missing))}
    assert list(opened.keys(0)) == [(n, key) for n, (key, _) in there.items()]
    for n, (_, result) in there.items():
        assert opened.row_with(0, n).get(n) == result
    opened.close()


def test_many_results_share_a_row(file):
    mapped(file, abs, range(10000))
    connection = sqlite3.connect(str(file))
    ((rows,),) = connection.execute("SELECT count(*) FROM results")
    connection.close()
    assert rows <= 100, rows


def test_a_directory(tmp_path):
    with pytest.raises(CheckpointError, match="is a directory: give a file"):
        mapped(tmp_path, abs, [1])


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match="is not there: make .*missing first"):
        mapped(tmp_path / "missing" / "file", abs, [1])


def test_a_damaged_file(file):
    assert mapped(file, abs, [-1, -2]) == ([1, 2], 2)
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], content.replace(b"TABLE", b"LABLE")):
        file.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="it is damaged; put a copy in its"):
            mapped(file, abs, [-1, -2])


READ_ONLY = """
import os, sys
from ezmpi._checkpoint_file import File
from ezmpi.errors import CheckpointError
if os.getuid() == 0:  # who may write all
    try:
        os.setgid(65534), os.setuid(65534)
    except OSError:
        sys.exit("skip")
try:
    File(sys.argv[1])
except CheckpointError as error:
    print(error)
"""


def test_a_file_that_cannot_be_written(file):
    """Is known when the map begins, not when the results of its first tasks are there."""
    assert mapped(file, abs, [-1]) == ([1], 1)
    content = file.read_bytes()
    folder = tempfile.mkdtemp(dir="/tmp")  # pytest's own is not for other users
    try:
        other = os.path.join(folder, "run.sqlite")
        shutil.copy(file, other)
        os.chmod(other, 0o444)
        os.chmod(folder, 0o555)
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, other],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            cwd=folder,
        )
        if "skip" in done.stdout:
            pytest.skip("there is but one user here")
        assert "cannot be written to: change what may be done" in done.stdout
        with open(other, "rb") as same:
            assert same.read() == content
    finally:
        os.chmod(folder, 0o755)
        shutil.rmtree(folder)


def test_an_empty_file(file):
    file.touch()
    assert mapped(file, abs, [-1]) == ([1], 1)


def test_results_in_pieces(file, monkeypatch):
    monkeypatch.setattr(_checkpoint_file, "_PIECE", 1000)
    results = [bytes(size) for size in (900, 970, 1000, 2500, 10000)]
    assert mapped(file, bytes, [len(r) for r in results]) == (results, 5)
    assert mapped(file, bytes, [len(r) for r in results]) == (results, 0)


def test_many_results(file, monkeypatch):
    monkeypatch.setattr(_checkpoint_file, "_BYTES_AT_ONCE", 100000)
    monkeypatch.setattr(_checkpoint_file, "_BYTES_AT_MOST", 200000)
    assert mapped(file, bytes, [5000] * 2500) == ([bytes(5000)] * 2500, 2500)
    assert mapped(file, bytes, [5000] * 2500) == ([bytes(5000)] * 2500, 0)


def test_a_result_that_cannot_be_unpickled(load, file, monkeypatch):
    module = load()
    monkeypatch.setattr(sys.modules[__name__], "made", module.Base, raising=False)
    mapped(file, make_one, [3])
    del module.Base
    with pytest.raises(CheckpointError, match="result of task 0, which .* unpickled"):
        mapped(file, make_one, [3])


def make_one(x):
    return sys.modules[__name__].__dict__["made"]()


# ---- pools without MPI -----------------------------------------------------------


def double(x):
    return 2 * x


def subtract(x, y):
    return x - y


@pytest.mark.parametrize("cls", [SerialPool, MultiPool])
def test_pools_without_mpi(cls, file):
    pairs = [(3, 1), (1, 2)]
    for _ in range(2):
        shown, seen = [], []
        with cls(processes=2) as pool:
            for tasks in (range(4), iter(range(4))):
                got = pool.map(double, tasks, seen.append, checkpoint=file)
                assert got == [0, 2, 4, 6]
            assert sorted(seen) == [0, 0, 2, 2, 4, 4, 6, 6]
            assert pool.starmap(subtract, pairs, checkpoint=file) == [2, -1]
            assert list(pool.istarmap(subtract, pairs, checkpoint=file)) == [2, -1]
            unordered = pool.istarmap_unordered(subtract, pairs, checkpoint=file)
            assert sorted(unordered) == [-1, 2]
            results = pool.imap(
                double,
                range(4),
                checkpoint=file,
                progress=lambda *row, shown=shown: shown.append(row),
            )
            assert [results.next(60), *results] == [0, 2, 4, 6]
            assert shown[-1] == (4, 4, 0)
            unordered = pool.imap_unordered(double, range(4), checkpoint=file)
            assert sorted(unordered) == [0, 2, 4, 6]
        end_run()
    connection = sqlite3.connect(str(file))
    assert connection.execute("SELECT count(*) FROM maps").fetchone() == (7,)
    connection.close()


METHODS = [
    "map",
    "starmap",
    "imap",
    "istarmap",
    "imap_unordered",
    "istarmap_unordered",
]


class Logging:
    """Fails for odd tasks: the first times, or until it is mended."""

    def __init__(self, directory, failures):
        self.directory = str(directory)
        self.failures = failures

    def __call__(self, task):
        with open(f"{self.directory}/{task}", "a") as log:
            log.write(".")
            attempts = log.tell()
        is_mended = os.path.exists(f"{self.directory}/mended")
        if task % 2 and attempts <= self.failures and not is_mended:
            raise OSError(f"task {task} fails")
        return 10 * task

    def attempts(self, tasks):
        """How often each has been run."""
        return [os.path.getsize(f"{self.directory}/{task}") for task in tasks]


def all_of(pool, method, function, tasks, **options):
    tasks = [(task,) for task in tasks] if "star" in method else tasks
    results = list(getattr(pool, method)(function, tasks, **options))
    return sorted(results, key=number_in) if "unordered" in method else results


def number_in(result):
    return 10 * int(str(result).split()[1]) if is_failure(result) else result


def is_failure(result):
    return isinstance(result, OSError)


@pytest.mark.parametrize("cls", [SerialPool, MultiPool])
@pytest.mark.parametrize("method", METHODS)
def test_retries(cls, method, file, tmp_path):
    flaky = Logging(tmp_path, 2)
    for _ in range(2):  # the second finds all there
        with cls(processes=2) as pool:
            how = {"retries": 2, "retry_on": OSError, "checkpoint": file}
            got = all_of(pool, method, flaky, range(6), **how)
        assert got == [0, 10, 20, 30, 40, 50]
        assert flaky.attempts(range(6)) == [1, 3, 1, 3, 1, 3]
        end_run()


@pytest.mark.parametrize("cls", [SerialPool, MultiPool])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("retries", [0, 1])
def test_failures_among_the_results_are_not_kept(cls, method, retries, file, tmp_path):
    broken = Logging(tmp_path, 100)
    options = {"on_error": "return", "retries": retries, "retry_on": OSError}
    each = 1 + retries
    with cls(processes=2) as pool:
        for run in (1, 2):  # the second gives the pool the odd ones, as its 0, 1, 2
            got = all_of(pool, method, broken, range(6), checkpoint=file, **options)
            assert [number_in(result) for result in got] == [0, 10, 20, 30, 40, 50]
            assert [is_failure(result) for result in got] == [False, True] * 3
            if cls is MultiPool:
                assert all(f"task {n}, rank" in told(got[n]) for n in (1, 3, 5)), got
            assert broken.attempts(range(6)) == [1, each * run] * 3
            end_run()
        (tmp_path / "mended").touch()
        for _ in range(2):  # the first tries them again, the second finds all there
            got = all_of(pool, method, broken, range(6), checkpoint=file, **options)
            assert got == [0, 10, 20, 30, 40, 50]
            assert broken.attempts(range(6)) == [1, 2 * each + 1] * 3
            end_run()


def told(error):
    return "\n".join([str(error.__cause__), *getattr(error, "__notes__", ())])


@pytest.mark.parametrize("cls", [SerialPool, MultiPool])
def test_failures_among_the_results_count_as_results(cls, file, tmp_path):
    """For callback, progress, and the end of the map."""
    broken = Logging(tmp_path, 100)
    with cls(processes=2) as pool:
        for _ in range(2):
            seen, shown = [], []
            how = {"on_error": "return", "checkpoint": file}
            show = functools.partial(lambda shown, *row: shown.append(row), shown)
            broken_map = functools.partial(pool.map, broken, range(4), progress=show)
            assert broken_map(callback=seen.append, return_results=False, **how) is None
            assert sorted(map(number_in, seen)) == [0, 10, 20, 30]
            assert sum(map(is_failure, seen)) == 2
            assert shown[-1] == (4, 4, 0)
            # they are other maps
            assert pool.map(double, range(4), checkpoint=file) == [0, 2, 4, 6]
            results = pool.imap(broken, range(4), **how)
            assert [is_failure(result) for result in results] == [False, True] * 2
            assert pool.map(double, range(4), checkpoint=file) == [0, 2, 4, 6]
            end_run()
        with pytest.raises(ValueError, match="on_error"):
            pool.map(broken, range(4), on_error="ignore", checkpoint=file)
    connection = sqlite3.connect(str(file))
    assert connection.execute("SELECT count(*) FROM maps").fetchone() == (4,)
    connection.close()


def test_a_script_without_mpi(tmp_path):
    """Its results are in the file when it has ended, also by an exception."""
    script = tmp_path / "script.py"
    script.write_text(
        "from ezmpi import SerialPool\n"
        "print(SerialPool().map(print, [1, 2], checkpoint='run.sqlite'))\n"
        "raise KeyError('deliberate')\n"
    )
    for wanted in ("1\n2\n[None, None]\n", "[None, None]\n"):
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=str(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout) == (1, wanted), done
        assert done.stderr.strip().splitlines()[-1] == "KeyError: 'deliberate'", done


UNWRITTEN = """
import resource, signal, sys
import ezmpi._checkpoint_file
from ezmpi import SerialPool

ezmpi._checkpoint_file._SECONDS = 60  # all is written at the end
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with SerialPool() as pool:
    print(pool.map(abs, [-1], checkpoint="run.sqlite"), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
"""


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "sys.stderr = None"])
def test_what_cannot_be_written_at_the_end(tmp_path, ending):
    (tmp_path / "script.py").write_text(UNWRITTEN + ending)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (120, "[1]\n"), done
    if "None" in ending:
        return
    (said,) = done.stderr.splitlines()
    assert said.startswith("ezmpi: cannot write to ") and "run.sqlite: " in said, done
    assert said.endswith("when that is mended, run the script again"), done


@pytest.mark.parametrize("cls", [SerialPool, MultiPool])
@pytest.mark.parametrize("on_error", ["raise", "return"])
def test_keys_of_failed_tasks_go(cls, on_error, file):
    with cls(processes=2) as pool:
        results = pool.imap(failing_at(3), range(6), on_error=on_error, checkpoint=file)
        got = []
        for _ in range(6):
            try:
                got.append(next(results))
            except KeyError as error:
                got.append(error)
        assert [str(one) for one in got] == list("012345")
        assert next(results, None) is None and results._call._keys == {}


def in_thread(function, *args):
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def test_no_lock_is_held_while_tasks_are_drawn(file):
    """Of a map that may go on with one before the first task is looked at."""
    pool = SerialPool()
    with pytest.raises(KeyError):
        pool.map(failing_at(1), [0, 1], checkpoint=file)
    is_asked, may_go_on, got = threading.Event(), threading.Event(), []

    def tasks():
        is_asked.set()
        assert may_go_on.wait(60)
        yield from [0, 1]

    def map_again():
        try:
            pool.map(failing_at(1), tasks(), checkpoint=file)
        except KeyError as error:
            got.append(error)

    again = in_thread(map_again)
    assert is_asked.wait(60)
    other = in_thread(lambda: got.append(pool.map(abs, [-1], checkpoint=file)))
    other.join(60)
    assert got == [[1]]
    may_go_on.set()
    again.join(60)
    assert len(got) == 2 and isinstance(got[1], KeyError)
    assert pool.map(len, ["a"], checkpoint=file) == [1]  # the next one's place is free
    end_run()
    connection = sqlite3.connect(str(file))
    assert connection.execute("SELECT count(*) FROM maps").fetchone() == (4,)
    connection.close()


def test_an_iterator_that_goes_takes_no_lock(file):
    """The garbage collector may run that anywhere, whatever locks are held there."""
    held = [SerialPool().imap(abs, range(3), checkpoint=file)]
    assert next(held[0]) == 0
    opened = held[0]._call._file
    with _checkpoint._lock, opened._database_lock, opened._lock:
        goes = in_thread(held.clear)
        goes.join(60)
        assert not goes.is_alive()
    again = SerialPool().imap(abs, range(3), checkpoint=file)
    assert list(again) == [0, 1, 2] and again._call._place == 0  # it was left


def test_an_iterator_that_gave_all_has_ended(file):
    """Though it was not asked for more: the same again is another map."""
    with SerialPool() as pool:
        for _ in range(2):
            results = pool.imap(abs, range(3), checkpoint=file)
            assert [next(results), next(results)] == [0, 1]
            del results  # left: it is gone on with
        for _ in range(2):
            results = pool.imap(abs, range(3), checkpoint=file)
            assert [next(results), next(results), next(results)] == [0, 1, 2]
            assert next(results, None) is None
    end_run()
    connection = sqlite3.connect(str(file))
    assert connection.execute("SELECT count(*) FROM maps").fetchone() == (2,)
    connection.close()


def test_parts_of_a_builtin_are_few():
    assert list(parts_of(abs)) == ["the callable"]
