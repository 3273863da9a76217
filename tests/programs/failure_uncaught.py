"""A task's exception ends the script: with the task's own traceback on the screen."""

from ezmpi import MPIPool


def culprit(x):
    if x == 3:
        raise ValueError("deliberate")
    return x


with MPIPool() as pool:
    pool.map(culprit, range(10))
print("never here")
