"""What a script of schwimmbad's does that chooses its pool by flags.

The arguments: --mpi or --ncores N, as there.
"""

import argparse
import sys

from ezmpi import choose_pool


def work(task):
    a, b = task
    return a**2 + b**2


def work_on_batch(batch):
    (start, stop), tasks = batch
    return (start, stop), [work(task) for task in tasks]


def main(pool):
    if not pool.is_master():
        pool.wait()
        sys.exit(0)
    assert (pool.rank, pool.is_worker(), pool.enabled()) == (0, False, True)
    pool.wait(lambda: sys.exit("the master does not wait"))
    tasks = list(zip(range(16), range(16)[::-1]))
    expected = [work(task) for task in tasks]
    seen = []
    assert pool.map(work, tasks, callback=seen.append) == expected
    assert sorted(seen) == sorted(expected)
    batches = pool.batched_map(work_on_batch, tasks, callback=seen.append)
    assert len(batches) == pool.size and len(seen) == 16 + pool.size
    assert [result for _, results in batches for result in results] == expected
    assert [start for (start, _), _ in batches] == sorted(
        start for (start, _), _ in seen[16:]
    )
    pool.close()
    print(type(pool).__name__, pool.size)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--ncores", dest="n_cores", default=1, type=int)
    group.add_argument("--mpi", action="store_true")
    args = parser.parse_args()
    main(choose_pool(mpi=args.mpi, processes=args.n_cores))
