/* lanes.c -- messages in pipes, and how they come to be used.

   A message is a head and its bytes.  One that does not fit waits in a list
   and goes on whenever it is asked for, as does one that is being read. */

#include "lanes.h"

#include <stdlib.h>
#include <string.h>

#include "segment.h"

#define SWITCH "EZMPI_SHARED_MEMORY"    /* 0: no lanes */
#define BITS 64
#define SHORT 1024

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

struct lane {
    struct lanes *lanes;
    int rank;                       /* at its other end */
    int peer;                       /* in the segment */
    int is_out, is_in;              /* messages go by it, and come */
    struct pipe_end out, in;
    struct leaving *first, **last;
    char *base;                     /* of the message that is read */
    size_t size, done;
    /* what is said of the lane over the link */
    struct segment_invitation invitation;
    int joined;
    struct wire_slot greetings[2];
    int greeted;
};

struct kept {
    struct kept *next;
    struct wire_arrival arrival;
};

struct lanes {
    struct wire *wire;
    struct segment *segment;
    struct kept *kept;
    int ended;
    int count;
    int missing;                    /* lanes by which nothing comes */
    int turn;                       /* the lane that is looked at first */
    uint64_t *ready;                /* lanes that may hold messages: bits */
    struct lane lanes[];
};

/* ---- messages ---------------------------------------------------------- */

static struct lane *
lane_of(struct lanes *lanes, int rank)
{
    int at = lanes != NULL && lanes->wire->rank == 0 ? rank - 1 : rank;

    return lanes != NULL && at >= 0 && at < lanes->count ? &lanes->lanes[at]
                                                         : NULL;
}

struct lane *
lanes_to(struct lanes *lanes, int rank)
{
    struct lane *lane = lane_of(lanes, rank);

    return lane != NULL && lane->is_out ? lane : NULL;
}

int
lanes_leave(const struct lanes *lanes, int source)
{
    const struct lane *lane;

    if (source == WIRE_ANY) {
        return lanes == NULL || lanes->missing > 0;
    }
    lane = lane_of((struct lanes *)lanes, source);
    return lane == NULL || !lane->is_in;
}

static void
ring(const struct lane *lane)
{
    if (lane->rank == 0) {
        segment_ring(lane->lanes->segment, lane->peer);
    }
}

/* Writes what there is room for of the head and the bytes behind it.  A short
   message is seen as a whole or not at all: some wait for its end. */
static void
go_on(struct leaving *leaving)
{
    struct pipe_end *out = &leaving->lane->out;
    const size_t head = sizeof(leaving->head), size = leaving->head.size;

    if (leaving->done == 0
        && pipe_has_room(out, head + (size < SHORT ? size : SHORT))) {
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
        return wire_fail(lane->lanes->wire, "malloc", "out of memory");
    }
    *leaving = (struct leaving){NULL, lane, head, base, 0};
    *lane->last = leaving;
    lane->last = &leaving->next;
    request->room = leaving;
    pump(lane);
    return TRANSPORT_OK;
}

int
lanes_send(struct lane *lane, const void *base, size_t size, int tag,
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

/* The next lane, in turn, that may hold a message; NULL: none. */
static struct lane *
next_ready(struct lanes *lanes)
{
    int words = (lanes->count + BITS - 1) / BITS;

    for (int i = 0; i <= words; i++) {
        int word = (lanes->turn / BITS + i) % words;
        uint64_t bits = lanes->ready[word] |=
            segment_hear(lanes->segment, word);
        if (i == 0) {
            bits &= ~(uint64_t)0 << lanes->turn % BITS;
        }
        if (bits != 0) {
            return &lanes->lanes[word * BITS + __builtin_ctzll(bits)];
        }
    }
    return NULL;
}

static int
look_into(struct lane *lane, struct wire_arrival *arrival)
{
    struct head head;

    if (!lane->is_in || !pipe_holds(&lane->in, sizeof(head))) {
        return TRANSPORT_NOTHING;
    }
    pipe_read(&lane->in, &head, sizeof(head));
    arrival->source = lane->rank;
    arrival->tag = (int)head.tag;
    arrival->size = (size_t)head.size;
    arrival->slot = (struct wire_slot){lane, IN_BY_LANE};
    return TRANSPORT_OK;
}

static int
look_into_any(struct lanes *lanes, struct wire_arrival *arrival)
{
    struct lane *lane;

    while ((lane = next_ready(lanes)) != NULL) {
        int at = lane->peer;
        if (look_into(lane, arrival) == TRANSPORT_OK) {
            lanes->turn = (at + 1) % lanes->count;
            return TRANSPORT_OK;
        }
        lanes->ready[at / BITS] &= ~((uint64_t)1 << at % BITS);
    }
    return TRANSPORT_NOTHING;
}

int
lanes_look(struct lanes *lanes, int source, struct wire_arrival *arrival)
{
    struct lane *lane;

    if (lanes == NULL) {
        return TRANSPORT_NOTHING;
    }
    if (source == WIRE_ANY) {
        return look_into_any(lanes, arrival);
    }
    lane = lane_of(lanes, source);
    return lane != NULL ? look_into(lane, arrival) : TRANSPORT_NOTHING;
}

int
lanes_accept(struct wire_arrival *arrival, void *base,
             struct wire_slot *request)
{
    struct lane *lane = arrival->slot.room;

    lane->base = base;
    lane->size = arrival->size;
    lane->done = 0;
    *request = arrival->slot;
    return TRANSPORT_OK;
}

static int
test_in(struct lane *lane)
{
    lane->done +=
        pipe_read(&lane->in, lane->base + lane->done, lane->size - lane->done);
    return lane->done == lane->size ? TRANSPORT_OK : TRANSPORT_NOTHING;
}

int
lanes_test(struct wire_slot *request)
{
    struct leaving *leaving = request->room;

    if (request->way == IN_BY_LANE) {
        return test_in(request->room);
    }
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

/* ---- pieces that come early -------------------------------------------- */

int
lanes_keep_piece(struct lanes *lanes, const struct wire_arrival *arrival)
{
    struct kept *kept = malloc(sizeof(*kept)), **link = &lanes->kept;

    if (kept == NULL) {
        return wire_fail(lanes->wire, "malloc", "out of memory");
    }
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *kept = (struct kept){NULL, *arrival};
    *link = kept;
    return TRANSPORT_OK;
}

int
lanes_kept_piece(struct lanes *lanes, int source, struct wire_arrival *arrival)
{
    struct kept **link = lanes != NULL ? &lanes->kept : NULL, *kept;

    while (link != NULL && *link != NULL
           && (*link)->arrival.source != source) {
        link = &(*link)->next;
    }
    if (link == NULL || *link == NULL) {
        return 0;
    }
    kept = *link;
    *link = kept->next;
    *arrival = kept->arrival;
    free(kept);
    return 1;
}

/* ---- opening ----------------------------------------------------------- */

/* Says something of the lane over the link; bytes stay as they are. */
static int
greet(struct lane *lane, const void *bytes, size_t size)
{
    struct wire_slot *slot = &lane->greetings[lane->greeted++];

    slot->way = BY_LINK;
    return link_send(lane->lanes->wire, bytes, size, lane->rank, LANE_TAG,
                     slot);
}

/* So short a message is here as soon as it is seen. */
static int
hear(struct lane *lane, struct wire_arrival *arrival, void *bytes, size_t size)
{
    struct wire *wire = lane->lanes->wire;
    struct wire_slot slot = {NULL, BY_LINK};
    int status;

    if (arrival->size != size) {
        return wire_fail(wire, "receive", "a greeting of the wrong size");
    }
    status = link_accept(wire, arrival, bytes, &slot);
    if (status == TRANSPORT_OK) {
        do {
            status = link_test(wire, &slot);
        } while (status == TRANSPORT_NOTHING);
    }
    return status;
}

static void
connect(struct lane *lane, int is_first)
{
    struct segment *segment = lane->lanes->segment;

    lane->out.pipe = segment_pipe(segment, lane->peer, is_first);
    lane->in.pipe = segment_pipe(segment, lane->peer, !is_first);
}

static void
begin_coming(struct lane *lane)
{
    lane->is_in = 1;
    lane->lanes->missing--;
}

/* At rank 0. */
static int
heed_answer(struct lane *lane, struct wire_arrival *arrival)
{
    struct lanes *lanes = lane->lanes;
    int at = lane->peer;

    if (hear(lane, arrival, &lane->joined, sizeof(lane->joined)) < 0) {
        return TRANSPORT_FAILED;
    }
    if (!lane->joined) {
        return TRANSPORT_OK;
    }
    begin_coming(lane);
    lanes->ready[at / BITS] |= (uint64_t)1 << at % BITS;
    if (lanes->ended) {
        return TRANSPORT_OK;
    }
    if (greet(lane, NULL, 0) < 0) {
        return TRANSPORT_FAILED;
    }
    lane->is_out = 1;
    return TRANSPORT_OK;
}

static int
heed_invitation(struct lane *lane, struct wire_arrival *arrival)
{
    struct segment_invitation *invitation = &lane->invitation;

    if (hear(lane, arrival, invitation, sizeof(*invitation)) < 0) {
        return TRANSPORT_FAILED;
    }
    lane->lanes->segment = segment_join(invitation);
    lane->joined = lane->lanes->segment != NULL;
    if (greet(lane, &lane->joined, sizeof(lane->joined)) < 0) {
        return TRANSPORT_FAILED;
    }
    if (lane->joined) {
        lane->peer = invitation->peer;
        connect(lane, 0);
        lane->is_out = 1;
    }
    return TRANSPORT_OK;
}

int
lanes_heed(struct lanes *lanes, struct wire_arrival *arrival)
{
    struct lane *lane = lane_of(lanes, arrival->source);

    if (lane == NULL || lane->is_in) {
        return wire_fail(lanes->wire, "receive", "a greeting out of place");
    }
    if (lane->rank != 0) {
        return heed_answer(lane, arrival);
    }
    if (!lane->joined) {
        return heed_invitation(lane, arrival);
    }
    if (hear(lane, arrival, NULL, 0) < 0) {
        return TRANSPORT_FAILED;
    }
    begin_coming(lane);
    return TRANSPORT_OK;
}

void
lanes_end(struct lanes *lanes)
{
    if (lanes != NULL) {
        lanes->ended = 1;
    }
}

/* ---- making ------------------------------------------------------------ */

static struct lanes *
allocate(struct wire *wire, int count)
{
    size_t size = sizeof(struct lanes) + (size_t)count * sizeof(struct lane);
    struct lanes *lanes = calloc(1, size);

    if (lanes == NULL) {
        return NULL;
    }
    lanes->wire = wire;
    lanes->count = count;
    lanes->missing = count;
    lanes->ready = calloc(((size_t)count + BITS - 1) / BITS, sizeof(uint64_t));
    for (int i = 0; i < count; i++) {
        struct lane *lane = &lanes->lanes[i];
        lane->lanes = lanes;
        lane->rank = wire->rank == 0 ? i + 1 : 0;
        lane->peer = i;
        lane->last = &lane->first;
    }
    return lanes;
}

static void
invite_all(struct lanes *lanes)
{
    for (int i = 0; i < lanes->count; i++) {
        struct lane *lane = &lanes->lanes[i];
        lane->invitation = segment_invite(lanes->segment, i);
        connect(lane, 1);
        if (greet(lane, &lane->invitation, sizeof(lane->invitation)) < 0) {
            return;                 /* the wire is broken, and says so */
        }
    }
}

struct lanes *
lanes_new(struct wire *wire)
{
    const char *switched = getenv(SWITCH);
    int count = wire->rank == 0 ? wire->ranks - 1 : 1;
    struct lanes *lanes;

    if (count == 0 || (switched != NULL && strcmp(switched, "0") == 0)) {
        count = wire->rank == 0 ? 0 : 1;
    }
    lanes = count > 0 ? allocate(wire, count) : NULL;
    if (lanes == NULL || wire->rank != 0) {
        return lanes;
    }
    lanes->segment = segment_new(count);
    if (lanes->segment == NULL || lanes->ready == NULL) {
        lanes_free(lanes);
        return NULL;
    }
    invite_all(lanes);
    return lanes;
}

/* What was said has been received by now. */
static void
finish_greetings(struct lane *lane)
{
    struct wire *wire = lane->lanes->wire;

    for (int i = 0; i < lane->greeted && wire->error.call == NULL; i++) {
        while (link_test(wire, &lane->greetings[i]) == TRANSPORT_NOTHING) {
        }
    }
}

void
lanes_free(struct lanes *lanes)
{
    if (lanes == NULL) {
        return;
    }
    for (int i = 0; i < lanes->count; i++) {
        finish_greetings(&lanes->lanes[i]);
    }
    segment_free(lanes->segment);
    free(lanes->ready);
    free(lanes);
}
