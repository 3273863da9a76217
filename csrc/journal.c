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

/* Does something that may need what it bound stand behind it? */
static int
is_built_upon(const struct note *note)
{
    for (note = note->next; note != NULL; note = note->next) {
        if (note->verb == VERB_INITIALIZE || note->verb == VERB_SHARE)
            return 1;
    }
    return 0;
}

/* Does the newer message make this one unnecessary?  Of a closed pool, or 0:
   of all, what its tasks need goes; what was shared and bound stays. */
static int
is_superseded(const struct note *note, const struct letter *letter)
{
    const struct header *header = &letter->header;
    switch (letter->verb) {
    case VERB_BIND:
        return note->verb == VERB_BIND && note->header.names == header->names
               && !is_built_upon(note);
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
              uint64_t number)
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
    note->number = number;
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
        note->number = 0;
}

/* Deadly, but its names were bound anew: nobody hears it, nor lacks it. */
static int
is_outlived(const struct note *note)
{
    uint64_t names = note->header.names;
    if (note->verb != VERB_BIND || !journal_is_deadly(note))
        return 0;
    for (note = note->next; note != NULL; note = note->next) {
        if (note->verb == VERB_BIND && note->header.names == names)
            return 1;
    }
    return 0;
}

/* Another pool's initializer is its own affair. */
static int
is_needed(const struct note *note, uint64_t pool)
{
    return note->number == 0 && !is_outlived(note)
           && (note->verb != VERB_INITIALIZE || note->header.pool == pool);
}

struct note *
journal_find(struct note *note, uint64_t pool)
{
    while (note != NULL && !is_needed(note, pool))
        note = note->next;
    return note;
}

/* ---- what children die of ---------------------------------------------- */

static int
is_callable(const struct note *note, uint64_t callable)
{
    return note->verb == VERB_CALLABLE && note->header.callable == callable;
}

int
journal_accuse(struct journal *journal, uint64_t number, uint64_t callable,
               const struct transport_fate *fate)
{
    struct note *note = journal->first;
    while (note != NULL && note->number != number
           && !(callable != 0 && is_callable(note, callable)))
        note = note->next;
    if (note == NULL)
        return 0;
    note->deaths++;
    note->fate = *fate;
    journal->suspects++;
    return 1;
}

static void
acquit(struct note *note)
{
    if (!journal_is_deadly(note))
        note->deaths = 0;
}

void
journal_acquit(struct journal *journal, uint64_t number)
{
    struct note *note = journal->suspects > 0 ? journal->first : NULL;
    for (; note != NULL; note = note->next) {
        if (note->verb != VERB_CALLABLE && note->number != 0
            && note->number <= number)
            acquit(note);
    }
}

void
journal_acquit_callable(struct journal *journal, uint64_t callable)
{
    struct note *note = journal->suspects > 0 ? journal->first : NULL;
    for (; note != NULL; note = note->next) {
        if (is_callable(note, callable))
            acquit(note);
    }
}

int
journal_is_deadly(const struct note *note)
{
    return note->deaths >= MOST_DEATHS;
}

static int
is_for(const struct note *note, const struct header *tasks)
{
    return note->verb == VERB_BIND || is_callable(note, tasks->callable)
           || (note->verb == VERB_INITIALIZE
               && note->header.pool == tasks->pool);
}

const struct note *
journal_obstacle(const struct journal *journal, const struct header *tasks)
{
    const struct note *note = journal->suspects > 0 ? journal->first : NULL;
    while (note != NULL
           && !(journal_is_deadly(note) && is_for(note, tasks)
                && !is_outlived(note)))
        note = note->next;
    return note;
}
