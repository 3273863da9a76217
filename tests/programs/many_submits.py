"""many_submits.py [N] -- eight threads submit N calls together; all come back right."""

import sys
import threading
from concurrent.futures import wait

from cases import case, check_works, square

from ezmpi import MPIPool

THREADS = 8
TOTAL = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
COUNT = TOTAL // THREADS

results = [None] * THREADS
told = []


def run(pool, thread):
    numbers = range(thread * COUNT, (thread + 1) * COUNT)
    futures = [pool.submit(square, number) for number in numbers]
    if thread % 2:  # some wait for each, some for all
        wait(futures)
    for future in futures[::100]:
        future.add_done_callback(told.append)
    results[thread] = [future.result() for future in futures]


with MPIPool() as pool:
    case("%d calls of %d threads" % (TOTAL, THREADS))
    threads = [threading.Thread(target=run, args=(pool, i)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, result in enumerate(results):
        first = number * COUNT
        assert result == [n * n for n in range(first, first + COUNT)], number
    check_works(pool)
assert len(told) == THREADS * len(range(0, COUNT, 100)), len(told)
print("ok")
