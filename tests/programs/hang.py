"""Every rank waits where nobody comes; one left a process of its own session behind."""

import os
import subprocess
import time


def where_it_waits():
    print("waiting", flush=True)
    time.sleep(1000)


rank = os.environ.get("PMI_RANK") or os.environ["OMPI_COMM_WORLD_RANK"]
if rank == "1":
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
where_it_waits()
