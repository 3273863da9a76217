/* inbox.c -- receives messages: frames, and what is apart from them.

   All pieces of a message are received before the next frame is looked for.
   Since the wire keeps the order, the next piece from a frame's source is
   then always that frame's.  A multicast message (multicast.h) is passed on
   frame by frame and piece by piece, also where it is dropped here, and has
   left before the caller gets it, who may change what it is in.  Knows neither
   verbs nor farewells. */

#include "inbox.h"

#include <stdio.h>
#include <stdlib.h>

#include "frame.h"
#include "outbox.h"
#include "patience.h"

void
inbox_init(struct inbox *inbox, struct wire *wire)
{
    *inbox = (struct inbox){.wire = wire, .multicast.wire = wire};
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

/* Waits until those that the message is passed on to have it, as far as it
   was passed on.

   On one communicator nobody waits in a circle.  The notes tell all ranks of
   the same messages in the same order, so the earliest one that is not
   everywhere waits for no other.  It is held up only as long as rank 0 or a
   rank on its way is outside MPI, or waits on another communicator: that none
   is there for good is for the caller of multicast to know. */
static int
await_multicast(struct inbox *inbox)
{
    struct patience patience = {.crowded = inbox->wire->crowded};
    int status;

    while ((status = multicast_settle(&inbox->multicast))
           == TRANSPORT_NOTHING) {
        if (rest(inbox, &patience) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return status;
}

/* Receives a piece and passes it on.  While it leaves, the next one comes. */
static int
pass_piece(struct inbox *inbox, void *base, size_t size)
{
    int status = receive_piece(inbox, base, size);

    if (status == TRANSPORT_OK) {
        status = await_multicast(inbox);
    }
    return status == TRANSPORT_OK
               ? multicast_pass(&inbox->multicast, base, size, PIECE_TAG)
               : status;
}

static int
receive_pieces(struct inbox *inbox, size_t size, size_t most, char *base,
               char *scratch)
{
    int status = TRANSPORT_OK;

    for (size_t done = 0; done < size && status == TRANSPORT_OK;
         done += most) {
        status = pass_piece(inbox, base != NULL ? base + done : scratch,
                            piece_size(size, done, most));
        if (status == TRANSPORT_OK && base == NULL) {
            status = await_multicast(inbox); /* the next one goes there, too */
        }
    }
    return status == TRANSPORT_OK ? await_multicast(inbox) : status;
}

static int
no_memory(struct wire *wire, size_t size)
{
    char text[80];

    snprintf(text, sizeof(text), "no memory for %zu bytes of a message", size);
    return wire_fail(wire, "malloc", text);
}

/* What is dropped goes piece by piece to scratch memory: to receive less than
   was sent would be an error, after which MPI promises nothing. */
static int
receive_part(struct inbox *inbox, size_t size, char *base)
{
    size_t most = inbox->multicast.came ? MULTICAST_PIECE_BYTES : PIECE_BYTES;
    char *scratch = NULL;
    int status;

    if (base == NULL) {
        scratch = malloc(piece_size(size, 0, most));
        if (scratch == NULL) {
            return no_memory(inbox->wire, size);
        }
    }
    status = receive_pieces(inbox, size, most, base, scratch);
    free(scratch);
    return status;
}

/* Drops the parts below index that are still on their way. */
static int
drop_until(struct inbox *inbox, size_t index)
{
    for (; inbox->settled < index; inbox->settled++) {
        const struct transport_part *part = &inbox->parts[inbox->settled];
        if (part->base == NULL) {
            int status = receive_part(inbox, part->size, NULL);
            if (status != TRANSPORT_OK) {
                return status;
            }
        }
    }
    return TRANSPORT_OK;
}

int
inbox_take(struct inbox *inbox, size_t index, void *base)
{
    int status = drop_until(inbox, index);

    if (status == TRANSPORT_OK) {
        status = receive_part(inbox, inbox->parts[index].size, base);
    }
    if (status != TRANSPORT_FAILED) {
        inbox->settled =
            status == TRANSPORT_OK ? index + 1 : inbox->message.count;
    }
    return status;
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
    struct multicast *multicast = &inbox->multicast;
    struct wire_arrival *arrival = &inbox->arrival;
    const char *wrong;

    if (inbox->wire->rank == 0 || multicast->awaited) {
        return malformed(inbox, "a note out of place");
    }
    if (arrival->size > sizeof(multicast->note)) {
        return malformed(inbox, "a note that is too long");
    }
    /* So short a message is here as soon as it is seen. */
    if (accept(inbox, arrival, &multicast->note) < 0) {
        return TRANSPORT_FAILED;
    }
    wrong = multicast_begin(multicast, arrival->size);
    return wrong == NULL ? TRANSPORT_OK : malformed(inbox, wrong);
}

/* Looks for the next frame: from the rank that a note names, else from rank
   0, or at rank 0 from any. */
static int
look(struct inbox *inbox)
{
    struct multicast *multicast = &inbox->multicast;
    int status = TRANSPORT_OK;

    while (status == TRANSPORT_OK) {
        int source = multicast->awaited       ? multicast->note.from
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

static int
begin_frame(struct inbox *inbox)
{
    struct wire_arrival *arrival = &inbox->arrival;
    int status;

    status = drop_until(inbox, inbox->message.count);
    if (status == TRANSPORT_FAILED) {
        return status;
    }
    inbox->message.count = 0; /* of one that was lost, too */
    multicast_end(&inbox->multicast);
    status = look(inbox);
    if (status != TRANSPORT_OK) {
        return status;
    }
    if (grow(inbox->wire, (void **)&inbox->frame, &inbox->frame_room,
             arrival->size)
        < 0) {
        return TRANSPORT_FAILED;
    }
    multicast_arrive(&inbox->multicast);
    /* Whoever passes it on, what comes to another rank is rank 0's. */
    inbox->message = (struct transport_message){
        .source = inbox->wire->rank == 0 ? arrival->source : 0,
        .verb = arrival->tag};
    inbox->frame_is = ARRIVING;
    return wire_accept(inbox->wire, arrival, inbox->frame, &inbox->request);
}

/* When the frame has come, it is passed on. */
static int
end_frame(struct inbox *inbox)
{
    int status = wire_test(inbox->wire, &inbox->request);

    if (status != TRANSPORT_OK) {
        return status;
    }
    inbox->frame_is = LEAVING;
    return multicast_pass(&inbox->multicast, inbox->frame, inbox->arrival.size,
                          inbox->message.verb);
}

int
inbox_is_open(const struct inbox *inbox)
{
    return inbox->frame_is == HERE && !inbox->multicast.awaited;
}

/* A frame may need its sender's help to come, and that of those it is passed
   on to, who may be busy for an hour: so nothing here waits for it. */
int
inbox_receive(struct inbox *inbox)
{
    int status = TRANSPORT_OK;

    if (inbox->frame_is == HERE) {
        status = begin_frame(inbox);
    }
    if (status == TRANSPORT_OK && inbox->frame_is == ARRIVING) {
        status = end_frame(inbox);
    }
    if (status == TRANSPORT_OK) {
        status = multicast_settle(&inbox->multicast);
    }
    if (status == TRANSPORT_LOST) { /* a frame, or a greeting */
        inbox->frame_is = HERE;
        return TRANSPORT_NOTHING;
    }
    if (status != TRANSPORT_OK) {
        return status;
    }
    inbox->frame_is = HERE;
    inbox->settled = 0;
    return unpack(inbox, inbox->arrival.size);
}
