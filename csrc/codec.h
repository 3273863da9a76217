/* codec.h -- objects to parcels and back: pickle, dill, out-of-band buffers.

   A parcel's stream is made of items, each one object for itself, but for
   the rows of an array, which are so many items in one block.

   All of this needs the GIL. */

#ifndef EZMPI_CODEC_H
#define EZMPI_CODEC_H

#include "parcel.h"
#include "rows.h"

struct codec;

/* record: the MainRecord of what the workers' __main__ holds, or NULL where
   nothing is to be kept in step (on a worker).  NULL: exception set. */
struct codec *codec_new(int use_dill, PyObject *record);
void codec_free(struct codec *codec);

/* Appends object as one item; copy: buffers are copied, so that object may
   change at once.  On failure the parcel is as it was, exception set. */
int codec_dump(struct codec *codec, struct parcel *parcel, PyObject *object,
               int copy);

/* The same, for an account of a failure (errors.h) in place of a result. */
int codec_dump_failure(struct codec *codec, struct parcel *parcel,
                       PyObject *account);

/* Where tasks is an array whose rows can travel as blocks: see rows_open. */
int codec_open_rows(struct codec *codec, PyObject *tasks, struct rows **rows);

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
/* The next item's own items, where it is a tuple that needed no pickle and has
   at most room of them: new references.  How many; -1: as codec_load;
   CODEC_OTHER: it is another, and still the next. */
#define CODEC_OTHER (-2)
Py_ssize_t codec_load_items(struct codec *codec, struct reader *reader,
                            PyObject **items, Py_ssize_t room);
/* Is the next item a failure's account?  Then it can be loaded. */
int codec_is_failure(struct reader *reader);
/* Is no item left? */
int codec_is_at_end(const struct reader *reader);
/* Nothing more will be read. */
void codec_end(struct reader *reader);
/* Passes over the next item, which is not a row. */
int codec_skip(struct reader *reader);

#endif
