/* pool.c -- the MPIPool type: arguments, methods, attributes, lifetime.

   As Python:

       class MPIPool:                       # a handle on a crew
           def __init__(self, transport, handle, use_dill=True,
                        test_mode=False, initializer=None, initargs=()):
               self._crew = crew_open(transport, handle)
               if self.rank != 0:
                   worker_serve(self._crew, one_wait=test_mode)
                   if not test_mode:
                       sys.exit(0)
           def map(self, worker, tasks, callback=None, return_results=True,
                   *, chunksize=None): ...
           def wait(self, callback=None): ...
           def close(self): ...
           rank: int; size: int; closed: bool; handle: int

   ezmpi/pool.py adds what needs no speed.  Must not know the messages. */

#define PY_SSIZE_T_CLEAN
#include "pool.h"

#include <fcntl.h>
#include <unistd.h>

#include "codec.h"
#include "crew.h"
#include "errors.h"
#include "master.h"
#include "worker.h"

#define FLUSH_SECONDS 0.5       /* what close spends on messages to leave */

struct pool {
    PyObject_HEAD
    struct crew *crew;          /* NULL until __init__ got it */
    struct codec *codec;
    uint64_t number;            /* on its crew, from 1 */
    struct parcel *initializer;
    unsigned char *initialized; /* by worker: was sent the initializer */
    unsigned long thread;       /* the one that made the pool */
    int use_dill;
    int test_mode;
    int closed;
};

static int
refuse(const char *why)
{
    PyErr_SetString(PyExc_RuntimeError, why);
    return -1;
}

/* ---- making and ending ------------------------------------------------ */

static int
dump_initializer(struct pool *pool, PyObject *initializer, PyObject *initargs)
{
    PyObject *pair = NULL, *arguments = PySequence_Tuple(initargs);
    int status = -1;
    pool->initialized = PyMem_Calloc((size_t)pool->crew->workers + 1, 1);
    pool->initializer = parcel_new();
    if (arguments == NULL || pool->initializer == NULL
        || pool->initialized == NULL)
        goto done;
    pair = PyTuple_Pack(2, initializer, arguments);
    if (pair != NULL
        && codec_dump(pool->codec, pool->initializer, pair, 1) == 0)
        status = codec_keep(pool->codec);
done:
    Py_XDECREF(pair);
    Py_XDECREF(arguments);
    return status;
}

static int
init_master(struct pool *pool, PyObject *initializer, PyObject *initargs)
{
    pool->codec = codec_new(pool->use_dill, pool->crew->record);
    if (pool->codec == NULL)
        return -1;
    if (initializer != Py_None
        && dump_initializer(pool, initializer, initargs) < 0)
        return -1;
    pool->number = ++pool->crew->pools;
    pool->crew->open_pools++;
    pool->closed = 0;
    return 0;
}

/* Serves; an exception here is not a task's, and nobody would get it: the
   worker says it and ends the job. */
static int
serve(struct pool *pool)
{
    struct crew *crew = pool->crew;
    if (crew->busy)
        return refuse("a task, or a thread beside it, cannot use a pool on "
                      "the communicator of the worker that runs it");
    crew->busy = 1;
    int status = worker_serve(crew, pool->test_mode);
    crew->busy = 0;
    if (status == 0)
        return 0;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyErr_Display(type, value, traceback);
    PySys_WriteStderr("ezmpi: rank %d cannot go on; aborting the job\n",
                      crew->rank);
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
    if (!pool->test_mode)
        end_standard_input();
    if (serve(pool) < 0)
        return -1;
    if (pool->test_mode)
        return 0;
    PyObject *code = PyLong_FromLong(0);
    if (code != NULL)
        PyErr_SetObject(PyExc_SystemExit, code);
    Py_XDECREF(code);
    return -1;
}

static int
check_arguments(PyObject *initializer)
{
    if (initializer == Py_None || PyCallable_Check(initializer))
        return 0;
    PyErr_Format(PyExc_TypeError,
                 "initializer must be callable or None, not "
                 "%.200s",
                 Py_TYPE(initializer)->tp_name);
    return -1;
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

static int
pool_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"transport",   "handle",   "use_dill", "test_mode",
                            "initializer", "initargs", NULL};
    struct pool *pool = (struct pool *)self;
    PyObject *capsule, *initializer = Py_None, *initargs = NULL;
    int handle;
    if (pool->crew != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "a pool is initialised once");
        return -1;
    }
    pool->use_dill = 1;
    pool->closed = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi|ppOO!:MPIPool", names,
                                     &capsule, &handle, &pool->use_dill,
                                     &pool->test_mode, &initializer,
                                     &PyTuple_Type, &initargs)
        || check_arguments(initializer) < 0)
        return -1;
    const struct transport *transport =
        PyCapsule_GetPointer(capsule, TRANSPORT_CAPSULE);
    if (transport == NULL)
        return -1;
    pool->thread = PyThread_get_thread_ident();
    pool->crew = crew_open(transport, handle);
    if (pool->crew == NULL || check_crew(pool->crew, handle) < 0)
        return -1;
    return pool->crew->rank == 0 ? init_master(pool, initializer, initargs)
                                 : init_worker(pool);
}

/* Ends the use of the pool; the workers serve on for the next one. */
static int
close_pool(struct pool *pool)
{
    struct crew *crew = pool->crew;
    struct header header = {.pool = pool->number};
    if (pool->closed)
        return 0;
    pool->closed = 1;
    crew->open_pools--;
    if (getpid() != crew->pid || crew->transport->closed(crew->mailbox))
        return 0;       /* MPI is another process's, or has ended */
    crew->busy = 1;
    int status = crew_forget(crew, crew->open_pools == 0 ? 0 : pool->number);
    if (pool->test_mode && status == 0)
        status = crew_broadcast(crew, VERB_RELEASE, &header, NULL);
    if (status == 0)
        status = crew_flush(crew, FLUSH_SECONDS) < 0 ? -1 : 0;
    crew->busy = 0;
    return status;
}

/* Of a pool that was not closed.  While a map runs nothing can be sent; the
   workers are told when the last pool is closed. */
static int
drop_pool(struct pool *pool)
{
    if (!pool->crew->busy)
        return close_pool(pool);
    if (!pool->closed)
        pool->crew->open_pools--;
    pool->closed = 1;
    return 0;
}

static void
pool_finalize(PyObject *self)
{
    struct pool *pool = (struct pool *)self;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    /* A credit is given by close alone: whoever dropped a test_mode pool may
       still count on its workers. */
    pool->test_mode = 0;
    if (pool->crew != NULL && pool->crew->rank == 0 && drop_pool(pool) < 0)
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
    codec_free(pool->codec);
    parcel_free(pool->initializer);
    PyMem_Free(pool->initialized);
    type->tp_free(self);
    Py_DECREF(type);
}

/* ---- methods ---------------------------------------------------------- */

static int
check_usable(const struct pool *pool)
{
    if (pool->closed)
        return errors_raise("PoolClosedError",
                            "the pool is closed; make a "
                            "new MPIPool to go on (it uses the same "
                            "workers)");
    if (getpid() != pool->crew->pid)
        return refuse("map was called in a forked child: MPI belongs to the "
                      "process that made the pool");
    if (PyThread_get_thread_ident() != pool->thread)
        return refuse("map was called from another thread than the one that "
                      "made the pool");
    if (pool->crew->busy)
        return refuse(
            "map was called while another map on this communicator "
            "runs: from a callback, from the tasks' iterator, or in another "
            "thread");
    return 0;
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

static int
parse_request(const struct pool *pool, PyObject *args, PyObject *kwargs,
              struct master_request *request)
{
    static char *names[] = {"worker",         "tasks",     "callback",
                            "return_results", "chunksize", NULL};
    PyObject *chunksize = NULL;
    *request = (struct master_request){
        .want_results = 1,
        .pool = pool->number,
        .initializer = pool->initializer,
        .initialized = pool->initialized,
        .flags = pool->use_dill ? FLAG_DILL : 0,
    };
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|Op$O:map", names,
                                     &request->function, &request->tasks,
                                     &request->callback,
                                     &request->want_results, &chunksize)
        || parse_callback(&request->callback, &chunksize) < 0
        || parse_chunksize(chunksize, &request->chunksize) < 0)
        return -1;
    if (PyCallable_Check(request->function))
        return 0;
    PyErr_Format(PyExc_TypeError,
                 "the first argument of map must be "
                 "callable, not %.200s",
                 Py_TYPE(request->function)->tp_name);
    return -1;
}

static int
check_made(const struct pool *pool)
{
    if (pool->crew != NULL)
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "MPIPool.__init__ was not called, or "
                                        "failed");
    return -1;
}

static PyObject *
pool_map(PyObject *self, PyObject *args, PyObject *kwargs)
{
    struct pool *pool = (struct pool *)self;
    struct master_request request;
    if (check_made(pool) < 0)
        return NULL;
    if (pool->crew->rank != 0)
        return serve(pool) < 0 ? NULL : Py_NewRef(Py_None);
    if (parse_request(pool, args, kwargs, &request) < 0
        || check_usable(pool) < 0)
        return NULL;
    /* The pool may be dropped by what runs in here: callback, iterator. */
    Py_INCREF(self);
    PyObject *results = master_map(pool->crew, pool->codec, &request);
    Py_DECREF(self);
    return results;
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
    if (pool->crew->rank == 0)
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
    if (pool->crew == NULL || pool->crew->rank != 0)
        Py_RETURN_NONE;
    if (pool->crew->busy) {
        refuse("close was called while a map on this communicator runs");
        return NULL;
    }
    return close_pool(pool) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(map_doc,
             "map(worker, tasks, callback=None, return_results=True, *,\n"
             "    chunksize=None)");
PyDoc_STRVAR(wait_doc, "wait(callback=None)");
PyDoc_STRVAR(close_doc, "close()");

static PyMethodDef pool_methods[] = {
    {"map", (PyCFunction)(void (*)(void))pool_map,
     METH_VARARGS | METH_KEYWORDS, map_doc},
    {"wait", (PyCFunction)(void (*)(void))pool_wait,
     METH_VARARGS | METH_KEYWORDS, wait_doc},
    {"close", pool_close, METH_NOARGS, close_doc},
    {NULL, NULL, 0, NULL},
};

/* ---- attributes ------------------------------------------------------- */

static PyObject *
pool_get_rank(PyObject *self, void *Py_UNUSED(closure))
{
    struct pool *pool = (struct pool *)self;
    return check_made(pool) < 0 ? NULL : PyLong_FromLong(pool->crew->rank);
}

static PyObject *
pool_get_size(PyObject *self, void *Py_UNUSED(closure))
{
    struct pool *pool = (struct pool *)self;
    return check_made(pool) < 0 ? NULL : PyLong_FromLong(pool->crew->workers);
}

static PyObject *
pool_get_handle(PyObject *self, void *Py_UNUSED(closure))
{
    struct pool *pool = (struct pool *)self;
    if (check_made(pool) < 0)
        return NULL;
    return PyLong_FromLong(pool->crew->transport->handle(pool->crew->mailbox));
}

static PyObject *
pool_get_closed(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((struct pool *)self)->closed);
}

static PyGetSetDef pool_getset[] = {
    {"rank", pool_get_rank, NULL, "This process's rank; 0 is the master.",
     NULL},
    {"size", pool_get_size, NULL, "Number of workers, on every rank.", NULL},
    {"_handle", pool_get_handle, NULL, "Fortran handle of the communicator.",
     NULL},
    {"closed", pool_get_closed, NULL, "True after close, and on workers.",
     NULL},
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
