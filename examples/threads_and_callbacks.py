"""Two studies share the workers, each in a thread of its own.

Meanwhile a third one goes on in the background, in parts; callbacks collect them.

    mpiexec -n 4 python examples/threads_and_callbacks.py
"""

import threading

from ezmpi import MPIPool


def collatz(start: int) -> int:
    """Steps that it takes from start to 1."""
    steps = 0
    while start != 1:
        start = 3 * start + 1 if start % 2 else start // 2
        steps += 1
    return steps


def longest(pool: MPIPool, name: str, numbers: range) -> None:
    steps, start = max(zip(pool.map(collatz, numbers), numbers))
    print(f"{name}: {steps} steps from {start}")


if __name__ == "__main__":
    with MPIPool() as pool:
        studies = [("small", range(1, 3001)), ("large", range(10**6, 10**6 + 3000))]
        threads = [threading.Thread(target=longest, args=(pool, *s)) for s in studies]
        for thread in threads:
            thread.start()
        done: list = []  # by callbacks, in the pool's own thread
        parts = [range(n, n + 100) for n in range(1, 1000, 100)]
        results = [pool.map_async(collatz, p, callback=done.append) for p in parts]
        for thread in threads:
            thread.join()
        count = sum(len(result.get()) for result in results)
    print(f"{len(done)} of {len(results)} parts: {count} numbers")
