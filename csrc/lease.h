/* lease.h -- a pool's time on its crew: until the workers were told that it
   uses nothing of theirs any more.

   The struct is in every pool.  On a worker only crew, test_mode and closed
   count, number stays 0, and none of these functions may be called: they are
   the master's, which has a crew->dispatch.  Need the GIL, and take the helm
   themselves. */

#ifndef EZMPI_LEASE_H
#define EZMPI_LEASE_H

#include "crew.h"

struct lease {
    struct crew *crew;          /* NULL until the pool got it */
    uint64_t number;            /* from 1; 0: not the master's */
    int test_mode;
    int closed;
    int is_terminated;
    int is_to_be_forgotten;     /* the workers were not told */
};

/* Of a crew. */
void lease_begin(struct lease *lease);
/* Has it jobs or calls that are not over?  Needs no helm. */
int lease_has_unfinished(const struct lease *lease);
/* Waits for what is unfinished, at most seconds (below 0: for ever), also at
   the workers if that matters, and tells these.  1: all is over; 0: not yet;
   -1: exception set. */
int lease_join(struct lease *lease, double seconds, int workers_too);
/* Where nothing is unfinished the workers are told at once; else by join, or
   when the pool goes.  In test_mode they are let go when all is over.  -1:
   exception set. */
int lease_close(struct lease *lease);
/* What its tasks do at the workers nobody waits for: close or join says so to
   those that can end them. */
void lease_terminate(struct lease *lease);
/* Of a pool that may not have been closed, from wherever that is noticed: it
   may be at the helm.  While another thread has it nothing can be sent; the
   workers are told when the last pool is closed.  Workers that are this pool's
   own end.  -1: exception set. */
int lease_drop(struct lease *lease);

/* Ends the workers where they are this pool's own; seconds as in transport.h.
   What was begun and not joined is lost. */
void lease_part(struct lease *lease, double seconds);

#endif
