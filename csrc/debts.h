/* debts.h -- the chunks that a guard's child owes answers for, and the answers
   that the guard gives in its place when it has died.

   Runs in the worker's rank: each chunk is answered exactly once, whatever
   becomes of the child, so that the master sees nothing but answers.  Needs
   the GIL. */

#ifndef EZMPI_DEBTS_H
#define EZMPI_DEBTS_H

#include "journal.h"
#include "ledger.h"

struct debts;

/* How the child ended. */
struct death {
    enum { BY_ITSELF, KILLED_AS_LATE, KILLED_WITH_POOL } how;
    struct transport_fate fate;
    uint64_t pool; /* KILLED_WITH_POOL: that one */
};

/* crew: to the master; ledger: what the child writes.  NULL: no memory. */
struct debts *debts_new(struct crew *crew, const struct ledger *ledger,
                        struct journal *journal);
/* That nothing was added to. */
void debts_free(struct debts *debts);

/* The child, which may still have to be told other things before, owes an
   answer for this chunk, too; and it is sent that now, in its message of this
   number.  -1: exception set. */
int debts_add(struct debts *debts, const struct header *chunk);
void debts_note_sent(struct debts *debts, uint64_t number);
/* This answer of its own came: that callable is not what children die of, nor
   do they die in vain. */
void debts_settle(struct debts *debts, const struct header *answer);
/* Such an answer came, and the memory for it is short (the exception that is
   set): the first of its tasks has failed.  -1: another one is set. */
int debts_lose(struct debts *debts, const struct header *answer);
/* Does it owe any? */
int debts_are_left(const struct debts *debts);
/* Does it run a task for longer than that may take? */
int debts_is_late(const struct debts *debts);
/* Does it run one of that pool's, or get ready for one? */
int debts_is_busy_for(const struct debts *debts, uint64_t pool);

/* Answers for a chunk that no child is to have, for it would die of what the
   journal has. */
int debts_refuse(struct debts *debts, const struct header *chunk);
/* Its turn has come: to be called when an answer went to the master, which
   takes them in the order in which it sent the chunks. */
int debts_pay_refused(struct debts *debts);

/* It has died: answers for all that it owes.  What was done is in the answers,
   what was not begun goes back, and the task that ran has failed; or what
   needs the note of which children die each time.  -1: exception set. */
int debts_pay(struct debts *debts, const struct death *death);

#endif
