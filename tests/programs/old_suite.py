"""The integration tests of ezmpi 0.1.0, in its own manner: started by

    mpiexec -n 4 python -m pytest old_suite.py

every rank runs every test; a worker sits in the constructor of the first pool until a
pool is closed, or the master ends, and goes on from there.
"""

from ezmpi import MPIPool


def square(x):
    return x * x


def add_one(x):
    return x + 1


def complex_computation(x):
    return sum(i * i for i in range(x + 1))


def test_basic_map():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        assert pool.map(square, [1, 2, 3, 4, 5]) == [1, 4, 9, 16, 25]


def test_multiple_workers():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        assert pool.size >= 1
        assert len(pool.workers) == pool.size
        assert 0 not in pool.workers
        tasks = list(range(10))
        assert pool.map(add_one, tasks) == [i + 1 for i in tasks]


def test_result_ordering():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        tasks = [5, 3, 8, 1, 9, 2, 7, 4, 6]
        assert pool.map(square, tasks) == [x * x for x in tasks]


def test_empty_tasks():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        assert pool.map(square, []) == []


def test_single_task():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        assert pool.map(square, [42]) == [1764]


def test_many_tasks():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        assert pool.map(square, list(range(20))) == [x * x for x in range(20)]


def test_cpu_bound_tasks():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        tasks = [100, 200, 300, 400, 500]
        assert pool.map(complex_computation, tasks) == [
            complex_computation(x) for x in tasks
        ]


def test_context_manager():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        initial_workers = pool.workers.copy()
        assert pool.map(square, [1, 2, 3]) == [1, 4, 9]
        assert pool.workers == initial_workers


def test_process_roles():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        assert pool.rank == 0
        assert pool.is_master()
        assert not pool.is_worker()


def test_different_task_sizes():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        tasks = [2, 500, 3, 1000, 1, 750, 4, 250]
        assert pool.map(complex_computation, tasks) == [
            complex_computation(x) for x in tasks
        ]


def test_complex_objects():
    pool = MPIPool(test_mode=True)
    if pool.is_master():
        assert pool.map(lambda x: x * 2, [1, 2, 3, 4, 5]) == [2, 4, 6, 8, 10]


def test_with_statement():
    with MPIPool(test_mode=True) as pool:
        if pool.is_master():
            assert pool.map(square, [1, 2, 3]) == [1, 4, 9]
