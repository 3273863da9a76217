/* schedule.c -- hands tasks out in order and keeps count of what is owed.

   The policy: the worker that has been idle longest gets the next chunk; a
   chunk is one task unless the caller chose a size.  While all chunks are
   short, and when nobody is idle, a worker that has just answered gets one
   more than it works on, so that it goes on while its answer travels.  It has
   that moment begun a chunk: nothing ever waits behind one that is known to
   be long, and a single chunk behind one that turns out so.  Must not know
   what a task is or how it travels. */

#include "schedule.h"

#include <assert.h>
#include <stdlib.h>

#define NOBODY (-1)
#define DEPTH 2                 /* chunks that a worker holds at most */
#define SHORT_NANOSECONDS 100000
/* So many short chunks in a row, and the next one is taken to be short, too;
   the test needs fewer. */
#ifndef SHORT_RUN
#define SHORT_RUN 8
#endif

struct chunk {
    uint64_t first;
    uint64_t count;
};

struct seat {                   /* one worker's place */
    struct chunk chunks[DEPTH]; /* oldest first */
    int held;                   /* of them */
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
    int short_run; /* chunks answered in a row that were short */
    int last_answered; /* the worker that did */
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

/* The worker's tasks below the limit, in all its chunks. */
static uint64_t
seat_below(const struct schedule *schedule, const struct seat *seat)
{
    uint64_t below = 0;
    for (int i = 0; i < seat->held; i++)
        below += count_below(schedule, seat->chunks[i]);
    return below;
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

static int
who_is_next(const struct schedule *schedule)
{
    int last = schedule->last_answered;
    if (schedule->longest_idle != NOBODY)
        return schedule->longest_idle;
    return schedule->short_run >= SHORT_RUN
                   && schedule->seats[last].held < DEPTH
               ? last
               : NOBODY;
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
    return who_is_next(schedule);
}

uint64_t
schedule_give(struct schedule *schedule, int worker, uint64_t count)
{
    assert(worker != NOBODY && worker == who_is_next(schedule));
    struct chunk chunk = {schedule->given, count};
    if (count == 0)
        return chunk.first;
    struct seat *seat = &schedule->seats[worker];
    if (seat->held == 0)
        schedule->longest_idle = seat->next;
    seat->chunks[seat->held++] = chunk;
    schedule->given += count;
    schedule->owed += count_below(schedule, chunk);
    return chunk.first;
}

int
schedule_answer(struct schedule *schedule, int worker, uint64_t first,
                uint64_t done, uint64_t elapsed)
{
    if (!is_seat(schedule, worker))
        return -1;
    struct seat *seat = &schedule->seats[worker];
    struct chunk chunk = seat->chunks[0];
    if (seat->held == 0 || chunk.first != first || chunk.count < done)
        return -1;
    if (done < chunk.count)
        schedule->missing = lower(schedule->missing, first + done);
    schedule->owed -= count_below(schedule, chunk);
    for (int i = 1; i < seat->held; i++)
        seat->chunks[i - 1] = seat->chunks[i];
    if (--seat->held == 0)
        push_idle(schedule, worker);
    schedule->last_answered = worker;
    if (elapsed > SHORT_NANOSECONDS)
        schedule->short_run = 0;
    else if (schedule->short_run < SHORT_RUN)
        schedule->short_run++;
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
        schedule->owed += seat_below(schedule, &schedule->seats[i]);
}

void
schedule_exhausted(struct schedule *schedule)
{
    schedule->exhausted = 1;
}

int
schedule_holds_above(const struct schedule *schedule, int worker)
{
    const struct seat *seat = &schedule->seats[worker];
    if (seat->held == 0)
        return 0;
    struct chunk last = seat->chunks[seat->held - 1];
    return count_below(schedule, last) < last.count;
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
