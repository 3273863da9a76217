/* wire.c -- which way a message goes: over the link, or in shared memory.

   Pieces always go over the link, which copies large memory once. */

#include "wire.h"

#include <stdlib.h>

#include "lane.h"
#include "lanes.h"
#include "link.h"

#define LINK_EVERY 64u              /* looks */
#define UNHEARD_EVERY 128u             /* sleeps */

struct kept {
    struct kept *next;
    struct wire_arrival arrival;
};

int
wire_open(struct wire *wire)
{
    return lanes_open(wire);
}

int
wire_is_gone(const struct wire *wire, int rank)
{
    return wire->gone != NULL && wire->gone[rank];
}

void
wire_lose(struct wire *wire, int rank)
{
    if (wire_is_gone(wire, rank)) {
        return;
    }
    if (wire->rank == 0) {
        wire->gone[rank] = 1;
        wire->deaths++;
        lanes_lose(wire->lanes, rank);
    }
    else if (rank == 0 && wire->error.call == NULL) {
        wire_fail(wire, "receive", "the process of rank 0 has died");
    }
}

int
wire_send(struct wire *wire, const void *base, size_t size, int rank, int tag,
          struct wire_slot *request)
{
    struct lane *lane = tag != PIECE_TAG ? lanes_to(wire->lanes, rank) : NULL;

    if (wire_is_gone(wire, rank)) {
        *request = (struct wire_slot){NULL, OUT_BY_LANE};
        return TRANSPORT_OK;
    }
    if (lane != NULL) {
        return lane_send(lane, base, size, tag, request) == TRANSPORT_OK
                   ? TRANSPORT_OK
                   : wire_fail(wire, "malloc", "out of memory");
    }
    request->way = BY_LINK;
    return link_send(wire, base, size, rank, tag, request);
}

/* A piece that came before the message it belongs to, by another way. */
static int
keep_piece(struct wire *wire, const struct wire_arrival *arrival)
{
    struct kept *kept = malloc(sizeof(*kept)), **link = &wire->kept;

    if (kept == NULL) {
        return wire_fail(wire, "malloc", "out of memory");
    }
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *kept = (struct kept){NULL, *arrival};
    *link = kept;
    return TRANSPORT_OK;
}

static int
find_kept_piece(struct wire *wire, int source, struct wire_arrival *arrival)
{
    struct kept **link = &wire->kept, *kept;

    while (*link != NULL && (*link)->arrival.source != source) {
        link = &(*link)->next;
    }
    if (*link == NULL) {
        return 0;
    }
    kept = *link;
    *link = kept->next;
    *arrival = kept->arrival;
    free(kept);
    return 1;
}

static int
look_for_piece(struct wire *wire, int source, struct wire_arrival *arrival)
{
    if (find_kept_piece(wire, source, arrival)) {
        return TRANSPORT_OK;
    }
    arrival->slot.way = BY_LINK;
    return link_look(wire, source, PIECE_TAG, arrival);
}

/* What comes over the link, but for what only concerns lanes. */
static int
look_at_link(struct wire *wire, int source, struct wire_arrival *arrival)
{
    int status = TRANSPORT_OK;

    while (status == TRANSPORT_OK) {
        arrival->slot.way = BY_LINK;
        status = link_look(wire, source, WIRE_ANY, arrival);
        if (status != TRANSPORT_OK) {
            break;
        }
        if (arrival->tag == LANE_TAG) {
            status = lanes_heed(wire, arrival);
        }
        else if (arrival->tag == PIECE_TAG) {
            status = keep_piece(wire, arrival);
        }
        else {
            break;
        }
    }
    return status;
}

/* In turn, so that neither way keeps the other's messages waiting. */
static int
look_both_ways(struct wire *wire, int source, struct wire_arrival *arrival)
{
    int status;

    wire->link_is_first = !wire->link_is_first;
    if (wire->link_is_first) {
        status = look_at_link(wire, source, arrival);
        return status == TRANSPORT_NOTHING
                   ? lanes_look(wire->lanes, source, arrival)
                   : status;
    }
    status = lanes_look(wire->lanes, source, arrival);
    return status == TRANSPORT_NOTHING ? look_at_link(wire, source, arrival)
                                       : status;
}

/* Is the link to be looked at?  Where no message comes over it, too, now and
   then: many an MPI moves the user's own messages only while it is called. */
static int
take_turn(struct wire *wire, int source)
{
    return lanes_need_link(wire->lanes, source)
           || ++wire->looks % LINK_EVERY == 0;
}

int
wire_look(struct wire *wire, int source, int tag, struct wire_arrival *arrival)
{
    if (tag == PIECE_TAG) {
        return look_for_piece(wire, source, arrival);
    }
    return take_turn(wire, source) ? look_both_ways(wire, source, arrival)
                                   : lanes_look(wire->lanes, source, arrival);
}

int
wire_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
            struct wire_slot *request)
{
    request->way = arrival->slot.way;
    if (request->way == BY_LINK) {
        return link_accept(wire, arrival, base, request);
    }
    lane_accept(arrival, base, request);
    return TRANSPORT_OK;
}

int
wire_test(struct wire *wire, struct wire_slot *request)
{
    int status;

    if (request->way == BY_LINK) {
        return link_test(wire, request);
    }
    status = lane_test(request);
    if (status == TRANSPORT_NOTHING) {
        link_progress(wire);        /* nothing else may call MPI meanwhile */
    }
    if (status == TRANSPORT_FAILED) {
        return lane_fail(wire);
    }
    return wire->error.call == NULL ? status : TRANSPORT_FAILED;
}

/* What the link keeps went with it. */
void
wire_drop(struct wire_slot *request)
{
    lane_drop(request);
}

void
wire_look_well(struct wire *wire)
{
    wire->looks = LINK_EVERY - 1;
}

int
wire_holds(const struct wire *wire, int rank)
{
    return lanes_holds(wire->lanes, rank);
}

int
wire_sleep(struct wire *wire, double seconds, struct alarm *alarm)
{
    wire_look_well(wire);           /* now is a good time */
    if (wire->gone != NULL && wire->rank == 0
        && ++wire->sleeps % UNHEARD_EVERY == 0) {
        lanes_find_unheard(wire->lanes);
    }
    return lanes_sleep(wire->lanes, seconds, alarm);
}

_Atomic uint64_t *
wire_word(const struct wire *wire, int rank)
{
    return lanes_word(wire->lanes, rank);
}

void
wire_end(struct wire *wire)
{
    lanes_end(wire->lanes);
}

static void
free_kept(struct wire *wire)
{
    struct wire_arrival arrival;

    while (wire->kept != NULL) {
        find_kept_piece(wire, wire->kept->arrival.source, &arrival);
    }
}

void
wire_close(struct wire *wire)
{
    free_kept(wire);
    lanes_free(wire->lanes);
    wire->lanes = NULL;
    link_close(wire);
}
