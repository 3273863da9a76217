/* wire.h -- bytes between the ranks of one communicator: what a mailbox needs,
   and nothing that blocks.

   Messages with one sender and one receiver arrive in the order in which they
   were sent; but pieces (PIECE_TAG) keep it among themselves only, and so do
   all others.  They travel over the link (link.h: MPI or, between forked
   processes, sockets) or, between rank 0 and ranks of its host, through shared
   memory (lanes.h), but for pieces.  Functions return TRANSPORT_OK,
   TRANSPORT_NOTHING where they say so, or TRANSPORT_FAILED with wire->error
   filled: the wire is of no use from then on.

   A rank may die and the others live on (gone not NULL).  Rank 0 then hears no
   more of it, and what goes there is dropped; to all others the death of rank
   0 is a failure, and that of others nothing.  TRANSPORT_LOST: what was asked
   for was to come from, or go to, such a rank, and never will. */

#ifndef EZMPI_WIRE_H
#define EZMPI_WIRE_H

#include "transport.h"

#define WIRE_TAGS 32768 /* tags are below: every MPI has these */
#define PIECE_TAG (WIRE_TAGS - 1) /* of a part's bytes */
#define NOTE_TAG (WIRE_TAGS - 2) /* of what multicast.h says */
#define LANE_TAG (WIRE_TAGS - 3) /* of what lanes.h says */
#define VERB_TAGS (WIRE_TAGS - 3) /* the others are verbs */
#define WIRE_SIZE_LIMIT INT32_MAX /* bytes of one message */
#define WIRE_ANY (-1)

struct alarm;
struct kept;
struct lanes;

struct wire {
    int rank;
    int ranks;
    int crowded; /* more ranks on this host than cores */
    int is_star; /* only rank 0 reaches the others */
    struct lanes *lanes; /* NULL: none */
    struct kept *kept; /* pieces that came early */
    char *gone; /* by rank, at rank 0: has it died?  NULL: all would */
    int deaths; /* so many have */
    unsigned sleeps;
    int link_is_first; /* to be looked at */
    unsigned looks;
    struct transport_error error; /* error.call NULL: all is well */
};

/* Room for what the implementation keeps: a number or a pointer. */
struct wire_slot {
    void *room;
    enum { BY_LINK, OUT_BY_LANE, IN_BY_LANE } way;
};

/* A message that is for us, and must be accepted. */
struct wire_arrival {
    int source;
    int tag;
    size_t size;
    struct wire_slot slot;
};

/* Once, before all else: lets ranks of this host know of each other. */
int wire_open(struct wire *wire);

/* base stays as it is until wire_test said that request is done. */
int wire_send(struct wire *wire, const void *base, size_t size, int rank,
              int tag, struct wire_slot *request);

/* NOTHING: none has come from source, or WIRE_ANY of them.  tag: PIECE_TAG, or
   WIRE_ANY for all but pieces.  LOST: nor will one. */
int wire_look(struct wire *wire, int source, int tag,
              struct wire_arrival *arrival);

/* Receives all of it into base; done when wire_test says so.  One at a time
   from each source. */
int wire_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
                struct wire_slot *request);

/* OK, or LOST: request is done and gone.  NOTHING: not yet. */
int wire_test(struct wire *wire, struct wire_slot *request);

/* What is kept for a request that is done no more goes; after wire_close. */
void wire_drop(struct wire_slot *request);

/* Is something here, from that rank through shared memory, that was not looked
   at? */
int wire_holds(const struct wire *wire, int rank);

/* The next look goes every way. */
void wire_look_well(struct wire *wire);

/* For what finds that rank has died, any number of times. */
void wire_lose(struct wire *wire, int rank);
int wire_is_gone(const struct wire *wire, int rank);

/* Sleeps for about so long, or until a message comes through shared memory,
   for who waits for any; but does nothing, and returns 0, where none can.
   alarm: ends it, too; NULL: none. */
int wire_sleep(struct wire *wire, double seconds, struct alarm *alarm);

/* As word in transport.h, of a rank that there is; NULL from wire_end on. */
_Atomic uint64_t *wire_word(const struct wire *wire, int rank);

/* No way changes any more.  What wire_send sends still goes. */
void wire_end(struct wire *wire);
/* Nothing may be on its way.  The struct stays, broken. */
void wire_close(struct wire *wire);

/* Ends the job. */
_Noreturn void wire_abort(int code);

/* Notes what broke the wire: TRANSPORT_FAILED. */
int wire_fail(struct wire *wire, const char *call, const char *text);

#endif
