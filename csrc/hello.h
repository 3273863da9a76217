/* hello.h -- do all ranks of a job run the same ezmpi and Python, and which of
   them isolate their tasks?

   What a worker says before all else; the master hears all of it before it
   sends anything.  So it costs one message a worker, at the first pool on a
   communicator.  Functions need the GIL; -1: exception set. */

#ifndef EZMPI_HELLO_H
#define EZMPI_HELLO_H

#include "crew.h"

/* A worker says what it runs; once a crew. */
int hello_say(struct crew *crew);

/* The master waits, the GIL free, until all have said so; once a crew.  Takes
   the helm.  A TransportError where one runs something else. */
int hello_await(struct crew *crew);

/* Takes in what a worker says, also where it has before. */
int hello_hear(struct crew *crew, const struct letter *letter);

#endif
