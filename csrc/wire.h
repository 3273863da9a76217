/* wire.h -- bytes between the ranks of one communicator: what a mailbox needs
   of MPI, and nothing that blocks.

   Implemented by transport_mpi.c.  Messages with one sender and one receiver
   arrive in the order in which they were sent.  Functions return
   TRANSPORT_OK, TRANSPORT_NOTHING where they say so, or TRANSPORT_FAILED with
   wire->error filled: the wire is of no use from then on. */

#ifndef EZMPI_WIRE_H
#define EZMPI_WIRE_H

#include "transport.h"

#define WIRE_TAGS 32768             /* tags are below: every MPI has these */
#define PIECE_TAG (WIRE_TAGS - 1)   /* of a part's bytes */
#define NOTE_TAG (WIRE_TAGS - 2)    /* of what relay.h says */
#define VERB_TAGS (WIRE_TAGS - 2)   /* the others are verbs */
#define WIRE_SIZE_LIMIT INT32_MAX   /* bytes of one message */
#define WIRE_ANY (-1)

struct wire {
    int rank;
    int ranks;
    int crowded;                    /* more ranks on this host than cores */
    struct transport_error error;   /* error.call NULL: all is well */
};

/* Room for what the implementation keeps: a number or a pointer. */
struct wire_slot {
    void *room;
};

/* A message that is for us, and must be accepted. */
struct wire_arrival {
    int source;
    int tag;
    size_t size;
    struct wire_slot slot;
};

/* base stays as it is until wire_test said that request is done. */
int wire_send(struct wire *wire, const void *base, size_t size, int rank,
              int tag, struct wire_slot *request);

/* NOTHING: none has come from source with this tag, or WIRE_ANY of them. */
int wire_look(struct wire *wire, int source, int tag,
              struct wire_arrival *arrival);

/* Receives all of it into base; done when wire_test says so. */
int wire_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
                struct wire_slot *request);

/* OK: request is done and gone.  NOTHING: not yet. */
int wire_test(struct wire *wire, struct wire_slot *request);

/* Nothing may be on its way.  The struct stays, broken. */
void wire_close(struct wire *wire);

/* Ends the job. */
_Noreturn void wire_abort(int code);

/* Notes what broke the wire: TRANSPORT_FAILED. */
int wire_fail(struct wire *wire, const char *call, const char *text);

#endif
