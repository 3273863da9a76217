/* codec.h -- objects to parcels and back: pickle, dill, out-of-band buffers.

   A parcel is what travels in one message behind the header: a stream of
   items, each one object pickled for itself, and the out-of-band buffers
   (pickle protocol 5) of all of them in order.  A parcel has one or more
   owners; the last one to let go frees it.

   All of this needs the GIL. */

#ifndef EZMPI_CODEC_H
#define EZMPI_CODEC_H

#include "compat.h"
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
/* The parcel as a message's parts: stream first.  Valid while it lives. */
size_t parcel_part_count(const struct parcel *parcel);
void parcel_parts(const struct parcel *parcel, struct transport_part *parts);
/* An empty parcel with room for such parts, to receive into.  NULL:
   exception set. */
struct parcel *parcel_for(const struct transport_part *parts, size_t count);

/* Reads a parcel's items in order. */
struct reader {
    const struct parcel *parcel; /* borrowed */
    size_t offset;
    size_t buffer;
};

struct codec;

/* record: the MainRecord of what the workers' __main__ holds, or NULL where
   nothing is to be kept in step (on a worker).  NULL: exception set. */
struct codec *codec_new(int use_dill, PyObject *record);
void codec_free(struct codec *codec);

/* Appends object as one item; copy: buffers are copied, so that object may
   change at once.  On failure the parcel is as it was, exception set. */
int codec_dump(struct codec *codec, struct parcel *parcel, PyObject *object,
               int copy);

/* A job begins: what was dumped before, and not sent, needs no names. */
int codec_begin(struct codec *codec);
/* But what was dumped so far does, whichever job comes first. */
int codec_keep(struct codec *codec);
/* The names that must be bound in the workers' __main__ before what was
   dumped since then can be loaded there: a new reference to bytes, or to
   None.  NULL: exception set. */
PyObject *codec_take_bindings(struct codec *codec);
/* They were sent: until then they count as not held. */
int codec_bindings_sent(struct codec *codec);
/* Binds them, on a worker. */
int codec_bind(PyObject *bindings);

/* The next item, a new reference; NULL: exception set, and the reader
   stands behind the item all the same unless the parcel is malformed. */
PyObject *codec_load(struct codec *codec, struct reader *reader);
/* Passes over the next item. */
int codec_skip(struct reader *reader);

#endif
