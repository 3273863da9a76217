/* master.h -- jobs: hand tasks out, take answers in.

   Needs the GIL. */

#ifndef EZMPI_MASTER_H
#define EZMPI_MASTER_H

#include "crew.h"

/* What a pool asks for. */
struct master_request {
    PyObject *function;             /* borrowed, like all of these */
    PyObject *tasks;
    PyObject *callback;             /* NULL: none */
    int want_results;
    uint64_t chunksize;             /* 0: the scheduler chooses */
    uint64_t pool;
    struct parcel *initializer;     /* NULL: none */
    unsigned char *initialized;     /* [workers]: has been sent it */
    uint32_t flags;                 /* FLAG_DILL */
};

/* Runs one job to its end.  The list of results, or None where they are not
   wanted; a new reference.  NULL: exception set, the job is abandoned and
   the crew ready for the next one. */
PyObject *master_map(struct crew *crew, struct codec *codec,
                     const struct master_request *request);

#endif
