/* outbox.h -- the messages of a mailbox that are leaving. */

#ifndef EZMPI_OUTBOX_H
#define EZMPI_OUTBOX_H

#include "wire.h"

/* Parts apart from the frame travel in pieces.  Far below the limit of one
   message, and so small that a piece nobody wants can go to scratch memory;
   yet its overhead is lost in the time its bytes take. */
#define PIECE_BYTES ((size_t)64 << 20)

struct outgoing;

struct outbox {
    struct wire *wire;
    struct outgoing *first;         /* NULL: all has left */
    struct outgoing **cursor;       /* link to the one to be tested next */
    void **tokens;                  /* those to be reaped */
    size_t tokens_ready;
    size_t tokens_out;              /* ready, or with a message on its way */
    size_t tokens_room;
};

void outbox_init(struct outbox *outbox, struct wire *wire);

/* As in transport.h; token NULL: there is nothing to reap. */
int outbox_send(struct outbox *outbox, int rank, int verb, int expects,
                const struct transport_part *parts, size_t count, void *token);
int outbox_multicast(struct outbox *outbox, const int *ranks, size_t receivers,
                     int verb, const struct transport_part *parts,
                     size_t count, void *token);
void *outbox_reap(struct outbox *outbox);

/* Nothing leaves any more, and the wire is closed: all tokens are to be
   reaped. */
void outbox_drop(struct outbox *outbox);
/* When they were. */
void outbox_fini(struct outbox *outbox);

/* Finds out what has left: of all messages, or of a few more of them. */
int outbox_progress(struct outbox *outbox, int all);

/* The next piece of a part of which done bytes are behind us, in pieces of so
   many bytes at most. */
size_t piece_size(size_t size, size_t done, size_t most);

#endif
