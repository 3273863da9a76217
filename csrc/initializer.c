/* initializer.c -- a parcel, who has it, and what became of it. */

#define PY_SSIZE_T_CLEAN
#include "initializer.h"

static int
dump(struct initializer *initializer, struct codec *codec, PyObject *function,
     PyObject *args)
{
    PyObject *pair = PyTuple_Pack(2, function, args);
    int status = -1;
    if (pair != NULL && codec_dump(codec, initializer->parcel, pair, 1) == 0)
        status = codec_keep(codec);
    Py_XDECREF(pair);
    return status;
}

struct initializer *
initializer_new(struct codec *codec, int workers, PyObject *function,
                PyObject *args)
{
    struct initializer *initializer = PyMem_Calloc(1, sizeof *initializer);
    if (initializer == NULL)
        return PyErr_NoMemory(), NULL;
    initializer->parcel = parcel_new();
    initializer->sent = PyMem_Calloc((size_t)workers + 1, 1);
    if (initializer->sent == NULL)
        PyErr_NoMemory();
    else if (initializer->parcel != NULL
             && dump(initializer, codec, function, args) == 0)
        return initializer;
    initializer_free(initializer);
    return NULL;
}

void
initializer_free(struct initializer *initializer)
{
    if (initializer == NULL)
        return;
    parcel_free(initializer->parcel);
    PyMem_Free(initializer->sent);
    Py_XDECREF(initializer->failure);
    PyMem_Free(initializer);
}

/* Another one like it, without its traceback, which may lead to the pool. */
static PyObject *
copy_of(PyObject *exception)
{
    PyObject *args = PyObject_GetAttrString(exception, "args");
    PyObject *copy = NULL;
    if (args != NULL)
        copy = PyObject_Call((PyObject *)Py_TYPE(exception), args, NULL);
    Py_XDECREF(args);
    if (copy != NULL)
        PyException_SetCause(copy, PyException_GetCause(exception));
    return copy;
}

void
initializer_failed(struct initializer *initializer, PyObject *exception)
{
    if (initializer == NULL || initializer->failure != NULL)
        return;
    initializer->failure = copy_of(exception);
    if (initializer->failure == NULL)
        PyErr_Clear();  /* the next to fail may be kept */
}

int
initializer_check(const struct initializer *initializer)
{
    if (initializer == NULL || initializer->failure == NULL)
        return 0;
    PyObject *copy = copy_of(initializer->failure);
    if (copy != NULL)
        PyErr_SetRaisedException(copy);
    return -1;
}
