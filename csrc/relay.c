/* relay.c -- notes, and passing on.  Knows neither frames nor verbs. */

#include "relay.h"

size_t
relay_note_size(size_t children)
{
    return (1 + children) * sizeof(int);
}

size_t
relay_note(struct relay_note *note, const int *ranks, size_t count, size_t i)
{
    struct tree_place place = tree_place(count + 1, i);
    size_t child, children = 0;

    note->from = place.parent == 0 ? 0 : ranks[place.parent - 1];
    while ((child = tree_next_child(&place)) != 0) {
        note->children[children++] = ranks[child - 1];
    }
    return children;
}

static int
is_other(const struct wire *wire, int rank)
{
    return rank >= 0 && rank < wire->ranks && rank != wire->rank;
}

const char *
relay_begin(struct relay *relay, size_t size)
{
    size_t children = size / sizeof(int) - 1;

    if (size < relay_note_size(0) || size > sizeof(relay->note)
        || size != relay_note_size(children)
        || !is_other(relay->wire, relay->note.from)) {
        return "a note of the wrong size, or from a rank that there is not";
    }
    for (size_t i = 0; i < children; i++) {
        if (!is_other(relay->wire, relay->note.children[i])) {
            return "a note that names a rank that there is not";
        }
    }
    relay->children = children;
    relay->awaited = 1;
    return NULL;
}

void
relay_arrive(struct relay *relay)
{
    relay->multicast = relay->awaited;
    relay->awaited = 0;
}

void
relay_end(struct relay *relay)
{
    if (relay->multicast) {
        relay->multicast = 0;
        relay->children = 0;
    }
}

int
relay_pass(struct relay *relay, const void *base, size_t size, int tag)
{
    int status = TRANSPORT_OK;

    for (size_t i = 0; i < relay->children && status == TRANSPORT_OK; i++) {
        status = wire_send(relay->wire, base, size, relay->note.children[i],
                           tag, &relay->requests[relay->leaving++]);
    }
    return status;
}

int
relay_settle(struct relay *relay)
{
    while (relay->leaving > 0) {
        int status =
            wire_test(relay->wire, &relay->requests[relay->leaving - 1]);
        if (status != TRANSPORT_OK) {
            return status;
        }
        relay->leaving--;
    }
    return TRANSPORT_OK;
}
