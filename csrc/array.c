/* array.c -- numpy's plain arrays, through the buffer protocol.

   Must not know what arrays are used for. */

#define PY_SSIZE_T_CLEAN
#include "array.h"

#include <string.h>

struct arrays {
    PyObject *ndarray, *float64, *empty, *dtype;    /* numpy's, or NULL */
    PyObject *bare;             /* a dtype without metadata, met last */
    /* the kind made last, and what it takes to make another */
    struct array_kind kind;
    PyObject *shape, *type;
};

struct arrays *
arrays_new(void)
{
    struct arrays *arrays = PyMem_RawCalloc(1, sizeof *arrays);
    if (arrays == NULL)
        PyErr_NoMemory();
    return arrays;
}

void
arrays_free(struct arrays *arrays)
{
    if (arrays == NULL)
        return;
    Py_XDECREF(arrays->ndarray);
    Py_XDECREF(arrays->float64);
    Py_XDECREF(arrays->empty);
    Py_XDECREF(arrays->dtype);
    Py_XDECREF(arrays->bare);
    Py_XDECREF(arrays->shape);
    Py_XDECREF(arrays->type);
    PyMem_RawFree(arrays);
}

/* Takes what is needed from the module, ndarray last: where that is found, all
   is.  Steals numpy; NULL is passed on. */
static int
use_numpy(struct arrays *arrays, PyObject *numpy)
{
    static const char *const names[] = {"float64", "empty", "dtype",
                                        "ndarray"};
    PyObject **const places[] = {&arrays->float64, &arrays->empty,
                                 &arrays->dtype, &arrays->ndarray};
    int status = numpy == NULL ? -1 : 0;
    for (int i = 0; i < 4 && status == 0; i++) {
        Py_XSETREF(*places[i], PyObject_GetAttrString(numpy, names[i]));
        status = *places[i] == NULL ? -1 : 0;
    }
    Py_XDECREF(numpy);
    return status;
}

static int
find_numpy(struct arrays *arrays)
{
    return arrays->ndarray != NULL
               ? 0
               : use_numpy(arrays, PyImport_ImportModule("numpy"));
}

/* Is the object of the type that numpy calls so?  By the name first; and a
   module that is not there has made no objects. */
static int
is_of(struct arrays *arrays, PyObject *object, PyObject **type,
      const char *name)
{
    PyObject *its_type = (PyObject *)Py_TYPE(object);
    if (its_type == *type)
        return 1;
    if (strcmp(Py_TYPE(object)->tp_name, name) != 0 || arrays->ndarray != NULL)
        return 0;
    PyObject *modules = PyImport_GetModuleDict();
    PyObject *numpy = PyDict_GetItemString(modules, "numpy");
    if (numpy == NULL || use_numpy(arrays, Py_NewRef(numpy)) < 0) {
        PyErr_Clear();
        return 0;
    }
    return its_type == *type;
}

/* Is the array's dtype all that its letter says?  It may hold metadata,
   which pickle keeps.  1, 0, or -1: exception set. */
static int
is_bare(struct arrays *arrays, PyObject *array)
{
    PyObject *dtype = PyObject_GetAttrString(array, "dtype");
    PyObject *metadata = NULL;
    if (dtype == NULL)
        return -1;
    int status = dtype == arrays->bare;
    if (status == 0) {
        metadata = PyObject_GetAttrString(dtype, "metadata");
        status = metadata == NULL ? -1 : metadata == Py_None;
    }
    if (status > 0)
        Py_XSETREF(arrays->bare, Py_NewRef(dtype));
    Py_XDECREF(metadata);
    Py_DECREF(dtype);
    return status;
}

static size_t
letter_size(unsigned char letter)
{
    switch (letter) {
    case '?':
        return sizeof(_Bool);
    case 'b':
    case 'B':
        return 1;
    case 'h':
    case 'H':
    case 'e':
        return 2;
    case 'i':
    case 'I':
        return sizeof(int);
    case 'l':
    case 'L':
        return sizeof(long);
    case 'q':
    case 'Q':
        return sizeof(long long);
    case 'f':
        return sizeof(float);
    case 'd':
        return sizeof(double);
    case 'g':
        return sizeof(long double);
    default:
        return 0;
    }
}

/* Whether there is such a kind of plain arrays. */
static int
kind_of(const Py_buffer *view, struct array_kind *kind)
{
    const char *format = view->format;
    if (format == NULL || format[0] == '\0' || format[1] != '\0'
        || view->ndim > ARRAY_DIMENSIONS || view->readonly)
        return 0;
    kind->letter = (unsigned char)format[0];
    kind->dimensions = (unsigned char)view->ndim;
    for (int i = 0; i < view->ndim; i++)
        kind->shape[i] = view->shape[i];
    return array_size(kind) == view->len;
}

int
array_open(struct arrays *arrays, PyObject *object, struct array_kind *kind,
           Py_buffer *view)
{
    if (!is_of(arrays, object, &arrays->ndarray, "numpy.ndarray"))
        return 0;
    if (PyObject_GetBuffer(object, view, PyBUF_ND | PyBUF_FORMAT) < 0) {
        if (PyErr_ExceptionMatches(PyExc_MemoryError))
            return -1;
        PyErr_Clear(); /* not contiguous, or dates, or objects */
        return 0;
    }
    int status = kind_of(view, kind) ? is_bare(arrays, object) : 0;
    if (status <= 0)
        PyBuffer_Release(view);
    return status;
}

int
array_is(struct arrays *arrays, PyObject *object)
{
    return is_of(arrays, object, &arrays->ndarray, "numpy.ndarray");
}

int
array_is_float64(struct arrays *arrays, PyObject *object)
{
    return is_of(arrays, object, &arrays->float64, "numpy.float64");
}

/* ---- making ----------------------------------------------------------- */

static int
same_kind(const struct array_kind *one, const struct array_kind *other)
{
    return one->letter == other->letter && one->dimensions == other->dimensions
           && memcmp(one->shape, other->shape,
                     one->dimensions * sizeof one->shape[0])
                  == 0;
}

static PyObject *
shape_of(const struct array_kind *kind)
{
    PyObject *shape = PyTuple_New(kind->dimensions);
    for (int i = 0; shape != NULL && i < kind->dimensions; i++) {
        PyObject *length = PyLong_FromLongLong(kind->shape[i]);
        if (length == NULL)
            Py_CLEAR(shape);
        else
            PyTuple_SET_ITEM(shape, i, length);
    }
    return shape;
}

/* Sees to it that arrays->shape and ->type are this kind's. */
static int
prepare(struct arrays *arrays, const struct array_kind *kind)
{
    if (arrays->shape != NULL && same_kind(&arrays->kind, kind))
        return 0;
    if (find_numpy(arrays) < 0)
        return -1;
    Py_CLEAR(arrays->shape);
    Py_XSETREF(arrays->type,
               PyObject_CallFunction(arrays->dtype, "C", (int)kind->letter));
    if (arrays->type == NULL)
        return -1;
    arrays->kind = *kind;
    arrays->shape = shape_of(kind);
    return arrays->shape == NULL ? -1 : 0;
}

PyObject *
array_from(struct arrays *arrays, const struct array_kind *kind,
           const void *bytes)
{
    Py_buffer view;
    if (prepare(arrays, kind) < 0)
        return NULL;
    PyObject *args[] = {arrays->shape, arrays->type};
    PyObject *array = PyObject_Vectorcall(arrays->empty, args, 2, NULL);
    if (array == NULL
        || PyObject_GetBuffer(array, &view, PyBUF_WRITABLE) < 0) {
        Py_XDECREF(array);
        return NULL;
    }
    memcpy(view.buf, bytes, (size_t)view.len);
    PyBuffer_Release(&view);
    return array;
}

PyObject *
array_over(struct arrays *arrays, const struct array_kind *kind,
           PyObject *buffer)
{
    if (prepare(arrays, kind) < 0)
        return NULL;
    return PyObject_CallFunctionObjArgs(arrays->ndarray, arrays->shape,
                                        arrays->type, buffer, NULL);
}

PyObject *
array_float64(struct arrays *arrays, double value)
{
    if (find_numpy(arrays) < 0)
        return NULL;
    PyObject *number = PyFloat_FromDouble(value);
    if (number == NULL)
        return NULL;
    PyObject *scalar = PyObject_CallOneArg(arrays->float64, number);
    Py_DECREF(number);
    return scalar;
}

/* ---- kinds ------------------------------------------------------------ */

int64_t
array_size(const struct array_kind *kind)
{
    int64_t size = (int64_t)letter_size(kind->letter);
    if (size == 0 || kind->dimensions > ARRAY_DIMENSIONS)
        return -1;
    for (int i = 0; i < kind->dimensions; i++) {
        if (kind->shape[i] < 0
            || __builtin_mul_overflow(size, kind->shape[i], &size))
            return -1;
    }
    return size;
}

int
array_put_kind(struct parcel *parcel, const struct array_kind *kind)
{
    size_t shape = kind->dimensions * sizeof kind->shape[0];
    unsigned char *room = parcel_extend(parcel, 2 + shape);
    if (room == NULL)
        return -1;
    room[0] = kind->letter;
    room[1] = kind->dimensions;
    memcpy(room + 2, kind->shape, shape);
    return 0;
}

static int
no_kind(void)
{
    PyErr_SetString(PyExc_EOFError, "a message holds an array of no kind");
    return -1;
}

int
array_take_kind(struct reader *reader, struct array_kind *kind)
{
    const unsigned char *bytes = reader_take(reader, 2);
    if (bytes == NULL)
        return -1;
    kind->letter = bytes[0];
    kind->dimensions = bytes[1];
    if (kind->dimensions > ARRAY_DIMENSIONS)
        return no_kind();
    size_t shape = kind->dimensions * sizeof kind->shape[0];
    if ((bytes = reader_take(reader, shape)) == NULL)
        return -1;
    memcpy(kind->shape, bytes, shape);
    return array_size(kind) >= 0 ? 0 : no_kind();
}
