/* journal.c -- a list of messages, oldest first.  Runs in the worker's rank.

   Must not know what is in a parcel. */

#define PY_SSIZE_T_CLEAN
#include "journal.h"

static void
note_free(struct note *note)
{
    parcel_free(note->parcel);
    PyMem_RawFree(note);
}

/* Does the newer message make this one unnecessary?  Of a closed pool, or 0:
   of all, what its tasks need goes; what was shared and bound stays. */
static int
is_superseded(const struct note *note, const struct letter *letter)
{
    const struct header *header = &letter->header;
    switch (letter->verb) {
    case VERB_BIND:
        return note->verb == VERB_BIND && note->header.names == header->names;
    case VERB_CALLABLE:
        return note->verb == VERB_CALLABLE
               && note->header.slot == header->slot;
    case VERB_FORGET:
        return (note->verb == VERB_CALLABLE || note->verb == VERB_INITIALIZE)
               && (header->pool == 0 || note->header.pool == header->pool);
    case VERB_UNSHARE:
        return note->verb == VERB_SHARE && note->header.key == header->key;
    default:
        return 0;
    }
}

/* The list's end. */
static struct note **
drop_superseded(struct journal *journal, const struct letter *letter)
{
    struct note **link = &journal->first;
    while (*link != NULL) {
        struct note *note = *link;
        if (is_superseded(note, letter)) {
            *link = note->next;
            note_free(note);
        }
        else {
            link = &note->next;
        }
    }
    return link;
}

static int
is_to_be_kept(int verb)
{
    return verb == VERB_BIND || verb == VERB_INITIALIZE
           || verb == VERB_CALLABLE || verb == VERB_SHARE;
}

int
journal_write(struct journal *journal, const struct letter *letter,
              int is_said)
{
    struct note **end = drop_superseded(journal, letter);
    if (!is_to_be_kept(letter->verb))
        return 0;
    struct note *note = PyMem_RawCalloc(1, sizeof *note);
    if (note == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    note->verb = letter->verb;
    note->is_said = is_said;
    note->header = letter->header;
    if (letter->parcel != NULL)
        note->parcel = parcel_keep(letter->parcel);
    *end = note;
    return 0;
}

void
journal_unsay(struct journal *journal)
{
    for (struct note *note = journal->first; note != NULL; note = note->next)
        note->is_said = 0;
}

/* Another pool's initializer is its own affair. */
static int
is_needed(const struct note *note, uint64_t pool)
{
    return !note->is_said
           && (note->verb != VERB_INITIALIZE || note->header.pool == pool);
}

struct note *
journal_find(struct note *note, uint64_t pool)
{
    while (note != NULL && !is_needed(note, pool))
        note = note->next;
    return note;
}
