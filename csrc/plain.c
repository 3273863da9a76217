/* plain.c -- atoms, small arrays, and tuples and lists of them.

   Must not know what a task is. */

#define PY_SSIZE_T_CLEAN
#include "plain.h"

#include <string.h>

#define SHORT 4096              /* bytes; what is longer is left to pickle */
#define DEPTH 8                 /* tuples in tuples */
#define MOST 65536 /* bytes of an item: one tuple may be in it many times */
#define DATA_LIMIT 10000 /* objects looked at, not to fall for loops */

/* ---- dumping ---------------------------------------------------------- */

struct writer {
    struct arrays *arrays;
    struct parcel *parcel;
    size_t end;                 /* of the stream, at most */
    int depth;
    int changeable; /* lists and arrays so far */
};

static int dump(struct writer *writer, PyObject *object);

static int
put(struct parcel *parcel, enum tag tag, const void *bytes, size_t size)
{
    unsigned char *room = parcel_extend(parcel, 1 + size);
    if (room == NULL)
        return -1;
    room[0] = (unsigned char)tag;
    if (size > 0)
        memcpy(room + 1, bytes, size);
    return 1;
}

static int
put_short(struct parcel *parcel, enum tag tag, const void *bytes,
          Py_ssize_t size)
{
    if (size > SHORT)
        return 0;
    uint32_t length = (uint32_t)size;
    unsigned char *room = parcel_extend(parcel, 1 + sizeof length + length);
    if (room == NULL)
        return -1;
    room[0] = (unsigned char)tag;
    memcpy(room + 1, &length, sizeof length);
    memcpy(room + 1 + sizeof length, bytes, length);
    return 1;
}

static int
dump_int(struct parcel *parcel, PyObject *object)
{
    int overflow;
    int64_t value = PyLong_AsLongLongAndOverflow(object, &overflow);
    return overflow ? 0 : put(parcel, TAG_INT, &value, sizeof value);
}

static int
dump_float(struct parcel *parcel, enum tag tag, PyObject *object)
{
    double value = PyFloat_AS_DOUBLE(object);
    return put(parcel, tag, &value, sizeof value);
}

static int
dump_str(struct parcel *parcel, PyObject *object)
{
    if (!PyUnicode_IS_COMPACT_ASCII(object))
        return 0;
    return put_short(parcel, TAG_STR, PyUnicode_1BYTE_DATA(object),
                     PyUnicode_GET_LENGTH(object));
}

static int
dump_items(struct writer *writer, enum tag tag, PyObject *object)
{
    uint32_t count = (uint32_t)Py_SIZE(object);
    if (Py_SIZE(object) > SHORT || writer->depth == DEPTH)
        return 0;
    int status = put(writer->parcel, tag, &count, sizeof count);
    writer->depth++;
    for (uint32_t i = 0; i < count && status > 0; i++) {
        PyObject *item = tag == TAG_TUPLE ? PyTuple_GET_ITEM(object, i)
                                          : PyList_GET_ITEM(object, i);
        status = dump(writer, item);
        if (status > 0 && parcel_mark(writer->parcel).size > writer->end)
            status = 0;
    }
    writer->depth--;
    return status;
}

static int
put_array(struct parcel *parcel, const struct array_kind *kind,
          const Py_buffer *view)
{
    if (put(parcel, TAG_ARRAY, NULL, 0) < 0
        || array_put_kind(parcel, kind) < 0)
        return -1;
    unsigned char *room = parcel_extend(parcel, (size_t)view->len);
    if (room == NULL)
        return -1;
    memcpy(room, view->buf, (size_t)view->len);
    return 1;
}

static int
dump_array(struct writer *writer, PyObject *object)
{
    struct array_kind kind;
    Py_buffer view;
    int status = array_open(writer->arrays, object, &kind, &view);
    if (status <= 0)
        return status;
    status = 0;
    if (view.len < SHORT && ++writer->changeable == 1)
        status = put_array(writer->parcel, &kind, &view);
    PyBuffer_Release(&view);
    return status;
}

static int
dump(struct writer *writer, PyObject *object)
{
    struct parcel *parcel = writer->parcel;
    PyTypeObject *type = Py_TYPE(object);
    if (type == &PyLong_Type)
        return dump_int(parcel, object);
    if (type == &PyFloat_Type)
        return dump_float(parcel, TAG_FLOAT, object);
    if (type == &PyTuple_Type)
        return dump_items(writer, TAG_TUPLE, object);
    if (type == &PyUnicode_Type)
        return dump_str(parcel, object);
    if (type == &PyBytes_Type)
        return put_short(parcel, TAG_BYTES, PyBytes_AS_STRING(object),
                         PyBytes_GET_SIZE(object));
    if (type == &PyList_Type)
        return ++writer->changeable > 1 ? 0
                                        : dump_items(writer, TAG_LIST, object);
    if (object == Py_None || type == &PyBool_Type)
        return put(parcel,
                   object == Py_None   ? TAG_NONE
                   : object == Py_True ? TAG_TRUE
                                       : TAG_FALSE,
                   NULL, 0);
    if (array_is_float64(writer->arrays, object))
        return dump_float(parcel, TAG_FLOAT64, object);
    return dump_array(writer, object);
}

int
plain_dump(struct arrays *arrays, struct parcel *parcel, PyObject *object)
{
    struct parcel_mark mark = parcel_mark(parcel);
    struct writer writer = {
        .arrays = arrays, .parcel = parcel, .end = mark.size + MOST};
    int status = dump(&writer, object);
    if (status <= 0)
        parcel_cut(parcel, mark);
    return status;
}

/* ---- loading ------------------------------------------------------------

   What comes may be no dump of ours: nothing is reserved for items that the
   parcel cannot hold, and no tuple is followed deeper than we write one. */

static PyObject *
load(struct arrays *arrays, struct reader *reader, int tag, int depth);

static int
unknown_item(void)
{
    PyErr_SetString(PyExc_EOFError, "a message holds an unknown item");
    return -1;
}

/* How many follow.  -1: exception set. */
static int
take_count(struct reader *reader, uint32_t *count)
{
    const unsigned char *bytes = reader_take(reader, sizeof *count);
    if (bytes == NULL)
        return -1;
    memcpy(count, bytes, sizeof *count);
    return 0;
}

/* How many items follow, in a tuple or list that stands so deep; each is a
   byte at least. */
static int
take_item_count(struct reader *reader, int depth, uint32_t *count)
{
    if (depth == DEPTH)
        return unknown_item();
    return take_count(reader, count) < 0 ? -1 : reader_has(reader, *count, 0);
}

/* An item, tag and all. */
static PyObject *
load_next(struct arrays *arrays, struct reader *reader, int depth)
{
    const unsigned char *tag = reader_take(reader, 1);
    return tag ? load(arrays, reader, *tag, depth) : NULL;
}

static PyObject *
load_items(struct arrays *arrays, struct reader *reader, int tag, int depth)
{
    uint32_t count;
    if (take_item_count(reader, depth, &count) < 0)
        return NULL;
    PyObject *items =
        tag == TAG_TUPLE ? PyTuple_New(count) : PyList_New(count);
    for (uint32_t i = 0; items != NULL && i < count; i++) {
        PyObject *item = load_next(arrays, reader, depth + 1);
        if (item == NULL)
            Py_CLEAR(items);
        else if (tag == TAG_TUPLE)
            PyTuple_SET_ITEM(items, i, item);
        else
            PyList_SET_ITEM(items, i, item);
    }
    return items;
}

Py_ssize_t
plain_load_items(struct arrays *arrays, struct reader *reader,
                 PyObject **items, Py_ssize_t room)
{
    uint32_t count, i;
    if (take_count(reader, &count) < 0)
        return -1;
    if (count > (size_t)room)
        return PLAIN_OTHERS;
    for (i = 0; i < count; i++) {
        items[i] = load_next(arrays, reader, 1);
        if (items[i] == NULL)
            break;
    }
    if (i == count)
        return count;
    while (i > 0)
        Py_DECREF(items[--i]);
    return -1;
}

/* The length and that many bytes. */
static const char *
take_short(struct reader *reader, uint32_t *length)
{
    if (take_count(reader, length) < 0)
        return NULL;
    return (const char *)reader_take(reader, *length);
}

static PyObject *
load_str(struct reader *reader)
{
    uint32_t length;
    const char *text = take_short(reader, &length);
    return text ? PyUnicode_DecodeASCII(text, length, NULL) : NULL;
}

static PyObject *
load_bytes(struct reader *reader)
{
    uint32_t length;
    const char *bytes = take_short(reader, &length);
    return bytes ? PyBytes_FromStringAndSize(bytes, length) : NULL;
}

static PyObject *
load_int(struct reader *reader)
{
    int64_t value;
    const unsigned char *bytes = reader_take(reader, sizeof value);
    if (bytes == NULL)
        return NULL;
    memcpy(&value, bytes, sizeof value);
    return PyLong_FromLongLong(value);
}

static PyObject *
load_float(struct arrays *arrays, struct reader *reader, int tag)
{
    double value;
    const unsigned char *bytes = reader_take(reader, sizeof value);
    if (bytes == NULL)
        return NULL;
    memcpy(&value, bytes, sizeof value);
    return tag == TAG_FLOAT ? PyFloat_FromDouble(value)
                            : array_float64(arrays, value);
}

static PyObject *
load_array(struct arrays *arrays, struct reader *reader)
{
    struct array_kind kind;
    if (array_take_kind(reader, &kind) < 0)
        return NULL;
    const unsigned char *bytes =
        reader_take(reader, (size_t)array_size(&kind));
    return bytes ? array_from(arrays, &kind, bytes) : NULL;
}

static PyObject *
load(struct arrays *arrays, struct reader *reader, int tag, int depth)
{
    switch (tag) {
    case TAG_INT:
        return load_int(reader);
    case TAG_FLOAT:
    case TAG_FLOAT64:
        return load_float(arrays, reader, tag);
    case TAG_TUPLE:
    case TAG_LIST:
        return load_items(arrays, reader, tag, depth);
    case TAG_ARRAY:
        return load_array(arrays, reader);
    case TAG_STR:
        return load_str(reader);
    case TAG_BYTES:
        return load_bytes(reader);
    case TAG_NONE:
        return Py_NewRef(Py_None);
    case TAG_TRUE:
        return Py_NewRef(Py_True);
    case TAG_FALSE:
        return Py_NewRef(Py_False);
    default:
        unknown_item();
        return NULL;
    }
}

PyObject *
plain_load(struct arrays *arrays, struct reader *reader, int tag)
{
    return load(arrays, reader, tag, 0);
}

static int skip(struct reader *reader, int tag, int depth);

static int
skip_items(struct reader *reader, int depth)
{
    uint32_t count;
    if (take_item_count(reader, depth, &count) < 0)
        return -1;
    for (uint32_t i = 0; i < count; i++) {
        const unsigned char *tag = reader_take(reader, 1);
        if (tag == NULL || skip(reader, *tag, depth + 1) < 0)
            return -1;
    }
    return 0;
}

static int
skip_array(struct reader *reader)
{
    struct array_kind kind;
    return array_take_kind(reader, &kind) < 0
                   || !reader_take(reader, (size_t)array_size(&kind))
               ? -1
               : 0;
}

static int
skip(struct reader *reader, int tag, int depth)
{
    uint32_t length;
    switch (tag) {
    case TAG_NONE:
    case TAG_TRUE:
    case TAG_FALSE:
        return 0;
    case TAG_STR:
    case TAG_BYTES:
        return take_short(reader, &length) ? 0 : -1;
    case TAG_TUPLE:
    case TAG_LIST:
        return skip_items(reader, depth);
    case TAG_ARRAY:
        return skip_array(reader);
    case TAG_INT:
    case TAG_FLOAT:
    case TAG_FLOAT64:
        return reader_take(reader, sizeof(double)) ? 0 : -1;
    default:
        return unknown_item();
    }
}

int
plain_skip(struct reader *reader, int tag)
{
    return skip(reader, tag, 0);
}

/* ---- what pickle does alone ------------------------------------------- */

static int
is_data(struct arrays *arrays, PyObject *object, int depth, int *left);

static int
items_are_data(struct arrays *arrays, PyObject *object, int depth, int *left)
{
    int is_tuple = PyTuple_CheckExact(object);
    for (Py_ssize_t i = 0; i < Py_SIZE(object); i++) {
        PyObject *item = is_tuple ? PyTuple_GET_ITEM(object, i)
                                  : PyList_GET_ITEM(object, i);
        if (!is_data(arrays, item, depth, left))
            return 0;
    }
    return 1;
}

static int
dict_is_data(struct arrays *arrays, PyObject *object, int depth, int *left)
{
    PyObject *key, *value;
    Py_ssize_t position = 0;
    while (PyDict_Next(object, &position, &key, &value)) {
        if (!is_data(arrays, key, depth, left)
            || !is_data(arrays, value, depth, left))
            return 0;
    }
    return 1;
}

static int
array_is_data(struct arrays *arrays, PyObject *object)
{
    struct array_kind kind;
    Py_buffer view;
    int is_plain = array_open(arrays, object, &kind, &view);
    if (is_plain > 0)
        PyBuffer_Release(&view);
    if (is_plain < 0)
        PyErr_Clear();
    return is_plain > 0;
}

static int
is_data(struct arrays *arrays, PyObject *object, int depth, int *left)
{
    if (depth == DEPTH || --*left < 0)
        return 0;
    if (PyTuple_CheckExact(object) || PyList_CheckExact(object))
        return items_are_data(arrays, object, depth + 1, left);
    if (PyDict_CheckExact(object))
        return dict_is_data(arrays, object, depth + 1, left);
    return object == Py_None || PyLong_CheckExact(object)
           || PyFloat_CheckExact(object) || PyBool_Check(object)
           || PyUnicode_CheckExact(object) || PyBytes_CheckExact(object)
           || PyByteArray_CheckExact(object)
           || array_is_float64(arrays, object)
           || array_is_data(arrays, object);
}

int
plain_is_data(struct arrays *arrays, PyObject *object)
{
    int left = DATA_LIMIT;
    return is_data(arrays, object, 0, &left);
}
