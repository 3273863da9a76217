/* schedule_test.c -- every order of events, on a small scale, against a
   model that is too simple to be wrong.

   A run asks choose() at every point where more than one thing may happen
   next; main() repeats the run until each choice has been made in each way.
   So there is no list of cases to forget one of: a run is any sequence of
   joins, chunks, answers and limits that the contract of schedule.h allows.
   Compiled with -DSHORT_RUN=1, so that a few tasks suffice for all policies.
   After each event all that the scheduler says must be what the model says,
   and every answer that would be wrong then must be refused. */

#include "schedule.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST_WORKERS 3
#define MOST_TASKS 5
#define MOST_EVENTS 64
#define NOBODY (-1)
#define DEPTH 2                 /* chunks that a worker holds at most */
#define LONG 100001             /* nanoseconds, just too many to be short */

#define CHECK(what) check((what), #what, __LINE__)

/* ---- choices ---------------------------------------------------------- */

static struct {
    int made[MOST_EVENTS];      /* the path: what was chosen */
    int options[MOST_EVENTS];   /* out of how many */
    int length;
    int at;                     /* how far the present run has come */
} path;

static int
choose(int options)
{
    if (path.at == path.length) {
        path.made[path.length] = 0;
        path.options[path.length++] = options;
    }
    return path.made[path.at++];
}

/* Has an earlier run been here, on the same path?  Then all was checked. */
static int
seen(void)
{
    return path.at < path.length;
}

/* To the next path; 0 after the last one. */
static int
turn(void)
{
    path.at = 0;
    while (path.length > 0
           && ++path.made[path.length - 1] == path.options[path.length - 1])
        path.length--;
    return path.length > 0;
}

static void
check(int holds, const char *what, int line)
{
    if (holds)
        return;
    printf("line %d: not so: %s; path", line, what);
    for (int i = 0; i < path.at; i++)
        printf(" %d/%d", path.made[i], path.options[i]);
    printf("\n");
    exit(1);
}

/* ---- the model -------------------------------------------------------- */

enum state { WAITING, HELD, ANSWERED, LEFT_OUT };

struct scene {                  /* what is the same in all runs of a set */
    int workers;
    int tasks;
    int chunksize;              /* as the caller gave it */
    int limits;                 /* how often the limit may be lowered, */
    int partial;                /* an answer or a chunk be cut short */
    int is_short;               /* every chunk runs so */
};

struct model {
    struct scene scene;         /* limits and partial: those left */
    struct schedule *schedule;  /* what is tested */
    enum state state[MOST_TASKS];
    int holder[MOST_TASKS];
    int chunk[MOST_TASKS];      /* the first task of its chunk */
    int joined[MOST_WORKERS];
    int idle[MOST_WORKERS];     /* longest first */
    int idle_count;
    int last_answered;          /* worker, if its chunk was short */
    int given;
    int limit;                  /* beyond all tasks: none */
    int exhausted;
};

/* The worker's oldest chunk. */
static int
chunk_first(const struct model *model, int worker)
{
    for (int task = 0; task < model->given; task++) {
        if (model->state[task] == HELD && model->holder[task] == worker)
            return task;
    }
    return NOBODY;
}

static int
chunk_count(const struct model *model, int worker)
{
    int first = chunk_first(model, worker), count = 0;
    for (int task = 0; task < model->given; task++)
        count += first != NOBODY && model->chunk[task] == first;
    return count;
}

static int
chunks_held(const struct model *model, int worker)
{
    int count = 0;
    for (int task = 0; task < model->given; task++) {
        count += model->state[task] == HELD && model->holder[task] == worker
                 && model->chunk[task] == task;
    }
    return count;
}

static int
is_over(const struct model *model)
{
    return model->exhausted || model->given >= model->limit;
}

static int
is_done(const struct model *model)
{
    for (int task = 0; task < model->given && task < model->limit; task++) {
        if (model->state[task] != ANSWERED)
            return 0;
    }
    return is_over(model);
}

static int
who_is_next(const struct model *model)
{
    int last = model->last_answered;
    if (is_over(model))
        return NOBODY;
    if (model->idle_count > 0)
        return model->idle[0];
    return last != NOBODY && chunks_held(model, last) < DEPTH ? last : NOBODY;
}

static int
next_count(const struct model *model)
{
    int count = model->scene.chunksize == 0 ? 1 : model->scene.chunksize;
    int room = model->limit - model->given;
    return count < room ? count : room;
}

/* ---- what the scheduler must say now ---------------------------------- */

static int
holds_above(const struct model *model, int worker)
{
    for (int task = model->limit; task < model->given; task++) {
        if (model->state[task] == HELD && model->holder[task] == worker)
            return 1;
    }
    return 0;
}

static void
check_questions(const struct model *model)
{
    struct schedule *schedule = model->schedule;
    uint64_t count = 0;
    CHECK(schedule_next(schedule, &count) == who_is_next(model));
    if (who_is_next(model) != NOBODY)
        CHECK(count == (uint64_t)next_count(model));
    CHECK(schedule_given(schedule) == (uint64_t)model->given);
    CHECK(schedule_done(schedule) == is_done(model));
    for (int i = 0; i < model->scene.workers; i++)
        CHECK(schedule_holds_above(schedule, i) == holds_above(model, i));
}

/* A refused answer changes nothing: the caller asks again afterwards. */
static void
check_refusals(const struct model *model)
{
    struct schedule *schedule = model->schedule;
    for (int worker = -1; worker <= model->scene.workers; worker++) {
        int mine = chunk_first(model, worker);
        int most = chunk_count(model, worker);
        for (int first = 0; first <= MOST_TASKS; first++) {
            for (int done = 0; done <= MOST_TASKS + 1; done++) {
                if (mine == NOBODY || first != mine || done > most)
                    CHECK(schedule_answer(schedule, worker, (uint64_t)first,
                                          (uint64_t)done, 0)
                          == -1);
            }
        }
        CHECK(schedule_answer(schedule, worker, UINT64_MAX, UINT64_MAX, 0)
              == -1);
    }
}

/* ---- events ----------------------------------------------------------- */

static void
do_join(struct model *model, int worker)
{
    schedule_join(model->schedule, worker);
    model->joined[worker] = 1;
    model->idle[model->idle_count++] = worker;
}

static void
do_answer(struct model *model, int worker)
{
    int first = chunk_first(model, worker);
    int done = chunk_count(model, worker);
    if (model->scene.partial > 0) {
        int left_out = choose(done + 1);
        model->scene.partial -= left_out > 0;
        for (int i = 0; i < left_out; i++)
            model->state[first + --done] = LEFT_OUT;
    }
    for (int i = 0; i < done; i++)
        model->state[first + i] = ANSWERED;
    if (chunks_held(model, worker) == 0)
        model->idle[model->idle_count++] = worker;
    model->last_answered = model->scene.is_short ? worker : NOBODY;
    CHECK(schedule_answer(model->schedule, worker, (uint64_t)first,
                          (uint64_t)done,
                          model->scene.is_short ? LONG - 1 : LONG)
          == 0);
}

/* Below the one in force, at it, or above: the last two change nothing. */
static void
do_limit(struct model *model)
{
    int limit = choose(model->scene.tasks + 1);
    schedule_limit(model->schedule, (uint64_t)limit);
    model->scene.limits--;
    if (limit < model->limit)
        model->limit = limit;
}

static void
do_exhaust(struct model *model)
{
    schedule_exhausted(model->schedule);
    model->exhausted = 1;
}

/* Hands out the next chunk, or finds that the tasks have run out. */
static void
do_give(struct model *model)
{
    int worker = who_is_next(model), first = model->given;
    int count = next_count(model), left = model->scene.tasks - model->given;
    if (left < count) {
        do_exhaust(model);
        count = left;
    }
    if (model->scene.partial > 0 && count > 0) {
        int kept_back = choose(count + 1);
        model->scene.partial -= kept_back > 0;
        count -= kept_back;
    }
    CHECK(schedule_give(model->schedule, worker, (uint64_t)count)
          == (uint64_t)model->given);
    for (int i = 0; i < count; i++) {
        CHECK(model->given < model->limit);
        model->state[model->given] = HELD;
        model->chunk[model->given] = first;
        model->holder[model->given++] = worker;
    }
    if (count > 0 && model->idle_count > 0 && model->idle[0] == worker) {
        model->idle_count--;
        for (int i = 0; i < model->idle_count; i++)
            model->idle[i] = model->idle[i + 1];
    }
}

/* ---- runs ------------------------------------------------------------- */

struct event {
    void (*worker_event)(struct model *, int);
    void (*event)(struct model *);
    int worker;
};

static int
list_events(const struct model *model, struct event *events)
{
    int count = 0;
    for (int i = 0; i < model->scene.workers; i++) {
        if (!model->joined[i])
            events[count++] = (struct event){do_join, NULL, i};
        if (chunk_first(model, i) != NOBODY)
            events[count++] = (struct event){do_answer, NULL, i};
    }
    if (who_is_next(model) != NOBODY)
        events[count++] = (struct event){NULL, do_give, 0};
    if (model->scene.limits > 0)
        events[count++] = (struct event){NULL, do_limit, 0};
    return count;
}

/* One event; 0 when there is none left: no chunk is held, all have joined,
   and nothing is to be handed out. */
static int
step(struct model *model)
{
    struct event events[2 * MOST_WORKERS + 2];
    if (!seen()) {
        check_questions(model);
        check_refusals(model);
        check_questions(model);
    }
    int count = list_events(model, events);
    if (count == 0)
        return 0;
    struct event event = events[count == 1 ? 0 : choose(count)];
    if (event.event != NULL)
        event.event(model);
    else
        event.worker_event(model, event.worker);
    return 1;
}

static void
run(struct scene scene)
{
    struct model model = {
        .scene = scene, .limit = MOST_TASKS + 100, .last_answered = NOBODY};
    model.schedule = schedule_new(scene.workers, (uint64_t)scene.chunksize);
    CHECK(model.schedule != NULL);
    while (step(&model))
        ;
    schedule_free(model.schedule);
}

static long
explore(struct scene scene)
{
    long paths = 0;
    do {
        run(scene);
        paths++;
    } while (turn());
    return paths;
}

/* ---- and on a large scale --------------------------------------------- */

/* A million chunks for 10^5 workers, one question in between: hopeless if
   any of it took time in proportion to the workers. */
static void
run_large(void)
{
    enum { WORKERS = 100000, CHUNKS = 1000000 };
    struct schedule *schedule = schedule_new(WORKERS, 3);
    uint64_t count = 0;
    CHECK(schedule != NULL);
    for (int i = 0; i < WORKERS; i++)
        schedule_join(schedule, i);
    for (int i = 0; i < CHUNKS; i++) {
        int worker = i % WORKERS;
        uint64_t first = 3 * (uint64_t)i;
        CHECK(schedule_next(schedule, &count) == worker && count == 3);
        CHECK(schedule_give(schedule, worker, count) == first);
        CHECK(schedule_answer(schedule, worker, first, 3, 1) == 0);
        CHECK(!schedule_done(schedule));
    }
    schedule_exhausted(schedule);
    CHECK(schedule_done(schedule));
    schedule_free(schedule);
}

/* One chunk may be as large as the numbers go. */
static void
run_huge_chunk(void)
{
    struct schedule *schedule = schedule_new(1, UINT64_MAX);
    uint64_t count = 0;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    CHECK(schedule_next(schedule, &count) == 0 && count == UINT64_MAX);
    CHECK(schedule_give(schedule, 0, 7) == 0);
    CHECK(schedule_answer(schedule, 0, 0, 7, 1) == 0);
    CHECK(schedule_next(schedule, &count) == 0 && count == UINT64_MAX - 7);
    schedule_free(schedule);
}

/* A worker that joins twice is still one worker. */
static void
run_joined_twice(void)
{
    struct schedule *schedule = schedule_new(2, 0);
    uint64_t count;
    CHECK(schedule != NULL);
    schedule_join(schedule, 1);
    schedule_join(schedule, 1);
    CHECK(schedule_give(schedule, 1, 1) == 0);
    CHECK(schedule_next(schedule, &count) == NOBODY);
    schedule_free(schedule);
}

/* One long chunk, and nothing waits behind another until several in a row
   were short again. */
static void
run_short_and_long(int needed)
{
    struct schedule *schedule = schedule_new(1, 1);
    uint64_t count, first = 0;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < needed; i++, first++) {
            CHECK(schedule_give(schedule, 0, 1) == first);
            CHECK(schedule_next(schedule, &count) == NOBODY);
            CHECK(schedule_answer(schedule, 0, first, 1, LONG - 1) == 0);
        }
        CHECK(schedule_give(schedule, 0, 1) == first);
        CHECK(schedule_next(schedule, &count) == 0);
        CHECK(schedule_give(schedule, 0, 1) == first + 1);
        CHECK(schedule_next(schedule, &count) == NOBODY);
        CHECK(schedule_answer(schedule, 0, first, 1, LONG) == 0);
        CHECK(schedule_next(schedule, &count) == NOBODY);
        CHECK(schedule_answer(schedule, 0, first + 1, 1, LONG) == 0);
        first += 2;
    }
    schedule_free(schedule);
}

/* Nobody waits behind a chunk that began before the others' last ones. */
static void
run_long_beside_short(void)
{
    struct schedule *schedule = schedule_new(2, 1);
    uint64_t count;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    schedule_join(schedule, 1);
    CHECK(schedule_give(schedule, 0, 1) == 0);
    CHECK(schedule_give(schedule, 1, 1) == 1);
    for (uint64_t task = 1; task < 100; task++) {
        CHECK(schedule_answer(schedule, 1, task, 1, 1) == 0);
        while (schedule_next(schedule, &count) != NOBODY) {
            CHECK(schedule_next(schedule, &count) == 1);
            schedule_give(schedule, 1, 1);
        }
    }
    CHECK(schedule_given(schedule) == 102);
    schedule_free(schedule);
}

/* The limit may fall into a chunk between next and give: a task that was
   drawn made it fall.  Only the part below it is waited for. */
static void
run_limit_while_drawing(void)
{
    struct schedule *schedule = schedule_new(1, 5);
    uint64_t count;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    CHECK(schedule_next(schedule, &count) == 0 && count == 5);
    schedule_limit(schedule, 2);
    CHECK(schedule_give(schedule, 0, 5) == 0);
    CHECK(schedule_holds_above(schedule, 0) && !schedule_done(schedule));
    CHECK(schedule_answer(schedule, 0, 0, 2, 1) == 0);
    CHECK(schedule_done(schedule));
    schedule_free(schedule);
}

/* Chunksize 0 is 1 for now, so a few tasks suffice for it.  The more can go
   wrong in a run, the smaller the scenes: there are too many runs else. */
static long
explore_all(int workers, int tasks, int chunksize)
{
    if (chunksize == 0 && tasks > 3)
        return 0;
    long runs = 0;
    for (int s = 0; s < 2; s++) {
        if (workers + tasks < MOST_WORKERS + MOST_TASKS - s)
            runs +=
                explore((struct scene){workers, tasks, chunksize, 1, 0, s});
        if (workers + tasks < MOST_WORKERS + MOST_TASKS - 2 * s)
            runs +=
                explore((struct scene){workers, tasks, chunksize, 0, 1, s});
        if (workers + tasks <= 5 - s)
            runs +=
                explore((struct scene){workers, tasks, chunksize, 2, 2, s});
    }
    return runs;
}

int
main(void)
{
    long runs = 0;
    for (int workers = 0; workers <= MOST_WORKERS; workers++) {
        for (int tasks = 0; tasks <= MOST_TASKS; tasks++) {
            for (int chunksize = 0; chunksize <= MOST_TASKS; chunksize++)
                runs += explore_all(workers, tasks, chunksize);
        }
    }
    run_large();
    run_huge_chunk();
    run_joined_twice();
    run_short_and_long(SHORT_RUN);
    run_long_beside_short();
    run_limit_while_drawing();
    printf("%ld runs\n", runs);
    return 0;
}
