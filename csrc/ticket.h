/* ticket.h -- by which a future knows the call or the job that it is of.

   Needs the GIL, and takes the helm where it must. */

#ifndef EZMPI_TICKET_H
#define EZMPI_TICKET_H

#include "crew.h"
#include "job.h"

/* One of chunk and job, as long as it is not over. */
struct ticket {
    PyObject_HEAD
    struct crew *crew;
    struct chunk *chunk;            /* call.c sets it back */
    struct job *job;                /* with a share */
    PyObject *receiver;             /* of a call, until it is told */
};

/* A new reference to the type. */
PyObject *ticket_new_type(void);
/* Of nothing yet; a new reference.  NULL: exception set. */
struct ticket *ticket_new(struct crew *crew);

#endif
