/* schedule_simulation.c -- the real scheduler on machines that nobody has.

   A discrete-event simulation: one master that does one thing at a time, W
   workers, tasks of a given distribution; who gets which tasks is decided by
   schedule.c.  The master pays for each message and, for each task, for
   pickling it and unpickling its result; a message takes a while to arrive.
   A chunk that is late comes back as far as it was not begun.

   Prints, for each distribution, duration and number of workers, the share of
   the ideal: of the time that no scheduler could beat,

       max(total / W, longest task, what the master pays for all tasks) + one
       message there and back.

   Where the master's part is the largest of the three, the figure has an "m":
   more workers would not help, larger tasks would.

   schedule_simulation [tasks per worker [chunksize [workers [distribution ...
   A chunksize of 0 leaves it to the scheduler; no more workers than that. */

#include "schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds, as measured with chunks of one and of a thousand tiny tasks. */
#define MESSAGE 1.2e-6 /* the master's part of sending or receiving */
#define TASK 0.08e-6 /* of pickling a task, or unpickling a result */
#define LATENCY 1.0e-6 /* of a message */

#define MOST_TASKS 10000000u

/* ---- tasks ------------------------------------------------------------ */

/* The same for the same task, without a table: splitmix64 (Steele, Lea and
   Flood 2014). */
static double
uniform(uint64_t number)
{
    uint64_t z = (number + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

static double
normal(uint64_t number)
{
    double radius = sqrt(-2 * log(uniform(2 * number)));
    return radius * cos(6.283185307179586 * uniform(2 * number + 1));
}

/* Durations of task number out of count, with mean 1. */
static double
constant(uint64_t number, uint64_t count)
{
    (void)number, (void)count;
    return 1;
}

static double
even(uint64_t number, uint64_t count)
{
    (void)count;
    return 2 * uniform(number);
}

static double
lognormal(uint64_t number, uint64_t count)
{
    (void)count;
    return exp(1.5 * normal(number) - 1.5 * 1.5 / 2);
}

/* Shape 1.5: the variance is infinite. */
static double
pareto(uint64_t number, uint64_t count)
{
    (void)count;
    return pow(uniform(number), -1 / 1.5) / 3;
}

/* The one per cent that is long takes half of the time in all. */
static double
bimodal(uint64_t number, uint64_t count)
{
    (void)count;
    return uniform(number) < 0.01 ? 50 : 50.0 / 99;
}

/* Half of them find at once that there is nothing to do. */
static double
early_exit(uint64_t number, uint64_t count)
{
    (void)count;
    return uniform(number) < 0.5 ? 1e-6 : 2;
}

/* The last one per cent takes all of the time. */
static double
cheap_first(uint64_t number, uint64_t count)
{
    return number < count - count / 100 ? 1e-6 : 100;
}

static double
longest_last(uint64_t number, uint64_t count)
{
    return number + 1 < count ? 1 : 100;
}

struct distribution {
    const char *name;
    double (*duration)(uint64_t number, uint64_t count);
};

static const struct distribution distributions[] = {
    {"constant", constant},     {"uniform", even},
    {"lognormal", lognormal},   {"pareto", pareto},
    {"bimodal", bimodal},       {"longest-last", longest_last},
    {"early-exit", early_exit}, {"cheap-first", cheap_first},
};

/* ---- events: answers on their way, earliest first --------------------- */

struct answer {
    double time; /* at which it reaches the master */
    int worker;
    uint64_t first, count;
    double elapsed;
};

struct heap {
    struct answer *answers;
    size_t count, room;
};

static void
push(struct heap *heap, struct answer answer)
{
    size_t i = heap->count++;
    if (heap->count > heap->room) {
        heap->room = 2 * heap->count;
        heap->answers =
            realloc(heap->answers, heap->room * sizeof *heap->answers);
        if (heap->answers == NULL)
            abort();
    }
    for (; i > 0 && heap->answers[(i - 1) / 2].time > answer.time;
         i = (i - 1) / 2)
        heap->answers[i] = heap->answers[(i - 1) / 2];
    heap->answers[i] = answer;
}

static struct answer
pop(struct heap *heap)
{
    struct answer first = heap->answers[0];
    struct answer last = heap->answers[--heap->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count
            && heap->answers[child + 1].time < heap->answers[child].time)
            child++;
        if (heap->answers[child].time >= last.time)
            break;
        heap->answers[i] = heap->answers[child];
        i = child;
    }
    heap->answers[i] = last;
    return first;
}

/* ---- the machine ------------------------------------------------------ */

struct desk {                   /* a worker's place */
    double free;                /* when its last chunk ends */
    double late;                /* when one ends that is late */
};

struct machine {
    const struct distribution *distribution;
    double mean; /* seconds that a task takes */
    uint64_t tasks;
    int workers;
    uint64_t chunksize;

    struct schedule *schedule;
    struct heap heap;
    double now; /* the master's time */
    struct desk *desks;         /* [workers] */
    double total, longest; /* of all tasks */
};

/* The chunk is run from begins on, until it is late.  Tasks done, and in
   *elapsed how long they took. */
static uint64_t
run_chunk(struct machine *machine, uint64_t first, uint64_t count,
          double *elapsed)
{
    double patience =
        1e-9 * (double)schedule_patience(machine->schedule, count);
    uint64_t done;
    *elapsed = 0;
    for (done = 0; done < count; done++) {
        if (done > 0 && patience > 0 && *elapsed > patience)
            break;
        double duration =
            machine->mean
            * machine->distribution->duration(first + done, machine->tasks);
        machine->longest = fmax(machine->longest, duration);
        *elapsed += duration;
    }
    machine->total += *elapsed;
    return done;
}

/* A chunk that was sent while the worker was busy with one that is late comes
   back as it is. */
static void
give(struct machine *machine, int worker, uint64_t count)
{
    struct desk *desk = &machine->desks[worker];
    uint64_t first = schedule_first(machine->schedule), done = 0;
    double patience =
        1e-9 * (double)schedule_patience(machine->schedule, count);
    double arrives, begins, elapsed = MESSAGE;
    machine->now += MESSAGE + (double)count * TASK;
    arrives = machine->now + LATENCY;
    begins = fmax(desk->free, arrives);
    if (patience == 0 || arrives > desk->late)
        done = run_chunk(machine, first, count, &elapsed);
    schedule_give(machine->schedule, worker, count);
    desk->free = begins + elapsed;
    if (patience > 0 && elapsed > patience)
        desk->late = desk->free;
    push(&machine->heap,
         (struct answer){desk->free + LATENCY, worker, first, done, elapsed});
}

static void
hand_out(struct machine *machine)
{
    uint64_t count;
    int worker;
    while ((worker = schedule_next(machine->schedule, &count)) >= 0) {
        uint64_t given = schedule_given(machine->schedule);
        uint64_t left = machine->tasks - given;
        if (schedule_first(machine->schedule) == given && count > left)
            count = left;
        if (count == 0) {
            schedule_exhausted(machine->schedule);
            return;
        }
        give(machine, worker, count);
    }
}

static void
take_in(struct machine *machine)
{
    struct answer answer = pop(&machine->heap);
    struct schedule_answer all = {
        .worker = answer.worker,
        .first = answer.first,
        .done = answer.count,
        .is_rest_back = 1,
        .elapsed = (uint64_t)(answer.elapsed * 1e9),
    };
    machine->now = fmax(machine->now, answer.time) + MESSAGE
                   + (double)answer.count * TASK;
    if (schedule_answer(machine->schedule, &all) < 0)
        abort();
}

/* Runs the job; the share of the ideal, and whether the master is it. */
static double
share_of_ideal(struct machine *machine, int *is_master)
{
    struct schedule_job job = {
        machine->workers, machine->chunksize, machine->tasks, {0, 0}};
    machine->schedule = schedule_new(&job);
    machine->desks = calloc((size_t)machine->workers, sizeof *machine->desks);
    if (machine->schedule == NULL || machine->desks == NULL)
        abort();
    for (int worker = 0; worker < machine->workers; worker++)
        schedule_join(machine->schedule, worker);
    hand_out(machine);
    while (!schedule_done(machine->schedule)) {
        take_in(machine);
        hand_out(machine);
    }
    double master = 2 * TASK * (double)machine->tasks;
    double ideal = fmax(machine->total / machine->workers, machine->longest);
    *is_master = master > ideal;
    ideal = fmax(ideal, master) + 2 * (MESSAGE + LATENCY);
    schedule_free(machine->schedule);
    free(machine->desks);
    free(machine->heap.answers);
    return ideal / machine->now;
}

/* ---- the table -------------------------------------------------------- */

static const int worker_counts[] = {2, 16, 256, 4096, 100000};
static const double means[] = {10e-6, 100e-6, 1e-3, 10e-3, 1, 10};
static const char *const mean_names[] = {"10 us", "100 us", "1 ms",
                                         "10 ms", "1 s",    "10 s"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct plan {
    uint64_t per_worker;        /* tasks */
    uint64_t chunksize;
    int most_workers;
};

static void
print_cell(const struct distribution *distribution, double mean, int workers,
           const struct plan *plan)
{
    int is_master;
    uint64_t tasks = plan->per_worker * (uint64_t)workers;
    struct machine machine = {
        .distribution = distribution,
        .mean = mean,
        .tasks = tasks < MOST_TASKS ? tasks : MOST_TASKS,
        .workers = workers,
        .chunksize = plan->chunksize,
    };
    double share = share_of_ideal(&machine, &is_master);
    printf(" %.3f%s |", share, is_master ? " m" : "");
}

static void
print_rows(const struct distribution *distribution, const struct plan *plan)
{
    for (size_t mean = 0; mean < COUNT(means); mean++) {
        printf("| %s | %s |", distribution->name, mean_names[mean]);
        for (size_t w = 0; w < COUNT(worker_counts); w++) {
            if (worker_counts[w] <= plan->most_workers)
                print_cell(distribution, means[mean], worker_counts[w], plan);
        }
        printf("\n");
    }
}

static void
print_head(const struct plan *plan)
{
    int columns = 2;
    printf("| tasks | mean |");
    for (size_t w = 0; w < COUNT(worker_counts); w++) {
        if (worker_counts[w] <= plan->most_workers) {
            printf(" %d |", worker_counts[w]);
            columns++;
        }
    }
    printf("\n|");
    while (columns-- > 0)
        printf(" --- |");
    printf("\n");
}

static int
is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 4; i < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            return 1;
    }
    return argc <= 4;
}

int
main(int argc, char **argv)
{
    struct plan plan = {
        .per_worker = argc > 1 ? strtoull(argv[1], NULL, 10) : 100,
        .chunksize = argc > 2 ? strtoull(argv[2], NULL, 10) : 0,
        .most_workers = argc > 3 ? atoi(argv[3]) : 100000,
    };
    print_head(&plan);
    for (size_t d = 0; d < COUNT(distributions); d++) {
        if (is_wanted(distributions[d].name, argc, argv))
            print_rows(&distributions[d], &plan);
    }
    return 0;
}
