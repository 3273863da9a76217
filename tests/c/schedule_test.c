/* schedule_test.c -- every order of events, on a small scale, against a
   model that is too simple to be wrong.

   There is no list of cases to forget one of: a run is any sequence of draws,
   gives, answers and limits that the contract of schedule.h allows.
   After each event all that the scheduler says must be what the model says.
   How large a chunk is that the scheduler chose itself is looked at on a
   larger scale, below. */

#include "schedule.h"

#include "choices.h"

#define MOST_WORKERS 3
#define MOST_TASKS 5
#define UNKNOWN SCHEDULE_UNKNOWN
#define MILLISECOND 1000000u    /* in nanoseconds */

/* ---- the model -------------------------------------------------------- */

/* BACK: it came back, and does not wait again yet. */
enum state { NOT_DRAWN, WAITING, HELD, BACK, ANSWERED, LEFT_OUT };

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
    int chunk[MOST_TASKS];      /* the first task of its chunk */
    int came_back[MOST_TASKS];  /* as a result, once */
    int learned;                /* a task was done */
    int drawn;
    int limit;                  /* beyond all tasks: none */
    int exhausted;
};

/* Is the task the first of a chunk in this state? */
static int
is_chunk(const struct model *model, int task, enum state state)
{
    return model->state[task] == state && model->chunk[task] == task;
}

static int
chunk_count(const struct model *model, int first)
{
    int count = 0;
    for (int task = first; task < model->drawn; task++)
        count += model->state[task] == model->state[first]
                 && model->chunk[task] == first;
    return count;
}

/* Tasks below the limit in this state. */
static int
count_tasks(const struct model *model, enum state state)
{
    int count = 0;
    for (int task = 0; task < MOST_TASKS && task < model->limit; task++)
        count += task < model->drawn && model->state[task] == state;
    return count;
}

static int
is_open(const struct model *model)
{
    return !model->exhausted && model->drawn < model->limit;
}

/* What came back is the caller's to know, until it waits again. */
static int
is_done(const struct model *model)
{
    return !is_open(model) && count_tasks(model, WAITING) == 0
           && count_tasks(model, HELD) == 0
           && count_tasks(model, LEFT_OUT) == 0;
}

/* Tasks below the limit that are not given, as far as the scheduler knows. */
static uint64_t
not_out(const struct model *model)
{
    uint64_t end =
        model->scene.is_counted ? (uint64_t)model->scene.tasks : UNKNOWN;
    if (model->limit <= MOST_TASKS && (uint64_t)model->limit < end)
        end = (uint64_t)model->limit;
    uint64_t drawn = (uint64_t)model->drawn;
    return (drawn < end ? end - drawn : 0)
           + (uint64_t)count_tasks(model, WAITING);
}

/* Tasks that are left, as far as the scheduler knows. */
static int
left(const struct model *model)
{
    int done = 0;
    int total = model->scene.is_counted ? model->scene.tasks : MOST_TASKS + 1;
    if (model->limit < total)
        return 0;
    for (int task = 0; task < model->drawn; task++)
        done += model->came_back[task];
    return model->scene.is_counted ? (int)not_out(model) : done;
}

/* Chunks that a worker may hold, of so many tasks. */
static int
depth(const struct model *model, int count)
{
    int most = model->learned ? paces[model->scene.pace].depth : 1;
    if (model->scene.chunksize == 0 && most > 2)
        most = 2;
    int shares = left(model) / (2 * model->scene.workers) / count;
    return most < 1 + shares ? most : 1 + shares;
}

/* ---- what the scheduler must say now ---------------------------------- */

static void
check_chunks(const struct model *model)
{
    const struct schedule *schedule = model->schedule;
    int chunksize = model->scene.chunksize;
    uint64_t size = schedule_size(schedule), tasks = not_out(model);
    CHECK(chunksize == 0 ? size >= 1 : size == (uint64_t)chunksize);
    CHECK(schedule_chunks(schedule) == tasks / size + (tasks % size > 0));
}

static void
check_worker(const struct model *model)
{
    const struct schedule *schedule = model->schedule;
    int chunksize = model->scene.chunksize;
    int may_be_late =
        chunksize == 0 && model->learned && model->scene.workers > 1;
    for (int count = 1; count <= 2 || count <= chunksize; count++) {
        CHECK(schedule_depth(schedule, (uint64_t)count)
              == depth(model, count));
        CHECK((schedule_patience(schedule, (uint64_t)count) > 0)
              == may_be_late);
    }
}

static void
check_questions(const struct model *model)
{
    const struct schedule *schedule = model->schedule;
    CHECK(schedule_is_open(schedule) == is_open(model));
    CHECK(schedule_drawn(schedule) == (uint64_t)model->drawn);
    CHECK(schedule_done(schedule) == is_done(model));
    CHECK(
        schedule_limited_to(schedule)
        == (model->limit > MOST_TASKS ? UINT64_MAX : (uint64_t)model->limit));
    CHECK((schedule_pace(schedule).tasks > 0) == model->learned);
    CHECK((schedule_tasks_in(schedule, 1e9) > 0) == model->learned);
    check_chunks(model);
    check_worker(model);
}

/* ---- events ----------------------------------------------------------- */

static int
or_fewer(struct model *model, int count)
{
    if (model->scene.partial == 0 || count == 0)
        return count;
    int left_out = choose(count + 1);
    model->scene.partial -= left_out > 0;
    return count - left_out;
}

/* Tasks first to end - 1 wait, in one chunk. */
static void
wait(struct model *model, int first, int end)
{
    for (int task = first; task < end; task++) {
        model->state[task] = task < model->limit ? WAITING : LEFT_OUT;
        model->chunk[task] = first;
    }
}

/* Draws the next chunk, or finds that the tasks have run out: with the last
   one, or only behind it. */
static void
do_draw(struct model *model, int unused)
{
    int first = model->drawn, rest = model->scene.tasks - first;
    uint64_t size = schedule_size(model->schedule);
    int count = size < (uint64_t)rest ? (int)size : rest;
    (void)unused;
    if ((uint64_t)rest < size
        || ((uint64_t)rest == size && model->scene.partial > 0
            && choose(2) == 1)) {
        schedule_exhausted(model->schedule);
        model->exhausted = 1;
    }
    else
        count = or_fewer(model, count);
    schedule_draw(model->schedule, (uint64_t)count);
    model->drawn += count;
    wait(model, first, first + count);
}

static void
do_give(struct model *model, int first)
{
    int count = chunk_count(model, first);
    schedule_give(model->schedule, (uint64_t)first, (uint64_t)count);
    for (int task = first; task < first + count; task++)
        model->state[task] = HELD;
}

static void
do_answer(struct model *model, int first)
{
    int count = chunk_count(model, first), done = or_fewer(model, count);
    int is_back = model->scene.is_back;
    struct schedule_answer answer = {
        .first = (uint64_t)first,
        .count = (uint64_t)count,
        .done = (uint64_t)done,
        .is_rest_back = is_back,
        .elapsed = (uint64_t)done * paces[model->scene.pace].task,
    };
    CHECK(schedule_answer(model->schedule, &answer) == 0);
    for (int i = 0; i < count; i++) {
        int task = first + i;
        model->chunk[task] = i < done ? first : first + done;
        model->state[task] = i < done ? ANSWERED : is_back ? BACK : LEFT_OUT;
        model->came_back[task] |= i < done;
    }
    model->learned |= done > 0;
}

/* What came back waits again. */
static void
do_return(struct model *model, int first)
{
    int count = chunk_count(model, first);
    schedule_return(model->schedule, (uint64_t)first, (uint64_t)count);
    wait(model, first, first + count);
}

/* Below the one in force, at it, or above: the last two change nothing. */
static void
do_limit(struct model *model, int unused)
{
    int limit = choose(model->scene.tasks + 1);
    (void)unused;
    model->scene.limits--;
    if (limit < model->limit) {
        model->limit = limit;
        for (int task = limit; task < model->drawn; task++) {
            if (model->state[task] == WAITING)
                model->state[task] = LEFT_OUT;
        }
    }
    schedule_limit(model->schedule, (uint64_t)limit,
                   (uint64_t)count_tasks(model, WAITING),
                   (uint64_t)count_tasks(model, HELD));
}

/* ---- runs ------------------------------------------------------------- */

struct event {
    void (*happens)(struct model *, int);
    int first;                  /* of the chunk to which it does */
};

static int
list_events(const struct model *model, struct event *events)
{
    int count = 0;
    for (int task = 0; task < model->drawn; task++) {
        if (is_chunk(model, task, WAITING))
            events[count++] = (struct event){do_give, task};
        if (is_chunk(model, task, HELD))
            events[count++] = (struct event){do_answer, task};
        if (is_chunk(model, task, BACK))
            events[count++] = (struct event){do_return, task};
    }
    if (is_open(model))
        events[count++] = (struct event){do_draw, 0};
    if (model->scene.limits > 0)
        events[count++] = (struct event){do_limit, 0};
    return count;
}

/* One event; 0 when there is none left: no chunk waits or is held, and
   nothing is to be drawn. */
static int
step(struct model *model)
{
    struct event events[MOST_TASKS + 2];
    if (!seen())
        check_questions(model);
    int count = list_events(model, events);
    if (count == 0)
        return 0;
    struct event event = events[count == 1 ? 0 : choose(count)];
    event.happens(model, event.first);
    return 1;
}

static void
run(struct scene scene)
{
    struct model model = {.scene = scene, .limit = MOST_TASKS + 100};
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

/* The more can go wrong in a run, the fewer chunks: there are too many runs
   else. */
static long
explore_scene(struct scene scene)
{
    int size = scene.chunksize > 0 ? scene.chunksize : 1;
    int chunks = (scene.tasks + size - 1) / size + (scene.workers != 2);
    long runs = 0;
    if (chunks <= 4)
        runs += explore(scene);
    scene.limits = 1;
    if (chunks <= 3 && !scene.is_back)
        runs += explore(scene);
    scene.limits = 0;
    scene.partial = 1;
    if (chunks <= 3)
        runs += explore(scene);
    scene.limits = scene.partial = 2;
    if ((chunks <= 1 && scene.tasks <= 3)
        || (chunks == 2 && scene.tasks == 2 && scene.pace == 0))
        runs += explore(scene);
    return runs;
}

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
        runs += explore_scene(scene);
    }
    return runs;
}

/* ---- and on a large scale --------------------------------------------- */

static struct schedule *
new_schedule(int workers, uint64_t chunksize, uint64_t total,
             struct schedule_pace pace)
{
    struct schedule_job job = {workers, chunksize, total, pace};
    struct schedule *schedule = schedule_new(&job);
    CHECK(schedule != NULL);
    return schedule;
}

static const struct schedule_pace unknown_pace = {0, 0};

/* A chunk is drawn and given; its first task. */
static uint64_t
give(struct schedule *schedule, uint64_t count)
{
    uint64_t first = schedule_drawn(schedule);
    schedule_draw(schedule, count);
    schedule_give(schedule, first, count);
    return first;
}

/* All of it is answered. */
static int
answer(struct schedule *schedule, uint64_t first, uint64_t count,
       uint64_t elapsed)
{
    struct schedule_answer all = {
        .first = first, .count = count, .done = count, .elapsed = elapsed};
    return schedule_answer(schedule, &all);
}

/* The next chunk is run, of tasks that take so long each. */
static uint64_t
run_next(struct schedule *schedule, uint64_t nanoseconds)
{
    uint64_t count = schedule_size(schedule);
    uint64_t first = give(schedule, count);
    answer(schedule, first, count, count * nanoseconds);
    return count;
}

/* A million chunks for 10^5 workers: hopeless if any of it took time in
   proportion to the workers. */
static void
run_large(void)
{
    enum { WORKERS = 100000, CHUNKS = 1000000 };
    struct schedule *schedule =
        new_schedule(WORKERS, 3, UNKNOWN, unknown_pace);
    for (int i = 0; i < CHUNKS; i++) {
        CHECK(run_next(schedule, 1) == 3);
        CHECK(schedule_drawn(schedule) == 3 * (uint64_t)(i + 1));
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
    struct schedule *schedule =
        new_schedule(1, UINT64_MAX, UNKNOWN, unknown_pace);
    CHECK(schedule_size(schedule) == UINT64_MAX);
    CHECK(give(schedule, 7) == 0);
    CHECK(answer(schedule, 0, 7, 1) == 0);
    CHECK(schedule_size(schedule) == UINT64_MAX);
    CHECK(schedule_chunks(schedule) == 1);
    schedule_free(schedule);
}

/* The limit may fall into a chunk while it is drawn: a task that was drawn
   made it fall.  Only the part below it is waited for. */
static void
run_limit_while_drawing(void)
{
    struct schedule *schedule = new_schedule(1, 5, UNKNOWN, unknown_pace);
    CHECK(schedule_size(schedule) == 5);
    schedule_limit(schedule, 2, 0, 0);
    CHECK(schedule_is_open(schedule) && !schedule_done(schedule));
    schedule_draw(schedule, 5);
    CHECK(!schedule_is_open(schedule) && !schedule_done(schedule));
    schedule_give(schedule, 0, 2);
    CHECK(!schedule_done(schedule));
    CHECK(answer(schedule, 0, 2, 1) == 0);
    CHECK(schedule_done(schedule));
    schedule_free(schedule);
}

/* ---- chunks that the scheduler chooses -------------------------------- */

/* Chunks double until they take a tenth of a millisecond, and one that takes
   far longer begins it all again. */
static void
run_growth(void)
{
    struct schedule *schedule = new_schedule(1, 0, 1000000000, unknown_pace);
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
    struct schedule *schedule = new_schedule(2, 0, 1000000000, unknown_pace);
    for (int i = 0; i < 100; i++)
        run_next(schedule, 10000);
    CHECK(schedule_size(schedule) == 10);
    uint64_t one = give(schedule, 10), other = give(schedule, 10);
    CHECK(answer(schedule, one, 10, 20 * MILLISECOND) == 1);
    CHECK(answer(schedule, other, 10, 100000) == 0);
    CHECK(schedule_size(schedule) == 1);
    schedule_free(schedule);
}

/* Long tasks travel alone, and so do those with large results. */
static void
run_single(void)
{
    struct schedule *schedule = new_schedule(1, 0, UNKNOWN, unknown_pace);
    for (int i = 0; i < 100; i++)
        CHECK(run_next(schedule, 60000) == 1);
    schedule_free(schedule);
    schedule = new_schedule(1, 0, UNKNOWN, unknown_pace);
    for (int i = 0; i < 100; i++) {
        CHECK(schedule_size(schedule) == 1);
        struct schedule_answer large = {.first = give(schedule, 1),
                                        .count = 1,
                                        .done = 1,
                                        .bytes = 1 << 20};
        CHECK(schedule_answer(schedule, &large) == 0);
    }
    CHECK(!schedule_is_full(schedule, (1 << 20) - 1, MILLISECOND - 1));
    CHECK(schedule_is_full(schedule, 1 << 20, 0));
    CHECK(schedule_is_full(schedule, 0, MILLISECOND));
    schedule_free(schedule);
    schedule = new_schedule(1, 1, UNKNOWN, unknown_pace);
    CHECK(!schedule_is_full(schedule, 1 << 20, MILLISECOND));
    schedule_free(schedule);
}

/* Never more than half a share of those left, and few at first, where the pace
   is another job's. */
static void
run_known(void)
{
    struct schedule *schedule =
        new_schedule(2, 0, 16, (struct schedule_pace){50000, 1});
    CHECK(schedule_size(schedule) == 2);
    schedule_free(schedule);
    schedule = new_schedule(2, 0, 16, (struct schedule_pace){1000, 1});
    CHECK(run_next(schedule, 1000) == 5);
    CHECK(run_next(schedule, 1000) == 3);
    schedule_free(schedule);
    schedule = new_schedule(1, 0, 1000, (struct schedule_pace){1000, 1});
    CHECK(run_next(schedule, 1000) == 8);
    CHECK(run_next(schedule, 1000) == 16);
    schedule_free(schedule);
}

/* What waits and what came back is left to be given, as what is not drawn. */
static void
run_left(void)
{
    struct schedule *schedule =
        new_schedule(2, 0, 1000, (struct schedule_pace){100, 1});
    uint64_t size = schedule_size(schedule), chunks = 1000 / size;
    schedule_draw(schedule, 500);
    CHECK(schedule_size(schedule) == size);
    CHECK(schedule_chunks(schedule) == chunks + (1000 % size > 0));
    schedule_give(schedule, 0, 500);
    CHECK(schedule_chunks(schedule) < chunks);
    struct schedule_answer back = {.count = 500, .is_rest_back = 1};
    CHECK(schedule_answer(schedule, &back) == 0);
    CHECK(schedule_chunks(schedule) < chunks);
    schedule_return(schedule, 0, 500);
    CHECK(schedule_chunks(schedule) == chunks + (1000 % size > 0));
    schedule_free(schedule);
}

/* At the end nothing waits that another could take: an explicit chunk is held
   alone when there is less than a share for each. */
static void
run_depth(void)
{
    struct schedule_pace quick = {1000, 1};
    struct schedule *schedule = new_schedule(2, 1, 40, quick);
    CHECK(schedule_depth(schedule, 1) == 9);
    give(schedule, 9);
    CHECK(schedule_depth(schedule, 1) == 8);    /* 31 left: a share of 7 */
    give(schedule, 28);
    CHECK(schedule_depth(schedule, 1) == 1);
    schedule_free(schedule);
    schedule = new_schedule(2, 0, 1000, quick);
    CHECK(schedule_depth(schedule, 1) == 2);    /* the size was ours */
    schedule_free(schedule);
    schedule = new_schedule(2, 1, 1000, (struct schedule_pace){2e6, 1});
    CHECK(schedule_depth(schedule, 1) == 1);    /* long */
    schedule_free(schedule);
    schedule = new_schedule(2, 1, 1000, (struct schedule_pace){1e5, 1});
    CHECK(schedule_depth(schedule, 1) == 2);
    CHECK(schedule_depth(schedule, 20) == 1);
    schedule_free(schedule);
}

/* What was learned is handed on. */
static void
run_pace(void)
{
    struct schedule *schedule = new_schedule(1, 0, UNKNOWN, unknown_pace);
    CHECK(schedule_pace(schedule).tasks == 0);
    CHECK(schedule_tasks_in(schedule, 1e6) == 0);
    run_next(schedule, 1000);
    struct schedule_pace pace = schedule_pace(schedule);
    CHECK(pace.tasks == 1 && pace.nanoseconds == 1000);
    CHECK(schedule_tasks_in(schedule, 1e6) == 1000);
    schedule_free(schedule);
}

/* With many workers it is the master's time that counts, once as many tasks
   have come back. */
static void
run_many_workers(void)
{
    struct schedule *schedule =
        new_schedule(4096, 0, 1000000000, (struct schedule_pace){1e6, 1});
    for (int i = 0; i < 4096; i++)
        CHECK(run_next(schedule, MILLISECOND) == 1);
    CHECK(schedule_size(schedule) > 100 && schedule_size(schedule) < 300);
    schedule_free(schedule);
}

/* A chunk is late after eight times what was expected and a millisecond; an
   explicit one never. */
static void
run_patience(void)
{
    struct schedule_pace known = {1000, 1};
    struct schedule *schedule = new_schedule(1, 1, UNKNOWN, known);
    CHECK(schedule_patience(schedule, 1) == 0);
    schedule_free(schedule);
    schedule = new_schedule(1, 0, UNKNOWN, unknown_pace);
    CHECK(schedule_patience(schedule, 1) == 0);
    schedule_free(schedule);
    schedule = new_schedule(1, 0, UNKNOWN, known);
    CHECK(schedule_patience(schedule, 10) == 0); /* there is nobody else */
    schedule_free(schedule);
    schedule = new_schedule(2, 0, UNKNOWN, known);
    CHECK(schedule_patience(schedule, 10) == 80000 + MILLISECOND);
    uint64_t first = give(schedule, 10);
    CHECK(answer(schedule, first, 10, 80000 + MILLISECOND) == 0);
    first = give(schedule, 10);
    CHECK(answer(schedule, first, 10, 20 * MILLISECOND) == 1);
    schedule_free(schedule);
}

int
main(void)
{
    long runs = 0;
    for (int workers = 1; workers <= MOST_WORKERS; workers++) {
        for (int tasks = 0; tasks <= MOST_TASKS; tasks++) {
            /* Those above are the same. */
            for (int chunksize = 0; chunksize <= tasks + 1; chunksize++)
                runs += explore_all(workers, tasks, chunksize);
        }
    }
    run_large();
    run_huge_chunk();
    run_limit_while_drawing();
    run_growth();
    run_doubt();
    run_single();
    run_known();
    run_left();
    run_depth();
    run_pace();
    run_many_workers();
    run_patience();
    printf("%ld runs\n", runs);
    return 0;
}
