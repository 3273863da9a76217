/* lane.c -- messages in pipes.

   A message is a head and its bytes.  One that does not fit waits in a list
   and goes on whenever it is asked for, as does one that is being read. */

#include "lane.h"

#include <stdlib.h>

struct head {
    uint64_t tag;
    uint64_t size;
};

struct leaving {
    struct leaving *next;
    struct lane *lane;
    struct head head;
    const char *base;
    size_t done;                    /* bytes, the head's among them */
};

void
lane_connect(struct lane *lane, struct segment *segment, int peer, int is_host)
{
    lane->out = (struct pipe_end){segment_pipe(segment, peer, is_host), 0, 0};
    lane->in = (struct pipe_end){segment_pipe(segment, peer, !is_host), 0, 0};
    lane->bells = is_host ? NULL : segment;
    lane->other =
        is_host ? segment_peer(segment, peer) : segment_host(segment);
    lane->peer = peer;
    lane->last = &lane->first;
}

/* ---- out --------------------------------------------------------------- */

/* Tells the other end that something was written. */
static void
ring(const struct lane *lane)
{
    if (lane->bells != NULL) {
        segment_ring(lane->bells, lane->peer);
    }
    sleeper_wake(lane->other);
}

/* Writes what there is room for of the head and the bytes behind it.  Who
   reads waits for the rest: so nobody may go about other things for long
   before all has left. */
static void
go_on(struct leaving *leaving)
{
    struct pipe_end *out = &leaving->lane->out;
    const size_t head = sizeof(leaving->head);

    if (leaving->done == 0 && pipe_has_room(out, head)) {
        leaving->done = pipe_write(out, &leaving->head, head);
    }
    if (leaving->done >= head) {
        size_t done = leaving->done - head;
        leaving->done += pipe_write(out, leaving->base + done,
                                    (size_t)leaving->head.size - done);
    }
}

static int
has_left(const struct leaving *leaving)
{
    return leaving->done == sizeof(leaving->head) + leaving->head.size;
}

/* In the order in which they were sent. */
static void
pump(struct lane *lane)
{
    struct leaving *leaving;

    while ((leaving = lane->first) != NULL) {
        go_on(leaving);
        if (!has_left(leaving)) {
            break;
        }
        lane->first = leaving->next;
    }
    if (lane->first == NULL) {
        lane->last = &lane->first;
    }
    ring(lane);
}

static int
enlist(struct lane *lane, struct head head, const void *base,
       struct wire_slot *request)
{
    struct leaving *leaving = malloc(sizeof(*leaving));

    if (leaving == NULL) {
        return TRANSPORT_FAILED;
    }
    *leaving = (struct leaving){NULL, lane, head, base, 0};
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
    struct head head = {(uint64_t)tag, size};

    request->way = OUT_BY_LANE;
    request->room = NULL;
    if (lane->first != NULL
        || !pipe_has_room(&lane->out, sizeof(head) + size)) {
        return enlist(lane, head, base, request);
    }
    pipe_write(&lane->out, &head, sizeof(head));
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
    if (!has_left(leaving)) {
        pump(leaving->lane);
    }
    if (!has_left(leaving)) {
        return TRANSPORT_NOTHING;
    }
    request->room = NULL;
    free(leaving);
    return TRANSPORT_OK;
}

/* ---- in ---------------------------------------------------------------- */

int
lane_look(struct lane *lane, struct wire_arrival *arrival)
{
    struct head head;

    if (!pipe_holds(&lane->in, sizeof(head))) {
        return TRANSPORT_NOTHING;
    }
    pipe_read(&lane->in, &head, sizeof(head));
    arrival->source = lane->rank;
    arrival->tag = (int)head.tag;
    arrival->size = (size_t)head.size;
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

static int
test_in(struct lane *lane)
{
    lane->done +=
        pipe_read(&lane->in, lane->base + lane->done, lane->size - lane->done);
    return lane->done == lane->size ? TRANSPORT_OK : TRANSPORT_NOTHING;
}

int
lane_test(struct wire_slot *request)
{
    return request->way == IN_BY_LANE ? test_in(request->room)
                                      : test_out(request);
}
