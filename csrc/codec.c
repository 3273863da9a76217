/* codec.c -- objects to parcels and back.

   What is plain (plain.c) needs no pickle.  Other data, and without dill
   everything, goes straight to the C pickler; with dill, what may hold a
   function or a class goes through ezmpi._pickling.Encoder, a C pickler with
   an override for these.  Must not know where the bytes go. */

#define PY_SSIZE_T_CLEAN
#include "codec.h"

#include <string.h>

#include "array.h"
#include "plain.h"
#include "rows.h"

/* A smaller buffer stays in the pickle: a part of its own costs more than
   copying it. */
#define OUT_OF_BAND_MIN 4096
/* A larger pickle is not copied into the stream, but travels as a buffer. */
#define PICKLE_INLINE_MAX 65536

/* What stands in the stream between a pickle's tag and the pickle. */
struct item {
    uint64_t size;          /* of the pickle; PICKLE_IS_BUFFER: it is the
                               first of the item's buffers */
    uint64_t buffers;       /* and ARE_ARRAYS, where they all are */
};

#define PICKLE_IS_BUFFER UINT64_MAX
#define ARE_ARRAYS ((uint64_t)1 << 63)

struct codec {
    PyObject *dumps, *loads;        /* _pickle.dumps, _pickle.loads */
    PyObject *encoder;              /* Encoder, or NULL without dill */
    PyObject *buffer_callback;
    PyObject *dumps_names;          /* ("protocol", "buffer_callback") */
    PyObject *loads_names;          /* ("buffers",) */
    PyObject *protocol;
    struct arrays *arrays;
    struct parcel *target;          /* where buffer_callback puts them */
    struct parcel_mark mark;        /* where the item being dumped begins */
    int copy;
    int has_others;                 /* buffers that are no array's */
    int encoded; /* the encoder was used: it may have bindings */
};

static PyObject *
attribute(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL)
        return NULL;
    PyObject *value = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return value;
}

/* ---- dumping ---------------------------------------------------------- */

/* The pickler's buffer_callback: true leaves the buffer in the pickle.  None
   is the encoder's way to say that it starts over. */
static PyObject *
take_buffer(PyObject *capsule, PyObject *pickle_buffer)
{
    struct codec *codec = PyCapsule_GetPointer(capsule, NULL);
    if (codec != NULL && pickle_buffer == Py_None) {
        parcel_cut(codec->target, codec->mark);
        codec->has_others = 0;
        Py_RETURN_NONE;
    }
    const Py_buffer *view = PyPickleBuffer_GetBuffer(pickle_buffer);
    if (codec == NULL || view == NULL)
        return NULL;
    if (view->len < OUT_OF_BAND_MIN || !PyBuffer_IsContiguous(view, 'A'))
        Py_RETURN_TRUE;
    codec->has_others |=
        view->obj == NULL || !array_is(codec->arrays, view->obj);
    size_t size = (size_t)view->len;
    int status = codec->copy ? parcel_add_copy(codec->target, view->buf, size)
                             : parcel_add(codec->target, pickle_buffer,
                                          view->buf, size);
    if (status < 0)
        return NULL;
    Py_RETURN_FALSE;
}

static PyMethodDef take_buffer_def = {"buffer_callback", take_buffer, METH_O,
                                      NULL};

static PyObject *
pickle_of(struct codec *codec, PyObject *object)
{
    if (codec->encoder == NULL || plain_is_data(codec->arrays, object)) {
        PyObject *args[] = {object, codec->protocol, codec->buffer_callback};
        return PyObject_Vectorcall(codec->dumps, args, 1, codec->dumps_names);
    }
    codec->encoded = 1;
    return PyObject_CallFunctionObjArgs(codec->encoder, object,
                                        codec->buffer_callback, NULL);
}

/* Appends the pickle, whose buffers are in the parcel already. */
static int
append_pickle(struct codec *codec, struct parcel *parcel, PyObject *pickle)
{
    size_t size = (size_t)PyBytes_GET_SIZE(pickle), first = codec->mark.count;
    void *bytes = PyBytes_AS_STRING(pickle);
    struct item item = {size, 0};
    if (size > PICKLE_INLINE_MAX) {
        if (parcel_add(parcel, pickle, bytes, size) < 0)
            return -1;
        parcel_move_last(parcel, first);
        item.size = PICKLE_IS_BUFFER;
        size = 0;
    }
    item.buffers = parcel_mark(parcel).count - first;
    item.buffers |= codec->has_others ? 0 : ARE_ARRAYS;
    unsigned char *room = parcel_extend(parcel, 1 + sizeof item + size);
    if (room == NULL)
        return -1;
    room[0] = TAG_PICKLE;
    memcpy(room + 1, &item, sizeof item);
    memcpy(room + 1 + sizeof item, bytes, size);
    return 0;
}

static int
dump_pickle(struct codec *codec, struct parcel *parcel, PyObject *object,
            int copy)
{
    codec->target = parcel;
    codec->mark = parcel_mark(parcel);
    codec->copy = copy;
    codec->has_others = 0;
    PyObject *pickle = pickle_of(codec, object);
    codec->target = NULL;
    int status = pickle ? append_pickle(codec, parcel, pickle) : -1;
    if (status < 0)
        parcel_cut(parcel, codec->mark);
    Py_XDECREF(pickle);
    return status;
}

int
codec_dump(struct codec *codec, struct parcel *parcel, PyObject *object,
           int copy)
{
    int status = plain_dump(codec->arrays, parcel, object);
    if (status != 0)
        return status < 0 ? -1 : 0;
    return dump_pickle(codec, parcel, object, copy);
}

int
codec_dump_failure(struct codec *codec, struct parcel *parcel,
                   PyObject *account)
{
    struct parcel_mark mark = parcel_mark(parcel);
    unsigned char *room = parcel_extend(parcel, 1);
    if (room == NULL)
        return -1;
    *room = TAG_FAILURE;
    int status = codec_dump(codec, parcel, account, 1);
    if (status < 0)
        parcel_cut(parcel, mark);
    return status;
}

int
codec_open_rows(struct codec *codec, PyObject *tasks, struct rows **rows)
{
    return rows_open(codec->arrays, tasks, rows);
}

/* Calls one of the encoder's methods that return None. */
static int
tell_encoder(struct codec *codec, const char *method)
{
    PyObject *done = PyObject_CallMethod(codec->encoder, method, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
codec_begin(struct codec *codec)
{
    return codec->encoded ? tell_encoder(codec, "forget_met") : 0;
}

int
codec_keep(struct codec *codec)
{
    return codec->encoded ? tell_encoder(codec, "keep_met") : 0;
}

PyObject *
codec_take_bindings(struct codec *codec)
{
    if (!codec->encoded)
        return Py_NewRef(Py_None);
    PyObject *bindings =
        PyObject_CallMethod(codec->encoder, "take_bindings", NULL);
    codec->encoded = bindings == NULL;
    return bindings;
}

int
codec_bindings_sent(struct codec *codec)
{
    return tell_encoder(codec, "bindings_sent");
}

int
codec_bind(PyObject *bindings)
{
    PyObject *bind = attribute("ezmpi._pickling", "bind");
    if (bind == NULL)
        return -1;
    PyObject *done = PyObject_CallOneArg(bind, bindings);
    Py_DECREF(bind);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* ---- loading ---------------------------------------------------------- */

/* Reads what stands before the pickle; all that it announces is there.
   are_arrays: are its buffers? */
static int
take_item(struct reader *reader, struct item *item, int *are_arrays)
{
    const unsigned char *bytes = reader_take(reader, sizeof *item);
    if (bytes == NULL)
        return -1;
    memcpy(item, bytes, sizeof *item);
    *are_arrays = (item->buffers & ARE_ARRAYS) != 0;
    item->buffers &= ~ARE_ARRAYS;
    if (item->size != PICKLE_IS_BUFFER)
        return reader_has(reader, item->size, item->buffers);
    if (item->buffers > 0)
        return reader_has(reader, 0, item->buffers);
    PyErr_SetString(PyExc_EOFError, "a message holds a pickle of nothing");
    return -1;
}

/* The item's pickle as an object with the buffer interface. */
static PyObject *
take_pickle(struct reader *reader, struct item *item)
{
    if (item->size == PICKLE_IS_BUFFER) {
        item->buffers--;
        return Py_NewRef(reader_take_buffer(reader));
    }
    char *bytes = (char *)reader_take(reader, item->size);
    return PyMemoryView_FromMemory(bytes, (Py_ssize_t)item->size, PyBUF_READ);
}

/* The user's own class may be given it, and gets a bytearray, wherever the
   memory is.  An array hides it, but from a class that travels as an array. */
static PyObject *
shown(PyObject *buffer, int is_array)
{
    return is_array || !PyMemoryView_Check(buffer)
               ? Py_NewRef(buffer)
               : PyByteArray_FromObject(buffer);
}

static PyObject *
item_buffers(struct reader *reader, size_t count, int are_arrays)
{
    PyObject *buffers = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; i < count; i++) {
        PyObject *owner = reader_take_buffer(reader);
        PyObject *buffer = buffers ? shown(owner, are_arrays) : NULL;
        if (buffer != NULL)
            PyTuple_SET_ITEM(buffers, (Py_ssize_t)i, buffer);
        else
            Py_CLEAR(buffers);
    }
    return buffers;
}

static PyObject *
load_pickle(struct codec *codec, struct reader *reader)
{
    struct item item;
    int are_arrays;
    if (take_item(reader, &item, &are_arrays) < 0)
        return NULL;
    PyObject *pickle = take_pickle(reader, &item), *object = NULL;
    PyObject *buffers = item_buffers(reader, item.buffers, are_arrays);
    if (pickle != NULL && buffers != NULL) {
        PyObject *args[] = {pickle, buffers};
        object = PyObject_Vectorcall(codec->loads, args, 1,
                                     item.buffers ? codec->loads_names : NULL);
    }
    Py_XDECREF(buffers);
    Py_XDECREF(pickle);
    return object;
}

/* What began there could not be loaded. */
static void
pass_over(struct reader *reader, size_t start, int tag)
{
    PyObject *exception = PyErr_GetRaisedException();
    reader->offset = start;
    plain_skip(reader, tag);
    PyErr_SetRaisedException(exception);
}

static PyObject *
load_plain(struct codec *codec, struct reader *reader, int tag)
{
    size_t start = reader->offset;
    PyObject *object = plain_load(codec->arrays, reader, tag);
    if (object == NULL)
        pass_over(reader, start, tag);
    return object;
}

PyObject *
codec_load(struct codec *codec, struct reader *reader)
{
    if (reader->block != NULL)
        return rows_next(reader);
    const unsigned char *tag = reader_take(reader, 1);
    if (tag == NULL)
        return NULL;
    if (*tag == TAG_PICKLE)
        return load_pickle(codec, reader);
    if (*tag != TAG_ROWS)
        return load_plain(codec, reader, *tag);
    return rows_load(codec->arrays, reader) < 0 ? NULL : rows_next(reader);
}

Py_ssize_t
codec_load_items(struct codec *codec, struct reader *reader, PyObject **items,
                 Py_ssize_t room)
{
    size_t start = reader->offset;
    if (reader->block != NULL || reader_peek(reader) != TAG_TUPLE)
        return CODEC_OTHER;
    reader->offset++;
    Py_ssize_t count = plain_load_items(codec->arrays, reader, items, room);
    if (count == -1)
        pass_over(reader, start + 1, TAG_TUPLE);
    if (count != PLAIN_OTHERS)
        return count;
    reader->offset = start;
    return CODEC_OTHER;
}

int
codec_is_failure(struct reader *reader)
{
    int is_failure = reader_peek(reader) == TAG_FAILURE;
    reader->offset += (size_t)is_failure;
    return is_failure;
}

int
codec_is_at_end(const struct reader *reader)
{
    return reader->block == NULL && reader_peek(reader) < 0;
}

void
codec_end(struct reader *reader)
{
    rows_drop(reader);
}

static int
skip_pickle(struct reader *reader)
{
    struct item item;
    int are_arrays;
    if (take_item(reader, &item, &are_arrays) < 0)
        return -1;
    if (item.size != PICKLE_IS_BUFFER)
        reader_take(reader, item.size);
    for (size_t i = 0; i < item.buffers; i++)
        reader_take_buffer(reader);
    return 0;
}

int
codec_skip(struct reader *reader)
{
    codec_is_failure(reader);
    const unsigned char *tag = reader_take(reader, 1);
    if (tag == NULL)
        return -1;
    return *tag == TAG_PICKLE ? skip_pickle(reader) : plain_skip(reader, *tag);
}

/* ---- the codec -------------------------------------------------------- */

static PyObject *
new_encoder(PyObject *record)
{
    PyObject *type = attribute("ezmpi._pickling", "Encoder");
    if (type == NULL)
        return NULL;
    PyObject *encoder = PyObject_CallOneArg(type, record ? record : Py_None);
    Py_DECREF(type);
    return encoder;
}

static PyObject *
new_buffer_callback(struct codec *codec)
{
    PyObject *capsule = PyCapsule_New(codec, NULL, NULL);
    if (capsule == NULL)
        return NULL;
    PyObject *callback = PyCFunction_New(&take_buffer_def, capsule);
    Py_DECREF(capsule);
    return callback;
}

struct codec *
codec_new(int use_dill, PyObject *record)
{
    struct codec *codec = PyMem_RawCalloc(1, sizeof *codec);
    if (codec == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if ((codec->dumps = attribute("_pickle", "dumps")) == NULL
        || (codec->loads = attribute("_pickle", "loads")) == NULL
        || (codec->buffer_callback = new_buffer_callback(codec)) == NULL
        || (codec->dumps_names =
                Py_BuildValue("(ss)", "protocol", "buffer_callback"))
               == NULL
        || (codec->loads_names = Py_BuildValue("(s)", "buffers")) == NULL
        || (codec->protocol = PyLong_FromLong(5)) == NULL
        || (codec->arrays = arrays_new()) == NULL
        || (use_dill && (codec->encoder = new_encoder(record)) == NULL)) {
        codec_free(codec);
        return NULL;
    }
    return codec;
}

void
codec_free(struct codec *codec)
{
    if (codec == NULL)
        return;
    Py_XDECREF(codec->dumps);
    Py_XDECREF(codec->loads);
    Py_XDECREF(codec->encoder);
    Py_XDECREF(codec->buffer_callback);
    Py_XDECREF(codec->dumps_names);
    Py_XDECREF(codec->loads_names);
    Py_XDECREF(codec->protocol);
    arrays_free(codec->arrays);
    PyMem_RawFree(codec);
}
