"""Ends as its argument says; with nothing that tells of ezmpi, so that it is the same
under Python alone."""

import functools
import os
import sys
import threading


def chain():
    try:
        {}["deliberate"]
    except KeyError as error:
        raise ValueError("second") from error


def recurse(depth):
    return recurse(depth + 1)


def in_thread():
    thread = threading.Thread(target=chain, name="mine")
    thread.start()
    thread.join()


def hooked(broken):
    def hook(kind, error, traceback):
        print("hook:", kind.__name__, error, traceback.tb_lineno, file=sys.stderr)
        if broken:
            raise OSError("in the hook")

    sys.excepthook = hook
    chain()


def at_import(text):
    with open("module_of_endings.py", "w") as file:
        file.write(text)
    sys.dont_write_bytecode = True
    sys.path.insert(0, os.getcwd())
    import module_of_endings  # noqa: F401


class OddExit(SystemExit):
    def __str__(self):
        return "an odd exit"


def throw(error):
    raise error


ENDINGS = {
    "end": lambda: None,
    "chain": chain,
    "thread": in_thread,
    "hook": functools.partial(hooked, False),
    "broken_hook": functools.partial(hooked, True),
    "import": functools.partial(at_import, "x = 1\nx.y\n"),
    "import_syntax": functools.partial(at_import, "x = = 1\n"),
    "interrupt": lambda: throw(KeyboardInterrupt()),
    "exit_none": sys.exit,
    "exit_0": lambda: sys.exit(0),
    "exit_3": lambda: sys.exit(3),
    "exit_minus": lambda: sys.exit(-1),
    "exit_true": lambda: sys.exit(True),
    "exit_text": lambda: sys.exit("last words"),
    "exit_odd": lambda: throw(OddExit([1, 2])),
}

print("begin", sys.argv[1:])
ENDINGS[sys.argv[1]]()
print("end")
