/* array.h -- numpy's plain arrays, without numpy's headers.

   Plain: of exactly numpy.ndarray, C-contiguous, writable, of a built-in type
   that one letter names ("d": float64), in the machine's byte order, without
   metadata.  What such an array is made of, its letter, shape and bytes, is
   all there is to it.

   numpy is looked for when an array is met, never before.  All of this needs
   the GIL. */

#ifndef EZMPI_ARRAY_H
#define EZMPI_ARRAY_H

#include "parcel.h"

#define ARRAY_DIMENSIONS 8      /* at most */

/* The kind of an array: all but its bytes. */
struct array_kind {
    unsigned char letter;
    unsigned char dimensions;
    int64_t shape[ARRAY_DIMENSIONS];
};

struct arrays;                  /* what was found of numpy */

struct arrays *arrays_new(void);        /* NULL: MemoryError */
void arrays_free(struct arrays *arrays);

/* 1: object is a plain array, *kind is filled and *view holds its bytes until
   PyBuffer_Release; 0: it is not; -1: exception set. */
int array_open(struct arrays *arrays, PyObject *object,
               struct array_kind *kind, Py_buffer *view);
/* Is it of exactly numpy.ndarray? */
int array_is(struct arrays *arrays, PyObject *object);
/* Is it of exactly numpy.float64?  That is a float to PyFloat_AS_DOUBLE. */
int array_is_float64(struct arrays *arrays, PyObject *object);

/* A new array with a copy of these bytes, which must be as many as its kind
   says. */
PyObject *array_from(struct arrays *arrays, const struct array_kind *kind,
                     const void *bytes);
/* A new array in the buffer's own memory. */
PyObject *array_over(struct arrays *arrays, const struct array_kind *kind,
                     PyObject *buffer);
PyObject *array_float64(struct arrays *arrays, double value);

/* The bytes of such an array; -1: the kind is no valid one. */
int64_t array_size(const struct array_kind *kind);

/* The kind as bytes in a parcel, and back; -1: exception set. */
int array_put_kind(struct parcel *parcel, const struct array_kind *kind);
int array_take_kind(struct reader *reader, struct array_kind *kind);

#endif
