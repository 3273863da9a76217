/* callable.c -- a table of callables by slot.

   Must not know what a worker is, nor what a callable does. */

#define PY_SSIZE_T_CLEAN
#include "callable.h"

/* Callables above this share slot 0, so that at most one such is held. */
#define LARGE_CALLABLE ((size_t)64 << 20)

/* What stands for the user's callable where results are kept in a file
   (ezmpi/_pickled.py); only if that is imported, since else it is none. */
static int
is_pickled(PyObject *function)
{
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(),
                                            "ezmpi._pickled"); /* borrowed */
    if (module == NULL || !PyModule_Check(module))
        return 0;
    return PyDict_GetItemString(PyModule_GetDict(module), "Pickled")
           == (PyObject *)Py_TYPE(function);
}

/* A method's function; of functools.partial what it calls. */
static PyObject *
unwrap(PyObject *function)
{
    if (PyMethod_Check(function))
        return Py_NewRef(PyMethod_GET_FUNCTION(function));
    if (strcmp(Py_TYPE(function)->tp_name, "functools.partial") == 0)
        return PyObject_GetAttrString(function, "func");
    return Py_NewRef(function);
}

PyObject *
callable_name(PyObject *function)
{
    PyObject *users = is_pickled(function)
                          ? PyObject_GetAttrString(function, "function")
                          : Py_NewRef(function);
    PyObject *name, *inner = users == NULL ? NULL : unwrap(users);
    Py_XDECREF(users);
    if (inner == NULL)
        return NULL;
    if (PyFunction_Check(inner) || PyCFunction_Check(inner))
        name = PyObject_GetAttrString(inner, "__qualname__");
    else if (PyType_Check(inner))
        name = PyUnicode_FromString(((PyTypeObject *)inner)->tp_name);
    else
        name = PyUnicode_FromString(Py_TYPE(inner)->tp_name);
    Py_DECREF(inner);
    return name;
}

/* What it kept alive may call anything when it goes. */
static void
drop_snapshot(struct callable *callable)
{
    struct snapshot *snapshot = callable->snapshot;
    callable->snapshot = NULL;
    snapshot_free(snapshot);
}

struct callable *
callable_keep(struct callable *callable)
{
    callable->owners++;
    return callable;
}

void
callable_free(struct callable *callable)
{
    if (callable == NULL || --callable->owners > 0)
        return;
    parcel_free(callable->parcel);
    Py_XDECREF(callable->name);
    drop_snapshot(callable);
    PyMem_RawFree(callable);
}

static void
empty_slot(struct callables *callables, int slot)
{
    struct callable *old = callables->held[slot];
    callables->held[slot] = NULL;
    callable_free(old);
}

/* An empty one, or that which was not used for longest. */
static int
slot_for(const struct callables *callables, const struct parcel *parcel)
{
    if (parcel_size(parcel) > LARGE_CALLABLE)
        return 0;
    int oldest = 1;
    for (int i = 1; i < CALLABLE_SLOTS; i++) {
        if (callables->held[i] == NULL)
            return i;
        if (callables->held[i]->used < callables->held[oldest]->used)
            oldest = i;
    }
    return oldest;
}

static struct callable *
use(struct callables *callables, struct callable *callable, uint64_t pool)
{
    callable->used = ++callables->uses;
    callable->pool = pool;
    return callable;
}

static struct callable *
find_equal(const struct callables *callables, const struct parcel *parcel)
{
    for (int i = 0; i < CALLABLE_SLOTS; i++) {
        struct callable *held = callables->held[i];
        if (held != NULL && parcel_equal(held->parcel, parcel))
            return held;
    }
    return NULL;
}

struct callable *
callables_hold(struct callables *callables, struct parcel *parcel,
               uint64_t pool)
{
    struct callable *equal = find_equal(callables, parcel);
    if (equal != NULL) {
        parcel_free(parcel);
        return use(callables, equal, pool);
    }
    struct callable *callable = PyMem_RawCalloc(1, sizeof *callable);
    /* What is compared with later must not change when the user's does. */
    if (callable == NULL || parcel_own(parcel) < 0) {
        if (callable == NULL)
            PyErr_NoMemory();
        PyMem_RawFree(callable);
        parcel_free(parcel);
        return NULL;
    }
    callable->owners = 1;
    callable->number = ++callables->given;
    callable->slot = slot_for(callables, parcel);
    callable->parcel = parcel;
    empty_slot(callables, callable->slot);
    callables->held[callable->slot] = callable;
    return use(callables, callable, pool);
}

struct callable *
callables_recall(struct callables *callables, PyObject *function,
                 uint64_t pool)
{
    for (int i = 0; i < CALLABLE_SLOTS; i++) {
        struct callable *held = callables->held[i];
        if (held != NULL && held->snapshot != NULL
            && snapshot_holds(held->snapshot, function))
            return use(callables, held, pool);
    }
    return NULL;
}

int
callable_remember(struct callable *callable, PyObject *function,
                  PyObject *record)
{
    if (callable->unfit)
        return 0;
    drop_snapshot(callable);
    if (snapshot_take(function, record, &callable->snapshot) < 0)
        return -1;
    callable->unfit = callable->snapshot == NULL;
    return 0;
}

void
callables_rebound(struct callables *callables)
{
    for (int i = 0; i < CALLABLE_SLOTS; i++) {
        if (callables->held[i] != NULL)
            drop_snapshot(callables->held[i]);
    }
}

void
callables_forget(struct callables *callables, uint64_t pool)
{
    for (int i = 0; i < CALLABLE_SLOTS; i++) {
        if (callables->held[i] != NULL
            && (pool == 0 || callables->held[i]->pool == pool))
            empty_slot(callables, i);
    }
}
