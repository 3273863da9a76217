/* flush.h -- writes out what C code has in buffers, before a process forks or
   leaves by _exit. */

#ifndef EZMPI_FLUSH_H
#define EZMPI_FLUSH_H

#include <stdio.h>

/* A thread that reads a line, with the GIL free, has stdin locked until the
   line comes, and fflush(NULL) would wait for it.  Who holds the GIL keeps one
   from beginning meanwhile.  What else C code has open then stays as it is. */
static inline void
flush_output(void)
{
    if (ftrylockfile(stdin) != 0) {
        fflush(stdout);
        fflush(stderr);
        return;
    }
    funlockfile(stdin);
    fflush(NULL);
}

#endif
