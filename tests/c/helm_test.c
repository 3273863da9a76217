/* helm_test.c -- threads that want the helm, and threads that watch.

   With an argument: so many rounds where many are played, for a sanitizer. */

#include "helm.h"

#include <sched.h>
#include <time.h>

#include "check.h"

#define THREADS 4
#define LONG 60.0 /* seconds: a wait that must end before */
#define MOMENT 0.02

static int rounds = 100000;

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void
pause_for(double seconds)
{
    struct timespec time = {0, (long)(1e9 * seconds)};
    nanosleep(&time, NULL);
}

static pthread_t
start(void *(*run)(void *), void *of)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run, of) == 0);
    return thread;
}

static void
join(pthread_t thread)
{
    CHECK(pthread_join(thread, NULL) == 0);
}

static void
count_call(void *calls)
{
    (*(int *)calls)++;
}

/* ---- the lock --------------------------------------------------------- */

struct shared {
    struct helm helm;
    long count; /* no atomic: the helm guards it */
    _Atomic int inside;
    _Atomic int is_over;
    _Atomic long hurries;
};

static void
init(struct shared *shared)
{
    *shared = (struct shared){.count = 0};
    CHECK(helm_init(&shared->helm) == 0);
}

static void
hurry(void *shared)
{
    struct shared *helm_shared = shared;
    helm_shared->hurries++;
}

static void
be_inside(struct shared *shared)
{
    CHECK(shared->inside++ == 0);
    CHECK(helm_is_mine(&shared->helm));
    shared->count++;
    if (shared->count % 16 == 0)
        sched_yield();
    CHECK(--shared->inside == 0);
    helm_leave(&shared->helm);
}

static void *
take_often(void *shared_)
{
    struct shared *shared = shared_;
    for (int i = 0; i < rounds / THREADS; i++) {
        helm_take(&shared->helm, hurry, shared);
        be_inside(shared);
    }
    return NULL;
}

static void *
try_often(void *shared_)
{
    struct shared *shared = shared_;
    for (int i = 0; i < rounds / THREADS;) {
        if (helm_try(&shared->helm)) {
            be_inside(shared);
            i++;
        }
        else
            sched_yield();
    }
    return NULL;
}

/* Never two at once, and nobody starves. */
static void
test_exclusion(void)
{
    struct shared shared;
    pthread_t threads[2 * THREADS];
    init(&shared);
    for (int i = 0; i < 2 * THREADS; i++)
        threads[i] = start(i % 2 ? take_often : try_often, &shared);
    for (int i = 0; i < 2 * THREADS; i++)
        join(threads[i]);
    CHECK(shared.count == 2 * (rounds / THREADS) * (long)THREADS);
    CHECK(!helm_is_wanted(&shared.helm) && !helm_is_mine(&shared.helm));
    CHECK(shared.hurries <= shared.count / 2);
}

static void *
is_it_mine(void *shared_)
{
    struct shared *shared = shared_;
    CHECK(!helm_is_mine(&shared->helm) && !helm_try(&shared->helm));
    return NULL;
}

static void
test_holder(void)
{
    struct shared shared;
    int calls = 0;
    init(&shared);
    CHECK(!helm_is_mine(&shared.helm));
    helm_take(&shared.helm, count_call, &calls);
    CHECK(calls == 0); /* it was free */
    CHECK(helm_is_mine(&shared.helm) && !helm_is_wanted(&shared.helm));
    join(start(is_it_mine, &shared));
    CHECK(!helm_try(&shared.helm));
    helm_leave(&shared.helm);
    CHECK(!helm_is_mine(&shared.helm) && helm_try(&shared.helm));
    helm_leave(&shared.helm);
}

static void *
take_once(void *shared_)
{
    struct shared *shared = shared_;
    helm_take(&shared->helm, hurry, shared);
    shared->is_over = 1;
    while (shared->inside == 0) /* until the test has seen it */
        sched_yield();
    helm_leave(&shared->helm);
    return NULL;
}

/* Whoever holds it is told once to hurry, and whoever only tries comes after
   those who wait. */
static void
test_wanted(void)
{
    struct shared shared;
    init(&shared);
    CHECK(helm_try(&shared.helm));
    pthread_t taker = start(take_once, &shared);
    while (shared.hurries == 0)
        sched_yield();
    CHECK(helm_is_wanted(&shared.helm));
    pause_for(MOMENT);
    CHECK(shared.hurries == 1 && !shared.is_over);
    helm_leave(&shared.helm);
    CHECK(!helm_try(&shared.helm)); /* at once: it is the other's */
    while (!shared.is_over)
        sched_yield();
    CHECK(!helm_is_wanted(&shared.helm) && !helm_is_mine(&shared.helm));
    CHECK(!helm_try(&shared.helm));
    shared.inside = 1;
    join(taker);
    CHECK(helm_try(&shared.helm) && shared.hurries == 1);
}

/* ---- watching --------------------------------------------------------- */

struct watcher {
    struct helm *helm;
    const void *of;
    int would_drive;
    double seconds;
    _Atomic int watches; /* it has begun */
    _Atomic int is_awake;
    _Atomic int may_end;
};

static void *
watch(void *watcher_)
{
    struct watcher *watcher = watcher_;
    struct helm_watch place;
    CHECK(helm_watch_begin(watcher->helm, &place, watcher->of,
                           watcher->would_drive)
          == 0);
    watcher->watches = 1;
    helm_watch_wait(watcher->helm, &place, watcher->seconds);
    watcher->is_awake = 1;
    while (!watcher->may_end)
        sched_yield();
    helm_watch_end(watcher->helm, &place);
    return NULL;
}

/* Starts it, and waits until it watches: so watchers stand in order. */
static pthread_t
start_watcher(struct watcher *watcher)
{
    pthread_t thread = start(watch, watcher);
    while (!watcher->watches)
        sched_yield();
    return thread;
}

static int
wakes(const struct watcher *watcher)
{
    double until = now() + LONG;
    while (!watcher->is_awake && now() < until)
        pause_for(1e-4);
    return watcher->is_awake;
}

static int
sleeps_on(const struct watcher *watcher)
{
    pause_for(MOMENT);
    return !watcher->is_awake;
}

/* Those who watch this, and only they; or all. */
static void
test_notify(void)
{
    struct shared shared;
    int one, other;
    init(&shared);
    struct watcher watchers[] = {{&shared.helm, &one, 0, LONG, 0, 0, 1},
                                 {&shared.helm, &other, 0, LONG, 0, 0, 1},
                                 {&shared.helm, &one, 0, LONG, 0, 0, 1},
                                 {&shared.helm, &other, 0, LONG, 0, 0, 1}};
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        threads[i] = start_watcher(&watchers[i]);
    helm_notify(&shared.helm, &shared);
    CHECK(sleeps_on(&watchers[0]) && sleeps_on(&watchers[1]));
    helm_notify(&shared.helm, &one);
    CHECK(wakes(&watchers[0]) && wakes(&watchers[2]));
    CHECK(sleeps_on(&watchers[1]) && sleeps_on(&watchers[3]));
    CHECK(helm_try(&shared.helm));
    helm_leave(&shared.helm); /* they would not drive */
    CHECK(sleeps_on(&watchers[1]) && sleeps_on(&watchers[3]));
    helm_notify(&shared.helm, NULL);
    CHECK(wakes(&watchers[1]) && wakes(&watchers[3]));
    for (int i = 0; i < 4; i++)
        join(threads[i]);
    CHECK(shared.helm.watches == NULL);
}

static void
test_time(void)
{
    struct shared shared;
    struct helm_watch watch;
    init(&shared);
    CHECK(helm_watch_begin(&shared.helm, &watch, &shared, 0) == 0);
    for (int i = 0; i < 3; i++) {
        double began = now(), seconds = i < 2 ? MOMENT : 0.99;
        helm_watch_wait(&shared.helm, &watch, seconds);
        CHECK(now() - began >= seconds && now() - began < LONG / 2);
    }
    helm_watch_wait(&shared.helm, &watch, 0);
    helm_watch_end(&shared.helm, &watch);
}

/* What happens between begin and wait ends the wait, and so does what happens
   between two waits; once. */
static void
test_before_wait(void)
{
    struct shared shared;
    struct helm_watch watch;
    init(&shared);
    CHECK(helm_watch_begin(&shared.helm, &watch, &shared, 0) == 0);
    for (int i = 0; i < 3; i++) {
        double began = now();
        helm_notify(&shared.helm, &shared);
        helm_notify(&shared.helm, &shared);
        helm_watch_wait(&shared.helm, &watch, LONG);
        CHECK(now() - began < LONG / 2);
    }
    double began = now();
    helm_watch_wait(&shared.helm, &watch, MOMENT);
    CHECK(now() - began >= MOMENT);
    helm_watch_end(&shared.helm, &watch);
}

struct turns {
    struct helm helm;
    _Atomic int turn;
};

/* Waits for each odd number, and makes it even. */
static void *
take_turns(void *turns_)
{
    struct turns *turns = turns_;
    for (int i = 1; i < 2 * rounds; i += 2) {
        while (turns->turn != i) {
            struct helm_watch watch;
            CHECK(helm_watch_begin(&turns->helm, &watch, turns, 0) == 0);
            if (turns->turn != i) {
                double began = now();
                helm_watch_wait(&turns->helm, &watch, LONG);
                CHECK(now() - began < LONG / 2);
            }
            helm_watch_end(&turns->helm, &watch);
        }
        turns->turn++;
    }
    return NULL;
}

/* A lost wake-up would take LONG. */
static void
test_no_wake_is_lost(void)
{
    struct turns turns = {.turn = 0};
    CHECK(helm_init(&turns.helm) == 0);
    pthread_t thread = start(take_turns, &turns);
    for (int i = 1; i < 2 * rounds; i += 2) {
        turns.turn = i;
        helm_notify(&turns.helm, i % 3 ? &turns : NULL);
        while (turns.turn == i)
            sched_yield();
    }
    join(thread);
}

/* ---- watching to drive ------------------------------------------------ */

/* A helm that is left wakes one who would drive, and that one's end the next,
   unless somebody has it. */
static void
test_would_drive(void)
{
    struct shared shared;
    init(&shared);
    struct watcher idler = {&shared.helm, &shared, 0, LONG, 0, 0, 1};
    struct watcher drivers[3];
    pthread_t threads[3], idle;
    CHECK(helm_try(&shared.helm));
    idle = start_watcher(&idler);
    for (int i = 0; i < 3; i++) {
        drivers[i] = (struct watcher){&shared.helm, &shared, 1, LONG, 0, 0, 0};
        threads[i] = start_watcher(&drivers[i]);
    }
    helm_leave(&shared.helm);
    CHECK(wakes(&drivers[0]) && sleeps_on(&drivers[1]));
    drivers[0].may_end = 1; /* it does not drive */
    join(threads[0]);
    CHECK(wakes(&drivers[1]) && sleeps_on(&drivers[2]));
    CHECK(helm_try(&shared.helm));
    drivers[1].may_end = 1;
    join(threads[1]);
    CHECK(sleeps_on(&drivers[2]));
    helm_leave(&shared.helm);
    CHECK(wakes(&drivers[2]) && !idler.is_awake);
    drivers[2].may_end = 1;
    join(threads[2]);
    helm_notify(&shared.helm, &shared);
    join(idle);
}

/* Whoever begins to watch a helm that is free need not wait. */
static void
test_free_helm(void)
{
    struct shared shared;
    struct helm_watch watch;
    double began = now();
    init(&shared);
    CHECK(helm_watch_begin(&shared.helm, &watch, &shared, 1) == 0);
    helm_watch_wait(&shared.helm, &watch, LONG);
    CHECK(now() - began < LONG / 2);
    helm_watch_end(&shared.helm, &watch);
}

/* Who waits in helm_take goes before who would drive; who is woken when that
   one leaves. */
static void
test_taker_first(void)
{
    struct shared shared;
    init(&shared);
    struct watcher driver = {&shared.helm, &shared, 1, LONG, 0, 0, 1};
    CHECK(helm_try(&shared.helm));
    pthread_t one = start_watcher(&driver);
    pthread_t other = start(take_once, &shared);
    while (shared.hurries == 0)
        sched_yield();
    helm_leave(&shared.helm);
    while (!shared.is_over)
        sched_yield();
    CHECK(sleeps_on(&driver));
    shared.inside = 1;
    join(other);
    CHECK(wakes(&driver));
    join(one);
}

struct relay {
    struct helm helm;
    int driven; /* guarded by the helm */
    _Atomic int is_over;
};

/* Drives once whenever it gets the helm, or watches: as master.c does. */
static void *
drive_or_watch(void *relay_)
{
    struct relay *relay = relay_;
    while (!relay->is_over) {
        if (helm_try(&relay->helm)) {
            int driven = ++relay->driven;
            relay->is_over |= driven == rounds;
            helm_leave(&relay->helm);
            if (driven % 64 == 0)
                sched_yield();
            continue;
        }
        struct helm_watch watch;
        double began = now();
        CHECK(helm_watch_begin(&relay->helm, &watch, relay, 1) == 0);
        if (!relay->is_over)
            helm_watch_wait(&relay->helm, &watch, LONG);
        CHECK(now() - began < LONG / 2);
        helm_watch_end(&relay->helm, &watch);
    }
    helm_notify(&relay->helm, relay);
    return NULL;
}

/* The helm is never left lying while somebody would drive. */
static void
test_relay(void)
{
    struct relay relay = {.driven = 0};
    pthread_t threads[THREADS];
    CHECK(helm_init(&relay.helm) == 0);
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(drive_or_watch, &relay);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    CHECK(relay.driven >= rounds && relay.helm.watches == NULL);
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    test_holder();
    test_wanted();
    test_exclusion();
    test_notify();
    test_time();
    test_before_wait();
    test_no_wake_is_lost();
    test_would_drive();
    test_free_helm();
    test_taker_first();
    test_relay();
    return 0;
}
