/* schedule.h -- how big the next chunk is, and when a job is done.

   Plain C: no MPI, no Python, no clock, no message.  Knows the tasks 0, 1, 2,
   ... of one job, which are drawn in order and then given to workers, in
   chunks, but not which worker gets one (seats.h).  All policy lives here, but
   for that between jobs (dispatch.h). */

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

/* ---- drawing ---------------------------------------------------------- */

/* May more tasks be drawn? */
int schedule_is_open(const struct schedule *schedule);
/* How many tasks, at most, the chunk to be cut next should have. */
uint64_t schedule_size(const struct schedule *schedule);
/* Should a chunk go as it is, that has so many bytes and took so long to be
   drawn? */
int schedule_is_full(const struct schedule *schedule, uint64_t bytes,
                     uint64_t nanoseconds);
/* The next count tasks were drawn: they wait to be given. */
void schedule_draw(struct schedule *schedule, uint64_t count);
/* Tasks drawn so far: the number of the next. */
uint64_t schedule_drawn(const struct schedule *schedule);
/* Of these, those that matter and are answered for. */
uint64_t schedule_completed(const struct schedule *schedule);
/* The tasks have run out. */
void schedule_exhausted(struct schedule *schedule);
/* Chunks that are left to be given, about. */
uint64_t schedule_chunks(const struct schedule *schedule);
/* Tasks that are expected to take so many nanoseconds. */
uint64_t
schedule_tasks_in(const struct schedule *schedule, double nanoseconds);

/* ---- single calls ----------------------------------------------------- */

/* Calls that a worker may hold at once, where so many wait and those it has
   not begun can be taken back. */
int schedule_calls(const struct schedule_pace *pace, uint64_t waiting,
                   int workers);
/* How long a call took. */
void schedule_learn_call(struct schedule_pace *pace, uint64_t nanoseconds);

/* ---- giving ----------------------------------------------------------- */

/* Chunks of so many tasks that a worker may hold at once. */
int schedule_depth(const struct schedule *schedule, uint64_t count);
/* Nanoseconds after which such a chunk is late: when the task that runs then
   has ended, what is not begun should come back, and with it all that waits at
   that worker; 0: never. */
uint64_t schedule_patience(const struct schedule *schedule, uint64_t count);
/* Tasks first to first + count - 1, which waited, were given to a worker. */
void schedule_give(struct schedule *schedule, uint64_t first, uint64_t count);

/* ---- answers ---------------------------------------------------------- */

/* A worker's answer for a chunk that it was given. */
struct schedule_answer {
    uint64_t first, count;      /* the chunk */
    uint64_t done;              /* so many of its tasks are */
    int is_rest_back; /* the rest was not begun; 0: it was dropped */
    uint64_t elapsed; /* nanoseconds, to travel there and to run */
    uint64_t bytes; /* that came back */
};

/* 0; 1: it was late, and what waits behind it comes back now. */
int schedule_answer(struct schedule *schedule,
                    const struct schedule_answer *answer);
/* Of what came back with an answer, these tasks wait again.  In between it is
   the caller's to know that the job is not done. */
void
schedule_return(struct schedule *schedule, uint64_t first, uint64_t count);

/* No task from index upwards matters any more.  Only ever lowers the limit.
   Of those below, so many wait, and so many are held by workers. */
void schedule_limit(struct schedule *schedule, uint64_t index,
                    uint64_t waiting, uint64_t held);
uint64_t schedule_limited_to(const struct schedule *schedule);

/* Is every task below the limit answered, and no more to be drawn?  But for
   what came back and does not wait again yet. */
int schedule_done(const struct schedule *schedule);

/* What was learned, for the next job with this callable. */
struct schedule_pace schedule_pace(const struct schedule *schedule);

#endif
