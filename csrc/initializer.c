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

void
initializer_failed(struct initializer *initializer, PyObject *exception)
{
    if (initializer != NULL && initializer->failure == NULL)
        initializer->failure = Py_NewRef(exception);
}

/* Another one like it, since each that is raised gets a traceback. */
int
initializer_check(const struct initializer *initializer)
{
    if (initializer == NULL || initializer->failure == NULL)
        return 0;
    PyObject *failure = initializer->failure;
    PyObject *args = PyObject_GetAttrString(failure, "args");
    PyObject *again = NULL;
    if (args != NULL)
        again = PyObject_Call((PyObject *)Py_TYPE(failure), args, NULL);
    Py_XDECREF(args);
    if (again == NULL)
        return -1;
    PyException_SetCause(again, PyException_GetCause(failure));
    PyErr_SetRaisedException(again);
    return -1;
}
