/* kit.h -- what a worker's tasks are run with: callables, codecs, what the
   pools' initializers came to, names that are bound, what is shared.

   It is the worker's between chunks, and the master says what goes in and what
   is forgotten.  All of this needs the GIL.  What returns -1 or NULL has an
   exception set, and the worker cannot go on; what goes wrong with the user's
   objects is kept as an account, for the tasks that need them. */

#ifndef EZMPI_KIT_H
#define EZMPI_KIT_H

#include "crew.h"

struct kit;

/* What was made of a parcel that came: an object, or the account of why it
   could not be made. */
struct outcome {
    PyObject *value;
    PyObject *account;
};

void outcome_clear(struct outcome *outcome);

struct kit *kit_new(void);

/* With dill if the flags have FLAG_DILL; borrowed. */
struct codec *kit_codec(struct kit *kit, uint32_t flags);

/* To be called where the user's code has returned: a child that a task forked,
   and that came back out of the task, ends here.  MPI is its parent's, and so
   is the answer. */
void kit_end_if_forked(const struct kit *kit);

/* VERB_CALLABLE, VERB_INITIALIZE: take over the letter's parcel. */
void kit_hold(struct kit *kit, struct letter *letter);
int kit_initialize(const struct crew *crew, struct kit *kit,
                   struct letter *letter);

int kit_bind(struct crew *crew, struct kit *kit, const struct letter *letter);

/* VERB_SHARE, VERB_UNSHARE; what: that of ezmpi/_shared.py, "hold" or "drop"
   for it. */
int kit_share(const struct crew *crew, struct kit *kit,
              const struct letter *letter, const char *what);

/* What is that pool's; 0: of every pool. */
void kit_forget(struct kit *kit, uint64_t pool);

/* Why tasks with that header cannot be run: a new reference in *account, else
   NULL; *flags: FLAG_BROKEN, where no others of the pool can, either.  An
   initializer that Ctrl-C ended is tried again first. */
int
kit_check(const struct crew *crew, struct kit *kit,
          const struct header *header, PyObject **account, uint32_t *flags);

/* Is the callable here that the header names?  Where not, to be asked for. */
int kit_holds(struct kit *kit, const struct header *header);

/* Unpickles it if that is not done yet, and shares it. */
int kit_load(const struct crew *crew, struct kit *kit,
             const struct header *header, struct outcome *callable);

#endif
