/* pool.h -- the MPIPool type. */

#ifndef EZMPI_POOL_H
#define EZMPI_POOL_H

#include "compat.h"

/* The name of the capsules that hold a `const struct transport *`. */
#define TRANSPORT_CAPSULE "ezmpi.transport"

/* A handle on forked workers, whose transport it holds: its context is the
   handle of their mailbox.  It ends them when it goes, until a pool has opened
   that. */
#define FORKED_CAPSULE "ezmpi workers"

/* Adds the type to the module. */
int pool_add_type(PyObject *module);

#endif
