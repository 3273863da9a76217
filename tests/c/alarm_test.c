/* alarm_test.c -- rings that nobody misses, before a sleep and in it.

   A sleep that misses one lasts for good, and the test's time is limited. */

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "alarm.h"
#include "check.h"

#define LONG 1000.0                 /* seconds */
#define TURNS 100000
#define RINGERS 3
#define BEDS 2000

static struct alarm alarm_;         /* unistd.h has a function alarm */
static struct sleeper shared;
static _Atomic int turn;
static int written;                 /* by who rings, before that */
static _Atomic int came;

static int
has_come(void *of)
{
    (void)of;
    return came;
}

static void
reset(void)
{
    alarm_ = (struct alarm){0};
    turn = written = came = 0;
}

static void
test_rung_before(void)
{
    reset();
    CHECK(!alarm_hear(&alarm_));
    alarm_ring(&alarm_);
    alarm_ring(&alarm_);
    alarm_sleep_alone(&alarm_, LONG);
    alarm_sleep(&alarm_, &shared, LONG, has_come, NULL);
    CHECK(alarm_hear(&alarm_));
    CHECK(!alarm_hear(&alarm_));
    alarm_sleep_alone(&alarm_, 1e-3);
    CHECK(!alarm_hear(&alarm_));
}

static void *
ring_turns(void *unused)
{
    for (int i = 0; i < TURNS; i++) {
        for (volatile int wait = rand() % 2000; wait > 0; wait--) {
        }
        written = i;
        alarm_ring(&alarm_);
        while (turn == i) {
            sched_yield();
        }
    }
    return unused;
}

static void
test_turns(int alone)
{
    pthread_t ringer;

    reset();
    CHECK(pthread_create(&ringer, NULL, ring_turns, NULL) == 0);
    for (int i = 0; i < TURNS; i++) {
        while (!alarm_hear(&alarm_)) {
            if (alone) {
                alarm_sleep_alone(&alarm_, LONG);
            }
            else {
                alarm_sleep(&alarm_, &shared, LONG, has_come, NULL);
            }
        }
        CHECK(written == i);
        turn = i + 1;
    }
    CHECK(pthread_join(ringer, NULL) == 0);
}

static void *
come(void *unused)
{
    came = 1;
    sleeper_wake(&shared);
    return unused;
}

/* What the sleeper is there for still ends the sleep. */
static void
test_woken(void)
{
    for (int i = 0; i < 1000; i++) {
        pthread_t comer;
        reset();
        CHECK(pthread_create(&comer, NULL, come, NULL) == 0);
        while (!came) {
            alarm_sleep(&alarm_, &shared, LONG, has_come, NULL);
        }
        CHECK(!alarm_hear(&alarm_));
        CHECK(pthread_join(comer, NULL) == 0);
    }
}

/* The second half of alarm_ring, by a thread that was interrupted before it
   and goes on as soon as one sleeps. */
static void *
ring_late(void *unused)
{
    struct sleeper *bed;

    do {
        bed = atomic_exchange(&alarm_.bed, NULL);
    } while (bed == NULL);
    sleeper_wake(bed);
    atomic_store(&alarm_.released, 1);
    return unused;
}

/* Whoever took the bed ends the sleep, though the ring was heard before: for
   others leave that to it. */
static void
test_heard_before(void)
{
    for (int i = 0; i < 200; i++) {
        pthread_t ringer;
        reset();
        CHECK(pthread_create(&ringer, NULL, ring_late, NULL) == 0);
        sched_yield();
        alarm_sleep_alone(&alarm_, LONG);
        CHECK(pthread_join(ringer, NULL) == 0);
    }
}

static void *
ring_on(void *unused)
{
    while (!came) {
        alarm_ring(&alarm_);
    }
    return unused;
}

/* Nobody touches a sleeper after the sleep: the sanitizers watch. */
static void
test_sleeper_goes(void)
{
    pthread_t ringers[RINGERS];

    reset();
    for (int i = 0; i < RINGERS; i++) {
        CHECK(pthread_create(&ringers[i], NULL, ring_on, NULL) == 0);
    }
    for (int i = 0; i < BEDS; i++) {
        struct sleeper *bed = calloc(1, sizeof(*bed));
        alarm_hear(&alarm_);
        alarm_sleep(&alarm_, bed, LONG, has_come, NULL);
        free(bed);
    }
    came = 1;
    for (int i = 0; i < RINGERS; i++) {
        CHECK(pthread_join(ringers[i], NULL) == 0);
    }
}

int
main(void)
{
    test_rung_before();
    test_turns(1);
    test_turns(0);
    test_woken();
    test_heard_before();
    test_sleeper_goes();
    return 0;
}
