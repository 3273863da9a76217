/* forked.c -- a page of memory that the kernel wipes in children, where it
   does that (Linux 4.14), or else the process id, which is a system call. */

#include "forked.h"

#include <sys/mman.h>
#include <unistd.h>

#if defined(__linux__) && !defined(MADV_WIPEONFORK)
#define MADV_WIPEONFORK 18      /* headers may be older than the kernel */
#endif

struct forked
forked_here(void)
{
    struct forked here = {.pid = getpid()};
#ifdef MADV_WIPEONFORK
    char *page = mmap(NULL, 1, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return here;
    /* Some emulators say yes to whatever they are asked. */
    if (madvise(page, 1, -1) == 0 || madvise(page, 1, MADV_WIPEONFORK) < 0) {
        munmap(page, 1);
        return here;
    }
    *page = 1;
    here.mark = page;
#endif
    return here;
}

int
forked_since(const struct forked *here)
{
    return here->mark != NULL ? *here->mark == 0 : getpid() != here->pid;
}
