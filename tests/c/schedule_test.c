/* schedule_test.c -- every order of events, on a small scale, against a
   model that is too simple to be wrong.

   A run asks choose() at every point where more than one thing may happen
   next; main() repeats the run until each choice has been made in each way.
   So there is no list of cases to forget one of: a run is any sequence of
   joins, chunks, answers and limits that the contract of schedule.h allows.
   After each event all that the scheduler says must be what the model says,
   and every answer that would be wrong then must be refused.  How large a
   chunk is that the scheduler chose itself is looked at on a larger scale,
   below. */

#include "schedule.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST_WORKERS 3
#define MOST_TASKS 5
#define MOST_EVENTS 64
#define NOBODY (-1)
#define UNKNOWN SCHEDULE_UNKNOWN
#define MILLISECOND 1000000u    /* in nanoseconds */

#define CHECK(what) check((what), #what, __LINE__)

static struct schedule *
new_schedule(int workers, uint64_t chunksize)
{
    struct schedule_job job = {workers, chunksize, UNKNOWN, {0, 0}};
    return schedule_new(&job);
}

static int
answer(struct schedule *schedule, int worker, uint64_t first, uint64_t done,
       uint64_t elapsed)
{
    struct schedule_answer all = {
        .worker = worker, .first = first, .done = done, .elapsed = elapsed};
    return schedule_answer(schedule, &all);
}

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

enum state { WAITING, HELD, ANSWERED, LEFT_OUT, BACK };

struct scene {                  /* what is the same in all runs of a set */
    int workers;
    int tasks;
    int chunksize;              /* as the caller gave it */
    int limits;                 /* how often the limit may be lowered, */
    int partial;                /* an answer or a chunk be cut short */
    int is_back;                /* what an answer leaves out came back */
    int is_counted;             /* the scheduler knows how many tasks */
    int pace;                   /* which of these: what a task takes */
};

/* Nanoseconds, and how many chunks of a few such tasks a worker may hold. */
static const struct pace {
    uint64_t task;
    int depth;
} paces[] = {{100, 9}, {MILLISECOND / 10, 2}, {2 * MILLISECOND, 1}};

#define PACES 3

struct model {
    struct scene scene;         /* limits and partial: those left */
    struct schedule *schedule;  /* what is tested */
    enum state state[MOST_TASKS];
    int holder[MOST_TASKS];
    int chunk[MOST_TASKS];      /* the first task of its chunk */
    int moment[MOST_TASKS];     /* at which it was given, or came back */
    int moments;
    int joined[MOST_WORKERS];
    int idle[MOST_WORKERS];     /* longest first */
    int idle_count;
    int last_answered;          /* worker; NOBODY: none with a task done */
    int came_back[MOST_TASKS];
    int learned;                /* a task was done */
    int given;
    int limit;                  /* beyond all tasks: none */
    int exhausted;
};

/* The worker's oldest chunk. */
static int
chunk_first(const struct model *model, int worker)
{
    int first = NOBODY;
    for (int task = 0; task < model->given; task++) {
        if (model->state[task] == HELD && model->holder[task] == worker
            && (first == NOBODY || model->moment[task] < model->moment[first]))
            first = task;
    }
    return first;
}

static int
chunk_count(const struct model *model, int worker)
{
    int first = chunk_first(model, worker), count = 0;
    for (int task = 0; task < model->given; task++)
        count += first != NOBODY && model->state[task] == HELD
                 && model->chunk[task] == first;
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

/* The first task that came back and matters, or else the first that was never
   given. */
static int
first_to_give(const struct model *model)
{
    for (int task = 0; task < model->given && task < model->limit; task++) {
        if (model->state[task] == BACK)
            return task;
    }
    return model->given;
}

/* How many came back with it and have not been given since. */
static int
back_count(const struct model *model, int first)
{
    int count = 0;
    for (int task = first; task < model->given; task++)
        count += model->state[task] == BACK
                 && model->moment[task] == model->moment[first];
    return count;
}

static int
is_over(const struct model *model)
{
    return first_to_give(model) == model->given
           && (model->exhausted || model->given >= model->limit);
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

/* Tasks that are left, as far as the scheduler knows. */
static int
left(const struct model *model)
{
    int answered = 0, back = 0;
    int total = model->scene.is_counted ? model->scene.tasks : MOST_TASKS + 1;
    if (model->limit < total)
        return 0;
    for (int task = 0; task < model->given; task++) {
        answered += model->state[task] == ANSWERED || model->came_back[task];
        back += model->state[task] == BACK;
    }
    return model->scene.is_counted ? model->scene.tasks - model->given + back
                                   : answered;
}

/* Chunks that a worker may hold.  Where the scheduler chooses their size, it
   is not modelled: one, or a second one. */
static int
depth(const struct model *model)
{
    int chunksize = model->scene.chunksize;
    int most = model->learned ? paces[model->scene.pace].depth : 1;
    if (chunksize == 0)
        return most < 2 ? most : 2;
    int shares = left(model) / (2 * model->scene.workers) / chunksize;
    return most < 1 + shares ? most : 1 + shares;
}

/* Whether the worker may be the one who gets the next chunk. */
static int
is_next(const struct model *model, int worker)
{
    int last = model->last_answered;
    if (is_over(model))
        return worker == NOBODY;
    if (model->idle_count > 0)
        return worker == model->idle[0];
    if (last == NOBODY || chunks_held(model, last) >= depth(model))
        return worker == NOBODY;
    return worker == last || (worker == NOBODY && model->scene.chunksize == 0);
}

/* Whether it may be the size of the next chunk. */
static int
is_next_count(const struct model *model, uint64_t count)
{
    uint64_t chunksize = (uint64_t)model->scene.chunksize;
    int first = first_to_give(model);
    uint64_t room =
        model->limit > MOST_TASKS ? UNKNOWN : (uint64_t)(model->limit - first);
    if (first < model->given && (uint64_t)back_count(model, first) < room)
        room = (uint64_t)back_count(model, first);
    if (chunksize == 0)
        return count >= 1 && count <= room;
    return count == (chunksize < room ? chunksize : room);
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

/* The idle, as the model has them; the one that is next at least, unless it
   would find that there is no task. */
static void
check_idle(const struct model *model, int next)
{
    int workers[MOST_WORKERS];
    size_t idle = schedule_idle(model->schedule, workers);
    CHECK(idle <= (size_t)model->idle_count);
    for (size_t i = 0; i < idle; i++)
        CHECK(workers[i] == model->idle[i]);
    if (next != NOBODY && model->idle_count > 0
        && (!model->scene.is_counted
            || first_to_give(model) < model->scene.tasks))
        CHECK(idle > 0 && workers[0] == next);
}

static void
check_questions(const struct model *model)
{
    struct schedule *schedule = model->schedule;
    uint64_t count = 0;
    int worker = schedule_next(schedule, &count);
    CHECK(is_next(model, worker));
    check_idle(model, worker);
    if (worker != NOBODY)
        CHECK(is_next_count(model, count));
    CHECK(schedule_given(schedule) == (uint64_t)model->given);
    if (!is_over(model))
        CHECK(schedule_first(schedule) == (uint64_t)first_to_give(model));
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
                    CHECK(answer(schedule, worker, (uint64_t)first,
                                 (uint64_t)done, 0)
                          == SCHEDULE_WRONG);
            }
        }
        CHECK(answer(schedule, worker, UINT64_MAX, UINT64_MAX, 0)
              == SCHEDULE_WRONG);
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
    int is_back = model->scene.is_back;
    if (model->scene.partial > 0) {
        int left_out = choose(done + 1);
        model->scene.partial -= left_out > 0;
        model->moments++;
        for (int i = 0; i < left_out; i++) {
            model->state[first + --done] = is_back ? BACK : LEFT_OUT;
            model->moment[first + done] = model->moments;
        }
    }
    for (int i = 0; i < done; i++) {
        model->state[first + i] = ANSWERED;
        model->came_back[first + i] = 1;
    }
    if (chunks_held(model, worker) == 0)
        model->idle[model->idle_count++] = worker;
    model->last_answered = worker;
    model->learned |= done > 0;
    struct schedule_answer all = {
        .worker = worker,
        .first = (uint64_t)first,
        .done = (uint64_t)done,
        .is_rest_back = is_back,
        .elapsed = (uint64_t)done * paces[model->scene.pace].task,
    };
    CHECK(schedule_answer(model->schedule, &all) == 0);
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
    int first = first_to_give(model);
    int left = model->scene.tasks - model->given;
    uint64_t next_count;
    int worker = schedule_next(model->schedule, &next_count);
    int count = (int)next_count;
    if (first == model->given && left < count) {
        do_exhaust(model);
        count = left;
    }
    if (model->scene.partial > 0 && count > 0) {
        int kept_back = choose(count + 1);
        model->scene.partial -= kept_back > 0;
        count -= kept_back;
    }
    CHECK(schedule_give(model->schedule, worker, (uint64_t)count)
          == (uint64_t)first);
    model->moments++;
    for (int task = first; task < first + count; task++) {
        CHECK(task < model->limit);
        model->state[task] = HELD;
        model->chunk[task] = first;
        model->moment[task] = model->moments;
        model->holder[task] = worker;
        model->given += task == model->given;
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
    uint64_t size;
    if (schedule_next(model->schedule, &size) != NOBODY)
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
    struct schedule_job job = {scene.workers,
                               (uint64_t)scene.chunksize,
                               scene.is_counted ? (uint64_t)scene.tasks
                                                : UNKNOWN,
                               {0, 0}};
    model.schedule = schedule_new(&job);
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
    struct schedule *schedule = new_schedule(WORKERS, 3);
    uint64_t count = 0;
    CHECK(schedule != NULL);
    for (int i = 0; i < WORKERS; i++)
        schedule_join(schedule, i);
    for (int i = 0; i < CHUNKS; i++) {
        int worker = i % WORKERS;
        uint64_t first = 3 * (uint64_t)i;
        CHECK(schedule_next(schedule, &count) == worker && count == 3);
        CHECK(schedule_give(schedule, worker, count) == first);
        CHECK(answer(schedule, worker, first, 3, 1) == 0);
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
    struct schedule *schedule = new_schedule(1, UINT64_MAX);
    uint64_t count = 0;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    CHECK(schedule_next(schedule, &count) == 0 && count == UINT64_MAX);
    CHECK(schedule_give(schedule, 0, 7) == 0);
    CHECK(answer(schedule, 0, 0, 7, 1) == 0);
    CHECK(schedule_next(schedule, &count) == 0 && count == UINT64_MAX - 7);
    schedule_free(schedule);
}

/* A worker that joins twice is still one worker. */
static void
run_joined_twice(void)
{
    struct schedule *schedule = new_schedule(2, 0);
    uint64_t count;
    CHECK(schedule != NULL);
    schedule_join(schedule, 1);
    schedule_join(schedule, 1);
    CHECK(schedule_give(schedule, 1, 1) == 0);
    CHECK(schedule_next(schedule, &count) == NOBODY);
    schedule_free(schedule);
}

/* Nobody waits behind a chunk that began before the others' last ones. */
static void
run_long_beside_short(void)
{
    struct schedule *schedule = new_schedule(2, 1);
    uint64_t count;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    schedule_join(schedule, 1);
    CHECK(schedule_give(schedule, 0, 1) == 0);
    CHECK(schedule_give(schedule, 1, 1) == 1);
    for (uint64_t task = 1; task < 100; task++) {
        CHECK(answer(schedule, 1, task, 1, 1) == 0);
        while (schedule_next(schedule, &count) != NOBODY) {
            CHECK(schedule_next(schedule, &count) == 1);
            schedule_give(schedule, 1, 1);
        }
    }
    CHECK(schedule_given(schedule) == 1 + 99 + 9);
    schedule_free(schedule);
}

/* ---- chunks that the scheduler chooses -------------------------------- */

static uint64_t
next_count(const struct schedule *schedule, int worker)
{
    uint64_t count = 0;
    CHECK(schedule_next(schedule, &count) == worker);
    return count;
}

/* One worker takes the next chunk of tasks that run for so long each. */
static uint64_t
run_next(struct schedule *schedule, uint64_t nanoseconds)
{
    uint64_t count = next_count(schedule, 0);
    uint64_t first = schedule_give(schedule, 0, count);
    CHECK(answer(schedule, 0, first, count, count * nanoseconds) == 0);
    return count;
}

static struct schedule *
one_worker(uint64_t total, struct schedule_pace pace)
{
    struct schedule_job job = {1, 0, total, pace};
    struct schedule *schedule = schedule_new(&job);
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    return schedule;
}

/* Chunks double until they take a tenth of a millisecond, and one that takes
   far longer begins it all again. */
static void
run_growth(void)
{
    struct schedule *schedule =
        one_worker(1000000000, (struct schedule_pace){0});
    for (uint64_t count = 1; count < 10; count *= 2)
        CHECK(run_next(schedule, 10000) == count);
    for (int i = 0; i < 1000; i++)
        CHECK(run_next(schedule, 10000) == 10);
    CHECK(run_next(schedule, 200000) == 10);
    for (uint64_t count = 1; count < 5; count *= 2)
        CHECK(run_next(schedule, 10000) == count);
    for (int i = 0; i < 10000; i++)
        run_next(schedule, 10000);
    CHECK(run_next(schedule, 10000) >= 9); /* it is forgotten */
    schedule_free(schedule);
}

/* What was out when a late chunk came back does not count as news. */
static void
run_doubt(void)
{
    struct schedule_job job = {2, 0, 1000000000, {0, 0}};
    struct schedule *schedule = schedule_new(&job);
    uint64_t count, first;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    for (int i = 0; i < 100; i++)
        run_next(schedule, 10000);
    schedule_join(schedule, 1);
    CHECK(next_count(schedule, 0) == 10);
    CHECK(schedule_give(schedule, 0, 10) > 0);
    first = schedule_given(schedule);
    CHECK(schedule_next(schedule, &count) == 1 && count == 10);
    CHECK(schedule_give(schedule, 1, 10) == first);
    CHECK(answer(schedule, 0, first - 10, 10, 20 * MILLISECOND) == 0);
    CHECK(answer(schedule, 1, first, 10, 100000) == 0);
    CHECK(schedule_next(schedule, &count) == 0 && count == 1);
    schedule_free(schedule);
}

/* Of tasks that nobody counted, half as many are out as have come back. */
static void
run_uncounted(void)
{
    struct schedule_job job = {2, 0, UNKNOWN, {0, 0}};
    struct schedule *schedule = schedule_new(&job);
    struct {
        int worker;
        uint64_t first, count;
    } out[4], *oldest = out;
    uint64_t count, answered = 0;
    int worker, chunks = 0;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    schedule_join(schedule, 1);
    while (schedule_given(schedule) < 100000) {
        while ((worker = schedule_next(schedule, &count)) >= 0) {
            CHECK(chunks < 4);
            out[chunks].worker = worker;
            out[chunks].first = schedule_give(schedule, worker, count);
            out[chunks++].count = count;
        }
        CHECK(schedule_given(schedule) - answered <= answered / 2 + 4);
        answered += oldest->count;
        CHECK(answer(schedule, oldest->worker, oldest->first, oldest->count,
                     oldest->count)
              == 0);
        chunks--;
        for (int i = 0; i < chunks; i++)
            out[i] = out[i + 1];
    }
    schedule_free(schedule);
}

/* Long tasks travel alone, and so do those with large results. */
static void
run_single(void)
{
    struct schedule *schedule = one_worker(UNKNOWN, (struct schedule_pace){0});
    for (int i = 0; i < 100; i++)
        CHECK(run_next(schedule, 60000) == 1);
    schedule_free(schedule);
    schedule = one_worker(UNKNOWN, (struct schedule_pace){0});
    for (int i = 0; i < 100; i++) {
        CHECK(next_count(schedule, 0) == 1);
        uint64_t first = schedule_give(schedule, 0, 1);
        struct schedule_answer large = {
            .first = first, .done = 1, .bytes = 1 << 20};
        CHECK(schedule_answer(schedule, &large) == 0);
    }
    CHECK(!schedule_is_full(schedule, (1 << 20) - 1, MILLISECOND - 1));
    CHECK(schedule_is_full(schedule, 1 << 20, 0));
    CHECK(schedule_is_full(schedule, 0, MILLISECOND));
    schedule_free(schedule);
}

/* Never more than half a share of those left, and few at first, where the pace
   is another job's. */
static void
run_known(void)
{
    struct schedule_job job = {2, 0, 16, {50000, 1}};
    struct schedule *schedule = schedule_new(&job);
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    CHECK(next_count(schedule, 0) == 2);
    schedule_free(schedule);
    job = (struct schedule_job){2, 0, 16, {1000, 1}};
    schedule = schedule_new(&job);
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    CHECK(run_next(schedule, 1000) == 5);
    CHECK(run_next(schedule, 1000) == 3);
    schedule_free(schedule);
    schedule = one_worker(1000, (struct schedule_pace){1000, 1});
    CHECK(run_next(schedule, 1000) == 8);
    CHECK(run_next(schedule, 1000) == 16);
    schedule_free(schedule);
}

/* At the end nothing waits that another could take: an explicit chunk is held
   alone when there is less than a share for each. */
static void
run_end(void)
{
    struct schedule_job job = {2, 1, 40, {1000, 1}};
    struct schedule *schedule = schedule_new(&job);
    uint64_t count, out = 0;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    schedule_join(schedule, 1);
    while (schedule_next(schedule, &count) >= 0 && out < 2)
        schedule_give(schedule, (int)out++, 1);
    CHECK(answer(schedule, 0, 0, 1, 1000) == 0);
    for (; schedule_next(schedule, &count) == 0; out++)
        schedule_give(schedule, 0, 1);
    CHECK(out == 2 + 8);        /* 31 left: a share of 7 beside one */
    schedule_free(schedule);
}

/* What was learned is handed on. */
static void
run_pace(void)
{
    struct schedule *schedule = one_worker(UNKNOWN, (struct schedule_pace){0});
    CHECK(schedule_pace(schedule).tasks == 0);
    run_next(schedule, 1000);
    struct schedule_pace pace = schedule_pace(schedule);
    CHECK(pace.tasks == 1 && pace.nanoseconds == 1000);
    schedule_free(schedule);
}

/* With many workers it is the master's time that counts, once as many tasks
   have come back. */
/* Who is idle and will get a chunk, in turn. */
static void
run_idle(void)
{
    struct schedule_job job = {4, 10, 35, {0, 0}};
    struct schedule *schedule = schedule_new(&job);
    int workers[4];
    CHECK(schedule_idle(schedule, workers) == 0);
    for (int worker = 3; worker >= 0; worker--)
        schedule_join(schedule, worker);
    CHECK(schedule_idle(schedule, workers) == 4);
    CHECK(workers[0] == 3 && workers[1] == 2 && workers[3] == 0);
    schedule_give(schedule, 3, 10);
    schedule_give(schedule, 2, 10);
    CHECK(schedule_idle(schedule, workers) == 2 && workers[0] == 1);
    CHECK(answer(schedule, 3, 0, 10, MILLISECOND) == 0);
    schedule_give(schedule, 1, 10);
    CHECK(schedule_idle(schedule, workers) == 1 && workers[0] == 0);
    schedule_give(schedule, 0, 5);
    CHECK(schedule_idle(schedule, workers) == 0);
    schedule_free(schedule);
}

static void
run_many_workers(void)
{
    struct schedule_job job = {4096, 0, 1000000000, {1e6, 1}};
    struct schedule *schedule = schedule_new(&job);
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    for (int i = 0; i < 4096; i++)
        CHECK(run_next(schedule, MILLISECOND) == 1);
    CHECK(next_count(schedule, 0) > 100 && next_count(schedule, 0) < 300);
    schedule_free(schedule);
}

/* A chunk is late after eight times what was expected and a millisecond; an
   explicit one never. */
static void
run_patience(void)
{
    struct schedule_job job = {1, 1, UNKNOWN, {1000, 1}};
    struct schedule *schedule = schedule_new(&job);
    CHECK(schedule != NULL && schedule_patience(schedule, 1) == 0);
    schedule_free(schedule);
    schedule = one_worker(UNKNOWN, (struct schedule_pace){0});
    CHECK(schedule_patience(schedule, 1) == 0);
    schedule_free(schedule);
    schedule = one_worker(UNKNOWN, (struct schedule_pace){1000, 1});
    CHECK(schedule_patience(schedule, 10) == 0); /* there is nobody else */
    schedule_free(schedule);
    job = (struct schedule_job){2, 0, UNKNOWN, {1000, 1}};
    schedule = schedule_new(&job);
    CHECK(schedule != NULL);
    CHECK(schedule_patience(schedule, 10) == 80000 + MILLISECOND);
    schedule_free(schedule);
}

/* What waits behind a late chunk is not overtaken by later tasks. */
static void
run_no_overtaking(void)
{
    struct schedule_job job = {1, 0, 100000, {1000, 1}};
    struct schedule *schedule = schedule_new(&job);
    uint64_t count, first, behind;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    for (int i = 0; i < 100; i++)
        run_next(schedule, 1000);
    count = next_count(schedule, 0);
    first = schedule_give(schedule, 0, count);
    CHECK(answer(schedule, 0, first, count, count * 1000) == 0);
    first = schedule_give(schedule, 0, next_count(schedule, 0));
    behind = schedule_given(schedule);
    CHECK(next_count(schedule, 0) > 1);
    schedule_give(schedule, 0, 2);
    CHECK(answer(schedule, 0, first, behind - first, 20 * MILLISECOND) == 0);
    CHECK(schedule_next(schedule, &count) == NOBODY);
    struct schedule_answer back = {.first = behind, .is_rest_back = 1};
    CHECK(schedule_answer(schedule, &back) == 0);
    CHECK(next_count(schedule, 0) == 1);
    CHECK(schedule_first(schedule) == behind);
    schedule_free(schedule);
}

/* The limit may fall into a chunk between next and give: a task that was
   drawn made it fall.  Only the part below it is waited for. */
static void
run_limit_while_drawing(void)
{
    struct schedule *schedule = new_schedule(1, 5);
    uint64_t count;
    CHECK(schedule != NULL);
    schedule_join(schedule, 0);
    CHECK(schedule_next(schedule, &count) == 0 && count == 5);
    schedule_limit(schedule, 2);
    CHECK(schedule_give(schedule, 0, 5) == 0);
    CHECK(schedule_holds_above(schedule, 0) && !schedule_done(schedule));
    CHECK(answer(schedule, 0, 0, 2, 1) == 0);
    CHECK(schedule_done(schedule));
    schedule_free(schedule);
}

/* The more can go wrong in a run, the smaller the scenes: there are too many
   runs else. */
static long
explore_all(int workers, int tasks, int chunksize)
{
    long runs = 0;
    for (int s = 0; s < 3 * PACES; s++) {
        struct scene scene = {.workers = workers,
                              .tasks = tasks,
                              .chunksize = chunksize,
                              .is_back = s % 3 == 1,
                              .is_counted = s % 3 == 2,
                              .pace = s / 3};
        int size = workers + tasks + scene.is_counted + scene.is_back;
        scene.limits = 1;
        if (size < MOST_WORKERS + MOST_TASKS - scene.pace && !scene.is_back)
            runs += explore(scene);
        scene.limits = 0;
        scene.partial = 1;
        if (size < MOST_WORKERS + MOST_TASKS - 1 - 2 * scene.pace)
            runs += explore(scene);
        scene.limits = scene.partial = 2;
        /* As long as no pace is known, 0 is like 1. */
        if (size <= 5 - scene.pace - (chunksize == 0))
            runs += explore(scene);
    }
    return runs;
}

int
main(void)
{
    long runs = 0;
    for (int workers = 0; workers <= MOST_WORKERS; workers++) {
        for (int tasks = 0; tasks <= MOST_TASKS; tasks++) {
            /* Those above are the same. */
            for (int chunksize = 0; chunksize <= tasks + 1; chunksize++)
                runs += explore_all(workers, tasks, chunksize);
        }
    }
    run_large();
    run_huge_chunk();
    run_joined_twice();
    run_long_beside_short();
    run_limit_while_drawing();
    run_growth();
    run_doubt();
    run_uncounted();
    run_single();
    run_known();
    run_end();
    run_pace();
    run_patience();
    run_no_overtaking();
    run_idle();
    run_many_workers();
    printf("%ld runs\n", runs);
    return 0;
}
