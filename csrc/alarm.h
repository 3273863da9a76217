/* alarm.h -- what ends the sleep of one thread from any other of the process.

   It stays rung until it is heard, so it may be rung before the sleep.  Not in
   a forked child, which may lack the memory that the sleeper is in. */

#ifndef EZMPI_ALARM_H
#define EZMPI_ALARM_H

#include "sleeper.h"

/* All zero at first. */
struct alarm {
    _Atomic int rung;
    _Atomic(struct sleeper *) bed; /* to be woken; NULL: nobody sleeps, or */
    _Atomic int released; /* a thread rings, until this is 1 */
    struct sleeper own;
};

/* Any thread, at any time; never blocks. */
void alarm_ring(struct alarm *alarm);

/* Was it rung since the last time?  Then all that a thread did before it rang
   is seen. */
int alarm_hear(struct alarm *alarm);

/* As sleeper_sleep, but also ended by the alarm, or at once if that is rung.
   One thread at a time.  alarm NULL: none.  Nobody uses sleeper for it once
   this has returned. */
void alarm_sleep(struct alarm *alarm, struct sleeper *sleeper, double seconds,
                 int (*has_come)(void *), void *of);
/* Where nothing else could end it. */
void alarm_sleep_alone(struct alarm *alarm, double seconds);

#endif
