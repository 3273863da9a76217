/* inbox.h -- the messages of a mailbox that arrive, one at a time. */

#ifndef EZMPI_INBOX_H
#define EZMPI_INBOX_H

#include "multicast.h"
#include "wire.h"

struct inbox {
    struct wire *wire;
    struct multicast multicast; /* of what comes next, or came last */
    enum { HERE, ARRIVING, LEAVING } frame_is;
    struct wire_arrival arrival;
    struct wire_slot request;
    struct transport_message message; /* the last one */
    int expects;
    size_t settled; /* parts below are here, or dropped */
    double deadline; /* for what is on its way; 0: none */
    struct frame *frame;
    size_t frame_room;
    struct transport_part *parts;
    size_t parts_room;
};

void inbox_init(struct inbox *inbox, struct wire *wire);
void inbox_fini(struct inbox *inbox);

/* The next message, if its frame has come: NOTHING if not, at once.  Drops
   what was not taken of the last one, and waits for that. */
int inbox_receive(struct inbox *inbox);

/* Is any message looked for, and not the rest of one, or one on its way? */
int inbox_is_open(const struct inbox *inbox);

/* Receives part index, which is apart and not settled yet, and drops those
   before it; base NULL: drops it, too.  Waits for those that it is passed on
   to. */
int inbox_take(struct inbox *inbox, size_t index, void *base);

#endif
