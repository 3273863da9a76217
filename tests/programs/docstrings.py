"""The examples in the docstrings, each docstring's with a pool of its own."""

import doctest

import ezmpi

# All ranks come to this one; the workers serve from here on.
pool = ezmpi.MPIPool()
pool.close()
for name in ezmpi.__all__:
    globals()[name] = getattr(ezmpi, name)


def examples():
    finder = doctest.DocTestFinder()
    for module in (ezmpi.pool, ezmpi.errors):
        for test in finder.find(module, module.__name__):
            if test.examples:
                yield test


runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
for test in examples():
    print("case:", test.name, flush=True)
    test.globs = globals()  # functions in the examples are the script's own
    with ezmpi.MPIPool() as pool:
        failed, _ = runner.run(test, clear_globs=False)
    assert failed == 0, test.name
print("ok")
