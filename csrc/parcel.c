/* parcel.c -- a stream of bytes and a list of buffers.

   Must not know what is in them, nor where they go. */

#define PY_SSIZE_T_CLEAN
#include "parcel.h"

#include <string.h>

#include "pages.h"

#define FIRST_CAPACITY 240      /* a few atoms need no second allocation */

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

struct parcel *
parcel_new(void)
{
    struct parcel *parcel = PyMem_RawMalloc(sizeof *parcel);
    if (parcel == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *parcel = (struct parcel){.owners = 1};
    return parcel;
}

struct parcel *
parcel_keep(struct parcel *parcel)
{
    parcel->owners++;
    return parcel;
}

struct parcel_mark
parcel_mark(const struct parcel *parcel)
{
    return (struct parcel_mark){parcel->size, parcel->count};
}

void
parcel_cut(struct parcel *parcel, struct parcel_mark mark)
{
    while (parcel->count > mark.count)
        Py_DECREF(parcel->buffers[--parcel->count].owner);
    parcel->size = mark.size;
}

void
parcel_free(struct parcel *parcel)
{
    if (parcel == NULL || --parcel->owners > 0)
        return;
    parcel_cut(parcel, (struct parcel_mark){0, 0});
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

static PyObject *
copy_bytes(const void *base, size_t size)
{
    PyObject *copy = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (copy != NULL && size > 0) {
        pages_enlarge(PyBytes_AS_STRING(copy), size);
        memcpy(PyBytes_AS_STRING(copy), base, size);
    }
    return copy;
}

int
parcel_own(struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->count; i++) {
        struct buffer *buffer = &parcel->buffers[i];
        if (PyBytes_CheckExact(buffer->owner))
            continue;
        PyObject *copy = copy_bytes(buffer->base, buffer->size);
        if (copy == NULL)
            return -1;
        Py_SETREF(buffer->owner, copy);
        buffer->base = PyBytes_AS_STRING(copy);
    }
    return 0;
}

/* ---- filling ---------------------------------------------------------- */

static int
grow_stream(struct parcel *parcel, size_t size)
{
    size_t capacity = 2 * parcel->capacity + size + FIRST_CAPACITY;
    void *stream = PyMem_RawRealloc(parcel->stream, capacity);
    if (stream == NULL)
        return PyErr_NoMemory(), -1;
    pages_enlarge(stream, capacity);
    parcel->stream = stream;
    parcel->capacity = capacity;
    return 0;
}

unsigned char *
parcel_extend(struct parcel *parcel, size_t size)
{
    int has_room =
        parcel->stream != NULL && parcel->capacity - parcel->size >= size;
    if (!has_room && grow_stream(parcel, size) < 0)
        return NULL;
    parcel->size += size;
    return parcel->stream + parcel->size - size;
}

static int
grow_buffers(struct parcel *parcel, size_t count)
{
    size_t room = 2 * parcel->room + count;
    void *buffers =
        PyMem_RawRealloc(parcel->buffers, room * sizeof *parcel->buffers);
    if (buffers == NULL)
        return PyErr_NoMemory(), -1;
    parcel->buffers = buffers;
    parcel->room = room;
    return 0;
}

int
parcel_add(struct parcel *parcel, PyObject *owner, void *base, size_t size)
{
    if (parcel->count == parcel->room && grow_buffers(parcel, 1) < 0)
        return -1;
    parcel->buffers[parcel->count++] =
        (struct buffer){Py_NewRef(owner), base, size};
    return 0;
}

int
parcel_add_copy(struct parcel *parcel, const void *base, size_t size)
{
    PyObject *copy = copy_bytes(base, size);
    if (copy == NULL)
        return -1;
    int status = parcel_add(parcel, copy, PyBytes_AS_STRING(copy), size);
    Py_DECREF(copy);
    return status;
}

void
parcel_move_last(struct parcel *parcel, size_t index)
{
    struct buffer last = parcel->buffers[parcel->count - 1];
    memmove(&parcel->buffers[index + 1], &parcel->buffers[index],
            (parcel->count - 1 - index) * sizeof last);
    parcel->buffers[index] = last;
}

int
parcel_copy(struct parcel *parcel, const struct reader *from,
            const struct reader *to)
{
    const struct parcel *source = from->parcel;
    struct parcel_mark mark = parcel_mark(parcel);
    size_t size = to->offset - from->offset;
    unsigned char *room = parcel_extend(parcel, size);
    if (room == NULL)
        return -1;
    memcpy(room, source->stream + from->offset, size);
    for (size_t i = from->buffer; i < to->buffer; i++) {
        const struct buffer *buffer = &source->buffers[i];
        if (parcel_add(parcel, buffer->owner, buffer->base, buffer->size)
            < 0) {
            parcel_cut(parcel, mark);
            return -1;
        }
    }
    return 0;
}

/* ---- travelling ------------------------------------------------------- */

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

/* Writable and uninitialised: what is loaded owns this memory.  In two steps:
   where memory is short, PyByteArray_FromStringAndSize deallocates an object
   whose count of exports it has not set. */
static PyObject *
new_bytearray(size_t size)
{
    PyObject *bytearray = PyByteArray_FromStringAndSize(NULL, 0);
    if (bytearray != NULL
        && PyByteArray_Resize(bytearray, (Py_ssize_t)size) < 0)
        Py_CLEAR(bytearray);
    return bytearray;
}

static struct buffer
new_buffer(size_t size, struct arena *arena)
{
    struct buffer buffer = {.size = size};
    if (arena != NULL && size >= ARENA_LEAST)
        buffer.owner = loan_room(arena, size, &buffer.base);
    if (buffer.owner == NULL && (buffer.owner = new_bytearray(size)) != NULL) {
        buffer.base = PyByteArray_AS_STRING(buffer.owner);
        pages_enlarge(buffer.base, size);
    }
    return buffer;
}

struct parcel *
parcel_for(const struct transport_part *parts, size_t count,
           struct arena *arena)
{
    struct parcel *parcel = parcel_new();
    if (parcel == NULL)
        return NULL;
    if (parcel_extend(parcel, parts[0].size) == NULL
        || (count > 1 && grow_buffers(parcel, count - 1) < 0))
        goto failed;
    for (size_t i = 1; i < count; i++) {
        struct buffer buffer = new_buffer(parts[i].size, arena);
        if (buffer.owner == NULL)
            goto failed;
        parcel->buffers[parcel->count++] = buffer;
    }
    return parcel;
failed:
    parcel_free(parcel);
    return NULL;
}

struct parcel *
parcel_of(const void *stream, size_t size)
{
    struct parcel *parcel = PyMem_RawMalloc(sizeof *parcel);
    unsigned char *copy = PyMem_RawMalloc(size + 1);
    if (parcel == NULL || copy == NULL) {
        PyMem_RawFree(parcel);
        PyMem_RawFree(copy);
        return NULL;
    }
    if (size > 0)
        memcpy(copy, stream, size);
    *parcel = (struct parcel){
        .owners = 1, .stream = copy, .size = size, .capacity = size};
    return parcel;
}

size_t
parcel_lend(const struct parcel *parcel, struct arena *arena,
            struct transport_part *parts,
            struct parcel_loan loans[ARENA_BLOCKS])
{
    size_t count = 0;
    for (size_t i = 0; i < parcel->count && count < ARENA_BLOCKS; i++) {
        const struct buffer *buffer = &parcel->buffers[i];
        int block =
            buffer->size < ARENA_LEAST ? -1 : arena_lend(arena, buffer->base);
        if (block < 0)
            continue;
        loans[count++] =
            (struct parcel_loan){(uint32_t)i, block, buffer->size};
        parts[i + 1] = (struct transport_part){NULL, 0};
    }
    return count;
}

static int
borrow(struct buffer *buffer, const struct parcel_loan *loan,
       struct arena *arena)
{
    PyObject *owner = loan_look(arena, loan->block, loan->size, &buffer->base);
    if (owner == NULL)
        return -1;
    buffer->size = loan->size;
    Py_SETREF(buffer->owner, owner);
    return 0;
}

int
parcel_borrow(struct parcel *parcel, struct arena *arena,
              const struct parcel_loan *loans, size_t count)
{
    int status = 0;
    for (size_t i = 0; i < count; i++) {
        if (parcel == NULL || status < 0)
            arena_give_back(arena, loans[i].block);
        else
            status =
                borrow(&parcel->buffers[loans[i].buffer], &loans[i], arena);
    }
    return status;
}

/* ---- reading ---------------------------------------------------------- */

int
reader_has(const struct reader *reader, size_t size, size_t buffers)
{
    const struct parcel *parcel = reader->parcel;
    if (parcel->size - reader->offset >= size
        && parcel->count - reader->buffer >= buffers)
        return 0;
    PyErr_SetString(PyExc_EOFError,
                    "a message was cut short: its items do "
                    "not fill the parcel that its header announces");
    return -1;
}

int
reader_peek(const struct reader *reader)
{
    const struct parcel *parcel = reader->parcel;
    return parcel != NULL && reader->offset < parcel->size
               ? parcel->stream[reader->offset]
               : -1;
}

const unsigned char *
reader_take(struct reader *reader, size_t size)
{
    if (reader_has(reader, size, 0) < 0)
        return NULL;
    reader->offset += size;
    return reader->parcel->stream + reader->offset - size;
}

PyObject *
reader_take_buffer(struct reader *reader)
{
    if (reader_has(reader, 0, 1) < 0)
        return NULL;
    return reader->parcel->buffers[reader->buffer++].owner;
}
