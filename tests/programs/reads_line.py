"""A pool is made, used and closed while another thread waits for a line."""

import os
import threading
import time

from cases import check_works

from ezmpi import MPIPool

threading.Thread(target=input, daemon=True).start()
time.sleep(0.5)
for isolate in (False, True):
    with MPIPool(fallback="local", processes=2, isolate=isolate) as pool:
        check_works(pool)
os._exit(0)
