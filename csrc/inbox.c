/* inbox.c -- receives messages: frames, and what is apart from them.

   All pieces of a message are received before the next frame is looked for.
   Since the wire keeps the order, the next piece from a frame's source is
   then always that frame's.  A multicast message (relay.h) is passed on frame
   by frame and piece by piece, also where it is dropped here, and has left
   before the caller gets it, who may change what it is in.  Knows neither
   verbs nor farewells. */

#include "inbox.h"

#include <stdlib.h>

#include "frame.h"
#include "outbox.h"
#include "patience.h"

void
inbox_init(struct inbox *inbox, struct wire *wire)
{
    *inbox = (struct inbox){.wire = wire, .relay.wire = wire};
}

void
inbox_fini(struct inbox *inbox)
{
    free(inbox->frame);
    free(inbox->parts);
    inbox_init(inbox, inbox->wire);
}

/* Makes *memory at least size bytes long; what was in it is lost. */
static int
grow(struct wire *wire, void **memory, size_t *room, size_t size)
{
    if (size <= *room) {
        return TRANSPORT_OK;
    }
    free(*memory);
    *memory = malloc(size);
    *room = *memory != NULL ? size : 0;
    return *memory != NULL ? TRANSPORT_OK
                           : wire_fail(wire, "malloc", "out of memory");
}

static int
malformed(struct inbox *inbox, const char *text)
{
    return wire_fail(inbox->wire, "receive", text);
}

/* Rests once, unless it is too late. */
static int
rest(struct inbox *inbox, struct patience *patience)
{
    if (inbox->deadline > 0 && patience_now() > inbox->deadline) {
        return malformed(inbox, "the rest of a message does not come");
    }
    patience_rest(patience);
    return TRANSPORT_OK;
}

static int
accept(struct inbox *inbox, struct wire_arrival *arrival, void *base)
{
    struct patience patience = {.crowded = inbox->wire->crowded};
    struct wire_slot request;
    int status = wire_accept(inbox->wire, arrival, base, &request);

    while (status == TRANSPORT_OK) {
        status = wire_test(inbox->wire, &request);
        if (status != TRANSPORT_NOTHING) {
            break;
        }
        status = rest(inbox, &patience);
    }
    return status;
}

static int
receive_piece(struct inbox *inbox, void *base, size_t size)
{
    struct patience patience = {.crowded = inbox->wire->crowded};
    struct wire_arrival arrival;
    int status;

    for (;;) {
        status =
            wire_look(inbox->wire, inbox->arrival.source, PIECE_TAG, &arrival);
        if (status != TRANSPORT_NOTHING) {
            break;
        }
        if (rest(inbox, &patience) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    if (status == TRANSPORT_OK && arrival.size != size) {
        return malformed(inbox, "a piece of the wrong size");
    }
    return status == TRANSPORT_OK ? accept(inbox, &arrival, base) : status;
}

/* Waits until those that a message is passed on to have it, as far as it was
   passed on.  Nobody waits in a circle: rank 0 says of one message after the
   other, to all in the same order, who passes it on to whom, and it does not
   wait; so the earliest message that is not everywhere yet is held up by
   nobody but the ranks that do not look at all. */
static int
settle(struct inbox *inbox)
{
    struct patience patience = {.crowded = inbox->wire->crowded};
    int status;

    while ((status = relay_settle(&inbox->relay)) == TRANSPORT_NOTHING) {
        if (rest(inbox, &patience) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return status;
}

static int
pass_on(struct inbox *inbox, const void *base, size_t size, int tag)
{
    return settle(inbox) < 0 ? TRANSPORT_FAILED
                             : relay_pass(&inbox->relay, base, size, tag);
}

/* While a piece leaves, the next one comes. */
static int
relay_piece(struct inbox *inbox, void *base, size_t size)
{
    return receive_piece(inbox, base, size) < 0
               ? TRANSPORT_FAILED
               : pass_on(inbox, base, size, PIECE_TAG);
}

/* What is dropped goes piece by piece to scratch memory: to receive less than
   was sent would be an error, after which MPI promises nothing. */
static int
receive_part(struct inbox *inbox, size_t size, char *base)
{
    char *scratch = NULL;
    int status = TRANSPORT_OK;

    if (base == NULL) {
        scratch = malloc(piece_size(size, 0));
        if (scratch == NULL) {
            return wire_fail(inbox->wire, "malloc", "out of memory");
        }
    }
    for (size_t done = 0; done < size && status == TRANSPORT_OK;
         done += PIECE_BYTES) {
        char *piece = base != NULL ? base + done : scratch;
        status = relay_piece(inbox, piece, piece_size(size, done));
        if (status == TRANSPORT_OK && scratch != NULL) {
            status = settle(inbox);     /* the next one goes there, too */
        }
    }
    free(scratch);
    return status == TRANSPORT_OK ? settle(inbox) : status;
}

/* Drops the parts below index that are still on their way. */
static int
drop_until(struct inbox *inbox, size_t index)
{
    for (; inbox->settled < index; inbox->settled++) {
        const struct transport_part *part = &inbox->parts[inbox->settled];
        if (part->base == NULL && receive_part(inbox, part->size, NULL) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return TRANSPORT_OK;
}

int
inbox_take(struct inbox *inbox, size_t index, void *base)
{
    if (drop_until(inbox, index) < 0
        || receive_part(inbox, inbox->parts[index].size, base) < 0) {
        return TRANSPORT_FAILED;
    }
    inbox->settled = index + 1;
    return TRANSPORT_OK;
}

static int
unpack(struct inbox *inbox, size_t size)
{
    size_t count = 0;
    const char *wrong = frame_count(inbox->frame, size, &count);

    if (wrong != NULL) {
        return malformed(inbox, wrong);
    }
    if (grow(inbox->wire, (void **)&inbox->parts, &inbox->parts_room,
             count * sizeof(*inbox->parts))
        < 0) {
        return TRANSPORT_FAILED;
    }
    wrong = frame_unpack(inbox->frame, size, inbox->parts);
    if (wrong != NULL) {
        return malformed(inbox, wrong);
    }
    inbox->message.count = count;
    inbox->message.parts = inbox->parts;
    inbox->expects = frame_expects(inbox->frame);
    return TRANSPORT_OK;
}

static int
heed_note(struct inbox *inbox)
{
    struct relay *relay = &inbox->relay;
    struct wire_arrival *arrival = &inbox->arrival;
    const char *wrong;

    if (arrival->size > sizeof(relay->note)) {
        return malformed(inbox, "a note that is too long");
    }
    if (accept(inbox, arrival, &relay->note) < 0) {
        return TRANSPORT_FAILED;
    }
    wrong = relay_begin(relay, arrival->size);
    return wrong == NULL ? TRANSPORT_OK : malformed(inbox, wrong);
}

/* Looks for the next frame: from the rank that a note names, else from rank
   0, or at rank 0 from any. */
static int
look(struct inbox *inbox)
{
    struct relay *relay = &inbox->relay;
    int status = TRANSPORT_OK;

    while (status == TRANSPORT_OK) {
        int source = relay->awaited           ? relay->note.from
                     : inbox->wire->rank == 0 ? WIRE_ANY
                                              : 0;
        status = wire_look(inbox->wire, source, WIRE_ANY, &inbox->arrival);
        if (status != TRANSPORT_OK || inbox->arrival.tag != NOTE_TAG) {
            break;
        }
        status = heed_note(inbox);
    }
    return status;
}

/* A frame may need its sender's help to come, who may be busy for an hour:
   so this only begins. */
static int
begin_frame(struct inbox *inbox)
{
    struct wire_arrival *arrival = &inbox->arrival;
    int status;

    if (drop_until(inbox, inbox->message.count) < 0) {
        return TRANSPORT_FAILED;
    }
    if (!inbox->relay.awaited) {
        inbox->relay.children = 0;
    }
    status = look(inbox);
    if (status != TRANSPORT_OK) {
        return status;
    }
    if (grow(inbox->wire, (void **)&inbox->frame, &inbox->frame_room,
             arrival->size)
        < 0) {
        return TRANSPORT_FAILED;
    }
    inbox->arriving = 1;
    inbox->relay.awaited = 0;
    /* Whoever passes it on, what comes to another rank is rank 0's. */
    inbox->message = (struct transport_message){
        .source = inbox->wire->rank == 0 ? arrival->source : 0,
        .verb = arrival->tag};
    return wire_accept(inbox->wire, arrival, inbox->frame, &inbox->request);
}

int
inbox_receive(struct inbox *inbox)
{
    int status = inbox->arriving ? TRANSPORT_OK : begin_frame(inbox);

    if (status == TRANSPORT_OK) {
        status = wire_test(inbox->wire, &inbox->request);
    }
    if (status != TRANSPORT_OK) {
        return status;
    }
    inbox->arriving = 0;
    inbox->settled = 0;
    if (pass_on(inbox, inbox->frame, inbox->arrival.size, inbox->message.verb)
            < 0
        || settle(inbox) < 0) {
        return TRANSPORT_FAILED;
    }
    return unpack(inbox, inbox->arrival.size);
}
