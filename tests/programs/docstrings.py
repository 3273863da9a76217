"""The examples in the docstrings, each docstring's with a pool of its own."""

import doctest

import ezmpi
import ezmpi._future
import ezmpi._shared
import ezmpi._status
import ezmpi.futures

# All ranks come to this one; the workers serve from here on.
pool = ezmpi.MPIPool()
pool.close()
for name in ezmpi.__all__:
    globals()[name] = getattr(ezmpi, name)

MODULES = (ezmpi.pool, ezmpi.errors, ezmpi.futures, ezmpi._future, ezmpi._shared)
MODULES += (ezmpi._status,)


def examples():
    finder = doctest.DocTestFinder()
    for module in MODULES:
        for test in finder.find(module, module.__name__):
            if test.examples:
                yield test


runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
for test in examples():
    print("case:", test.name, flush=True)
    test.globs = globals()  # functions in the examples are the script's own
    make = ezmpi.Pool if ".Pool." in test.name else ezmpi.MPIPool
    with make() as pool, ezmpi.futures.MPIPoolExecutor() as executor:
        failed, _ = runner.run(test, clear_globs=False)
    assert failed == 0, test.name
print("ok")
