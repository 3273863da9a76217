/* loan.h -- large buffers in an arena (arena.h), as Python's objects: in a
   worker's rank one is received into, and its child gets it lent.  Needs the
   GIL. */

#ifndef EZMPI_LOAN_H
#define EZMPI_LOAN_H

#include "arena.h"
#include "compat.h"

/* In the rank: so many bytes, writable and uninitialised.  NULL, and no
   exception: there is no room. */
PyObject *loan_room(struct arena *arena, size_t size, void **base);

/* In the child: what it was lent, a memoryview.  NULL: MemoryError, and it is
   given back. */
PyObject *loan_look(struct arena *arena, int block, size_t size, void **base);

#endif
