"""Large arguments of joblib's tasks: shared if they come again, read-only, let go of."""

import gc
import weakref

import joblib
import numpy as np
from cases import case, raised
from joblib import Parallel, delayed

import ezmpi.joblib
from ezmpi import _shared

SIZE = 1 << 18  # numbers: 2 MiB


def describe(array, factor=1):
    """Sum; whether it can be written to; objects shared with this worker."""
    return array.sum() * factor, array.flags.writeable, len(_shared._held)


def add(array):
    array += 1
    return array[0]


def held(_=None):
    return len(_shared._held)


pool = ezmpi.joblib.register()
one = np.ones(SIZE)

case("one array for all tasks is shared once, and let go of")
with joblib.parallel_config("ezmpi"):
    sent = Parallel(batch_size=1)(delayed(describe)(one, i) for i in range(50))
    assert [total for total, _, _ in sent] == [SIZE * i for i in range(50)]
    assert {writeable for _, writeable, _ in sent} == {False}
    assert {count for _, _, count in sent} <= {0, 1} and sent[-1][2] == 1, sent
    assert pool.run_everywhere(held) == [0] * pool.size
    sent = Parallel(batch_size=1)(delayed(describe)(array=one) for _ in range(20))
    assert sent[-1] == (SIZE, False, 1)

case("also in Fortran's order, and of every other element")
with joblib.parallel_config("ezmpi"):
    for array in (np.asfortranarray(one.reshape(512, -1)), np.ones(2 * SIZE)[::2]):
        sent = Parallel(batch_size=1)(delayed(describe)(array) for _ in range(10))
        assert {(total, writeable) for total, writeable, _ in sent} == {(SIZE, False)}

case("to write to it is an error, unless the tasks have their own")
with joblib.parallel_config("ezmpi"):
    error = raised(Parallel(), [delayed(add)(one) for _ in range(4)])
    assert isinstance(error, ValueError) and "read-only" in str(error), error
for option in ({"max_nbytes": None}, {"max_nbytes": "1G"}, {"mmap_mode": "c"}):
    with joblib.parallel_config("ezmpi", **option):
        assert Parallel()(delayed(add)(one) for _ in range(4)) == [2] * 4
assert one[0] == 1
with joblib.parallel_config("ezmpi"):
    assert Parallel()([delayed(add)(np.ones(10))] * 4) == [2] * 4

case("arrays of single tasks are not shared, nor kept")
alive = []


def each(count):
    for i in range(count):
        array = np.full(SIZE, float(i))
        alive.append(weakref.ref(array))
        yield delayed(describe)(array)


with joblib.parallel_config("ezmpi"):
    results = Parallel(return_as="generator", batch_size=1)(each(40))
    for i, (total, _, count) in enumerate(results):
        assert (total, count) == (SIZE * i, 0)
        most = sum(reference() is not None for reference in alive)
        assert most <= 8 * pool.size, most

case("an array of several tasks is let go of when the last of them has it")


def twice(count):
    for i in range(count):
        array = np.full(SIZE, float(i))
        for _ in range(3):
            yield delayed(describe)(array)


with joblib.parallel_config("ezmpi"):
    sent = Parallel(batch_size=1)(twice(30))
    assert [total for total, _, _ in sent] == [SIZE * (i // 3) for i in range(90)]
    counts = [count for _, _, count in sent]
    assert 1 <= max(counts) <= 4 * pool.size, counts

case("two at once from one block, of which one ends first")
with joblib.parallel_config("ezmpi"):
    first = Parallel(return_as="generator", batch_size=1)(
        delayed(describe)(one) for _ in range(100)
    )
    assert len(Parallel()(delayed(describe)(one) for _ in range(30))) == 30
    assert {total for total, _, _ in first} == {SIZE}

case("after a failure")
with joblib.parallel_config("ezmpi"):
    assert raised(Parallel(), [delayed(add)(one) for _ in range(100)])
    assert {s[0] for s in Parallel()(delayed(describe)(one) for _ in range(9))} == {SIZE}
gc.collect()
assert pool.run_everywhere(held) == [0] * pool.size

case("sparse matrices and data frames, where they are installed")
try:
    import scipy.sparse
except ImportError:
    pass
else:
    matrix = scipy.sparse.random(2000, 2000, 0.1, "csr", random_state=1)
    with joblib.parallel_config("ezmpi"):
        sums = Parallel(batch_size=1)(delayed(type(matrix).sum)(matrix) for _ in range(9))
        assert set(sums) == {matrix.sum()}
        sent = Parallel(batch_size=1)(delayed(held)(matrix) for _ in range(9))
        assert sent[-1] == 1, sent
try:
    import pandas
except ImportError:
    pass
else:
    frame = pandas.DataFrame({"a": one, "b": 2 * one})
    with joblib.parallel_config("ezmpi"):
        totals = Parallel(batch_size=1)(delayed(float)(frame.a.sum()) for _ in range(3))
        assert totals == [SIZE] * 3
        sent = Parallel(batch_size=1)(delayed(held)(frame) for _ in range(9))
        assert sent[-1] == 1, sent
        sums = Parallel(batch_size=1)(
            delayed(pandas.DataFrame.sum)(frame) for _ in range(9)
        )
        assert all(list(total) == [SIZE, 2 * SIZE] for total in sums)
print("ok")
