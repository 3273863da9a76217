/* lane.h -- messages between rank 0 and one rank of its host, through two
   pipes of a segment.  Functions return what those of wire.h do. */

#ifndef EZMPI_LANE_H
#define EZMPI_LANE_H

#include "pipe.h"
#include "segment.h"
#include "wire.h"

struct leaving;

struct lane {
    int rank;                       /* at its other end */
    struct pipe_end out, in;
    struct segment *bells;          /* to be rung; NULL: nobody listens */
    struct sleeper *listener;       /* to be woken */
    int peer;                       /* whose pipes these are */
    _Atomic uint64_t *word;         /* in no message; NULL: not yet */
    struct leaving *first, **last;  /* messages that wait for room */
    int is_dead;                    /* the rank is */
    char *base;                     /* of the message that is read */
    size_t size, done;
};

/* is_host: at rank 0, whose segment it is. */
void lane_connect(struct lane *lane, struct segment *segment, int peer,
                  int is_host);

/* FAILED: out of memory. */
int lane_send(struct lane *lane, const void *base, size_t size, int tag,
              struct wire_slot *request);
/* The wire breaks: the memory that it shares with another rank holds what no
   lane writes. */
int lane_fail(struct wire *wire);

/* From here on FAILED: see lane_fail. */
int lane_look(struct lane *lane, struct wire_arrival *arrival);
void lane_accept(struct wire_arrival *arrival, void *base,
                 struct wire_slot *request);
int lane_test(struct wire_slot *request);
/* Of a message to a lane that is gone, or goes next. */
void lane_drop(struct wire_slot *request);

#endif
