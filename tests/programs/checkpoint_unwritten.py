"""A file that has no room when the rest is written, at the end of the process."""

import resource
import signal

import ezmpi._checkpoint_file
from ezmpi import MPIPool

ezmpi._checkpoint_file._SECONDS = 60  # all is written at the end
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with MPIPool() as pool:
    assert pool.map(abs, [-1], checkpoint="unwritten.sqlite") == [1]
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))  # a page
