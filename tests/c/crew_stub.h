/* crew_stub.h -- a crew without Python, MPI or time, for tests of dispatch.c.

   What is posted goes to the test, message by message and rank by rank; what
   comes in, and when, the test says.  Parcels have a size and no contents. */

#ifndef EZMPI_TESTS_CREW_STUB_H
#define EZMPI_TESTS_CREW_STUB_H

#include "crew.h"

struct mailbox {
    /* A rank was sent a message. */
    void (*post)(struct mailbox *mailbox, int rank, enum verb verb,
                 const struct header *header);
    int posts;                      /* messages, so far */
    int fails_after;                /* so many; 0: never */
    _Atomic uint64_t *words;        /* [workers]; NULL: none is shared */
    int is_closed;
    const struct letter *coming;    /* what crew_await finds, or NULL */
    int is_large;                   /* and needs Python to be received */
};

extern int64_t stub_now;            /* what crew_clock says */

/* The crew's members are to be freed by stub_clear. */
void stub_init(struct crew *crew, struct mailbox *mailbox, int workers);
void stub_clear(struct crew *crew);

struct parcel *stub_parcel(size_t size);
/* Parcels that were made and not freed. */
int stub_parcels(void);

#endif
