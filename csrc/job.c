/* job.c -- one map, from its tasks to its results.

   The lowest failure is what a map raises, as a serial loop would have; or,
   where each result is taken for itself, a failure is a result like others.
   Where a task may be run again, only its last failure counts.

   Must not know how bytes travel, nor which worker is next. */

#define PY_SSIZE_T_CLEAN
#include "job.h"

#include "errors.h"
#include "future.h"
#include "retries.h"
#include "tasks.h"

#define SIGNAL_TASKS 1024       /* drawn between looks for signals */
#define DEATH_PIECES 64 /* of a chunk whose worker died */

struct job {
    struct line line;               /* first: it is what dispatch knows */
    size_t users;                   /* shares in what it is made of */
    size_t chunks;                  /* that name it */
    struct crew *crew;
    struct codec *codec;
    PyObject *pool;                 /* kept: the codec is its own */
    struct tasks tasks;
    struct callable *callable;
    PyObject *callback, *receiver;  /* or NULL */
    struct results *results;
    PyObject *failure;              /* exception of the task `failed` */
    uint64_t failed; /* lowest failed task; UINT64_MAX: none */
    uint64_t number;
    uint64_t window; /* tasks drawn and not taken; 0: any */
    _Atomic uint64_t draws_at; /* so many results taken; 0: it need not wait */
    uint32_t flags; /* of its chunks; with FLAG_EACH failures stand among the
                       results that come, ... */
    int is_each; /* ... and among those that are given on, ... */
    int returns_failures; /* ... where they pass for results */
    int tells_index; /* to the callback, too */
    struct retries *retries; /* NULL: none */
    unsigned long owner; /* thread that waits; 0: none does */
    struct chunks answers; /* that the owner has to take in */
    _Atomic int wants_owner;
    PyObject *calm; /* as requested */
    int needs_driver; /* to draw */
    unsigned long drawer; /* thread that draws now, or 0 */
    unsigned long caller; /* thread that calls back now, or 0 */
    int is_over;
    int is_left; /* before its end */
    uint64_t completed; /* tasks, as far as was told */
};

static struct job *
job_of(struct line *line)
{
    return (struct job *)line;
}

/* Is this the thread that runs the user's code for the job?  In the background
   it is the driver's, if there is one: the code may wait for what another
   thread does after it was given a result. */
static int
is_owner(const struct job *job)
{
    const struct crew_driver *driver = &job->crew->driver;
    unsigned long here = PyThread_get_thread_ident();
    if (job->owner != 0)
        return job->owner == here;
    return !driver->started || driver->may_not_drive || driver->thread == here;
}

/* In the background it is not the user's: any thread may call it. */
static int
is_callback_calm(const struct job *job)
{
    return job->callback == NULL || job->owner == 0;
}

/* The GIL may be free, and whoever is told looks at wants_owner at once. */
static void
ask_owner(struct job *job)
{
    if (!atomic_exchange(&job->wants_owner, 1))
        helm_notify(&job->crew->helm,
                    job->owner != 0 ? (void *)job : (void *)job->crew);
}

/* May any thread draw?  For an iterator's code the helm is left all the same:
   signals' handlers may run in it. */
static int
is_calm(const struct job *job)
{
    return job->tasks.is_calm
           || (job->calm != NULL && PyList_GET_SIZE(job->calm) > 0);
}

/* Until all is drawn, or the iterator has become calm, by the driver's thread
   alone. */
static void
need_driver(struct job *job, int needed)
{
    if (job->needs_driver == needed
        || (needed
            && (job->owner != 0 || is_calm(job)
                || job->crew->driver.may_not_drive)))
        return;
    job->needs_driver = needed;
    job->crew->driver.needed += needed ? 1 : -1;
}

/* ---- shares ----------------------------------------------------------- */

static void
clear(struct job *job)
{
    schedule_free(job->line.schedule);
    job->line.schedule = NULL; /* answers may still come */
    tasks_close(&job->tasks);
    callable_free(job->callable);
    results_free(job->results);
    retries_free(job->retries);
    Py_XDECREF(job->callback);
    Py_XDECREF(job->receiver);
    Py_XDECREF(job->calm);
    Py_XDECREF(job->failure);
    Py_XDECREF(job->pool);
}

/* Chunks of a job that was left may stay with workers for long. */
static void
free_if_unused(struct job *job)
{
    if (job->users == 0 && job->chunks == 0)
        PyMem_RawFree(job);
}

void
job_keep(struct job *job)
{
    job->users++;
}

void
job_release(struct job *job)
{
    if (job->users == 1)
        clear(job);
    job->users--;
    free_if_unused(job);
}

static void
chunk_is_gone(struct line *line)
{
    struct job *job = job_of(line);
    job->chunks--;
    free_if_unused(job);
}

static struct chunk *
new_chunk(struct job *job)
{
    struct chunk *chunk = chunk_new(&job->line, job->callable);
    if (chunk == NULL)
        return NULL;
    job->chunks++;
    chunk->header = (struct header){
        .job = job->number,
        .callable = job->callable->number,
        .pool = job->line.pool,
        .flags = job->flags,
        .slot = (uint32_t)job->callable->slot,
        .timeout = job->line.timeout,
    };
    return chunk;
}

static void
free_all(struct chunks *chunks)
{
    struct chunk *chunk;
    while ((chunk = chunks_pop(chunks)) != NULL)
        chunk_free(chunk);
}

/* ---- the end ---------------------------------------------------------- */

/* What it needs no more may call anything when it goes, and may hold what
   holds the job. */
static void
let_go(struct job *job)
{
    PyObject *iterator = job->tasks.iterator, *callback = job->callback;
    job->tasks.iterator = job->callback = NULL;
    Py_XDECREF(iterator);
    Py_XDECREF(callback);
}

static void
tell_receiver(struct job *job, PyObject *value, int is_failure)
{
    PyObject *receiver = job->receiver;
    job->receiver = NULL;
    if (receiver == NULL)
        return;
    crew_settle(job->crew, receiver, value, is_failure);
    Py_DECREF(receiver);
    /* Its traceback may come to hold the receiver, whose ticket holds the job:
       a cycle that the garbage collector cannot see. */
    Py_CLEAR(job->failure);
}

/* Whoever is told may use the pool at once. */
static void
end(struct job *job, PyObject *value, int is_failure)
{
    dispatch_part(job->crew->dispatch, &job->line);
    if (job->line.held > 0)
        dispatch_strip(job->crew->dispatch, &job->line);
    job->is_over = 1;
    need_driver(job, 0);
    job->crew->unfinished--;
    let_go(job);
    free_all(&job->answers);
    tell_receiver(job, value, is_failure);
    helm_notify(&job->crew->helm, job);
    job_release(job);
}

/* If that was the last of it. */
static void
end_if_done(struct job *job)
{
    if (job->is_over || job->drawer != 0 || job->line.untaken > 0
        || !schedule_done(job->line.schedule))
        return;
    if (job->failure != NULL) {
        end(job, job->failure, 1);
        return;
    }
    job->callable->pace = schedule_pace(job->line.schedule);
    end(job, results_list(job->results), 0);
}

/* ---- failures --------------------------------------------------------- */

/* The workers drop what they hold of tasks from first upwards. */
static int
limit(struct job *job, uint64_t first)
{
    struct transport_error error = {0};
    struct chunks dropped;
    chunks_init(&dropped);
    int status = dispatch_limit(job->crew->dispatch, &job->line, first,
                                &dropped, &error);
    free_all(&dropped);
    return status == TRANSPORT_OK ? 0 : errors_raise_transport(&error);
}

/* The task failed.  Steals exception. */
static int
settle(struct job *job, uint64_t task, PyObject *exception)
{
    if (task >= job->failed || job->is_over) {
        Py_DECREF(exception);
        return 0;
    }
    Py_XSETREF(job->failure, exception);
    job->failed = task;
    return limit(job, task);
}

/* The same for the exception that is set here in the master; but one that must
   not wait for other tasks, Ctrl-C or an exit, is the thread's, too. */
static int
settle_raised(struct job *job, uint64_t task, const char *what)
{
    if (PyErr_ExceptionMatches(PyExc_Exception)) {
        PyObject *exception = PyErr_GetRaisedException();
        if (errors_note(exception, what, task) == 0)
            return settle(job, task, exception);
        Py_DECREF(exception);
    }
    PyObject *urgent = PyErr_GetRaisedException();
    if (settle(job, task, Py_NewRef(urgent)) < 0)
        PyErr_Clear();
    PyErr_SetRaisedException(urgent);
    return -1;
}

void
job_abandon(struct job *job, PyObject *exception)
{
    PyObject *raised = PyErr_GetRaisedException();
    if (!job->is_over) {
        job->is_left = 1;
        if (exception != NULL)
            settle(job, 0, Py_NewRef(exception));
        if (limit(job, 0) < 0)
            PyErr_Clear(); /* the first exception is the one to raise */
        end(job, exception ? exception : Py_None, exception != NULL);
    }
    PyErr_SetRaisedException(raised);
}

/* The job cannot go on, for the exception that is set; which is not the
   thread's, unless it is one that must not wait: then it stays set, and -1. */
static int
fail_as_raised(struct job *job)
{
    PyObject *exception = PyErr_GetRaisedException();
    job_abandon(job, exception);
    if (PyErr_GivenExceptionMatches(exception, PyExc_Exception)) {
        Py_DECREF(exception);
        return 0;
    }
    PyErr_SetRaisedException(exception);
    return -1;
}

void
job_orphan(struct job *job)
{
    struct dispatch *dispatch = job->crew->dispatch;
    job->line.next_orphan = dispatch->orphans;
    dispatch->orphans = &job->line;
}

static void
fail_line(struct line *line, PyObject *exception)
{
    job_abandon(job_of(line), exception);
}

/* ---- drawing ---------------------------------------------------------- */

/* In place of a task that cannot be pickled: the worker sends it back as the
   task's failure. */
static int
dump_failure(struct job *job, struct parcel *parcel)
{
    PyObject *account = errors_account(0, "pickling task");
    int status =
        account == NULL ? -1 : codec_dump_failure(job->codec, parcel, account);
    Py_XDECREF(account);
    return status;
}

/* Draws one task: 1; 0: there is none, or it failed. */
static int
draw_object(struct job *job, struct parcel *parcel, uint64_t index)
{
    if (job->owner != 0 && index % SIGNAL_TASKS == 0
        && crew_check_signals(job->crew) < 0)
        return -1;
    if (job->is_over) /* ended meanwhile, by a handler or another thread */
        return 0;
    PyObject *task = tasks_next(&job->tasks, job->crew);
    if (task == NULL && PyErr_Occurred())
        return settle_raised(job, index, "drawing");
    if (task == NULL && !job->is_over)
        schedule_exhausted(job->line.schedule);
    if (task == NULL || job->is_over) { /* left meanwhile: it is not wanted */
        Py_XDECREF(task);
        return 0;
    }
    int status = codec_dump(job->codec, parcel, task, job->tasks.copy);
    Py_DECREF(task);
    if (status < 0 && job->is_each && PyErr_ExceptionMatches(PyExc_Exception))
        status = dump_failure(job, parcel);
    if (status < 0)
        return settle_raised(job, index, "pickling");
    return results_expect(job->results, 1) < 0 ? -1 : 1;
}

/* The answer costs more than a small task: it is looked for after 1, 2, 4, 8
   ... tasks, or when there is a reason to. */
static int
is_full(const struct job *job, const struct parcel *parcel, uint64_t drawn,
        int64_t began, int64_t began_coarse)
{
    int is_worth_it =
        (drawn & (drawn - 1)) == 0 || parcel_mark(parcel).count > 0
        || (job->tasks.copy && crew_coarse_clock() != began_coarse);
    return is_worth_it
           && schedule_is_full(job->line.schedule, parcel_size(parcel),
                               (uint64_t)(crew_clock() - began));
}

static int
draw_objects(struct job *job, struct parcel *parcel, uint64_t count,
             uint64_t *drawn)
{
    uint64_t first = schedule_drawn(job->line.schedule);
    int64_t began = crew_clock(), began_coarse = crew_coarse_clock();
    int status;
    *drawn = 0;
    do
        status = draw_object(job, parcel, first + *drawn);
    while (status > 0 && ++*drawn < count
           && !is_full(job, parcel, *drawn, began, began_coarse));
    return status < 0 ? -1 : 0;
}

static int
draw_rows(struct job *job, struct parcel *parcel, uint64_t count,
          uint64_t *drawn)
{
    struct schedule *schedule = job->line.schedule;
    uint64_t first = schedule_drawn(schedule);
    uint64_t left = rows_count(job->tasks.rows) - first;
    *drawn = count < left ? count : left;
    while (*drawn > 1
           && schedule_is_full(schedule,
                               *drawn / 2 * rows_size(job->tasks.rows), 0))
        *drawn /= 2;
    if (left <= count && *drawn == left)
        schedule_exhausted(schedule);
    if (*drawn > 0 && rows_dump(job->tasks.rows, parcel, first, *drawn) < 0)
        return -1;
    return results_expect(job->results, *drawn);
}

/* Sends what the codec found the workers' __main__ to lack. */
static int
send_bindings(struct job *job)
{
    struct header header = {.job = job->number, .flags = job->flags};
    return crew_send_bindings(job->crew, job->codec, &header);
}

/* What nobody has taken yet stays within bounds: so many tasks may be
   drawn. */
static uint64_t
window_left(const struct job *job)
{
    uint64_t end = results_taken(job->results) + job->window;
    uint64_t drawn = schedule_drawn(job->line.schedule);
    if (job->window == 0)
        return UINT64_MAX;
    return drawn < end ? end - drawn : 0;
}

/* Has the window room for a chunk?  Else a chunk would be drawn for every few
   results that are taken.  Whoever takes them looks at draws_at after that, so
   it is written before they are looked at again. */
static int
has_window(struct job *job)
{
    if (job->window == 0)
        return 1;
    uint64_t size = schedule_size(job->line.schedule), share = job->window / 4;
    uint64_t room = size < share ? size : share ? share : 1;
    uint64_t end = schedule_drawn(job->line.schedule) + room;
    atomic_store(&job->draws_at, end > job->window ? end - job->window : 0);
    if (window_left(job) < room)
        return 0;
    atomic_store(&job->draws_at, 0);
    return 1;
}

static int
fill(struct job *job, struct chunk *chunk)
{
    struct schedule *schedule = job->line.schedule;
    uint64_t count = schedule_size(schedule), most = window_left(job), drawn;
    if (count > most)
        count = most;
    chunk->header.first = schedule_drawn(schedule);
    if ((chunk->tasks = parcel_new()) == NULL)
        return -1;
    job->drawer = PyThread_get_thread_ident();
    int status = job->tasks.rows
                     ? draw_rows(job, chunk->tasks, count, &drawn)
                     : draw_objects(job, chunk->tasks, count, &drawn);
    job->drawer = 0;
    chunk->header.count = drawn;
    return status < 0 ? -1 : send_bindings(job);
}

/* While the iterator ran the job may have been limited, or ended. */
static int
put_drawn(struct job *job, struct chunk *chunk)
{
    struct schedule *schedule = job->line.schedule;
    uint64_t limited_to = schedule_limited_to(schedule);
    uint64_t first = chunk->header.first, count = chunk->header.count;
    if (job->is_over || count == 0 || first >= limited_to)
        return 0;
    schedule_draw(schedule, count);
    if (count > limited_to - first)
        chunk->header.count = limited_to - first;
    chunks_insert(&job->line.waiting, chunk);
    return 1;
}

static int
draw(struct line *line)
{
    struct job *job = job_of(line);
    struct chunk *chunk = new_chunk(job);
    uint64_t turns = job->crew->turns;
    int status = chunk == NULL ? -1 : 0;
    job_keep(job);
    if (status == 0)
        status = fill(job, chunk);
    if (status < 0)
        status = fail_as_raised(job);
    if (chunk != NULL && put_drawn(job, chunk))
        status = job->crew->turns == turns;
    else if (chunk != NULL)
        chunk_free(chunk);
    if (!schedule_is_open(line->schedule) || is_calm(job))
        need_driver(job, 0);
    end_if_done(job);
    job_release(job);
    return status;
}

/* What waits to be run again is bounded, too: a worker at which all fails
   would draw all that there is. */
static int
is_full_again(const struct job *job)
{
    size_t waiting = job->line.again.count;
    return waiting > 0 && waiting >= (size_t)crew_alive(job->crew);
}

/* The owner of an iterator is to be asked: it may depend on its thread. */
static int
can_draw(struct line *line)
{
    struct job *job = job_of(line);
    if (job->drawer != 0 || !schedule_is_open(line->schedule)
        || !has_window(job) || is_full_again(job))
        return 0;
    if (is_calm(job) || is_owner(job))
        return 1;
    ask_owner(job);
    return 0;
}

/* ---- what is to be run again ------------------------------------------ */

/* An answer, as far as it is taken in. */
struct taking {
    const struct chunk *chunk;
    struct reader results;
    struct reader tasks; /* of the chunk, from task number ... */
    uint64_t next; /* ... on */
};

/* A chunk of the next count tasks of another, from the reader. */
static struct chunk *
cut_piece(struct job *job, struct reader *reader, uint64_t first,
          uint64_t count)
{
    struct chunk *piece = new_chunk(job);
    struct reader start = *reader;
    int status = 0;
    if (piece == NULL)
        return NULL;
    piece->header.first = first;
    piece->header.count = count;
    if ((piece->tasks = parcel_new()) == NULL)
        status = -1;
    else if (job->tasks.rows != NULL)
        status = rows_dump(job->tasks.rows, piece->tasks, first, count);
    for (uint64_t i = 0; !job->tasks.rows && status == 0 && i < count; i++)
        status = codec_skip(reader);
    if (!job->tasks.rows && status == 0)
        status = parcel_copy(piece->tasks, &start, reader);
    if (status == 0)
        return piece;
    chunk_free(piece);
    return NULL;
}

static void
begin_taking(struct taking *taking, const struct job *job,
             const struct chunk *chunk)
{
    taking->results = (struct reader){.parcel = chunk->answer};
    taking->chunk = chunk;
    if (job->retries == NULL)
        return;
    taking->tasks = (struct reader){.parcel = chunk->tasks};
    taking->next = chunk->header.first;
}

/* Stands before the task. */
static int
find_task(const struct job *job, struct taking *taking, uint64_t index)
{
    int status = 0;
    while (!job->tasks.rows && status == 0 && taking->next < index) {
        status = codec_skip(&taking->tasks);
        taking->next++;
    }
    return status;
}

/* A task that could not be pickled would come back as often as it is sent. */
static int
is_task(const struct job *job, const struct taking *taking)
{
    struct reader reader = taking->tasks;
    return job->tasks.rows != NULL || !codec_is_failure(&reader);
}

/* The task failed: does it wait again?  -1: exception set. */
static int
run_again(struct job *job, struct taking *taking, uint64_t index,
          PyObject *exception)
{
    int worker = taking->chunk->worker;
    if (job->is_over || index >= job->failed)
        return 0;
    if (find_task(job, taking, index) < 0)
        return -1;
    int status = is_task(job, taking) ? retries_failed(job->retries, index,
                                                       worker + 1, exception)
                                      : 0;
    if (status <= 0)
        return status;
    struct chunk *piece = cut_piece(job, &taking->tasks, index, 1);
    if (piece == NULL)
        return -1;
    taking->next++;
    piece->avoids = worker;
    piece->deaths = taking->chunk->deaths;
    schedule_return(job->line.schedule, index, 1);
    line_wait(&job->line, piece);
    return 1;
}

/* ---- taking in -------------------------------------------------------- */

static PyObject *
call_with(const struct job *job, PyObject *callback, PyObject *result,
          uint64_t index)
{
    return job->tells_index ? PyObject_CallFunction(callback, "OK", result,
                                                    (unsigned long long)index)
                            : PyObject_CallOneArg(callback, result);
}

/* The user's code may use the pool. */
static PyObject *
call_without_helm(struct job *job, PyObject *result, uint64_t index)
{
    PyObject *callback = Py_NewRef(job->callback);
    unsigned long outer = job->caller;
    job->caller = PyThread_get_thread_ident();
    crew_leave_helm(job->crew);
    PyObject *done = call_with(job, callback, result, index);
    crew_take_helm(job->crew);
    job->caller = outer;
    Py_DECREF(callback);
    return done;
}

static int
call_back(struct job *job, PyObject *result, uint64_t index)
{
    if (job->callback == NULL)
        return 0;
    PyObject *done = is_callback_calm(job)
                         ? call_with(job, job->callback, result, index)
                         : call_without_helm(job, result, index);
    if (done == NULL)
        return settle_raised(job, index, "the callback for");
    Py_DECREF(done);
    return 0;
}

/* The Ctrl-C that ended a task often comes here, too: it is to be raised by
   map itself, not by what makes an exception of the account. */
static int
check_signals(struct job *job)
{
    return job->owner != 0 && is_owner(job) ? crew_check_signals(job->crew)
                                            : 0;
}

/* The next result, or the exception that stands for it. */
static PyObject *
load_result(struct job *job, struct reader *reader, uint64_t index,
            int is_failure)
{
    PyObject *result = codec_load(job->codec, reader);
    if (result != NULL && is_failure)
        Py_XSETREF(result, errors_restore(result, index, 0));
    return result;
}

/* What could not be loaded is a failure like others, where each stands for
   itself.  NULL: it is not, and still set. */
static PyObject *
keep_raised(struct job *job, uint64_t index)
{
    if (!job->is_each || !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyObject *exception = PyErr_GetRaisedException();
    if (errors_note(exception, "unpickling the result of", index) < 0)
        PyErr_Clear();
    return exception;
}

/* Steals result. */
static int
put_result(struct job *job, uint64_t index, PyObject *result, int is_failure)
{
    if (is_failure && !job->is_each)
        return settle(job, index, result);
    int is_raised = is_failure && !job->returns_failures;
    int is_told = !is_raised || job->tells_index;
    int status = is_told ? call_back(job, result, index) : 0;
    if (status == 0)
        status = results_put(job->results, index, result, is_raised);
    Py_DECREF(result);
    return status;
}

static int
take_result(struct job *job, struct taking *taking, uint64_t index)
{
    struct reader *reader = &taking->results;
    int is_failure = (job->flags & FLAG_EACH) && codec_is_failure(reader);
    int waits = 0;
    if (is_failure && check_signals(job) < 0)
        return -1;
    PyObject *result = load_result(job, reader, index, is_failure);
    if (result != NULL && job->retries != NULL)
        waits = is_failure ? run_again(job, taking, index, result)
                           : retries_forget(job->retries, index);
    if (waits != 0)
        Py_CLEAR(result);
    if (waits > 0)
        return 0;
    if (result == NULL) {
        is_failure = 1;
        result = keep_raised(job, index);
    }
    return result == NULL
               ? settle_raised(job, index, "unpickling the result of")
               : put_result(job, index, result, is_failure);
}

static int
take_failure(struct job *job, struct reader *reader,
             const struct header *reply)
{
    uint64_t index = reply->first + reply->count;
    if (check_signals(job) < 0)
        return -1;
    PyObject *account = codec_load(job->codec, reader);
    if (account == NULL)
        return settle_raised(job, index, "unpickling the failure of");
    PyObject *exception =
        errors_restore(account, index, reply->flags & FLAG_BROKEN);
    Py_DECREF(account);
    if (exception != NULL && reply->flags & FLAG_BROKEN)
        initializer_failed(job->line.initializer, exception);
    return exception == NULL
               ? settle_raised(job, index, "making the failure of")
               : settle(job, index, exception);
}

/* Results from the first failed task upwards are passed over: a serial loop
   would not have come to them. */
static int
take_results(struct job *job, const struct chunk *chunk)
{
    const struct header *reply = &chunk->reply;
    struct taking taking;
    begin_taking(&taking, job, chunk);
    int has_results = !(reply->flags & FLAG_NO_RESULTS), status = 0;
    for (uint64_t i = 0; has_results && i < reply->count && status == 0; i++) {
        uint64_t index = reply->first + i;
        status = index < job->failed && !job->is_over
                     ? take_result(job, &taking, index)
                     : codec_skip(&taking.results);
    }
    if (status == 0 && reply->flags & FLAG_FAILED && !job->is_over)
        status = take_failure(job, &taking.results, reply);
    codec_end(&taking.results);
    return status;
}

/* Tasks that a worker left out, and that nobody told it to: the job would wait
   for them for ever. */
static int
check_complete(const struct job *job, const struct chunk *chunk)
{
    const struct header *reply = &chunk->reply;
    if (reply->count == chunk->header.count || job->is_over
        || reply->flags & (FLAG_BACK | FLAG_FAILED)
        || reply->first + reply->count
               >= schedule_limited_to(job->line.schedule))
        return 0;
    return errors_raise("TransportError",
                        "rank %d answered for %llu of %llu tasks",
                        chunk->worker + 1, (unsigned long long)reply->count,
                        (unsigned long long)chunk->header.count);
}

/* ---- what comes back -------------------------------------------------- */

/* Tasks in a piece.  One of those that a worker may have died of is soon alone
   in its chunk. */
static uint64_t
piece_size(const struct job *job, const struct chunk *chunk)
{
    return chunk->deaths > 0 ? 1 + chunk->header.count / DEATH_PIECES
                             : schedule_size(job->line.schedule);
}

/* The chunk's tasks from first upwards wait, in pieces as long as a chunk
   should be now. */
static int
wait_in_pieces(struct job *job, const struct chunk *chunk, uint64_t first)
{
    struct reader reader = {.parcel = chunk->tasks};
    const struct header *header = &chunk->header;
    uint64_t end = header->first + header->count;
    uint64_t limited_to = schedule_limited_to(job->line.schedule);
    for (uint64_t i = header->first; !job->tasks.rows && i < first; i++) {
        if (codec_skip(&reader) < 0)
            return -1;
    }
    while (first < end && first < limited_to) {
        uint64_t size = piece_size(job, chunk);
        uint64_t count = size < end - first ? size : end - first;
        struct chunk *piece = cut_piece(job, &reader, first, count);
        if (piece == NULL)
            return -1;
        if (count > limited_to - first)
            piece->header.count = limited_to - first;
        if (chunk->header.count == 1)
            piece->deaths = chunk->deaths;
        piece->avoids = chunk->avoids;
        line_wait(&job->line, piece);
        first += count;
    }
    return 0;
}

/* What of the chunk was not begun. */
static int
wait_again(struct job *job, const struct chunk *chunk)
{
    uint64_t first = chunk->header.first + chunk->reply.count;
    schedule_return(job->line.schedule, first,
                    chunk->header.count - chunk->reply.count);
    return wait_in_pieces(job, chunk, first);
}

static int
cut(struct line *line)
{
    struct job *job = job_of(line);
    struct chunk *chunk = chunks_pop(&line->waiting);
    int status = wait_in_pieces(job, chunk, chunk->header.first);
    if (status < 0)
        status = fail_as_raised(job);
    chunk_free(chunk);
    return status;
}

/* Each worker that ran this task died. */
static int
take_death(struct job *job, const struct chunk *chunk)
{
    uint64_t index = chunk->header.first;
    PyObject *death = crew_death_of(job->crew, index, chunk->worker);
    struct taking taking;
    int waits = 0;
    if (death == NULL)
        return -1;
    begin_taking(&taking, job, chunk);
    if (job->retries != NULL)
        waits = run_again(job, &taking, index, death);
    if (waits == 0)
        return put_result(job, index, death, 1);
    Py_DECREF(death);
    return waits < 0 ? -1 : 0;
}

static int
take_answer(struct job *job, const struct chunk *chunk)
{
    if (job->is_over)
        return 0;
    if (chunk->is_given_up)
        return take_death(job, chunk);
    if (chunk->reply.flags & FLAG_BACK && wait_again(job, chunk) < 0)
        return -1;
    return take_results(job, chunk) < 0 ? -1 : check_complete(job, chunk);
}

static int
take_in(struct job *job, struct chunk *chunk)
{
    int status = take_answer(job, chunk);
    job->line.untaken--;
    if (status < 0)
        status = fail_as_raised(job);
    end_if_done(job);
    if (job->line.is_iterated)
        helm_notify(&job->crew->helm, job);
    chunk_free(chunk);
    return status;
}

static int
take(struct line *line, struct chunk *chunk)
{
    struct job *job = job_of(line);
    int is_mine = is_callback_calm(job) || is_owner(job);
    /* A callback that uses the pool may come by here. */
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
    int status = 0;
    job->wants_owner = 0;
    while (status == 0 && job->caller == 0
           && (chunk = chunks_pop(&job->answers)) != NULL)
        status = take_in(job, chunk);
    return status;
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
    struct job *job = job_of(line);
    if (job->tasks.count != SCHEDULE_UNKNOWN)
        job->window = 0;
    return !has_window(job) && line->held == 0 && line->untaken == 0
           && line->waiting.first == NULL && line->again.first == NULL;
}

static void
lose(struct line *line, struct chunk *chunk, PyObject *exception)
{
    (void)chunk;
    job_abandon(job_of(line), exception);
}

static const struct line_kind bulk = {
    .can_draw = can_draw,
    .draw = draw,
    .cut = cut,
    .take = take,
    .fail = fail_line,
    .is_stalled = is_stalled,
    .is_inside = is_inside,
    .lose = lose,
    .chunk_is_gone = chunk_is_gone,
};

/* ---- the beginning ---------------------------------------------------- */

/* Finds the function among the callables that workers hold, or pickles it. */
static int
hold_callable(struct job *job, PyObject *function)
{
    struct header header = {.job = job->number, .flags = job->flags};
    job->callable =
        crew_hold(job->crew, job->codec, function, &header, job->line.pool);
    if (job->callable == NULL)
        return -1;
    callable_keep(job->callable);
    return 0;
}

static int
open_schedule(struct job *job, uint64_t chunksize)
{
    struct schedule_job plan = {
        .workers = crew_alive(job->crew),
        .chunksize = chunksize,
        .total = job->tasks.count,
        .pace = job->callable->pace,
    };
    job->line.schedule = schedule_new(&plan);
    if (job->line.schedule == NULL)
        return PyErr_NoMemory(), -1;
    return 0;
}

static void
init(struct job *job, struct crew *crew, const struct job_request *request)
{
    int is_iterated = request->results == RESULTS_IN_ORDER
                      || request->results == RESULTS_AS_THEY_COME;
    line_init(&job->line, &bulk);
    job->line.pool = request->pool_number;
    job->line.timeout = request->timeout;
    job->line.is_iterated = is_iterated;
    job->line.keeps_tasks =
        request->retries != NULL || crew->survives || crew->is_isolated;
    job->line.initializer = request->initializer;
    job->users = 2;
    job->crew = crew;
    job->codec = request->codec;
    job->pool = Py_NewRef(request->pool);
    job->callback = Py_XNewRef(request->callback);
    job->receiver = Py_XNewRef(request->receiver);
    job->calm = Py_XNewRef(request->calm);
    job->failed = UINT64_MAX;
    job->number = ++crew->jobs;
    job->window = request->window;
    job->flags = request->flags | (request->retries ? FLAG_EACH : 0);
    job->is_each = (request->flags & FLAG_EACH) != 0;
    job->returns_failures = request->returns_failures;
    job->tells_index = request->tells_index;
    if (request->results == RESULTS_UNWANTED && request->callback == NULL)
        job->flags |= FLAG_NO_RESULTS;
    job->owner = request->receiver == NULL && !is_iterated
                     ? PyThread_get_thread_ident()
                     : 0;
    chunks_init(&job->answers);
}

static int
open_retries(struct job *job, PyObject *plan)
{
    if (plan != NULL)
        job->retries = retries_new(plan);
    return plan != NULL && job->retries == NULL ? -1 : 0;
}

struct job *
job_begin(struct crew *crew, const struct job_request *request)
{
    struct job *job = PyMem_RawCalloc(1, sizeof *job);
    if (job == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    init(job, crew, request);
    if ((job->results = results_new(request->results)) == NULL
        || open_retries(job, request->retries) < 0
        || tasks_open(&job->tasks, crew, job->codec, request->tasks,
                      job->owner == 0)
               < 0
        || hold_callable(job, request->function) < 0
        || open_schedule(job, request->chunksize) < 0) {
        clear(job);
        PyMem_RawFree(job);
        return NULL;
    }
    dispatch_join(crew->dispatch, &job->line);
    crew->unfinished++;
    need_driver(job, 1);
    return job;
}

/* ---- what others ask -------------------------------------------------- */

/* A failure takes back what was done behind it, and an end all of it. */
struct job_progress
job_progress(struct job *job)
{
    const struct schedule *schedule = job->line.schedule;
    uint64_t completed = schedule_completed(schedule);
    struct job_progress progress = {
        .total = job->tasks.count,
        .busy = dispatch_busy(job->crew->dispatch),
    };
    if (completed > job->completed)
        job->completed = completed;
    progress.completed = job->completed;
    if (progress.total == SCHEDULE_UNKNOWN && !schedule_is_open(schedule))
        progress.total = schedule_drawn(schedule);
    return progress;
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
job_is_left(const struct job *job)
{
    return job->is_left;
}

int
job_has_room_again(struct job *job)
{
    uint64_t draws_at = atomic_load(&job->draws_at);
    if (draws_at == 0 || results_taken(job->results) < draws_at)
        return 0;
    return atomic_compare_exchange_strong(&job->draws_at, &draws_at, 0);
}

struct results *
job_results(const struct job *job)
{
    return job->results;
}

PyObject *
job_failure(const struct job *job)
{
    return job->failure;
}
