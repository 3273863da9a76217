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
# What every public docstring has; a warning, and so an error with -W.
numpydoc_validation_checks = {
    *("GL02", "GL03", "GL05", "GL06", "GL07", "GL08", "GL10"),
    *("SS01", "SS02", "SS03", "SS04", "SS06", "PR01", "PR02", "PR03", "PR04", "PR05"),
    *("PR07", "PR08", "PR09", "PR10", "RT01", "RT03", "RT04", "RT05", "EX01"),
}
# But for the parameters of what is not made by calling its class.
numpydoc_validation_overrides = {"PR01": [r"\b[Mm]ade by `"]}
autodoc_typehints = "none"
exclude_patterns = ["_build"]
html_theme = "furo"

# numpydoc links the attributes of a class, which have no page of their own.
nitpick_ignore = [
    ("py:obj", name) for name in ("rank", "size", "workers", "comm", "closed")
]
