"""Many pools, pools on parts of the world, test_mode, and what cannot work."""

import pytest
from launch import check, launch

RANKS = pytest.mark.parametrize("ranks", [2, 4, 8])


@RANKS
def test_misuse_is_a_clear_error(ranks):
    """ezmpi 0.1.0 and schwimmbad 0.4.2: map after close hangs, or ends with code 0."""
    check("misuse.py", ranks)


@RANKS
def test_several_threads(ranks):
    check("threads.py", ranks)


@RANKS
def test_many_pools_one_after_the_other(ranks):
    """ezmpi 0.1.0 and schwimmbad 0.4.2: the first close ends the workers, and the
    second pool hangs, or the job ends with code 0."""
    check("many_pools.py", ranks)


@pytest.mark.parametrize("ranks", [4, 8])
def test_pools_on_two_halves(ranks):
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    check("split.py", ranks)


@pytest.mark.parametrize("ranks", [4, 8])
def test_two_halves_end_apart(ranks):
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    result = launch("split.py", ranks, "ending")
    assert result.returncode == 0 and result.stderr == "", result
    assert result.stdout.count("half ok\n") == 2, result
    assert result.left == [], result


def check_test_mode(scenario, ranks, *expected):
    """Every worker must have said each of the lines, as often as it stands here."""
    result = launch("test_mode.py", ranks, scenario, ranks)
    assert result.returncode == 0, result
    assert result.stderr == "", result
    assert result.left == [], result
    said = result.stdout.splitlines()
    for line in set(expected):
        assert said.count(line) == expected.count(line) * (ranks - 1), result
    return said


@RANKS
def test_every_rank_makes_every_pool(ranks):
    served = ["pool %d served" % number for number in range(3)]
    check_test_mode("collective", ranks, *served)


@RANKS
def test_workers_sit_in_the_first_pools_constructor(ranks):
    check_test_mode("sitting", ranks, "first pool served")


@RANKS
def test_each_close_ends_one_wait(ranks):
    said = check_test_mode(
        "credits",
        ranks,
        "constructor returned",
        *["wait returned"] * 4,
        "map returned",
        "the master has ended",
        "still ended",
    )
    assert "all closed" in said


@pytest.mark.parametrize("ranks", [2, 4])
def test_attributes_on_every_rank(ranks):
    said = check_test_mode("attributes", ranks)
    assert sorted(said) == ["rank %d of %d" % (r, ranks) for r in range(ranks)]


def test_a_workers_callback_that_raises():
    check_test_mode("failing_callback", 3, "raised")


def test_work_for_workers_that_have_gone_is_one_clear_line():
    """With ezmpi 0.1.0 and schwimmbad 0.4.2 it hangs, or ends with code 0."""
    result = launch("test_mode.py", 2, "nobody_there", 2)
    assert result.returncode == 1, result
    assert result.errors[1].startswith("ezmpi: rank 0 gave work to rank 1"), result
    assert result.left == [], result


@RANKS
def test_a_suite_written_for_the_python_pool(ranks):
    """The integration tests of ezmpi 0.1.0, under pytest on every rank."""
    result = launch(
        "old_suite.py",
        ranks,
        "-q",
        "--noconftest",
        "--color=no",
        "--import-mode=importlib",
        *["-p", "no:cacheprovider"],
        python=["-m", "pytest"],
    )
    assert result.returncode == 0, result
    assert result.stderr == "", result
    assert result.stdout.count("12 passed") == ranks, result
