"""The plots of docs/performance.md. The only file that needs matplotlib."""

from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pools import OURS
from results import Results
from simulation import DISTRIBUTIONS, Share, Simulation
from sweeps import SWEEPS, Sweep, spaced

matplotlib.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text: small
        "svg.hashsalt": "ezmpi",  # the same figures, the same file
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)

SIZE = (7.0, 4.0)  # inches
OUR_COLOUR = "#b5123a"


class Look(NamedTuple):
    """Lines differ in grey, dashes and marker: a printer need not have colours."""

    colour: str
    marker: str
    dashes: str
    width: float = 1.2


LOOKS: Dict[str, Look] = {
    OURS: Look(OUR_COLOUR, "o", "-", 2.4),
    "schwimmbad": Look("0.15", "s", "--"),
    "multiprocessing": Look("0.35", "^", "-"),
    "mpi4py.futures": Look("0.5", "D", "-."),
    "ezmpi-0.1.0": Look("0.6", "v", ":"),
    "mpi4py.futures-tuned": Look("0.5", "d", ":"),
    "mpi4py.util.pool": Look("0.65", "<", "-."),
    "dragonhpc": Look("0.45", "P", "--"),
    "ray": Look("0.45", "X", "--"),
    "serial": Look("0.0", "", ":", 1.0),
    "floor": Look("0.0", "", ":", 1.0),
}
NAMES = {"serial": "serial loop", "floor": "bare MPI in C"}
OTHER = Look("0.45", "x", ":")
# By duration of a task, all of them ours.
MEANS: Dict[str, Look] = {
    "10 us": Look(OUR_COLOUR, "v", ":", 1.0),
    "100 us": Look(OUR_COLOUR, "^", "-.", 1.0),
    "1 ms": Look(OUR_COLOUR, "o", "-", 2.0),
    "10 ms": Look(OUR_COLOUR, "s", "--", 1.2),
    "1 s": Look(OUR_COLOUR, "D", "-", 0.8),
}

Line = List[Tuple[float, float]]


def look_of(pool: str) -> Look:
    return LOOKS.get(pool, OTHER)


# ---- drawing ----


def draw(axes: Axes, line: Line, look: Look, label: str) -> None:
    axes.plot(
        [x for x, _ in line],
        [y for _, y in line],
        color=look.colour,
        marker=look.marker or None,
        linestyle=look.dashes,
        linewidth=look.width,
        markersize=4,
        label=label,
        zorder=3 if look.colour == OUR_COLOUR else 2,
    )


def new_figure(x: str, y: str, title: str) -> Tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, loc="left", fontsize=10)
    axes.grid(visible=True, color="0.9", linewidth=0.6)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None, "Creator": None})


def finish(figure: Figure, axes: Axes, path: Path) -> None:
    if axes.lines:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def show_sizes(axes: Axes, sweep: Sweep, results: Results) -> None:
    """The horizontal axis: the sizes that were measured, by name."""
    found = {row: size for row, size in sweep.points.items() if row in results.runs}
    names = [spaced(row.partition("-")[2]) for row in found]
    axes.set_xticks(list(found.values()), labels=names)
    axes.minorticks_off()


# ---- by pool ----


def points(
    results: Results, sweep: Sweep, pool: str, x: str = ""
) -> Iterator[Tuple[str, float, float]]:
    """Row, its quantity and the pool's seconds a unit; x: the pool that measures the
    quantity."""
    for row, quantity in sweep.points.items():
        if row not in results.runs:
            continue
        seconds = results.seconds(row, pool)
        measured = results.seconds(row, x) if x else quantity
        if seconds and measured:
            yield row, measured, seconds


def draw_pools(
    axes: Axes, results: Results, line_of: Callable[[str], Line], without: str = ""
) -> None:
    for pool in results.pools:
        if pool != without:
            draw(axes, line_of(pool), look_of(pool), NAMES.get(pool, pool))


def show_best(axes: Axes) -> None:
    """Where an efficiency is 1."""
    axes.axhline(1, color="0.0", linewidth=0.8, linestyle=":")


def draw_rates(results: Results, path: Path) -> None:
    def rates(pool: str) -> Line:
        found = points(results, SWEEPS["durations"], pool, "serial")
        return [(1e6 * x, 1 / seconds) for _, x, seconds in found]

    figure, axes = new_figure(
        "duration of a task in a serial loop (µs)",
        "tasks a second",
        "Rate, 1 worker, default chunks",
    )
    axes.set_yscale("log")
    draw_pools(axes, results, rates)
    finish(figure, axes, path)


def draw_efficiency(results: Results, path: Path) -> None:
    def efficiencies(pool: str) -> Line:
        found = points(results, SWEEPS["durations"], pool, "serial")
        return [(1e6 * x, x / seconds) for _, x, seconds in found]

    figure, axes = new_figure(
        "duration of a task in a serial loop (µs)",
        "time of the serial loop / time",
        "Efficiency, 1 worker, default chunks",
    )
    show_best(axes)
    draw_pools(axes, results, efficiencies, without="serial")
    axes.set_ylim(bottom=0)
    finish(figure, axes, path)


def draw_arrays(results: Results, path: Path) -> None:
    def over_floor(pool: str) -> Line:
        found = points(results, SWEEPS["arrays"], pool)
        over = ((size, results.speed(row, pool, "floor")) for row, size, _ in found)
        return [(size, speed) for size, speed in over if speed]

    figure, axes = new_figure(
        "size of the array that is a task",
        "time of bare MPI in C / time",
        "Efficiency against the size of a task, 1 worker, default chunks",
    )
    axes.set_yscale("log")
    show_best(axes)
    draw_pools(axes, results, over_floor, without="floor")
    show_sizes(axes, SWEEPS["arrays"], results)
    finish(figure, axes, path)


def draw_steps(results: Results, path: Path) -> None:
    def times(pool: str) -> Line:
        found = points(results, SWEEPS["data"], pool)
        return [(size, 1e3 * seconds) for _, size, seconds in found]

    figure, axes = new_figure(
        "size of the data that the log-probability carries",
        "time of an emcee step (ms)",
        "emcee, 32 walkers, 2 workers, data carried and not read",
    )
    axes.set_yscale("log")
    draw_pools(axes, results, times)
    show_sizes(axes, SWEEPS["data"], results)
    finish(figure, axes, path)


# ---- simulated ----


def draw_panel(axes: Axes, shares: List[Share], title: str) -> None:
    axes.set_xscale("log")
    axes.set_ylim(0, 1.05)
    axes.set_title(title, loc="left", fontsize=9)
    axes.grid(visible=True, color="0.9", linewidth=0.6)
    for mean, look in MEANS.items():
        found = [share for share in shares if share.mean == mean]
        line = [(float(share.workers), share.share) for share in found]
        draw(axes, line, look, mean.replace("us", "µs"))
        bound = [share for share in found if share.master_bound]
        axes.plot(
            [share.workers for share in bound],
            [share.share for share in bound],
            marker=look.marker,
            linestyle="",
            color=OUR_COLOUR,
            markerfacecolor="white",
            markersize=4,
            zorder=4,
        )


def show_workers(axes: Axes, shares: List[Share]) -> None:
    counts = sorted({share.workers for share in shares})
    axes.set_xticks(counts, labels=[f"{count:,}" for count in counts], fontsize=7)
    axes.minorticks_off()


def draw_scaling(simulation: Simulation, path: Path) -> None:
    figure = Figure(figsize=(7.0, 5.0), layout="constrained")
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for axes, distribution in zip(panels.flat, DISTRIBUTIONS):
        found = [s for s in simulation.scaling if s.distribution == distribution]
        draw_panel(axes, found, distribution)
        show_workers(axes, found)
    figure.supxlabel("workers", fontsize=9)
    figure.supylabel("share of the ideal (1 = no scheduler could be faster)", fontsize=9)
    lines, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(
        lines,
        labels,
        title="mean duration of a task",
        frameon=False,
        loc="outside upper center",
        ncols=len(MEANS),
    )
    save(figure, path)


def draw_all(sweeps: Dict[str, Results], simulation: Simulation, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    draw_rates(sweeps["durations"], place / "rates.svg")
    draw_efficiency(sweeps["durations"], place / "efficiency.svg")
    draw_arrays(sweeps["arrays"], place / "arrays.svg")
    draw_steps(sweeps["data"], place / "steps.svg")
    draw_scaling(simulation, place / "scaling.svg")
