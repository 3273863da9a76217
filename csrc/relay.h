/* relay.h -- a multicast message on its way through a rank.

   Before such a message rank 0 sends a note to each receiver: from whom it
   will come, and whom it goes to next.  The note comes in order with rank 0's
   other messages, and until what it speaks of has come the rank looks at
   nothing else: so for its receiver a multicast message is one of rank 0's, in
   its place.  Runs in each rank's own process; what passes messages on to a
   child is guard.c. */

#ifndef EZMPI_RELAY_H
#define EZMPI_RELAY_H

#include "tree.h"
#include "wire.h"

/* The pieces of such a message are so small that while one leaves the next one
   comes, and so large that their overhead is lost in the time they take. */
#define RELAY_PIECE_BYTES ((size_t)1 << 20)

struct relay_note {
    int from;
    int children[TREE_CHILDREN];
};

struct relay {
    struct wire *wire;
    int awaited; /* the message of the note, to come */
    int multicast; /* so was the last one that came */
    struct relay_note note;
    size_t children;
    size_t leaving; /* requests, all for one range of bytes */
    struct wire_slot requests[TREE_CHILDREN];
};

/* Writes the note for the i-th receiver, from 1 on, or for rank 0 itself;
   returns the number of children. */
size_t
relay_note(struct relay_note *note, const int *ranks, size_t count, size_t i);
size_t relay_note_size(size_t children);

/* Heeds the note that is in relay->note, of so many bytes.  NULL, or what is
   wrong with it. */
const char *relay_begin(struct relay *relay, size_t size);

/* Sends the bytes on to the children, if there are any; base stays as it is
   until relay_settle returns OK, as it must have for what was sent before. */
int relay_pass(struct relay *relay, const void *base, size_t size, int tag);
/* NOTHING: not all has left yet. */
int relay_settle(struct relay *relay);
/* What was awaited comes now: it is the last message, until relay_end. */
void relay_arrive(struct relay *relay);
void relay_end(struct relay *relay);

#endif
