/* pool.h -- the MPIPool type. */

#ifndef EZMPI_POOL_H
#define EZMPI_POOL_H

#include "compat.h"

/* The name of the capsules that hold a `const struct transport *`. */
#define TRANSPORT_CAPSULE "ezmpi.transport"

/* Adds the type to the module. */
int pool_add_type(PyObject *module);

#endif
