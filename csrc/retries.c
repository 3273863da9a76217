/* retries.c -- the attempts at tasks that have failed.  Runs on the master.

   Must not know what a task is, nor how and where it is run again. */

#define PY_SSIZE_T_CLEAN
#include "retries.h"

#include "errors.h"

struct retries {
    int most;                   /* attempts behind a task's first */
    PyObject *listed;           /* types of exceptions, ... */
    PyObject *unlisted;         /* ... but for these */
    PyObject *attempts; /* a dict: task to the list of the ranks where
                                   it failed */
};

struct retries *
retries_new(PyObject *plan)
{
    struct retries *retries = PyMem_RawCalloc(1, sizeof *retries);
    if (retries == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (!PyArg_ParseTuple(plan, "iO!O!", &retries->most, &PyTuple_Type,
                          &retries->listed, &PyTuple_Type, &retries->unlisted)
        || (retries->attempts = PyDict_New()) == NULL) {
        PyMem_RawFree(retries);
        return NULL;
    }
    Py_INCREF(retries->listed);
    Py_INCREF(retries->unlisted);
    return retries;
}

void
retries_free(struct retries *retries)
{
    if (retries == NULL)
        return;
    Py_DECREF(retries->listed);
    Py_DECREF(retries->unlisted);
    Py_DECREF(retries->attempts);
    PyMem_RawFree(retries);
}

/* Is this failure one to be followed by another attempt?  What is so in any
   case, whatever the user listed, ezmpi._failures lists.  -1: exception
   set. */
static int
is_listed(const struct retries *retries, PyObject *exception)
{
    if (PyErr_GivenExceptionMatches(exception, retries->unlisted))
        return 0;
    return errors_match(exception, retries->listed);
}

/* The ranks where the task failed, borrowed; none, if it is new.  NULL:
   exception set. */
static PyObject *
ranks_of(const struct retries *retries, PyObject *task)
{
    PyObject *ranks = PyDict_GetItemWithError(retries->attempts, task);
    if (ranks != NULL || PyErr_Occurred() || !(ranks = PyList_New(0)))
        return ranks;
    int status = PyDict_SetItem(retries->attempts, task, ranks);
    Py_DECREF(ranks);
    return status < 0 ? NULL : ranks;
}

/* Adds the rank to those where the task failed.  The list, borrowed. */
static PyObject *
add_attempt(const struct retries *retries, PyObject *task, int rank)
{
    PyObject *ranks = ranks_of(retries, task);
    PyObject *number = ranks != NULL ? PyLong_FromLong(rank) : NULL;
    int status = number != NULL ? PyList_Append(ranks, number) : -1;
    Py_XDECREF(number);
    return status < 0 ? NULL : ranks;
}

static int
give_up(const struct retries *retries, PyObject *task, PyObject *ranks,
        PyObject *exception)
{
    Py_INCREF(ranks);
    int status = PyDict_DelItem(retries->attempts, task);
    if (status == 0 && PyList_GET_SIZE(ranks) > 1)
        status = errors_note_attempts(exception, ranks);
    Py_DECREF(ranks);
    return status;
}

int
retries_failed(struct retries *retries, uint64_t task, int rank,
               PyObject *exception)
{
    PyObject *key = PyLong_FromUnsignedLongLong(task);
    PyObject *ranks = key ? add_attempt(retries, key, rank) : NULL;
    int status = ranks == NULL ? -1 : is_listed(retries, exception);
    if (status > 0)
        status = PyList_GET_SIZE(ranks) <= retries->most;
    if (status == 0)
        status = give_up(retries, key, ranks, exception);
    Py_XDECREF(key);
    return status;
}

int
retries_forget(struct retries *retries, uint64_t task)
{
    if (retries == NULL || PyDict_GET_SIZE(retries->attempts) == 0)
        return 0;
    PyObject *key = PyLong_FromUnsignedLongLong(task);
    int found = key ? PyDict_Contains(retries->attempts, key) : -1;
    int status = found > 0 ? PyDict_DelItem(retries->attempts, key) : found;
    Py_XDECREF(key);
    return status;
}
