/* call.c -- a pool's line of calls.

   Must not know how bytes travel, nor which worker is next. */

#define PY_SSIZE_T_CLEAN
#include "call.h"

#include "errors.h"
#include "retries.h"
#include "ticket.h"

struct calls {
    struct line line;               /* first: it is what dispatch knows */
    size_t shares;                  /* the pool's, and one for each chunk */
    struct crew *crew;
    struct codec *codec;
    PyObject *pool;                 /* borrowed, but kept while any is out */
    struct retries *retries;        /* NULL: none */
    uint64_t out;
    uint32_t flags;
};

static struct calls *
calls_of(struct line *line)
{
    return (struct calls *)line;
}

/* ---- the end of a call ------------------------------------------------ */

/* Calls have the same number each, but not while they are out. */
static uint64_t
key_of(const struct ticket *ticket)
{
    return (uint64_t)(uintptr_t)ticket;
}

static void
call_is_over(struct calls *calls, struct ticket *ticket)
{
    if (retries_forget(calls->retries, key_of(ticket)) < 0)
        PyErr_Clear();
    Py_CLEAR(ticket->receiver);
    ticket->chunk->ticket = NULL;
    ticket->chunk = NULL;
    calls->crew->unfinished--;
    helm_notify(&calls->crew->helm, ticket);
    Py_DECREF((PyObject *)ticket);
    if (--calls->out > 0)
        return;
    dispatch_part(calls->crew->dispatch, &calls->line);
    Py_DECREF(calls->pool);
}

/* Tells the future. */
static void
settle(struct calls *calls, struct ticket *ticket, PyObject *value,
       int is_failure)
{
    PyObject *receiver = Py_NewRef(ticket->receiver);
    call_is_over(calls, ticket);
    crew_settle(calls->crew, receiver, value, is_failure);
    Py_DECREF(receiver);
}

static void
chunk_is_gone(struct line *line)
{
    calls_free(calls_of(line));
}

static PyObject *
load_failure(struct calls *calls, struct reader *reader, uint32_t flags)
{
    PyObject *account = codec_load(calls->codec, reader);
    if (account == NULL)
        return NULL;
    PyObject *exception =
        errors_restore(account, ERRORS_SINGLE_CALL, flags & FLAG_BROKEN);
    Py_DECREF(account);
    if (exception != NULL && flags & FLAG_BROKEN)
        initializer_failed(calls->line.initializer, exception);
    return exception;
}

static PyObject *
load_result(struct calls *calls, struct reader *reader,
            const struct chunk *chunk)
{
    if (chunk->reply.count > 0)
        return codec_load(calls->codec, reader);
    errors_raise("TransportError", "rank %d answered for no call",
                 chunk->worker + 1);
    return NULL;
}

/* The result, or the exception that it is; never NULL.  *urgent: the
   exception is this thread's, too. */
static PyObject *
load_answer(struct calls *calls, const struct chunk *chunk, int *is_failure,
            int *urgent)
{
    struct reader reader = {.parcel = chunk->answer};
    uint32_t flags = chunk->reply.flags;
    *is_failure = (flags & FLAG_FAILED) != 0;
    PyObject *value = *is_failure ? load_failure(calls, &reader, flags)
                                  : load_result(calls, &reader, chunk);
    codec_end(&reader);
    if (value != NULL)
        return value;
    *is_failure = 1;
    *urgent = !PyErr_ExceptionMatches(PyExc_Exception);
    value = PyErr_GetRaisedException();
    if (errors_note(value, "unpickling the result of", ERRORS_SINGLE_CALL) < 0)
        PyErr_Clear();
    return value;
}

/* As if it had never been given. */
static void
renew(struct chunk *chunk)
{
    chunk->is_given = 0;
    chunk->is_given_up = 0;
    chunk->reply = (struct header){0};
    parcel_free(chunk->answer);
    chunk->answer = NULL;
}

static void
wait_again(struct chunk *chunk)
{
    renew(chunk);
    line_wait(chunk->line, chunk);
}

/* Does the call, which has failed, wait again?  What is for one worker does
   not.  As another job: this one's worker drops what is left of a job that has
   failed. */
static int
run_again(struct calls *calls, struct chunk *chunk, PyObject *exception)
{
    uint32_t flags = chunk->reply.flags;
    if (calls->retries == NULL || chunk->is_pinned || !(flags & FLAG_FAILED)
        || flags & FLAG_BROKEN)
        return 0;
    int status = retries_failed(calls->retries, key_of(chunk->ticket),
                                chunk->worker + 1, exception);
    if (status < 0) /* what failed first matters more */
        PyErr_Clear();
    if (status <= 0)
        return 0;
    chunk->header.job = ++calls->crew->jobs;
    chunk->avoids = chunk->worker;
    wait_again(chunk);
    return 1;
}

/* Its worker died, and no other is to run it. */
static int
take_death(struct calls *calls, struct chunk *chunk)
{
    PyObject *death =
        crew_death_of(calls->crew, ERRORS_SINGLE_CALL, chunk->worker);
    int waits = death != NULL && run_again(calls, chunk, death);
    if (death == NULL)
        death = PyErr_GetRaisedException();
    if (!waits) {
        settle(calls, chunk->ticket, death, 1);
        chunk_free(chunk);
    }
    Py_DECREF(death);
    return 0;
}

/* What came of the call.  1: nothing yet, it waits again; -1: exception set,
   which is the thread's, too. */
static int
take_value(struct calls *calls, struct chunk *chunk)
{
    int is_failure, urgent = 0;
    PyObject *value = load_answer(calls, chunk, &is_failure, &urgent);
    int waits = is_failure && !urgent && run_again(calls, chunk, value);
    if (!waits)
        settle(calls, chunk->ticket, value, is_failure);
    if (urgent)
        PyErr_SetObject((PyObject *)Py_TYPE(value), value);
    Py_DECREF(value);
    return urgent ? -1 : waits;
}

static void
fail_ticket(struct calls *calls, struct ticket *ticket, PyObject *exception)
{
    if (ticket->chunk->is_cancelled)
        call_is_over(calls, ticket);
    else
        settle(calls, ticket, exception, 1);
}

/* To the worker that it is for; where that cannot be it fails. */
static void
send_pinned(struct calls *calls, struct chunk *chunk, int worker)
{
    struct transport_error error = {0};
    chunk->is_pinned = 1;
    chunk->worker = worker;
    if (calls->crew->members[worker].is_lost) {
        take_death(calls, chunk);
        return;
    }
    if (dispatch_send(calls->crew->dispatch, chunk, worker, &error)
        == TRANSPORT_OK)
        return;
    errors_raise_transport(&error);
    PyObject *exception = PyErr_GetRaisedException();
    fail_ticket(calls, chunk->ticket, exception);
    Py_DECREF(exception);
    chunk_free(chunk);
}

static int
has_come_back(const struct chunk *chunk)
{
    return chunk->reply.flags & FLAG_BACK && chunk->reply.count == 0;
}

/* Its worker did not begin it. */
static void
came_back(struct calls *calls, struct chunk *chunk)
{
    if (!chunk->is_pinned) {
        wait_again(chunk);
        return;
    }
    renew(chunk);
    send_pinned(calls, chunk, chunk->worker);
}

static int
take(struct line *line, struct chunk *chunk)
{
    struct calls *calls = calls_of(line);
    struct ticket *ticket = chunk->ticket;
    int status = 0;
    line->untaken--;
    if (ticket != NULL && chunk->is_given_up)
        return take_death(calls, chunk);
    if (ticket != NULL && !chunk->is_cancelled && has_come_back(chunk)) {
        came_back(calls, chunk);
        return 0;
    }
    if (ticket != NULL && chunk->is_cancelled)
        call_is_over(calls, ticket);
    else if (ticket != NULL)
        status = take_value(calls, chunk);
    if (status > 0)
        return 0;
    chunk_free(chunk);
    return status;
}

static int
can_draw(struct line *line)
{
    (void)line;
    return 0;
}

/* A ticket of the line's in this queue, from the chunk on. */
static struct ticket *
find_ticket(const struct calls *calls, const struct chunk *chunk)
{
    while (chunk != NULL
           && (chunk->line != &calls->line || chunk->ticket == NULL))
        chunk = chunk->next;
    return chunk != NULL ? chunk->ticket : NULL;
}

/* One that is out and does not wait. */
static struct ticket *
find_out(const struct calls *calls)
{
    const struct dispatch *dispatch = calls->crew->dispatch;
    struct ticket *ticket = find_ticket(calls, dispatch->answered.first);
    for (int i = 0; ticket == NULL && i < calls->crew->workers; i++)
        ticket = find_ticket(calls, seats_oldest(dispatch->seats, i));
    return ticket;
}

static void
lose(struct line *line, struct chunk *chunk, PyObject *exception)
{
    if (chunk->ticket != NULL)
        fail_ticket(calls_of(line), chunk->ticket, exception);
}

static void
fail_line(struct line *line, PyObject *exception)
{
    struct calls *calls = calls_of(line);
    struct ticket *ticket;
    struct chunk *chunk;
    calls->shares++;
    line_join_again(&calls->line);
    while ((chunk = chunks_pop(&calls->line.waiting)) != NULL) {
        if (chunk->ticket != NULL)
            fail_ticket(calls, chunk->ticket, exception);
        chunk_free(chunk);
    }
    while ((ticket = find_out(calls)) != NULL)
        fail_ticket(calls, ticket, exception);
    dispatch_strip(calls->crew->dispatch, &calls->line);
    calls_free(calls);
}

static int
is_inside(const struct line *line)
{
    (void)line;
    return 0;
}

static int
is_stalled(struct line *line)
{
    (void)line;
    return 0;
}

/* Moves what the chunk holds to one that can wait; the worker will answer for
   the chunk itself, and that is all. */
static struct chunk *
move_chunk(struct calls *calls, struct chunk *chunk)
{
    struct chunk *moved = PyMem_RawMalloc(sizeof *moved);
    if (moved == NULL)
        return NULL;
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

/* They wait in the order in which they were given, before all others; but for
   what is left of those that were moved before.  Where memory is short one
   comes back with the worker's answer. */
static int
take_back(struct line *line, struct chunk *chunk)
{
    struct calls *calls = calls_of(line);
    struct chunk *last_first = NULL, *moved;
    if (!dispatch_revoke(calls->crew->dispatch, chunk))
        return 0;
    for (; chunk != NULL; chunk = chunk->next) {
        if (chunk->line != line || !(chunk->header.flags & FLAG_CLAIM)
            || chunk->callable == NULL
            || (moved = move_chunk(calls, chunk)) == NULL)
            continue;
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
    .can_draw = can_draw,
    .take = take,
    .fail = fail_line,
    .is_stalled = is_stalled,
    .is_inside = is_inside,
    .take_back = take_back,
    .lose = lose,
    .chunk_is_gone = chunk_is_gone,
};

/* ---- the beginning ---------------------------------------------------- */

struct calls *
calls_new(struct crew *crew, const struct calls_plan *plan)
{
    struct calls *calls = PyMem_RawCalloc(1, sizeof *calls);
    if (calls == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    if (plan->retries != NULL
        && (calls->retries = retries_new(plan->retries)) == NULL) {
        PyMem_RawFree(calls);
        return NULL;
    }
    line_init(&calls->line, &single);
    calls->line.keeps_tasks =
        calls->retries != NULL || crew->survives || crew->is_isolated;
    calls->line.pool = plan->pool_number;
    calls->line.timeout = plan->timeout;
    calls->line.initializer = plan->initializer;
    calls->shares = 1;
    calls->crew = crew;
    calls->codec = plan->codec;
    calls->pool = plan->pool;
    calls->flags = plan->flags;
    return calls;
}

void
calls_free(struct calls *calls)
{
    if (calls == NULL || --calls->shares > 0)
        return;
    retries_free(calls->retries);
    PyMem_RawFree(calls);
}

static struct parcel *
dump_arguments(struct calls *calls, PyObject *args, PyObject *kwargs)
{
    struct parcel *parcel = parcel_new();
    PyObject *both = kwargs ? PyTuple_Pack(2, args, kwargs) : Py_NewRef(args);
    int status = -1;
    if (parcel != NULL && both != NULL)
        status = codec_dump(calls->codec, parcel, both, 1);
    Py_XDECREF(both);
    if (status == 0)
        return parcel;
    parcel_free(parcel);
    return NULL;
}

static struct chunk *
new_chunk(struct calls *calls, const struct call *call)
{
    struct crew *crew = calls->crew;
    struct header header = {
        .job = ++crew->jobs,
        .count = 1,
        .pool = calls->line.pool,
        .timeout = calls->line.timeout,
        .flags =
            calls->flags | FLAG_ONE | (call->kwargs ? FLAG_CALL : FLAG_STAR),
    };
    struct callable *callable = crew_hold(crew, calls->codec, call->function,
                                          &header, calls->line.pool);
    if (callable == NULL)
        return NULL;
    struct chunk *chunk = chunk_new(&calls->line, callable);
    if (chunk == NULL)
        return NULL;
    calls->shares++;
    header.callable = callable->number;
    header.slot = (uint32_t)callable->slot;
    chunk->header = header;
    chunk->tasks = dump_arguments(calls, call->args, call->kwargs);
    if (chunk->tasks != NULL
        && crew_send_bindings(crew, calls->codec, &header) == 0)
        return chunk;
    chunk_free(chunk);
    return NULL;
}

static PyObject *
issue_ticket(struct calls *calls, struct chunk *chunk, PyObject *receiver)
{
    struct ticket *ticket = ticket_new(calls->crew);
    if (ticket == NULL)
        return NULL;
    ticket->chunk = chunk;
    ticket->receiver = Py_NewRef(receiver);
    chunk->ticket = (struct ticket *)Py_NewRef((PyObject *)ticket);
    calls->crew->unfinished++;
    if (calls->out++ == 0) {
        Py_INCREF(calls->pool);
        dispatch_join(calls->crew->dispatch, &calls->line);
    }
    return (PyObject *)ticket;
}

PyObject *
calls_begin(struct calls *calls, const struct call *call)
{
    struct chunk *chunk = new_chunk(calls, call);
    if (chunk == NULL)
        return NULL;
    PyObject *ticket = issue_ticket(calls, chunk, call->receiver);
    if (ticket == NULL)
        chunk_free(chunk);
    else if (call->worker != NOBODY)
        send_pinned(calls, chunk, call->worker);
    else
        chunks_append(&calls->line.waiting, chunk);
    return ticket;
}

PyObject *
calls_waiting(struct calls *calls)
{
    PyObject *futures = PyList_New(0);
    line_join_again(&calls->line);
    const struct chunk *chunk = calls->line.waiting.first;
    for (; futures != NULL && chunk != NULL; chunk = chunk->next) {
        if (chunk->ticket != NULL && !chunk->is_cancelled
            && PyList_Append(futures, chunk->ticket->receiver) < 0)
            Py_CLEAR(futures);
    }
    return futures;
}
