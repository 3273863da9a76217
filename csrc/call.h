/* call.h -- single calls: each has a callable, arguments and a future of its
   own, and a chunk to itself.

   Runs on the master (rank 0), in whatever thread has the helm.  Needs that
   and the GIL.  The calls of a pool are one line, first come, first served. */

#ifndef EZMPI_CALL_H
#define EZMPI_CALL_H

#include "crew.h"
#include "dispatch.h"

struct calls;

/* What all calls of a pool have in common. */
struct calls_plan {
    PyObject *pool;                 /* borrowed; kept while calls are out */
    struct codec *codec;
    uint64_t pool_number;
    struct initializer *initializer;    /* NULL: none */
    PyObject *retries;              /* a plan (retries.h), or NULL */
    uint64_t timeout;               /* nanoseconds a call; 0: any */
    uint32_t flags;                 /* FLAG_DILL */
};

struct calls *calls_new(struct crew *crew, const struct calls_plan *plan);
void calls_free(struct calls *calls);   /* lets go; NULL is allowed */

struct call {
    PyObject *function, *args;
    PyObject *kwargs;               /* a dict, or NULL */
    PyObject *receiver;             /* the future to be told */
    int worker;                     /* this one, at once; or NOBODY: any */
};

/* Begins a call.  A new reference to a ticket; NULL: exception set. */
PyObject *calls_begin(struct calls *calls, const struct call *call);
/* The futures of calls that no worker was given, as a new list. */
PyObject *calls_waiting(struct calls *calls);

#endif
