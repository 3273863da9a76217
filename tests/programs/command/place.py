"""Prints where it is, as it sees it itself and as its function does on a worker.

Runs under Python alone, too, with a plain map: the same is printed.
"""

import inspect
import os
import sys

from ezmpi import choose_pool


def shown(path):
    if not path or path[0] == "<" or path == os.getcwd():
        return path and path.replace(os.getcwd(), "here")
    return os.path.relpath(os.path.realpath(path), os.path.realpath(ROOT))


def place(_):
    """In a function, since that runs on a worker."""
    try:
        from . import beside

        found = beside.WORD
    except ImportError as error:
        found = str(error)
    return {
        "relative import": found,
        "package": __package__,
        "name": __name__,
        "doc": __doc__ and __doc__.splitlines()[0],
        "file": shown(globals().get("__file__")),
        "arguments": sys.argv[1:],
        "source": source(place),
    }


def source(function):
    try:
        return inspect.getsource(function).splitlines()[1].strip()
    except OSError as error:
        return str(error)


class Child:
    """Whose source inspect finds by the module."""


def spec_name():
    return __spec__ and __spec__.name


ROOT = os.environ["PLACE_ROOT"]
is_mpi = os.environ.get("PLACE_MPI") == "1"
mine = place(0)
for name, value in mine.items():
    print(name, "=", value)
print("argv[0] =", sys.argv[0] if sys.argv[0][0] == "-" else shown(sys.argv[0]))
print("path[0] =", shown(sys.path[0]), repr(sys.path[0][:1]))
print("spec =", spec_name())
print("loader =", type(__loader__).__name__)
print("main =", sys.modules["__main__"].place is place)
print("names =", sorted(set(globals()) - {"__annotations__"}))
if "PLACE_INPUT" in os.environ:
    print("input =", sys.stdin.read())
with choose_pool(mpi=is_mpi) as pool:
    assert pool.map(place, range(2)) == [mine, mine]
    if __doc__ and os.path.exists(globals().get("__file__", "")[:-1] + "y"):
        assert pool.map(inspect.getsource, [Child]) == [inspect.getsource(Child)]
