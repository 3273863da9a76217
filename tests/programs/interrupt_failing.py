"""SIGINT to workers, many times, while their tasks fail: also as that is told."""

import os
import random
import signal
import threading
import time

from cases import case, check_works, process_id, raised

from ezmpi import MPIPool


def where(x):
    time.sleep(0.02)
    return process_id()


def fail(x):
    raise ZeroDivisionError(x)


def interrupt_often(pids, is_over):
    """Much of the first failure's account is to import what makes it."""
    while not is_over.is_set():
        time.sleep(0.002 * random.random())
        os.kill(random.choice(pids), signal.SIGINT)


with MPIPool() as pool:
    pids = list(set(pool.map(where, range(10 * pool.size))))
    case("tasks fail")
    is_over = threading.Event()
    sender = threading.Thread(target=interrupt_often, args=(pids, is_over))
    sender.start()
    try:
        errors = [raised(pool.map, fail, range(4)) for _ in range(500)]
        errors += [raised(next, pool.imap(fail, range(4))) for _ in range(100)]
    finally:
        is_over.set()
        sender.join()
        time.sleep(0.5)  # until the last has come
    found = {type(error) for error in errors}
    assert ZeroDivisionError in found, found
    assert found <= {ZeroDivisionError, KeyboardInterrupt}, found
    check_works(pool)
print("ok")
