/* rows.c -- slices of one array's memory.

   Must not know what is done with a row. */

#define PY_SSIZE_T_CLEAN
#include "rows.h"

#include <string.h>

#include "tag.h"

#define INLINE_MAX 65536        /* bytes; a larger block is a buffer */

struct rows {
    PyObject *owner;            /* a PickleBuffer: holds the memory */
    struct array_kind kind;
    unsigned char *base;
    size_t size;
};

int
rows_open(struct arrays *arrays, PyObject *tasks, struct rows **rows)
{
    struct array_kind kind;
    Py_buffer view;
    int status = array_open(arrays, tasks, &kind, &view);
    if (status <= 0)
        return status;
    PyBuffer_Release(&view);
    if (kind.dimensions == 0)
        return 0;
    struct rows *new = PyMem_RawCalloc(1, sizeof *new);
    if (new == NULL)
        return PyErr_NoMemory(), -1;
    new->kind = kind;
    if ((new->owner = PyPickleBuffer_FromObject(tasks)) == NULL) {
        PyMem_RawFree(new);
        return -1;
    }
    new->base = PyPickleBuffer_GetBuffer(new->owner)->buf;
    kind.shape[0] = 1;
    new->size = (size_t)array_size(&kind);
    *rows = new;
    return 1;
}

void
rows_close(struct rows *rows)
{
    if (rows == NULL)
        return;
    Py_DECREF(rows->owner);
    PyMem_RawFree(rows);
}

uint64_t
rows_count(const struct rows *rows)
{
    return (uint64_t)rows->kind.shape[0];
}

size_t
rows_size(const struct rows *rows)
{
    return rows->size;
}

int
rows_dump(const struct rows *rows, struct parcel *parcel, uint64_t first,
          uint64_t count)
{
    struct parcel_mark mark = parcel_mark(parcel);
    struct array_kind kind = rows->kind;
    unsigned char *base = rows->base + first * rows->size;
    size_t size = count * rows->size;
    kind.shape[0] = (int64_t)count;
    unsigned char *room = parcel_extend(parcel, 2);
    if (room == NULL)
        return -1;
    room[0] = TAG_ROWS;
    room[1] = size <= INLINE_MAX;
    if (array_put_kind(parcel, &kind) < 0)
        goto failed;
    if (size > INLINE_MAX) {
        if (parcel_add(parcel, rows->owner, base, size) < 0)
            goto failed;
        return 0;
    }
    if ((room = parcel_extend(parcel, size)) == NULL)
        goto failed;
    memcpy(room, base, size);
    return 0;
failed:
    parcel_cut(parcel, mark);
    return -1;
}

/* ---- the other side --------------------------------------------------- */

static PyObject *
load_block(struct arrays *arrays, struct reader *reader,
           const struct array_kind *kind, int is_inline)
{
    if (is_inline) {
        const unsigned char *bytes =
            reader_take(reader, (size_t)array_size(kind));
        return bytes ? array_from(arrays, kind, bytes) : NULL;
    }
    PyObject *buffer = reader_take_buffer(reader);
    return buffer ? array_over(arrays, kind, buffer) : NULL;
}

int
rows_load(struct arrays *arrays, struct reader *reader)
{
    struct array_kind kind;
    const unsigned char *is_inline = reader_take(reader, 1);
    if (is_inline == NULL || array_take_kind(reader, &kind) < 0)
        return -1;
    if (kind.dimensions == 0 || kind.shape[0] == 0) {
        PyErr_SetString(PyExc_EOFError, "a message holds rows of nothing");
        return -1;
    }
    reader->block = load_block(arrays, reader, &kind, *is_inline);
    reader->row = 0;
    reader->rows = kind.shape[0];
    return reader->block == NULL ? -1 : 0;
}

PyObject *
rows_next(struct reader *reader)
{
    PyObject *row = PySequence_GetItem(reader->block, reader->row);
    rows_skip(reader);
    return row;
}

void
rows_skip(struct reader *reader)
{
    if (++reader->row == reader->rows)
        rows_drop(reader);
}

void
rows_drop(struct reader *reader)
{
    Py_CLEAR(reader->block);
}
