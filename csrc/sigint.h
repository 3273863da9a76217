/* sigint.h -- Ctrl-C on a worker: the master decides what it means.

   The user's handler is in force around the user's code only.  And one Ctrl-C
   is one: it may come to a worker later than to the master, and must not end a
   task of what the master has begun meanwhile.

   All of this needs the GIL. */

#ifndef EZMPI_SIGINT_H
#define EZMPI_SIGINT_H

#include <signal.h>

/* SIGINT is ignored from here on; what was done with it before is returned, to
   be put back by sigint_heed, unless a handler was set meanwhile. */
struct sigaction sigint_ignore(void);
void sigint_heed(const struct sigaction *users);

/* The same, before what is the worker's own; what came until here ends nothing
   (sigint_look).  -1: exception set, and SIGINT is heeded. */
int sigint_begin_own(struct sigaction *users);

/* Runs pending signal handlers, of all signals.  -1: exception set, of a
   handler; but a KeyboardInterrupt is dropped, for no task runs. */
int sigint_look(void);

/* In a worker's rank whose tasks run in a child: the same, and what a handler
   raises ends a task there, which gets the same signals, and nothing here; it
   is written to standard error. */
void sigint_report(void);

/* The same, before what Python's code must do undisturbed: no handler runs in
   this thread until sigint_release. */
void sigint_hold(sigset_t *before);
void sigint_release(const sigset_t *before);

/* The master's Ctrl-C may still be on its way here: what comes in so many
   seconds is dropped, also where the user's handler is in force; 0: that is
   over.  Not in others than Python's main thread, which gets none.  -1:
   exception set. */
int sigint_expect(double seconds);

#endif
