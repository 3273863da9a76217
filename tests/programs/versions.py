"""A rank that runs another ezmpi, or another Python, than rank 0.

    versions.py WHAT [RANK]

WHAT is "ezmpi", "Python" or "caught": so that rank says; or "none".
"""

import sys

from cases import launchers_rank

import ezmpi

what = sys.argv[1]
if what != "none" and launchers_rank() == int(sys.argv[2]):
    if what == "Python":
        sys.version_info = (3, 7, 1)
    else:
        ezmpi.__version__ = "0.9"
try:
    pool = ezmpi.MPIPool()
except ezmpi.TransportError:
    if what != "caught":
        raise
    print("caught")
    try:
        ezmpi.MPIPool()
    except ezmpi.TransportError as error:
        assert "as the first pool said" in str(error), error
        print("again")
    raise
with pool:
    assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
    print("ok")
