/* schedule.h -- who is idle, who holds what, how big the next chunk is.

   Plain C: no MPI, no Python, no clock, no message.  Knows workers
   0..workers-1 and tasks 0, 1, 2, ... of one job, which are handed out in
   order.  All policy lives here. */

#ifndef EZMPI_SCHEDULE_H
#define EZMPI_SCHEDULE_H

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
int schedule_next(struct schedule *schedule, uint64_t *count);

/* Should a chunk go as it is, that has so many bytes and took so long to be
   drawn? */
int schedule_is_full(const struct schedule *schedule, uint64_t bytes,
                     uint64_t nanoseconds);

/* The worker was handed the next count tasks; returns the first one's
   number. */
uint64_t schedule_give(struct schedule *schedule, int worker, uint64_t count);

/* The worker's answer for its oldest chunk, which begins with task first: done
   tasks of it came back, and it took elapsed nanoseconds to travel there and
   to run.  -1 when that is another chunk, or has fewer tasks, or it holds
   none: the message is wrong. */
int schedule_answer(struct schedule *schedule, int worker, uint64_t first,
                    uint64_t done, uint64_t elapsed, uint64_t bytes);

/* No task from index upwards matters any more: none is handed out, and
   answers for them are not waited for.  Only ever lowers the limit. */
void schedule_limit(struct schedule *schedule, uint64_t index);

/* The tasks have run out: none after those handed out. */
void schedule_exhausted(struct schedule *schedule);

/* Does the worker hold tasks that lie at or above the limit? */
int schedule_holds_above(const struct schedule *schedule, int worker);

/* Is every task below the limit answered, and no more to be handed out? */
int schedule_done(const struct schedule *schedule);

/* Tasks handed out so far. */
uint64_t schedule_given(const struct schedule *schedule);

/* What was learned, for the next job with this callable. */
struct schedule_pace schedule_pace(const struct schedule *schedule);

#endif
