/* future.c -- tells futures, or keeps what is to be told. */

#define PY_SSIZE_T_CLEAN
#include "future.h"

#include <stdatomic.h>

#define RETRIES 8 /* where memory is short, to tell a future */

struct told {
    struct told *next;
    PyObject *future, *value;
    int is_failure;
};

struct futures {
    struct told *first, **last;
    _Atomic int left;
    PyObject *urgent;               /* exception to be raised, or NULL */
    /* names */
    PyObject *callbacks, *set_result, *set_exception;
    PyObject *condition, *acquire, *release, *state, *result, *exception;
    PyObject *settle;
    PyObject *finished;             /* a value of the state */
};

#define NAMES 11

static void
list_names(struct futures *futures, PyObject **names[NAMES])
{
    PyObject **const all[NAMES] = {
        &futures->callbacks, &futures->set_result, &futures->set_exception,
        &futures->condition, &futures->acquire,    &futures->release,
        &futures->state,     &futures->result,     &futures->exception,
        &futures->finished,  &futures->settle};
    memcpy(names, all, sizeof all);
}

static int
intern_names(struct futures *futures)
{
    static const char *const texts[NAMES] = {
        "_done_callbacks", "set_result", "set_exception", "_condition",
        "acquire",         "release",    "_state",        "_result",
        "_exception",      "FINISHED",   "_settle"};
    PyObject **names[NAMES];
    list_names(futures, names);
    for (size_t i = 0; i < NAMES; i++) {
        if ((*names[i] = PyUnicode_InternFromString(texts[i])) == NULL)
            return -1;
    }
    return 0;
}

struct futures *
futures_new(void)
{
    struct futures *futures = PyMem_RawCalloc(1, sizeof *futures);
    if (futures == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    futures->last = &futures->first;
    if (intern_names(futures) == 0)
        return futures;
    futures_free(futures);
    return NULL;
}

static void
free_told(struct futures *futures)
{
    struct told *told;
    while ((told = futures->first) != NULL) {
        futures->first = told->next;
        Py_DECREF(told->future);
        Py_DECREF(told->value);
        PyMem_RawFree(told);
    }
}

void
futures_free(struct futures *futures)
{
    PyObject **names[NAMES];
    if (futures == NULL)
        return;
    free_told(futures);
    list_names(futures, names);
    for (size_t i = 0; i < NAMES; i++)
        Py_XDECREF(*names[i]);
    Py_XDECREF(futures->urgent);
    PyMem_RawFree(futures);
}

static PyObject *
call_setter(const struct futures *futures, PyObject *future, PyObject *value,
            int is_failure)
{
    return PyObject_CallMethodObjArgs(
        future, is_failure ? futures->set_exception : futures->set_result,
        value, NULL);
}

/* After a failure to tell one: is it to be tried again?  Memory may be had
   again; a signal's exception, which is kept, may come before it is
   settled. */
static int
is_to_retry(struct futures *futures, int gets_signals)
{
    if (PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear();
        return 1;
    }
    if (!gets_signals || PyErr_ExceptionMatches(PyExc_Exception))
        return 0;
    Py_XSETREF(futures->urgent, PyErr_GetRaisedException());
    return 1;
}

/* What its callbacks raise it logs itself; one that was settled otherwise
   before raises.  One that is not told to the end leaves who waits waiting. */
static void
tell(struct futures *futures, PyObject *future, PyObject *value,
     int is_failure, int gets_signals)
{
    int attempt = 0;
    PyObject *done = call_setter(futures, future, value, is_failure);
    while (done == NULL && attempt < RETRIES
           && is_to_retry(futures, gets_signals)) {
        done =
            PyObject_CallMethodObjArgs(future, futures->settle, value,
                                       is_failure ? Py_True : Py_False, NULL);
        attempt++;
    }
    if (done == NULL)
        PyErr_WriteUnraisable(future);
    Py_XDECREF(done);
}

int
future_raise(struct futures *futures)
{
    PyObject *urgent = futures->urgent;
    futures->urgent = NULL;
    if (urgent == NULL)
        return 0;
    PyErr_SetRaisedException(urgent);
    return -1;
}

/* Where that cannot be told it counts as having some. */
static int
has_callbacks(const struct futures *futures, PyObject *future)
{
    PyObject *callbacks = PyObject_GetAttr(future, futures->callbacks);
    Py_ssize_t count = callbacks ? PyObject_Size(callbacks) : -1;
    Py_XDECREF(callbacks);
    if (count < 0)
        PyErr_Clear();
    return count != 0;
}

/* Tells a future without callbacks, unless its condition must be waited for:
   it may be given one meanwhile, which would be called here.  1: it was
   told. */
static int
tell_now(struct futures *futures, PyObject *future, PyObject *value,
         int is_failure)
{
    PyObject *condition = PyObject_GetAttr(future, futures->condition);
    PyObject *got = NULL, *released = NULL;
    int is_told = 0;
    if (condition != NULL)
        got = PyObject_CallMethodObjArgs(condition, futures->acquire, Py_False,
                                         NULL);
    if (got == Py_True) {
        is_told = !has_callbacks(futures, future);
        if (is_told)
            tell(futures, future, value, is_failure, 1);
        released =
            PyObject_CallMethodObjArgs(condition, futures->release, NULL);
    }
    if (got == NULL || (got == Py_True && released == NULL))
        PyErr_Clear();
    Py_XDECREF(released);
    Py_XDECREF(got);
    Py_XDECREF(condition);
    return is_told;
}

/* Where nobody ever asked for its condition (ezmpi/_future.py) nobody waits
   for it, nor has given it callbacks: its result is put in its place, and
   nobody is told.  1: so it is. */
static int
settle_unwatched(const struct futures *futures, PyObject *future,
                 PyObject *value, int is_failure)
{
    PyObject *dict = PyObject_GenericGetDict(future, NULL);
    int is_watched = dict ? PyDict_Contains(dict, futures->condition) : 1;
    PyObject *name = is_failure ? futures->exception : futures->result;
    int is_done =
        is_watched == 0 && PyDict_SetItem(dict, name, value) == 0
        && PyDict_SetItem(dict, futures->state, futures->finished) == 0;
    Py_XDECREF(dict);
    if (!is_done)
        PyErr_Clear();
    return is_done;
}

int
future_settle(struct futures *futures, PyObject *future, PyObject *value,
              int is_failure)
{
    if (settle_unwatched(futures, future, value, is_failure)
        || tell_now(futures, future, value, is_failure))
        return 1;
    struct told *told = PyMem_RawMalloc(sizeof *told);
    if (told == NULL) {
        tell(futures, future, value, is_failure, 1);
        return 1;
    }
    *told =
        (struct told){NULL, Py_NewRef(future), Py_NewRef(value), is_failure};
    *futures->last = told;
    futures->last = &told->next;
    futures->left++;
    return 0;
}

/* It is left until it was told. */
void
futures_call(struct futures *futures, int gets_signals)
{
    struct told *told;
    while ((told = futures->first) != NULL) {
        futures->first = told->next;
        if (futures->first == NULL)
            futures->last = &futures->first;
        tell(futures, told->future, told->value, told->is_failure,
             gets_signals);
        Py_DECREF(told->future);
        Py_DECREF(told->value);
        PyMem_RawFree(told);
        futures->left--;
    }
}

int
futures_are_left(const struct futures *futures)
{
    return futures->left > 0;
}
