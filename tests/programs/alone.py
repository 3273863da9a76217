"""A script that needs a pool, started in whatever way."""

import sys

import ezmpi

print("enabled:", ezmpi.MPIPool.enabled(), flush=True)
if "import" in sys.argv:  # no MPI is loaded by import alone
    assert not any("libmpi" in line for line in open("/proc/self/maps"))
    sys.exit()
with ezmpi.MPIPool() as pool:
    print("mapped:", pool.map(abs, [-1, 2]), flush=True)
