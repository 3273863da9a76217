"""Runs other projects' tests of pools and executors on those of ezmpi.

    mpiexec -n 3 python tests/other_suites.py SUITE PATH [NAME ...]

PATH is a copy of the project that the suite is of, which has to be here already:

- mpi4py-pool, mpi4py-futures, mpi4py-comm: mpi4py's source, unpacked
- loky: loky's source, unpacked; loky and pytest are to be installed
- cpython-pool, cpython-futures, cpython-scripts: the directory test of the standard
  library of this very Python

cpython-scripts is started without mpiexec: it starts programs with it. NAMEs choose tests
by a part of their names. EZMPI_SUITE_POOL=MPIPool has the suites of pools make an MPIPool
instead of a Pool. The tests are run as they are: what they need of the other package is
replaced by a stand-in before they are imported, and what cannot hold is skipped, with the
reason (DO_NOT_APPLY).
"""

import faulthandler
import functools
import importlib
import os
import shutil
import subprocess
import sys
import types
import unittest
import warnings
from pathlib import Path

import ezmpi
from ezmpi import futures

SECONDS = 60  # a test that takes longer hangs: the stacks are written, and all ends

NO_PROCESSES = "its workers are neither started, replaced nor killed by the pool"
PRIVATE = "looks into the other implementation"
SCRIPT = "starts a program: see cpython-scripts"
CONSTRUCTOR = "MPIPool has a constructor of its own"
THERE_ALONE = "there alone: "
EVENT = "sends an Event of multiprocessing, which its children alone can get"

DO_NOT_APPLY = {
    "mpi4py-pool": {},
    "mpi4py-futures": {
        "test_run_name": PRIVATE + ": the name of __main__ on its workers",
        "test_max_workers": THERE_ALONE + "_max_workers is 0 after shutdown",
        "test_max_workers_environ": THERE_ALONE + "an environment variable",
        "test_get_comm_workers": THERE_ALONE + "get_comm_workers",
        "test_map_buffersize": THERE_ALONE + "buffersize excludes unordered",
        "test_bootup_shutdown_nowait": PRIVATE + ": its thread",
        "ProcessPoolShutdownTest.test_shutdown": PRIVATE + ": its thread",
        "test_shutdown_cancel": PRIVATE + ": its pool",
        "test_init_bootup_shutdown": PRIVATE + ": its pool",
        "test_context_manager_shutdown": PRIVATE + ": its thread and queue",
        "test_del_shutdown": PRIVATE + ": its thread and queue",
        "test_mpi_serialized_support": PRIVATE + ": its lock",
    },
    "mpi4py-comm": {"test_get_comm_workers": THERE_ALONE + "get_comm_workers"},
    "cpython-pool": {
        "test_make_pool": PRIVATE + ": its list of processes",
        "test_pool_worker_lifetime": NO_PROCESSES,
        "test_worker_finalization_via_atexit_handler_of_multiprocessing": SCRIPT,
        "test_resource_warning": PRIVATE + ": its state",
        "test_imap_handle_iterable_exception": THERE_ALONE + "an iterable that raises "
        "takes results with it that share a chunk with it; ezmpi gives them",
        "test_map_no_failfast": THERE_ALONE
        + "after a failure the rest of a map is begun",
        "test_unpickleable_result": THERE_ALONE + "lambdas are not sent; dill sends them",
    },
    "cpython-futures": {
        "test_interpreter_shutdown": SCRIPT,
        "test_submit_after_interpreter_shutdown": SCRIPT,
        "test_hang_gh83386": SCRIPT,
        "test_context_manager_shutdown": PRIVATE + ": its processes",
        "test_del_shutdown": PRIVATE + ": its processes",
        "test_shutdown_no_wait": PRIVATE + ": its processes",
        "test_killed_child": NO_PROCESSES,
        "test_saturation": NO_PROCESSES,
        "test_idle_process_reuse_one": NO_PROCESSES,
        "test_idle_process_reuse_multiple": NO_PROCESSES,
        "test_max_tasks_per_child": NO_PROCESSES,
        "test_max_tasks_per_child_defaults_to_spawn_context": NO_PROCESSES,
        "test_max_tasks_early_shutdown": NO_PROCESSES,
        "test_processes_terminate": NO_PROCESSES,
        "test_python_finalization_error": PRIVATE + ": its threads",
        "FailingInitializerMixin.test_initializer": PRIVATE + ": _broken, and a log; "
        "mpi4py's test_initializer_error asks for the same",
    },
    "cpython-scripts": {},
    "loky": {
        "test_interpreter_shutdown": SCRIPT,
        "test_hang_gh94440": SCRIPT,
        "test_hang_issue39205": SCRIPT,
        "test_processes_terminate": NO_PROCESSES,
        "test_processes_terminate_on_executor_gc": NO_PROCESSES,
        "test_processes_crash_handling_after_executor_gc": NO_PROCESSES,
        "test_killed_child": NO_PROCESSES,
        "test_killed_child_with_cancelled_work_items": NO_PROCESSES,
        "test_exited_child": NO_PROCESSES,
        "test_worker_timeout": NO_PROCESSES,
        "test_memory_leak_protection": NO_PROCESSES,
        "test_shutdown_and_kill_workers": NO_PROCESSES,
        "test_context_manager_shutdown": PRIVATE + ": its processes",
        "test_del_shutdown": PRIVATE + ": its processes",
        "test_shutdown_no_wait": PRIVATE + ": its processes",
        "test_shutdown_deadlock_pickle": PRIVATE + ": its thread",
        "test_feeder_error_hook_crash_breaks_executor": PRIVATE + ": its thread",
        "test_manager_thread_crash_breaks_executor": PRIVATE + ": its thread",
        "test_shutdown_with_sys_exit_at_pickle": THERE_ALONE + "an exit in pickling "
        "becomes a PicklingError; ezmpi pickles in submit, which exits",
        "ExecutorTest.test_traceback": PRIVATE + ": the class of the cause",
        "test_first_exception": EVENT,
        "test_timeout": EVENT,
        "test_serialization": THERE_ALONE + "job_reducers",
        "test_max_depth": THERE_ALONE + "executors in tasks",
        "test_reference_cycle_collection": THERE_ALONE + "it collects garbage at times",
        "test_no_failure_on_large_data_send": "sends 2.2 GB",
        "test_child_env_executor": THERE_ALONE + "an environment for the workers",
        "test_viztracer_profiler": THERE_ALONE + "viztracer",
        "test_viztracer_profiler_with_custom_init": THERE_ALONE + "viztracer",
    },
}
OF_MPIPOOL = {
    "mpi4py-pool": {
        "test_arg_processes": CONSTRUCTOR,
        "test_unsupported_args": CONSTRUCTOR,
    },
    "cpython-pool": {"test_pool_maxtasksperchild_invalid": CONSTRUCTOR},
}
of_mpipool = os.environ.get("EZMPI_SUITE_POOL") == "MPIPool"


def pool_type():
    """What makes the pools: as multiprocessing.Pool is called."""
    if not of_mpipool:
        return ezmpi.Pool

    def make(processes=None, initializer=None, initargs=(), maxtasksperchild=None):
        return ezmpi.MPIPool(initializer=initializer, initargs=initargs)

    return make


# --- the suites: each prepares what all ranks import, and returns what makes tests ---


def mpi4py_pool(path):
    sys.path.insert(0, str(path / "test"))

    def tests():
        module = importlib.import_module("test_util_pool")

        class Test(module.BaseTestPool, unittest.TestCase):
            Pool = staticmethod(pool_type())

        return all_of(Test)

    return tests


def mpi4py_futures(path):
    sys.path[:0] = [str(path / "test"), str(path / "demo" / "futures")]
    stand_in_for_mpi4py(shared=object())

    def tests():
        module = importlib.import_module("test_futures")
        names = "Init Bootup Shutdown Wait AsCompleted Executor Submit Pickle".split()
        cases = [getattr(module, "ProcessPool%sTest" % name) for name in names]
        return all_of(module.SharedPoolInitTest, *cases, module.MPICommExecutorTest)

    return tests


def mpi4py_comm(path):
    """Of MPICommExecutor, on all ranks: with no pool before."""
    sys.path[:0] = [str(path / "test"), str(path / "demo" / "futures")]
    stand_in_for_mpi4py(shared=None)
    return lambda: all_of(importlib.import_module("test_futures").MPICommExecutorTest)


def stand_in_for_mpi4py(shared):
    """Replace mpi4py.futures; the names that its tests take from it, and no others."""
    import mpi4py
    from mpi4py.futures import _core, collect, compose

    module = types.ModuleType("mpi4py.futures")
    vars(module).update((name, getattr(futures, name)) for name in futures.__all__)
    module.ThreadPoolExecutor = futures.ThreadPoolExecutor
    module.collect, module.compose = collect, compose
    module._core = types.SimpleNamespace(
        SharedPool=shared,
        RemoteTraceback=ezmpi.RemoteTraceback,
        comm_split=_core.comm_split,
    )
    mpi4py.futures = module


def cpython_pool(path):
    use_library_tests(path)

    def tests():
        import multiprocessing.pool

        module = importlib.import_module("test._test_multiprocessing")
        # a worker is not killed: what it runs goes on after terminate
        module.support.SHORT_TIMEOUT, module.support.LONG_TIMEOUT = 2.0, 2.0
        multiprocessing.pool.RemoteTraceback = ezmpi.RemoteTraceback
        ezmpi.RemoteTraceback.tb = property(lambda self: self.text)
        module.multiprocessing = types.SimpleNamespace(
            **dict(vars(multiprocessing), Pool=pool_type())
        )

        class OfPool:
            TYPE = "processes"
            Pool = staticmethod(pool_type())

        names = "_TestPool", "_TestPoolWorkerErrors", "_TestPoolWorkerLifetime"
        bases = [(OfPool, getattr(module, name), unittest.TestCase) for name in names]
        return all_of(*(type(name[1:], of, {}) for name, of in zip(names, bases)))

    return tests


def cpython_futures(path):
    use_library_tests(path)

    def tests():
        import concurrent.futures.process
        import multiprocessing

        concurrent.futures.process._RemoteTraceback = ezmpi.RemoteTraceback
        ezmpi.RemoteTraceback.tb = property(lambda self: self.text)
        modules = [importlib.import_module(name) for name in executor_modules(path)]

        class OfExecutor(modules[0].ExecutorMixin):
            executor_type = futures.MPIPoolExecutor

            def get_context(self):
                return multiprocessing.get_context("spawn")

        names = (
            "ProcessPoolExecutorTest ProcessPoolShutdownTest WaitTests AsCompletedTests "
            "InitializerMixin FailingInitializerMixin"
        ).split()
        bases = OfExecutor, modules[0].BaseTestCase
        return all_of(*(type(name, (find(modules, name), *bases), {}) for name in names))

    return tests


def cpython_scripts(path):
    """Programs that the tests start: here with mpiexec, and with ezmpi's classes."""
    use_library_tests(path)

    def run(_, code):
        for theirs, ours in REPLACED:
            code = code.replace(theirs, ours)
        mpiexec = shutil.which("mpiexec", path=os.path.dirname(sys.executable))
        command = [mpiexec or "mpiexec", "-n", "3", sys.executable, "-c", code]
        done = subprocess.run(command, stdout=-1, stderr=-1, timeout=SECONDS / 2)
        if done.returncode:
            raise AssertionError((done.returncode, done.stdout, done.stderr))
        return done.returncode, done.stdout, done.stderr

    def tests():
        modules = [importlib.import_module(name) for name in executor_modules(path)]
        for module in modules:
            module.assert_python_ok = run
        pools = importlib.import_module("test._test_multiprocessing")
        pools.test.support.script_helper.assert_python_ok = run

        class NotHere:
            """What is no process of MPI's makes no executor."""

            executor_type = type("MPIPoolExecutor", (), {})

            def setUp(self):
                pass

            tearDown = setUp

        chosen = []
        for name, names in SCRIPTS.items():
            bases = NotHere, find([*modules, pools], name), unittest.TestCase
            case = type(name.lstrip("_"), bases, {})
            chosen += [case(test) for test in names if hasattr(case, test)]
        return chosen

    return tests


SCRIPTS = {
    "ExecutorShutdownTest": [
        "test_interpreter_shutdown",
        "test_submit_after_interpreter_shutdown",
        "test_hang_gh83386",
    ],
    "ThreadPoolShutdownTest": ["test_cancel_futures_wait_false"],
    "_TestPoolWorkerLifetime": [
        "test_worker_finalization_via_atexit_handler_of_multiprocessing"
    ],
}
# what programs import, and how they are to have it
REPLACED = (
    ("multiprocessing import Pool", "ezmpi import Pool"),
    ("ThreadPoolExecutor", "MPIPoolExecutor"),
    ("from concurrent.futures import MPI", "from ezmpi.futures import MPI"),
)


def executor_modules(path):
    """The modules of the tests of executors; one, before Python 3.12."""
    package = "test.test_concurrent_futures"
    if not (path / "test_concurrent_futures").is_dir():
        return [package]
    names = "util executor test_init test_process_pool test_shutdown test_wait".split()
    return [package + "." + name for name in [*names, "test_as_completed"]]


def find(modules, name):
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def use_library_tests(path):
    import multiprocessing

    import test

    test.__path__.insert(0, str(path))
    # by which workers may talk to a manager's process
    multiprocessing.current_process().authkey = b"the same on all ranks"


def loky(path):
    sys.path.insert(0, str(path))

    def tests():
        module = importlib.import_module("tests._test_process_executor")

        class OfExecutor:
            executor_type = futures.MPIPoolExecutor
            worker_count = 4
            context = None

            def setUp(self):
                self.executor = self.executor_type(self.worker_count)

            def tearDown(self):
                self.executor.shutdown()

        names = "ExecutorShutdownTest", "WaitTests", "AsCompletedTests", "ExecutorTest"
        bases = [(OfExecutor, getattr(module, name), unittest.TestCase) for name in names]
        return all_of(*(type(name, of, {}) for name, of in zip(names, bases)))

    return tests


SUITES = {
    "mpi4py-pool": mpi4py_pool,
    "mpi4py-futures": mpi4py_futures,
    "mpi4py-comm": mpi4py_comm,
    "cpython-pool": cpython_pool,
    "cpython-futures": cpython_futures,
    "cpython-scripts": cpython_scripts,
    "loky": loky,
}
WITHOUT_POOL = "mpi4py-comm", "cpython-scripts"


# --- running them ---


class Result(unittest.TextTestResult):
    """Says of each test that begins, and ends one that hangs with all stacks."""

    def startTest(self, test):
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        faulthandler.cancel_dump_traceback_later()


def all_of(*cases):
    """The tests of some classes."""
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    return [test for case in cases for test in load(case)]


def skip_what_does_not_apply(suite, tests):
    reasons = dict(DO_NOT_APPLY[suite])
    if of_mpipool:
        reasons.update(OF_MPIPOOL.get(suite, {}))
    for test in tests:
        for name, reason in reasons.items():
            if test.id().endswith("." + name):
                setattr(test, test._testMethodName, functools.partial(skip, reason))


def skip(reason):
    raise unittest.SkipTest(reason)


def main(suite, path, *names):
    prepared = SUITES[suite](Path(path).resolve())
    warnings.filterwarnings("ignore", "ezmpi.Pool does not use", UserWarning)
    if suite not in WITHOUT_POOL:
        first = ezmpi.MPIPool()  # all ranks but 0 serve here, and end
    tests = prepared()
    skip_what_does_not_apply(suite, tests)
    if names:
        tests = [test for test in tests if any(name in test.id() for name in names)]
    runner = unittest.TextTestRunner(verbosity=2, resultclass=Result)
    result = runner.run(unittest.TestSuite(tests))
    if suite not in WITHOUT_POOL:
        first.close()
    return not result.wasSuccessful()


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in SUITES:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
