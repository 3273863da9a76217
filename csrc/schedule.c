/* schedule.c -- cuts a job's tasks into chunks and counts what is owed.

   How many tasks, unless the caller said so: as many as run for so long that
   the cost of their messages does not count, for the worker and, with many
   workers, for the master.  But
   - at most twice as many as a chunk that has come back in time, and one
     after a chunk that took far longer than its tasks had led to expect, or
     so many that the master keeps up: where tasks are uneven, little must
     wait behind a long one;
   - where the number of tasks is known, half of a worker's share of those
     left, so that all end at about the same time: factoring (Hummel,
     Schonberg and Flynn 1992), a safer kind of guided self-scheduling
     (Polychronopoulos and Kuck 1987).  Fewer would be no gain where they take
     no longer than a message; but only answers show that, and those that
     come first are the short tasks';
   - where it is not known, so many that half as many are out as have come
     back.
   What waits at a worker keeps to the same share.

   While chunks are short a worker may hold more than it works on, so that it
   goes on while its answer travels.

   A chunk that takes far longer than expected is late.  What of it is not
   begun when the task that runs has ended comes back, with all that waits
   behind it, and is given before any later task: so a pace learned from short
   tasks costs one long task more, at most.

   Must not know what a task is or how it travels. */

#include "schedule.h"

#include <assert.h>
#include <stdlib.h>

#define DEPTH 9                 /* chunks that a worker holds at most */

/* Nanoseconds */
#define CHUNK_TIME 100000.0     /* of which a message is a few per cent */
#define CHUNK_TIME_UNKNOWN 25000.0      /* where no share can be kept to */
#define BRIEF 5000.0            /* not worth being split */
#define QUICK 20000.0           /* nine are held */
#define SHORT 1000000.0         /* two are held */
/* ... that the master works on a chunk's two messages, and on each task */
#define MASTER_MESSAGES 2400.0
#define MASTER_TASK 160.0
#define MASTER_LOAD 0.7         /* of its time, if that can be had */
#define LATE 8.0                /* times what was expected, and ... */
#define LATE_TIME 1000000.0     /* ... so much more, is far longer */
#define BYTE_TIME 0.5           /* a byte that comes back */
#define DRAWING 1000000 /* a chunk; the tasks may take long to make */

#define CHUNK_BYTES ((uint64_t)1 << 20)
#define TRUST 8 /* tasks; where the pace is known already */
#define ANSWERS 64 /* what is older counts half */

struct schedule {
    uint64_t chunksize;         /* 0: to be chosen */
    uint64_t total;             /* SCHEDULE_UNKNOWN: until exhausted */
    uint64_t trust;             /* tasks in a chunk at most; grows by ... */
    uint64_t doubt;             /* ... chunks from this task on */
    struct schedule_pace pace;
    int answers;                /* that the pace was learned from */
    uint64_t drawn;             /* tasks 0..drawn-1; of those below the limit
                                   ... */
    uint64_t waiting;           /* ... so many are not given, ... */
    uint64_t held;              /* ... and so many not answered for */
    uint64_t answered;          /* so many came back */
    uint64_t limit;
    uint64_t missing;           /* the lowest task that an answer left out */
    int exhausted;
    int workers;
};

static uint64_t
lower(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

static uint64_t
higher(uint64_t one, uint64_t other)
{
    return one > other ? one : other;
}

/* How many of these tasks lie below the limit. */
static uint64_t
count_below(const struct schedule *schedule, uint64_t first, uint64_t count)
{
    if (first >= schedule->limit)
        return 0;
    return lower(count, schedule->limit - first);
}

/* ---- how many, and how many ahead ------------------------------------- */

static int
is_pace_known(const struct schedule *schedule)
{
    return schedule->pace.tasks > 0;
}

/* Nanoseconds that so many tasks are expected to take. */
static double
expected(const struct schedule *schedule, uint64_t count)
{
    return (double)count * schedule->pace.nanoseconds / schedule->pace.tasks;
}

/* Tasks that are expected to take so long. */
static uint64_t
tasks_in(const struct schedule *schedule, double nanoseconds)
{
    double pace = expected(schedule, 1);
    return nanoseconds < pace * (double)(UINT64_MAX / 2)
               ? (uint64_t)(nanoseconds / pace)
               : UINT64_MAX / 2;
}

/* Tasks in a chunk, so that the master has no more to do than it should.  In
   the time of one task it has as many to pickle as there are workers; what is
   left of its time is for messages.  Where nothing is left, more workers do
   not help, and messages should be few beside the tasks. */
static uint64_t
masters_size(const struct schedule *schedule)
{
    double tasks = MASTER_TASK * schedule->workers;
    double messages = MASTER_MESSAGES * schedule->workers;
    double left = MASTER_LOAD * expected(schedule, 1) - tasks;
    double least = tasks / 10;
    return (uint64_t)(messages / (left > least ? left : least)) + 1;
}

/* Tasks below the limit that are not given, as far as is known. */
static uint64_t
not_out(const struct schedule *schedule)
{
    uint64_t end = lower(schedule->total, schedule->limit);
    return end - lower(schedule->drawn, end) + schedule->waiting;
}

/* Tasks that are left to be handed out; where nobody knows, as many as have
   been done.  After a failure what lies below it goes one by one. */
static uint64_t
left(const struct schedule *schedule)
{
    if (schedule->limit < schedule->total)
        return 0;
    if (schedule->total == SCHEDULE_UNKNOWN)
        return schedule->answered;
    return not_out(schedule);
}

/* Tasks that one worker may get at once and the others still have enough. */
static uint64_t
fair_size(const struct schedule *schedule)
{
    uint64_t workers = (uint64_t)schedule->workers;
    uint64_t half_as_many_out = schedule->answered / (4 * workers) + 1;
    if (schedule->total == SCHEDULE_UNKNOWN)
        return half_as_many_out;
    if (workers == 1)
        return UINT64_MAX;
    uint64_t share = left(schedule) / (2 * workers) + 1;
    uint64_t brief =
        higher(tasks_in(schedule, BRIEF), masters_size(schedule) / 8);
    return higher(share, lower(brief, half_as_many_out));
}

uint64_t
schedule_size(const struct schedule *schedule)
{
    if (schedule->chunksize > 0)
        return schedule->chunksize;
    if (!is_pace_known(schedule))
        return 1;
    double time =
        schedule->total == SCHEDULE_UNKNOWN ? CHUNK_TIME_UNKNOWN : CHUNK_TIME;
    uint64_t size = lower(tasks_in(schedule, time), schedule->trust);
    if (schedule->answered >= (uint64_t)schedule->workers)
        size = higher(size, masters_size(schedule));
    return higher(lower(size, fair_size(schedule)), 1);
}

/* Chunks that take so long that a worker may hold at once. */
static uint64_t
depth_for(double nanoseconds)
{
    return nanoseconds > SHORT ? 1 : nanoseconds > QUICK ? 2 : DEPTH;
}

/* After how long a chunk is late. */
static double
patience_for(double nanoseconds)
{
    return LATE * nanoseconds + LATE_TIME;
}

/* Chunks of this size that a worker may hold at once.  If the size was ours,
   one runs and one waits: more would only take from others. */
int
schedule_depth(const struct schedule *schedule, uint64_t count)
{
    if (!is_pace_known(schedule))
        return 1;
    int chosen = schedule->chunksize == 0;
    uint64_t most = depth_for(expected(schedule, chosen ? 1 : count));
    if (chosen)
        most = lower(most, 2);
    uint64_t shares =
        left(schedule) / (2 * (uint64_t)schedule->workers) / count;
    return (int)lower(most, 1 + shares);
}

/* What a chunk that came back says of those to come: was it late?  Those that
   were out when a late one came back say nothing new. */
static int
learn(struct schedule *schedule, uint64_t first, uint64_t tasks,
      double nanoseconds)
{
    struct schedule_pace *pace = &schedule->pace;
    int is_late = 0;
    if (tasks == 0)
        return 0;
    double hoped =
        is_pace_known(schedule) ? expected(schedule, tasks) : nanoseconds;
    if (nanoseconds > patience_for(hoped)) {
        schedule->trust = 1;
        schedule->doubt = schedule->drawn;
        is_late = 1;
    }
    else if (first >= schedule->doubt)
        schedule->trust = higher(schedule->trust, 2 * tasks);
    pace->tasks += (double)tasks;
    pace->nanoseconds += nanoseconds;
    if (++schedule->answers % ANSWERS == 0) {
        pace->tasks /= 2;
        pace->nanoseconds /= 2;
    }
    return is_late;
}

struct schedule *
schedule_new(const struct schedule_job *job)
{
    struct schedule *schedule = calloc(1, sizeof(*schedule));
    if (schedule == NULL)
        return NULL;
    schedule->chunksize = job->chunksize;
    schedule->total = job->total;
    schedule->pace = job->pace;
    schedule->trust = job->pace.tasks > 0 ? TRUST : 1;
    schedule->limit = UINT64_MAX;
    schedule->missing = UINT64_MAX;
    schedule->workers = job->workers;
    return schedule;
}

void
schedule_free(struct schedule *schedule)
{
    free(schedule);
}

/* ---- drawing ---------------------------------------------------------- */

int
schedule_is_open(const struct schedule *schedule)
{
    return !schedule->exhausted && schedule->drawn < schedule->limit;
}

int
schedule_is_full(const struct schedule *schedule, uint64_t bytes,
                 uint64_t nanoseconds)
{
    return schedule->chunksize == 0
           && (bytes >= CHUNK_BYTES || nanoseconds >= DRAWING);
}

void
schedule_draw(struct schedule *schedule, uint64_t count)
{
    schedule->waiting += count_below(schedule, schedule->drawn, count);
    schedule->drawn += count;
}

uint64_t
schedule_drawn(const struct schedule *schedule)
{
    return schedule->drawn;
}

uint64_t
schedule_completed(const struct schedule *schedule)
{
    return count_below(schedule, 0, schedule->drawn) - schedule->waiting
           - schedule->held;
}

void
schedule_exhausted(struct schedule *schedule)
{
    schedule->exhausted = 1;
}

uint64_t
schedule_chunks(const struct schedule *schedule)
{
    uint64_t size = schedule_size(schedule), tasks = not_out(schedule);
    return tasks / size + (tasks % size > 0);
}

uint64_t
schedule_tasks_in(const struct schedule *schedule, double nanoseconds)
{
    return is_pace_known(schedule) ? tasks_in(schedule, nanoseconds) : 0;
}

/* ---- single calls ----------------------------------------------------- */

int
schedule_calls(const struct schedule_pace *pace, uint64_t waiting, int workers)
{
    if (pace->tasks < TRUST)
        return 1;
    uint64_t most = depth_for(pace->nanoseconds / pace->tasks);
    return (int)lower(most, 1 + waiting / (2 * (uint64_t)workers));
}

/* After one that took far longer nothing is known any more. */
void
schedule_learn_call(struct schedule_pace *pace, uint64_t nanoseconds)
{
    double time = (double)nanoseconds;
    if (pace->tasks > 0
        && time > patience_for(pace->nanoseconds / pace->tasks))
        *pace = (struct schedule_pace){0};
    pace->nanoseconds += time;
    pace->tasks += 1;
    if (pace->tasks > 2 * ANSWERS) {
        pace->nanoseconds /= 2;
        pace->tasks /= 2;
    }
}

/* ---- giving ----------------------------------------------------------- */

uint64_t
schedule_patience(const struct schedule *schedule, uint64_t count)
{
    if (schedule->chunksize > 0 || !is_pace_known(schedule)
        || schedule->workers == 1)
        return 0;
    return (uint64_t)patience_for(expected(schedule, count));
}

void
schedule_give(struct schedule *schedule, uint64_t first, uint64_t count)
{
    uint64_t below = count_below(schedule, first, count);
    assert(below <= schedule->waiting);
    schedule->waiting -= below;
    schedule->held += below;
}

/* ---- answers ---------------------------------------------------------- */

int
schedule_answer(struct schedule *schedule,
                const struct schedule_answer *answer)
{
    uint64_t end = answer->first + answer->done;
    uint64_t rest = answer->count - answer->done;
    uint64_t below = count_below(schedule, answer->first, answer->count);
    assert(answer->done <= answer->count && below <= schedule->held);
    schedule->held -= below;
    if (rest > 0 && !answer->is_rest_back)
        schedule->missing = lower(schedule->missing, end);
    schedule->answered += answer->done;
    return learn(schedule, answer->first, answer->done,
                 (double)answer->elapsed + BYTE_TIME * (double)answer->bytes);
}

void
schedule_return(struct schedule *schedule, uint64_t first, uint64_t count)
{
    schedule->waiting += count_below(schedule, first, count);
}

void
schedule_limit(struct schedule *schedule, uint64_t index, uint64_t waiting,
               uint64_t held)
{
    if (index >= schedule->limit)
        return;
    schedule->limit = index;
    schedule->waiting = waiting;
    schedule->held = held;
}

uint64_t
schedule_limited_to(const struct schedule *schedule)
{
    return schedule->limit;
}

/* A task below the limit is in one of six states.  Not drawn: none is left in
   it once the tasks are exhausted or the limit is reached.  Waiting, for the
   first time or again: counted.  Held by a worker: counted.  Come back, and
   not waiting again yet: in an answer that the caller has not taken in.  Left
   out of its chunk's answer: then missing is at most its number, below the
   limit.  Answered.  So what is asked here, and the caller knows, leaves only
   the last. */
int
schedule_done(const struct schedule *schedule)
{
    return !schedule_is_open(schedule) && schedule->waiting == 0
           && schedule->held == 0 && schedule->missing >= schedule->limit;
}

struct schedule_pace
schedule_pace(const struct schedule *schedule)
{
    return schedule->pace;
}
