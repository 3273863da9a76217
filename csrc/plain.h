/* plain.h -- objects that can be written without pickle, since nobody can
   tell the difference: atoms (None, bool, int, float, numpy.float64, short
   str and bytes), small plain arrays, tuples and lists of such.

   Only where no two objects in it that can be changed are one: pickle keeps
   that, this does not.  So one list or array at most, the outermost list
   included.  All of this needs the GIL. */

#ifndef EZMPI_PLAIN_H
#define EZMPI_PLAIN_H

#include "array.h"
#include "parcel.h"
#include "tag.h"

/* Appends the object as one item.  1: done; 0: it is not plain, and the
   parcel as it was; -1: exception set. */
int plain_dump(struct arrays *arrays, struct parcel *parcel, PyObject *object);

/* The item whose tag was read: a new reference.  NULL: exception set, and the
   reader may stand anywhere. */
PyObject *plain_load(struct arrays *arrays, struct reader *reader, int tag);
/* The items of a tuple whose tag was read, and that has at most room of them:
   new references.  How many; -1: as plain_load; PLAIN_OTHERS: it has more.
   Unless they are here the reader may stand anywhere. */
#define PLAIN_OTHERS (-2)
Py_ssize_t plain_load_items(struct arrays *arrays, struct reader *reader,
                            PyObject **items, Py_ssize_t room);
/* Passes over it; makes nothing. */
int plain_skip(struct reader *reader, int tag);

/* Nothing but what pickle knows by itself: no function, class or object of
   another type in it?  Looks at a limited number of objects. */
int plain_is_data(struct arrays *arrays, PyObject *object);

#endif
