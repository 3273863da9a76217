"""The plain C parts of the engine, each alone: no MPI, no Python."""

from c_program import CSRC, HERE, run_c


def test_schedule(tmp_path):
    """Every order of joins, chunks, answers and limits on a small scale."""
    sources = [HERE / "schedule_test.c", CSRC / "schedule.c"]
    output = run_c(sources, tmp_path)
    assert int(output.split()[0]) > 10**6, output


def test_protocol(tmp_path):
    """The header's bytes are these on every machine."""
    run_c([HERE / "protocol_test.c", CSRC / "protocol.c"], tmp_path)
