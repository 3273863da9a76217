/* patience.c -- how a rank waits. */

#include "patience.h"

#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SPIN_SECONDS 50e-6
#define SPINS 8                     /* to one look at the clock */
#define YIELD_SECONDS 1e-3
/* Where others want the processor a yield comes back at once and takes a turn
   that a task could have: measured, 8 ranks on 2 cores get 8500 tasks of 200
   us done instead of 7500 a second. */
#define CROWDED_YIELD_SECONDS 20e-6
#define CROWDED_SLEEP 200e-6        /* at least */
#define SLEEP_SHARE 0.1             /* of the time waited so far, */
#define SLEEP_LIMIT 1e-3            /* at most this, */
#define LONG_SECONDS 1.0            /* and after so long ... */
#define LONG_SLEEP_LIMIT 2e-3       /* ... this */

double
patience_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void
patience_sleep(double seconds)
{
    struct timespec time = {0, (long)(seconds * 1e9)};

    nanosleep(&time, NULL);
}

/* How long, when so much was waited already. */
static double
sleep_after(double waited, int crowded)
{
    double share = waited * SLEEP_SHARE;
    double limit = waited < LONG_SECONDS ? SLEEP_LIMIT : LONG_SLEEP_LIMIT;

    if (crowded && share < CROWDED_SLEEP) {
        return CROWDED_SLEEP;
    }
    return share < limit ? share : limit;
}

void
patience_rest(struct patience *patience)
{
    double waited = patience->before + patience->waited;
    double yields = patience->crowded ? CROWDED_YIELD_SECONDS : YIELD_SECONDS;

    if (!patience->crowded && waited < SPIN_SECONDS
        && ++patience->spins % SPINS != 0) {
        return;
    }
    if (patience->began == 0) {
        patience->began = patience_now();
    }
    if (waited >= yields) {
        double seconds = sleep_after(waited, patience->crowded);
        if (patience->sleep == NULL) {
            patience_sleep(seconds);
        }
        else {
            patience->sleep(patience, seconds);
        }
    }
    else if (waited >= SPIN_SECONDS || patience->crowded) {
        sched_yield();
    }
    patience->waited = patience_now() - patience->began;
}

/* Asks the environment, since asking the other ranks would be collective. */
int
patience_crowded(int ranks, int each)
{
    static const char *const names[] = {
        "MPI_LOCALNRANKS",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
        "MV2_COMM_WORLD_LOCAL_SIZE",
        "SLURM_STEP_TASKS_PER_NODE",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && atoi(value) > 0) {
            ranks = atoi(value);
            break;
        }
    }
    return (long)ranks * each > sysconf(_SC_NPROCESSORS_ONLN);
}
