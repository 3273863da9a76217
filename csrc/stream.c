/* stream.c -- envelopes and bytes through a socket.

   Knows neither ranks nor what tags mean. */

#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "reach.h"
#include "transport.h"

#define LENT_BYTES ((size_t)1 << 14)    /* from there on a copy costs more */

#ifndef MSG_NOSIGNAL /* macOS has a socket option instead */
#define MSG_NOSIGNAL 0
#endif

struct move {
    struct stream *stream;
    struct move *after, **link; /* in stream->moves */
    struct move *next; /* of those that go out */
    int goes_out;
    int has_gone; /* all of it into the socket */
    struct stream_envelope envelope;
    char *base;
    size_t size; /* bytes in the socket, without envelope */
    size_t done; /* bytes in the socket, with it */
    uint64_t number; /* of what is lent */
};

void
stream_init(struct stream *stream, int socket, pid_t peer,
            struct stream_reads *ours, struct stream_reads *theirs)
{
    *stream = (struct stream){.socket = socket,
                              .peer = peer,
                              .ours = ours,
                              .theirs = theirs,
                              .last = &stream->first};
}

static void
free_move(struct move *move)
{
    *move->link = move->after;
    if (move->after != NULL) {
        move->after->link = move->link;
    }
    free(move);
}

void
stream_fini(struct stream *stream)
{
    if (stream->socket >= 0) {
        close(stream->socket);
    }
    while (stream->moves != NULL) {
        free_move(stream->moves);
    }
    *stream = (struct stream){.socket = -1, .last = &stream->first};
}

static struct move *
new_move(struct stream *stream, const void *base, size_t size)
{
    struct move *move = calloc(1, sizeof(*move));

    if (move == NULL) {
        errno = ENOMEM;
        return NULL;
    }
    move->stream = stream;
    move->base = (char *)base;
    move->size = size;
    move->after = stream->moves;
    move->link = &stream->moves;
    stream->moves = move;
    if (move->after != NULL) {
        move->after->link = &move->after;
    }
    return move;
}

/* NOTHING: nothing goes, or comes, now. */
static int
judge(ssize_t count)
{
    if (count > 0) {
        return TRANSPORT_OK;
    }
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return TRANSPORT_NOTHING;
    }
    if (count < 0 && errno == EINTR) {
        return TRANSPORT_NOTHING; /* whoever asks asks again */
    }
    if (count == 0 || errno == ECONNRESET || errno == EPIPE) {
        errno = 0;
    }
    return TRANSPORT_FAILED;
}

/* ---- out --------------------------------------------------------------- */

/* As much of it as there is room for. */
static ssize_t
write_some(struct stream *stream, const struct move *move)
{
    size_t head = sizeof(move->envelope);
    size_t begun = move->done < head ? move->done : head;
    size_t at = move->done - begun;
    struct iovec parts[2] = {{(char *)&move->envelope + begun, head - begun},
                             {move->base + at, move->size - at}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

    return sendmsg(stream->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int
stream_push(struct stream *stream)
{
    while (stream->first != NULL) {
        struct move *move = stream->first;
        ssize_t count = write_some(stream, move);
        int status = judge(count);
        if (status != TRANSPORT_OK) {
            return status == TRANSPORT_NOTHING ? TRANSPORT_OK : status;
        }
        move->done += (size_t)count;
        if (move->done == sizeof(move->envelope) + move->size) {
            move->has_gone = 1;
            stream->first = move->next;
            if (stream->first == NULL) {
                stream->last = &stream->first;
            }
        }
    }
    return TRANSPORT_OK;
}

static int
can_lend(const struct stream *stream, size_t size)
{
    return size >= LENT_BYTES && stream->theirs != NULL
           && atomic_load(&stream->theirs->may);
}

int
stream_send(struct stream *stream, const void *base, size_t size, int tag,
            struct move **move)
{
    struct move *out = new_move(stream, base, size);

    if (out == NULL) {
        return TRANSPORT_FAILED;
    }
    out->goes_out = 1;
    out->envelope.tag = tag;
    out->envelope.size = size;
    if (can_lend(stream, size)) {
        out->envelope.is_lent = 1;
        out->envelope.address = (uint64_t)(uintptr_t)base;
        out->number = ++stream->lent;
        out->size = 0;
    }
    *stream->last = out;
    stream->last = &out->next;
    *move = out;
    return stream_push(stream);
}

static int
has_left(const struct move *move)
{
    return move->has_gone
           && (move->number == 0
               || atomic_load(&move->stream->theirs->done) >= move->number);
}

/* ---- in ---------------------------------------------------------------- */

static int
read_some(struct stream *stream, void *base, size_t size, size_t *done)
{
    int status = TRANSPORT_OK;

    while (*done < size && status == TRANSPORT_OK) {
        ssize_t count = recv(stream->socket, (char *)base + *done,
                             size - *done, MSG_DONTWAIT);
        status = judge(count);
        *done += status == TRANSPORT_OK ? (size_t)count : 0;
    }
    stream->has_ended |= status == TRANSPORT_FAILED && errno == 0;
    return status;
}

int
stream_look(struct stream *stream)
{
    int status;

    if (stream->coming != NULL || stream->has_ended) {
        return TRANSPORT_NOTHING;
    }
    status =
        read_some(stream, &stream->in, sizeof(stream->in), &stream->in_read);
    if (stream->has_ended && stream->in_read == 0) {
        return TRANSPORT_NOTHING;
    }
    if (status == TRANSPORT_OK && stream->in.is_lent && stream->ours == NULL) {
        errno = EPROTO;
        return TRANSPORT_FAILED;
    }
    return status;
}

/* The next envelope may come. */
static void
end_message(struct stream *stream)
{
    stream->in_read = 0;
    stream->coming = NULL;
}

static int
read_lent(struct stream *stream, void *base)
{
    int code =
        reach_read(stream->peer, stream->in.address, base, stream->in.size);

    if (code != 0) {
        errno = code == ESRCH ? 0 : code;
        return TRANSPORT_FAILED;
    }
    atomic_fetch_add(&stream->ours->done, 1);
    return TRANSPORT_OK;
}

int
stream_accept(struct stream *stream, void *base, struct move **move)
{
    struct move *in = new_move(stream, base, stream->in.size);

    if (in == NULL) {
        return TRANSPORT_FAILED;
    }
    *move = stream->coming = in;
    if (!stream->in.is_lent) {
        return TRANSPORT_OK;
    }
    in->done = in->size;
    return read_lent(stream, base);
}

int
stream_goes_out(const struct move *move)
{
    return move->goes_out;
}

int
stream_test(struct move *move)
{
    struct stream *stream = move->stream;
    int status;

    if (move->goes_out) {
        status = has_left(move) ? TRANSPORT_OK : TRANSPORT_NOTHING;
    }
    else {
        status = read_some(stream, move->base, move->size, &move->done);
        if (status == TRANSPORT_OK) {
            end_message(stream);
        }
    }
    if (status == TRANSPORT_OK) {
        free_move(move);
    }
    return status;
}
