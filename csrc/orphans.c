/* orphans.c -- a subreaper (prctl), which looks for its children in /proc.
   Runs in the worker's rank. */

#include "orphans.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

#ifdef __linux__
#include <sys/prctl.h>
#endif

#define MOST 256                /* children that are looked at at once */
#define ROUNDS 64               /* whose children have children ... */
#define PATIENCE 1000           /* milliseconds for all to end */

struct orphans {
    size_t count;
    pid_t spared[MOST];
};

/* A thread's children, as far as there is room. */
static size_t
read_thread(const char *thread, pid_t *pids, size_t room)
{
    char path[300];
    long pid;
    size_t count = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%s/children", thread);
    file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    while (count < room && fscanf(file, "%ld", &pid) == 1) {
        pids[count++] = (pid_t)pid;
    }
    fclose(file);
    return count;
}

static size_t
read_children(pid_t *pids)
{
    DIR *threads = opendir("/proc/self/task");
    struct dirent *entry;
    size_t count = 0;

    while (threads != NULL && (entry = readdir(threads)) != NULL) {
        if (entry->d_name[0] != '.') {
            count += read_thread(entry->d_name, pids + count, MOST - count);
        }
    }
    if (threads != NULL) {
        closedir(threads);
    }
    return count;
}

struct orphans *
orphans_new(void)
{
    struct orphans *orphans = calloc(1, sizeof(*orphans));

    if (orphans != NULL) {
#ifdef __linux__
        prctl(PR_SET_CHILD_SUBREAPER, 1);
#endif
        orphans_spare(orphans);
    }
    return orphans;
}

void
orphans_spare(struct orphans *orphans)
{
    orphans->count = read_children(orphans->spared);
}

static int
is_spared(const struct orphans *orphans, pid_t pid)
{
    for (size_t i = 0; i < orphans->count; i++) {
        if (orphans->spared[i] == pid) {
            return 1;
        }
    }
    return 0;
}

/* Kills who is not spared, and may be killed; lists them. */
static size_t
kill_all(const struct orphans *orphans, pid_t *pids)
{
    size_t count = read_children(pids), killed = 0;

    for (size_t i = 0; i < count; i++) {
        if (!is_spared(orphans, pids[i]) && kill(pids[i], SIGKILL) == 0) {
            pids[killed++] = pids[i];
        }
    }
    return killed;
}

/* Returns whether one has ended.  Not for ever: one may hang in the kernel. */
static int
await(const pid_t *pids, size_t count, int *patience)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    int has_ended = 0;

    for (size_t i = 0; i < count; i++) {
        while (waitpid(pids[i], NULL, WNOHANG) == 0 && *patience > 0) {
            nanosleep(&pause, NULL);
            --*patience;
        }
        has_ended |= *patience > 0;
    }
    return has_ended;
}

/* When one has ended its own children are ours. */
void
orphans_end(const struct orphans *orphans)
{
    pid_t pids[MOST];
    int patience = PATIENCE, left = 1;

    for (int round = 0; left && round < ROUNDS; round++) {
        size_t count = kill_all(orphans, pids);
        left = await(pids, count, &patience);
    }
}

void
orphans_reap(const struct orphans *orphans)
{
    pid_t pids[MOST];
    size_t count = read_children(pids);

    for (size_t i = 0; i < count; i++) {
        if (!is_spared(orphans, pids[i])) {
            waitpid(pids[i], NULL, WNOHANG);
        }
    }
}
