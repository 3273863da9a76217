/* sleeper.c -- a futex.

   No wake-up is missed: one writes that it sleeps and then looks for what may
   have come, the other writes that and then looks whether one sleeps; and with
   a fence between, at least one of them sees what the other has written. */

#include "sleeper.h"

#include <time.h>

static struct timespec
timespec_of(double seconds)
{
    time_t whole = (time_t)seconds;

    return (struct timespec){whole, (long)(1e9 * (seconds - (double)whole))};
}

#if defined(__linux__) && defined(__LP64__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static void
futex(struct sleeper *sleeper, int operation, uint32_t value,
      const struct timespec *time)
{
    syscall(SYS_futex, &sleeper->asleep, operation, value, time, NULL, 0);
}

void
sleeper_sleep(struct sleeper *sleeper, double seconds, int (*has_come)(void *),
              void *of)
{
    struct timespec time = timespec_of(seconds);

    atomic_store_explicit(&sleeper->asleep, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (!has_come(of)) {
        futex(sleeper, FUTEX_WAIT, 1, &time);
    }
    atomic_store_explicit(&sleeper->asleep, 0, memory_order_relaxed);
}

void
sleeper_wake(struct sleeper *sleeper)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&sleeper->asleep, memory_order_relaxed)
        && atomic_exchange(&sleeper->asleep, 0)) {
        futex(sleeper, FUTEX_WAKE, 1, NULL);
    }
}
#else
/* Nobody shares memory there (segment.c), and threads wait for its end. */
void
sleeper_sleep(struct sleeper *sleeper, double seconds, int (*has_come)(void *),
              void *of)
{
    struct timespec time = timespec_of(seconds);

    (void)sleeper;
    if (!has_come(of)) {
        nanosleep(&time, NULL);
    }
}

void
sleeper_wake(struct sleeper *sleeper)
{
    (void)sleeper;
}
#endif
