"""A script that needs a pool, started in whatever way."""

import ezmpi

print("enabled:", ezmpi.MPIPool.enabled(), flush=True)
with ezmpi.MPIPool() as pool:
    print("mapped:", pool.map(abs, [-1, 2]), flush=True)
