"""The plain C parts of the engine, each alone: no MPI, no Python."""

import pytest
from c_program import (
    CSRC,
    HERE,
    SANITIZE_THREADS,
    compile_c,
    python_include,
    run_c,
    run_command,
    sanitize_flags,
)

# dispatch.c includes Python.h, but calls nothing that the stub does not have.
DISPATCH = [HERE / "crew_stub.c", HERE / "memory_stub.c"]
DISPATCH += [CSRC / f"{n}.c" for n in "dispatch claim seats schedule chunk".split()]


def test_schedule(tmp_path):
    """Every order of draws, gives, answers and limits on a small scale."""
    output = run_c([HERE / "schedule_test.c", CSRC / "schedule.c"], tmp_path)
    assert int(output.split()[0]) > 10**6, output


def test_seats(tmp_path):
    """Every order of what happens to workers and in queues, on a small scale."""
    sources = [HERE / "seats_test.c", CSRC / "seats.c", CSRC / "chunk.c"]
    output = run_c(sources, tmp_path)
    assert int(output.split()[0]) > 10**6, output


def run_with_races_seen(sources, tmp_path):
    flags = sanitize_flags(tmp_path, SANITIZE_THREADS)
    if not flags:
        pytest.skip("no ThreadSanitizer")
    program = compile_c(sources, tmp_path / "program", *flags)
    run_command([str(program), "10000"], 300)


def test_claim(tmp_path):
    """Of every chunk: it is run or taken back, never both, never neither."""
    output = run_c([HERE / "claim_test.c", CSRC / "claim.c"], tmp_path)
    assert int(output.split()[0]) > 10**6, output


def test_claim_has_no_races(tmp_path):
    run_with_races_seen([HERE / "claim_test.c", CSRC / "claim.c"], tmp_path)


def test_helm(tmp_path):
    """One thread at a time, those who wait first, and no wake-up is lost."""
    run_c([HERE / "helm_test.c", CSRC / "helm.c"], tmp_path)


def test_helm_has_no_races(tmp_path):
    run_with_races_seen([HERE / "helm_test.c", CSRC / "helm.c"], tmp_path)


def test_dispatch(tmp_path):
    """Jobs share workers fairly; limits, answers and messages are as they should be."""
    run_c([HERE / "dispatch_test.c", *DISPATCH], tmp_path, "-I", str(python_include()))


def simulate(tmp_path, *args):
    """The share of the ideal by distribution, mean duration and number of workers."""
    sources = [HERE / "schedule_simulation.c", *DISPATCH, "-lm"]
    program = compile_c(sources, tmp_path / "simulation", "-I", str(python_include()))
    header, _, *rows = run_command([str(program), *args], 120).splitlines()
    workers = [int(count) for count in header.split("|")[3:-1]]
    shares = {}
    for row in rows:
        _, distribution, mean, *cells = [cell.strip() for cell in row.split("|")]
        for count, cell in zip(workers, cells):
            shares[distribution, mean, count] = float(cell.split()[0])
    return shares


def test_simulation(tmp_path):
    """On machines that are not here the policy stays near what is possible."""
    shares = simulate(tmp_path, "1000", "0", "4096", "constant", "cheap-first")
    assert shares["constant", "10 us", 2] > 0.98
    assert shares["constant", "100 us", 256] > 0.9
    assert shares["constant", "1 ms", 4096] > 0.9
    for mean in ("1 s", "10 s"):
        assert shares["constant", mean, 4096] > 0.99
        # After many short tasks one more long one may have to be waited for.
        assert shares["cheap-first", mean, 256] > 0.9
    # What came back is cut again when it is given: by then tasks are known to be long.
    assert shares["cheap-first", "1 ms", 16] > 0.88
    assert shares["cheap-first", "10 ms", 256] > 0.88


def test_protocol(tmp_path):
    """The header's bytes are these on every machine."""
    run_c([HERE / "protocol_test.c", CSRC / "protocol.c"], tmp_path)
