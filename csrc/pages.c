/* pages.c -- large memory in large pages.

   The first touch of a page costs a fault, on a virtual machine some
   microseconds: for fresh memory in small pages that is more than to copy
   into it.  numpy asks for large pages in the same way, from the same size
   (alloc.cpp, indicate_hugepages). */

#include "pages.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE ((size_t)4 << 20)

void
pages_enlarge(void *base, size_t size)
{
#ifdef MADV_HUGEPAGE
    if (size < LARGE)
        return;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)base + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)base + size) / page * page;
    (void)madvise((void *)first, end - first, MADV_HUGEPAGE);
#else
    (void)base, (void)size;
#endif
}
