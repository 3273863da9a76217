/* unmap.h -- gives back memory that was mapped, and that MPI never heard of.

   UCX watches munmap, and keeps a note of each call until it next looks at the
   memory that it has registered.  A rank that only passes messages on through
   shared memory never has it look: so each child that died left 400 bytes. */

#ifndef EZMPI_UNMAP_H
#define EZMPI_UNMAP_H

#include <sys/mman.h>

#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* NULL is allowed. */
static inline void
unmap(void *memory, size_t size)
{
    if (memory == NULL)
        return;
#ifdef __linux__
    syscall(SYS_munmap, memory, size);
#else
    munmap(memory, size);
#endif
}

#endif
