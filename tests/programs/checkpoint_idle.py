"""Ten results of imap have come and are not taken; others do not come: `file gate`."""

import os
import sys
import time

from ezmpi import MPIPool

file, gate = sys.argv[1:]


def wait_at_gate(x):
    while x >= 10 and not os.path.exists(gate):
        time.sleep(0.01)
    open(gate + ".%d" % x, "w").close()
    return x


with MPIPool() as pool:
    results = pool.imap(wait_at_gate, range(20), 1, checkpoint=file)
    while not all(os.path.exists(gate + ".%d" % x) for x in range(10)):
        time.sleep(0.01)
    print("10 are done", flush=True)
    time.sleep(600)
