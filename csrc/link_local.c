/* link_local.c -- the link (link.h) between a process and its forked children.

   Parent and child run this (family.h).  The parent, rank 0, is the master
   with local workers, or a guard; that one's way to the master is another.

   Streams need nobody's help: what can go into a socket goes. */

#include <errno.h>
#include <string.h>

#include "family.h"
#include "link.h"

static struct family *
family_of(struct wire *wire)
{
    return (struct family *)wire;
}

/* The other process has ended, though it should not. */
static int
fail_ended(struct family *family, struct peer *peer)
{
    char text[256];

    family_describe_end(family, peer, text, sizeof(text));
    return wire_fail(&family->wire, "worker", text);
}

/* What a stream's functions return, with errno. */
static int
checked(struct family *family, struct peer *peer, const char *call, int status)
{
    if (status != TRANSPORT_FAILED) {
        return status;
    }
    return errno == 0 ? fail_ended(family, peer)
                      : wire_fail(&family->wire, call, strerror(errno));
}

/* The same, of what goes to it.  That a child takes no more is no failure yet:
   what it wrote before it ended is read first, and its end is found then. */
static int
checked_out(struct family *family, struct peer *peer, int status)
{
    if (status == TRANSPORT_FAILED && errno == 0 && family->wire.rank == 0) {
        return TRANSPORT_OK;
    }
    return checked(family, peer, "sendmsg", status);
}

static int
push(struct family *family, struct peer *peer)
{
    int status = checked_out(family, peer, stream_push(&peer->mail));

    return status == TRANSPORT_OK
               ? checked_out(family, peer, stream_push(&peer->pieces))
               : status;
}

/* What waits for room, to whomever: a process that only waits for one message
   must not hold up others'. */
static int
push_all(struct family *family)
{
    int first = family->wire.rank == 0 ? 0 : family->wire.rank - 1;
    int end =
        family->wire.rank == 0 ? family_peers(family) : family->wire.rank;

    for (int i = first; i < end; i++) {
        if (push(family, &family->peers[i]) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return TRANSPORT_OK;
}

int
link_send(struct wire *wire, const void *base, size_t size, int rank, int tag,
          struct wire_slot *slot)
{
    struct family *family = family_of(wire);
    struct peer *peer = family_peer(family, rank);
    struct stream *stream = tag == PIECE_TAG ? &peer->pieces : &peer->mail;
    struct move *move = NULL;
    int status = stream_send(stream, base, size, tag, &move);

    slot->room = move;
    return checked_out(family, peer, status);
}

/* Nothing has come. */
static int
stand_by(struct family *family)
{
    if (family->lost != NULL) {
        return fail_ended(family, family->lost);
    }
    family_look(family);
    return TRANSPORT_NOTHING;
}

/* What a child wrote before it died comes first; but no piece does. */
static int
has_left_some(struct family *family)
{
    return family->lost != NULL
           && wire_holds(&family->wire, family_rank_of(family, family->lost));
}

/* A child has left once it had nothing to say any more. */
static int
look_at(struct family *family, struct peer *peer, struct stream *stream,
        struct wire_arrival *arrival)
{
    int status = stream_look(stream);
    int rank = family_rank_of(family, peer);

    if (status == TRANSPORT_NOTHING && stream->has_ended
        && !wire_holds(&family->wire, rank)
        && (rank == 0 || !family->pacts[rank - 1].has_left)) {
        return fail_ended(family, peer);
    }
    if (status != TRANSPORT_OK) {
        return checked(family, peer, "recv", status);
    }
    if (stream->in.size > WIRE_SIZE_LIMIT) {
        return wire_fail(&family->wire, "recv", "a message above 2 GiB");
    }
    arrival->source = rank;
    arrival->tag = stream->in.tag;
    arrival->size = stream->in.size;
    arrival->slot.room = stream;
    return TRANSPORT_OK;
}

static int
look_at_any(struct family *family, struct wire_arrival *arrival)
{
    int status = TRANSPORT_NOTHING;

    for (int i = 0; i < family_peers(family) && status == TRANSPORT_NOTHING;
         i++) {
        struct peer *peer =
            &family->peers[(family->turn + i) % family_peers(family)];
        status = look_at(family, peer, &peer->mail, arrival);
    }
    if (status == TRANSPORT_OK) {
        family->turn = arrival->source; /* the next one's, next time */
    }
    return status;
}

int
link_look(struct wire *wire, int source, int tag, struct wire_arrival *arrival)
{
    struct family *family = family_of(wire);
    struct peer *peer;
    int status;

    if (push_all(family) < 0) {
        return TRANSPORT_FAILED;
    }
    if (source == WIRE_ANY && wire->rank == 0) {
        status = look_at_any(family, arrival);
    }
    else {
        peer = family_peer(family, source);
        status =
            look_at(family, peer,
                    tag == PIECE_TAG ? &peer->pieces : &peer->mail, arrival);
    }
    if (status == TRANSPORT_NOTHING
        && (tag == PIECE_TAG || !has_left_some(family))) {
        return stand_by(family);
    }
    return status;
}

/* In the middle of a message through a lane, too, its sender may die. */
void
link_progress(struct wire *wire)
{
    struct family *family = family_of(wire);

    if (push_all(family) == 0 && !has_left_some(family)) {
        stand_by(family);
    }
}

int
link_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
            struct wire_slot *slot)
{
    struct family *family = family_of(wire);
    struct move *move = NULL;
    int status = stream_accept(arrival->slot.room, base, &move);

    slot->room = move;
    return checked(family, family_peer(family, arrival->source),
                   "process_vm_readv", status);
}

/* In the middle of a message. */
static int
fail_broken_off(struct family *family)
{
    int code = errno;

    for (int i = 0; i < family_peers(family); i++) {
        struct peer *peer = &family->peers[i];
        if (peer->mail.has_ended || peer->pieces.has_ended) {
            return fail_ended(family, peer);
        }
    }
    return wire_fail(&family->wire, "recv", strerror(code));
}

int
link_test(struct wire *wire, struct wire_slot *slot)
{
    struct family *family = family_of(wire);
    int status, goes_out;

    if (push_all(family) < 0) {
        return TRANSPORT_FAILED;
    }
    goes_out = stream_goes_out(slot->room);
    status = stream_test(slot->room);
    if (status == TRANSPORT_NOTHING) {
        return goes_out ? status : stand_by(family);
    }
    return status == TRANSPORT_FAILED ? fail_broken_off(family) : status;
}

/* In the parent the children have said farewell, or are to end at once.  The
   text is for who uses a pool of local workers; a guard clears it. */
void
link_close(struct wire *wire)
{
    family_close(family_of(wire));
    wire_fail(wire, "close", "the pool's workers have ended");
}
