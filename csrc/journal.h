/* journal.h -- what a guard has to tell its next child again.

   Names that were bound, initializers, callables, shared objects: as they came
   from the master, who does not know that there is a child.  Not chunks: the
   master keeps their tasks, and gets back what was not begun.

   Runs in the worker's rank, which outlives its children.  Needs the GIL. */

#ifndef EZMPI_JOURNAL_H
#define EZMPI_JOURNAL_H

#include "crew.h"

/* A message that the next child is to get, too. */
struct note {
    struct note *next;
    int is_said;                    /* to the child that is there */
    int verb;
    struct header header;
    struct parcel *parcel;
};

struct journal {
    struct note *first;
};

/* Notes the message, if it is such a one, and drops those that are of no use
   behind it.  is_said: the child that is there will hear it.  -1: exception
   set. */
int journal_write(struct journal *journal, const struct letter *letter,
                  int is_said);
/* The next child was told nothing. */
void journal_unsay(struct journal *journal);
/* Of the note and those behind it, the first that the child needs to hear
   before tasks of that pool; NULL: none. */
struct note *journal_find(struct note *note, uint64_t pool);

#endif
