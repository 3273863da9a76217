"""Which launcher started this process, as the environment tells."""

from __future__ import annotations

import functools
import os
import time

from ..errors import TransportError

TYPE_CHECKING = False  # typing is not imported: see __init__.py
if TYPE_CHECKING:
    from typing import Mapping, NoReturn, Optional, Tuple

_FIRST_RANK_SECONDS = 2.0
_VERSION_SECONDS = 10.0


class Launcher:
    """Who started the process.

    Attributes
    ----------
    name : str
        The launcher, in words.
    families : tuple of str
        The MPIs whose ranks find each other under it, the likeliest first.
    rank, ranks : int
        This process's number, and how many were started.
    """

    def __init__(
        self, name: str, families: Tuple[str, ...], rank: int, ranks: int
    ) -> None:
        self.name = name
        self.families = families
        self.rank = rank
        self.ranks = ranks


class LauncherError(TransportError, ValueError):
    """The launcher is not that of the MPI; every rank finds the same."""


def find_launcher(environ: Mapping[str, str] = os.environ) -> Optional[Launcher]:
    """The launcher of this process, or None: it was started by hand.

    srun comes late: it also starts the helpers of the other launchers, and then its
    variables reach the ranks. What PMI or PMIx alone tell may be any launcher's.
    """
    intel = any(name.startswith("I_MPI_HYDRA_") for name in environ)
    hydra = ("Intel MPI's" if intel else "MPICH's") + " mpiexec"
    srun = "openmpi mpich" if "PMIX_RANK" in environ else "mpich openmpi"
    for name, families, rank, ranks, sign in (
        (
            "Open MPI's mpiexec",
            "openmpi",
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_SIZE",
        ),
        (hydra, "mpich", "PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
        ("srun", srun, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
        ("a PMI launcher", "mpich openmpi", "PMI_RANK", "PMI_SIZE", "PMI_RANK"),
    ):
        if sign in environ and ranks in environ:
            return Launcher(
                name,
                tuple(families.split()),
                int(environ.get(rank, 0)),
                int(environ[ranks]),
            )
    return None


@functools.lru_cache(maxsize=None)
def whose(mpiexec: str) -> str:
    """The family of a launcher, by what it says of itself; "" if that is not known."""
    import subprocess

    try:
        said = subprocess.run(
            [mpiexec, "--version"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_VERSION_SECONDS,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return ""
    if any(sign in said for sign in ("Open MPI", "OpenRTE", "prterun")):
        return "openmpi"
    return "mpich" if "HYDRA" in said or "Intel(R) MPI" in said else ""


def let_first_go_first() -> None:
    """Give rank 0 the time to say what is wrong: a launcher ends the job at the first
    rank that fails."""
    launcher = find_launcher()
    if launcher is not None and launcher.rank > 0:
        time.sleep(_FIRST_RANK_SECONDS)


def raise_once(error: Exception) -> NoReturn:
    """Raise the error so that the job says it once, if all ranks meet it alike.

    Other errors than a `LauncherError` may be this rank's alone, and must be said.
    """
    let_first_go_first()
    launcher = find_launcher()
    if launcher is not None and launcher.rank > 0 and isinstance(error, LauncherError):
        raise SystemExit(1)
    raise error
