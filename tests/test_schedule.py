"""The plain C parts of the engine, each alone: no MPI, no Python."""

from c_program import CSRC, HERE, compile_c, run_c, run_command


def test_schedule(tmp_path):
    """Every order of joins, chunks, answers and limits on a small scale."""
    sources = [HERE / "schedule_test.c", CSRC / "schedule.c", CSRC / "spans.c"]
    output = run_c(sources, tmp_path)
    assert int(output.split()[0]) > 10**6, output


def simulate(tmp_path, *args):
    """The share of the ideal by distribution, mean duration and number of workers."""
    sources = [HERE / "schedule_simulation.c", CSRC / "schedule.c"]
    sources += [CSRC / "spans.c", "-lm"]
    program = compile_c(sources, tmp_path / "simulation")
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


def test_protocol(tmp_path):
    """The header's bytes are these on every machine."""
    run_c([HERE / "protocol_test.c", CSRC / "protocol.c"], tmp_path)
