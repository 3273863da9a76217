/* helm.c -- a lock that is handed to who wants it, and watches over what its
   holder does. */

#include "helm.h"

#include <stddef.h>
#include <time.h>

#ifdef __linux__
#define WATCH_CLOCK CLOCK_MONOTONIC
#else
#define WATCH_CLOCK CLOCK_REALTIME /* pthreads' own, where it has no other */
#endif

/* Waits with a time on WATCH_CLOCK. */
static int
init_timed(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int status;

    if (pthread_condattr_init(&attributes) != 0)
        return -1;
#ifdef __linux__
    pthread_condattr_setclock(&attributes, WATCH_CLOCK);
#endif
    status = pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
    return status == 0 ? 0 : -1;
}

int
helm_init(struct helm *helm)
{
    if (pthread_mutex_init(&helm->lock, NULL) != 0)
        return -1;
    if (pthread_cond_init(&helm->is_free, NULL) != 0) {
        pthread_mutex_destroy(&helm->lock);
        return -1;
    }
    return 0;
}

void
helm_fini(struct helm *helm)
{
    pthread_cond_destroy(&helm->is_free);
    pthread_mutex_destroy(&helm->lock);
}

/* ---- the lock --------------------------------------------------------- */

static void
hold(struct helm *helm)
{
    helm->is_held = 1;
    helm->holder = pthread_self();
}

/* Those who wait in helm_take come first. */
int
helm_try(struct helm *helm)
{
    pthread_mutex_lock(&helm->lock);
    int is_ours = !helm->is_held && atomic_load(&helm->wanted) == 0;
    if (is_ours)
        hold(helm);
    pthread_mutex_unlock(&helm->lock);
    return is_ours;
}

void
helm_take(struct helm *helm, void (*hurry)(void *), void *of)
{
    pthread_mutex_lock(&helm->lock);
    atomic_fetch_add(&helm->wanted, 1);
    if (helm->is_held)
        hurry(of);
    while (helm->is_held)
        pthread_cond_wait(&helm->is_free, &helm->lock);
    atomic_fetch_sub(&helm->wanted, 1);
    hold(helm);
    pthread_mutex_unlock(&helm->lock);
}

static void
wake(struct helm_watch *watch)
{
    watch->is_woken = 1;
    pthread_cond_signal(&watch->changed);
}

/* One is enough: it drives, or wakes the next when it ends. */
static void
wake_driver(struct helm *helm)
{
    struct helm_watch *watch = helm->watches;
    while (watch != NULL && !watch->would_drive)
        watch = watch->next;
    if (watch != NULL)
        wake(watch);
}

void
helm_leave(struct helm *helm)
{
    pthread_mutex_lock(&helm->lock);
    helm->is_held = 0;
    if (atomic_load(&helm->wanted) > 0)
        pthread_cond_signal(&helm->is_free);
    else
        wake_driver(helm);
    pthread_mutex_unlock(&helm->lock);
}

int
helm_is_wanted(const struct helm *helm)
{
    return atomic_load_explicit(&helm->wanted, memory_order_relaxed) > 0;
}

int
helm_is_mine(struct helm *helm)
{
    pthread_mutex_lock(&helm->lock);
    int is_mine = helm->is_held && pthread_equal(helm->holder, pthread_self());
    pthread_mutex_unlock(&helm->lock);
    return is_mine;
}

/* ---- watching --------------------------------------------------------- */

int
helm_watch_begin(struct helm *helm, struct helm_watch *watch, const void *of,
                 int would_drive)
{
    *watch = (struct helm_watch){.of = of, .would_drive = would_drive};
    if (init_timed(&watch->changed) < 0)
        return -1;
    pthread_mutex_lock(&helm->lock);
    struct helm_watch **link = &helm->watches;
    while (*link != NULL)
        link = &(*link)->next;
    *link = watch;
    watch->is_woken = would_drive && !helm->is_held;
    pthread_mutex_unlock(&helm->lock);
    return 0;
}

void
helm_watch_wait(struct helm *helm, struct helm_watch *watch, double seconds)
{
    struct timespec until;
    clock_gettime(WATCH_CLOCK, &until);
    double whole = (double)(time_t)seconds;
    until.tv_sec += (time_t)whole;
    until.tv_nsec += (long)(1e9 * (seconds - whole));
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&helm->lock);
    int status = 0;
    while (!watch->is_woken && status == 0)
        status = pthread_cond_timedwait(&watch->changed, &helm->lock, &until);
    watch->is_woken = 0;
    pthread_mutex_unlock(&helm->lock);
}

/* Whoever was woken to drive, and does not, passes that on. */
void
helm_watch_end(struct helm *helm, struct helm_watch *watch)
{
    pthread_mutex_lock(&helm->lock);
    struct helm_watch **link = &helm->watches;
    while (*link != watch)
        link = &(*link)->next;
    *link = watch->next;
    if (watch->would_drive && !helm->is_held)
        wake_driver(helm);
    pthread_mutex_unlock(&helm->lock);
    pthread_cond_destroy(&watch->changed);
}

void
helm_notify(struct helm *helm, const void *of)
{
    pthread_mutex_lock(&helm->lock);
    for (struct helm_watch *watch = helm->watches; watch;
         watch = watch->next) {
        if (of == NULL || watch->of == of)
            wake(watch);
    }
    pthread_mutex_unlock(&helm->lock);
}
