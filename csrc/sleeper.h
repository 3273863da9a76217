/* sleeper.h -- a sleep that others can end: other threads, or other processes
   that share the memory.  Plain C. */

#ifndef EZMPI_SLEEPER_H
#define EZMPI_SLEEPER_H

#include <stdatomic.h>
#include <stdint.h>

/* All zero at first. */
struct sleeper {
    _Atomic uint32_t asleep;
};

/* Sleeps until it is woken, a signal comes or the seconds are over; not at all
   if has_come says that what it would be woken for has come.  Where there is
   no such thing, nothing but a signal wakes. */
void sleeper_sleep(struct sleeper *sleeper, double seconds,
                   int (*has_come)(void *), void *of);
/* After what has_come looks at was written. */
void sleeper_wake(struct sleeper *sleeper);

#endif
