"""Calls that were sent ahead, and what becomes of them when one takes long."""

import os
import tempfile
import time

from cases import case, check_works

from ezmpi import MPIPool


def doze(seconds, mark=None):
    if mark:
        open(mark, "w").close()
    if seconds:
        time.sleep(seconds)
    return seconds


def learn(pool):
    """Calls have been short so far: so they are sent ahead."""
    for future in [pool.submit(doze, 0) for _ in range(300)]:
        future.result()


directory = tempfile.mkdtemp()

with MPIPool() as pool:
    for number in range(5):
        case("calls behind a long one go to who is idle, %d" % number)
        learn(pool)
        if pool.size == 1:
            break
        place = 20 + number
        calls = [pool.submit(doze, 1.0 if i == place else 0) for i in range(60)]
        start = time.monotonic()
        for i, future in enumerate(calls):
            assert i == place or future.result() == 0
        took = time.monotonic() - start
        assert took < 0.8, took
        assert calls[place].result() == 1.0

    case("calls behind a long one can be cancelled, and do not run then")
    learn(pool)
    marks = [os.path.join(directory, str(i)) for i in range(40)]
    calls = [pool.submit(doze, 0.3) for _ in range(pool.size)]
    ahead = [pool.submit(doze, 0, mark) for mark in marks]
    time.sleep(0.05)
    cancelled = [future.cancel() for future in ahead]
    assert all(cancelled), cancelled.count(False)
    assert not any(future.running() for future in ahead)
    assert [future.result() for future in calls] == [0.3] * pool.size
    check_works(pool)
    time.sleep(0.1)
    assert os.listdir(directory) == []

    case("many that are taken back come in their order, once")
    learn(pool)
    calls = [pool.submit(doze, 0.02 if i % 50 == 25 else 0) for i in range(1000)]
    expected = [0.02 if i % 50 == 25 else 0 for i in range(1000)]
    assert [future.result() for future in calls] == expected
    check_works(pool)
os.rmdir(directory)
print("ok")
