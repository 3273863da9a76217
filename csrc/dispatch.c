/* dispatch.c -- lines, seats, and the messages between.

   Must not know what a task or a result is, and must not call Python: the GIL
   may be free. */

#include "dispatch.h"

#include <stdio.h>
#include <stdlib.h>

#include "claim.h"

#define TREE_BYTES 1000000      /* callables above this go along a tree */
#define LINES_SERVED 64         /* at a time; the others wait */
/* Nanoseconds of work by which a line may be ahead of another that has fewer
   workers before it gives one up. */
#define SLICE 1000000u
#define DEATHS 2 /* with a single task before it is given up */
#define STUCK_SECONDS 500e-6 /* what quick calls are waited for */

/* ---- lines ------------------------------------------------------------ */

struct dispatch *
dispatch_new(struct crew *crew)
{
    struct dispatch *dispatch = calloc(1, sizeof *dispatch);
    if (dispatch == NULL)
        return NULL;
    dispatch->crew = crew;
    dispatch->seats = seats_new(crew->workers);
    if (dispatch->seats == NULL) {
        free(dispatch);
        return NULL;
    }
    chunks_init(&dispatch->answered);
    for (int worker = 0; worker < crew->workers; worker++) {
        if (crew->members[worker].is_lost) {
            seats_dismiss(dispatch->seats, worker);
            dispatch->untold++;
        }
    }
    return dispatch;
}

void
line_init(struct line *line, const struct line_kind *kind)
{
    *line = (struct line){.kind = kind, .last_answered = NOBODY};
    chunks_init(&line->waiting);
    chunks_init(&line->again);
}

/* A new line counts as served as much as the one that was served least: it
   gets its share from now on, and no more.  Where there was none, workers get
   its chunks in their order: so a job does the same each time. */
void
dispatch_join(struct dispatch *dispatch, struct line *line)
{
    struct line **link = &dispatch->lines;
    uint64_t least = dispatch->lines ? UINT64_MAX : 0;
    if (dispatch->lines == NULL)
        seats_sort_idle(dispatch->seats);
    for (; *link != NULL; link = &(*link)->next) {
        if ((*link)->served < least)
            least = (*link)->served;
    }
    line->served = least;
    line->next = NULL;
    line->is_parted = 0;
    *link = line;
}

void
dispatch_part(struct dispatch *dispatch, struct line *line)
{
    struct line **link = &dispatch->lines;
    while (*link != line)
        link = &(*link)->next;
    *link = line->next;
    line->next = NULL;
    line->is_parted = 1;
}

struct chunk *
chunk_new(struct line *line, struct callable *callable)
{
    struct chunk *chunk = PyMem_RawMalloc(sizeof *chunk);
    if (chunk == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    *chunk = (struct chunk){
        .line = line, .callable = callable_keep(callable), .avoids = NOBODY};
    return chunk;
}

void
chunk_free(struct chunk *chunk)
{
    struct line *line = chunk->line;
    parcel_free(chunk->tasks);
    parcel_free(chunk->answer);
    callable_free(chunk->callable);
    PyMem_RawFree(chunk);
    line->kind->chunk_is_gone(line);
}

void
dispatch_free(struct dispatch *dispatch)
{
    struct chunk *chunk;
    if (dispatch == NULL)
        return;
    for (int worker = 0; worker < dispatch->crew->workers; worker++) {
        while (seats_oldest(dispatch->seats, worker) != NULL)
            chunk_free(seats_answer(dispatch->seats, worker));
    }
    while ((chunk = chunks_pop(&dispatch->answered)) != NULL)
        chunk_free(chunk);
    seats_free(dispatch->seats);
    free(dispatch);
}

/* ---- whose turn ------------------------------------------------------- */

static void
append_answered(struct dispatch *dispatch, struct chunk *chunk)
{
    if (dispatch->answered.first == NULL)
        dispatch->answered_since = crew_clock();
    chunk->line->untaken++;
    chunks_append(&dispatch->answered, chunk);
}

void
line_wait(struct line *line, struct chunk *chunk)
{
    chunks_insert(chunk->avoids == NOBODY ? &line->waiting : &line->again,
                  chunk);
}

void
line_join_again(struct line *line)
{
    struct chunk *chunk;
    while ((chunk = chunks_pop(&line->again)) != NULL)
        chunks_insert(&line->waiting, chunk);
}

/* Is a worker free that the chunk does not avoid?  Where all have something to
   do it is the one that has just answered. */
static int
is_other_free(const struct dispatch *dispatch, const struct chunk *chunk)
{
    int idle[2], last = chunk->line->last_answered;
    size_t count = seats_list_idle(dispatch->seats, idle, 2);
    if (count == 0)
        return last != NOBODY && last != chunk->avoids;
    return count == 2 || idle[0] != chunk->avoids;
}

static int
holds_of(const struct dispatch *dispatch, const struct line *line, int worker)
{
    const struct chunk *chunk = seats_oldest(dispatch->seats, worker);
    while (chunk != NULL && chunk->line != line)
        chunk = chunk->next;
    return chunk != NULL;
}

/* Does another worker hold something of its line, and so will be free? */
static int
is_other_at_work(const struct dispatch *dispatch, const struct chunk *chunk)
{
    int holds = holds_of(dispatch, chunk->line, chunk->avoids);
    return chunk->line->holders > holds;
}

/* What failed at a worker is for another one, as soon as one is free: then it
   is the line's first to be given, or if that one gets something else, it
   waits on.  Whoever is bad at all that there is would else use up all
   attempts in no time, while others are at work.  A task waits no longer than
   one of these takes. */
static void
choose_again(const struct dispatch *dispatch, struct line *line)
{
    const struct chunk *chosen = line->waiting.first;
    if (chosen != NULL && chosen->avoids != NOBODY)
        line_wait(line, chunks_pop(&line->waiting));
    const struct chunk *first = line->again.first;
    if (first != NULL
        && (is_other_free(dispatch, first)
            || !is_other_at_work(dispatch, first)))
        chunks_prepend(&line->waiting, chunks_pop(&line->again));
}

/* Is there a chunk to be given?  Those that were cancelled count as
   answered. */
static int
has_waiting(struct dispatch *dispatch, struct line *line)
{
    if (line->keeps_tasks)
        choose_again(dispatch, line);
    while (line->waiting.first != NULL && line->waiting.first->is_cancelled)
        append_answered(dispatch, chunks_pop(&line->waiting));
    return line->waiting.first != NULL;
}

static int
has_some(struct dispatch *dispatch, struct line *line)
{
    return has_waiting(dispatch, line) || line->kind->can_draw(line);
}

static int
is_poorer(const struct line *line, const struct line *other)
{
    if (line->holders != other->holders)
        return line->holders < other->holders;
    return line->served < other->served;
}

/* A line that had nothing to be given for a while does not make up for that:
   it goes on as one that was served as little as any. */
static void
wake_line(const struct dispatch *dispatch, struct line *line)
{
    if (line->rests && line->served < dispatch->least_served)
        line->served = dispatch->least_served;
    line->rests = 0;
}

static struct line *
find_poorest(struct dispatch *dispatch)
{
    struct line *poorest = NULL, *line = dispatch->lines;
    uint64_t least = UINT64_MAX;
    for (int i = 0; line != NULL && i < LINES_SERVED; line = line->next) {
        if (!has_some(dispatch, line)) {
            line->rests |= line->held == 0;
            continue;
        }
        i++;
        wake_line(dispatch, line);
        least = line->served < least ? line->served : least;
        if (poorest == NULL || is_poorer(line, poorest))
            poorest = line;
    }
    if (poorest != NULL)
        dispatch->least_served = least;
    return poorest;
}

/* May the line keep the worker that has just answered, or should it go to the
   poorest one that has something for it? */
static int
may_keep(const struct line *line, const struct line *poorest)
{
    return line == poorest || line->holders <= poorest->holders
           || (line->holders == poorest->holders + 1
               && line->served <= poorest->served + SLICE);
}

/* How many chunks of the line's the worker may hold, when it holds some. */
static int
depth(const struct dispatch *dispatch, const struct line *line, int worker)
{
    const struct chunk *next = line->waiting.first;
    const struct chunk *oldest = seats_oldest(dispatch->seats, worker);
    const struct crew_member *member = &dispatch->crew->members[worker];
    int workers = dispatch->crew->workers;
    if (line->schedule != NULL)
        return schedule_depth(line->schedule,
                              next ? next->header.count
                                   : schedule_size(line->schedule));
    if (member->word == NULL || member->is_taken_back || next == NULL
        || next->is_pinned || oldest->callable == NULL)
        return 1;
    int one =
        schedule_calls(&next->callable->pace, line->waiting.count, workers);
    int other =
        schedule_calls(&oldest->callable->pace, line->waiting.count, workers);
    return one < other ? one : other;
}

int
dispatch_busy(const struct dispatch *dispatch)
{
    int busy = 0;
    for (int worker = 0; worker < dispatch->crew->workers; worker++)
        busy += seats_oldest(dispatch->seats, worker) != NULL;
    return busy;
}

/* Has the worker that has just answered room for more?  It has that moment
   begun the next chunk that it holds: so nothing ever waits behind one that is
   known to be long. */
static int
has_room(const struct dispatch *dispatch, const struct line *line)
{
    int worker = line->last_answered;
    if (worker == NOBODY)
        return 0;
    const struct chunk *oldest = seats_oldest(dispatch->seats, worker);
    return oldest != NULL && oldest->line == line
           && seats_held(dispatch->seats, worker)
                  < depth(dispatch, line, worker);
}

/* The worker that has been idle longest, but rather one that the line's first
   chunk does not avoid. */
static int
find_idle_for(const struct dispatch *dispatch, const struct line *line)
{
    int idle[2], worker = seats_idle(dispatch->seats);
    const struct chunk *chunk = line->waiting.first;
    if (worker == NOBODY || chunk == NULL || chunk->avoids != worker)
        return worker;
    return seats_list_idle(dispatch->seats, idle, 2) == 2 ? idle[1] : worker;
}

struct line *
dispatch_next(struct dispatch *dispatch, int *worker)
{
    struct line *poorest = find_poorest(dispatch);
    if (poorest == NULL)
        return NULL;
    *worker = find_idle_for(dispatch, poorest);
    if (*worker != NOBODY)
        return poorest;
    struct line *line = dispatch->lines;
    for (int i = 0; line != NULL && i < LINES_SERVED; line = line->next, i++) {
        if (has_room(dispatch, line) && may_keep(line, poorest)
            && (line == poorest || has_some(dispatch, line))) {
            *worker = line->last_answered;
            return line;
        }
    }
    return NULL;
}

/* One that came back, or was drawn long ago, may be too large: what was
   learned since, and how little is left, make chunks smaller. */
int
line_is_ready(const struct line *line)
{
    const struct chunk *chunk = line->waiting.first;
    if (chunk == NULL || line->schedule == NULL)
        return chunk != NULL;
    return chunk->header.count < 2
           || chunk->header.count < 2 * schedule_size(line->schedule);
}

/* ---- giving ----------------------------------------------------------- */

static struct header
callable_header(const struct chunk *chunk)
{
    return (struct header){.job = chunk->header.job,
                           .pool = chunk->header.pool,
                           .callable = chunk->callable->number,
                           .slot = (uint32_t)chunk->callable->slot,
                           .flags = chunk->header.flags};
}

static uint64_t *
held_of(const struct dispatch *dispatch, const struct chunk *chunk, int worker)
{
    return &dispatch->crew->members[worker].held[chunk->callable->slot];
}

static int
compare_ranks(const void *one, const void *other)
{
    return *(const int *)one - *(const int *)other;
}

/* The rank of the worker that is next, and those of idle ones that will need
   the callable and lack it, too: so many as there are chunks to come. */
static size_t
find_receivers(const struct dispatch *dispatch, const struct chunk *chunk,
               int worker, int *ranks)
{
    const struct line *line = chunk->line;
    uint64_t most = schedule_chunks(line->schedule);
    size_t workers = (size_t)dispatch->crew->workers, found = 0;
    size_t idle = seats_list_idle(dispatch->seats, ranks,
                                  most < workers ? (size_t)most : workers);
    for (size_t i = 0; i < idle; i++) {
        if (ranks[i] != worker
            && *held_of(dispatch, chunk, ranks[i]) != chunk->callable->number)
            ranks[found++] = ranks[i] + 1;
    }
    ranks[found++] = worker + 1; /* it need not be the first that is idle */
    qsort(ranks, found, sizeof *ranks, compare_ranks);
    return found;
}

/* Sends the callable to these ranks. */
static int
send_callable(struct dispatch *dispatch, const struct chunk *chunk,
              const int *ranks, size_t count, struct transport_error *error)
{
    struct header header = callable_header(chunk);
    int status = crew_post(dispatch->crew, ranks, count, VERB_CALLABLE,
                           &header, chunk->callable->parcel, error);
    for (size_t i = 0; status == TRANSPORT_OK && i < count; i++)
        *held_of(dispatch, chunk, ranks[i] - 1) = chunk->callable->number;
    return status;
}

static int
send_along_tree(struct dispatch *dispatch, const struct chunk *chunk,
                int worker, struct transport_error *error)
{
    int *ranks = malloc((size_t)dispatch->crew->workers * sizeof *ranks);
    if (ranks == NULL) {
        *error = (struct transport_error){"malloc", "out of memory"};
        return TRANSPORT_FAILED;
    }
    size_t found = find_receivers(dispatch, chunk, worker, ranks);
    int status = send_callable(dispatch, chunk, ranks, found, error);
    free(ranks);
    return status;
}

/* May the worker's callable travel along a tree?  Whoever passes it on must
   look for messages, and one that is busy, or may be elsewhere, does not; and
   a single call needs it at one worker alone. */
static int
is_for_tree(const struct dispatch *dispatch, const struct chunk *chunk,
            int worker)
{
    return chunk->line->schedule != NULL && !dispatch->crew->released
           && !dispatch->crew->survives
           && seats_held(dispatch->seats, worker) == 0
           && parcel_size(chunk->callable->parcel) > TREE_BYTES;
}

static int
supply_callable(struct dispatch *dispatch, const struct chunk *chunk,
                int worker, struct transport_error *error)
{
    int rank = worker + 1;
    if (*held_of(dispatch, chunk, worker) == chunk->callable->number)
        return TRANSPORT_OK;
    return is_for_tree(dispatch, chunk, worker)
               ? send_along_tree(dispatch, chunk, worker, error)
               : send_callable(dispatch, chunk, &rank, 1, error);
}

static int
supply_initializer(struct dispatch *dispatch, const struct chunk *chunk,
                   int worker, struct transport_error *error)
{
    struct initializer *initializer = chunk->line->initializer;
    struct header header = callable_header(chunk);
    int rank = worker + 1;
    if (initializer == NULL || initializer->sent[worker])
        return TRANSPORT_OK;
    int status = crew_post(dispatch->crew, &rank, 1, VERB_INITIALIZE, &header,
                           initializer->parcel, error);
    initializer->sent[worker] = status == TRANSPORT_OK;
    return status;
}

/* Sends what the worker must have before the chunk.  The initializer comes
   last: it is user code, which those without a chunk do not run, and during
   which nothing is passed on. */
static int
supply(struct dispatch *dispatch, const struct chunk *chunk, int worker,
       struct transport_error *error)
{
    int status = supply_callable(dispatch, chunk, worker, error);
    return status == TRANSPORT_OK
               ? supply_initializer(dispatch, chunk, worker, error)
               : status;
}

/* Calls are timed closely, to find those that are stuck; of others people are
   told, in seconds.  A parted line's schedule may go meanwhile. */
static int64_t
clock_for(const struct line *line)
{
    int are_calls = line->kind->take_back != NULL;
    return are_calls ? crew_clock() : crew_coarse_clock();
}

static void
note_given(struct dispatch *dispatch, struct chunk *chunk, int worker)
{
    struct line *line = chunk->line;
    line->held++;
    line->holders += !holds_of(dispatch, line, worker);
    if (line->schedule != NULL)
        schedule_give(line->schedule, chunk->header.first,
                      chunk->header.count);
    if (seats_held(dispatch->seats, worker) == 0)
        dispatch->crew->members[worker].since = clock_for(line);
    dispatch->ahead += (chunk->header.flags & FLAG_CLAIM) != 0;
    chunk->worker = worker;
    atomic_store(&chunk->is_given, 1);
    seats_give(dispatch->seats, worker, chunk);
}

/* A call that is begun at once need not be taken back; and a guard's child,
   which begins it, has no word with the master. */
static void
set_claim(struct dispatch *dispatch, struct chunk *chunk, int worker)
{
    struct crew *crew = dispatch->crew;
    struct crew_member *member = &crew->members[worker];
    if (member->word == NULL && !crew->is_isolated)
        member->word = crew->transport->word(crew->mailbox, worker + 1);
    if (member->word == NULL || chunk->is_pinned
        || seats_held(dispatch->seats, worker) == 0)
        return;
    member->claims += member->claims == UINT32_MAX ? 2 : 1;
    chunk->header.elapsed = member->claims;
    chunk->header.flags |= FLAG_CLAIM | FLAG_BACK;
}

/* The tasks are kept where they may come back; a single one that is begun at
   once does not, unless its worker dies.  Those that are not kept live on
   until they have left. */
static void
set_patience(struct dispatch *dispatch, struct chunk *chunk, int worker)
{
    struct header *header = &chunk->header;
    const struct schedule *schedule = chunk->line->schedule;
    header->elapsed = 0;
    header->flags &= ~(uint32_t)(FLAG_BACK | FLAG_CLAIM);
    if (schedule == NULL) {
        set_claim(dispatch, chunk, worker);
        return;
    }
    header->elapsed = schedule_patience(schedule, header->count);
    if (header->elapsed > 0
        && (header->count > 1 || seats_held(dispatch->seats, worker) > 0))
        header->flags |= FLAG_BACK;
}

static int
may_come_back(const struct chunk *chunk)
{
    return chunk->header.flags & FLAG_BACK || chunk->line->keeps_tasks;
}

int
dispatch_send(struct dispatch *dispatch, struct chunk *chunk, int worker,
              struct transport_error *error)
{
    int rank = worker + 1;
    set_patience(dispatch, chunk, worker);
    int status = supply(dispatch, chunk, worker, error);
    if (status == TRANSPORT_OK)
        status = crew_post(dispatch->crew, &rank, 1, VERB_TASKS,
                           &chunk->header, chunk->tasks, error);
    if (status != TRANSPORT_OK)
        return status;
    note_given(dispatch, chunk, worker);
    if (!may_come_back(chunk)) {
        parcel_free(chunk->tasks);
        chunk->tasks = NULL;
    }
    return TRANSPORT_OK;
}

int
dispatch_give(struct dispatch *dispatch, struct line *line, int worker,
              struct transport_error *error)
{
    struct chunk *chunk = chunks_pop(&line->waiting);
    int status = dispatch_send(dispatch, chunk, worker, error);
    if (status != TRANSPORT_OK)
        chunks_insert(&line->waiting, chunk);
    return status;
}

int
dispatch_feed(struct dispatch *dispatch, struct transport_error *error)
{
    int worker, status = TRANSPORT_OK;
    struct line *line;
    while (status == TRANSPORT_OK
           && (line = dispatch_next(dispatch, &worker)) != NULL
           && line_is_ready(line))
        status = dispatch_give(dispatch, line, worker, error);
    return status;
}

/* The idle workers' ranks first, then the others'; returns how many are idle.
   *ranks: NULL: out of memory. */
static size_t
list_ranks(const struct dispatch *dispatch, int **ranks)
{
    size_t workers = (size_t)dispatch->crew->workers, idle = 0, busy = 0;
    int *list = *ranks = malloc(workers * sizeof *list);
    for (size_t i = 0; list != NULL && i < workers; i++) {
        if (seats_held(dispatch->seats, (int)i) == 0)
            list[idle++] = (int)i + 1;
        else
            list[workers - ++busy] = (int)i + 1;
    }
    return idle;
}

int
dispatch_broadcast(struct dispatch *dispatch, enum verb verb,
                   const struct header *header, struct parcel *parcel,
                   struct transport_error *error)
{
    struct crew *crew = dispatch->crew;
    int *ranks, status = TRANSPORT_OK;
    size_t idle = list_ranks(dispatch, &ranks), first = 0;
    if (ranks == NULL) {
        *error = (struct transport_error){"malloc", "out of memory"};
        return TRANSPORT_FAILED;
    }
    if (idle > 1 && !crew->released && !crew->survives
        && parcel_size(parcel) > TREE_BYTES) {
        status = crew_post(crew, ranks, idle, verb, header, parcel, error);
        first = idle;
    }
    for (size_t i = first; i < (size_t)crew->workers && status == TRANSPORT_OK;
         i++)
        status = crew_post(crew, &ranks[i], 1, verb, header, parcel, error);
    free(ranks);
    return status;
}

/* ---- what is stuck ----------------------------------------------------- */

static int
is_mpi_there(const struct crew *crew)
{
    return !crew->transport->closed(crew->mailbox);
}

int
dispatch_is_begun(const struct dispatch *dispatch, const struct chunk *chunk)
{
    const struct crew *crew = dispatch->crew;
    return !(chunk->header.flags & FLAG_CLAIM) || !is_mpi_there(crew)
           || claim_is_begun(crew->members[chunk->worker].word,
                             (uint32_t)chunk->header.elapsed);
}

/* The first chunk that can be taken back of those the worker has, if it has
   worked on one for so long. */
static struct chunk *
find_behind(const struct dispatch *dispatch, int worker, int64_t before)
{
    const struct crew_member *member = &dispatch->crew->members[worker];
    struct chunk *chunk = seats_oldest(dispatch->seats, worker);
    if (member->is_taken_back || member->since > before)
        return NULL;
    while (chunk != NULL
           && (chunk->is_pinned || dispatch_is_begun(dispatch, chunk)))
        chunk = chunk->next;
    return chunk;
}

struct chunk *
dispatch_find_stuck(const struct dispatch *dispatch)
{
    struct chunk *stuck = NULL;
    if (dispatch->ahead == 0 || seats_idle(dispatch->seats) == NOBODY)
        return NULL;
    int64_t before = crew_clock() - (int64_t)(1e9 * STUCK_SECONDS);
    for (int i = 0; stuck == NULL && i < dispatch->crew->workers; i++)
        stuck = find_behind(dispatch, i, before);
    return stuck;
}

double
dispatch_patience(const struct dispatch *dispatch)
{
    return dispatch->ahead > 0 ? STUCK_SECONDS : SIGNAL_SECONDS;
}

int
dispatch_revoke(struct dispatch *dispatch, const struct chunk *chunk)
{
    struct crew *crew = dispatch->crew;
    struct crew_member *member = &crew->members[chunk->worker];
    if (!(chunk->header.flags & FLAG_CLAIM) || !is_mpi_there(crew)
        || !claim_take_back(member->word, (uint32_t)chunk->header.elapsed))
        return 0;
    member->is_taken_back = 1;
    return 1;
}

/* ---- answers ---------------------------------------------------------- */

static int
refuse(const struct letter *letter, struct transport_error *error)
{
    error->call = "receive";
    snprintf(error->text, sizeof error->text,
             "rank %d answered for tasks that it was not given",
             letter->source);
    return TRANSPORT_FAILED;
}

/* What no worker says: it left no results out that were wanted, and a chunk
   took no more time than a clock can count. */
static int
is_absurd(const struct chunk *chunk, const struct header *reply)
{
    uint32_t left_out = reply->flags & ~chunk->header.flags & FLAG_NO_RESULTS;
    return (left_out && reply->count > 0) || reply->elapsed > INT64_MAX;
}

/* The failed task counts: it came back, as a failure. */
static uint64_t
count_done(const struct header *reply)
{
    return reply->count + ((reply->flags & FLAG_FAILED) ? 1 : 0);
}

static int
fits(const struct chunk *chunk, const struct letter *letter)
{
    const struct header *reply = &letter->header;
    uint32_t flags = reply->flags;
    int needs_parcel = flags & FLAG_FAILED
                       || (!(flags & FLAG_NO_RESULTS) && reply->count > 0);
    return chunk != NULL && reply->job == chunk->header.job
           && reply->first == chunk->header.first
           && reply->count <= chunk->header.count
           && count_done(reply) <= chunk->header.count
           && (!needs_parcel || letter->parcel != NULL)
           && !is_absurd(chunk, reply)
           && (!(flags & FLAG_BACK)
               || (may_come_back(chunk) && !(flags & FLAG_FAILED)));
}

/* Whatever was taken back is answered for when it holds nothing. */
static void
note_member(struct dispatch *dispatch, const struct chunk *chunk, int worker)
{
    struct crew_member *member = &dispatch->crew->members[worker];
    member->since = clock_for(chunk->line);
    dispatch->ahead -= (chunk->header.flags & FLAG_CLAIM) != 0;
    if (!member->is_taken_back || seats_held(dispatch->seats, worker) > 0)
        return;
    claim_reset(member->word);
    member->is_taken_back = 0;
}

/* 1: it was late. */
static int
note_tasks(const struct chunk *chunk)
{
    const struct header *reply = &chunk->reply;
    struct schedule_answer answer = {
        .first = chunk->header.first,
        .count = chunk->header.count,
        .done = count_done(reply),
        .is_rest_back = (reply->flags & FLAG_BACK) != 0,
        .elapsed = reply->elapsed,
        .bytes = chunk->answer ? parcel_size(chunk->answer) : 0,
    };
    if (chunk->line->is_parted)
        return 0;
    if (chunk->line->schedule != NULL)
        return schedule_answer(chunk->line->schedule, &answer);
    if (chunk->callable != NULL && answer.done > 0)
        schedule_learn_call(&chunk->callable->pace, reply->elapsed);
    return 0;
}

/* Notes what the answer says of the line's tasks and workers. */
static void
note_answer(struct dispatch *dispatch, const struct chunk *chunk, int worker)
{
    struct line *line = chunk->line;
    int is_late = note_tasks(chunk);
    note_member(dispatch, chunk, worker);
    /* What waits behind a late one comes back now: no later task before. */
    line->last_answered = is_late ? NOBODY : worker;
    line->served += chunk->reply.elapsed;
    line->held--;
    line->holders -= !holds_of(dispatch, line, worker);
}

static int
take_answer(struct dispatch *dispatch, struct letter *letter,
            struct transport_error *error)
{
    int worker = letter->source - 1;
    struct chunk *chunk = seats_oldest(dispatch->seats, worker);
    if (!fits(chunk, letter))
        return refuse(letter, error);
    seats_answer(dispatch->seats, worker);
    chunk->reply = letter->header;
    chunk->answer = letter->parcel;
    letter->parcel = NULL;
    note_answer(dispatch, chunk, worker);
    append_answered(dispatch, chunk);
    return TRANSPORT_OK;
}

struct chunk *
dispatch_lose(struct dispatch *dispatch, int worker)
{
    struct chunk *chunk = seats_oldest(dispatch->seats, worker);
    if (chunk == NULL)
        return NULL;
    seats_answer(dispatch->seats, worker);
    chunk->reply = (struct header){.first = chunk->header.first};
    note_answer(dispatch, chunk, worker);
    return chunk;
}

/* In place of an answer. */
static struct header
last_reply(const struct chunk *chunk)
{
    return (struct header){
        .job = chunk->header.job,
        .first = chunk->header.first,
        .flags = chunk->is_given_up ? FLAG_FAILED : FLAG_BACK,
    };
}

/* The worker has died: what it held counts as answered for, and not begun; or
   as given up, if it was for that worker alone, or is a single task that was
   run when another died. */
static void
bury(struct dispatch *dispatch, int worker)
{
    struct crew_member *member = &dispatch->crew->members[worker];
    struct chunk *chunk = seats_oldest(dispatch->seats, worker);
    if (member->is_lost)
        return;
    if (chunk != NULL)
        chunk->deaths++;
    while ((chunk = seats_oldest(dispatch->seats, worker)) != NULL) {
        chunk->is_given_up =
            chunk->is_pinned
            || (chunk->deaths >= DEATHS && chunk->header.count == 1);
        seats_answer(dispatch->seats, worker);
        chunk->reply = last_reply(chunk);
        note_answer(dispatch, chunk, worker);
        append_answered(dispatch, chunk);
    }
    seats_dismiss(dispatch->seats, worker);
    crew_lose(dispatch->crew, worker);
    dispatch->untold++;
}

/* The worker does not hold the callable of its chunk (any more). */
static int
send_again(struct dispatch *dispatch, const struct letter *letter,
           struct transport_error *error)
{
    int worker = letter->source - 1;
    const struct chunk *chunk = seats_oldest(dispatch->seats, worker);
    while (chunk != NULL
           && (chunk->callable == NULL
               || chunk->header.callable != letter->header.callable))
        chunk = chunk->next;
    if (chunk == NULL)
        return TRANSPORT_OK;
    *held_of(dispatch, chunk, worker) = 0;
    return supply_callable(dispatch, chunk, worker, error);
}

int
dispatch_accept(struct dispatch *dispatch, struct letter *letter,
                struct transport_error *error)
{
    if (letter->source < 1 || letter->source > dispatch->crew->workers)
        return refuse(letter, error);
    return letter->verb == VERB_ANSWER ? take_answer(dispatch, letter, error)
                                       : send_again(dispatch, letter, error);
}

int
dispatch_receive(struct dispatch *dispatch, double seconds,
                 struct transport_error *error)
{
    struct crew *crew = dispatch->crew;
    struct letter letter;
    int status = crew_await(crew, seconds, error);
    if (status == TRANSPORT_LOST) {
        bury(dispatch, crew->message.source - 1);
        return TRANSPORT_OK;
    }
    if (status != TRANSPORT_OK)
        return status;
    int verb = crew->message.verb;
    if ((verb != VERB_ANSWER && verb != VERB_NEED)
        || crew_receive_small(crew, &letter) != TRANSPORT_OK)
        return DISPATCH_PYTHON;
    status = dispatch_accept(dispatch, &letter, error);
    /* What is of no use has no part of Python: it was small. */
    parcel_free(letter.parcel);
    return status;
}

void
dispatch_strip(struct dispatch *dispatch, const struct line *line)
{
    for (int worker = 0; worker < dispatch->crew->workers; worker++) {
        struct chunk *chunk = seats_oldest(dispatch->seats, worker);
        for (; chunk != NULL; chunk = chunk->next) {
            if (chunk->line != line)
                continue;
            parcel_free(chunk->tasks);
            callable_free(chunk->callable);
            chunk->tasks = NULL;
            chunk->callable = NULL;
        }
    }
}

/* ---- limits ----------------------------------------------------------- */

static uint64_t
count_below(const struct chunk *chunk, uint64_t limit)
{
    const struct header *header = &chunk->header;
    if (header->first >= limit)
        return 0;
    return header->count < limit - header->first ? header->count
                                                 : limit - header->first;
}

/* The line's tasks below the limit that the worker holds, and whether it holds
   any above. */
static uint64_t
count_held(const struct dispatch *dispatch, const struct line *line,
           int worker, uint64_t limit, int *is_above)
{
    const struct chunk *chunk = seats_oldest(dispatch->seats, worker);
    uint64_t held = 0;
    *is_above = 0;
    for (; chunk != NULL; chunk = chunk->next) {
        if (chunk->line != line)
            continue;
        uint64_t below = count_below(chunk, limit);
        held += below;
        *is_above |= below < chunk->header.count;
    }
    return held;
}

/* Moves away what waits above, and returns how many tasks wait below. */
static uint64_t
trim_waiting(struct line *line, uint64_t limit, struct chunks *dropped)
{
    struct chunks kept;
    struct chunk *chunk;
    uint64_t waiting = 0;
    chunks_init(&kept);
    while ((chunk = chunks_pop(&line->waiting)) != NULL) {
        uint64_t below = count_below(chunk, limit);
        chunk->header.count = below > 0 ? below : chunk->header.count;
        chunks_append(below > 0 ? &kept : dropped, chunk);
        waiting += below;
    }
    while ((chunk = chunks_pop(&kept)) != NULL)
        chunks_append(&line->waiting, chunk);
    return waiting;
}

int
dispatch_limit(struct dispatch *dispatch, struct line *line, uint64_t first,
               struct chunks *dropped, struct transport_error *error)
{
    struct crew *crew = dispatch->crew;
    line_join_again(line);
    uint64_t waiting = trim_waiting(line, first, dropped), held = 0;
    int status = TRANSPORT_OK;
    for (int worker = 0; worker < crew->workers; worker++) {
        int is_above, rank = worker + 1;
        const struct chunk *chunk = NULL;
        held += count_held(dispatch, line, worker, first, &is_above);
        if (is_above && status == TRANSPORT_OK)
            chunk = seats_oldest(dispatch->seats, worker);
        while (chunk != NULL && chunk->line != line)
            chunk = chunk->next;
        if (chunk == NULL)
            continue;
        struct header header = {.job = chunk->header.job, .first = first};
        status = crew_post(crew, &rank, 1, VERB_ABANDON, &header, NULL, error);
    }
    schedule_limit(line->schedule, first, waiting, held);
    return status;
}
