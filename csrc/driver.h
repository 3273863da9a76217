/* driver.h -- the thread that drives where nobody waits.

   It starts with the first job that goes on in the background, and tells
   futures that have callbacks.  While other threads run Python code it keeps
   the workers busy without the GIL, with chunks drawn ahead, and takes the GIL
   for many answers at once.  Where nothing is unfinished it sleeps. */

#ifndef EZMPI_DRIVER_H
#define EZMPI_DRIVER_H

#include "crew.h"

#define DRIVER_CAPSULE "ezmpi crew"      /* what ezmpi._driver is given */

/* Has the thread started, if it was not; it watches the crew.  Where MPI
   allows one thread only, it does not drive.  Needs the GIL, no helm.  -1:
   exception set. */
int driver_start(struct crew *crew);
/* What the thread runs, until it is stopped.  Needs the GIL.  -1: exception
   set; then the next that begins in the background starts another. */
int driver_run(struct crew *crew);
/* Has it end, soon and for good. */
void driver_stop(struct crew *crew);

#endif
