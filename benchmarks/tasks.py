"""What the workers run, in a module that they can import."""

import functools
from typing import Any, Callable

import numpy as np


def square(x: int) -> int:
    return x * x


def count_to(number: int) -> int:
    """Computes, for a time that grows with the number."""
    total = 0
    for step in range(number):
        total += step
    return total


def size_of(array: "np.ndarray[Any, Any]") -> int:
    return array.nbytes


@functools.lru_cache(maxsize=1)
def _ones(count: int) -> "np.ndarray[Any, Any]":
    return np.ones(count)  # written, since zeros need no memory of their own


def make_array(number: int) -> "np.ndarray[Any, Any]":
    """The worker's one array of 8 MB, so that making it is not what is measured."""
    array = _ones(1_000_000)
    array[0] = number
    return array


def make_large_array(size: int) -> "np.ndarray[Any, Any]":
    """The same, of size times 8 MB."""
    return _ones(size * 1_000_000)


class Holder:
    """A callable that holds data and does not read it."""

    def __init__(self, data: object) -> None:
        self.data = data

    def __call__(self, x: int) -> int:
        return x * x


def closure_over(data: object) -> Callable[[int], int]:
    """The same, as a local function."""

    def square_beside_data(x: int) -> int:
        return x * x if data is not None else 0

    return square_beside_data


def first_of(array: "np.ndarray[Any, Any]") -> float:
    return float(array[0])


def log_probability(x: "np.ndarray[Any, Any]", data: object) -> float:
    """A Gaussian; the data is carried, and not read."""
    return -0.5 * float(x @ x)


def log_probability_of(x: "np.ndarray[Any, Any]", data: "np.ndarray[Any, Any]") -> float:
    """The same, and all of the data is read."""
    return log_probability(x, data) + float(data.sum())
