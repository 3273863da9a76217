/* forked.h -- is this process still the one that it was, or a forked child?

   Cheap enough to be asked after every task.  Plain C. */

#ifndef EZMPI_FORKED_H
#define EZMPI_FORKED_H

#include <sys/types.h>

struct forked {
    const volatile char *mark;  /* 0 in a child; NULL: there is none */
    pid_t pid;
};

struct forked forked_here(void);        /* this process */
int forked_since(const struct forked *here);

#endif
