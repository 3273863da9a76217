/* future.h -- results to those who wait for them: futures.

   A future is any object with set_result and set_exception.  Whatever its done
   callbacks do, they must not do it in a thread that waits for something else
   and may hold the user's locks: so one that has callbacks is told by the
   driver's thread (master.h).  Needs the GIL. */

#ifndef EZMPI_FUTURE_H
#define EZMPI_FUTURE_H

#include "compat.h"

struct futures;

struct futures *futures_new(void);              /* NULL: exception set */
void futures_free(struct futures *futures);     /* NULL is allowed */

/* Tells the future (borrowed, as value), now or as soon as the driver's thread
   can.  1: now; 0: later; errors are written out, not raised. */
int future_settle(struct futures *futures, PyObject *future, PyObject *value,
                  int is_failure);
/* An exception of a signal's handler that came while one was told: -1, and it
   is set; 0: there is none. */
int future_raise(struct futures *futures);
/* Tells those that are left to the driver's thread; in which what their
   callbacks raise is no signal's. */
void futures_call(struct futures *futures, int gets_signals);
/* Are there such?  Needs no GIL. */
int futures_are_left(const struct futures *futures);

#endif
