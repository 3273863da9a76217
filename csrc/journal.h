/* journal.h -- what a guard has to tell its next child again.

   Names that were bound, initializers, callables, shared objects: as they came
   from the master, who does not know that there is a child.  Not chunks: the
   master keeps their tasks, and gets back what was not begun.

   Runs in the worker's rank, which outlives its children.  Needs the GIL. */

#ifndef EZMPI_JOURNAL_H
#define EZMPI_JOURNAL_H

#include "crew.h"

#define MOST_DEATHS 3 /* of children in a row, that got nothing done */

/* A message that the next child is to get, too. */
struct note {
    struct note *next;
    uint64_t number; /* of the message to the child that is there; 0: that was
                        not told */
    int deaths; /* of children in a row that came to it, no further */
    struct transport_fate fate; /* of the last */
    int verb;
    struct header header;
    struct parcel *parcel;
};

struct journal {
    struct note *first;
    int suspects; /* notes with deaths, or more than there are */
};

/* Notes the message, if it is such a one, and drops those that are of no use
   behind it.  number: of the message that the child that is there will get; 0:
   there is none.  -1: exception set. */
int journal_write(struct journal *journal, const struct letter *letter,
                  uint64_t number);
/* The next child was told nothing. */
void journal_unsay(struct journal *journal);
/* Of the note and those behind it, the first that the child needs to hear
   before tasks of that pool; NULL: none. */
struct note *journal_find(struct note *note, uint64_t pool);

/* ---- what children die of, before they begin a task -------------------- */

/* A child has died of what it was told in its message of that number, or of
   the callable, which it unpickled for the tasks in that message.  1; 0: none
   of it is in the journal. */
int journal_accuse(struct journal *journal, uint64_t number, uint64_t callable,
                   const struct transport_fate *fate);
/* A child got past all messages up to this one; and this callable. */
void journal_acquit(struct journal *journal, uint64_t number);
void journal_acquit_callable(struct journal *journal, uint64_t callable);
/* Do children die of it each time? */
int journal_is_deadly(const struct note *note);
/* Such a note that these tasks cannot do without: all but what is shared, for
   only who uses it needs that.  NULL: none. */
const struct note *
journal_obstacle(const struct journal *journal, const struct header *tasks);

#endif
