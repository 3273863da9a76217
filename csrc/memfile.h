/* memfile.h -- a file without a name, in memory, which processes share.

   The system call by its number: C libraries have it only since glibc 2.27. */

#ifndef EZMPI_MEMFILE_H
#define EZMPI_MEMFILE_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/types.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/syscall.h>
#endif

/* 64 bits: of addresses in the file, and for counters that several processes
   see, which must not need a lock of one. */
#if defined(SYS_memfd_create) && defined(__LP64__)
#define HAS_MEMFILES 1

#define MEMFILE_CLOSE_ON_EXEC 1u /* MFD_CLOEXEC and ... */
#define MEMFILE_NOT_RUN 8u /* ... MFD_NOEXEC_SEAL, which old headers lack */

/* -1: errno says why.  Newer kernels may want the second flag, which older
   ones do not know. */
static inline int
memfile_new(const char *name)
{
    int file = (int)syscall(SYS_memfd_create, name,
                            MEMFILE_CLOSE_ON_EXEC | MEMFILE_NOT_RUN);

    return file >= 0 || errno != EINVAL
               ? file
               : (int)syscall(SYS_memfd_create, name, MEMFILE_CLOSE_ON_EXEC);
}

/* Sets memory aside: where there is none, a write would be SIGBUS.  -1: there
   is none. */
static inline int
memfile_reserve(int file, off_t at, size_t size)
{
    int status;

    do {
        status = fallocate(file, 0, at, (off_t)size);
    } while (status < 0 && errno == EINTR);
    return status;
}
#else
#define HAS_MEMFILES 0
#endif

#endif
