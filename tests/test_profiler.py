"""A preloaded MPI profiler sees the pool's calls."""

import math
import re

import pytest
from c_program import HERE, run_command
from launch import launch
from test_transport_c import mpicc

SIZE = 2_000_000  # bytes of a callable


@pytest.fixture(scope="module")
def profiler(tmp_path_factory):
    if mpicc() is None:
        pytest.skip("no mpicc")
    path = tmp_path_factory.mktemp("profiler") / "profiler.so"
    command = [mpicc(), "-shared", "-fPIC", str(HERE / "profiler.c")]
    run_command([*command, "-o", str(path)], 60)
    return path


def profile(profiler, program, ranks, *args):
    """Messages and bytes that the master sends."""
    result = launch(program, ranks, *args, env={"LD_PRELOAD": profiler})
    assert result.returncode == 0, result
    found = re.search(r"profiled: (\d+) sends, (\d+) bytes", result.stdout)
    assert found, result
    return int(found.group(1)), int(found.group(2))


def test_a_preloaded_profiler_counts_the_sends(profiler):
    assert profile(profiler, "short.py", 3)[0] > 0


@pytest.mark.parametrize("ranks", [2, 3, 8, 32])
def test_the_master_sends_a_large_callable_log_times(profiler, ranks):
    """Idle workers pass it on: after k rounds 2^k ranks have it."""
    _, sent = profile(profiler, "callable_once.py", ranks, SIZE)
    copies = math.ceil(math.log2(ranks))
    assert copies * SIZE < sent < copies * SIZE + 20_000 * ranks


def test_a_small_callable_goes_to_each_worker(profiler):
    _, sent = profile(profiler, "callable_once.py", 8, SIZE // 4)
    assert 7 * SIZE // 4 < sent < 8 * SIZE // 4
