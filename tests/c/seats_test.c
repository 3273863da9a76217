/* seats_test.c -- every order of events at the seats and in a queue of chunks,
   on a small scale, against models that are lists in arrays. */

#include "seats.h"

#include "choices.h"

#define MOST_WORKERS 3
#define MOST_CHUNKS 5
#define MOST_GIVEN 4 /* chunks, in a run */

/* ---- queues ----------------------------------------------------------- */

struct queue {
    struct chunks chunks; /* what is tested */
    struct chunk all[MOST_CHUNKS];
    struct chunk *list[MOST_CHUNKS]; /* what it should be */
    int count;
};

static void
put(struct queue *queue, int place, struct chunk *chunk)
{
    for (int i = queue->count++; i > place; i--)
        queue->list[i] = queue->list[i - 1];
    queue->list[place] = chunk;
}

static int
holds(const struct queue *queue, const struct chunk *chunk)
{
    int place = 0;
    while (place < queue->count && queue->list[place] != chunk)
        place++;
    return place < queue->count;
}

static void
check_queue(const struct queue *queue)
{
    const struct chunk *chunk = queue->chunks.first;
    for (int i = 0; i < queue->count; i++, chunk = chunk->next)
        CHECK(chunk == queue->list[i]);
    CHECK(chunk == NULL && *queue->chunks.last == NULL);
    CHECK(queue->chunks.count == (size_t)queue->count);
}

/* Before those with higher tasks, behind none that is. */
static void
insert(struct queue *queue, struct chunk *chunk)
{
    int place = 0;
    while (place < queue->count
           && queue->list[place]->header.first < chunk->header.first)
        place++;
    put(queue, place, chunk);
    chunks_insert(&queue->chunks, chunk);
}

static void
pop(struct queue *queue)
{
    struct chunk *chunk = chunks_pop(&queue->chunks);
    CHECK(chunk == (queue->count > 0 ? queue->list[0] : NULL));
    CHECK(chunk == NULL || chunk->next == NULL);
    if (chunk == NULL)
        return;
    queue->count--;
    for (int i = 0; i < queue->count; i++)
        queue->list[i] = queue->list[i + 1];
}

/* Any chunk that is not there goes in, or the first one out. */
static void
run_queue(int events)
{
    struct queue queue = {.count = 0};
    chunks_init(&queue.chunks);
    for (int i = 0; i < MOST_CHUNKS; i++)
        queue.all[i].header.first = (uint64_t)(i - i / 4); /* two alike */
    for (int i = 0; i < events; i++) {
        int event = choose(2 * MOST_CHUNKS + 1);
        struct chunk *chunk = &queue.all[event % MOST_CHUNKS];
        if (event == 2 * MOST_CHUNKS)
            pop(&queue);
        else if (holds(&queue, chunk))
            return; /* it cannot be: another run has it */
        else if (event < MOST_CHUNKS) {
            put(&queue, queue.count, chunk);
            chunks_append(&queue.chunks, chunk);
        }
        else
            insert(&queue, chunk);
        check_queue(&queue);
    }
}

/* ---- seats ------------------------------------------------------------ */

struct model {
    struct seats *seats; /* what is tested */
    int workers;
    struct chunk all[MOST_GIVEN];
    int given;
    struct chunk *held[MOST_WORKERS][MOST_GIVEN];
    int count[MOST_WORKERS];
    int idle[MOST_WORKERS]; /* longest first */
    int idle_count;
};

static void
become_idle(struct model *model, int worker)
{
    model->idle[model->idle_count++] = worker;
}

static void
become_busy(struct model *model, int worker)
{
    int kept = 0;
    for (int i = 0; i < model->idle_count; i++) {
        if (model->idle[i] != worker)
            model->idle[kept++] = model->idle[i];
    }
    model->idle_count = kept;
}

static void
check_idle(const struct model *model)
{
    const struct seats *seats = model->seats;
    CHECK(seats_idle(seats)
          == (model->idle_count > 0 ? model->idle[0] : NOBODY));
    for (int most = 0; most <= MOST_WORKERS; most++) {
        int listed[MOST_WORKERS + 1] = {[0] = -7, -7, -7, -7};
        int count = most < model->idle_count ? most : model->idle_count;
        CHECK(seats_list_idle(seats, listed, (size_t)most) == (size_t)count);
        for (int i = 0; i <= MOST_WORKERS; i++)
            CHECK(listed[i] == (i < count ? model->idle[i] : -7));
    }
}

static void
check_held(const struct model *model)
{
    for (int worker = 0; worker < model->workers; worker++) {
        const struct chunk *chunk = seats_oldest(model->seats, worker);
        CHECK(seats_held(model->seats, worker) == model->count[worker]);
        for (int i = 0; i < model->count[worker]; i++, chunk = chunk->next)
            CHECK(chunk == model->held[worker][i]);
        CHECK(chunk == NULL);
    }
}

/* Any worker may be given a chunk, not only who is idle longest. */
static void
give(struct model *model, int worker)
{
    struct chunk *chunk = &model->all[model->given++];
    if (model->count[worker] == 0)
        become_busy(model, worker);
    model->held[worker][model->count[worker]++] = chunk;
    seats_give(model->seats, worker, chunk);
}

static void
answer(struct model *model, int worker)
{
    struct chunk *chunk = seats_answer(model->seats, worker);
    CHECK(chunk == model->held[worker][0] && chunk->next == NULL);
    model->count[worker]--;
    for (int i = 0; i < model->count[worker]; i++)
        model->held[worker][i] = model->held[worker][i + 1];
    if (model->count[worker] == 0)
        become_idle(model, worker);
}

static void
sort(struct model *model)
{
    seats_sort_idle(model->seats);
    model->idle_count = 0;
    for (int worker = 0; worker < model->workers; worker++) {
        if (model->count[worker] == 0)
            become_idle(model, worker);
    }
}

/* Until all chunks have been given and answered for. */
static void
run_seats(int workers, int chunks)
{
    struct model model = {.seats = seats_new(workers), .workers = workers};
    int answers = 0, sorts = 1;
    CHECK(model.seats != NULL);
    for (int worker = 0; worker < workers; worker++)
        become_idle(&model, worker);
    while (answers < chunks && workers > 0) {
        if (!seen()) {
            check_idle(&model);
            check_held(&model);
        }
        int event = choose(2 * workers + sorts), worker = event / 2;
        if (worker == workers) {
            sort(&model);
            sorts = 0;
        }
        else if (event % 2 == 0 && model.given < chunks)
            give(&model, worker);
        else if (event % 2 == 1 && model.count[worker] > 0) {
            answer(&model, worker);
            answers++;
        }
        else
            break; /* it cannot be: another run has it */
    }
    check_idle(&model);
    check_held(&model);
    seats_free(model.seats);
}

/* A million chunks for 10^5 workers: hopeless if any of it took time in
   proportion to the workers. */
static void
run_large(void)
{
    enum { WORKERS = 100000, CHUNKS = 1000000 };
    struct seats *seats = seats_new(WORKERS);
    struct chunk *chunks = calloc(WORKERS, sizeof *chunks);
    CHECK(seats != NULL && chunks != NULL);
    for (int i = 0; i < CHUNKS; i++) {
        int worker = i % WORKERS, answers = (i + WORKERS / 2) % WORKERS;
        if (i >= WORKERS / 2)
            CHECK(seats_answer(seats, answers) == &chunks[answers]);
        CHECK(seats_idle(seats) == (i < WORKERS ? i : worker));
        seats_give(seats, worker, &chunks[worker]);
    }
    seats_free(seats);
    free(chunks);
}

int
main(void)
{
    long runs = 0;
    do
        run_queue(7);
    while (runs++, turn());
    for (int workers = 0; workers <= MOST_WORKERS; workers++) {
        for (int chunks = 0; chunks <= MOST_GIVEN; chunks++) {
            do
                run_seats(workers, chunks);
            while (runs++, turn());
        }
    }
    run_large();
    seats_free(NULL);
    printf("%ld runs\n", runs);
    return 0;
}
