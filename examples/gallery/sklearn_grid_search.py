"""Which support vector machine reads digits best, with scikit-learn through joblib.

mpiexec -n 4 python examples/gallery/sklearn_grid_search.py
"""

import os
import sys
from collections import Counter

# One thread in each process: several ranks share the processors.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import joblib  # noqa: E402
import numpy as np  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.svm import SVC  # noqa: E402

import ezmpi.joblib  # noqa: E402

FITS = Counter()  # of each process its own


class CountedSVC(SVC):
    def fit(self, X, y, sample_weight=None):
        FITS["done"] += 1
        return super().fit(X, y, sample_weight)


def fits():
    return FITS["done"]


def run():
    X, y = load_digits(return_X_y=True)
    X, y = X[:600], y[:600]
    grid = {"C": [0.1, 1, 10], "gamma": [3e-4, 1e-3, 3e-3]}
    search = GridSearchCV(CountedSVC(), grid, cv=4).fit(X, y)
    scores = cross_val_score(search.best_estimator_, X, y, cv=8)
    return search.best_params_, search.cv_results_["mean_test_score"], scores


if __name__ == "__main__":
    pool = ezmpi.joblib.register()
    with joblib.parallel_config("ezmpi"):
        best, grid, scores = run()
    print("Tasks per worker:", *pool.run_everywhere(fits))
    print("best of the grid:", best)
    print(f"score = {scores.mean():.3f} +- {scores.std():.3f} in 8 folds")
    best_alone, grid_alone, scores_alone = run()
    if best != best_alone or not np.array_equal(grid, grid_alone):
        sys.exit("the pool's search is not the serial one")
    if not np.array_equal(scores, scores_alone):
        sys.exit("the pool's scores are not the serial ones")
    print("The pool and the serial run agree.")
