/* schedule.c -- hands tasks out in order and keeps count of what is owed.

   Who: the worker that has been idle longest gets the next chunk.  While
   chunks are short, and when nobody is idle, a worker that has just answered
   gets more than it works on, so that it goes on while its answer travels.
   It has that moment begun a chunk: nothing ever waits behind one that is
   known to be long.

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

   A chunk that takes far longer than expected is late.  What of it is not
   begun when the task that runs has ended comes back, with all that waits
   behind it, and is handed out before any later task, as is any that comes
   back: so a pace learned from short tasks costs one long task more, at most.

   Must not know what a task is or how it travels. */

#include "schedule.h"

#include <assert.h>
#include <stdlib.h>

#include "spans.h"

#define NOBODY (-1)
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
    uint64_t chunksize;         /* 0: to be chosen */
    uint64_t total;             /* SCHEDULE_UNKNOWN: until exhausted */
    uint64_t trust;             /* tasks in a chunk at most; grows by ... */
    uint64_t doubt;             /* ... chunks from this task on */
    struct schedule_pace pace;
    int answers;                /* that the pace was learned from */
    uint64_t given;             /* tasks 0..given-1 were handed out, ... */
    struct spans back;          /* ... but these were not begun */
    uint64_t answered;          /* so many came back */
    uint64_t limit;
    uint64_t owed;              /* below it, handed out, not answered for */
    uint64_t missing;           /* the lowest task that an answer left out */
    int exhausted;
    int last_answered;          /* a worker */
    int longest_idle, last_idle;
    int workers;
    struct seat seats[];
};

static uint64_t
lower(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

/* Are there tasks below the limit that came back and were not begun? */
static int
is_any_to_give_again(const struct schedule *schedule)
{
    return schedule->back.lowest != NULL
           && schedule->back.lowest->first < schedule->limit;
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

static uint64_t
higher(uint64_t one, uint64_t other)
{
    return one > other ? one : other;
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

/* Tasks below the limit that may be handed out, as far as is known. */
static uint64_t
not_out(const struct schedule *schedule)
{
    uint64_t end = lower(schedule->total, schedule->limit);
    uint64_t fresh = end - lower(schedule->given, end);
    return is_any_to_give_again(schedule) ? fresh + schedule->back.total
                                          : fresh;
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

static uint64_t
chunk_size(const struct schedule *schedule)
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

/* Chunks of this size that a worker may hold at once.  If the size was ours,
   one runs and one waits: more would only take from others. */
static int
depth(const struct schedule *schedule, uint64_t size)
{
    if (!is_pace_known(schedule))
        return 1;
    int chosen = schedule->chunksize == 0;
    double time = expected(schedule, chosen ? 1 : size);
    uint64_t most = time > SHORT ? 1 : chosen || time > QUICK ? 2 : DEPTH;
    uint64_t shares =
        left(schedule) / (2 * (uint64_t)schedule->workers) / size;
    return (int)lower(most, 1 + shares);
}

/* What a chunk that came back says of those to come.  Those that were out
   when a late one came back say nothing new. */
static void
learn(struct schedule *schedule, uint64_t first, uint64_t tasks,
      double nanoseconds)
{
    struct schedule_pace *pace = &schedule->pace;
    if (tasks == 0)
        return;
    double hoped =
        is_pace_known(schedule) ? expected(schedule, tasks) : nanoseconds;
    if (nanoseconds > LATE * hoped + LATE_TIME) {
        schedule->trust = 1;
        schedule->doubt = schedule->given;
        /* What waits behind it comes back now: no later task before that. */
        schedule->last_answered = NOBODY;
    }
    else if (first >= schedule->doubt)
        schedule->trust = higher(schedule->trust, 2 * tasks);
    pace->tasks += (double)tasks;
    pace->nanoseconds += nanoseconds;
    if (++schedule->answers % ANSWERS == 0) {
        pace->tasks /= 2;
        pace->nanoseconds /= 2;
    }
}

/* ---- who -------------------------------------------------------------- */

static int
who_is_next(const struct schedule *schedule)
{
    int last = schedule->last_answered;
    if (schedule->longest_idle != NOBODY)
        return schedule->longest_idle;
    if (last == NOBODY)
        return NOBODY;
    return schedule->seats[last].held < depth(schedule, chunk_size(schedule))
               ? last
               : NOBODY;
}

struct schedule *
schedule_new(const struct schedule_job *job)
{
    size_t seats = (size_t)job->workers * sizeof(struct seat);
    struct schedule *schedule = calloc(1, sizeof(*schedule) + seats);
    if (schedule == NULL)
        return NULL;
    schedule->chunksize = job->chunksize;
    schedule->total = job->total;
    schedule->pace = job->pace;
    schedule->trust = job->pace.tasks > 0 ? TRUST : 1;
    schedule->limit = UINT64_MAX;
    schedule->missing = UINT64_MAX;
    schedule->longest_idle = NOBODY;
    schedule->last_answered = NOBODY;
    schedule->workers = job->workers;
    return schedule;
}

void
schedule_free(struct schedule *schedule)
{
    if (schedule != NULL)
        spans_clear(&schedule->back);
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

uint64_t
schedule_first(const struct schedule *schedule)
{
    return is_any_to_give_again(schedule) ? schedule->back.lowest->first
                                          : schedule->given;
}

int
schedule_next(const struct schedule *schedule, uint64_t *count)
{
    uint64_t first = schedule_first(schedule);
    if (!is_any_to_give_again(schedule)
        && (schedule->exhausted || first >= schedule->limit))
        return NOBODY;
    *count = lower(chunk_size(schedule), schedule->limit - first);
    if (is_any_to_give_again(schedule))
        *count = lower(*count, schedule->back.lowest->count);
    return who_is_next(schedule);
}

size_t
schedule_idle(const struct schedule *schedule, int *workers)
{
    uint64_t size = chunk_size(schedule), tasks = not_out(schedule);
    int worker = schedule->longest_idle;
    size_t found = 0;
    for (uint64_t given = 0; worker != NOBODY && given < tasks;
         given += lower(size, tasks - given)) {
        workers[found++] = worker;
        worker = schedule->seats[worker].next;
    }
    return found;
}

uint64_t
schedule_patience(const struct schedule *schedule, uint64_t count)
{
    if (schedule->chunksize > 0 || !is_pace_known(schedule)
        || schedule->workers == 1)
        return 0;
    return (uint64_t)(LATE * expected(schedule, count) + LATE_TIME);
}

int
schedule_is_full(const struct schedule *schedule, uint64_t bytes,
                 uint64_t nanoseconds)
{
    return schedule->chunksize == 0
           && (bytes >= CHUNK_BYTES || nanoseconds >= DRAWING);
}

uint64_t
schedule_give(struct schedule *schedule, int worker, uint64_t count)
{
    assert(is_seat(schedule, worker));
    struct chunk chunk = {schedule_first(schedule), count};
    if (count == 0)
        return chunk.first;
    struct seat *seat = &schedule->seats[worker];
    assert(seat->held < DEPTH);
    if (seat->held == 0) {
        assert(worker == schedule->longest_idle);
        schedule->longest_idle = seat->next;
    }
    seat->chunks[seat->held++] = chunk;
    if (is_any_to_give_again(schedule))
        spans_take(&schedule->back, count);
    else
        schedule->given += count;
    schedule->owed += count_below(schedule, chunk);
    return chunk.first;
}

/* The worker holds its oldest chunk no longer. */
static void
end_chunk(struct schedule *schedule, int worker)
{
    struct seat *seat = &schedule->seats[worker];
    schedule->owed -= count_below(schedule, seat->chunks[0]);
    for (int i = 1; i < seat->held; i++)
        seat->chunks[i - 1] = seat->chunks[i];
    if (--seat->held == 0)
        push_idle(schedule, worker);
    schedule->last_answered = worker;
}

int
schedule_answer(struct schedule *schedule,
                const struct schedule_answer *answer)
{
    if (!is_seat(schedule, answer->worker))
        return SCHEDULE_WRONG;
    const struct seat *seat = &schedule->seats[answer->worker];
    struct chunk chunk = seat->chunks[0];
    if (seat->held == 0 || chunk.first != answer->first
        || chunk.count < answer->done)
        return SCHEDULE_WRONG;
    uint64_t end = answer->first + answer->done;
    uint64_t rest = chunk.count - answer->done;
    if (answer->is_rest_back) {
        if (spans_add(&schedule->back, end, rest) < 0)
            return SCHEDULE_NO_MEMORY;
    }
    else if (rest > 0)
        schedule->missing = lower(schedule->missing, end);
    end_chunk(schedule, answer->worker);
    schedule->answered += answer->done;
    learn(schedule, answer->first, answer->done,
          (double)answer->elapsed + BYTE_TIME * (double)answer->bytes);
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
    for (int i = 0; i < seat->held; i++) {
        if (count_below(schedule, seat->chunks[i]) < seat->chunks[i].count)
            return 1;
    }
    return 0;
}

/* A task below the limit is in one of five states.  Not handed out: none is
   left in it once the tasks are exhausted or the limit is reached.  Come back
   without having been begun: then it is in a span.  In a chunk that its
   worker still holds: owed counts it.  Left out of its chunk's answer: then
   missing is at most its number, below the limit.  Answered.  So what is
   asked here leaves only the last. */
int
schedule_done(const struct schedule *schedule)
{
    return (schedule->exhausted || schedule->given >= schedule->limit)
           && !is_any_to_give_again(schedule) && schedule->owed == 0
           && schedule->missing >= schedule->limit;
}

uint64_t
schedule_given(const struct schedule *schedule)
{
    return schedule->given;
}

struct schedule_pace
schedule_pace(const struct schedule *schedule)
{
    return schedule->pace;
}
