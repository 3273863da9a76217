/* coverage.c -- what was counted is written by processes that leave by _exit.

   Preloaded (with PRELOADED) it is the one _exit that all call.  Linked into each
   object of a build with EZMPI_COVERAGE=1, it says what writes the counts of
   that one: each has its own. */

#include <stddef.h>

void coverage_enlist(void (*dump)(void));

#ifdef PRELOADED
#include <sys/syscall.h>
#include <unistd.h>

#define OBJECTS 16

static struct {
    void (*dumps[OBJECTS])(void);
    size_t count;
} objects;

void
coverage_enlist(void (*dump)(void))
{
    if (objects.count < OBJECTS)
        objects.dumps[objects.count++] = dump;
}

void
_exit(int code)
{
    size_t count = objects.count;
    objects.count = 0; /* once, if another thread or a signal comes by */
    for (size_t i = 0; i < count; i++)
        objects.dumps[i]();
    for (;;)
        syscall(SYS_exit_group, code);
}
#else
#pragma weak coverage_enlist

void __gcov_dump(void);

static __attribute__((constructor)) void
enlist(void)
{
    if (coverage_enlist != NULL)
        coverage_enlist(__gcov_dump);
}
#endif
