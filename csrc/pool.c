/* pool.c -- the MPIPool type: arguments, methods, attributes, lifetime.

   As Python:

       class MPIPool:                       # a handle on a crew
           def __init__(self, transport, handle, use_dill=True,
                        test_mode=False, initializer=None, initargs=(),
                        retries=None):
               self._crew = crew_open(transport, handle)
               if self.rank != 0:
                   worker_serve(self._crew, one_wait=test_mode)
                   if not test_mode:
                       sys.exit(0)
           def map(self, worker, tasks, callback=None, return_results=True,
                   *, chunksize=None): ...
           def starmap(self, func, iterable, chunksize=None): ...
           def wait(self, callback=None): ...
           def close(self): ...
           rank: int; size: int; closed: bool; handle: int
           # for ezmpi/pool.py
           def _begin(self, func, tasks, future, star, chunksize,
                      failures=None): ...
           def _iterate(self, func, tasks, star, unordered, chunksize,
                        window, show, failures=None,
                        arrived=None): ... # a ResultIterator
           def _call(self, func, args, kwargs, future, rank): ... # a Ticket
           def _share(self, key, value): ...
           def _unshare(self, key): ...
           def _end(self): ...     # nothing more begins in the background
           def _waiting(self): ...      # futures that no worker has begun
           def _abandon(self, why, iterators): ...       # only those
           def _join(self, timeout, workers): ... # True: all is over
           def _workers_status(self): ...
           def _part(self, seconds): ...    # ends workers of its own

   ezmpi/pool.py adds what needs no speed.  Must not know the messages. */

#define PY_SSIZE_T_CLEAN
#include "pool.h"

#include <fcntl.h>

#include "call.h"
#include "codec.h"
#include "crew.h"
#include "driver.h"
#include "errors.h"
#include "guard.h"
#include "hello.h"
#include "initializer.h"
#include "iterator.h"
#include "job.h"
#include "lease.h"
#include "master.h"
#include "status.h"
#include "ticket.h"
#include "worker.h"

struct pool {
    PyObject_HEAD
    struct lease lease;
    struct codec *codec;
    struct initializer *initializer;    /* NULL: none */
    struct calls *calls;        /* NULL until the first */
    PyObject *iterator_type;    /* NULL until the first */
    PyObject *retries;          /* the plan of what begins; NULL: none */
    int use_dill;
    int is_isolated;            /* isolate=True */
    unsigned long long timeout; /* nanoseconds a call may take; 0: any */
};

static int
refuse(const char *why)
{
    PyErr_SetString(PyExc_RuntimeError, why);
    return -1;
}

/* ---- making and ending ------------------------------------------------ */

/* Workers say at the first pool whether they isolate. */
static int
check_isolation(const struct crew *crew)
{
    int rank = 1;
    while (rank <= crew->workers && crew->members[rank - 1].is_isolated)
        rank++;
    if (rank > crew->workers)
        return 0;
    PyErr_Format(
        PyExc_ValueError,
        "isolate=True: rank %d runs tasks in the process that has MPI, "
        "not in a child; give isolate=True on every rank, to the first "
        "pool on the communicator; or, also under python -m ezmpi, set "
        "EZMPI_ISOLATE=1 for the whole job",
        rank);
    return -1;
}

static int
init_master(struct pool *pool, PyObject *initializer, PyObject *initargs)
{
    if (hello_await(pool->lease.crew) < 0
        || (pool->is_isolated && check_isolation(pool->lease.crew) < 0))
        return -1;
    pool->codec = codec_new(pool->use_dill, pool->lease.crew->record);
    if (pool->codec == NULL)
        return -1;
    if (initializer != Py_None) {
        pool->initializer = initializer_new(
            pool->codec, pool->lease.crew->workers, initializer, initargs);
        if (pool->initializer == NULL)
            return -1;
    }
    if (master_init(pool->lease.crew) < 0
        || (pool->lease.crew->ticket_type == NULL
            && !(pool->lease.crew->ticket_type = ticket_new_type())))
        return -1;
    lease_begin(&pool->lease);
    return 0;
}

static void
flush_standard_error(void)
{
    PyObject *file = PySys_GetObject("stderr"); /* borrowed */
    PyObject *done = file ? PyObject_CallMethod(file, "flush", NULL) : NULL;
    if (done == NULL)
        PyErr_Clear();
    Py_XDECREF(done);
}

/* Serves; an exception here is not a task's, and nobody would get it: the
   worker says it and ends the job. */
static int
serve(struct pool *pool)
{
    struct crew *crew = pool->lease.crew;
    if (crew->serving)
        return refuse("a task, or a thread beside it, cannot use a pool on "
                      "the communicator of the worker that runs it");
    crew->serving = 1;
    int status = crew->guard != NULL
                     ? guard_serve(crew->guard, pool->lease.test_mode)
                     : worker_serve(crew, pool->lease.test_mode);
    crew->serving = 0;
    if (status == 0)
        return 0;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyErr_Display(type, value, traceback);
    PySys_WriteStderr("ezmpi: rank %d cannot go on; aborting the job\n",
                      crew->rank);
    flush_standard_error(); /* before 3.9 a line does not go by itself */
    PyErr_Restore(type, value, traceback);
    crew->transport->abort(crew->mailbox, 1);
    return -1;
}

/* A task that reads standard input, or a debugger in it, finds its end: some
   launchers leave a pipe there that nobody writes to, and it would wait for
   ever.  multiprocessing does the same. */
static void
end_standard_input(void)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null > STDIN_FILENO) {
        dup2(null, STDIN_FILENO);
        close(null);
    }
}

static int
init_worker(struct pool *pool)
{
    if (!pool->lease.test_mode)
        end_standard_input();
    if (serve(pool) < 0)
        return -1;
    if (pool->lease.test_mode)
        return 0;
    PyObject *code = PyLong_FromLong(0);
    if (code != NULL)
        PyErr_SetObject(PyExc_SystemExit, code);
    Py_XDECREF(code);
    return -1;
}

static int
check_arguments(PyObject *initializer, PyObject *initargs)
{
    if (initializer == Py_None
        || (PyCallable_Check(initializer) && initargs != NULL))
        return 0;
    PyErr_Format(PyExc_TypeError,
                 "initializer must be callable or None, not "
                 "%.200s",
                 Py_TYPE(initializer)->tp_name);
    return -1;
}

/* A plan of ezmpi._failures', or None. */
static int
parse_retries(PyObject **retries)
{
    if (*retries == Py_None)
        *retries = NULL;
    if (*retries == NULL || PyTuple_Check(*retries))
        return 0;
    return refuse("retries must be a plan");
}

/* One process: ezmpi._mpi knows what the launcher meant to start. */
static int
check_crew(const struct crew *crew, int handle)
{
    if (crew->workers > 0)
        return 0;
    PyObject *module = PyImport_ImportModule("ezmpi._mpi");
    if (module == NULL)
        return -1;
    PyObject *done =
        PyObject_CallMethod(module, "refuse_one_process", "i", handle);
    Py_DECREF(module);
    Py_XDECREF(done);
    return -1;
}

/* What runs on workers may die: there a guard is between, over the local
   transport, if not None. */
static int
isolate(struct pool *pool, PyObject *capsule)
{
    struct crew *crew = pool->lease.crew;
    const struct transport *local;
    if (capsule == Py_None)
        return 0;
    if ((local = PyCapsule_GetPointer(capsule, TRANSPORT_CAPSULE)) == NULL)
        return -1;
    pool->is_isolated = 1;
    if (crew->rank != 0 && crew->guard == NULL)
        crew->guard = guard_new(crew, local);
    return crew->rank != 0 && crew->guard == NULL ? -1 : 0;
}

/* Of a communicator, by its handle; or of workers forked for this pool. */
static int
open_crew(struct pool *pool, PyObject *capsule, PyObject *of)
{
    const struct transport *transport =
        PyCapsule_GetPointer(capsule, TRANSPORT_CAPSULE);
    int is_forked = PyCapsule_IsValid(of, FORKED_CAPSULE);
    int handle = (int)(intptr_t)(is_forked ? PyCapsule_GetContext(of) : NULL);
    if (transport == NULL
        || (!is_forked && !PyArg_Parse(of, "i;a handle", &handle)))
        return -1;
    pool->lease.crew = crew_open(transport, handle);
    if (pool->lease.crew == NULL || check_crew(pool->lease.crew, handle) < 0)
        return -1;
    if (is_forked)
        PyCapsule_SetDestructor(of, NULL);
    return 0;
}

/* The exception may live long, and the pool with it. */
static int
begin_master(struct pool *pool, PyObject *initializer, PyObject *initargs)
{
    int status = init_master(pool, initializer, initargs);
    if (status < 0)
        lease_part(&pool->lease, 0);
    return status;
}

static int
pool_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"transport",   "handle",   "use_dill", "test_mode",
                            "initializer", "initargs", "retries",  "local",
                            "timeout",     NULL};
    struct pool *pool = (struct pool *)self;
    PyObject *capsule, *of, *initializer = Py_None, *initargs = NULL;
    PyObject *retries = NULL, *local = Py_None;
    if (pool->lease.crew != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a pool is initialised once");
        return -1;
    }
    pool->use_dill = 1;
    pool->lease.closed = 1;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "OO|ppOO!OOK:MPIPool", names, &capsule, &of,
            &pool->use_dill, &pool->lease.test_mode, &initializer,
            &PyTuple_Type, &initargs, &retries, &local, &pool->timeout)
        || parse_retries(&retries) < 0
        || check_arguments(initializer, initargs) < 0)
        return -1;
    pool->retries = Py_XNewRef(retries);
    if (open_crew(pool, capsule, of) < 0 || isolate(pool, local) < 0)
        return -1;
    return pool->lease.crew->rank == 0
               ? begin_master(pool, initializer, initargs)
               : init_worker(pool);
}

static void
pool_finalize(PyObject *self)
{
    struct pool *pool = (struct pool *)self;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    /* A credit is given by close alone: whoever dropped a test_mode pool may
       still count on its workers. */
    pool->lease.test_mode = 0;
    if (pool->lease.number > 0 && lease_drop(&pool->lease) < 0)
        PyErr_WriteUnraisable(self);
    PyErr_Restore(type, value, traceback);
}

static void
pool_dealloc(PyObject *self)
{
    struct pool *pool = (struct pool *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (PyObject_CallFinalizerFromDealloc(self) < 0)
        return;
    calls_free(pool->calls);
    Py_XDECREF(pool->iterator_type);
    Py_XDECREF(pool->retries);
    codec_free(pool->codec);
    initializer_free(pool->initializer);
    crew_release(pool->lease.crew);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- methods ---------------------------------------------------------- */

static int
refuse_closed(const struct crew *crew)
{
    const char *of_new = crew_has_own_workers(crew)
                             ? "with workers of its own"
                             : "it uses the same workers";
    return errors_raise("PoolClosedError",
                        "the pool is closed; make a new one to go on (%s)",
                        of_new);
}

static int
check_usable(const struct pool *pool)
{
    struct crew *crew = pool->lease.crew;
    if (pool->lease.closed)
        return refuse_closed(crew);
    if (crew_check_here(crew) < 0 || master_check_workers(crew) < 0)
        return -1;
    return initializer_check(pool->initializer);
}

/* None: the scheduler chooses (0). */
static int
parse_chunksize(PyObject *object, uint64_t *chunksize)
{
    *chunksize = 0;
    if (object == NULL || object == Py_None)
        return 0;
    if (!PyIndex_Check(object) || PyBool_Check(object)) {
        PyErr_Format(PyExc_TypeError,
                     "chunksize must be an int or None, not "
                     "%.200s",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    Py_ssize_t value = PyNumber_AsSsize_t(object, PyExc_OverflowError);
    if (value == -1 && PyErr_Occurred())
        return -1;
    if (value < 1) {
        PyErr_Format(PyExc_ValueError,
                     "chunksize must be at least 1, not "
                     "%zd",
                     value);
        return -1;
    }
    *chunksize = (uint64_t)value;
    return 0;
}

/* The third argument is the callback, or an int: multiprocessing's
   chunksize. */
static int
parse_callback(PyObject **callback, PyObject **chunksize)
{
    if (*callback == NULL || *callback == Py_None) {
        *callback = NULL;
        return 0;
    }
    if (PyLong_Check(*callback) && !PyBool_Check(*callback)) {
        if (*chunksize != NULL && *chunksize != Py_None) {
            PyErr_SetString(PyExc_TypeError, "chunksize was given twice");
            return -1;
        }
        *chunksize = *callback;
        *callback = NULL;
        return 0;
    }
    if (PyCallable_Check(*callback))
        return 0;
    PyErr_Format(PyExc_TypeError,
                 "callback must be callable (or an int, the "
                 "chunksize), not %.200s; map takes one iterable: zip several",
                 Py_TYPE(*callback)->tp_name);
    return -1;
}

static struct job_request
new_request(struct pool *pool)
{
    return (struct job_request){
        .pool = (PyObject *)pool,
        .results = RESULTS_AS_LIST,
        .pool_number = pool->lease.number,
        .codec = pool->codec,
        .initializer = pool->initializer,
        .flags = pool->use_dill ? FLAG_DILL : 0,
        .retries = pool->retries,
        .timeout = pool->timeout,
    };
}

static int
check_function(PyObject *function)
{
    if (PyCallable_Check(function))
        return 0;
    PyErr_Format(PyExc_TypeError,
                 "what the pool is to call must be callable, not %.200s",
                 Py_TYPE(function)->tp_name);
    return -1;
}

/* A callable or None, as ezmpi._progress has it. */
static int
parse_show(PyObject **show)
{
    if (*show == Py_None)
        *show = NULL;
    return *show == NULL ? 0 : check_function(*show);
}

/* As ezmpi._failures has it: (are they results?, a plan of retries or None);
   NULL or None: the pool's. */
static int
parse_failures(PyObject *failures, struct job_request *request)
{
    if (failures == NULL || failures == Py_None)
        return 0;
    if (!PyTuple_Check(failures))
        return refuse("_failures must be a tuple");
    unsigned long long timeout;
    if (!PyArg_ParseTuple(failures, "pOK", &request->returns_failures,
                          &request->retries, &timeout))
        return -1;
    request->timeout = timeout;
    request->flags |= request->returns_failures ? FLAG_EACH : 0;
    return parse_retries(&request->retries);
}

/* In place of a callback: told, with the task's index, of each result and of
   what stands for one. */
static int
parse_arrived(PyObject *arrived, struct job_request *request)
{
    if (arrived == NULL || arrived == Py_None)
        return 0;
    request->callback = arrived;
    request->tells_index = 1;
    return check_function(arrived);
}

static int
parse_map(PyObject *args, PyObject *kwargs, struct job_request *request)
{
    static char *names[] = {"worker",         "tasks",     "callback",
                            "return_results", "chunksize", "progress",
                            "_failures",      "_arrived",  NULL};
    PyObject *chunksize = NULL, *failures = NULL, *arrived = NULL;
    int want_results = 1;
    if (!PyArg_ParseTupleAndKeywords(
            args, kwargs, "OO|Op$OOOO:map", names, &request->function,
            &request->tasks, &request->callback, &want_results, &chunksize,
            &request->show, &failures, &arrived)
        || parse_failures(failures, request) < 0
        || parse_callback(&request->callback, &chunksize) < 0
        || parse_arrived(arrived, request) < 0
        || parse_show(&request->show) < 0
        || parse_chunksize(chunksize, &request->chunksize) < 0)
        return -1;
    if (!want_results)
        request->results = RESULTS_UNWANTED;
    return check_function(request->function);
}

static int
check_made(const struct pool *pool)
{
    if (pool->lease.crew != NULL)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "MPIPool.__init__ was not called, or "
                                        "failed");
    return -1;
}

/* What the master alone can do, while the pool is open. */
static int
check_master(const struct pool *pool)
{
    if (check_made(pool) < 0)
        return -1;
    if (pool->lease.crew->rank != 0)
        return refuse("only rank 0, the master, can do this");
    return check_usable(pool);
}

/* The pool may be dropped by what runs in here: callback, iterator; but a job
   keeps it. */
static PyObject *
pool_map(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct pool *pool = (struct pool *)self;
    if (check_made(pool) < 0)
        return NULL;
    if (pool->lease.crew->rank != 0)
        return serve(pool) < 0 ? NULL : Py_NewRef(Py_None);
    struct job_request request = new_request(pool);
    if (parse_map(args, kwargs, &request) < 0 || check_usable(pool) < 0)
        return NULL;
    return master_map(pool->lease.crew, &request);
}

static PyObject *
pool_starmap(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"func",     "iterable",  "chunksize",
                            "progress", "_failures", NULL};
    struct pool *pool = (struct pool *)self;
    PyObject *chunksize = NULL, *failures = NULL;
    if (check_master(pool) < 0)
        return NULL;
    struct job_request request = new_request(pool);
    request.flags |= FLAG_STAR;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|O$OO:starmap", names,
                                     &request.function, &request.tasks,
                                     &chunksize, &request.show, &failures)
        || parse_failures(failures, &request) < 0
        || parse_show(&request.show) < 0
        || parse_chunksize(chunksize, &request.chunksize) < 0
        || check_function(request.function) < 0)
        return NULL;
    return master_map(pool->lease.crew, &request);
}

/* A ticket. */
static PyObject *
begin_job(struct crew *crew, const struct job_request *request)
{
    struct ticket *ticket = ticket_new(crew);
    if (ticket == NULL)
        return NULL;
    ticket->job = master_begin(crew, request);
    if (ticket->job == NULL)
        Py_CLEAR(ticket);
    return (PyObject *)ticket;
}

static PyObject *
pool_begin(PyObject *self, PyObject *args)
{
    struct pool *pool = (struct pool *)self;
    PyObject *chunksize, *failures = NULL;
    int star;
    if (check_master(pool) < 0)
        return NULL;
    struct job_request request = new_request(pool);
    if (!PyArg_ParseTuple(args, "OOOpO|O:_begin", &request.function,
                          &request.tasks, &request.receiver, &star, &chunksize,
                          &failures)
        || parse_failures(failures, &request) < 0
        || parse_chunksize(chunksize, &request.chunksize) < 0
        || check_function(request.function) < 0
        || driver_start(pool->lease.crew) < 0)
        return NULL;
    request.flags |= star ? FLAG_STAR : 0;
    return begin_job(pool->lease.crew, &request);
}

static PyObject *
new_iterator(struct pool *pool, const struct job_request *request)
{
    if (pool->iterator_type == NULL
        && !(pool->iterator_type = iterator_new_type()))
        return NULL;
    struct job *job = master_begin(pool->lease.crew, request);
    if (job == NULL)
        return NULL;
    return iterator_new(pool->iterator_type, pool->lease.crew, job,
                        request->show);
}

static PyObject *
pool_iterate(PyObject *self, PyObject *args)
{
    struct pool *pool = (struct pool *)self;
    PyObject *chunksize, *failures = NULL, *arrived = NULL;
    int star, unordered;
    unsigned long long window;
    if (check_master(pool) < 0)
        return NULL;
    struct job_request request = new_request(pool);
    if (!PyArg_ParseTuple(args, "OOppOKO|OOO!:_iterate", &request.function,
                          &request.tasks, &star, &unordered, &chunksize,
                          &window, &request.show, &failures, &arrived,
                          &PyList_Type, &request.calm)
        || parse_failures(failures, &request) < 0
        || parse_arrived(arrived, &request) < 0
        || parse_show(&request.show) < 0
        || parse_chunksize(chunksize, &request.chunksize) < 0
        || check_function(request.function) < 0
        || driver_start(pool->lease.crew) < 0)
        return NULL;
    request.flags |= FLAG_EACH | (star ? FLAG_STAR : 0);
    request.results = unordered ? RESULTS_AS_THEY_COME : RESULTS_IN_ORDER;
    request.window = window;
    return new_iterator(pool, &request);
}

static int
open_calls(struct pool *pool)
{
    struct calls_plan plan = {
        .pool = (PyObject *)pool,
        .codec = pool->codec,
        .pool_number = pool->lease.number,
        .initializer = pool->initializer,
        .retries = pool->retries,
        .timeout = pool->timeout,
        .flags = pool->use_dill ? FLAG_DILL : 0,
    };
    if (pool->calls == NULL)
        pool->calls = calls_new(pool->lease.crew, &plan);
    return pool->calls == NULL || driver_start(pool->lease.crew) < 0 ? -1 : 0;
}

/* func, args, kwargs, future, and a rank or None. */
static int
parse_call(const struct pool *pool, PyObject *const *args, Py_ssize_t count,
           struct call *call)
{
    if (count != 5 || !PyTuple_Check(args[1]) || !PyDict_Check(args[2]))
        return refuse("_call takes func, a tuple, a dict, a future, a rank");
    *call = (struct call){args[0], args[1], NULL, args[3], NOBODY};
    if (PyDict_GET_SIZE(args[2]) > 0)
        call->kwargs = args[2];
    if (args[4] == Py_None)
        return check_function(call->function);
    long rank = PyLong_AsLong(args[4]);
    if (rank < 1 || rank > pool->lease.crew->workers)
        return PyErr_Occurred() ? -1 : refuse("there is no such worker");
    call->worker = (int)rank - 1;
    return check_function(call->function);
}

/* What cannot be pickled is the call's failure, as with other pools. */
static PyObject *
begin_call(struct pool *pool, const struct call *call)
{
    PyObject *ticket = calls_begin(pool->calls, call);
    if (ticket != NULL || !PyErr_ExceptionMatches(PyExc_Exception))
        return ticket;
    PyObject *exception = PyErr_GetRaisedException();
    crew_settle(pool->lease.crew, call->receiver, exception, 1);
    Py_DECREF(exception);
    return (PyObject *)ticket_new(pool->lease.crew);
}

static PyObject *
pool_call(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    struct pool *pool = (struct pool *)self;
    struct crew *crew = pool->lease.crew;
    struct call call;
    if (check_master(pool) < 0 || parse_call(pool, args, count, &call) < 0
        || ((pool->calls == NULL || !crew->driver.started)
            && open_calls(pool) < 0))
        return NULL;
    crew_take_helm(crew);
    /* The driver's thread may have gone to sleep, but not since. */
    int is_first = crew->unfinished == 0;
    PyObject *ticket = begin_call(pool, &call);
    if (ticket != NULL && master_move(crew) < 0)
        Py_CLEAR(ticket);
    crew->driver.driven = crew_clock();
    crew_leave_helm(crew);
    if (is_first)
        helm_notify(&crew->helm, crew);
    return ticket;
}

static PyObject *
pool_share(PyObject *self, PyObject *args)
{
    struct pool *pool = (struct pool *)self;
    PyObject *key, *value;
    if (check_master(pool) < 0
        || !PyArg_ParseTuple(args, "OO:_share", &key, &value))
        return NULL;
    uint32_t flags = pool->use_dill ? FLAG_DILL : 0;
    return master_share(pool->lease.crew, pool->codec, flags, key, value) < 0
               ? NULL
               : Py_NewRef(Py_None);
}

/* Also when the pool is closed: others may be open. */
static PyObject *
pool_unshare(PyObject *self, PyObject *key)
{
    struct pool *pool = (struct pool *)self;
    if (check_made(pool) < 0)
        return NULL;
    if (crew_is_gone(pool->lease.crew))
        Py_RETURN_NONE;
    return master_unshare(pool->lease.crew, pool->codec, key) < 0
               ? NULL
               : Py_NewRef(Py_None);
}

static PyObject *
pool_end(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct pool *pool = (struct pool *)self;
    if (pool->lease.number > 0)
        driver_stop(pool->lease.crew);
    Py_RETURN_NONE;
}

static PyObject *
pool_waiting(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct pool *pool = (struct pool *)self;
    if (check_made(pool) < 0)
        return NULL;
    if (pool->calls == NULL || crew_is_gone(pool->lease.crew))
        return PyList_New(0);
    if (crew_check_here(pool->lease.crew) < 0)
        return NULL;
    crew_take_helm(pool->lease.crew);
    PyObject *futures = calls_waiting(pool->calls);
    crew_leave_helm(pool->lease.crew);
    return futures;
}

/* The exception is made before the helm is taken, for that imports modules;
   and only if it is needed, for that takes long. */
static int
abandon(struct pool *pool, const char *why, int iterators)
{
    struct crew *crew = pool->lease.crew;
    if (!lease_has_unfinished(&pool->lease))
        return 0;
    if (crew_check_here(crew) < 0)
        return -1;
    PyObject *exception = errors_new("TimeoutError", why);
    if (exception == NULL)
        return -1;
    crew_take_helm(crew);
    master_abandon(crew, pool->lease.number, iterators, exception);
    crew_leave_helm(crew);
    Py_DECREF(exception);
    return future_raise(crew->futures);
}

static PyObject *
pool_abandon(PyObject *self, PyObject *args)
{
    struct pool *pool = (struct pool *)self;
    const char *why;
    int iterators;
    if (check_made(pool) < 0
        || !PyArg_ParseTuple(args, "sp:_abandon", &why, &iterators))
        return NULL;
    if (pool->lease.number == 0 || crew_is_gone(pool->lease.crew))
        Py_RETURN_NONE;
    if (!iterators)
        lease_terminate(&pool->lease);
    if (!iterators && !pool->lease.test_mode)
        master_give_up(pool->lease.crew);
    return abandon(pool, why, iterators) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
pool_join(PyObject *self, PyObject *args)
{
    struct pool *pool = (struct pool *)self;
    PyObject *timeout;
    double seconds;
    int workers_too;
    if (check_made(pool) < 0
        || !PyArg_ParseTuple(args, "Op:_join", &timeout, &workers_too)
        || master_parse_seconds(timeout, &seconds) < 0)
        return NULL;
    if (pool->lease.number == 0)
        Py_RETURN_TRUE;
    int status = lease_join(&pool->lease, seconds, workers_too);
    return status < 0 ? NULL : PyBool_FromLong(status);
}

/* Also when the pool is closed: what it has begun may go on. */
static PyObject *
pool_workers_status(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct pool *pool = (struct pool *)self;
    if (check_made(pool) < 0)
        return NULL;
    if (pool->lease.number == 0) {
        refuse("only rank 0, the master, can do this");
        return NULL;
    }
    return status_list(pool->lease.crew);
}

static PyObject *
pool_part(PyObject *self, PyObject *args)
{
    struct pool *pool = (struct pool *)self;
    double seconds;
    if (check_made(pool) < 0 || !PyArg_ParseTuple(args, "d:_part", &seconds))
        return NULL;
    if (pool->lease.number > 0)
        lease_part(&pool->lease, seconds);
    Py_RETURN_NONE;
}

static PyObject *
pool_wait(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"callback", NULL};
    struct pool *pool = (struct pool *)self;
    PyObject *callback = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:wait", names, &callback)
        || check_made(pool) < 0)
        return NULL;
    if (pool->lease.crew->rank == 0)
        Py_RETURN_NONE;
    if (serve(pool) < 0)
        return NULL;
    if (callback == Py_None)
        Py_RETURN_NONE;
    PyObject *done = PyObject_CallNoArgs(callback);
    Py_XDECREF(done);
    return done == NULL ? NULL : Py_NewRef(Py_None);
}

static PyObject *
pool_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct pool *pool = (struct pool *)self;
    if (pool->lease.number == 0)
        Py_RETURN_NONE;
    return lease_close(&pool->lease) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(map_doc,
             "map(worker, tasks, callback=None, return_results=True, *,\n"
             "    chunksize=None)");
PyDoc_STRVAR(starmap_doc, "starmap(func, iterable, chunksize=None)");
PyDoc_STRVAR(wait_doc, "wait(callback=None)");
PyDoc_STRVAR(close_doc, "close()");

static PyMethodDef pool_methods[] = {
    {"map", (PyCFunction)(void (*)(void))pool_map,
     METH_VARARGS | METH_KEYWORDS, map_doc},
    {"_part", pool_part, METH_VARARGS, NULL},
    {"wait", (PyCFunction)(void (*)(void))pool_wait,
     METH_VARARGS | METH_KEYWORDS, wait_doc},
    {"close", pool_close, METH_NOARGS, close_doc},
    {"starmap", (PyCFunction)(void (*)(void))pool_starmap,
     METH_VARARGS | METH_KEYWORDS, starmap_doc},
    {"_begin", pool_begin, METH_VARARGS, NULL},
    {"_iterate", pool_iterate, METH_VARARGS, NULL},
    {"_call", (PyCFunction)(void (*)(void))pool_call, METH_FASTCALL, NULL},
    {"_share", pool_share, METH_VARARGS, NULL},
    {"_unshare", pool_unshare, METH_O, NULL},
    {"_end", pool_end, METH_NOARGS, NULL},
    {"_waiting", pool_waiting, METH_NOARGS, NULL},
    {"_abandon", pool_abandon, METH_VARARGS, NULL},
    {"_join", pool_join, METH_VARARGS, NULL},
    {"_workers_status", pool_workers_status, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* ---- attributes ------------------------------------------------------- */

static PyObject *
pool_get_rank(PyObject *self, void *Py_UNUSED(closure))
{
    struct pool *pool = (struct pool *)self;
    return check_made(pool) < 0 ? NULL
                                : PyLong_FromLong(pool->lease.crew->rank);
}

static PyObject *
pool_get_size(PyObject *self, void *Py_UNUSED(closure))
{
    struct pool *pool = (struct pool *)self;
    return check_made(pool) < 0
               ? NULL
               : PyLong_FromLong(crew_alive(pool->lease.crew));
}

static PyObject *
pool_get_ranks(PyObject *self, void *Py_UNUSED(closure))
{
    struct pool *pool = (struct pool *)self;
    if (check_made(pool) < 0)
        return NULL;
    const struct crew *crew = pool->lease.crew;
    PyObject *ranks = PySet_New(NULL);
    for (int i = 0; ranks != NULL && i < crew->workers; i++) {
        if (crew->members != NULL && crew->members[i].is_lost)
            continue;
        PyObject *rank = PyLong_FromLong(i + 1);
        if (rank == NULL || PySet_Add(ranks, rank) < 0)
            Py_CLEAR(ranks);
        Py_XDECREF(rank);
    }
    return ranks;
}

static PyObject *
pool_get_handle(PyObject *self, void *Py_UNUSED(closure))
{
    struct pool *pool = (struct pool *)self;
    if (check_made(pool) < 0)
        return NULL;
    return PyLong_FromLong(
        pool->lease.crew->transport->handle(pool->lease.crew->mailbox));
}

static PyObject *
pool_get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((struct pool *)self)->lease.closed);
}

static PyObject *
pool_get_broken(PyObject *self, void *Py_UNUSED(closure))
{
    const struct initializer *initializer = ((struct pool *)self)->initializer;
    return PyBool_FromLong(initializer != NULL
                           && initializer->failure != NULL);
}

static PyGetSetDef pool_getset[] = {
    {"rank", pool_get_rank, NULL, "This process's rank; 0 is the master.",
     NULL},
    {"size", pool_get_size, NULL, "Number of workers, on every rank.", NULL},
    {"_ranks", pool_get_ranks, NULL, "The workers' ranks.", NULL},
    {"_handle", pool_get_handle, NULL, "Fortran handle of the communicator.",
     NULL},
    {"closed", pool_get_closed, NULL, "True after close, and on workers.",
     NULL},
    {"_broken", pool_get_broken, NULL, "Did the initializer fail?", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/* ---- the type --------------------------------------------------------- */

static PyType_Slot pool_slots[] = {
    {Py_tp_doc, "The part of ezmpi.MPIPool that is C."},
    {Py_tp_init, pool_init},
    {Py_tp_dealloc, pool_dealloc},
    {Py_tp_finalize, pool_finalize},
    {Py_tp_methods, pool_methods},
    {Py_tp_getset, pool_getset},
    {0, NULL},
};

static PyType_Spec pool_spec = {
    .name = "ezmpi._ezmpi.MPIPool",
    .basicsize = sizeof(struct pool),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = pool_slots,
};

int
pool_add_type(PyObject *module)
{
    PyObject *type = PyType_FromSpec(&pool_spec);
    if (type == NULL)
        return -1;
    if (PyModule_AddObject(module, "MPIPool", type) < 0) {
        Py_DECREF(type);
        return -1;
    }
    return 0;
}
