/* letters.h -- messages in memory, for tests that play MPI: a list of what is
   on its way to a rank, in the order in which it was sent. */

#ifndef EZMPI_TESTS_LETTERS_H
#define EZMPI_TESTS_LETTERS_H

#include "wire.h"

/* The beginning of what a test keeps of a message. */
struct letter {
    struct letter *next;
    int source;
    int tag;
    size_t size;
};

static inline void
letters_add(struct letter **first, struct letter *letter)
{
    while (*first != NULL) {
        first = &(*first)->next;
    }
    letter->next = NULL;
    *first = letter;
}

/* Takes out the first that fits; as wire_look says of it, and the letter in
   arrival->slot.room. */
static inline int
letters_take(struct letter **first, int source, int tag,
             struct wire_arrival *arrival)
{
    struct letter *letter;

    while ((letter = *first) != NULL
           && ((source != WIRE_ANY && letter->source != source)
               || (tag != WIRE_ANY && letter->tag != tag))) {
        first = &letter->next;
    }
    if (letter == NULL) {
        return TRANSPORT_NOTHING;
    }
    *first = letter->next;
    arrival->source = letter->source;
    arrival->tag = letter->tag;
    arrival->size = letter->size;
    arrival->slot.room = letter;
    return TRANSPORT_OK;
}

#endif
