/* ledger.h -- how far a chunk has come, in memory that outlives who runs it.

   A worker's child writes it, task by task; its guard, in the worker's rank,
   shares the memory, and reads it when the child has died, but for what it
   looks at meanwhile: which task runs (ledger_running), and which chunk is
   begun.  The guard writes only while there is no child.  A chunk is known by
   the number of its message, from 1, as child and guard both count all that
   the child gets.
   Plain C: the bytes are those of a parcel, whatever they mean. */

#ifndef EZMPI_LEDGER_H
#define EZMPI_LEDGER_H

#include <stddef.h>
#include <stdint.h>

#include "transport.h"

#define LEDGER_PARTS 1025       /* that there is room for, at most */

struct ledger;

/* ---- in the child ----------------------------------------------------- */

/* Another message has come, and is looked at, which may run the user's code;
   and that is done. */
void ledger_open(struct ledger *ledger);
void ledger_shut(struct ledger *ledger);
void ledger_begin(struct ledger *ledger, uint64_t chunk);
/* The next task runs, since now. */
void ledger_run(struct ledger *ledger, int64_t now);
/* None runs any more, and no more is noted than before. */
void ledger_rest(struct ledger *ledger);
/* None runs any more: so many are done, and these are the results so far,
   stream first, then buffers.  0: they do not fit, and the results of those
   that did are what is kept. */
int ledger_note(struct ledger *ledger, uint64_t done,
                const struct transport_part *parts, size_t count);

/* ---- in the worker's rank: the guard ---------------------------------- */

/* Forks share it.  NULL: out of memory. */
struct ledger *ledger_new(void);
void ledger_free(struct ledger *ledger);

/* For a new child, which has begun nothing, before it is forked. */
void ledger_clear(struct ledger *ledger);
/* Messages that it has looked at, ... */
uint64_t ledger_opened(const struct ledger *ledger);
/* ... of which it is in the middle of the last. */
int ledger_is_open(const struct ledger *ledger);
/* Is it about this chunk? */
int ledger_is_of(const struct ledger *ledger, uint64_t chunk);
/* Tasks that are done. */
uint64_t ledger_done(const struct ledger *ledger);
/* When the task that runs began, 0: none does; and of which chunk it is.  All
   at one time: the child may live, and go on. */
int64_t ledger_running(const struct ledger *ledger, uint64_t *chunk);
/* The results of those that are done; returns how many parts. */
size_t ledger_parts(const struct ledger *ledger, struct transport_part *parts,
                    size_t most);

#endif
