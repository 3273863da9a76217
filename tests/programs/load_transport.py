"""Loads the library named on the command line, and prints why it cannot be."""

import sys

from ezmpi import _ezmpi
from ezmpi.errors import TransportError

try:
    _ezmpi.load_transport(sys.argv[1], None)
except TransportError as error:
    print(error)
