/* multicast.h -- a multicast message on its way through a rank.

   Before such a message rank 0 sends a note to each receiver: from whom it
   will come, and whom it goes to next.  The note comes in order with rank 0's
   other messages, and until what it speaks of has come the rank looks at
   nothing else: so for its receiver a multicast message is one of rank 0's, in
   its place.  Runs in each rank's own process; what passes messages on to a
   child is guard.c. */

#ifndef EZMPI_MULTICAST_H
#define EZMPI_MULTICAST_H

#include "tree.h"
#include "wire.h"

/* The pieces of such a message are so small that while one leaves the next one
   comes, and so large that their overhead is lost in the time they take. */
#define MULTICAST_PIECE_BYTES ((size_t)1 << 20)

struct multicast_note {
    int from;
    int children[TREE_CHILDREN];
};

struct multicast {
    struct wire *wire;
    int awaited; /* the message of the note, to come */
    int came; /* it is the last message that came */
    struct multicast_note note;
    size_t children;
    size_t leaving; /* requests, all for one range of bytes */
    struct wire_slot requests[TREE_CHILDREN];
};

/* Writes the note for the i-th receiver, from 1 on, or for rank 0 itself;
   returns the number of children. */
size_t multicast_note(struct multicast_note *note, const int *ranks,
                      size_t count, size_t i);
size_t multicast_note_size(size_t children);

/* Heeds the note that is in multicast->note, of so many bytes.  NULL, or what
   is wrong with it. */
const char *multicast_begin(struct multicast *multicast, size_t size);

/* Sends the bytes on to the children, if there are any; base stays as it is
   until multicast_settle returns OK, as it must have for what was sent
   before. */
int multicast_pass(struct multicast *multicast, const void *base, size_t size,
                   int tag);
/* NOTHING: not all has left yet. */
int multicast_settle(struct multicast *multicast);
/* What was awaited comes now: it is the last message, until multicast_end. */
void multicast_arrive(struct multicast *multicast);
void multicast_end(struct multicast *multicast);

#endif
