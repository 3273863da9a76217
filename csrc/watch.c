/* watch.c -- a thread, and a condition to end it by. */

#include "watch.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

struct watch {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    int is_stopped;
    double seconds;
    void (*look)(void *of);
    void *of;
};

static struct timespec
in_seconds(double seconds)
{
    struct timespec time;
    double whole;

    clock_gettime(CLOCK_REALTIME, &time);
    whole = (double)time.tv_sec + 1e-9 * (double)time.tv_nsec + seconds;
    time.tv_sec = (time_t)whole;
    time.tv_nsec = (long)((whole - (double)time.tv_sec) * 1e9);
    return time;
}

static void *
run(void *watch_)
{
    struct watch *watch = watch_;

    pthread_mutex_lock(&watch->lock);
    while (!watch->is_stopped) {
        struct timespec deadline = in_seconds(watch->seconds);
        pthread_cond_timedwait(&watch->stopped, &watch->lock, &deadline);
        if (!watch->is_stopped) {
            watch->look(watch->of);
        }
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

/* Signals are for the threads that were there before. */
static int
start_thread(struct watch *watch)
{
    sigset_t all, before;
    int code;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&watch->thread, NULL, run, watch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

struct watch *
watch_start(double seconds, void (*look)(void *of), void *of)
{
    struct watch *watch = calloc(1, sizeof(*watch));

    if (watch == NULL) {
        return NULL;
    }
    watch->seconds = seconds;
    watch->look = look;
    watch->of = of;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->stopped, NULL);
    if (start_thread(watch) != 0) {
        free(watch);
        return NULL;
    }
    return watch;
}

void
watch_stop(struct watch *watch)
{
    if (watch == NULL) {
        return;
    }
    pthread_mutex_lock(&watch->lock);
    watch->is_stopped = 1;
    pthread_cond_signal(&watch->stopped);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    free(watch);
}
