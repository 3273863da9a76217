/* future.c -- tells futures, or keeps what is to be told. */

#define PY_SSIZE_T_CLEAN
#include "future.h"

#include <stdatomic.h>

struct told {
    struct told *next;
    PyObject *future, *value;
    int is_failure;
};

struct futures {
    struct told *first, **last;
    _Atomic int left;
};

struct futures *
futures_new(void)
{
    struct futures *futures = PyMem_RawCalloc(1, sizeof *futures);
    if (futures == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    futures->last = &futures->first;
    return futures;
}

/* What its callbacks raise it logs itself; one that was settled otherwise
   before raises. */
static void
tell(PyObject *future, PyObject *value, int is_failure)
{
    PyObject *done = PyObject_CallMethod(
        future, is_failure ? "set_exception" : "set_result", "(O)", value);
    if (done == NULL)
        PyErr_WriteUnraisable(future);
    Py_XDECREF(done);
}

/* Where that cannot be told it counts as having some. */
static int
has_callbacks(PyObject *future)
{
    PyObject *callbacks = PyObject_GetAttrString(future, "_done_callbacks");
    Py_ssize_t count = callbacks ? PyObject_Size(callbacks) : -1;
    Py_XDECREF(callbacks);
    PyErr_Clear();
    return count != 0;
}

int
future_settle(struct futures *futures, PyObject *future, PyObject *value,
              int is_failure)
{
    struct told *told = NULL;
    if (has_callbacks(future))
        told = PyMem_RawMalloc(sizeof *told);
    if (told == NULL) {
        tell(future, value, is_failure);
        return 1;
    }
    *told =
        (struct told){NULL, Py_NewRef(future), Py_NewRef(value), is_failure};
    *futures->last = told;
    futures->last = &told->next;
    futures->left++;
    return 0;
}

void
futures_call(struct futures *futures)
{
    struct told *told;
    while ((told = futures->first) != NULL) {
        futures->first = told->next;
        if (futures->first == NULL)
            futures->last = &futures->first;
        futures->left--;
        tell(told->future, told->value, told->is_failure);
        Py_DECREF(told->future);
        Py_DECREF(told->value);
        PyMem_RawFree(told);
    }
}

int
futures_are_left(const struct futures *futures)
{
    return futures->left > 0;
}
