/* stream.h -- messages over a socket to a process that was forked here, or
   forked this one.  Nothing blocks.  Plain C.

   A message is an envelope and its bytes; a large one is an envelope alone,
   and its bytes are read where they are (reach.h), if the other process may.
   What is on its way is a move, which its owner tests until it is done.
   Functions return TRANSPORT_OK, TRANSPORT_NOTHING where they say so, or
   TRANSPORT_FAILED: errno says why, 0 that the other process has ended. */

#ifndef EZMPI_STREAM_H
#define EZMPI_STREAM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* In memory that both processes share, all zero at first: what one of them
   reads where the other has it. */
struct stream_reads {
    _Atomic int may;                /* it may do so */
    _Atomic uint64_t done;          /* messages, ever */
};

struct stream_envelope {
    int32_t tag;
    uint32_t is_lent;               /* the bytes are at address */
    uint64_t size;
    uint64_t address;
};

struct move;

struct stream {
    int socket;                     /* -1: closed */
    pid_t peer;
    struct stream_reads *ours, *theirs;
    uint64_t lent;                  /* messages, ever */
    struct move *moves;             /* all that were not tested done */
    struct move *first, **last;     /* what has not gone into the socket */
    struct stream_envelope in;      /* the message that comes */
    size_t in_read;                 /* bytes of it */
    struct move *coming;            /* its bytes do; NULL: not yet wanted */
    int has_ended; /* no more comes: the other process has */
};

/* Takes the socket.  ours, theirs: NULL, nothing is lent. */
void stream_init(struct stream *stream, int socket, pid_t peer,
                 struct stream_reads *ours, struct stream_reads *theirs);
/* Its moves go, too. */
void stream_fini(struct stream *stream);

/* base stays as it is until the move is done. */
int stream_send(struct stream *stream, const void *base, size_t size, int tag,
                struct move **move);
/* Writes what there is room for.  Where that fails since the other process has
   ended, what it wrote can still be read. */
int stream_push(struct stream *stream);

/* OK: stream->in is the envelope of the next message, which must be accepted.
   NOTHING: none has come, also where the other process has ended. */
int stream_look(struct stream *stream);
int stream_accept(struct stream *stream, void *base, struct move **move);

/* OK: it is done and gone.  NOTHING: not yet. */
int stream_test(struct move *move);
int stream_goes_out(const struct move *move);

#endif
