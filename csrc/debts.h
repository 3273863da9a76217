/* debts.h -- the chunks that a guard's child owes answers for, and the answers
   that the guard gives in its place when it has died.

   Runs in the worker's rank: each chunk is answered exactly once, whatever
   becomes of the child, so that the master sees nothing but answers.  Needs
   the GIL. */

#ifndef EZMPI_DEBTS_H
#define EZMPI_DEBTS_H

#include "crew.h"
#include "ledger.h"

struct debts;

/* How the child ended. */
struct death {
    struct transport_fate fate;
    int is_late; /* it was killed: its task took too long */
};

/* crew: to the master; ledger: what the child writes.  NULL: no memory. */
struct debts *debts_new(struct crew *crew, const struct ledger *ledger);

/* There is a new child, which owes nothing. */
void debts_begin(struct debts *debts);
/* It owes an answer for this chunk, too.  -1: exception set. */
int debts_add(struct debts *debts, const struct header *chunk);
/* This answer of its own came. */
void debts_settle(struct debts *debts, const struct header *answer);
/* Does it owe any? */
int debts_are_left(const struct debts *debts);
/* Does it run a task for longer than that may take? */
int debts_run_late(const struct debts *debts);

/* It has died: answers for all that it owes.  What was done is in the answers,
   what was not begun goes back, and the task that ran has failed.  -1:
   exception set. */
int debts_pay(struct debts *debts, const struct death *death);

#endif
