"""What docs/when-things-go-wrong.md says of each fault is what happens.

Under this environment's launcher, and, beside MPICH's, without one. The jobs are short,
and several run at once.
"""

from concurrent.futures import ThreadPoolExecutor

import fault_table
import launch
import pytest

PAGE = fault_table.read(fault_table.PAGE.read_text())


def launchers():
    mpiexec = launch.find_mpiexec()
    found = fault_table.launchers_of(mpiexec) if mpiexec else []
    return found + ["local"] if "mpich" in found else found


CELLS = list(fault_table.cells(launchers()))


def name_of(cell):
    return "-".join([cell.launcher, cell.fault.text, cell.setting or "nothing"])


@pytest.fixture(scope="module")
def jobs(request):
    """Those of all tests that were chosen, begun together."""
    mine = [item for item in request.session.items if item.parent is request.node]
    chosen = [item.callspec.params["cell"] for item in mine if hasattr(item, "callspec")]
    with ThreadPoolExecutor(fault_table.JOBS) as threads:
        begun = {
            cell: threads.submit(fault_table.observe, cell, launch.find_mpiexec())
            for cell in chosen
        }
        yield begun
        for job in begun.values():
            job.cancel()


@pytest.mark.parametrize("cell", CELLS, ids=name_of)
def test_the_page_says_what_happens(jobs, cell):
    said = PAGE.get(fault_table.key_of(cell), set())
    words, shown = jobs[cell].result()
    assert words in said, shown


def test_every_cell_is_a_job():
    cells = fault_table.cells(fault_table.LAUNCHERS)
    assert set(PAGE) == set(map(fault_table.key_of, cells))


def test_only_what_is_up_to_chance_has_two_ends():
    several = {key for key, words in PAGE.items() if len(words) > 1}
    assert several <= fault_table.by_chance()
