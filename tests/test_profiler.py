"""A preloaded MPI profiler sees the pool's calls."""

import re

import pytest
from c_program import HERE, run_command
from launch import launch
from test_transport_c import mpicc


def test_a_preloaded_profiler_counts_the_sends(tmp_path):
    if mpicc() is None:
        pytest.skip("no mpicc")
    profiler = tmp_path / "profiler.so"
    command = [mpicc(), "-shared", "-fPIC", str(HERE / "profiler.c")]
    run_command([*command, "-o", str(profiler)], 60)
    result = launch("short.py", 3, env={"LD_PRELOAD": profiler})
    assert result.returncode == 0, result
    sends = re.search(r"profiled: (\d+) sends", result.stdout)
    assert sends and int(sends.group(1)) > 0, result
