"""Runs a notebook whose kernel is rank 0 of a job, without a screen."""

import json
import os
import sys
import tempfile

import nbclient
import nbformat

CELLS = """
from ezmpi import MPIPool
import time
scale = 2
def scaled(x):
    time.sleep(0.02)
    return scale * x
pool = MPIPool()
---
print(pool.map(scaled, range(30), progress="sampling"))
---
scale = 3
print(pool.map(lambda x: scaled(x) + 1, range(3)))
---
print(sum(pool.imap(scaled, range(10), progress=True)))
"""


def kernel(command):
    """Where a kernel is found that is started so."""
    directory = tempfile.mkdtemp()
    folder = os.path.join(directory, "kernels", "with_workers")
    os.makedirs(folder)
    spec = {
        "argv": [*command, "-m", "ezmpi", "-m", "ipykernel_launcher"]
        + ["-f", "{connection_file}"],
        "display_name": "Python with MPI workers",
        "language": "python",
        "interrupt_mode": "message",
    }
    with open(os.path.join(folder, "kernel.json"), "w") as file:
        json.dump(spec, file)
    return directory


def text_of(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


os.environ["JUPYTER_PATH"] = kernel(sys.argv[1:])
notebook = nbformat.v4.new_notebook()
notebook.cells = [nbformat.v4.new_code_cell(text) for text in CELLS.split("---\n")]
nbclient.NotebookClient(notebook, kernel_name="with_workers", timeout=60).execute()
assert text_of(notebook.cells[1]) == f"{[2 * x for x in range(30)]}\n", notebook.cells[1]
assert text_of(notebook.cells[2]) == "[1, 4, 7]\n", notebook.cells[2]
assert text_of(notebook.cells[3]) == "135\n", notebook.cells[3]
(widgets,) = notebook.metadata["widgets"].values()
states = [widget["state"] for widget in widgets["state"].values()]
bars = [(state["value"], state["max"]) for state in states if "max" in state]
assert bars == [(30.0, 30.0), (10.0, 10.0)], bars
labels = [state for state in states if "value" in state and "max" not in state]
texts = [label["value"].replace("\u2007", " ") for label in labels]
assert any("sampling: 100%" in text for text in texts), texts
assert any("30/30" in text for text in texts), texts
print("ok")
