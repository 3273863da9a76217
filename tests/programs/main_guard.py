"""The usual script: all inside main(), behind the guard."""

import enum

from ezmpi import MPIPool

SCALE = 2


def scaled(x):
    return SCALE * x


def main():
    global SCALE
    with MPIPool() as pool:
        SCALE = 3
        offset = 5

        class Kind(enum.Enum):
            A = 1
            B = 2

        def shifted(x):
            return scaled(x) + offset

        assert pool.map(scaled, range(5)) == [0, 3, 6, 9, 12]
        assert pool.map(shifted, range(3)) == [5, 8, 11]
        offset = 7
        assert pool.map(shifted, range(3)) == [7, 10, 13]
        assert pool.map(lambda x: [x is Kind.A, Kind.B], [Kind.A])[0][1] is Kind.B
        SCALE = 4
        assert pool.map(shifted, range(3)) == [7, 11, 15]
        print("ok")


if __name__ == "__main__":
    main()
