"""A script that needs a pool, started in whatever way; on TRANSPORT, if it is given."""

import sys

from ezmpi import MPIPool, _ezmpi, _mpi

print("enabled:", MPIPool.enabled(), flush=True)
with MPIPool() as pool:
    transport, _, library = _ezmpi.describe_transport(_mpi.start())
    print("mapped:", pool.map(abs, [-1, 2]), "on", transport, library, flush=True)
    assert transport in (sys.argv[1:] or [transport])
