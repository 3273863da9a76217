/* schedule_simulation.c -- the real scheduler on machines that nobody has.

   A discrete-event simulation: one master that does one thing at a time, W
   workers, tasks of a given distribution; who gets which tasks is decided by
   schedule.c and dispatch.c, over the crew of crew_stub.c.  The master pays
   for each message and, for each task, for pickling it and unpickling its
   result; a message takes a while to arrive.  A chunk that is late comes back
   as far as it was not begun.

   Prints, for each distribution, duration and number of workers, the share of
   the ideal: of the time that no scheduler could beat,

       max(total / W, longest task, what the master pays for all tasks) + one
       message there and back.

   Where the master's part is the largest of the three, the figure has an "m":
   more workers would not help, larger tasks would.

   schedule_simulation [tasks per worker [chunksize [workers [distribution ...
   A chunksize of 0 leaves it to the scheduler; no more workers than that. */

#include "dispatch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crew_stub.h"

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
    struct header header;
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
    struct mailbox mailbox;     /* first: it is what the stub knows */
    struct line line;
    struct crew crew;
    struct dispatch *dispatch;
    struct callable callable;

    const struct distribution *distribution;
    double mean; /* seconds that a task takes */
    uint64_t tasks;
    int workers;
    uint64_t chunksize;

    struct heap heap;
    double now; /* the master's time */
    struct desk *desks;         /* [workers] */
    double total, longest; /* of all tasks */
};

static struct machine *
machine_of(const struct line *line)
{
    return (struct machine *)((char *)line - offsetof(struct machine, line));
}

/* The chunk is run from begins on, until it is late.  Tasks done, and in
   *elapsed how long they took. */
static uint64_t
run_chunk(struct machine *machine, const struct header *chunk, double *elapsed)
{
    double patience = 1e-9 * (double)chunk->elapsed;
    uint64_t done;
    *elapsed = 0;
    for (done = 0; done < chunk->count; done++) {
        if (done > 0 && patience > 0 && *elapsed > patience)
            break;
        double duration = machine->mean
                          * machine->distribution->duration(
                              chunk->first + done, machine->tasks);
        machine->longest = fmax(machine->longest, duration);
        *elapsed += duration;
    }
    machine->total += *elapsed;
    return done;
}

/* A chunk that was sent while the worker was busy with one that is late comes
   back as it is. */
static void
post_chunk(struct machine *machine, int worker, const struct header *chunk)
{
    struct desk *desk = &machine->desks[worker];
    struct header reply = *chunk;
    double patience = 1e-9 * (double)chunk->elapsed;
    double arrives, begins, elapsed = MESSAGE;
    reply.count = 0;
    machine->now += MESSAGE + (double)chunk->count * TASK;
    arrives = machine->now + LATENCY;
    begins = fmax(desk->free, arrives);
    if (patience == 0 || arrives > desk->late)
        reply.count = run_chunk(machine, chunk, &elapsed);
    desk->free = begins + elapsed;
    if (patience > 0 && elapsed > patience)
        desk->late = desk->free;
    reply.elapsed = (uint64_t)(elapsed * 1e9);
    reply.flags = FLAG_NO_RESULTS;
    if (reply.count < chunk->count)
        reply.flags |= FLAG_BACK;
    push(&machine->heap,
         (struct answer){desk->free + LATENCY, worker, reply, elapsed});
}

/* A message to a worker; the callable costs nothing here. */
static void
post(struct mailbox *mailbox, int rank, enum verb verb,
     const struct header *header)
{
    if (verb == VERB_TASKS)
        post_chunk((struct machine *)mailbox, rank - 1, header);
}

/* ---- the job ---------------------------------------------------------- */

static void
add_chunk(struct machine *machine, uint64_t first, uint64_t count)
{
    struct chunk *chunk = chunk_new(&machine->line, &machine->callable);
    chunk->header.first = first;
    chunk->header.count = count;
    chunk->header.flags = FLAG_NO_RESULTS;
    chunks_insert(&machine->line.waiting, chunk);
}

static int
can_draw(struct line *line)
{
    return schedule_is_open(line->schedule);
}

static int
draw(struct line *line)
{
    uint64_t first = schedule_drawn(line->schedule);
    uint64_t left = machine_of(line)->tasks - first;
    uint64_t size = schedule_size(line->schedule);
    if (left <= size)
        schedule_exhausted(line->schedule);
    size = left < size ? left : size;
    schedule_draw(line->schedule, size);
    add_chunk(machine_of(line), first, size);
    return 0;
}

static void
wait_in_pieces(struct line *line, uint64_t first, uint64_t left)
{
    for (uint64_t count; left > 0; first += count, left -= count) {
        uint64_t size = schedule_size(line->schedule);
        count = left < size ? left : size;
        add_chunk(machine_of(line), first, count);
    }
}

/* What came back waits again, and is cut again, as in job.c. */
static int
take(struct line *line, struct chunk *chunk)
{
    uint64_t first = chunk->header.first + chunk->reply.count;
    uint64_t left = chunk->header.count - chunk->reply.count;
    schedule_return(line->schedule, first, left);
    wait_in_pieces(line, first, left);
    chunk_free(chunk);
    return 0;
}

static int
cut(struct line *line)
{
    struct chunk *chunk = chunks_pop(&line->waiting);
    wait_in_pieces(line, chunk->header.first, chunk->header.count);
    chunk_free(chunk);
    return 0;
}

static void
chunk_is_gone(struct line *line)
{
    (void)line;
}

static const struct line_kind kind = {
    .can_draw = can_draw, .draw = draw, .chunk_is_gone = chunk_is_gone};

/* ---- the master ------------------------------------------------------- */

static void
hand_out(struct machine *machine)
{
    struct transport_error error;
    struct line *line;
    int worker;
    while ((line = dispatch_next(machine->dispatch, &worker)) != NULL) {
        if (line->waiting.first == NULL)
            draw(line);
        else if (!line_is_ready(line))
            cut(line);
        else if (dispatch_give(machine->dispatch, line, worker, &error)
                 != TRANSPORT_OK)
            abort();
    }
}

static void
take_in(struct machine *machine)
{
    struct transport_error error;
    struct answer answer = pop(&machine->heap);
    struct letter letter = {.source = answer.worker + 1,
                            .verb = VERB_ANSWER,
                            .header = answer.header};
    struct chunk *chunk;
    machine->now = fmax(machine->now, answer.time) + MESSAGE
                   + (double)answer.header.count * TASK;
    if (dispatch_accept(machine->dispatch, &letter, &error) != TRANSPORT_OK)
        abort();
    while ((chunk = chunks_pop(&machine->dispatch->answered)) != NULL)
        take(&machine->line, chunk);
}

static void
open_machine(struct machine *machine)
{
    struct schedule_job job = {
        machine->workers, machine->chunksize, machine->tasks, {0, 0}};
    stub_init(&machine->crew, &machine->mailbox, machine->workers);
    machine->mailbox.post = post;
    machine->dispatch = dispatch_new(&machine->crew);
    machine->desks = calloc((size_t)machine->workers, sizeof *machine->desks);
    line_init(&machine->line, &kind);
    machine->line.schedule = schedule_new(&job);
    machine->callable =
        (struct callable){.number = 1, .parcel = stub_parcel(0)};
    if (machine->dispatch == NULL || machine->desks == NULL
        || machine->line.schedule == NULL)
        abort();
    dispatch_join(machine->dispatch, &machine->line);
}

static void
close_machine(struct machine *machine)
{
    schedule_free(machine->line.schedule);
    parcel_free(machine->callable.parcel);
    seats_free(machine->dispatch->seats);
    free(machine->dispatch);
    stub_clear(&machine->crew);
    free(machine->desks);
    free(machine->heap.answers);
}

/* Runs the job; the share of the ideal, and whether the master is it. */
static double
share_of_ideal(struct machine *machine, int *is_master)
{
    open_machine(machine);
    hand_out(machine);
    while (!schedule_done(machine->line.schedule)) {
        take_in(machine);
        hand_out(machine);
    }
    double master = 2 * TASK * (double)machine->tasks;
    double ideal = fmax(machine->total / machine->workers, machine->longest);
    *is_master = master > ideal;
    ideal = fmax(ideal, master) + 2 * (MESSAGE + LATENCY);
    close_machine(machine);
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
