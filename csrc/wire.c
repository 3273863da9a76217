/* wire.c -- which way a message goes: through MPI, or shared memory.

   Pieces always go through MPI, which copies large memory once. */

#include "wire.h"

#include "lanes.h"
#include "link.h"

int
wire_open(struct wire *wire)
{
    wire->lanes = lanes_new(wire);
    return wire->error.call == NULL ? TRANSPORT_OK : TRANSPORT_FAILED;
}

int
wire_send(struct wire *wire, const void *base, size_t size, int rank, int tag,
          struct wire_slot *request)
{
    struct lane *lane = tag != PIECE_TAG ? lanes_to(wire->lanes, rank) : NULL;

    if (lane != NULL) {
        return lanes_send(lane, base, size, tag, request);
    }
    request->way = BY_LINK;
    return link_send(wire, base, size, rank, tag, request);
}

static int
look_for_piece(struct wire *wire, int source, struct wire_arrival *arrival)
{
    if (lanes_kept_piece(wire->lanes, source, arrival)) {
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
            status = lanes_heed(wire->lanes, arrival);
        }
        else if (arrival->tag == PIECE_TAG) {
            status = lanes_keep_piece(wire->lanes, arrival);
        }
        else {
            break;
        }
    }
    return status;
}

int
wire_look(struct wire *wire, int source, int tag, struct wire_arrival *arrival)
{
    int status;

    if (tag == PIECE_TAG) {
        return look_for_piece(wire, source, arrival);
    }
    status = lanes_look(wire->lanes, source, arrival);
    if (status != TRANSPORT_NOTHING || !lanes_leave(wire->lanes, source)) {
        return status;
    }
    return look_at_link(wire, source, arrival);
}

int
wire_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
            struct wire_slot *request)
{
    request->way = arrival->slot.way;
    return request->way == BY_LINK ? link_accept(wire, arrival, base, request)
                                   : lanes_accept(arrival, base, request);
}

int
wire_test(struct wire *wire, struct wire_slot *request)
{
    return request->way == BY_LINK ? link_test(wire, request)
                                   : lanes_test(request);
}

void
wire_end(struct wire *wire)
{
    lanes_end(wire->lanes);
}

void
wire_close(struct wire *wire)
{
    lanes_free(wire->lanes);
    wire->lanes = NULL;
    link_close(wire);
}
