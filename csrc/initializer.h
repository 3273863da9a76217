/* initializer.h -- what each worker runs once, before a pool's first task.

   Where it raised on one, nothing more begins in the pool.  But for its
   fields all of this needs the GIL. */

#ifndef EZMPI_INITIALIZER_H
#define EZMPI_INITIALIZER_H

#include "codec.h"

struct initializer {
    struct parcel *parcel;
    unsigned char *sent;        /* [workers] */
    PyObject *failure;          /* what it raised; NULL: nothing so far */
};

/* NULL: exception set. */
struct initializer *initializer_new(struct codec *codec, int workers,
                                    PyObject *function, PyObject *args);
void initializer_free(struct initializer *initializer); /* NULL is allowed */

/* A worker's account of it (borrowed) came.  NULL is allowed, for none. */
void initializer_failed(struct initializer *initializer, PyObject *exception);
/* May something begin?  -1: exception set. */
int initializer_check(const struct initializer *initializer);

#endif
