/* reach.c -- process_vm_readv, as MPIs use it on one host. */

#include "reach.h"

#include <errno.h>

#ifdef __linux__
#include <sys/uio.h>

int
reach_read(pid_t process, uint64_t address, void *base, size_t size)
{
    size_t done = 0;

    while (done < size) {
        struct iovec here = {(char *)base + done, size - done};
        struct iovec there = {(void *)(uintptr_t)(address + done),
                              size - done};
        ssize_t count = process_vm_readv(process, &here, 1, &there, 1, 0);
        if (count < 0 && errno != EINTR) {
            return errno;
        }
        if (count == 0) {
            return EFAULT;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    return 0;
}
#else
int
reach_read(pid_t process, uint64_t address, void *base, size_t size)
{
    (void)process, (void)address, (void)base, (void)size;
    return ENOSYS;
}
#endif
