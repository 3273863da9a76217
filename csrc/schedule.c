/* schedule.c -- hands tasks out in order and keeps count of what is owed.

   The policy: a worker holds one chunk at most; the worker that has been
   idle longest gets the next one; a chunk is one task unless the caller
   chose a size.  Must not know what a task is or how it travels. */

#include "schedule.h"

#include <assert.h>
#include <stdlib.h>

#define NOBODY (-1)

struct chunk {
    uint64_t first;
    uint64_t count;             /* 0: no chunk */
};

struct seat {                   /* one worker's place */
    struct chunk chunk;
    int joined;
    int next;                   /* while idle: who became idle after it */
};

struct schedule {
    uint64_t chunksize;
    uint64_t given;             /* tasks 0..given-1 were handed out */
    uint64_t limit;
    uint64_t owed;              /* tasks below the limit, handed out, whose
                                   chunk is not answered for */
    uint64_t missing;           /* the lowest task that an answer left out */
    int exhausted;
    int longest_idle, last_idle;
    int workers;
    struct seat seats[];
};

static uint64_t
lower(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

static int
is_seat(const struct schedule *schedule, int worker)
{
    return worker >= 0 && worker < schedule->workers;
}

/* How many of the chunk's tasks lie below the limit. */
static uint64_t
count_below(const struct schedule *schedule, struct chunk chunk)
{
    if (chunk.first >= schedule->limit)
        return 0;
    return lower(chunk.count, schedule->limit - chunk.first);
}

static void
push_idle(struct schedule *schedule, int worker)
{
    schedule->seats[worker].next = NOBODY;
    if (schedule->longest_idle == NOBODY)
        schedule->longest_idle = worker;
    else
        schedule->seats[schedule->last_idle].next = worker;
    schedule->last_idle = worker;
}

struct schedule *
schedule_new(int workers, uint64_t chunksize)
{
    size_t seats = (size_t)workers * sizeof(struct seat);
    struct schedule *schedule = calloc(1, sizeof(*schedule) + seats);
    if (schedule == NULL)
        return NULL;
    schedule->chunksize = chunksize == 0 ? 1 : chunksize;
    schedule->limit = UINT64_MAX;
    schedule->missing = UINT64_MAX;
    schedule->longest_idle = NOBODY;
    schedule->workers = workers;
    return schedule;
}

void
schedule_free(struct schedule *schedule)
{
    free(schedule);
}

void
schedule_join(struct schedule *schedule, int worker)
{
    assert(is_seat(schedule, worker));
    if (schedule->seats[worker].joined)
        return;
    schedule->seats[worker].joined = 1;
    push_idle(schedule, worker);
}

int
schedule_next(struct schedule *schedule, uint64_t *count)
{
    if (schedule->exhausted || schedule->given >= schedule->limit)
        return NOBODY;
    *count = lower(schedule->chunksize, schedule->limit - schedule->given);
    return schedule->longest_idle;
}

uint64_t
schedule_give(struct schedule *schedule, int worker, uint64_t count)
{
    assert(worker != NOBODY && worker == schedule->longest_idle);
    struct chunk chunk = {schedule->given, count};
    if (count == 0)
        return chunk.first;
    schedule->longest_idle = schedule->seats[worker].next;
    schedule->seats[worker].chunk = chunk;
    schedule->given += count;
    schedule->owed += count_below(schedule, chunk);
    return chunk.first;
}

int
schedule_answer(struct schedule *schedule, int worker, uint64_t first,
                uint64_t done, uint64_t elapsed)
{
    (void)elapsed;              /* for chunks that adapt; none do yet */
    if (!is_seat(schedule, worker))
        return -1;
    struct chunk chunk = schedule->seats[worker].chunk;
    if (chunk.count == 0 || chunk.first != first || chunk.count < done)
        return -1;
    if (done < chunk.count)
        schedule->missing = lower(schedule->missing, first + done);
    schedule->owed -= count_below(schedule, chunk);
    schedule->seats[worker].chunk.count = 0;
    push_idle(schedule, worker);
    return 0;
}

void
schedule_limit(struct schedule *schedule, uint64_t index)
{
    if (index >= schedule->limit)
        return;
    schedule->limit = index;
    schedule->owed = 0;
    for (int i = 0; i < schedule->workers; i++)
        schedule->owed += count_below(schedule, schedule->seats[i].chunk);
}

void
schedule_exhausted(struct schedule *schedule)
{
    schedule->exhausted = 1;
}

int
schedule_holds_above(const struct schedule *schedule, int worker)
{
    struct chunk chunk = schedule->seats[worker].chunk;
    return count_below(schedule, chunk) < chunk.count;
}

/* A task below the limit is in one of four states.  Not handed out: none is
   left in it once the tasks are exhausted or the limit is reached.  In a
   chunk that its worker still holds: owed counts it.  Left out of its
   chunk's answer: then missing is at most its number, below the limit.
   Answered.  So what is asked here leaves only the last. */
int
schedule_done(const struct schedule *schedule)
{
    return (schedule->exhausted || schedule->given >= schedule->limit)
           && schedule->owed == 0 && schedule->missing >= schedule->limit;
}

uint64_t
schedule_given(const struct schedule *schedule)
{
    return schedule->given;
}
