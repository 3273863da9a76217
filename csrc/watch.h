/* watch.h -- a thread that looks at something now and then.

   Plain C; what it looks at is the caller's. */

#ifndef EZMPI_WATCH_H
#define EZMPI_WATCH_H

struct watch;

/* Calls look(of) every so many seconds, in a thread that gets no signals.
   NULL: there can be none. */
struct watch *watch_start(double seconds, void (*look)(void *of), void *of);
/* Not from look, which runs no more when this returns.  NULL: none. */
void watch_stop(struct watch *watch);

#endif
