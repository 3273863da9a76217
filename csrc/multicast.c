/* multicast.c -- notes, and passing on.  Knows neither frames nor verbs. */

#include "multicast.h"

size_t
multicast_note_size(size_t children)
{
    return (1 + children) * sizeof(int);
}

size_t
multicast_note(struct multicast_note *note, const int *ranks, size_t count,
               size_t i)
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
multicast_begin(struct multicast *multicast, size_t size)
{
    size_t children = size / sizeof(int) - 1;

    if (size < multicast_note_size(0) || size > sizeof(multicast->note)
        || size != multicast_note_size(children)
        || !is_other(multicast->wire, multicast->note.from)) {
        return "a note of the wrong size, or from a rank that there is not";
    }
    for (size_t i = 0; i < children; i++) {
        if (!is_other(multicast->wire, multicast->note.children[i])) {
            return "a note that names a rank that there is not";
        }
    }
    multicast->children = children;
    multicast->awaited = 1;
    return NULL;
}

void
multicast_arrive(struct multicast *multicast)
{
    multicast->came = multicast->awaited;
    multicast->awaited = 0;
}

void
multicast_end(struct multicast *multicast)
{
    if (multicast->came) {
        multicast->came = 0;
        multicast->children = 0;
    }
}

int
multicast_pass(struct multicast *multicast, const void *base, size_t size,
               int tag)
{
    int status = TRANSPORT_OK;

    for (size_t i = 0; i < multicast->children && status == TRANSPORT_OK;
         i++) {
        status =
            wire_send(multicast->wire, base, size, multicast->note.children[i],
                      tag, &multicast->requests[multicast->leaving++]);
    }
    return status;
}

int
multicast_settle(struct multicast *multicast)
{
    while (multicast->leaving > 0) {
        int status = wire_test(multicast->wire,
                               &multicast->requests[multicast->leaving - 1]);
        if (status != TRANSPORT_OK) {
            return status;
        }
        multicast->leaving--;
    }
    return TRANSPORT_OK;
}
