/* worker.c -- serve: take a task, call it, answer.

   Runs in the worker's rank, and its crew is to the master; with isolate=True
   in the child that the rank has forked, and its crew is to that (guard.c),
   which to it is rank 0.

   Messages are read in the order in which they came, also between the tasks
   of a chunk, so that a job that was abandoned ends soon; chunks wait in a
   queue and are run in that order, or go back.  Whatever goes wrong with a
   chunk, it is answered exactly once.

   Must not know how bytes travel, nor who else works. */

#define PY_SSIZE_T_CLEAN
#include "worker.h"

#include "claim.h"
#include "errors.h"
#include "hello.h"
#include "kit.h"
#include "ledger.h"
#include "sigint.h"

#define QUICK_SECONDS 50e-6     /* a wait not worth two system calls */
#define RELEASE_SECONDS 0.5     /* for answers to leave before a wait ends */
#define LARGE_RESULTS ((size_t)1 << 20) /* bytes */
#define ITEMS 8                 /* arguments of a call without a tuple */
#define POLL_NANOSECONDS 200000 /* between looks at the mailbox in a chunk */
#define LATE_SECONDS 1.0        /* from the master's Ctrl-C to the same */

/* A chunk that came; the master's is another: chunk.h. */
struct chunk {
    struct header header;
    uint64_t number;            /* of its message: see ledger.h */
    struct parcel *parcel;
    int64_t took;               /* nanoseconds, to come here */
    struct outcome callable;    /* neither: asked for */
    PyObject *account;          /* why none of it can run, or NULL */
    uint32_t broken;            /* FLAG_BROKEN: the initializer is why */
    int64_t began;              /* to run */
    uint64_t end;               /* tasks from this one on are dropped */
    int is_back;                /* what is not begun goes back */
    const char *doing;          /* what a failure is raised by */
    struct chunk *next;
};

struct worker {
    struct kit *kit;
    struct chunk *first, **last;
    uint64_t messages;          /* so many came, so far */
    uint64_t failed_job; /* the last one that failed here: its tasks ... */
    uint64_t failed_end; /* ... from this one on are dropped */
    int64_t late_until; /* Ctrl-C here is the master's; 0: it is not */
    int64_t polled; /* when messages were looked for last */
    int64_t looked; /* when that was thought of, by the coarse clock */
    int releases; /* waits that the master ended */
    int ended; /* the master said farewell */
};

static void
chunk_free(struct chunk *chunk)
{
    parcel_free(chunk->parcel);
    outcome_clear(&chunk->callable);
    Py_XDECREF(chunk->account);
    PyMem_RawFree(chunk);
}

static void
forget_chunks(struct worker *worker)
{
    struct chunk *chunk;
    while ((chunk = worker->first) != NULL) {
        worker->first = chunk->next;
        chunk_free(chunk);
    }
    worker->last = &worker->first;
}

static struct worker *
worker_new(void)
{
    struct worker *worker = PyMem_RawCalloc(1, sizeof *worker);
    if (worker == NULL)
        return PyErr_NoMemory(), NULL;
    worker->last = &worker->first;
    worker->kit = kit_new();
    if (worker->kit == NULL)
        PyMem_RawFree(worker), worker = NULL;
    return worker;
}

/* ---- messages --------------------------------------------------------- */

/* Gives the callable that came to chunks that asked for it (VERB_NEED). */
static int
supply_chunks(struct crew *crew, struct worker *worker, uint64_t callable)
{
    for (struct chunk *chunk = worker->first; chunk; chunk = chunk->next) {
        if (chunk->header.callable != callable || chunk->account
            || chunk->callable.value || chunk->callable.account)
            continue;
        if (kit_load(crew, worker->kit, &chunk->header, &chunk->callable) < 0)
            return -1;
    }
    return 0;
}

/* Finds what the chunk is to be run with, or why it cannot be. */
static int
equip(struct crew *crew, struct worker *worker, struct chunk *chunk)
{
    const struct header *header = &chunk->header;
    if (kit_check(crew, worker->kit, header, &chunk->account, &chunk->broken)
        < 0)
        return -1;
    if (chunk->account == NULL && chunk->parcel == NULL) {
        PyErr_NoMemory();
        chunk->account =
            errors_account_undisturbed(crew->known_as, "receiving task");
        if (chunk->account == NULL)
            return -1;
    }
    if (!kit_holds(worker->kit, header))
        return crew_send(crew, 0, VERB_NEED, header, NULL);
    return chunk->account != NULL
               ? 0
               : kit_load(crew, worker->kit, header, &chunk->callable);
}

/* Takes over the letter's parcel. */
static int
queue(struct crew *crew, struct worker *worker, struct letter *letter)
{
    struct chunk *chunk = PyMem_RawCalloc(1, sizeof *chunk);
    if (chunk == NULL)
        return PyErr_NoMemory(), -1;
    chunk->header = letter->header;
    chunk->end = chunk->header.job == worker->failed_job ? worker->failed_end
                                                         : UINT64_MAX;
    chunk->doing = "task";
    chunk->number = worker->messages;
    chunk->parcel = letter->parcel;
    chunk->took = letter->took;
    letter->parcel = NULL;
    *worker->last = chunk;
    worker->last = &chunk->next;
    return equip(crew, worker, chunk);
}

/* Tasks of the job from first on do not matter any more.  All such that this
   rank will ever get are here: those that come back to the master are not
   handed out again. */
static void
drop_from(struct worker *worker, uint64_t job, uint64_t first)
{
    for (struct chunk *chunk = worker->first; chunk; chunk = chunk->next) {
        if (chunk->header.job == job && first < chunk->end)
            chunk->end = first;
    }
}

/* The master had a Ctrl-C, and has begun nothing since. */
static int
expect_late(struct worker *worker)
{
    worker->late_until = crew_clock() + (int64_t)(1e9 * LATE_SECONDS);
    return sigint_expect(LATE_SECONDS);
}

/* What runs none of the user's code, but for what unpickling does. */
static int
open_own(struct crew *crew, struct worker *worker, const struct letter *letter)
{
    switch (letter->verb) {
    case VERB_BIND:
        return kit_bind(crew, worker->kit, letter);
    case VERB_ABANDON:
        drop_from(worker, letter->header.job, letter->header.first);
        return 0;
    case VERB_FORGET:
        kit_forget(worker->kit, letter->header.pool);
        return 0;
    case VERB_SHARE:
        return kit_share(crew, worker->kit, letter, "hold");
    case VERB_UNSHARE:
        return kit_share(crew, worker->kit, letter, "drop");
    case VERB_INTERRUPTED:
        return expect_late(worker);
    case VERB_RELEASE:
        worker->releases++;
        return 0;
    case VERB_FAREWELL:
        worker->ended = 1;
        return 0;
    default:
        return errors_raise("TransportError",
                            "rank %d sent verb %d, which a "
                            "worker does not know",
                            letter->source, letter->verb);
    }
}

static int
open_letter(struct crew *crew, struct worker *worker, struct letter *letter)
{
    struct sigaction users;
    switch (letter->verb) {
    case VERB_TASKS:
        return queue(crew, worker, letter);
    case VERB_CALLABLE:
        kit_hold(worker->kit, letter);
        return supply_chunks(crew, worker, letter->header.callable);
    case VERB_INITIALIZE:
        return kit_initialize(crew, worker->kit, letter);
    }
    /* After VERB_ABANDON no Ctrl-C that ended the job may be pending: it must
       not end a task of the next one. */
    if (sigint_begin_own(&users) < 0)
        return -1;
    int status = open_own(crew, worker, letter);
    sigint_heed(&users);
    return status;
}

/* For the guard, too: it may be the last that this process does. */
static int
open_noted(struct crew *crew, struct worker *worker, struct letter *letter)
{
    worker->messages++;
    if (crew->ledger == NULL)
        return open_letter(crew, worker, letter);
    ledger_open(crew->ledger);
    int status = open_letter(crew, worker, letter);
    kit_end_if_forked(worker->kit);
    ledger_shut(crew->ledger);
    return status;
}

/* What has to hold an object does.  Where memory was short it need not. */
static int
check_whole(const struct letter *letter)
{
    int verb = letter->verb;
    if (letter->parcel != NULL || letter->header.flags & FLAG_LOST
        || (verb != VERB_BIND && verb != VERB_INITIALIZE
            && verb != VERB_CALLABLE && verb != VERB_TASKS
            && verb != VERB_SHARE && verb != VERB_UNSHARE))
        return 0;
    return errors_raise("TransportError",
                        "rank %d sent verb %d, and nothing with it",
                        letter->source, verb);
}

/* 1: a message was read, 0: none came in time. */
static int
receive(struct crew *crew, struct worker *worker, double seconds)
{
    struct letter letter;
    int came = crew_receive(crew, seconds, &letter);
    if (came > 0 && check_whole(&letter) < 0)
        came = -1;
    else if (came < 0 && letter.verb != 0
             && PyErr_ExceptionMatches(PyExc_MemoryError)) {
        PyErr_Clear(); /* its handler finds that there is no parcel */
        came = 1;
    }
    if (came > 0 && open_noted(crew, worker, &letter) < 0)
        came = -1;
    parcel_free(letter.parcel);
    return came;
}

/* Waits for a message, and ignores SIGINT meanwhile, but for the first
   moments: there it means as much as in a task that begins. */
static int
receive_patiently(struct crew *crew, struct worker *worker)
{
    int came = receive(crew, worker, QUICK_SECONDS);
    while (came == 0) {
        if (sigint_look() < 0)
            return -1;
        struct sigaction users = sigint_ignore();
        came = crew_wait(crew, SIGNAL_SECONDS);
        sigint_heed(&users);
        if (came < 0)
            return -1;
        came = receive(crew, worker, 0);
    }
    return came;
}

/* ---- tasks ------------------------------------------------------------ */

/* All of it. */
static int
is_dropped(const struct worker *worker, const struct chunk *chunk)
{
    return worker->ended || chunk->end <= chunk->header.first;
}

static int
poll(struct crew *crew, struct worker *worker, int64_t now)
{
    if (now - worker->polled < POLL_NANOSECONDS)
        return 0;
    worker->polled = now;
    int came;
    do
        came = receive(crew, worker, 0);
    while (came > 0);
    return came;
}

static int
is_late(const struct chunk *chunk, int64_t now)
{
    return chunk->header.elapsed > 0 && !(chunk->header.flags & FLAG_CLAIM)
           && now - chunk->began > (int64_t)chunk->header.elapsed;
}

/* Between two tasks of a chunk. */
static int
look_around(struct crew *crew, struct worker *worker, struct chunk *chunk)
{
    kit_end_if_forked(worker->kit);
    int64_t coarse = crew_coarse_clock();
    if (coarse == worker->looked)
        return 0;
    worker->looked = coarse;
    int64_t now = crew_clock();
    chunk->is_back |= chunk->header.flags & FLAG_BACK && is_late(chunk, now);
    return poll(crew, worker, now);
}

/* What was to run soon behind the first chunk would not: others may be idle
   meanwhile. */
static void
give_back_others(struct worker *worker)
{
    struct chunk *first = worker->first, *chunk;
    for (chunk = first->next; chunk != NULL; chunk = chunk->next) {
        if (chunk->header.job == first->header.job)
            chunk->is_back = (chunk->header.flags & FLAG_BACK) != 0;
    }
}

/* Calls with the task's items, without a tuple of them.  Steals them. */
static PyObject *
apply_items(const struct chunk *chunk, PyObject **items, Py_ssize_t count)
{
    PyObject *result =
        PyObject_Vectorcall(chunk->callable.value, items, (size_t)count, NULL);
    while (count > 0)
        Py_DECREF(items[--count]);
    return result;
}

static PyObject *
apply(const struct chunk *chunk, PyObject *task)
{
    PyObject *function = chunk->callable.value, *kwargs = NULL;
    if (!(chunk->header.flags & (FLAG_STAR | FLAG_CALL)))
        return PyObject_CallOneArg(function, task);
    PyObject *args = task;
    if (chunk->header.flags & FLAG_CALL
        && !PyArg_ParseTuple(task, "O!O!", &PyTuple_Type, &args, &PyDict_Type,
                             &kwargs))
        return NULL;
    if ((args = PySequence_Tuple(args)) == NULL)
        return NULL;
    PyObject *result = PyObject_Call(function, args, kwargs);
    Py_DECREF(args);
    return result;
}

/* The account of a task that the master could not pickle; NULL: exception set.
   Steals it. */
static int
pass_on(struct codec *codec, struct parcel *results, PyObject *account)
{
    int status = account ? codec_dump_failure(codec, results, account) : -1;
    Py_XDECREF(account);
    return status;
}

/* Loads one task and calls it. */
static PyObject *
load_and_apply(struct codec *codec, struct chunk *chunk, struct reader *reader)
{
    PyObject *items[ITEMS];
    Py_ssize_t count = CODEC_OTHER;
    chunk->doing = "unpickling task";
    if (chunk->header.flags & FLAG_STAR)
        count = codec_load_items(codec, reader, items, ITEMS);
    PyObject *task = count == CODEC_OTHER ? codec_load(codec, reader) : NULL;
    if (task == NULL && count < 0)
        return NULL;
    chunk->doing = "task";
    if (count >= 0)
        return apply_items(chunk, items, count);
    PyObject *result = apply(chunk, task);
    Py_DECREF(task);
    return result;
}

/* Calls one task; its result is dumped at once, as it was when returned.
   -1: it raised, or could not be loaded or dumped. */
static int
call(struct codec *codec, struct chunk *chunk, struct reader *reader,
     struct parcel *results, int last)
{
    if (chunk->header.flags & FLAG_EACH && codec_is_failure(reader))
        return pass_on(codec, results, codec_load(codec, reader));
    PyObject *result = load_and_apply(codec, chunk, reader);
    if (result == NULL)
        return -1;
    chunk->doing = "pickling the result of task";
    int status = 0;
    if (!(chunk->header.flags & FLAG_NO_RESULTS))
        status = codec_dump(codec, results, result, !last);
    else if (chunk->header.flags & FLAG_EACH)
        status = codec_dump(codec, results, Py_None, 0);
    Py_DECREF(result);
    return status;
}

/* Adds what is told of a chunk that cannot run, or of a task that raised.  It
   needs no dill, whose code a Ctrl-C could interrupt. */
static int
add_account(struct worker *worker, struct parcel *results, PyObject *account,
            int as_result)
{
    struct codec *codec = account ? kit_codec(worker->kit, 0) : NULL;
    if (codec == NULL)
        return -1;
    return as_result ? codec_dump_failure(codec, results, account)
                     : codec_dump(codec, results, account, 0);
}

/* A task raised: makes the account and adds it. */
static int
add_failure(struct crew *crew, struct worker *worker, struct chunk *chunk,
            struct parcel *results, int as_result)
{
    kit_end_if_forked(worker->kit);
    PyObject *account =
        errors_account_undisturbed(crew->known_as, chunk->doing);
    int status = add_account(worker, results, account, as_result);
    Py_XDECREF(account);
    return status;
}

/* Does the failure of a task stand among the results?  Not where there are
   fewer tasks than the header says: it may say anything. */
static int
is_each(const struct chunk *chunk, const struct reader *reader, uint64_t done)
{
    return chunk->header.flags & FLAG_EACH
           && (done == chunk->header.count || !codec_is_at_end(reader));
}

/* For the guard.  What does not fit there is to be answered for soon, and so
   is a large result of the chunk's last task, which need not be there. */
static void
note_done(struct crew *crew, struct worker *worker, struct chunk *chunk,
          const struct parcel *results, uint64_t done)
{
    struct transport_part parts[LEDGER_PARTS];
    if (crew->ledger == NULL)
        return;
    kit_end_if_forked(worker->kit);
    size_t count = parcel_part_count(results);
    int is_last = done == chunk->header.count;
    if (count > LEDGER_PARTS
        || (is_last && parcel_size(results) > LARGE_RESULTS)) {
        ledger_rest(crew->ledger);
        chunk->is_back = 1;
        return;
    }
    parcel_parts(results, parts);
    chunk->is_back |= !ledger_note(crew->ledger, done, parts, count);
}

/* Runs the chunk's tasks.  -1: one raised, and the exception is set.
   *fatal: the worker itself cannot go on. */
static int
run_tasks(struct crew *crew, struct worker *worker, struct chunk *chunk,
          struct parcel *results, uint64_t *done, int *fatal)
{
    const struct header *header = &chunk->header;
    struct reader reader = {.parcel = chunk->parcel};
    struct codec *codec = kit_codec(worker->kit, header->flags);
    int status = codec == NULL ? -1 : 0;
    *done = 0;
    if (crew->ledger != NULL)
        ledger_begin(crew->ledger, chunk->number);
    while (status == 0 && *done < header->count && !chunk->is_back
           && !worker->ended && header->first + *done < chunk->end) {
        if (crew->ledger != NULL)
            ledger_run(crew->ledger, crew_clock());
        status =
            call(codec, chunk, &reader, results, *done + 1 == header->count);
        if (status < 0 && is_each(chunk, &reader, *done + 1))
            *fatal = status = add_failure(crew, worker, chunk, results, 1);
        *done += status == 0;
        if (status < 0) /* it runs until its account is made: fill_answer */
            break;
        note_done(crew, worker, chunk, results, *done);
        if (*done == header->count)
            break;
        status = look_around(crew, worker, chunk);
        *fatal = status < 0;
    }
    codec_end(&reader);
    return status;
}

/* The job's tasks above the failed one do not matter any more, and the
   master's word for it (VERB_ABANDON) may be far behind. */
static void
drop_above(struct worker *worker, const struct header *header, uint64_t failed)
{
    worker->failed_job = header->job;
    worker->failed_end = failed + 1;
    drop_from(worker, header->job, failed + 1);
}

/* The account of a failure is the parcel's last item. */
static int
fill_answer(struct crew *crew, struct worker *worker, struct chunk *chunk,
            struct parcel *results, struct header *answer)
{
    PyObject *account =
        chunk->account ? chunk->account : chunk->callable.account;
    int fatal = 0;
    if (is_dropped(worker, chunk) || chunk->is_back)
        return 0;
    if (account != NULL) {
        answer->flags |= FLAG_FAILED | chunk->broken;
        return add_account(worker, results, account, 0);
    }
    if (run_tasks(crew, worker, chunk, results, &answer->count, &fatal) == 0)
        return 0;
    kit_end_if_forked(worker->kit);
    if (fatal)
        return -1;
    answer->flags |= FLAG_FAILED;
    drop_above(worker, &chunk->header, answer->first + answer->count);
    int status = add_failure(crew, worker, chunk, results, 0);
    if (status == 0 && crew->ledger != NULL)
        ledger_rest(crew->ledger);
    return status;
}

/* Too late for that of the master's: Ctrl-C is the user's again. */
static int
expect_no_more(struct worker *worker)
{
    struct sigaction users;
    if (worker->late_until == 0)
        return 0;
    worker->late_until = 0;
    if (sigint_begin_own(&users) < 0)
        return -1;
    int status = sigint_expect(0);
    sigint_heed(&users);
    return status;
}

/* Unless the master has taken it back meanwhile. */
static void
claim(const struct crew *crew, struct chunk *chunk)
{
    _Atomic uint64_t *word = NULL;
    if (chunk->header.flags & FLAG_CLAIM)
        word = crew->transport->word(crew->mailbox, 0);
    if (word != NULL)
        chunk->is_back |= !claim_begin(word, (uint32_t)chunk->header.elapsed);
}

/* Runs the first chunk of the queue and answers for it. */
static int
work(struct crew *crew, struct worker *worker)
{
    struct chunk *chunk = worker->first;
    struct parcel *results = parcel_new();
    int status = -1;
    if (results == NULL)
        return -1;
    struct header answer = {.job = chunk->header.job,
                            .first = chunk->header.first,
                            .callable = chunk->header.callable};
    if (!(chunk->header.flags & FLAG_EACH))
        answer.flags = chunk->header.flags & FLAG_NO_RESULTS;
    chunk->began = crew_clock();
    if (chunk->began > worker->late_until && expect_no_more(worker) < 0)
        goto done;
    claim(crew, chunk);
    if (fill_answer(crew, worker, chunk, results, &answer) < 0)
        goto done;
    int64_t ended = crew_clock();
    kit_end_if_forked(worker->kit);
    answer.elapsed = (uint64_t)(chunk->took + ended - chunk->began);
    if (chunk->is_back && answer.count < chunk->header.count
        && !(answer.flags & FLAG_FAILED))
        answer.flags |= FLAG_BACK;
    if (poll(crew, worker, ended) < 0)
        goto done;
    if (is_late(chunk, ended))
        give_back_others(worker);
    if (is_dropped(worker, chunk)) { /* gigabytes that nobody waits for */
        answer.count = 0;
        answer.flags = FLAG_NO_RESULTS;
        parcel_free(results);
        results = NULL;
    }
    worker->first = chunk->next;
    if (worker->first == NULL)
        worker->last = &worker->first;
    chunk_free(chunk);
    status = crew_send(crew, 0, VERB_ANSWER, &answer, results);
done:
    parcel_free(results);
    return status;
}

static int
is_ready(const struct worker *worker, const struct chunk *chunk)
{
    return chunk != NULL
           && (chunk->callable.value != NULL || chunk->callable.account != NULL
               || chunk->account != NULL || chunk->is_back
               || is_dropped(worker, chunk));
}

/* A large answer moves only while this rank makes progress on it, which user
   code does not: it has to leave before the next task runs.  Not before a
   chunk that is dropped: the master may be gone to do something else. */
static int
step(struct crew *crew, struct worker *worker)
{
    if (!is_ready(worker, worker->first))
        return receive_patiently(crew, worker) < 0 ? -1 : 0;
    int pending;
    while ((pending = crew_flush(crew, SIGNAL_SECONDS)) > 0
           && !is_dropped(worker, worker->first)) {
        if (sigint_look() < 0 || poll(crew, worker, crew_clock()) < 0)
            return -1;
    }
    return pending < 0 || poll(crew, worker, crew_clock()) < 0
               ? -1
               : work(crew, worker);
}

static int
say_farewell(struct crew *crew, struct worker *worker)
{
    struct transport_error error = {0};
    int status;
    forget_chunks(worker);
    kit_forget(worker->kit, 0);
    Py_BEGIN_ALLOW_THREADS
    status = crew->transport->close(crew->mailbox, &error);
    Py_END_ALLOW_THREADS
    return status == TRANSPORT_OK ? 0 : errors_raise_transport(&error);
}

static int
say_hello(struct crew *crew)
{
    struct sigaction users;
    if (sigint_begin_own(&users) < 0)
        return -1;
    int status = hello_say(crew);
    sigint_heed(&users);
    return status;
}

int
worker_serve(struct crew *crew, int one_wait)
{
    if (crew->worker == NULL)
        crew->worker = worker_new();
    struct worker *worker = crew->worker;
    if (worker == NULL || say_hello(crew) < 0)
        return -1;
    while (!worker->ended) {
        if (one_wait && worker->releases > 0 && worker->first == NULL) {
            worker->releases--;
            return crew_flush(crew, RELEASE_SECONDS) < 0
                       ? -1
                       : expect_no_more(worker);
        }
        if (step(crew, worker) < 0)
            return -1;
    }
    return crew->transport->closed(crew->mailbox) ? 0
                                                  : say_farewell(crew, worker);
}
