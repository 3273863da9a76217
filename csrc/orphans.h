/* orphans.h -- processes that a guard's child has started and, dying, left.
   Runs in the worker's rank.

   On Linux they become that process's own, and can be ended; elsewhere they
   live on.  A task that hangs in a program that it started is ended with it.
   Plain C. */

#ifndef EZMPI_ORPHANS_H
#define EZMPI_ORPHANS_H

struct orphans;

/* Those that are left from here on will be ours.  NULL: out of memory. */
struct orphans *orphans_new(void);

/* Children that this process has by now are no orphans. */
void orphans_spare(struct orphans *orphans);
/* Ends all others, and theirs. */
void orphans_end(const struct orphans *orphans);
/* Lets go of those that have ended by themselves. */
void orphans_reap(const struct orphans *orphans);

#endif
