/* codec.c -- objects to parcels and back.

   Atoms (int, float, str, bytes, bool, None) and, without dill, everything
   go straight to the C pickler.  With dill, other objects go through
   ezmpi._pickling.Encoder, a C pickler with an override for functions and
   classes.  Must not know where the bytes go. */

#define PY_SSIZE_T_CLEAN
#include "codec.h"

#include <string.h>

/* A smaller buffer stays in the pickle: a part of its own costs more than
   copying it. */
#define OUT_OF_BAND_MIN 4096
/* A larger pickle is not copied into the stream, but travels as a buffer. */
#define PICKLE_INLINE_MAX 65536

struct buffer {
    PyObject *owner;
    void *base;
    size_t size;
};

struct parcel {
    size_t owners;
    unsigned char *stream;
    size_t size, capacity;
    struct buffer *buffers;
    size_t count, room;
};

/* What stands in the stream before each pickle. */
struct item {
    uint64_t size;          /* of the pickle; PICKLE_IS_BUFFER: it is the
                               first of the item's buffers */
    uint64_t buffers;
};

#define PICKLE_IS_BUFFER UINT64_MAX

struct codec {
    PyObject *dumps, *loads;        /* _pickle.dumps, _pickle.loads */
    PyObject *encoder;              /* Encoder, or NULL without dill */
    PyObject *buffer_callback;
    PyObject *dumps_names;          /* ("protocol", "buffer_callback") */
    PyObject *loads_names;          /* ("buffers",) */
    PyObject *protocol;
    struct parcel *target;          /* where buffer_callback puts them */
    size_t first_buffer; /* of the item being dumped */
    int copy;
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

/* ---- parcels ---------------------------------------------------------- */

struct parcel *
parcel_new(void)
{
    struct parcel *parcel = PyMem_RawCalloc(1, sizeof *parcel);
    if (parcel == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    parcel->owners = 1;
    return parcel;
}

struct parcel *
parcel_keep(struct parcel *parcel)
{
    parcel->owners++;
    return parcel;
}

/* Takes the parcel back to an earlier length. */
static void
cut(struct parcel *parcel, size_t size, size_t count)
{
    while (parcel->count > count)
        Py_DECREF(parcel->buffers[--parcel->count].owner);
    parcel->size = size;
}

void
parcel_free(struct parcel *parcel)
{
    if (parcel == NULL || --parcel->owners > 0)
        return;
    cut(parcel, 0, 0);
    PyMem_RawFree(parcel->stream);
    PyMem_RawFree(parcel->buffers);
    PyMem_RawFree(parcel);
}

size_t
parcel_size(const struct parcel *parcel)
{
    size_t size = parcel->size;
    for (size_t i = 0; i < parcel->count; i++)
        size += parcel->buffers[i].size;
    return size;
}

static int
same_bytes(const void *one, const void *other, size_t size)
{
    return size == 0 || memcmp(one, other, size) == 0;
}

int
parcel_equal(const struct parcel *one, const struct parcel *other)
{
    if (one->size != other->size || one->count != other->count
        || !same_bytes(one->stream, other->stream, one->size))
        return 0;
    for (size_t i = 0; i < one->count; i++) {
        const struct buffer *a = &one->buffers[i], *b = &other->buffers[i];
        if (a->size != b->size || !same_bytes(a->base, b->base, a->size))
            return 0;
    }
    return 1;
}

int
parcel_own(struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->count; i++) {
        struct buffer *buffer = &parcel->buffers[i];
        if (PyBytes_CheckExact(buffer->owner))
            continue;
        PyObject *copy =
            PyBytes_FromStringAndSize(buffer->base, (Py_ssize_t)buffer->size);
        if (copy == NULL)
            return -1;
        Py_SETREF(buffer->owner, copy);
        buffer->base = PyBytes_AS_STRING(copy);
    }
    return 0;
}

size_t
parcel_part_count(const struct parcel *parcel)
{
    return 1 + parcel->count;
}

void
parcel_parts(const struct parcel *parcel, struct transport_part *parts)
{
    parts[0] = (struct transport_part){parcel->stream, parcel->size};
    for (size_t i = 0; i < parcel->count; i++)
        parts[i + 1] = (struct transport_part){parcel->buffers[i].base,
                                               parcel->buffers[i].size};
}

/* Makes room for size more bytes of stream and count more buffers. */
static int
reserve(struct parcel *parcel, size_t size, size_t count)
{
    if (parcel->capacity - parcel->size < size) {
        size_t capacity = 2 * parcel->capacity + size;
        void *stream = PyMem_RawRealloc(parcel->stream, capacity);
        if (stream == NULL)
            goto no_memory;
        parcel->stream = stream;
        parcel->capacity = capacity;
    }
    if (parcel->room - parcel->count < count) {
        size_t room = 2 * parcel->room + count;
        void *buffers =
            PyMem_RawRealloc(parcel->buffers, room * sizeof *parcel->buffers);
        if (buffers == NULL)
            goto no_memory;
        parcel->buffers = buffers;
        parcel->room = room;
    }
    return 0;
no_memory:
    PyErr_NoMemory();
    return -1;
}

struct parcel *
parcel_for(const struct transport_part *parts, size_t count)
{
    struct parcel *parcel = parcel_new();
    if (parcel == NULL || reserve(parcel, parts[0].size, count - 1) < 0)
        goto failed;
    parcel->size = parts[0].size;
    for (size_t i = 1; i < count; i++) {
        /* writable and uninitialised: what is loaded owns this memory */
        PyObject *owner =
            PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)parts[i].size);
        if (owner == NULL)
            goto failed;
        parcel->buffers[parcel->count++] = (struct buffer){
            owner, PyByteArray_AS_STRING(owner), parts[i].size};
    }
    return parcel;
failed:
    parcel_free(parcel);
    return NULL;
}

/* ---- dumping ---------------------------------------------------------- */

static int
add_buffer(struct parcel *parcel, PyObject *owner, void *base, size_t size)
{
    if (reserve(parcel, 0, 1) < 0)
        return -1;
    parcel->buffers[parcel->count++] =
        (struct buffer){Py_NewRef(owner), base, size};
    return 0;
}

static int
add_copy(struct parcel *parcel, const Py_buffer *view)
{
    PyObject *copy = PyBytes_FromStringAndSize(view->buf, view->len);
    if (copy == NULL)
        return -1;
    int status =
        add_buffer(parcel, copy, PyBytes_AS_STRING(copy), (size_t)view->len);
    Py_DECREF(copy);
    return status;
}

/* The pickler's buffer_callback: true leaves the buffer in the pickle.  None
   is the encoder's way to say that it starts over. */
static PyObject *
take_buffer(PyObject *capsule, PyObject *pickle_buffer)
{
    struct codec *codec = PyCapsule_GetPointer(capsule, NULL);
    if (codec != NULL && pickle_buffer == Py_None) {
        cut(codec->target, codec->target->size, codec->first_buffer);
        Py_RETURN_NONE;
    }
    const Py_buffer *view = PyPickleBuffer_GetBuffer(pickle_buffer);
    if (codec == NULL || view == NULL)
        return NULL;
    if (view->len < OUT_OF_BAND_MIN || !PyBuffer_IsContiguous(view, 'A'))
        Py_RETURN_TRUE;
    int status = codec->copy ? add_copy(codec->target, view)
                             : add_buffer(codec->target, pickle_buffer,
                                          view->buf, (size_t)view->len);
    if (status < 0)
        return NULL;
    Py_RETURN_FALSE;
}

static PyMethodDef take_buffer_def = {"buffer_callback", take_buffer, METH_O,
                                      NULL};

static int
is_atom(PyObject *object)
{
    return object == Py_None || PyLong_CheckExact(object)
           || PyFloat_CheckExact(object) || PyBool_Check(object)
           || PyUnicode_CheckExact(object) || PyBytes_CheckExact(object);
}

/* bytes, or another object with the buffer interface */
static PyObject *
pickle_of(struct codec *codec, PyObject *object)
{
    if (is_atom(object)) {
        PyObject *args[] = {object, codec->protocol};
        return PyObject_Vectorcall(codec->dumps, args, 2, NULL);
    }
    if (codec->encoder == NULL) {
        PyObject *args[] = {object, codec->protocol, codec->buffer_callback};
        return PyObject_Vectorcall(codec->dumps, args, 1, codec->dumps_names);
    }
    codec->encoded = 1;
    return PyObject_CallFunctionObjArgs(codec->encoder, object,
                                        codec->buffer_callback, NULL);
}

/* Puts a pickle that is too long for the stream before the item's buffers,
   which are already there. */
static int
insert_pickle(struct parcel *parcel, size_t index, PyObject *pickle)
{
    if (add_buffer(parcel, pickle, PyBytes_AS_STRING(pickle),
                   (size_t)PyBytes_GET_SIZE(pickle))
        < 0)
        return -1;
    struct buffer last = parcel->buffers[parcel->count - 1];
    memmove(&parcel->buffers[index + 1], &parcel->buffers[index],
            (parcel->count - 1 - index) * sizeof last);
    parcel->buffers[index] = last;
    return 0;
}

/* Appends the item whose buffers, from index on, are in the parcel. */
static int
append_item(struct parcel *parcel, size_t index, PyObject *pickle)
{
    size_t size = (size_t)PyBytes_GET_SIZE(pickle);
    struct item item = {size, 0};
    if (size > PICKLE_INLINE_MAX) {
        if (insert_pickle(parcel, index, pickle) < 0)
            return -1;
        item.size = PICKLE_IS_BUFFER;
        size = 0;
    }
    item.buffers = parcel->count - index;
    if (reserve(parcel, sizeof item + size, 0) < 0)
        return -1;
    memcpy(parcel->stream + parcel->size, &item, sizeof item);
    memcpy(parcel->stream + parcel->size + sizeof item,
           PyBytes_AS_STRING(pickle), size);
    parcel->size += sizeof item + size;
    return 0;
}

int
codec_dump(struct codec *codec, struct parcel *parcel, PyObject *object,
           int copy)
{
    size_t size = parcel->size, count = parcel->count;
    codec->target = parcel;
    codec->first_buffer = count;
    codec->copy = copy;
    PyObject *pickle = pickle_of(codec, object);
    codec->target = NULL;
    int status = pickle == NULL ? -1 : append_item(parcel, count, pickle);
    if (status < 0)
        cut(parcel, size, count);
    Py_XDECREF(pickle);
    return status;
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

static int
next_item(struct reader *reader, struct item *item)
{
    const struct parcel *parcel = reader->parcel;
    size_t left = parcel->size - reader->offset;
    if (left < sizeof *item)
        goto malformed;
    memcpy(item, parcel->stream + reader->offset, sizeof *item);
    size_t inline_size = item->size == PICKLE_IS_BUFFER ? 0 : item->size;
    if (inline_size > left - sizeof *item
        || item->buffers > parcel->count - reader->buffer
        || (item->size == PICKLE_IS_BUFFER && item->buffers == 0))
        goto malformed;
    return 0;
malformed:
    PyErr_SetString(PyExc_EOFError,
                    "a message was cut short: its items do "
                    "not fill the parcel that its header announces");
    return -1;
}

/* The item's pickle as an object with the buffer interface; moves the
   reader behind it, to the item's out-of-band buffers. */
static PyObject *
item_pickle(struct reader *reader, struct item *item)
{
    const struct parcel *parcel = reader->parcel;
    reader->offset += sizeof *item;
    if (item->size == PICKLE_IS_BUFFER) {
        item->buffers--;
        return Py_NewRef(parcel->buffers[reader->buffer++].owner);
    }
    char *start = (char *)parcel->stream + reader->offset;
    reader->offset += item->size;
    return PyMemoryView_FromMemory(start, (Py_ssize_t)item->size, PyBUF_READ);
}

static PyObject *
item_buffers(const struct parcel *parcel, size_t first, size_t count)
{
    PyObject *buffers = PyTuple_New((Py_ssize_t)count);
    if (buffers == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        PyObject *owner = parcel->buffers[first + i].owner;
        PyTuple_SET_ITEM(buffers, (Py_ssize_t)i, Py_NewRef(owner));
    }
    return buffers;
}

PyObject *
codec_load(struct codec *codec, struct reader *reader)
{
    struct item item;
    if (next_item(reader, &item) < 0)
        return NULL;
    PyObject *object = NULL, *buffers = NULL;
    PyObject *pickle = item_pickle(reader, &item);
    size_t first = reader->buffer;
    reader->buffer += item.buffers;
    if (pickle != NULL && item.buffers > 0) {
        buffers = item_buffers(reader->parcel, first, item.buffers);
        if (buffers == NULL)
            goto done;
    }
    if (pickle != NULL) {
        PyObject *args[] = {pickle, buffers};
        object = PyObject_Vectorcall(codec->loads, args, 1,
                                     buffers ? codec->loads_names : NULL);
    }
done:
    Py_XDECREF(buffers);
    Py_XDECREF(pickle);
    return object;
}

int
codec_skip(struct reader *reader)
{
    struct item item;
    if (next_item(reader, &item) < 0)
        return -1;
    reader->offset += sizeof item;
    reader->offset += item.size == PICKLE_IS_BUFFER ? 0 : item.size;
    reader->buffer += item.buffers;
    return 0;
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
    PyMem_RawFree(codec);
}
