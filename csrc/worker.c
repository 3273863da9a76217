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

#include <string.h>

#include "claim.h"
#include "errors.h"
#include "forked.h"
#include "hello.h"
#include "ledger.h"
#include "sigint.h"

#define QUICK_SECONDS 50e-6     /* a wait not worth two system calls */
#define RELEASE_SECONDS 0.5     /* for answers to leave before a wait ends */
#define LARGE_RESULTS ((size_t)1 << 20) /* bytes */
#define ITEMS 8                 /* arguments of a call without a tuple */
#define POLL_NANOSECONDS 200000 /* between looks at the mailbox in a chunk */
#define LATE_SECONDS 1.0        /* from the master's Ctrl-C to the same */

/* What was made of a parcel that came: an object, or the account of why it
   could not be made. */
struct outcome {
    PyObject *value;
    PyObject *account;
};

struct slot {
    uint64_t callable;          /* 0: empty */
    uint64_t pool;              /* that used it last */
    uint64_t job;               /* that it was sent for, or loaded in */
    struct parcel *parcel;      /* until it is loaded, for a chunk */
    uint32_t flags;
    struct outcome outcome;
};

/* A pool whose initializer has run here. */
struct initialized {
    uint64_t pool;
    uint64_t job;               /* that it ran for */
    PyObject *account;          /* why it failed, or NULL */
    struct parcel *parcel;      /* if Ctrl-C was why: to run it again */
    uint32_t flags;
    struct initialized *next;
};

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
    struct slot slots[CALLABLE_SLOTS];
    struct initialized *initialized;
    struct chunk *first, **last;
    uint64_t messages;          /* so many came, so far */
    uint64_t unbound_job;       /* job whose names could not be bound ... */
    PyObject *unbound;          /* ... and why */
    struct codec *codecs[2]; /* without and with dill; made when needed */
    uint64_t failed_job; /* the last one that failed here: its tasks ... */
    uint64_t failed_end; /* ... from this one on are dropped */
    int64_t late_until; /* Ctrl-C here is the master's; 0: it is not */
    int64_t polled; /* when messages were looked for last */
    int64_t looked; /* when that was thought of, by the coarse clock */
    struct forked here;
    int releases; /* waits that the master ended */
    int ended; /* the master said farewell */
};

/* ---- parts of the state ----------------------------------------------- */

static void
outcome_clear(struct outcome *outcome)
{
    Py_CLEAR(outcome->value);
    Py_CLEAR(outcome->account);
}

static struct outcome
outcome_keep(const struct outcome *outcome)
{
    return (struct outcome){Py_XNewRef(outcome->value),
                            Py_XNewRef(outcome->account)};
}

static void
chunk_free(struct chunk *chunk)
{
    parcel_free(chunk->parcel);
    outcome_clear(&chunk->callable);
    Py_XDECREF(chunk->account);
    PyMem_RawFree(chunk);
}

/* pool 0: of every pool. */
static void
forget_initialized(struct worker *worker, uint64_t pool)
{
    struct initialized **link = &worker->initialized;
    while (*link != NULL) {
        struct initialized *one = *link;
        if (pool != 0 && one->pool != pool) {
            link = &one->next;
            continue;
        }
        *link = one->next;
        Py_XDECREF(one->account);
        parcel_free(one->parcel);
        PyMem_RawFree(one);
    }
}

static void
slot_clear(struct slot *slot)
{
    slot->callable = 0;
    parcel_free(slot->parcel);
    slot->parcel = NULL;
    outcome_clear(&slot->outcome);
}

static void
forget_callables(struct worker *worker, uint64_t pool)
{
    for (int i = 0; i < CALLABLE_SLOTS; i++) {
        if (pool != 0 && worker->slots[i].pool != pool)
            continue;
        slot_clear(&worker->slots[i]);
    }
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
worker_of(struct crew *crew)
{
    if (crew->worker == NULL) {
        crew->worker = PyMem_RawCalloc(1, sizeof *crew->worker);
        if (crew->worker == NULL)
            return PyErr_NoMemory(), NULL;
        crew->worker->last = &crew->worker->first;
        crew->worker->here = forked_here();
    }
    return crew->worker;
}

/* Ctrl-C is ignored in what is the worker's own, until sigint_heed.  What came
   before it ended nothing. */
static int
begin_own(struct sigaction *users)
{
    *users = sigint_ignore();
    if (sigint_look() == 0)
        return 0;
    sigint_heed(users);
    return -1;
}

static struct codec *
codec_for(struct worker *worker, uint32_t flags)
{
    struct codec **codec = &worker->codecs[(flags & FLAG_DILL) != 0];
    struct sigaction users;
    if (*codec == NULL && begin_own(&users) == 0) {
        *codec = codec_new((flags & FLAG_DILL) != 0, NULL);
        sigint_heed(&users);
    }
    return *codec;
}

/* A child that a task forked, and that came back out of the task, ends here:
   MPI is its parent's, and so is the answer. */
static void
end_if_forked(const struct worker *worker)
{
    if (!forked_since(&worker->here))
        return;
    if (!PyErr_Occurred())
        PyErr_SetNone(PyExc_SystemExit);
    PyErr_PrintEx(0); /* does not return from a SystemExit */
    Py_Exit(1);
}

/* The only item of a parcel; NULL where that could not be kept. */
static PyObject *
load_one(struct worker *worker, const struct parcel *parcel, uint32_t flags)
{
    struct reader reader = {.parcel = parcel};
    struct codec *codec = codec_for(worker, flags);
    if (codec == NULL)
        return NULL;
    if (parcel == NULL)
        return PyErr_NoMemory();
    PyObject *object = codec_load(codec, &reader);
    codec_end(&reader);
    end_if_forked(worker);
    return object;
}

/* errors_account, without Ctrl-C: it imports modules, which would be left half
   done.  Another signal's exception that comes yet takes the place of the one
   that is set. */
static PyObject *
make_account(const struct crew *crew, const char *what)
{
    struct sigaction users = sigint_ignore();
    PyObject *raised = PyErr_GetRaisedException();
    if (sigint_look() == 0)
        PyErr_SetRaisedException(raised);
    else
        Py_DECREF(raised);
    PyObject *account = errors_account(crew->known_as, what);
    sigint_heed(&users);
    return account;
}

/* ---- messages --------------------------------------------------------- */

static int
load_callable(struct crew *crew, struct worker *worker, struct slot *slot)
{
    if (slot->outcome.value != NULL || slot->outcome.account != NULL)
        return 0;
    slot->outcome.value = load_one(worker, slot->parcel, slot->flags);
    parcel_free(slot->parcel);
    slot->parcel = NULL;
    if (slot->outcome.value == NULL)
        slot->outcome.account =
            make_account(crew, "unpickling the callable of task");
    return PyErr_Occurred() ? -1 : 0;
}

/* Gives the callable to chunks that asked for it (VERB_NEED). */
static int
supply_chunks(struct crew *crew, struct worker *worker, struct slot *slot)
{
    for (struct chunk *chunk = worker->first; chunk; chunk = chunk->next) {
        if (chunk->header.callable != slot->callable || chunk->account
            || chunk->callable.value || chunk->callable.account)
            continue;
        if (load_callable(crew, worker, slot) < 0)
            return -1;
        chunk->callable = outcome_keep(&slot->outcome);
    }
    return 0;
}

/* Takes over the letter's parcel. */
static int
hold(struct crew *crew, struct worker *worker, struct letter *letter)
{
    struct slot *slot = &worker->slots[letter->header.slot % CALLABLE_SLOTS];
    slot_clear(slot);
    slot->callable = letter->header.callable;
    slot->pool = letter->header.pool;
    slot->job = letter->header.job;
    slot->flags = letter->header.flags;
    slot->parcel = letter->parcel;
    letter->parcel = NULL;
    return supply_chunks(crew, worker, slot);
}

static int
bind(struct crew *crew, struct worker *worker, const struct letter *letter)
{
    PyObject *account = NULL;
    PyObject *bindings =
        load_one(worker, letter->parcel, letter->header.flags);
    if (bindings == NULL || codec_bind(bindings) < 0)
        account = make_account(crew, "binding names for task");
    Py_XDECREF(bindings);
    if (PyErr_Occurred())
        return -1;
    if (account == NULL)
        return 0;
    Py_XSETREF(worker->unbound, account);
    worker->unbound_job = letter->header.job;
    return crew_send(crew, 0, VERB_UNBOUND, &letter->header, NULL);
}

static int
call_initializer(struct worker *worker, const struct initialized *one)
{
    PyObject *function, *arguments, *done = NULL;
    PyObject *pair = load_one(worker, one->parcel, one->flags);
    if (pair != NULL
        && PyArg_ParseTuple(pair, "OO!", &function, &PyTuple_Type, &arguments))
        done = PyObject_CallObject(function, arguments);
    end_if_forked(worker);
    Py_XDECREF(pair);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Keeps the parcel where Ctrl-C ended it: the next job tries again. */
static int
run_initializer(struct crew *crew, struct worker *worker,
                struct initialized *one, uint64_t job)
{
    int interrupted = 0;
    one->job = job;
    Py_CLEAR(one->account);
    if (call_initializer(worker, one) < 0) {
        interrupted = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
        one->account = make_account(crew, "the initializer, before task");
    }
    if (!interrupted) {
        parcel_free(one->parcel);
        one->parcel = NULL;
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* Takes over the letter's parcel. */
static int
initialize(struct crew *crew, struct worker *worker, struct letter *letter)
{
    struct initialized *one = PyMem_RawCalloc(1, sizeof *one);
    if (one == NULL)
        return PyErr_NoMemory(), -1;
    one->pool = letter->header.pool;
    one->flags = letter->header.flags;
    one->parcel = letter->parcel;
    letter->parcel = NULL;
    one->next = worker->initialized;
    worker->initialized = one;
    return run_initializer(crew, worker, one, letter->header.job);
}

static struct initialized *
initialized_of(const struct worker *worker, uint64_t pool)
{
    struct initialized *one = worker->initialized;
    while (one != NULL && one->pool != pool)
        one = one->next;
    return one;
}

/* Why the chunk cannot run: an account, borrowed; NULL: it can. */
static PyObject *
find_obstacle(const struct worker *worker, struct chunk *chunk)
{
    const struct header *header = &chunk->header;
    const struct initialized *one = initialized_of(worker, header->pool);
    if (one != NULL && one->account != NULL) {
        chunk->broken = one->parcel == NULL ? FLAG_BROKEN : 0;
        return one->account;
    }
    return worker->unbound_job == header->job ? worker->unbound : NULL;
}

/* A callable that could not be loaded stays so for one job: what was in the
   way (Ctrl-C, a full memory) may be gone by the next. */
static int
is_held(const struct slot *slot, const struct header *header)
{
    return slot->callable == header->callable
           && (slot->outcome.value != NULL || slot->parcel != NULL
               || slot->job == header->job);
}

/* Finds what the chunk is to be run with, or why it cannot be. */
static int
equip(struct crew *crew, struct worker *worker, struct chunk *chunk)
{
    const struct header *header = &chunk->header;
    struct slot *slot = &worker->slots[header->slot % CALLABLE_SLOTS];
    struct initialized *one = initialized_of(worker, header->pool);
    if (one != NULL && one->parcel != NULL && one->job != header->job
        && run_initializer(crew, worker, one, header->job) < 0)
        return -1;
    chunk->account = Py_XNewRef(find_obstacle(worker, chunk));
    if (chunk->account == NULL && chunk->parcel == NULL) {
        PyErr_NoMemory();
        if ((chunk->account = make_account(crew, "receiving task")) == NULL)
            return -1;
    }
    if (!is_held(slot, header))
        return crew_send(crew, 0, VERB_NEED, header, NULL);
    slot->pool = header->pool;
    slot->job = header->job;
    if (chunk->account == NULL && load_callable(crew, worker, slot) < 0)
        return -1;
    chunk->callable = outcome_keep(&slot->outcome);
    return 0;
}

/* ezmpi._shared keeps what is shared; what cannot be made here is raised where
   it is used. */
static int
keep_shared(const char *what, PyObject *key, PyObject *object, int failed)
{
    PyObject *module = PyImport_ImportModule("ezmpi._shared");
    PyObject *done = NULL;
    if (module != NULL)
        done = PyObject_CallMethod(module, what, "(OOi)", key, object, failed);
    Py_XDECREF(module);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* What was shared; or, where others have died of that, an exception which says
   so.  NULL: exception set. */
static PyObject *
load_shared(const struct crew *crew, struct codec *codec,
            struct reader *reader, const struct header *header)
{
    if (!(header->flags & FLAG_FAILED))
        return codec_load(codec, reader);
    PyObject *death = errors_new_deadly(crew->known_as, header->ended);
    if (death != NULL)
        PyErr_SetRaisedException(death);
    return NULL;
}

static int
share(const struct crew *crew, struct worker *worker,
      const struct letter *letter, const char *what)
{
    struct codec *codec = codec_for(worker, letter->header.flags);
    struct reader reader = {.parcel = letter->parcel};
    if (codec == NULL || letter->parcel == NULL)
        return codec == NULL ? -1 : 0;
    PyObject *key = codec_load(codec, &reader);
    PyObject *object =
        key ? load_shared(crew, codec, &reader, &letter->header) : NULL;
    int status, failed = object == NULL;
    codec_end(&reader);
    if (key == NULL)
        return -1;
    if (failed)
        object = PyErr_GetRaisedException();
    end_if_forked(worker);
    status = keep_shared(what, key, object, failed);
    Py_DECREF(object);
    Py_DECREF(key);
    return status;
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
        return bind(crew, worker, letter);
    case VERB_ABANDON:
        drop_from(worker, letter->header.job, letter->header.first);
        return 0;
    case VERB_FORGET:
        forget_initialized(worker, letter->header.pool);
        forget_callables(worker, letter->header.pool);
        return 0;
    case VERB_SHARE:
        return share(crew, worker, letter, "hold");
    case VERB_UNSHARE:
        return share(crew, worker, letter, "drop");
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
        return hold(crew, worker, letter);
    case VERB_INITIALIZE:
        return initialize(crew, worker, letter);
    }
    /* After VERB_ABANDON no Ctrl-C that ended the job may be pending: it must
       not end a task of the next one. */
    if (begin_own(&users) < 0)
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
    end_if_forked(worker);
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
    end_if_forked(worker);
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
    struct codec *codec = account ? codec_for(worker, 0) : NULL;
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
    end_if_forked(worker);
    PyObject *account = make_account(crew, chunk->doing);
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
    end_if_forked(worker);
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
    struct codec *codec = codec_for(worker, header->flags);
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
    end_if_forked(worker);
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
    if (begin_own(&users) < 0)
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
    end_if_forked(worker);
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
    forget_initialized(worker, 0);
    forget_callables(worker, 0);
    Py_BEGIN_ALLOW_THREADS
    status = crew->transport->close(crew->mailbox, &error);
    Py_END_ALLOW_THREADS
    return status == TRANSPORT_OK ? 0 : errors_raise_transport(&error);
}

static int
say_hello(struct crew *crew)
{
    struct sigaction users;
    if (begin_own(&users) < 0)
        return -1;
    int status = hello_say(crew);
    sigint_heed(&users);
    return status;
}

int
worker_serve(struct crew *crew, int one_wait)
{
    struct worker *worker = worker_of(crew);
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
