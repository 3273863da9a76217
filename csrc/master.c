/* master.c -- jobs: hand tasks out, take answers in.

   Every chunk sent is owed exactly one answer, whatever becomes of the job.
   A worker that still owes answers for an earlier, abandoned job gets
   nothing of the running one until it has paid.

   Must not know how bytes travel, nor which chunk is best next. */

#define PY_SSIZE_T_CLEAN
#include "master.h"

#include <stdlib.h>

#include "errors.h"
#include "lots.h"
#include "rows.h"
#include "schedule.h"

#define ENDING_SECONDS 5.0      /* what busy workers get when we end */
#define TREE_BYTES 1000000      /* callables above this go along a tree */

struct job {
    struct crew *crew;
    struct codec *codec;
    const struct master_request *request;
    struct schedule *schedule;
    PyObject *iterator;         /* of the tasks; NULL: they are rows */
    struct rows *rows;
    struct lots *lots;          /* of chunks that may come back */
    PyObject *results;          /* list, or NULL when nobody wants them */
    PyObject *failure;          /* exception of the task `failed` */
    uint64_t failed;            /* lowest failed task; UINT64_MAX: none */
    uint64_t number;
    uint32_t flags;
    int slot;                   /* of the callable */
    int pickled;                /* it was, with dill: to be remembered */
    int copy;                   /* tasks' buffers may change when the next
                                   task is drawn */
};

/* ---- failures --------------------------------------------------------- */

/* Tells the workers that hold tasks from the failed one upwards. */
static int
abandon_above(struct job *job)
{
    struct header header = {.job = job->number, .first = job->failed};
    for (int worker = 0; worker < job->crew->workers; worker++) {
        if (schedule_holds_above(job->schedule, worker)
            && crew_send(job->crew, worker + 1, VERB_ABANDON, &header, NULL)
                   < 0)
            return -1;
    }
    return 0;
}

/* The task failed; the lowest such one is what the map will raise, as a
   serial loop would have.  Steals exception. */
static int
settle(struct job *job, uint64_t task, PyObject *exception)
{
    if (task >= job->failed) {
        Py_DECREF(exception);
        return 0;
    }
    Py_XDECREF(job->failure);
    job->failure = exception;
    job->failed = task;
    schedule_limit(job->schedule, task);
    return abandon_above(job);
}

/* The same for the exception that is set here in the master, unless it is
   one that must not wait for other tasks: Ctrl-C, or an exit. */
static int
settle_raised(struct job *job, uint64_t task, const char *what)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return -1;
    PyObject *exception = PyErr_GetRaisedException();
    if (errors_note(exception, what, task) < 0) {
        Py_DECREF(exception);
        return -1;
    }
    return settle(job, task, exception);
}

/* Leaves the job where it is: every worker drops what it holds of it. */
static void
abandon(struct job *job)
{
    PyObject *exception = PyErr_GetRaisedException();
    struct header header = {.job = job->number, .first = 0};
    for (int worker = 0; worker < job->crew->workers; worker++) {
        if (job->crew->members[worker].owed > 0
            && crew_send(job->crew, worker + 1, VERB_ABANDON, &header, NULL)
                   < 0)
            PyErr_Clear();      /* the first exception is the one to raise */
    }
    PyErr_SetRaisedException(exception);
}

/* ---- handing out ------------------------------------------------------ */

/* Sends what the codec found the workers' __main__ to lack. */
static int
send_bindings(struct job *job)
{
    struct header header = {.job = job->number};
    struct parcel *parcel = NULL;
    int status = -1;
    PyObject *bindings = codec_take_bindings(job->codec);
    if (bindings == NULL || bindings == Py_None) {
        status = bindings == NULL ? -1 : 0;
        goto done;
    }
    crew_rebound(job->crew);
    parcel = parcel_new();
    if (parcel != NULL && codec_dump(job->codec, parcel, bindings, 0) == 0)
        status = crew_broadcast(job->crew, VERB_BIND, &header, parcel);
    if (status == 0)
        status = codec_bindings_sent(job->codec);
done:
    parcel_free(parcel);
    Py_XDECREF(bindings);
    return status;
}

/* Makes room for count more results. */
static int
expect_results(struct job *job, uint64_t count)
{
    for (uint64_t i = 0; job->results != NULL && i < count; i++) {
        if (PyList_Append(job->results, Py_None) < 0)
            return -1;
    }
    return 0;
}

/* Draws one task: 1; 0: there is none, or it failed. */
static int
draw_object(struct job *job, struct parcel *parcel, uint64_t index)
{
    if (PyErr_CheckSignals() < 0)
        return -1;
    PyObject *task = PyIter_Next(job->iterator);
    if (task == NULL) {
        if (PyErr_Occurred())
            return settle_raised(job, index, "drawing");
        schedule_exhausted(job->schedule);
        return 0;
    }
    int status = codec_dump(job->codec, parcel, task, job->copy);
    Py_DECREF(task);
    if (status < 0)
        return settle_raised(job, index, "pickling");
    return expect_results(job, 1) < 0 ? -1 : 1;
}

/* The answer costs more than a small task: it is looked for after 1, 2, 4, 8
   ... tasks, or when there is a reason to. */
static int
is_full(const struct job *job, const struct parcel *parcel, uint64_t drawn,
        int64_t began, int64_t began_coarse)
{
    int is_worth_it = (drawn & (drawn - 1)) == 0
                      || parcel_mark(parcel).count > 0
                      || (job->copy && crew_coarse_clock() != began_coarse);
    return is_worth_it
           && schedule_is_full(job->schedule, parcel_size(parcel),
                               (uint64_t)(crew_clock() - began));
}

static int
draw_objects(struct job *job, struct parcel *parcel, uint64_t count,
             uint64_t *drawn)
{
    uint64_t first = schedule_given(job->schedule);
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
    uint64_t first = schedule_given(job->schedule);
    uint64_t left = rows_count(job->rows) - first;
    *drawn = count < left ? count : left;
    while (*drawn > 1
           && schedule_is_full(job->schedule,
                               *drawn / 2 * rows_size(job->rows), 0))
        *drawn /= 2;
    if (left <= count && *drawn == left)
        schedule_exhausted(job->schedule);
    if (*drawn > 0 && rows_dump(job->rows, parcel, first, *drawn) < 0)
        return -1;
    return expect_results(job, *drawn);
}

/* Tasks that came back: they were drawn before. */
static int
draw_again(struct job *job, struct parcel *parcel, uint64_t count)
{
    uint64_t first = schedule_first(job->schedule);
    if (job->rows != NULL && rows_dump(job->rows, parcel, first, count) < 0)
        return -1;
    return lots_draw(job->lots, parcel, count);
}

/* Draws at most count tasks into the parcel; fewer where they end, one fails
   or their bytes are many. */
static int
draw(struct job *job, struct parcel *parcel, uint64_t count, uint64_t *drawn)
{
    if (schedule_first(job->schedule) < schedule_given(job->schedule))
        return *drawn = count, draw_again(job, parcel, count);
    return job->rows ? draw_rows(job, parcel, count, drawn)
                     : draw_objects(job, parcel, count, drawn);
}

static struct header
callable_header(const struct job *job)
{
    return (struct header){.job = job->number,
                           .pool = job->request->pool,
                           .callable = job->crew->held[job->slot].number,
                           .slot = (uint32_t)job->slot,
                           .flags = job->request->flags};
}

static int
send_initializer(struct job *job, int worker)
{
    const struct master_request *request = job->request;
    struct header header = callable_header(job);
    if (request->initializer == NULL || request->initialized[worker])
        return 0;
    if (crew_send(job->crew, worker + 1, VERB_INITIALIZE, &header,
                  request->initializer)
        < 0)
        return -1;
    request->initialized[worker] = 1;
    return 0;
}

static int
compare_ranks(const void *one, const void *other)
{
    return *(const int *)one - *(const int *)other;
}

/* The ranks of the idle workers that will need the callable and lack it. */
static size_t
find_idle(const struct job *job, int *ranks)
{
    const struct crew *crew = job->crew;
    size_t idle = schedule_idle(job->schedule, ranks), found = 0;
    for (size_t i = 0; i < idle; i++) {
        int worker = ranks[i];
        if (crew->members[worker].held[job->slot]
            != crew->held[job->slot].number)
            ranks[found++] = worker + 1;
    }
    qsort(ranks, found, sizeof *ranks, compare_ranks);
    return found;
}

/* Sends the callable to these ranks. */
static int
send_callable(struct job *job, const int *ranks, size_t count)
{
    struct crew_callable *callable = &job->crew->held[job->slot];
    struct header header = callable_header(job);
    if (crew_send_to(job->crew, ranks, count, VERB_CALLABLE, &header,
                     callable->parcel)
        < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        job->crew->members[ranks[i] - 1].held[job->slot] = callable->number;
    return 0;
}

/* To all that are idle, among them the worker that is next. */
static int
send_along_tree(struct job *job)
{
    int *ranks = PyMem_RawMalloc((size_t)job->crew->workers * sizeof *ranks);
    if (ranks == NULL)
        return PyErr_NoMemory(), -1;
    int status = send_callable(job, ranks, find_idle(job, ranks));
    PyMem_RawFree(ranks);
    return status;
}

/* May the worker's callable travel along a tree?  Whoever passes it on must
   look for messages, and one that is busy, or may be elsewhere, does not. */
static int
is_for_tree(const struct job *job, int worker)
{
    const struct crew *crew = job->crew;
    return !crew->released && crew->members[worker].owed == 0
           && parcel_size(crew->held[job->slot].parcel) > TREE_BYTES;
}

/* Sends what the worker must have before the chunk.  The initializer comes
   last: it is user code, which those without a chunk do not run, and during
   which nothing is passed on. */
static int
prepare(struct job *job, int worker)
{
    const struct crew_callable *callable = &job->crew->held[job->slot];
    const struct crew_member *member = &job->crew->members[worker];
    int rank = worker + 1;
    if (member->held[job->slot] != callable->number
        && (is_for_tree(job, worker) ? send_along_tree(job)
                                     : send_callable(job, &rank, 1))
               < 0)
        return -1;
    return send_initializer(job, worker);
}

/* Once a job, when the workers have been sent all that the callable needs. */
static int
remember_callable(struct job *job)
{
    if (!job->pickled)
        return 0;
    job->pickled = 0;
    return crew_remember(job->crew, job->slot, job->request->function);
}

static int
give(struct job *job, int worker, struct parcel *parcel, uint64_t count)
{
    if (send_bindings(job) < 0 || remember_callable(job) < 0
        || prepare(job, worker) < 0)
        return -1;
    struct crew_member *member = &job->crew->members[worker];
    struct header header = {
        .job = job->number,
        .first = schedule_first(job->schedule),
        .count = count,
        .callable = job->crew->held[job->slot].number,
        .pool = job->request->pool,
        .elapsed = schedule_patience(job->schedule, count),
        .flags = job->flags,
        .slot = (uint32_t)job->slot,
    };
    /* A single task that is begun at once need not be kept. */
    if (header.elapsed > 0 && (count > 1 || member->owed > 0)) {
        header.flags |= FLAG_BACK;
        if (lots_keep(job->lots, worker, header.first, count,
                      job->rows ? NULL : parcel)
            < 0)
            return -1;
    }
    if (crew_send(job->crew, worker + 1, VERB_TASKS, &header, parcel) < 0)
        return -1;
    schedule_give(job->schedule, worker, count);
    member->owed++;
    return 0;
}

/* Gives every worker that should have one its next chunk. */
static int
hand_out(struct job *job)
{
    uint64_t count, drawn;
    int worker, status = 0;
    while (status == 0
           && (worker = schedule_next(job->schedule, &count)) >= 0) {
        struct parcel *parcel = parcel_new();
        if (parcel == NULL)
            return -1;
        status = draw(job, parcel, count, &drawn);
        if (status == 0 && drawn > 0)
            status = give(job, worker, parcel, drawn);
        parcel_free(parcel);
    }
    return status;
}

/* ---- taking in -------------------------------------------------------- */

static int
call_back(struct job *job, PyObject *result, uint64_t index)
{
    if (job->request->callback == NULL)
        return 0;
    PyObject *done = PyObject_CallOneArg(job->request->callback, result);
    if (done == NULL)
        return settle_raised(job, index, "the callback for");
    Py_DECREF(done);
    return 0;
}

static int
take_result(struct job *job, struct reader *reader, uint64_t index)
{
    PyObject *result = codec_load(job->codec, reader);
    if (result == NULL)
        return settle_raised(job, index, "unpickling the result of");
    int status = call_back(job, result, index);
    if (status == 0 && job->results != NULL)
        status =
            PyList_SetItem(job->results, (Py_ssize_t)index, Py_NewRef(result));
    Py_DECREF(result);
    return status;
}

static int
take_failure(struct job *job, struct reader *reader,
             const struct header *header)
{
    uint64_t index = header->first + header->count;
    /* The Ctrl-C that ended the task often comes here, too: it is to be raised
       by map itself, not by what makes an exception of the account. */
    if (PyErr_CheckSignals() < 0)
        return -1;
    PyObject *account = codec_load(job->codec, reader);
    if (account == NULL)
        return settle_raised(job, index, "unpickling the failure of");
    PyObject *exception =
        errors_restore(account, index, header->flags & FLAG_BROKEN);
    Py_DECREF(account);
    return exception == NULL ? -1 : settle(job, index, exception);
}

/* Results from the first failed task upwards are passed over: a serial loop
   would not have come to them. */
static int
take_chunk(struct job *job, const struct letter *letter)
{
    const struct header *header = &letter->header;
    struct reader reader = {.parcel = letter->parcel};
    int has_results = !(header->flags & FLAG_NO_RESULTS);
    for (uint64_t i = 0; has_results && i < header->count; i++) {
        uint64_t index = header->first + i;
        int status = index < job->failed ? take_result(job, &reader, index)
                                         : codec_skip(&reader);
        if (status < 0)
            return -1;
    }
    return header->flags & FLAG_FAILED ? take_failure(job, &reader, header)
                                       : 0;
}

static int
raise_wrong(const struct letter *letter)
{
    return errors_raise("TransportError",
                        "rank %d answered for tasks that it was not given",
                        letter->source);
}

/* Notes in the schedule what the answer says. */
static int
note_answer(struct job *job, const struct letter *letter)
{
    const struct header *header = &letter->header;
    struct lot *lot = lots_take(job->lots, letter->source - 1, header->first);
    int is_back = (header->flags & FLAG_BACK) != 0;
    struct schedule_answer answer = {
        .worker = letter->source - 1,
        .first = header->first,
        /* The failed task counts: it came back, as a failure. */
        .done = header->count + ((header->flags & FLAG_FAILED) ? 1 : 0),
        .is_rest_back = is_back,
        .elapsed = header->elapsed,
        .bytes = letter->parcel ? parcel_size(letter->parcel) : 0,
    };
    if (is_back && (lot == NULL || header->flags & FLAG_FAILED)) {
        lot_free(lot);
        return raise_wrong(letter);
    }
    int status = schedule_answer(job->schedule, &answer);
    if (status == 0 && is_back)
        return lots_return(job->lots, lot, answer.done);
    lot_free(lot);
    if (status == SCHEDULE_NO_MEMORY)
        return PyErr_NoMemory(), -1;
    return status < 0 ? raise_wrong(letter) : 0;
}

static int
take_answer(struct job *job, const struct letter *letter)
{
    const struct header *header = &letter->header;
    int worker = letter->source - 1;
    if (header->job != job->number) {
        if (job->crew->members[worker].owed == 0)
            schedule_join(job->schedule, worker);
        return 0;
    }
    int needs_parcel =
        header->flags & FLAG_FAILED || !(header->flags & FLAG_NO_RESULTS);
    if (needs_parcel && letter->parcel == NULL)
        return raise_wrong(letter);
    if (note_answer(job, letter) < 0)
        return -1;
    return take_chunk(job, letter);
}

/* The worker does not hold the callable of its chunk (any more). */
static int
send_again(struct job *job, const struct letter *letter)
{
    if (letter->header.callable != job->crew->held[job->slot].number)
        return 0;       /* an earlier job's: it has been told to drop it */
    job->crew->members[letter->source - 1].held[job->slot] = 0;
    return prepare(job, letter->source - 1);
}

static int
open_letter(struct job *job, const struct letter *letter)
{
    switch (letter->verb) {
    case VERB_ANSWER:
        return take_answer(job, letter);
    case VERB_NEED:
        return send_again(job, letter);
    case VERB_UNBOUND:
        return crew_distrust(job->crew);
    default:
        return errors_raise("TransportError",
                            "rank %d sent verb %d, which "
                            "the master does not know",
                            letter->source, letter->verb);
    }
}

static int
receive(struct job *job)
{
    struct letter letter;
    int came = crew_receive(job->crew, SIGNAL_SECONDS, &letter);
    if (letter.verb == VERB_ANSWER)
        job->crew->members[letter.source - 1].owed--;
    int status = came > 0 ? open_letter(job, &letter) : came;
    parcel_free(letter.parcel);
    return status;
}

/* ---- the job ---------------------------------------------------------- */

static int
hold_callable(struct job *job)
{
    PyObject *function = job->request->function;
    int use_dill = (job->request->flags & FLAG_DILL) != 0;
    if (codec_begin(job->codec) < 0)
        return -1;
    job->slot = use_dill ? crew_recall(job->crew, function, job->number,
                                       job->request->pool)
                         : -1;
    if (job->slot >= 0)
        return 0;
    struct parcel *parcel = parcel_new();
    if (parcel == NULL || codec_dump(job->codec, parcel, function, 0) < 0) {
        parcel_free(parcel);
        return -1;
    }
    job->pickled = use_dill;
    job->slot = crew_hold(job->crew, parcel, job->number, job->request->pool);
    return job->slot < 0 ? -1 : 0;
}

static int
is_stable(PyObject *tasks)
{
    return PyList_CheckExact(tasks) || PyTuple_CheckExact(tasks)
           || PyObject_CheckBuffer(tasks);
}

/* How many tasks there are, where that is known. */
static uint64_t
count_tasks(const struct job *job)
{
    PyObject *tasks = job->request->tasks;
    if (job->rows != NULL)
        return rows_count(job->rows);
    if (PyList_CheckExact(tasks) || PyTuple_CheckExact(tasks)
        || PyRange_Check(tasks)) {
        Py_ssize_t size = PyObject_Size(tasks);
        if (size >= 0)
            return (uint64_t)size;
        PyErr_Clear();          /* a range of more than there can be */
    }
    return SCHEDULE_UNKNOWN;
}

static int
open_tasks(struct job *job)
{
    PyObject *tasks = job->request->tasks;
    job->copy = !is_stable(tasks);
    int found = codec_open_rows(job->codec, tasks, &job->rows);
    if (found != 0)
        return found < 0 ? -1 : 0;
    job->iterator = PyObject_GetIter(tasks);
    return job->iterator == NULL ? -1 : 0;
}

static int
open_schedule(struct job *job)
{
    struct crew *crew = job->crew;
    struct schedule_job plan = {
        .workers = crew->workers,
        .chunksize = job->request->chunksize,
        .total = count_tasks(job),
        .pace = crew->held[job->slot].pace,
    };
    job->lots = lots_new(crew->workers);
    if (job->lots == NULL)
        return -1;
    job->schedule = schedule_new(&plan);
    if (job->schedule == NULL)
        return PyErr_NoMemory(), -1;
    for (int worker = 0; worker < crew->workers; worker++) {
        if (crew->members[worker].owed == 0)
            schedule_join(job->schedule, worker);
    }
    return 0;
}

static int
job_init(struct job *job)
{
    const struct master_request *request = job->request;
    job->flags = request->flags;
    if (!request->want_results && request->callback == NULL)
        job->flags |= FLAG_NO_RESULTS;
    if (open_tasks(job) < 0
        || (request->want_results && !(job->results = PyList_New(0)))
        || hold_callable(job) < 0)
        return -1;
    return open_schedule(job);
}

static int
run(struct job *job)
{
    while (PyErr_CheckSignals() == 0 && hand_out(job) == 0) {
        if (schedule_done(job->schedule))
            return 0;
        if (receive(job) < 0)
            return -1;
    }
    return -1;
}

static PyObject *
job_result(struct job *job, int status)
{
    if (status < 0) {
        abandon(job);
        return NULL;
    }
    if (job->failure != NULL) {
        PyErr_SetRaisedException(Py_NewRef(job->failure));
        return NULL;
    }
    return Py_NewRef(job->results ? job->results : Py_None);
}

static void
job_fini(struct job *job)
{
    if (job->schedule != NULL && job->failure == NULL)
        job->crew->held[job->slot].pace = schedule_pace(job->schedule);
    schedule_free(job->schedule);
    lots_free(job->lots);
    rows_close(job->rows);
    Py_XDECREF(job->iterator);
    Py_XDECREF(job->results);
    Py_XDECREF(job->failure);
}

PyObject *
master_map(struct crew *crew, struct codec *codec,
           const struct master_request *request)
{
    struct job job = {.crew = crew,
                      .codec = codec,
                      .request = request,
                      .failed = UINT64_MAX,
                      .number = ++crew->jobs};
    crew->transport->set_ending(ENDING_SECONDS, 1);
    crew->busy = 1;
    PyObject *result = NULL;
    int status = job_init(&job);
    if (status == 0)
        result = job_result(&job, run(&job));
    crew->busy = 0;
    job_fini(&job);
    return result;
}
