/* inbox.c -- receives messages: frames, and what is apart from them.

   All pieces of a message are received before the next frame is looked for.
   Since the wire keeps the order, the next piece from a frame's source is
   then always that frame's.  Knows neither verbs nor farewells. */

#include "inbox.h"

#include <stdlib.h>

#include "frame.h"
#include "outbox.h"
#include "patience.h"

void
inbox_init(struct inbox *inbox, struct wire *wire)
{
    *inbox = (struct inbox){.wire = wire};
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
            wire_look(inbox->wire, inbox->message.source, PIECE_TAG, &arrival);
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
        status = receive_piece(inbox, base != NULL ? base + done : scratch,
                               piece_size(size, done));
    }
    free(scratch);
    return status;
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
    status = wire_look(inbox->wire, WIRE_ANY, WIRE_ANY, arrival);
    if (status != TRANSPORT_OK) {
        return status;
    }
    if (grow(inbox->wire, (void **)&inbox->frame, &inbox->frame_room,
             arrival->size)
        < 0) {
        return TRANSPORT_FAILED;
    }
    inbox->arriving = 1;
    inbox->message = (struct transport_message){.source = arrival->source,
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
    return unpack(inbox, inbox->arrival.size);
}
