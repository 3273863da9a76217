"""``python -m ezmpi``: see `ezmpi._command`, which makes this module the script's."""

from ezmpi import _command

_command.main()
