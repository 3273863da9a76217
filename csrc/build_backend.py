"""The PEP 517 backend: setuptools', which also asks for an MPI where there is none.

A wheel is compiled with the MPI compilers found on this machine. Where there is none,
an MPI comes from the package index as a build requirement: `mpich`, or what
``EZMPI_BUILD_WITH`` names.
"""

import os
import shlex
import shutil
from typing import Any, List, Optional

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  (the hooks not wrapped here)


def mpi_compilers() -> List[List[str]]:
    """EZMPI_MPICC (several, with colons between), else MPICC, else mpicc on PATH.

    Each is a command line: the program and, where it needs any, its options.
    """
    listed = os.environ.get("EZMPI_MPICC")
    if listed:
        return [shlex.split(command) for command in listed.split(":") if command]
    command = os.environ.get("MPICC")
    if command:
        return [shlex.split(command)]
    found = shutil.which("mpicc")
    return [[found]] if found else []


def _mpi_requirement() -> List[str]:
    return [] if mpi_compilers() else [os.environ.get("EZMPI_BUILD_WITH") or "mpich"]


def get_requires_for_build_wheel(
    config_settings: Optional[Any] = None,
) -> List[str]:
    return build_meta.get_requires_for_build_wheel(config_settings) + _mpi_requirement()


def get_requires_for_build_editable(
    config_settings: Optional[Any] = None,
) -> List[str]:
    return (
        build_meta.get_requires_for_build_editable(config_settings) + _mpi_requirement()
    )
