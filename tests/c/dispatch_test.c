/* dispatch_test.c -- several jobs at once, on workers that are made up.

   dispatch.c as it is, over the crew of crew_stub.c: what is posted to a
   worker it runs, in order, in a time that the test chooses.  Nothing waits
   for anything: time is a number. */

#include "dispatch.h"

#include <string.h>

#include "check.h"
#include "claim.h"
#include "crew_stub.h"

#define MOST_WORKERS 16
#define MOST_HELD 32
#define UNKNOWN SCHEDULE_UNKNOWN
#define MICROSECOND 1000
#define MILLISECOND 1000000
#define SECOND 1000000000

/* ---- workers and jobs ------------------------------------------------- */

struct job {
    struct line line;               /* first: it is what dispatch knows */
    struct dispatch *dispatch;
    uint64_t number;
    uint64_t total;                 /* tasks */
    int64_t task;                   /* nanoseconds that each takes */
    int64_t first_given;            /* when a worker got the first */
    int64_t time;                   /* of workers */
    uint64_t done;                  /* tasks */
    int chunks;                     /* that there are: shares in the line */
    struct job *next;
};

struct desk {                       /* a worker's; it works on the first */
    struct header held[MOST_HELD];  /* oldest first */
    int64_t ends[MOST_HELD];
    int count;
};

struct world {
    struct mailbox mailbox;         /* first: it is what the stub knows */
    struct crew crew;
    struct dispatch *dispatch;
    struct callable callable;
    struct job *jobs;
    int64_t now;
    int is_fed_first;               /* as driver.c does it */
    struct desk desks[MOST_WORKERS];
    _Atomic uint64_t words[MOST_WORKERS];
    int sent[VERB_FAREWELL + 1][MOST_WORKERS];      /* messages */
    struct header last;             /* that was sent */
};

static struct job *
job_of(struct line *line)
{
    return (struct job *)line;
}

static struct job *
find_job(struct world *world, uint64_t number)
{
    struct job *job = world->jobs;
    while (job->number != number)
        job = job->next;
    return job;
}

/* A worker was sent a message. */
static void
post(struct mailbox *mailbox, int rank, enum verb verb,
     const struct header *header)
{
    struct world *world = (struct world *)mailbox;
    struct desk *desk = &world->desks[rank - 1];
    world->sent[verb][rank - 1]++;
    world->last = *header;
    if (verb != VERB_TASKS)
        return;
    struct job *job = find_job(world, header->job);
    int64_t begins = desk->count ? desk->ends[desk->count - 1] : world->now;
    if (job->first_given < 0)
        job->first_given = world->now;
    CHECK(desk->count < MOST_HELD && header->count > 0);
    desk->held[desk->count] = *header;
    desk->ends[desk->count++] = begins + (int64_t)header->count * job->task;
}

static struct world *
new_world(int workers)
{
    struct world *world = calloc(1, sizeof *world);
    CHECK(world != NULL);
    world->mailbox.post = post;
    stub_init(&world->crew, &world->mailbox, workers);
    world->dispatch = dispatch_new(&world->crew);
    CHECK(world->dispatch != NULL);
    world->callable = (struct callable){
        .owners = 1, .number = 7, .slot = 2, .parcel = stub_parcel(100)};
    return world;
}

static struct chunk *
new_chunk(struct world *world, struct job *job, uint64_t first, uint64_t count)
{
    struct chunk *chunk = chunk_new(&job->line, &world->callable);
    chunk->header = (struct header){.job = job->number,
                                    .first = first,
                                    .count = count,
                                    .callable = world->callable.number,
                                    .slot = (uint32_t)world->callable.slot};
    chunk->tasks = stub_parcel(count);
    job->chunks++;
    return chunk;
}

/* ---- what kind of line they are --------------------------------------- */

static int
can_draw(struct line *line)
{
    return line->schedule != NULL && schedule_is_open(line->schedule);
}

/* Of a chunk that came back, as job.c does it. */
static void
wait_again(struct job *job, const struct chunk *chunk)
{
    struct schedule *schedule = job->line.schedule;
    uint64_t first = chunk->header.first + chunk->reply.count;
    uint64_t end = chunk->header.first + chunk->header.count;
    uint64_t limit = schedule_limited_to(schedule);
    schedule_return(schedule, first, end - first);
    end = end < limit ? end : limit;
    while (first < end) {
        uint64_t size = schedule_size(schedule);
        struct chunk *piece = chunk_new(&job->line, chunk->callable);
        piece->header = chunk->header;
        piece->header.first = first;
        piece->header.count = size < end - first ? size : end - first;
        piece->tasks = stub_parcel(piece->header.count);
        job->chunks++;
        chunks_insert(&job->line.waiting, piece);
        first += piece->header.count;
    }
}

static int
take(struct line *line, struct chunk *chunk)
{
    struct job *job = job_of(line);
    if (chunk->reply.flags & FLAG_BACK && line->schedule != NULL)
        wait_again(job, chunk);
    job->done += chunk->reply.count;
    line->untaken--;
    chunk_free(chunk);
    return 0;
}

static int
draw(struct line *line)
{
    (void)line;
    return -1;                      /* done by hand_out */
}

/* As in job.c, but in two. */
static int
cut(struct line *line)
{
    struct chunk *chunk = line->waiting.first;
    struct chunk *rest = chunk_new(line, chunk->callable);
    rest->header = chunk->header;
    rest->header.count = chunk->header.count / 2;
    rest->header.first += chunk->header.count - rest->header.count;
    chunk->header.count -= rest->header.count;
    rest->tasks = stub_parcel(rest->header.count);
    job_of(line)->chunks++;
    chunks_insert(&line->waiting, rest);
    return 0;
}

static void
fail(struct line *line, PyObject *exception)
{
    (void)line, (void)exception;
}

static int
is_stalled(struct line *line)
{
    (void)line;
    return 0;
}

static int
is_inside(const struct line *line)
{
    (void)line;
    return 0;
}

/* As in call.c: the chunk and those behind it wait again, as new ones. */
static int
take_back(struct line *line, struct chunk *chunk)
{
    struct job *job = job_of(line);
    if (!dispatch_revoke(job->dispatch, chunk))
        return 0;
    for (; chunk != NULL; chunk = chunk->next) {
        struct chunk *again = chunk_new(line, chunk->callable);
        again->header = chunk->header;
        job->chunks++;
        chunks_insert(&line->waiting, again);
    }
    return 1;
}

static void
lose(struct line *line, struct chunk *chunk, PyObject *exception)
{
    (void)line, (void)chunk, (void)exception;
}

static void
chunk_is_gone(struct line *line)
{
    job_of(line)->chunks--;
}

static const struct line_kind kind = {
    .can_draw = can_draw,
    .draw = draw,
    .cut = cut,
    .take = take,
    .fail = fail,
    .is_stalled = is_stalled,
    .is_inside = is_inside,
    .take_back = take_back,
    .lose = lose,
    .chunk_is_gone = chunk_is_gone,
};

/* A map; or, with plan NULL, calls. */
static struct job *
new_job(struct world *world, const struct schedule_job *plan, int64_t task)
{
    struct job *job = calloc(1, sizeof *job);
    CHECK(job != NULL);
    line_init(&job->line, &kind);
    job->dispatch = world->dispatch;
    job->number = world->jobs ? world->jobs->number + 1 : 1;
    job->task = task;
    job->first_given = -1;
    if (plan != NULL) {
        job->total = plan->total;
        job->line.schedule = schedule_new(plan);
        CHECK(job->line.schedule != NULL);
    }
    job->next = world->jobs;
    world->jobs = job;
    dispatch_join(world->dispatch, &job->line);
    return job;
}

/* Of more tasks than will be run; chunksize 0: the scheduler's own. */
static struct job *
new_map(struct world *world, uint64_t chunksize, int64_t task)
{
    struct schedule_job plan = {
        world->crew.workers, chunksize, UNKNOWN, {0, 0}};
    return new_job(world, &plan, task);
}

static struct job *
new_calls(struct world *world, int calls, int64_t task)
{
    struct job *job = new_job(world, NULL, task);
    for (int i = 0; i < calls; i++)
        chunks_append(&job->line.waiting,
                      new_chunk(world, job, (uint64_t)i, 1));
    return job;
}

/* ---- the end ---------------------------------------------------------- */

static void
free_all(struct chunks *chunks)
{
    struct chunk *chunk;
    while ((chunk = chunks_pop(chunks)) != NULL)
        chunk_free(chunk);
}

/* Nothing is left of what was made. */
static void
free_world(struct world *world)
{
    struct seats *seats = world->dispatch->seats;
    for (int worker = 0; worker < world->crew.workers; worker++) {
        while (seats_held(seats, worker) > 0)
            chunk_free(seats_answer(seats, worker));
    }
    free_all(&world->dispatch->answered);
    for (struct job *job = world->jobs, *next; job != NULL; job = next) {
        next = job->next;
        free_all(&job->line.waiting);
        CHECK(job->chunks == 0);
        schedule_free(job->line.schedule);
        free(job);
    }
    CHECK(world->callable.owners == 1);
    parcel_free(world->callable.parcel);
    CHECK(stub_parcels() == 0);
    seats_free(seats);
    free(world->dispatch);
    stub_clear(&world->crew);
    free(world);
}

/* ---- driving ---------------------------------------------------------- */

static void
draw_chunk(struct world *world, struct job *job)
{
    struct schedule *schedule = job->line.schedule;
    uint64_t first = schedule_drawn(schedule), left = job->total - first;
    uint64_t count = schedule_size(schedule);
    if (left <= count) {
        count = left;
        schedule_exhausted(schedule);
    }
    if (count == 0)
        return;
    schedule_draw(schedule, count);
    chunks_insert(&job->line.waiting, new_chunk(world, job, first, count));
}

/* As master.c does it. */
static void
hand_out(struct world *world)
{
    struct transport_error error;
    struct line *line;
    int worker;
    while ((line = dispatch_next(world->dispatch, &worker)) != NULL) {
        if (line->waiting.first == NULL)
            draw_chunk(world, job_of(line));
        else if (!line_is_ready(line))
            line->kind->cut(line);
        else
            CHECK(dispatch_give(world->dispatch, line, worker, &error)
                  == TRANSPORT_OK);
    }
}

static void
take_all(struct world *world)
{
    struct chunk *chunk;
    while ((chunk = chunks_pop(&world->dispatch->answered)) != NULL)
        chunk->line->kind->take(chunk->line, chunk);
}

/* Whether the worker may run the first chunk on its desk. */
static int
begin_oldest(struct world *world, int worker)
{
    const struct desk *desk = &world->desks[worker];
    return desk->count == 0 || !(desk->held[0].flags & FLAG_CLAIM)
           || claim_begin(&world->words[worker],
                          (uint32_t)desk->held[0].elapsed);
}

/* Takes the oldest chunk from the worker's desk. */
static struct header
end_oldest(struct world *world, int worker)
{
    struct desk *desk = &world->desks[worker];
    struct header header = desk->held[0];
    CHECK(desk->count > 0);
    desk->count--;
    memmove(desk->held, desk->held + 1,
            (size_t)desk->count * sizeof *desk->held);
    memmove(desk->ends, desk->ends + 1,
            (size_t)desk->count * sizeof *desk->ends);
    return header;
}

/* The worker answers for its oldest chunk: so many tasks are done, in so long.
   What the dispatch says of that. */
static int
answer(struct world *world, int worker, uint64_t done, int64_t elapsed,
       uint32_t flags)
{
    struct transport_error error;
    struct letter letter = {
        .source = worker + 1,
        .verb = VERB_ANSWER,
        .header = end_oldest(world, worker),
        .parcel = stub_parcel(10),
    };
    letter.header.count = done;
    letter.header.elapsed = (uint64_t)elapsed;
    letter.header.flags = flags;
    int status = dispatch_accept(world->dispatch, &letter, &error);
    parcel_free(letter.parcel);
    return status;
}

/* The worker whose oldest chunk ends first; NOBODY: none holds any. */
static int
first_to_end(const struct world *world)
{
    int first = NOBODY;
    for (int worker = 0; worker < world->crew.workers; worker++) {
        const struct desk *desk = &world->desks[worker];
        if (desk->count > 0
            && (first == NOBODY
                || desk->ends[0] < world->desks[first].ends[0]))
            first = worker;
    }
    return first;
}

/* A worker holds chunks of one line at a time. */
static void
check_desks(const struct world *world)
{
    for (int worker = 0; worker < world->crew.workers; worker++) {
        const struct desk *desk = &world->desks[worker];
        CHECK(desk->count == seats_held(world->dispatch->seats, worker));
        for (int i = 1; i < desk->count; i++)
            CHECK(desk->held[i].job == desk->held[0].job);
    }
}

/* Until then, or until nobody holds any chunk; 0: so it is. */
static int
run_until(struct world *world, int64_t end)
{
    struct transport_error error;
    int worker;
    hand_out(world);
    while ((worker = first_to_end(world)) != NOBODY
           && world->desks[worker].ends[0] <= end) {
        const struct header *chunk = &world->desks[worker].held[0];
        struct job *job = find_job(world, chunk->job);
        int64_t took = (int64_t)chunk->count * job->task;
        stub_now = world->now = world->desks[worker].ends[0];
        job->time += took;
        CHECK(answer(world, worker, chunk->count, took, 0) == TRANSPORT_OK);
        CHECK(begin_oldest(world, worker));
        if (world->is_fed_first)
            CHECK(dispatch_feed(world->dispatch, &error) == TRANSPORT_OK);
        take_all(world);
        hand_out(world);
        check_desks(world);
    }
    return worker != NOBODY;
}

/* ---- fairness --------------------------------------------------------- */

static int
is_near(double one, double other, double tolerance)
{
    return one <= other * (1 + tolerance) && other <= one * (1 + tolerance);
}

/* Two lines get the same time, whatever their tasks take: on an even number of
   workers as many each, and on an odd one the last in turn. */
static void
test_shares(int workers, uint64_t chunksize, int64_t one_task,
            int64_t other_task)
{
    struct world *world = new_world(workers);
    struct job *one = new_map(world, chunksize, one_task);
    struct job *other = new_map(world, chunksize, other_task);
    run_until(world, 20 * (one_task + other_task) + 50 * MILLISECOND);
    int64_t longest = one_task > other_task ? one_task : other_task;
    int64_t ahead = one->time - other->time;
    CHECK(llabs(ahead) <= workers * (longest + 2 * MILLISECOND));
    if (workers % 2 == 0) {
        CHECK(one->line.holders == workers / 2);
        CHECK(other->line.holders == workers / 2);
    }
    free_world(world);
}

/* And as many as there are, on one worker and on more. */
static void
test_many_shares(int workers, int lines)
{
    static const int64_t tasks[] = {20 * MICROSECOND, 3 * MILLISECOND,
                                    500 * MICROSECOND};
    struct world *world = new_world(workers);
    for (int i = 0; i < lines; i++)
        new_map(world, 0, tasks[i % 3]);
    run_until(world, SECOND / 5 * lines / workers);
    for (const struct job *job = world->jobs; job->next; job = job->next)
        CHECK(is_near((double)job->time, (double)job->next->time, 0.05));
    free_world(world);
}

/* A line that comes later waits for the first worker that is through with
   what it holds, or on a single one a moment more, and has its share of
   workers when all are. */
static void
test_newcomer(int workers, uint64_t chunksize, int64_t task)
{
    struct world *world = new_world(workers);
    struct job *old = new_map(world, chunksize, task);
    int64_t joined = 50 * task + 10 * MILLISECOND, longest = 0;
    run_until(world, joined);
    CHECK(old->line.holders == workers);
    for (int i = 0; i < workers; i++) {
        const struct desk *desk = &world->desks[i];
        int64_t left = desk->ends[desk->count - 1] - world->now;
        longest = left > longest ? left : longest;
    }
    struct job *new = new_map(world, chunksize, task);
    longest += workers == 1 ? 2 * MILLISECOND : 0;
    run_until(world, world->now + longest);
    CHECK(new->first_given >= 0);
    CHECK(new->line.holders >= workers / 2);
    int64_t had = old->time;
    run_until(world, world->now + 200 * MILLISECOND + 30 * task);
    /* From now on, and no more: it does not make up for what was before. */
    CHECK(is_near((double)(old->time - had), (double)new->time, 0.06));
    free_world(world);
}

/* A map, and calls that come when it has run for a while.  The GIL is had
   between any two answers, but first what waits is given without it. */
static void
test_calls_fed_first(void)
{
    struct world *world = new_world(2);
    struct job *map = new_map(world, 1, MILLISECOND);
    run_until(world, 5 * MILLISECOND);
    struct job *calls = new_calls(world, 2000, MILLISECOND);
    int64_t had = map->time;
    world->is_fed_first = 1;
    run_until(world, 500 * MILLISECOND);
    CHECK(is_near((double)(map->time - had), (double)calls->time, 0.05));
    free_world(world);
}

/* Calls get their share beside a map, and a worker one at a time. */
static void
test_calls(int workers)
{
    struct world *world = new_world(workers);
    struct job *map = new_map(world, 1, 10 * MICROSECOND);
    run_until(world, 5 * MILLISECOND);
    int64_t had = map->time;
    struct job *calls = new_calls(world, 2000, MILLISECOND);
    run_until(world, 500 * MILLISECOND);
    CHECK(calls->first_given < 7 * MILLISECOND);
    CHECK(is_near((double)(map->time - had), (double)calls->time, 0.05));
    for (int i = 0; i < workers; i++) {
        if (world->desks[i].held[0].job == calls->number)
            CHECK(world->desks[i].count == 1);
    }
    free_world(world);
}

/* ---- calls that are sent ahead ---------------------------------------- */

static struct world *
world_with_words(int workers)
{
    struct world *world = new_world(workers);
    world->mailbox.words = world->words;
    stub_now = 0;
    return world;
}

/* Quick ones, when that is known; at the end nothing waits that another could
   take. */
static void
test_ahead(void)
{
    struct world *world = world_with_words(2);
    struct job *calls = new_calls(world, 1000, 10 * MICROSECOND);
    int most = 0;
    CHECK(dispatch_patience(world->dispatch) == SIGNAL_SECONDS);
    while (run_until(world, world->now + 10 * MICROSECOND)) {
        int held = world->desks[0].count + world->desks[1].count;
        CHECK(calls->done >= 8 || held <= 2);
        CHECK(world->dispatch->ahead >= held - 2);
        CHECK(world->dispatch->ahead <= held);
        most = held > most ? held : most;
    }
    CHECK(calls->done == 1000 && most == 18);
    CHECK(world->dispatch->ahead == 0);
    free_world(world);
}

/* Not those that are long, that must run where they are, or that could not be
   taken back. */
static void
test_not_ahead(int64_t task, int is_pinned, int has_words, int most)
{
    struct world *world = world_with_words(2);
    struct job *calls = new_calls(world, 300, task);
    world->mailbox.words = has_words ? world->words : NULL;
    for (struct chunk *chunk = calls->line.waiting.first; chunk;
         chunk = chunk->next)
        chunk->is_pinned = is_pinned;
    for (int i = 0; i < 30; i++) {
        CHECK(run_until(world, world->now + task) == 1);
        CHECK(world->desks[0].count <= most);
    }
    CHECK(world->desks[0].count == most);
    free_world(world);
}

/* Two workers, of which the second holds nine chunks: the first of these turns
   out to be long, and the other worker finds nothing to do. */
static struct world *
world_with_stuck_calls(struct job **calls)
{
    struct world *world = world_with_words(2);
    *calls = new_calls(world, 1000, 10 * MICROSECOND);
    run_until(world, 2 * MILLISECOND);
    while ((*calls)->line.waiting.first != NULL)
        chunk_free(chunks_pop(&(*calls)->line.waiting));
    CHECK(world->desks[1].count > 4);
    while (world->desks[0].count > 0) {
        CHECK(answer(world, 0, 1, 10 * MICROSECOND, 0) == TRANSPORT_OK);
        CHECK(begin_oldest(world, 0));
    }
    take_all(world);
    return world;
}

static void
test_stuck(void)
{
    struct job *calls;
    struct world *world = world_with_stuck_calls(&calls);
    struct dispatch *dispatch = world->dispatch;
    int held = world->desks[1].count;
    CHECK(dispatch_find_stuck(dispatch) == NULL);   /* not for so long */
    CHECK(dispatch_patience(dispatch) < SIGNAL_SECONDS / 10);
    stub_now += MILLISECOND;
    struct chunk *stuck = dispatch_find_stuck(dispatch);
    CHECK(stuck == seats_oldest(dispatch->seats, 1)->next);
    CHECK(dispatch_is_begun(dispatch, seats_oldest(dispatch->seats, 1)));
    CHECK(!dispatch_is_begun(dispatch, stuck));
    CHECK(stuck->line->kind->take_back(stuck->line, stuck) == 1);
    CHECK(dispatch_find_stuck(dispatch) == NULL);   /* once is enough */
    hand_out(world);
    CHECK(world->desks[0].held[0].first == stuck->header.first);
    CHECK(!(world->desks[0].held[0].flags & FLAG_CLAIM));
    CHECK(world->desks[1].count == held);           /* nothing behind them */
    CHECK(answer(world, 1, 1, MILLISECOND, 0) == TRANSPORT_OK);
    double learned = world->callable.pace.tasks;
    while (world->desks[1].count > 0) {
        hand_out(world);
        CHECK(world->desks[1].count == --held);
        CHECK(!begin_oldest(world, 1));
        CHECK(answer(world, 1, 0, 0, FLAG_BACK) == TRANSPORT_OK);
    }
    CHECK(world->callable.pace.tasks == learned);
    CHECK(world->words[1] >> 32 == 0);              /* it may be sent anew */
    take_all(world);
    hand_out(world);
    CHECK(world->desks[1].count > 0);
    CHECK(run_until(world, SECOND) == 0 && dispatch->ahead == 0);
    free_world(world);
}

/* What was begun meanwhile is not taken back, nor anything when MPI ends. */
static void
test_begun(void)
{
    struct job *calls;
    struct world *world = world_with_stuck_calls(&calls);
    struct dispatch *dispatch = world->dispatch;
    stub_now += MILLISECOND;
    struct chunk *stuck = dispatch_find_stuck(dispatch);
    CHECK(claim_begin(&world->words[1], (uint32_t)stuck->header.elapsed));
    CHECK(!stuck->line->kind->take_back(stuck->line, stuck));
    CHECK(dispatch_find_stuck(dispatch) == stuck->next);
    world->mailbox.is_closed = 1;
    CHECK(dispatch_find_stuck(dispatch) == NULL);
    CHECK(dispatch_is_begun(dispatch, stuck->next));
    CHECK(!dispatch_revoke(dispatch, stuck->next));
    world->mailbox.is_closed = 0;
    struct job *map = new_map(world, 1, MILLISECOND);
    hand_out(world);                /* nobody is idle any more */
    CHECK(map->line.holders == 1);
    CHECK(dispatch_find_stuck(dispatch) == NULL);
    free_world(world);
}

/* Nor what must run where it is, though it is behind others. */
static void
test_pinned(void)
{
    struct world *world = world_with_words(2);
    struct transport_error error;
    struct job *calls = new_calls(world, 2, MILLISECOND);
    hand_out(world);
    struct chunk *chunk = new_chunk(world, calls, 2, 1);
    chunk->is_pinned = 1;
    CHECK(dispatch_send(world->dispatch, chunk, 1, &error) == TRANSPORT_OK);
    CHECK(world->desks[1].count == 2 && world->dispatch->ahead == 0);
    CHECK(!(world->desks[1].held[1].flags & FLAG_CLAIM));
    CHECK(dispatch_is_begun(world->dispatch, chunk));
    CHECK(!dispatch_revoke(world->dispatch, chunk));
    free_world(world);
}

/* Of more lines than are served at a time the first to come are, and the
   others when these have nothing left. */
static void
test_many_lines(void)
{
    enum { LINES = 200 };
    struct world *world = new_world(2);
    for (int i = 0; i < LINES; i++)
        new_calls(world, 3, MILLISECOND);
    run_until(world, 50 * MILLISECOND);
    for (const struct job *job = world->jobs; job; job = job->next)
        CHECK((job->first_given >= 0) == (job->number <= 64));
    CHECK(run_until(world, 10 * (int64_t)SECOND) == 0);
    for (const struct job *job = world->jobs; job; job = job->next)
        CHECK(job->done == 3);
    free_world(world);
}

/* A line that had nothing for long has not saved that up. */
static void
test_credit(void)
{
    struct world *world = new_world(1);
    struct job *resting = new_calls(world, 1, MILLISECOND);
    struct job *busy = new_map(world, 1, MILLISECOND);
    run_until(world, SECOND);
    for (int i = 1; i <= 1000; i++)
        chunks_append(&resting->line.waiting,
                      new_chunk(world, resting, (uint64_t)i, 1));
    int64_t had = busy->time;
    run_until(world, world->now + 100 * MILLISECOND);
    CHECK(is_near((double)(busy->time - had), (double)resting->time, 0.1));
    free_world(world);
}

/* ---- one line --------------------------------------------------------- */

/* Nobody waits behind a chunk that began before the others' last ones. */
static void
test_long_beside_short(void)
{
    struct world *world = new_world(2);
    struct job *job = new_map(world, 1, MICROSECOND);
    hand_out(world);
    for (int i = 0; i < 99; i++) {
        CHECK(answer(world, 1, 1, MICROSECOND, 0) == TRANSPORT_OK);
        take_all(world);
        hand_out(world);
        CHECK(world->desks[0].count == 1);
    }
    CHECK(schedule_drawn(job->line.schedule) == 1 + 99 + 9);
    free_world(world);
}

/* Of tasks that nobody counted, half as many are out as have come back. */
static void
test_uncounted(void)
{
    struct world *world = new_world(2);
    struct job *job = new_map(world, 0, 1);
    hand_out(world);
    while (schedule_drawn(job->line.schedule) < 100000) {
        uint64_t out = schedule_drawn(job->line.schedule) - job->done;
        int worker = first_to_end(world);
        uint64_t count = world->desks[worker].held[0].count;
        CHECK(out <= job->done / 2 + 4);
        CHECK(answer(world, worker, count, (int64_t)count, 0) == 0);
        take_all(world);
        hand_out(world);
    }
    free_world(world);
}

/* At the end nothing waits that another could take. */
static void
test_end(void)
{
    struct world *world = new_world(2);
    struct schedule_job plan = {2, 1, 40, {1000, 1}};
    new_job(world, &plan, 1000);
    hand_out(world);
    CHECK(world->desks[0].count == 1 && world->desks[1].count == 1);
    CHECK(answer(world, 0, 1, 1000, 0) == TRANSPORT_OK);
    hand_out(world);
    CHECK(world->desks[0].count == 8);  /* a share of 7 of 31, beside one */
    CHECK(world->desks[1].count == 1);
    CHECK(run_until(world, SECOND) == 0);
    CHECK(world->jobs->done == 40);
    CHECK(schedule_done(world->jobs->line.schedule));
    free_world(world);
}

/* What waits behind a late chunk is not overtaken by later tasks. */
static void
test_no_overtaking(void)
{
    struct world *world = new_world(2);
    struct schedule_job plan = {2, 0, 100000, {1000, 1}};
    struct job *job = new_job(world, &plan, 1000);
    run_until(world, 5 * MILLISECOND);
    while (world->desks[0].count < 2)
        run_until(world, world->now + 100 * MICROSECOND);
    struct header late = world->desks[0].held[0];
    struct header behind = world->desks[0].held[1];
    CHECK(behind.flags & FLAG_BACK && late.count > 1);
    uint64_t drawn = schedule_drawn(job->line.schedule);
    CHECK(answer(world, 0, 1, 20 * MILLISECOND, FLAG_BACK) == TRANSPORT_OK);
    take_all(world);
    hand_out(world);
    CHECK(world->desks[0].count == 1);
    CHECK(answer(world, 0, 0, 0, FLAG_BACK) == TRANSPORT_OK);
    take_all(world);
    hand_out(world);
    CHECK(world->desks[0].held[0].first == late.first + 1);
    CHECK(schedule_drawn(job->line.schedule) == drawn);
    CHECK(run_until(world, SECOND) == 0 && job->done == 100000);
    CHECK(schedule_done(job->line.schedule));
    free_world(world);
}

/* ---- limits ----------------------------------------------------------- */

/* Who holds tasks above is told, and what waits above goes; a chunk that lies
   across is cut. */
static void
test_limit(void)
{
    struct world *world = new_world(3);
    struct transport_error error;
    struct job *job = new_map(world, 10, MILLISECOND);
    struct chunks dropped;
    chunks_init(&dropped);
    hand_out(world);                /* 0 to 29, by ten */
    draw_chunk(world, job);
    draw_chunk(world, job);
    CHECK(dispatch_limit(world->dispatch, &job->line, 35, &dropped, &error)
          == TRANSPORT_OK);
    CHECK(world->mailbox.posts == 6);       /* callables and tasks */
    CHECK(dropped.first->header.first == 40 && !dropped.first->next);
    CHECK(job->line.waiting.first->header.count == 5);
    CHECK(dispatch_limit(world->dispatch, &job->line, 15, &dropped, &error)
          == TRANSPORT_OK);
    CHECK(job->line.waiting.first == NULL && world->last.first == 15);
    CHECK(world->sent[VERB_ABANDON][0] == 0);
    CHECK(world->sent[VERB_ABANDON][1] == 1);
    CHECK(world->sent[VERB_ABANDON][2] == 1);
    free_all(&dropped);
    CHECK(answer(world, 2, 0, 0, 0) == TRANSPORT_OK);
    CHECK(answer(world, 1, 5, MILLISECOND, 0) == TRANSPORT_OK);
    CHECK(!schedule_done(job->line.schedule));
    CHECK(answer(world, 0, 10, MILLISECOND, 0) == TRANSPORT_OK);
    CHECK(schedule_done(job->line.schedule));
    free_world(world);
}

/* What waits below is given as before. */
static void
test_limit_above(void)
{
    struct world *world = new_world(2);
    struct transport_error error;
    struct job *job = new_map(world, 10, MILLISECOND);
    struct chunks dropped;
    chunks_init(&dropped);
    hand_out(world);
    draw_chunk(world, job);
    CHECK(dispatch_limit(world->dispatch, &job->line, 25, &dropped, &error)
          == TRANSPORT_OK);
    CHECK(run_until(world, SECOND) == 0 && job->done == 25);
    CHECK(schedule_done(job->line.schedule));
    free_world(world);
}

/* Others' chunks are left alone. */
static void
test_limit_of_one(void)
{
    struct world *world = new_world(2);
    struct transport_error error;
    struct job *one = new_map(world, 2, MILLISECOND);
    struct job *other = new_map(world, 2, MILLISECOND);
    struct chunks dropped;
    chunks_init(&dropped);
    hand_out(world);
    draw_chunk(world, other);
    CHECK(dispatch_limit(world->dispatch, &one->line, 1, &dropped, &error)
          == TRANSPORT_OK);
    CHECK(world->sent[VERB_ABANDON][0] == 1);
    CHECK(world->sent[VERB_ABANDON][1] == 0);
    CHECK(world->last.job == one->number && dropped.first == NULL);
    CHECK(!schedule_done(one->line.schedule) && one->line.held == 1);
    run_until(world, SECOND);
    CHECK(schedule_done(one->line.schedule) && one->line.held == 0);
    CHECK(other->line.holders == 2 && other->done > 0);
    free_world(world);
}

/* A worker holds another line's chunk, too, sent to it whatever it holds. */
static void
test_limit_beside_sent(void)
{
    struct world *world = new_world(1);
    struct transport_error error;
    struct job *map = new_map(world, 2, MILLISECOND);
    struct job *calls = new_job(world, NULL, MILLISECOND);
    struct chunks dropped;
    chunks_init(&dropped);
    struct chunk *first = new_chunk(world, calls, 0, 1);
    CHECK(dispatch_send(world->dispatch, first, 0, &error) == TRANSPORT_OK);
    draw_chunk(world, map);
    struct chunk *second = chunks_pop(&map->line.waiting);
    CHECK(dispatch_send(world->dispatch, second, 0, &error) == TRANSPORT_OK);
    CHECK(calls->line.holders == 1 && map->line.holders == 1);
    CHECK(dispatch_limit(world->dispatch, &map->line, 1, &dropped, &error)
          == TRANSPORT_OK);
    CHECK(world->last.job == map->number && world->last.first == 1);
    CHECK(answer(world, 0, 1, MILLISECOND, 0) == TRANSPORT_OK);
    CHECK(calls->line.holders == 0 && map->line.holders == 1);
    hand_out(world);                /* nothing behind the other's */
    CHECK(world->desks[0].count == 1 && !schedule_done(map->line.schedule));
    CHECK(answer(world, 0, 1, MILLISECOND, 0) == TRANSPORT_OK);
    CHECK(schedule_done(map->line.schedule));
    free_world(world);
}

/* What came back is too large when tasks are known to be long: it is cut before
   it is given, which takes the GIL. */
static void
test_oversized(void)
{
    struct world *world = new_world(2);
    struct transport_error error;
    struct schedule_job plan = {2, 0, UNKNOWN, {0, 0}};
    struct job *job = new_job(world, &plan, MILLISECOND);
    CHECK(!line_is_ready(&job->line));      /* nothing waits */
    schedule_draw(job->line.schedule, 8);
    chunks_append(&job->line.waiting, new_chunk(world, job, 0, 8));
    CHECK(!line_is_ready(&job->line));
    CHECK(dispatch_feed(world->dispatch, &error) == TRANSPORT_OK);
    CHECK(job->line.waiting.count == 1 && job->line.held == 0);
    hand_out(world);
    CHECK(job->line.held == 2 && world->sent[VERB_TASKS][0] == 1);
    for (int i = 0; i < 2; i++)
        CHECK(seats_oldest(world->dispatch->seats, i)->header.count == 1);
    free_world(world);
}

/* What it takes to know the answers is kept of chunks that are of no use. */
static void
test_strip(void)
{
    struct world *world = new_world(2);
    struct transport_error error;
    struct schedule_job plan = {2, 0, UNKNOWN, {1000, 1}};
    struct job *one = new_job(world, &plan, 1000);
    schedule_draw(one->line.schedule, 3);
    chunks_append(&one->line.waiting, new_chunk(world, one, 0, 3));
    CHECK(dispatch_give(world->dispatch, &one->line, 0, &error)
          == TRANSPORT_OK);
    struct job *other = new_map(world, 2, MILLISECOND);
    hand_out(world);
    int parcels = stub_parcels(), owners = (int)world->callable.owners;
    dispatch_part(world->dispatch, &one->line);
    dispatch_strip(world->dispatch, &one->line);
    CHECK(stub_parcels() == parcels - 1);
    CHECK(world->callable.owners == (size_t)owners - 1);
    schedule_free(one->line.schedule);
    one->line.schedule = NULL;      /* as job.c does */
    struct letter need = {
        .source = 1, .verb = VERB_NEED, .header = {.callable = 7}};
    CHECK(dispatch_accept(world->dispatch, &need, &error) == TRANSPORT_OK);
    CHECK(world->sent[VERB_CALLABLE][0] == 1);
    CHECK(answer(world, 0, 3, 3000, 0) == TRANSPORT_OK);
    CHECK(one->line.held == 0 && one->line.holders == 0);
    take_all(world);
    hand_out(world);
    CHECK(one->chunks == 0 && other->line.holders == 2);
    free_world(world);
}

/* A limit that falls while the answer of a chunk that came back has not been
   taken in yet. */
static void
test_limit_before_return(void)
{
    struct world *world = new_world(2);
    struct transport_error error;
    struct schedule_job plan = {2, 0, 10000, {1000, 1}};
    struct job *job = new_job(world, &plan, 1000);
    struct chunks dropped;
    chunks_init(&dropped);
    hand_out(world);
    uint64_t limit = world->desks[1].held[0].first + 1;
    CHECK(answer(world, 1, 1, 1000, FLAG_FAILED) == TRANSPORT_OK);
    CHECK(answer(world, 0, 1, 20 * MILLISECOND, FLAG_BACK) == TRANSPORT_OK);
    CHECK(dispatch_limit(world->dispatch, &job->line, limit, &dropped, &error)
          == TRANSPORT_OK);
    CHECK(dropped.first == NULL);
    take_all(world);
    CHECK(!schedule_done(job->line.schedule));
    CHECK(run_until(world, SECOND) == 0 && job->done == limit);
    CHECK(schedule_done(job->line.schedule));
    free_world(world);
}

/* ---- answers ---------------------------------------------------------- */

/* The worker's chunk has tasks 0 to 4, whose results are wanted, and may come
   back. */
static int
may_answer(const struct header *reply, int worker, int has_parcel)
{
    uint32_t flags = reply->flags;
    uint64_t done = reply->count + ((flags & FLAG_FAILED) != 0);
    int needs_parcel = flags & FLAG_FAILED || reply->count > 0;
    return worker == 0 && reply->elapsed <= INT64_MAX
           && !(flags & FLAG_NO_RESULTS && reply->count > 0) && reply->job == 1
           && reply->first == 0 && reply->count <= 5 && done <= 5
           && (has_parcel || !needs_parcel)
           && !(flags & FLAG_BACK && flags & FLAG_FAILED);
}

static void
try_answer(struct header reply, int worker, int has_parcel)
{
    struct world *world = new_world(2);
    struct transport_error error = {0};
    struct schedule_job plan = {2, 0, 5000, {1000, 1}};
    struct job *job = new_job(world, &plan, 1000);
    schedule_draw(job->line.schedule, 5);
    chunks_append(&job->line.waiting, new_chunk(world, job, 0, 5));
    CHECK(dispatch_feed(world->dispatch, &error) == TRANSPORT_OK);
    CHECK(world->desks[0].held[0].flags & FLAG_BACK);
    struct letter letter = {
        .source = worker + 1,
        .verb = VERB_ANSWER,
        .header = reply,
        .parcel = has_parcel ? stub_parcel(10) : NULL,
    };
    int is_right = may_answer(&reply, worker, has_parcel);
    int status = dispatch_accept(world->dispatch, &letter, &error);
    CHECK(status == (is_right ? TRANSPORT_OK : TRANSPORT_FAILED));
    CHECK((error.text[0] != '\0') == !is_right);
    CHECK((letter.parcel != NULL) == (has_parcel && !is_right));
    CHECK(seats_held(world->dispatch->seats, 0) == !is_right);
    CHECK(job->line.untaken == is_right && job->line.holders == !is_right);
    CHECK((world->dispatch->answered.first != NULL) == is_right);
    parcel_free(letter.parcel);
    free_world(world);
}

/* An answer that does not fit is refused, and changes nothing. */
static void
test_refusals(void)
{
    static const uint64_t numbers[] = {0,         1, 4, 5, 6, UINT64_MAX - 1,
                                       UINT64_MAX};
    static const uint32_t flags[] = {0, FLAG_FAILED, FLAG_BACK,
                                     FLAG_FAILED | FLAG_BACK, FLAG_NO_RESULTS};
    for (int i = 0; i < 2 * 2 * 2 * 2 * 7 * 5; i++) {
        struct header reply = {
            .job = (uint64_t)(i & 1) + 1,
            .first = (uint64_t)(i >> 1 & 1),
            .count = numbers[(i >> 4) % 7],
            .flags = flags[(i >> 4) / 7],
        };
        try_answer(reply, i >> 2 & 1, i >> 3 & 1);
    }
    /* From ranks that are no workers, and of a chunk that took centuries. */
    try_answer((struct header){.job = 1, .count = 5}, -1, 1);
    try_answer((struct header){.job = 1, .count = 5}, 2, 1);
    try_answer((struct header){.job = 1, .count = 5, .elapsed = UINT64_MAX}, 0,
               1);
}

/* Whoever was not given leave to return tasks may not. */
static void
test_no_leave_to_return(void)
{
    struct world *world = new_world(2);
    new_map(world, 5, 1000);
    hand_out(world);
    CHECK(answer(world, 0, 2, 1000, FLAG_BACK) == TRANSPORT_FAILED);
    free_world(world);
}

static void
test_lost_answer(void)
{
    struct world *world = new_world(1);
    struct job *job = new_map(world, 3, MILLISECOND);
    CHECK(dispatch_lose(world->dispatch, 0) == NULL);
    hand_out(world);
    struct chunk *chunk = dispatch_lose(world->dispatch, 0);
    CHECK(chunk != NULL && chunk->header.count == 3);
    CHECK(job->line.held == 0 && job->line.holders == 0);
    CHECK(seats_idle(world->dispatch->seats) == 0);
    schedule_exhausted(job->line.schedule);
    CHECK(!schedule_done(job->line.schedule));
    chunk_free(chunk);
    free_world(world);
}

/* A call that was cancelled while it waits is given to nobody, and counts as
   answered. */
static void
test_cancelled(void)
{
    struct world *world = new_world(1);
    struct job *calls = new_calls(world, 3, MILLISECOND);
    calls->line.waiting.first->is_cancelled = 1;
    hand_out(world);
    CHECK(world->desks[0].held[0].first == 1);
    CHECK(calls->line.untaken == 1);
    CHECK(world->dispatch->answered.first->header.first == 0);
    CHECK(!world->dispatch->answered.first->is_given);
    free_world(world);
}

/* ---- messages --------------------------------------------------------- */

/* What a worker needs is sent before, once; and again when it asks. */
static void
test_supply(void)
{
    struct world *world = new_world(2);
    struct transport_error error;
    struct job *job = new_map(world, 1, MILLISECOND);
    unsigned char sent[2] = {0, 1};
    struct initializer initializer = {stub_parcel(1), sent, NULL};
    job->line.initializer = &initializer;
    run_until(world, 100 * MILLISECOND);
    for (int i = 0; i < 2; i++) {
        CHECK(world->sent[VERB_CALLABLE][i] == 1);
        CHECK(world->sent[VERB_TASKS][i] > 90);
        CHECK(world->sent[VERB_INITIALIZE][i] == (i == 0) && sent[i]);
    }
    struct letter need = {
        .source = 2, .verb = VERB_NEED, .header = {.callable = 6}};
    CHECK(dispatch_accept(world->dispatch, &need, &error) == TRANSPORT_OK);
    CHECK(world->sent[VERB_CALLABLE][1] == 1);      /* of an earlier job */
    need.header.callable = 7;
    CHECK(dispatch_accept(world->dispatch, &need, &error) == TRANSPORT_OK);
    CHECK(world->sent[VERB_CALLABLE][0] == 1);
    CHECK(world->sent[VERB_CALLABLE][1] == 2);
    parcel_free(initializer.parcel);
    free_world(world);
}

/* What may come back is kept: not one task alone that is begun at once. */
static void
test_kept_tasks(void)
{
    struct world *world = new_world(2);
    struct schedule_job plan = {2, 0, UNKNOWN, {1000, 1}};
    struct job *job = new_job(world, &plan, 1000);
    struct transport_error error;
    for (int i = 0; i < 2; i++) {
        uint64_t count = (uint64_t)i + 1;
        uint64_t first = schedule_drawn(job->line.schedule);
        schedule_draw(job->line.schedule, count);
        chunks_append(&job->line.waiting, new_chunk(world, job, first, count));
        CHECK(dispatch_give(world->dispatch, &job->line, i, &error)
              == TRANSPORT_OK);
    }
    for (int i = 0; i < 2; i++) {
        const struct header *header = &world->desks[i].held[0];
        CHECK(header->elapsed > 0);
        CHECK(((header->flags & FLAG_BACK) != 0) == (i == 1));
        CHECK((seats_oldest(world->dispatch->seats, i)->tasks != NULL)
              == (i == 1));
    }
    free_world(world);
}

/* A large callable goes to all that are idle and will have a chunk, in one
   message; but not when workers may be elsewhere, nor to one that is busy. */
static void
test_tree(int released, uint64_t tasks, int posts)
{
    struct transport_error error;
    struct world *world = new_world(8);
    struct schedule_job plan = {8, 1, tasks, {0, 0}};
    world->crew.released = released;
    parcel_free(world->callable.parcel);
    world->callable.parcel = stub_parcel(1000001);
    new_job(world, &plan, MILLISECOND);
    hand_out(world);
    CHECK(world->mailbox.posts == posts + (int)tasks);
    for (int i = 0; i < 8; i++)
        CHECK(world->sent[VERB_CALLABLE][i] == (i < (int)tasks));
    struct letter need = {
        .source = 1, .verb = VERB_NEED, .header = {.callable = 7}};
    CHECK(dispatch_accept(world->dispatch, &need, &error) == TRANSPORT_OK);
    CHECK(world->sent[VERB_CALLABLE][0] == 2);
    free_world(world);
}

/* A single call's goes to its worker alone. */
static void
test_large_call(void)
{
    struct world *world = new_world(8);
    parcel_free(world->callable.parcel);
    world->callable.parcel = stub_parcel(1000001);
    new_calls(world, 2, MILLISECOND);
    hand_out(world);
    CHECK(world->mailbox.posts == 4);
    for (int i = 0; i < 8; i++)
        CHECK(world->sent[VERB_CALLABLE][i] == (i < 2));
    free_world(world);
}

/* To the idle in one message, if it is large and they can pass it on. */
static void
test_broadcast(size_t size, int released, int busy, int posts)
{
    struct world *world = new_world(4);
    struct transport_error error;
    struct parcel *parcel = stub_parcel(size);
    struct header header = {.pool = 3};
    world->crew.released = released;
    new_calls(world, busy, MILLISECOND);
    hand_out(world);
    int before = world->mailbox.posts;
    CHECK(
        dispatch_broadcast(world->dispatch, VERB_BIND, &header, parcel, &error)
        == TRANSPORT_OK);
    CHECK(world->mailbox.posts - before == posts && world->last.pool == 3);
    for (int i = 0; i < 4; i++)
        CHECK(world->sent[VERB_BIND][i] == 1);
    world->mailbox.fails_after = world->mailbox.posts;
    CHECK(
        dispatch_broadcast(world->dispatch, VERB_BIND, &header, parcel, &error)
        == TRANSPORT_FAILED);
    parcel_free(parcel);
    free_world(world);
}

/* The first of all lines finds the idle in their order. */
static void
test_order(void)
{
    struct world *world = new_world(3);
    struct job *calls = new_calls(world, 3, MILLISECOND);
    hand_out(world);
    for (int worker = 2; worker >= 0; worker--)
        CHECK(answer(world, worker, 1, MILLISECOND, 0) == TRANSPORT_OK);
    CHECK(seats_idle(world->dispatch->seats) == 2);
    dispatch_part(world->dispatch, &calls->line);
    new_calls(world, 1, MILLISECOND);
    CHECK(seats_idle(world->dispatch->seats) == 0);
    free_world(world);
}

/* Where a message cannot be sent the chunk waits as before. */
static void
test_failed_post(int after)
{
    struct world *world = new_world(2);
    struct transport_error error = {0};
    struct job *calls = new_calls(world, 2, MILLISECOND);
    unsigned char sent[2] = {0, 0}, others_sent[2] = {0, 0};
    struct initializer initializer = {stub_parcel(1), sent, NULL};
    struct initializer others = {initializer.parcel, others_sent, NULL};
    calls->line.initializer = &initializer;
    CHECK(dispatch_feed(world->dispatch, &error) == TRANSPORT_OK);
    calls = new_calls(world, 1, MILLISECOND);
    world->mailbox.fails_after = world->mailbox.posts + after;
    calls->line.initializer = &others;
    world->callable.number++;
    CHECK(answer(world, 1, 1, MILLISECOND, 0) == TRANSPORT_OK);
    CHECK(dispatch_feed(world->dispatch, &error) == TRANSPORT_FAILED);
    CHECK(calls->line.waiting.first != NULL && calls->line.holders == 0);
    CHECK(!calls->line.waiting.first->is_given);
    CHECK(others_sent[1] == (after == 2));
    CHECK(seats_idle(world->dispatch->seats) == 1);
    parcel_free(initializer.parcel);
    free_world(world);
}

/* What needs Python is left to the caller. */
static void
test_receive(void)
{
    struct world *world = new_world(1);
    struct transport_error error;
    new_calls(world, 1, MILLISECOND);
    hand_out(world);
    struct dispatch *dispatch = world->dispatch;
    struct letter letter = {.source = 1, .verb = VERB_UNBOUND};
    CHECK(dispatch_receive(dispatch, 0, &error) == TRANSPORT_NOTHING);
    world->mailbox.coming = &letter;
    CHECK(dispatch_receive(dispatch, 0, &error) == DISPATCH_PYTHON);
    letter.verb = VERB_ANSWER;
    letter.header = end_oldest(world, 0);
    letter.parcel = stub_parcel(3);
    world->mailbox.is_large = 1;
    CHECK(dispatch_receive(dispatch, 0, &error) == DISPATCH_PYTHON);
    CHECK(world->mailbox.coming == &letter);
    world->mailbox.is_large = 0;
    CHECK(dispatch_receive(dispatch, 0, &error) == TRANSPORT_OK);
    CHECK(dispatch->answered.first->answer == letter.parcel);
    letter.parcel = stub_parcel(3);
    world->mailbox.coming = &letter;        /* once too often: it is freed */
    CHECK(dispatch_receive(dispatch, 0, &error) == TRANSPORT_FAILED);
    free_world(world);
}

/* ---- all of it -------------------------------------------------------- */

static void
test_fairness(void)
{
    static const int64_t tasks[] = {20 * MICROSECOND, 300 * MICROSECOND,
                                    5 * MILLISECOND, 100 * MILLISECOND};
    for (int workers = 1; workers <= 5; workers++) {
        for (int i = 0; i < 2 * 4 * 4; i++)
            test_shares(workers, (uint64_t)(i / 16), tasks[i / 4 % 4],
                        tasks[i % 4]);
        for (int i = 0; i < 2 * 4; i++)
            test_newcomer(workers, (uint64_t)(i / 4), tasks[i % 4]);
        test_calls(workers);
        test_many_shares(workers, 3);
        test_many_shares(workers, 10);
    }
}

int
main(void)
{
    test_calls_fed_first();
    test_credit();
    test_fairness();
    test_ahead();
    test_not_ahead(10 * MICROSECOND, 0, 1, 9);
    test_not_ahead(100 * MICROSECOND, 0, 1, 2);
    test_not_ahead(2 * MILLISECOND, 0, 1, 1);
    test_not_ahead(10 * MICROSECOND, 1, 1, 1);
    test_not_ahead(10 * MICROSECOND, 0, 0, 1);
    test_stuck();
    test_begun();
    test_pinned();
    test_many_lines();
    test_long_beside_short();
    test_uncounted();
    test_end();
    test_no_overtaking();
    test_limit();
    test_limit_above();
    test_limit_of_one();
    test_limit_beside_sent();
    test_oversized();
    test_strip();
    test_limit_before_return();
    test_refusals();
    test_no_leave_to_return();
    test_lost_answer();
    test_cancelled();
    test_supply();
    test_kept_tasks();
    test_tree(0, 8, 1);
    test_tree(0, 3, 1);
    test_tree(1, 8, 8);
    test_large_call();
    test_broadcast(1000, 0, 1, 4);
    test_broadcast(1000001, 1, 1, 4);
    test_broadcast(1000001, 0, 1, 2);
    test_broadcast(1000001, 0, 3, 4);
    test_broadcast(1000001, 0, 0, 1);
    test_order();
    for (int after = 0; after < 3; after++)
        test_failed_post(after);
    test_receive();
    return 0;
}
