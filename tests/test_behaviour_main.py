"""What the script defines or changes after the pool was made is seen by the workers."""

import pytest
from launch import check

RANKS = pytest.mark.parametrize("ranks", [2, 4])
ALL_RANKS = pytest.mark.parametrize("ranks", [2, 4, 8])


@ALL_RANKS
def test_functions_and_constants(ranks):
    """schwimmbad 0.4.2 does not find later functions; nor ezmpi 0.1.0 later constants."""
    check("main_names.py", ranks)


@ALL_RANKS
def test_classes_and_enums(ranks):
    """By value, as ezmpi 0.1.0 sends them, ``isinstance`` fails on nested objects."""
    check("main_classes.py", ranks)


@RANKS
def test_what_has_changed_since_the_last_map(ranks):
    check("main_unchanged.py", ranks)


@RANKS
def test_all_inside_main(ranks):
    check("main_guard.py", ranks)


@RANKS
def test_what_cannot_be_kept_in_step(ranks):
    check("main_limits.py", ranks)
