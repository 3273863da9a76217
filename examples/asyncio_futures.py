"""Estimate pi by random points until it is good enough, with futures in asyncio.

Each call is a future of the pool. As soon as enough have come, those that no worker was
given are cancelled, and the event loop stays free for other work.

    mpiexec -n 4 python examples/asyncio_futures.py
"""

import asyncio
import random

from ezmpi import MPIPool

POINTS = 50_000  # a call
ERROR = 0.001  # of the mean


def share_within(seed: int) -> float:
    """Four times the share of random points that lie within the circle."""
    draw = random.Random(seed).random
    return 4 * sum(draw() ** 2 + draw() ** 2 < 1 for _ in range(POINTS)) / POINTS


async def main(pool: MPIPool) -> None:
    futures = [asyncio.wrap_future(pool.submit(share_within, i)) for i in range(1000)]
    total, count = 0.0, 0
    for next_done in asyncio.as_completed(futures):
        total, count = total + await next_done, count + 1
        if 1.64 / (count * POINTS) ** 0.5 < ERROR:  # 1.64: of a single point
            break
    cancelled = sum(future.cancel() for future in futures)
    print(f"pi = {total / count:.3f} +- {ERROR} from {count} calls; {cancelled} left")


if __name__ == "__main__":
    with MPIPool() as pool:
        asyncio.run(main(pool))
