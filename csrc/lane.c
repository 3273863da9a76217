/* lane.c -- messages in pipes.

   A message is an envelope and its bytes.  One that does not fit waits in a
   list and goes on whenever it is asked for, as does one that is read. */

#include "lane.h"

#include <stdlib.h>

struct envelope {
    uint64_t tag;
    uint64_t size;
};

struct leaving {
    struct leaving *next;
    struct lane *lane;
    struct envelope envelope;
    const char *base;
    size_t done;                    /* bytes, the envelope's among them */
};

void
lane_connect(struct lane *lane, struct segment *segment, int peer, int is_host)
{
    lane->out = (struct pipe_end){segment_pipe(segment, peer, is_host), 0, 0};
    lane->in = (struct pipe_end){segment_pipe(segment, peer, !is_host), 0, 0};
    lane->bells = is_host ? NULL : segment;
    lane->listener =
        is_host ? segment_peer(segment, peer) : segment_host(segment);
    lane->peer = peer;
    lane->word = segment_peer_word(segment, peer);
    lane->last = &lane->first;
}

int
lane_fail(struct wire *wire)
{
    return wire_fail(
        wire, "receive",
        "memory that ranks share was overwritten, or is another "
        "version's of ezmpi (EZMPI_SHARED_MEMORY=0 does without)");
}

/* ---- out --------------------------------------------------------------- */

/* Tells the other end that something was written. */
static void
ring(const struct lane *lane)
{
    if (lane->bells != NULL) {
        segment_ring(lane->bells, lane->peer);
    }
    sleeper_wake(lane->listener);
}

/* Writes what there is room for; 0: nothing.  What the pipe can hold is there
   as a whole or not at all: some wait for its end.  Of a longer message the
   reader waits for the rest, so its sender must not go about other things for
   long before all has left. */
static int
go_on(struct leaving *leaving)
{
    struct pipe_end *out = &leaving->lane->out;
    const size_t first = sizeof(leaving->envelope);
    const size_t whole = first + (size_t)leaving->envelope.size;
    const size_t before = leaving->done;

    if (before == 0
        && pipe_has_room(out, whole <= PIPE_BYTES ? whole : first)) {
        leaving->done = pipe_write(out, &leaving->envelope, first);
    }
    if (leaving->done >= first) {
        leaving->done += pipe_write(out, leaving->base + leaving->done - first,
                                    whole - leaving->done);
    }
    return leaving->done > before;
}

static int
has_left(const struct leaving *leaving)
{
    return leaving->done == sizeof(leaving->envelope) + leaving->envelope.size;
}

/* In the order in which they were sent. */
static void
pump(struct lane *lane)
{
    struct leaving *leaving;
    int wrote = 0;

    while ((leaving = lane->first) != NULL) {
        wrote |= go_on(leaving);
        if (!has_left(leaving)) {
            break;
        }
        lane->first = leaving->next;
    }
    if (lane->first == NULL) {
        lane->last = &lane->first;
    }
    if (wrote) {
        ring(lane);
    }
}

static int
enlist(struct lane *lane, struct envelope envelope, const void *base,
       struct wire_slot *request)
{
    struct leaving *leaving = malloc(sizeof(*leaving));

    if (leaving == NULL) {
        return TRANSPORT_FAILED;
    }
    *leaving = (struct leaving){NULL, lane, envelope, base, 0};
    *lane->last = leaving;
    lane->last = &leaving->next;
    request->room = leaving;
    pump(lane);
    return TRANSPORT_OK;
}

int
lane_send(struct lane *lane, const void *base, size_t size, int tag,
          struct wire_slot *request)
{
    struct envelope envelope = {(uint64_t)tag, size};

    request->way = OUT_BY_LANE;
    request->room = NULL;
    if (lane->first != NULL
        || !pipe_has_room(&lane->out, sizeof(envelope) + size)) {
        return enlist(lane, envelope, base, request);
    }
    pipe_write(&lane->out, &envelope, sizeof(envelope));
    pipe_write(&lane->out, base, size);
    ring(lane);
    return TRANSPORT_OK;
}

static int
test_out(struct wire_slot *request)
{
    struct leaving *leaving = request->room;

    if (leaving == NULL) {
        return TRANSPORT_OK;
    }
    if (leaving->lane->is_dead) {   /* nor does the list go on */
        request->room = NULL;
        free(leaving);
        return TRANSPORT_LOST;
    }
    if (!has_left(leaving)) {
        pump(leaving->lane);
    }
    if (!has_left(leaving)) {
        return pipe_is_torn_off(&leaving->lane->out) ? TRANSPORT_FAILED
                                                     : TRANSPORT_NOTHING;
    }
    request->room = NULL;
    free(leaving);
    return TRANSPORT_OK;
}

void
lane_drop(struct wire_slot *request)
{
    if (request->way == OUT_BY_LANE) {
        free(request->room);
        request->room = NULL;
    }
}

/* ---- in ---------------------------------------------------------------- */

static int
is_possible(const struct envelope *envelope)
{
    return (envelope->tag < VERB_TAGS || envelope->tag == NOTE_TAG)
           && envelope->size <= WIRE_SIZE_LIMIT;
}

int
lane_look(struct lane *lane, struct wire_arrival *arrival)
{
    struct envelope envelope;

    if (!pipe_holds(&lane->in, sizeof(envelope))) {
        return TRANSPORT_NOTHING;
    }
    if (pipe_read(&lane->in, &envelope, sizeof(envelope)) == 0
        || !is_possible(&envelope)) {
        return TRANSPORT_FAILED;
    }
    arrival->source = lane->rank;
    arrival->tag = (int)envelope.tag;
    arrival->size = (size_t)envelope.size;
    arrival->slot = (struct wire_slot){lane, IN_BY_LANE};
    return TRANSPORT_OK;
}

void
lane_accept(struct wire_arrival *arrival, void *base,
            struct wire_slot *request)
{
    struct lane *lane = arrival->slot.room;

    lane->base = base;
    lane->size = arrival->size;
    lane->done = 0;
    *request = arrival->slot;
}

/* Who waits for room learns that there is some. */
static int
test_in(struct lane *lane)
{
    size_t left = lane->size - lane->done;
    size_t read = pipe_read(&lane->in, lane->base + lane->done, left);

    lane->done += read;
    if (read == left) {
        return TRANSPORT_OK;
    }
    if (read > 0) {
        sleeper_wake(lane->listener);
    }
    if (pipe_is_torn(&lane->in)) {
        return TRANSPORT_FAILED;
    }
    return lane->is_dead ? TRANSPORT_LOST : TRANSPORT_NOTHING;
}

int
lane_test(struct wire_slot *request)
{
    return request->way == IN_BY_LANE ? test_in(request->room)
                                      : test_out(request);
}
