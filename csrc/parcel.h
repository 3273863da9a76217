/* parcel.h -- what travels in one message behind the header: a stream of
   bytes, and out-of-band buffers (pickle protocol 5), in order.

   A parcel has one or more owners; the last one to let go frees it.  What
   the bytes mean is not its business.  Needs the GIL, but for parcel_of,
   parcel_keep, parcel_size, parcel_parts, and for letting go of a parcel that
   has other owners. */

#ifndef EZMPI_PARCEL_H
#define EZMPI_PARCEL_H

#include <stdint.h>

#include "compat.h"
#include "loan.h"
#include "transport.h"

struct parcel;

struct parcel *parcel_new(void);                /* NULL: MemoryError */
struct parcel *parcel_keep(struct parcel *parcel);
void parcel_free(struct parcel *parcel); /* lets go; NULL is allowed */
size_t parcel_size(const struct parcel *parcel);
/* The same bytes?  Compares contents, never identities. */
int parcel_equal(const struct parcel *one, const struct parcel *other);
/* Gives the parcel copies of the buffers that it borrows from objects. */
int parcel_own(struct parcel *parcel);

/* ---- filling; -1 or NULL: MemoryError, the parcel as it was ----------- */

struct parcel_mark {
    size_t size, count;         /* of the stream; of the buffers */
};

struct parcel_mark parcel_mark(const struct parcel *parcel);
/* Takes the parcel back to what it was. */
void parcel_cut(struct parcel *parcel, struct parcel_mark mark);
/* Makes the stream longer by size bytes, for the caller to fill at once. */
unsigned char *parcel_extend(struct parcel *parcel, size_t size);
/* Appends a buffer; keeps its owner. */
int
parcel_add(struct parcel *parcel, PyObject *owner, void *base, size_t size);
int parcel_add_copy(struct parcel *parcel, const void *base, size_t size);
/* Moves the last buffer before buffer index. */
void parcel_move_last(struct parcel *parcel, size_t index);

/* Appends what stands between two places of another parcel. */
struct reader;
int parcel_copy(struct parcel *parcel, const struct reader *from,
                const struct reader *to);

/* ---- travelling ------------------------------------------------------- */

/* The parcel as a message's parts: stream first.  Valid while it lives. */
size_t parcel_part_count(const struct parcel *parcel);
void parcel_parts(const struct parcel *parcel, struct transport_part *parts);
/* An empty parcel with room for such parts, to receive into.  arena: large
   buffers are in it, where it has room; or NULL.  NULL: exception set. */
struct parcel *parcel_for(const struct transport_part *parts, size_t count,
                          struct arena *arena);
/* One that is a copy of this stream.  Needs no GIL, and sets no exception:
   NULL: out of memory. */
struct parcel *parcel_of(const void *stream, size_t size);

/* From a worker's rank to its child: what is in the arena need not travel, and
   loans say so in its place, in a part before the parcel's. */
struct parcel_loan {
    uint32_t buffer; /* its index */
    int32_t block;
    uint64_t size;
};

/* Lends what is in the arena, and empties these parts; returns how many loans
   there are.  Needs no GIL. */
size_t parcel_lend(const struct parcel *parcel, struct arena *arena,
                   struct transport_part *parts,
                   struct parcel_loan loans[ARENA_BLOCKS]);
/* In the child: puts what was lent into what came of the parcel; or, where
   that is NULL, gives it back.  -1: exception set. */
int parcel_borrow(struct parcel *parcel, struct arena *arena,
                  const struct parcel_loan *loans, size_t count);

/* ---- reading ---------------------------------------------------------- */

/* Goes through a parcel once, front to back. */
struct reader {
    const struct parcel *parcel; /* borrowed */
    size_t offset;
    size_t buffer;
    /* rows.c: the block whose rows are being handed out */
    PyObject *block;
    Py_ssize_t row, rows;
};

/* -1, with an EOFError: fewer bytes or buffers are left. */
int reader_has(const struct reader *reader, size_t size, size_t buffers);
/* The next byte, which stays; -1: there is none. */
int reader_peek(const struct reader *reader);
/* The next size bytes; NULL with an EOFError: there are not so many. */
const unsigned char *reader_take(struct reader *reader, size_t size);
/* The next buffer, borrowed; NULL with an EOFError: there is none. */
PyObject *reader_take_buffer(struct reader *reader);

#endif
