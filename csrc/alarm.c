/* alarm.c -- a flag, and where the one sleeps that it is for.

   No ring is missed: one writes where it sleeps and then looks at the flag,
   the other writes that and then looks where one sleeps; both in an order that
   all threads agree on, so at least one of them sees what the other has
   written.  What is left to miss is between sleeper_sleep and sleeper_wake,
   and they do not (sleeper.c).

   A sleeper may be in shared memory that goes soon after the sleep.  So one
   thread takes it away to wake it, and who slept and finds it gone waits until
   it is released, which takes no longer than a call of the system.  Others
   leave the waking to that one.  So it must end the sleep also where the ring
   that it is for was heard before: a sleep is over when its bed is gone. */

#include "alarm.h"

#include <sched.h>
#include <stddef.h>

struct sleep {
    struct alarm *alarm;
    int (*has_come)(void *);        /* NULL: nothing comes */
    void *of;
};

void
alarm_ring(struct alarm *alarm)
{
    struct sleeper *sleeper;

    atomic_exchange(&alarm->rung, 1);
    sleeper = atomic_exchange(&alarm->bed, NULL);
    if (sleeper != NULL) {
        sleeper_wake(sleeper);
        atomic_store(&alarm->released, 1);
    }
}

int
alarm_hear(struct alarm *alarm)
{
    return atomic_load_explicit(&alarm->rung, memory_order_relaxed)
           && atomic_exchange(&alarm->rung, 0);
}

static int
is_over(void *sleep_)
{
    const struct sleep *sleep = sleep_;
    const struct alarm *alarm = sleep->alarm;

    return atomic_load_explicit(&alarm->rung, memory_order_relaxed)
           || atomic_load_explicit(&alarm->bed, memory_order_relaxed) == NULL
           || (sleep->has_come != NULL && sleep->has_come(sleep->of));
}

static void
sleep_in(struct sleeper *sleeper, double seconds, struct sleep *sleep)
{
    struct alarm *alarm = sleep->alarm;

    atomic_store(&alarm->released, 0);
    atomic_store(&alarm->bed, sleeper);
    sleeper_sleep(sleeper, seconds, is_over, sleep);
    if (atomic_exchange(&alarm->bed, NULL) == NULL) {
        while (!atomic_load(&alarm->released)) {
            sched_yield();
        }
    }
}

void
alarm_sleep(struct alarm *alarm, struct sleeper *sleeper, double seconds,
            int (*has_come)(void *), void *of)
{
    struct sleep sleep = {alarm, has_come, of};

    if (alarm == NULL) {
        sleeper_sleep(sleeper, seconds, has_come, of);
    }
    else {
        sleep_in(sleeper, seconds, &sleep);
    }
}

void
alarm_sleep_alone(struct alarm *alarm, double seconds)
{
    struct sleep sleep = {alarm, NULL, NULL};

    sleep_in(&alarm->own, seconds, &sleep);
}
