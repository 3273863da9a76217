"""Survey Python's own standard library: which functions are the most complex?

Every module, its tests apart, is one task: parse it, count lines and functions, and
measure for each function its cyclomatic complexity (McCabe, "A complexity measure",
1976: one plus the number of decisions) and how deep its blocks are nested. The same
work is then done serially, to compare the results and the time.

    mpiexec -n 4 python examples/survey_stdlib.py
"""

import ast
import collections
import os
import socket
import sys
import sysconfig
import time
from pathlib import Path
from typing import Iterator, List, NamedTuple, Tuple

from ezmpi import MPIPool

# Python 3.10 brought match, 3.11 except*; before, the names stand for what there was.
MATCH = getattr(ast, "Match", ast.If)
CASE = getattr(ast, "match_case", ast.If)
TRY_STAR = getattr(ast, "TryStar", ast.Try)

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LOOPS = (ast.For, ast.AsyncFor, ast.While)
BLOCKS = LOOPS + (ast.If, ast.Try, TRY_STAR, ast.With, ast.AsyncWith, MATCH)
DECISIONS = LOOPS + (ast.If, ast.IfExp, ast.ExceptHandler, CASE)
NOT_THE_LIBRARY = {"site-packages", "test", "tests"}


class Function(NamedTuple):
    name: str
    line: int
    complexity: int
    depth: int


class Module(NamedTuple):
    name: str
    lines: int
    functions: List[Function]
    worker: str

    @property
    def complexity(self) -> int:
        return sum(function.complexity for function in self.functions)


def parts(node: ast.AST) -> List[ast.AST]:
    """The child nodes, without the functions defined here: those count for themselves."""
    children = ast.iter_child_nodes(node)
    return [child for child in children if not isinstance(child, FUNCTIONS)]


def inside(node: ast.AST) -> Iterator[ast.AST]:
    for part in parts(node):
        yield part
        yield from inside(part)


def decisions(node: ast.AST) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    return int(isinstance(node, DECISIONS))


def is_elif(node: ast.AST, parent: ast.AST) -> bool:
    """To `ast` an elif is an if that stands alone in the else of another one."""
    both = isinstance(node, ast.If) and isinstance(parent, ast.If)
    return both and parent.orelse == [node]


def depth(node: ast.AST) -> int:
    """How many blocks enclose the most deeply nested statement."""
    inner = (depth(part) - is_elif(part, node) for part in parts(node))
    return isinstance(node, BLOCKS) + max(inner, default=0)


def measure(function: ast.AST) -> Function:
    complexity = 1 + sum(decisions(node) for node in inside(function))
    return Function(function.name, function.lineno, complexity, depth(function))


def survey(task: Tuple[str, str]) -> Module:
    """The task: one module, by its path and name."""
    path, name = task
    source = Path(path).read_bytes()
    tree = ast.parse(source)
    functions = [measure(n) for n in ast.walk(tree) if isinstance(n, FUNCTIONS)]
    worker = f"{socket.gethostname()} {os.getpid()}"
    return Module(name, source.count(b"\n"), functions, worker)


def modules() -> List[Tuple[str, str]]:
    """Path and name of every module, the largest first: a long task is not the last."""
    library = Path(sysconfig.get_path("stdlib"))
    names = [path.relative_to(library) for path in library.rglob("*.py")]
    names = [name for name in names if not NOT_THE_LIBRARY & set(name.parts)]
    names.sort(key=lambda name: (-(library / name).stat().st_size, name))
    return [(str(library / name), str(name)) for name in names]


def report(found: List[Module]) -> None:
    lines = sum(module.lines for module in found)
    functions = [(f, module.name) for module in found for f in module.functions]
    print(f"{len(found)} modules, {len(functions)} functions, {lines} lines")
    print("\nThe most complex functions        complexity  depth")
    functions.sort(key=lambda pair: (-pair[0].complexity, pair[1], pair[0].line))
    for function, name in functions[:20]:
        where = f"{name}:{function.line}"
        print(f"  {function.name:32}{function.complexity:10}{function.depth:7}  {where}")
    print("\nThe most complex modules          complexity  lines")
    for module in sorted(found, key=lambda m: (-m.complexity, m.name))[:20]:
        print(f"  {module.name:32}{module.complexity:10}{module.lines:7}")


def without_worker(found: List[Module]) -> List[Module]:
    return [module._replace(worker="") for module in found]


def main(pool: MPIPool) -> None:
    tasks = modules()
    pool.map(len, ["start"] * pool.size)  # the workers are up when the clock starts

    start = time.perf_counter()
    found = pool.map(survey, tasks)
    pooled = time.perf_counter() - start

    start = time.perf_counter()
    expected = [survey(task) for task in tasks]
    serial = time.perf_counter() - start

    report(found)
    shares = collections.Counter(module.worker for module in found)
    print("\nTasks per worker:", *sorted(shares.values()))
    print(f"{pooled:.2f} s with {pool.size} workers, {serial:.2f} s serially: ", end="")
    print(f"{serial / pooled:.2f} times as fast")
    if without_worker(found) != without_worker(expected):
        sys.exit("the pool and the serial run disagree")
    print("The pool and the serial run agree.")


if __name__ == "__main__":
    with MPIPool() as pool:
        main(pool)
