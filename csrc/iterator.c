/* iterator.c -- the type of what imap returns.

   As Python:

       class ResultIterator:
           def __iter__(self): return self
           def __next__(self): return self.next()
           def next(self, timeout=None): ...    # TimeoutError: none came
           def _take(self, timeout): ...  # (is it a result?, it), None: none
           def close(self): ...                 # ends the job

   A task's failure is raised in its place, and the next call goes on.  Must
   not know where results come from. */

#define PY_SSIZE_T_CLEAN
#include "iterator.h"

#include <math.h>

#include "errors.h"
#include "master.h"
#include "progress.h"

#define MOVE_EVERY 64           /* results, so that workers get more */

struct iterator {
    PyObject_HEAD
    struct crew *crew;
    struct job *job;            /* NULL: at its end */
    PyObject *next;             /* the result that was waited for, or NULL */
    int is_failure;             /* it is an exception */
    PyObject *left;             /* the exception that each next raises, since
                                   the job was left, or NULL */
    unsigned taken;
    PyObject *show;             /* the progress, while results are taken; or
                                   NULL */
    int64_t shown;              /* when it was */
};

static void
drop_job(struct iterator *iterator)
{
    struct job *job = iterator->job;
    iterator->job = NULL;
    if (job != NULL)
        master_drop(iterator->crew, job);
}

static void
iterator_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    struct iterator *iterator = (struct iterator *)self;
    PyObject_GC_UnTrack(self);
    PyObject *raised = PyErr_GetRaisedException();
    drop_job(iterator);
    if (raised != NULL)
        PyErr_SetRaisedException(raised);
    Py_XDECREF(iterator->next);
    Py_XDECREF(iterator->left);
    Py_XDECREF(iterator->show);
    crew_release(iterator->crew);
    type->tp_free(self);
    Py_DECREF(type);
}

/* The traceback of what it raises may hold it. */
static int
iterator_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct iterator *iterator = (struct iterator *)self;
#if PY_VERSION_HEX >= 0x03090000
    Py_VISIT(Py_TYPE(self));
#endif
    Py_VISIT(iterator->next);
    Py_VISIT(iterator->left);
    Py_VISIT(iterator->show);
    return 0;
}

static int
iterator_clear(PyObject *self)
{
    struct iterator *iterator = (struct iterator *)self;
    Py_CLEAR(iterator->next);
    Py_CLEAR(iterator->left);
    Py_CLEAR(iterator->show);
    return 0;
}

/* ---- waiting ---------------------------------------------------------- */

static int
has_come(void *iterator_)
{
    struct iterator *iterator = iterator_;
    if (iterator->next == NULL && iterator->job != NULL)
        iterator->next =
            results_take(job_results(iterator->job), &iterator->is_failure);
    return iterator->next != NULL || iterator->job == NULL
           || job_is_over(iterator->job);
}

/* If that is wanted, and it is time.  Who has just answered is to get more
   first, else it would never be seen at work.  What runs in here may end the
   iterator, or take from it. */
static int
show_now(struct iterator *iterator)
{
    if (iterator->show == NULL || crew_is_forked(iterator->crew))
        return 0;
    double age = 1e-9 * (double)(crew_coarse_clock() - iterator->shown);
    if (age < PROGRESS_SECONDS)
        return 0;
    iterator->shown = crew_coarse_clock();
    if (master_touch(iterator->crew) < 0)
        return -1;
    PyObject *display = Py_XNewRef(iterator->show);
    int status = display == NULL
                     ? 0
                     : progress_show(iterator->crew, iterator->job, display);
    Py_XDECREF(display);
    return status;
}

/* Steals the display; may set an exception, but what failed before it is
   raised. */
static void
show_last(struct iterator *iterator, PyObject *display, int has_failed)
{
    if (progress_show(iterator->crew, iterator->job, display) < 0
        && has_failed)
        PyErr_WriteUnraisable(display);
    Py_DECREF(display);
}

static int
wait_for(struct iterator *iterator, double seconds)
{
    struct master_wait wait = {.watched = iterator->job,
                               .of = iterator,
                               .is_over = has_come,
                               .seconds = seconds};
    return master_wait(iterator->crew, &wait);
}

/* As master_wait; shows how far it is meanwhile, where that is wanted. */
static int
wait(struct iterator *iterator, double seconds)
{
    double began = 1e-9 * (double)crew_clock(), left = seconds;
    int status;
    if (iterator->show == NULL)
        return wait_for(iterator, seconds);
    do {
        if (show_now(iterator) < 0)
            return -1;
        status =
            wait_for(iterator, seconds < 0 ? PROGRESS_SECONDS
                                           : fmin(left, PROGRESS_SECONDS));
        left = seconds - (1e-9 * (double)crew_clock() - began);
    } while (status == 0 && (seconds < 0 || left > 0));
    return status;
}

/* At the end: NULL, and the exception that ended it, once; but each time where
   the job was left. */
static PyObject *
end(struct iterator *iterator)
{
    struct job *job = iterator->job;
    PyObject *failure = job != NULL ? job_failure(job) : iterator->left;
    Py_XINCREF(failure);
    if (failure != NULL && job != NULL && job_is_left(job))
        Py_XSETREF(iterator->left, Py_NewRef(failure));
    PyObject *display = iterator->show;
    iterator->show = NULL;
    if (display != NULL)
        show_last(iterator, display, failure != NULL);
    drop_job(iterator);
    if (failure != NULL)
        PyErr_SetRaisedException(failure);
    return NULL;
}

/* While results are taken from here nobody may be driving; or who does waits
   for room to draw more.  In a forked child they are taken as far as they have
   come. */
static int
move_on(struct iterator *iterator)
{
    struct crew *crew = iterator->crew;
    int has_room = iterator->job != NULL && job_has_room_again(iterator->job);
    if (show_now(iterator) < 0)
        return -1;
    if (!has_room && ++iterator->taken % MOVE_EVERY != 0)
        return 0;
    if (crew_is_forked(crew))
        return 0;
    if (has_room)
        crew->transport->interrupt(crew->mailbox);
    return master_touch(crew);
}

/* What a signal's exception came before. */
static void
put_back(struct iterator *iterator, PyObject *result, int is_failure)
{
    if (iterator->next != NULL) {       /* another thread waited meanwhile */
        Py_DECREF(result);
        return;
    }
    iterator->next = result;
    iterator->is_failure = is_failure;
}

enum { NONE_WILL_COME, CAME, NOT_IN_TIME };

/* Waits for one.  NONE_WILL_COME: or an exception is set. */
static int
await(struct iterator *iterator, double seconds)
{
    /* Another thread may take the one that came. */
    while (iterator->next == NULL) {
        int came = has_come(iterator) ? 1 : wait(iterator, seconds);
        if (came <= 0)
            return came == 0 ? NOT_IN_TIME : NONE_WILL_COME;
        if (iterator->job == NULL || job_is_over(iterator->job))
            return has_come(iterator) && iterator->next != NULL
                       ? CAME
                       : NONE_WILL_COME;
    }
    return CAME;
}

/* Steals it.  A StopIteration would end the loop that takes results: it
   becomes a RuntimeError, as that of a generator (PEP 479). */
static void
raise_failure(PyObject *exception)
{
    if (!PyErr_GivenExceptionMatches(exception, PyExc_StopIteration)) {
        PyErr_SetRaisedException(exception);
        return;
    }
    PyErr_SetString(PyExc_RuntimeError, "a task raised StopIteration");
    PyObject *raised = PyErr_GetRaisedException();
    PyException_SetCause(raised, exception);
    PyErr_SetRaisedException(raised);
}

/* What has come; NULL: exception set. */
static PyObject *
take(struct iterator *iterator, int *is_failure)
{
    /* Another thread may take the next one from here on. */
    PyObject *result = iterator->next;
    *is_failure = iterator->is_failure;
    iterator->next = NULL;
    if (move_on(iterator) == 0)
        return result;
    put_back(iterator, result, *is_failure);
    return NULL;
}

/* NULL without an exception: the end. */
static PyObject *
next_result(struct iterator *iterator, double seconds)
{
    int is_failure, status = await(iterator, seconds);
    if (status == NOT_IN_TIME)
        errors_raise("TimeoutError", "no result came in time");
    if (status != CAME)
        return PyErr_Occurred() ? NULL : end(iterator);
    PyObject *result = take(iterator, &is_failure);
    if (result == NULL || !is_failure)
        return result;
    raise_failure(result);
    return NULL;
}

static PyObject *
iterator_iternext(PyObject *self)
{
    return next_result((struct iterator *)self, -1);
}

static PyObject *
iterator_next(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    PyObject *timeout = Py_None;
    double seconds;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:next", names, &timeout)
        || master_parse_seconds(timeout, &seconds) < 0)
        return NULL;
    PyObject *result = next_result((struct iterator *)self, seconds);
    if (result == NULL && !PyErr_Occurred())
        PyErr_SetNone(PyExc_StopIteration);
    return result;
}

/* For who has to know a failure from the end, and from none in time. */
static PyObject *
iterator_take(PyObject *self, PyObject *timeout)
{
    struct iterator *iterator = (struct iterator *)self;
    double seconds;
    if (master_parse_seconds(timeout, &seconds) < 0)
        return NULL;
    int is_failure, status = await(iterator, seconds);
    if (status == NOT_IN_TIME)
        Py_RETURN_NONE;
    if (status != CAME) {
        if (!PyErr_Occurred() && end(iterator) == NULL && !PyErr_Occurred())
            PyErr_SetNone(PyExc_StopIteration);
        return NULL;
    }
    PyObject *result = take(iterator, &is_failure);
    if (result == NULL)
        return NULL;
    PyObject *pair = PyTuple_Pack(2, is_failure ? Py_False : Py_True, result);
    Py_DECREF(result);
    return pair;
}

static PyObject *
iterator_close(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct iterator *iterator = (struct iterator *)self;
    drop_job(iterator);
    iterator_clear(self);
    Py_RETURN_NONE;
}

/* ---- the type --------------------------------------------------------- */

static PyMethodDef iterator_methods[] = {
    {"next", (PyCFunction)(void (*)(void))iterator_next,
     METH_VARARGS | METH_KEYWORDS, "next(timeout=None)"},
    {"_take", iterator_take, METH_O, NULL},
    {"close", iterator_close, METH_NOARGS, "close()"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot iterator_slots[] = {
    {Py_tp_doc, "The results of a job, one by one."},
    {Py_tp_dealloc, iterator_dealloc},
    {Py_tp_traverse, iterator_traverse},
    {Py_tp_clear, iterator_clear},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, iterator_iternext},
    {Py_tp_methods, iterator_methods},
    {0, NULL},
};

static PyType_Spec iterator_spec = {
    .name = "ezmpi._ezmpi.ResultIterator",
    .basicsize = sizeof(struct iterator),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = iterator_slots,
};

PyObject *
iterator_new_type(void)
{
    return PyType_FromSpec(&iterator_spec);
}

PyObject *
iterator_new(PyObject *type_, struct crew *crew, struct job *job,
             PyObject *show)
{
    PyTypeObject *type = (PyTypeObject *)type_;
    struct iterator *iterator = (struct iterator *)type->tp_alloc(type, 0);
    if (iterator == NULL) {
        master_drop(crew, job);
        return NULL;
    }
    iterator->crew = crew_keep(crew);
    iterator->job = job;
    iterator->show = Py_XNewRef(show);
    return (PyObject *)iterator;
}
