"""A job that does next to nothing: what goes wrong now and then at the end shows."""

from cases import square

from ezmpi import MPIPool

with MPIPool() as pool:
    assert pool.map(square, range(3)) == [0, 1, 4]
