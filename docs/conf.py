"""Sphinx: ``sphinx-build -W -n docs docs/_build``."""

import ezmpi

project = "ezmpi"
author = "The ezmpi authors"
project_copyright = "2026, The ezmpi authors"
release = ezmpi.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
]
default_role = "code"
myst_heading_anchors = 3
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
autodoc_typehints = "none"
exclude_patterns = ["_build"]
html_theme = "furo"

# numpydoc links the attributes of a class, which have no page of their own.
nitpick_ignore = [
    ("py:obj", name) for name in ("rank", "size", "workers", "comm", "closed")
]
