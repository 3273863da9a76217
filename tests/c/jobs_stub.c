/* jobs_stub.c -- what job.c, call.c, ticket.c, future.c and callable.c are to
   the threads, with numbers for tasks.

   Each function that has the name of one there keeps to its order of steps. */

#define PY_SSIZE_T_CLEAN
#include "jobs_stub.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "errors.h"
#include "hello.h"
#include "master.h"
#include "progress.h"

void (*stub_users_code)(struct crew *crew);

static struct callable function = {.owners = 1, .number = 1};

uint64_t
sum_of(uint64_t first, uint64_t count)
{
    return count * (2 * first + count - 1) / 2;
}

/* What is sent, and not read. */
static struct parcel *
new_parcel(size_t size)
{
    struct parcel *parcel = parcel_new();
    CHECK(parcel != NULL);
    unsigned char *stream = parcel_extend(parcel, size);
    CHECK(stream != NULL);
    memset(stream, 'x', size);
    return parcel;
}

static uint64_t
number_in(const struct parcel *parcel)
{
    struct transport_part part;
    uint64_t number;
    parcel_parts(parcel, &part);
    CHECK(part.size >= sizeof number);
    memcpy(&number, part.base, sizeof number);
    return number;
}

/* ---- callables -------------------------------------------------------- */

struct callable *
callable_keep(struct callable *callable)
{
    callable->owners++;
    return callable;
}

void
callable_free(struct callable *callable)
{
    if (callable != NULL)
        CHECK(--callable->owners > 0);
}

void
callables_forget(struct callables *callables, uint64_t pool)
{
    (void)callables, (void)pool;
}

void
callables_rebound(struct callables *callables)
{
    (void)callables;
}

static struct callable *
hold_function(void)
{
    if (function.parcel == NULL)
        function.parcel = new_parcel(100);
    return &function;
}

/* ---- futures ---------------------------------------------------------- */

struct futures {
    struct told *first;
    _Atomic int left;
};

struct told {
    struct told *next;
    PyObject *future;
};

struct futures *
futures_new(void)
{
    return calloc(1, sizeof(struct futures));
}

void
futures_free(struct futures *futures)
{
    CHECK(futures->left == 0);
    free(futures);
}

/* Each has callbacks. */
int
future_settle(struct futures *futures, PyObject *future, PyObject *value,
              int is_failure)
{
    struct told *told = malloc(sizeof *told);
    (void)value, (void)is_failure;
    CHECK(told != NULL);
    *told = (struct told){futures->first, future};
    futures->first = told;
    futures->left++;
    return 0;
}

int
future_raise(struct futures *futures)
{
    (void)futures;
    return 0;
}

int
futures_are_left(const struct futures *futures)
{
    return futures->left > 0;
}

/* ---- jobs: shares ----------------------------------------------------- */

struct job {
    struct line line;
    size_t users, chunks;
    struct crew *crew;
    struct job_plan plan;
    uint64_t number, drawn, sum;
    unsigned long owner, drawer, caller;
    struct chunks answers;
    _Atomic int wants_owner;
    int needs_driver, is_over, is_left, is_told;
};

static struct job *
job_of(struct line *line)
{
    return (struct job *)line;
}

static void
free_if_unused(struct job *job)
{
    if (job->users == 0 && job->chunks == 0)
        free(job);
}

void
job_release(struct job *job)
{
    if (job->users == 1) {
        schedule_free(job->line.schedule);
        job->line.schedule = NULL;
        callable_free(&function);
    }
    job->users--;
    free_if_unused(job);
}

static void
job_chunk_is_gone(struct line *line)
{
    struct job *job = job_of(line);
    job->chunks--;
    free_if_unused(job);
}

static struct chunk *
job_chunk(struct job *job, uint64_t first, uint64_t count)
{
    struct chunk *chunk = chunk_new(&job->line, &function);
    CHECK(chunk != NULL);
    job->chunks++;
    chunk->header = (struct header){.job = job->number,
                                    .callable = function.number,
                                    .pool = job->line.pool,
                                    .first = first,
                                    .count = count};
    chunk->tasks = new_parcel(job->plan.bytes);
    return chunk;
}

void
futures_call(struct futures *futures, int gets_signals)
{
    struct told *told;
    (void)gets_signals;
    while ((told = futures->first) != NULL) {
        struct job *job = (struct job *)told->future;
        futures->first = told->next;
        free(told);
        stub_users_code(job->crew);
        CHECK(!job->is_told++);
        job_release(job);
        futures->left--;
    }
}

/* ---- jobs: whose turn it is ------------------------------------------- */

static int
is_calm(const struct job *job)
{
    return job->plan.kind == JOB_OF_LIST;
}

static int
is_owner(const struct job *job)
{
    const struct crew_driver *driver = &job->crew->driver;
    unsigned long here = PyThread_get_thread_ident();
    if (job->owner != 0)
        return job->owner == here;
    return !driver->started || driver->may_not_drive || driver->thread == here;
}

static int
is_callback_calm(const struct job *job)
{
    return job->plan.kind != JOB_CALLING_BACK || job->owner == 0;
}

static void
ask_owner(struct job *job)
{
    if (!atomic_exchange(&job->wants_owner, 1))
        helm_notify(&job->crew->helm,
                    job->owner != 0 ? (void *)job : (void *)job->crew);
}

static void
need_driver(struct job *job, int needed)
{
    if (job->owner != 0 || is_calm(job) || job->needs_driver == needed)
        return;
    job->needs_driver = needed;
    job->crew->driver.needed += needed ? 1 : -1;
}

/* ---- jobs: the end ---------------------------------------------------- */

static void
free_all(struct chunks *chunks)
{
    struct chunk *chunk;
    while ((chunk = chunks_pop(chunks)) != NULL)
        chunk_free(chunk);
}

static void
end(struct job *job)
{
    dispatch_part(job->crew->dispatch, &job->line);
    if (job->line.held > 0)
        dispatch_strip(job->crew->dispatch, &job->line);
    job->is_over = 1;
    need_driver(job, 0);
    job->crew->unfinished--;
    free_all(&job->answers);
    if (job->plan.is_in_background) {
        job->users++; /* the future's */
        crew_settle(job->crew, (PyObject *)job, NULL, 0);
    }
    helm_notify(&job->crew->helm, job);
    job_release(job);
}

static void
end_if_done(struct job *job)
{
    if (!job->is_over && job->drawer == 0 && job->line.untaken == 0
        && schedule_done(job->line.schedule))
        end(job);
}

void
job_abandon(struct job *job, PyObject *exception)
{
    struct transport_error error;
    struct chunks dropped;
    (void)exception;
    if (job->is_over)
        return;
    job->is_left = 1;
    chunks_init(&dropped);
    CHECK(dispatch_limit(job->crew->dispatch, &job->line, 0, &dropped, &error)
          == TRANSPORT_OK);
    free_all(&dropped);
    end(job);
}

void
job_orphan(struct job *job)
{
    struct dispatch *dispatch = job->crew->dispatch;
    job->line.next_orphan = dispatch->orphans;
    dispatch->orphans = &job->line;
}

static void
job_fail(struct line *line, PyObject *exception)
{
    job_abandon(job_of(line), exception);
}

/* ---- jobs: drawing ---------------------------------------------------- */

static void
call_users_code(struct job *job)
{
    crew_leave_helm(job->crew);
    stub_users_code(job->crew);
    crew_take_helm(job->crew);
}

/* As fill and put_drawn: while the iterator ran the job may have ended. */
static int
put_next(struct job *job)
{
    struct schedule *schedule = job->line.schedule;
    uint64_t first = job->drawn, left = job->plan.tasks - first;
    uint64_t count = schedule_size(schedule);
    job->drawer = PyThread_get_thread_ident();
    if (!is_calm(job))
        call_users_code(job);
    job->drawer = 0;
    if (job->is_over)
        return 0;
    count = count < left ? count : left;
    job->drawn += count;
    if (job->drawn == job->plan.tasks)
        schedule_exhausted(schedule);
    if (count == 0)
        return 0;
    schedule_draw(schedule, count);
    chunks_insert(&job->line.waiting, job_chunk(job, first, count));
    return 1;
}

static int
job_draw(struct line *line)
{
    struct job *job = job_of(line);
    uint64_t turns = job->crew->turns;
    job->users++;
    int status = put_next(job) && job->crew->turns == turns;
    if (!schedule_is_open(line->schedule))
        need_driver(job, 0);
    end_if_done(job);
    job_release(job);
    return status;
}

static int
job_can_draw(struct line *line)
{
    struct job *job = job_of(line);
    if (job->drawer != 0 || !schedule_is_open(line->schedule))
        return 0;
    if (is_calm(job) || is_owner(job))
        return 1;
    ask_owner(job);
    return 0;
}

static void
wait_in_pieces(struct job *job, uint64_t first, uint64_t end)
{
    while (first < end) {
        uint64_t count = schedule_size(job->line.schedule);
        count = count < end - first ? count : end - first;
        line_wait(&job->line, job_chunk(job, first, count));
        first += count;
    }
}

static int
job_cut(struct line *line)
{
    struct chunk *chunk = chunks_pop(&line->waiting);
    uint64_t first = chunk->header.first;
    wait_in_pieces(job_of(line), first, first + chunk->header.count);
    chunk_free(chunk);
    return 0;
}

/* ---- jobs: taking in -------------------------------------------------- */

static void
take_answer(struct job *job, const struct chunk *chunk)
{
    const struct header *reply = &chunk->reply;
    uint64_t end = chunk->header.first + chunk->header.count;
    uint64_t next = reply->first + reply->count;
    if (job->is_over)
        return;
    CHECK(next == end || reply->flags & FLAG_BACK);
    if (next < end) {
        schedule_return(job->line.schedule, next, end - next);
        wait_in_pieces(job, next, end);
    }
    if (reply->count == 0)
        return;
    CHECK(number_in(chunk->answer) == sum_of(reply->first, reply->count));
    job->sum += number_in(chunk->answer);
    if (is_callback_calm(job))
        return;
    unsigned long outer = job->caller;
    job->caller = PyThread_get_thread_ident();
    call_users_code(job);
    job->caller = outer;
}

static int
take_in(struct job *job, struct chunk *chunk)
{
    take_answer(job, chunk);
    job->line.untaken--;
    end_if_done(job);
    chunk_free(chunk);
    return 0;
}

static int
job_take(struct line *line, struct chunk *chunk)
{
    struct job *job = job_of(line);
    int is_mine = is_callback_calm(job) || is_owner(job);
    if (job->is_over
        || (is_mine && job->caller == 0 && job->answers.first == NULL))
        return take_in(job, chunk);
    chunks_append(&job->answers, chunk);
    ask_owner(job);
    return 0;
}

int
job_go_on(struct job *job)
{
    struct chunk *chunk;
    job->wants_owner = 0;
    while (job->caller == 0 && (chunk = chunks_pop(&job->answers)) != NULL)
        take_in(job, chunk);
    return 0;
}

static int
is_inside(const struct line *line)
{
    const struct job *job = (const struct job *)line;
    unsigned long here = PyThread_get_thread_ident();
    return job->drawer == here || job->caller == here;
}

static int
is_stalled(struct line *line)
{
    (void)line;
    return 0;
}

static void
job_lose(struct line *line, struct chunk *chunk, PyObject *exception)
{
    (void)chunk;
    job_abandon(job_of(line), exception);
}

static const struct line_kind bulk = {
    .can_draw = job_can_draw,
    .draw = job_draw,
    .cut = job_cut,
    .take = job_take,
    .fail = job_fail,
    .is_stalled = is_stalled,
    .is_inside = is_inside,
    .lose = job_lose,
    .chunk_is_gone = job_chunk_is_gone,
};

struct job *
job_start(struct crew *crew, const struct job_plan *plan)
{
    struct schedule_job scheduled = {
        .workers = crew->workers,
        .chunksize = plan->chunksize,
        .total = is_calm(&(struct job){.plan = *plan}) ? plan->tasks
                                                       : SCHEDULE_UNKNOWN,
        .pace = hold_function()->pace,
    };
    struct job *job = calloc(1, sizeof *job);
    CHECK(job != NULL);
    line_init(&job->line, &bulk);
    job->line.schedule = schedule_new(&scheduled);
    CHECK(job->line.schedule != NULL);
    callable_keep(&function);
    job->line.pool = plan->pool;
    job->users = 2;
    job->crew = crew;
    job->plan = *plan;
    job->number = ++crew->jobs;
    job->owner = plan->is_in_background ? 0 : PyThread_get_thread_ident();
    chunks_init(&job->answers);
    dispatch_join(crew->dispatch, &job->line);
    crew->unfinished++;
    need_driver(job, 1);
    return job;
}

int
job_is_over(const struct job *job)
{
    return job->is_over;
}

int
job_wants_owner(const struct job *job)
{
    return job->wants_owner;
}

int
job_is_right(const struct job *job)
{
    return job->is_over
           && (job->is_left || job->sum == sum_of(0, job->plan.tasks));
}

static int
is_over(void *job)
{
    return job_is_over(job);
}

static int
wants_me(void *job)
{
    return job_wants_owner(job);
}

static int
go_on(void *job)
{
    return job_go_on(job);
}

void
job_wait(struct job *job, double seconds)
{
    struct master_wait wait = {job, job, is_over, NULL, NULL, seconds};
    if (job->owner != 0) {
        wait.wants_me = wants_me;
        wait.go_on = go_on;
    }
    CHECK(master_wait(job->crew, &wait) >= 0);
}

/* ---- calls ------------------------------------------------------------ */

struct calls {
    struct line line;
    size_t shares;
    struct crew *crew;
    uint64_t out;
};

struct ticket {
    struct calls *calls;
    struct chunk *chunk; /* NULL: it is over */
    int users;
    int is_cancelled, is_run, is_left;
};

static struct calls *
calls_of(struct line *line)
{
    return (struct calls *)line;
}

void
calls_close(struct calls *calls)
{
    if (--calls->shares == 0)
        free(calls);
}

static void
call_chunk_is_gone(struct line *line)
{
    calls_close(calls_of(line));
}

void
call_release(struct ticket *ticket)
{
    if (--ticket->users == 0)
        free(ticket);
}

static void
call_is_over(struct calls *calls, struct ticket *ticket)
{
    ticket->chunk->ticket = NULL;
    ticket->chunk = NULL;
    calls->crew->unfinished--;
    helm_notify(&calls->crew->helm, ticket);
    call_release(ticket);
    if (--calls->out == 0)
        dispatch_part(calls->crew->dispatch, &calls->line);
}

static void
call_waits_again(struct chunk *chunk)
{
    chunk->is_given = 0;
    parcel_free(chunk->answer);
    chunk->answer = NULL;
    line_wait(chunk->line, chunk);
}

static int
call_take(struct line *line, struct chunk *chunk)
{
    struct ticket *ticket = chunk->ticket;
    line->untaken--;
    if (ticket != NULL && chunk->reply.flags & FLAG_BACK) {
        call_waits_again(chunk);
        return 0;
    }
    if (ticket != NULL && !chunk->is_cancelled) {
        CHECK(chunk->reply.count == 1 && !ticket->is_run);
        CHECK(number_in(chunk->answer) == sum_of(chunk->header.first, 1));
        ticket->is_run = 1;
    }
    if (ticket != NULL)
        call_is_over(calls_of(line), ticket);
    chunk_free(chunk);
    return 0;
}

static int
call_can_draw(struct line *line)
{
    (void)line;
    return 0;
}

static int
call_is_inside(const struct line *line)
{
    (void)line;
    return 0;
}

static struct ticket *
find_ticket(const struct line *line, const struct chunk *chunk)
{
    while (chunk != NULL && (chunk->line != line || chunk->ticket == NULL))
        chunk = chunk->next;
    return chunk != NULL ? chunk->ticket : NULL;
}

static struct ticket *
find_out(const struct calls *calls)
{
    const struct dispatch *dispatch = calls->crew->dispatch;
    struct ticket *ticket =
        find_ticket(&calls->line, dispatch->answered.first);
    for (int i = 0; ticket == NULL && i < calls->crew->workers; i++)
        ticket = find_ticket(&calls->line, seats_oldest(dispatch->seats, i));
    return ticket;
}

static void
call_fail(struct line *line, PyObject *exception)
{
    struct calls *calls = calls_of(line);
    struct ticket *ticket;
    struct chunk *chunk;
    (void)exception;
    calls->shares++;
    while ((chunk = chunks_pop(&line->waiting)) != NULL) {
        if ((ticket = chunk->ticket) != NULL) {
            ticket->is_left = 1;
            call_is_over(calls, ticket);
        }
        chunk_free(chunk);
    }
    while ((ticket = find_out(calls)) != NULL) {
        ticket->is_left = 1;
        call_is_over(calls, ticket);
    }
    dispatch_strip(calls->crew->dispatch, line);
    calls_close(calls);
}

static void
call_lose(struct line *line, struct chunk *chunk, PyObject *exception)
{
    (void)line, (void)chunk, (void)exception;
    CHECK(!"an answer is lost");
}

static struct chunk *
move_chunk(struct calls *calls, struct chunk *chunk)
{
    struct chunk *moved = malloc(sizeof *moved);
    CHECK(moved != NULL);
    *moved = *chunk;
    moved->is_given = 0;
    chunk->ticket = NULL;
    chunk->callable = NULL;
    chunk->tasks = NULL;
    calls->shares++;
    if (moved->ticket != NULL)
        moved->ticket->chunk = moved;
    return moved;
}

static int
call_take_back(struct line *line, struct chunk *chunk)
{
    struct calls *calls = calls_of(line);
    struct chunk *last_first = NULL, *moved;
    if (!dispatch_revoke(calls->crew->dispatch, chunk))
        return 0;
    for (; chunk != NULL; chunk = chunk->next) {
        if (chunk->line != line || !(chunk->header.flags & FLAG_CLAIM)
            || chunk->callable == NULL)
            continue;
        moved = move_chunk(calls, chunk);
        moved->next = last_first;
        last_first = moved;
    }
    while ((moved = last_first) != NULL) {
        last_first = moved->next;
        line_wait(line, moved);
    }
    return 1;
}

static const struct line_kind single = {
    .can_draw = call_can_draw,
    .take = call_take,
    .fail = call_fail,
    .is_stalled = is_stalled,
    .is_inside = call_is_inside,
    .take_back = call_take_back,
    .lose = call_lose,
    .chunk_is_gone = call_chunk_is_gone,
};

struct calls *
calls_open(struct crew *crew, uint64_t pool)
{
    struct calls *calls = calloc(1, sizeof *calls);
    CHECK(calls != NULL);
    line_init(&calls->line, &single);
    calls->line.pool = pool;
    calls->shares = 1;
    calls->crew = crew;
    return calls;
}

struct ticket *
call_start(struct calls *calls)
{
    struct crew *crew = calls->crew;
    struct chunk *chunk = chunk_new(&calls->line, hold_function());
    struct ticket *ticket = calloc(1, sizeof *ticket);
    CHECK(chunk != NULL && ticket != NULL);
    calls->shares++;
    chunk->header = (struct header){.job = ++crew->jobs,
                                    .callable = function.number,
                                    .pool = calls->line.pool,
                                    .count = 1};
    chunk->tasks = new_parcel(8);
    chunk->ticket = ticket;
    *ticket = (struct ticket){.calls = calls, .chunk = chunk, .users = 2};
    crew->unfinished++;
    if (calls->out++ == 0)
        dispatch_join(crew->dispatch, &calls->line);
    chunks_append(&calls->line.waiting, chunk);
    return ticket;
}

int
call_cancel(struct ticket *ticket)
{
    struct crew *crew = ticket->calls->crew;
    CHECK(crew_check_here(crew) == 0);
    crew_take_helm(crew);
    struct chunk *chunk = ticket->chunk;
    if (chunk != NULL && chunk->is_given)
        chunk->line->kind->take_back(chunk->line, chunk);
    if (ticket->chunk != NULL && !ticket->chunk->is_given)
        ticket->is_cancelled = ticket->chunk->is_cancelled = 1;
    crew_leave_helm(crew);
    if (ticket->is_cancelled)
        helm_notify(&crew->helm, ticket);
    return ticket->is_cancelled;
}

int
call_begun(const struct ticket *ticket)
{
    const struct chunk *chunk = ticket->chunk;
    return chunk == NULL
           || (chunk->is_given
               && dispatch_is_begun(ticket->calls->crew->dispatch, chunk));
}

static int
ticket_is_over(void *ticket_)
{
    const struct ticket *ticket = ticket_;
    return ticket->chunk == NULL || ticket->chunk->is_cancelled;
}

void
call_wait(struct ticket *ticket, double seconds)
{
    struct master_wait wait = {
        .watched = ticket,
        .of = ticket,
        .is_over = ticket_is_over,
        .seconds = seconds,
    };
    CHECK(master_wait(ticket->calls->crew, &wait) >= 0);
}

int
call_is_right(const struct ticket *ticket)
{
    return ticket->is_run + (ticket->is_cancelled || ticket->is_left) >= 1
           && !(ticket->is_run && ticket->is_cancelled);
}

/* ---- what must not come ----------------------------------------------- */

static int
refuse(const char *what)
{
    printf("%s\n", what);
    exit(1);
}

int
errors_raise_transport(const struct transport_error *error)
{
    printf("%s: ", error->call);
    return refuse(error->text);
}

int
errors_raise(const char *name, const char *format, ...)
{
    (void)name;
    return refuse(format);
}

int
errors_warn_death(int rank, const char *host, int left)
{
    (void)rank, (void)host, (void)left;
    return refuse("a worker has died");
}

int
hello_hear(struct crew *crew, const struct letter *letter)
{
    (void)crew, (void)letter;
    return refuse("a hello");
}

/* There is no arena (crew.h). */
PyObject *
loan_room(struct arena *arena, size_t size, void **base)
{
    (void)arena, (void)size, (void)base;
    refuse("room in an arena");
    return NULL;
}

PyObject *
loan_look(struct arena *arena, int block, size_t size, void **base)
{
    (void)arena, (void)block, (void)size, (void)base;
    refuse("a loan");
    return NULL;
}
