/* schedule.h -- who is idle, who holds what, how big the next chunk is.

   Plain C: no MPI, no Python, no clock, no message.  Knows workers
   0..workers-1 and tasks 0, 1, 2, ... of one job, which are handed out in
   order, but for those that came back.  All policy lives here. */

#ifndef EZMPI_SCHEDULE_H
#define EZMPI_SCHEDULE_H

#include <stddef.h>
#include <stdint.h>

struct schedule;

/* How fast tasks with one callable were, from job to job. */
struct schedule_pace {
    double nanoseconds;         /* that all of ... */
    double tasks;               /* ... so many took; 0: nothing is known */
};

#define SCHEDULE_UNKNOWN UINT64_MAX

struct schedule_job {
    int workers;
    uint64_t chunksize;         /* 0: the scheduler chooses */
    uint64_t total;             /* tasks, or SCHEDULE_UNKNOWN */
    struct schedule_pace pace;
};

/* NULL: out of memory. */
struct schedule *schedule_new(const struct schedule_job *job);
void schedule_free(struct schedule *schedule);

/* The worker is free to take chunks of this job: at the start, or when it
   has answered for what it held of an earlier one. */
void schedule_join(struct schedule *schedule, int worker);

/* The worker that should get the next chunk and, in *count, how many tasks
   at most; -1 when none should get one now. */
int schedule_next(const struct schedule *schedule, uint64_t *count);

/* Lists the idle workers for whom there will be a chunk, in the order in which
   they get one; returns how many there are. */
size_t schedule_idle(const struct schedule *schedule, int *workers);

/* That chunk's first task: one that came back, or else the first that was
   never handed out, which is schedule_given. */
uint64_t schedule_first(const struct schedule *schedule);

/* Should a chunk go as it is, that has so many bytes and took so long to be
   drawn? */
int schedule_is_full(const struct schedule *schedule, uint64_t bytes,
                     uint64_t nanoseconds);

/* Nanoseconds after which such a chunk is late: when the task that runs then
   has ended, what is not begun should come back, and with it all that waits at
   that worker; 0: never. */
uint64_t schedule_patience(const struct schedule *schedule, uint64_t count);

/* The worker was handed the next count tasks; returns the first one's
   number. */
uint64_t schedule_give(struct schedule *schedule, int worker, uint64_t count);

/* A worker's answer for its oldest chunk. */
struct schedule_answer {
    int worker;
    uint64_t first;             /* the chunk begins with this task */
    uint64_t done;              /* so many of its tasks are */
    int is_rest_back; /* the rest was not begun; 0: it was dropped */
    uint64_t elapsed; /* nanoseconds, to travel there and to run */
    uint64_t bytes; /* that came back */
};

/* Where it fails nothing has changed.  WRONG: its oldest chunk is another or
   has fewer tasks, or it holds none. */
#define SCHEDULE_WRONG (-1)
#define SCHEDULE_NO_MEMORY (-2)
int schedule_answer(struct schedule *schedule,
                    const struct schedule_answer *answer);

/* No task from index upwards matters any more: none is handed out, and
   answers for them are not waited for.  Only ever lowers the limit. */
void schedule_limit(struct schedule *schedule, uint64_t index);

/* The tasks have run out: none after those handed out. */
void schedule_exhausted(struct schedule *schedule);

/* Does the worker hold tasks that lie at or above the limit? */
int schedule_holds_above(const struct schedule *schedule, int worker);

/* Is every task below the limit answered, and no more to be handed out? */
int schedule_done(const struct schedule *schedule);

/* Tasks handed out so far, also those that came back. */
uint64_t schedule_given(const struct schedule *schedule);

/* What was learned, for the next job with this callable. */
struct schedule_pace schedule_pace(const struct schedule *schedule);

#endif
