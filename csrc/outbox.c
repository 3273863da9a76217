/* outbox.c -- sends messages without blocking, and knows which have left.

   A message travels as a frame (frame.h), whose tag is the verb, followed by
   the parts that are apart from it, in pieces tagged PIECE_TAG: those leave
   from the caller's memory, all else from a copy.  One that several ranks get
   goes to a few of them only (multicast.h). */

#include "outbox.h"

#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "multicast.h"

#define TESTED 16                   /* unfinished messages, at one go */

struct outgoing {
    struct outgoing *next;
    void *token;                    /* NULL: nothing is to be reaped */
    struct frame *frame;            /* behind requests, in this allocation */
    size_t piece;                   /* bytes of a piece */
    size_t posted;
    size_t done;                    /* of the requests posted */
    struct wire_slot requests[];    /* the frame's, then one per piece */
};

void
outbox_init(struct outbox *outbox, struct wire *wire)
{
    *outbox = (struct outbox){.wire = wire, .cursor = &outbox->first};
}

void
outbox_drop(struct outbox *outbox)
{
    struct outgoing *outgoing;

    while ((outgoing = outbox->first) != NULL) {
        outbox->first = outgoing->next;
        if (outgoing->token != NULL) {
            outbox->tokens[outbox->tokens_ready++] = outgoing->token;
        }
        for (size_t i = outgoing->done; i < outgoing->posted; i++) {
            wire_drop(&outgoing->requests[i]);
        }
        free(outgoing);
    }
    outbox->cursor = &outbox->first;
}

void
outbox_fini(struct outbox *outbox)
{
    free(outbox->tokens);
    outbox_init(outbox, outbox->wire);
}

size_t
piece_size(size_t size, size_t done, size_t most)
{
    return size - done < most ? size - done : most;
}

/* copies: to how many ranks it goes; piece: bytes of a piece. */
static struct outgoing *
outgoing_new(const struct frame_plan *plan, size_t copies, size_t piece)
{
    size_t requests = copies * (1 + plan->apart + plan->apart_bytes / piece);
    size_t offset =
        sizeof(struct outgoing) + requests * sizeof(struct wire_slot);
    struct outgoing *outgoing;

    offset = (offset + 7) & ~(size_t)7;
    outgoing = malloc(offset + plan->size);
    if (outgoing != NULL) {
        outgoing->piece = piece;
        outgoing->posted = 0;
        outgoing->done = 0;
        outgoing->frame = (struct frame *)((char *)outgoing + offset);
    }
    return outgoing;
}

static int
post(struct outbox *outbox, struct outgoing *outgoing, int rank, int tag,
     const void *base, size_t size)
{
    int status = wire_send(outbox->wire, base, size, rank, tag,
                           &outgoing->requests[outgoing->posted]);

    outgoing->posted += status == TRANSPORT_OK;
    return status;
}

static int
post_pieces(struct outbox *outbox, struct outgoing *outgoing, int rank,
            const struct transport_part *part)
{
    int status = TRANSPORT_OK;

    for (size_t done = 0; done < part->size && status == TRANSPORT_OK;
         done += outgoing->piece) {
        status = post(outbox, outgoing, rank, PIECE_TAG,
                      (const char *)part->base + done,
                      piece_size(part->size, done, outgoing->piece));
    }
    return status;
}

/* The frame, and what is apart from it. */
static int
post_message(struct outbox *outbox, struct outgoing *outgoing, int rank,
             int verb, const struct frame_plan *plan,
             const struct transport_part *parts, size_t count)
{
    int status =
        post(outbox, outgoing, rank, verb, outgoing->frame, plan->size);

    for (size_t i = 0; plan->apart > 0 && i < count && status == TRANSPORT_OK;
         i++) {
        if (frame_is_apart(outgoing->frame, i)) {
            status = post_pieces(outbox, outgoing, rank, &parts[i]);
        }
    }
    return status;
}

/* Takes the message at *link out of the list and makes its token ready, if
   all of it has left, or never will. */
static int
settle(struct outbox *outbox, struct outgoing **link)
{
    struct outgoing *outgoing = *link;

    for (; outgoing->done < outgoing->posted; outgoing->done++) {
        int status =
            wire_test(outbox->wire, &outgoing->requests[outgoing->done]);
        if (status != TRANSPORT_OK && status != TRANSPORT_LOST) {
            return status;
        }
    }
    if (outgoing->token != NULL) {
        outbox->tokens[outbox->tokens_ready++] = outgoing->token;
    }
    *link = outgoing->next;
    free(outgoing);
    return TRANSPORT_OK;
}

/* By default it goes on round the list from call to call: a message to a rank
   that does not receive must not hold up the others, and a long list must not
   be walked at every call. */
int
outbox_progress(struct outbox *outbox, int all)
{
    int tested = 0;

    if (all || *outbox->cursor == NULL) {
        outbox->cursor = &outbox->first;
    }
    while (*outbox->cursor != NULL && (all || tested < TESTED)) {
        int status = settle(outbox, outbox->cursor);
        if (status == TRANSPORT_FAILED) {
            return TRANSPORT_FAILED;
        }
        if (status == TRANSPORT_NOTHING) {
            outbox->cursor = &(*outbox->cursor)->next;
            tested++;
        }
    }
    return TRANSPORT_OK;
}

/* Room for one more token, so that settle cannot fail for lack of it. */
static int
reserve_token(struct outbox *outbox)
{
    size_t room = 2 * outbox->tokens_room + 16;
    void **tokens;

    if (outbox->tokens_out < outbox->tokens_room) {
        return TRANSPORT_OK;
    }
    tokens = realloc(outbox->tokens, room * sizeof(*tokens));
    if (tokens == NULL) {
        return TRANSPORT_FAILED;
    }
    outbox->tokens = tokens;
    outbox->tokens_room = room;
    return TRANSPORT_OK;
}

/* Puts the message into the list.  Where nothing is apart, all is in our own
   memory by now, and the caller's is free at once. */
static void
enlist(struct outbox *outbox, struct outgoing *outgoing, void *token,
       int apart)
{
    outgoing->token = apart ? token : NULL;
    if (token != NULL) {
        outbox->tokens_out++;
        if (!apart) {
            outbox->tokens[outbox->tokens_ready++] = token;
        }
    }
    /* In front, where the cursor, which is never in the newest message,
       stays valid if this one is taken out first. */
    outgoing->next = outbox->first;
    outbox->first = outgoing;
}

/* What failed does not come back: its token is the caller's again.  Nothing
   was made ready since enlist. */
static void
withdraw(struct outbox *outbox, struct outgoing *outgoing, void *token)
{
    if (token == NULL) {
        return;
    }
    if (outgoing->token == NULL) {
        outbox->tokens_ready--;
    }
    outgoing->token = NULL;
    outbox->tokens_out--;
}

/* Most messages have left by the time they are posted. */
static int
settle_newest(struct outbox *outbox)
{
    int status = settle(outbox, &outbox->first);

    return status == TRANSPORT_FAILED ? status : TRANSPORT_OK;
}

/* The same to each of so many ranks. */
static int
send_copies(struct outbox *outbox, const int *ranks, size_t copies,
            size_t piece, int verb, int expects,
            const struct transport_part *parts, size_t count, void *token)
{
    struct frame_plan plan = frame_plan(parts, count);
    struct outgoing *outgoing = outgoing_new(&plan, copies, piece);
    int status = TRANSPORT_OK;

    if (outgoing == NULL || reserve_token(outbox) < 0) {
        free(outgoing);
        return wire_fail(outbox->wire, "malloc", "out of memory");
    }
    frame_pack(outgoing->frame, parts, count, expects);
    enlist(outbox, outgoing, token, plan.apart > 0);
    for (size_t i = 0; i < copies && status == TRANSPORT_OK; i++) {
        status = post_message(outbox, outgoing, ranks[i], verb, &plan, parts,
                              count);
    }
    if (status == TRANSPORT_OK) {
        status = settle_newest(outbox);
    }
    if (status != TRANSPORT_OK) {
        withdraw(outbox, outgoing, token);
    }
    return status;
}

int
outbox_send(struct outbox *outbox, int rank, int verb, int expects,
            const struct transport_part *parts, size_t count, void *token)
{
    return send_copies(outbox, &rank, 1, PIECE_BYTES, verb, expects, parts,
                       count, token);
}

static int
send_note(struct outbox *outbox, int rank, const struct multicast_note *note,
          size_t children)
{
    struct frame_plan plan = {.size = multicast_note_size(children)};
    struct outgoing *outgoing = outgoing_new(&plan, 1, PIECE_BYTES);
    int status;

    if (outgoing == NULL) {
        return wire_fail(outbox->wire, "malloc", "out of memory");
    }
    memcpy(outgoing->frame, note, plan.size);
    enlist(outbox, outgoing, NULL, 0);
    status =
        post(outbox, outgoing, rank, NOTE_TAG, outgoing->frame, plan.size);
    return status == TRANSPORT_OK ? settle_newest(outbox) : status;
}

int
outbox_multicast(struct outbox *outbox, const int *ranks, size_t receivers,
                 int verb, const struct transport_part *parts, size_t count,
                 void *token)
{
    struct multicast_note note;
    size_t children;

    if (outbox->wire->is_star) {
        return send_copies(outbox, ranks, receivers, PIECE_BYTES, verb, 0,
                           parts, count, token);
    }
    for (size_t i = 1; i <= receivers; i++) {
        children = multicast_note(&note, ranks, receivers, i);
        if (send_note(outbox, ranks[i - 1], &note, children) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    children = multicast_note(&note, ranks, receivers, 0);
    return send_copies(outbox, note.children, children, MULTICAST_PIECE_BYTES,
                       verb, 0, parts, count, token);
}

void *
outbox_reap(struct outbox *outbox)
{
    if (outbox->tokens_ready == 0) {
        return NULL;
    }
    outbox->tokens_out--;
    return outbox->tokens[--outbox->tokens_ready];
}
