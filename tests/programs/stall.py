"""stall.py HOW: tasks that end when there is a file "gate", for EZMPI_STALL.

HOW: map; async, in which no thread waits in ezmpi; call; iterator, of which nothing is
taken; short, with tasks that are over soon.
"""

import os
import sys
import time

from cases import check_works

from ezmpi import MPIPool


def task(number):
    deadline = time.monotonic() + 120
    while not os.path.exists("gate") and time.monotonic() < deadline:
        time.sleep(0.01)
    return number


def wait_outside():
    task(0)


how = sys.argv[1]
with MPIPool() as pool:
    numbers = list(range(pool.size))
    if how == "map":
        assert pool.map(task, numbers) == numbers
    elif how == "async":
        result = pool.map_async(task, numbers, chunksize=1)
        wait_outside()
        assert result.get() == numbers
    elif how == "call":
        futures = [pool.submit(task, number) for number in numbers]
        wait_outside()
        assert [future.result() for future in futures] == numbers
    elif how == "iterator":
        results = pool.imap(task, numbers, chunksize=1)
        wait_outside()
        assert list(results) == numbers
    else:
        for _ in range(20):
            assert pool.map(time.sleep, [0.02] * 20) == [None] * 20
    check_works(pool)
print("ok")
