"""What the programs share.  They print each case first, so that a hang names it."""

import os
import pickle
import resource
import time
import warnings


def case(name):
    print("case:", name, flush=True)


def raised(function, *args, **kwargs):
    """The exception that the call raises."""
    try:
        result = function(*args, **kwargs)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised, but %r returned" % (result,))


def told(error):
    """All that a user is shown of an exception: text, notes, cause."""
    lines = [repr(error), str(error), str(error.__cause__)]
    return "\n".join(lines + list(getattr(error, "__notes__", ())))


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)


class Block:
    """Bytes that travel beside the pickle, and are no array's."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return Block, (pickle.PickleBuffer(self.data),)


def limit_memory(pid, room):
    """What else that process may take; 0: as much as there is."""
    with open("/proc/%d/statm" % pid) as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    most = taken + room if room else resource.RLIM_INFINITY
    hard = resource.prlimit(pid, resource.RLIMIT_AS)[1]
    resource.prlimit(pid, resource.RLIMIT_AS, (most, hard))


def launchers_rank():
    """This process's rank by the launcher's word, as rank.sh finds it."""
    names = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID")
    return next(int(os.environ[name]) for name in names if name in os.environ)


def host_of(rank):
    """The name of the host on which a rank runs."""
    with open("rank-%d.host" % rank) as file:
        return file.read().strip()


def process_id():
    """This process's number for those of other hosts, too, on the one machine that two
    hosts of a test are: where one counts its processes for itself it sees there the
    machine's /proc as well."""
    with open(os.environ.get("EZMPI_TEST_PROC", "/proc") + "/self/stat") as file:
        return int(file.read().split()[0])


def square(x):
    return x * x


def check_works(pool):
    """The pool maps as if nothing had happened."""
    assert pool.map(square, range(20)) == [x * x for x in range(20)]


def ignore_fork_warnings():
    """Python 3.12 and later warn of every fork beside threads, and MPI has threads."""
    warnings.filterwarnings("ignore", "This process .* is multi-threaded")


def resident():
    """Resident memory of this process in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
