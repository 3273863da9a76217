/* kit.c -- what a worker's tasks are run with.

   Runs where worker.c does: in the worker's rank or, with isolate=True, in its
   child.  Must not know what chunks wait, nor how they are run. */

#define PY_SSIZE_T_CLEAN
#include "kit.h"

#include "errors.h"
#include "forked.h"
#include "sigint.h"

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

struct kit {
    struct slot slots[CALLABLE_SLOTS];
    struct initialized *initialized;
    uint64_t unbound_job;       /* job whose names could not be bound ... */
    PyObject *unbound;          /* ... and why */
    struct codec *codecs[2];    /* without and with dill; made when needed */
    struct forked here;
};

void
outcome_clear(struct outcome *outcome)
{
    Py_CLEAR(outcome->value);
    Py_CLEAR(outcome->account);
}

struct kit *
kit_new(void)
{
    struct kit *kit = PyMem_RawCalloc(1, sizeof *kit);
    if (kit == NULL)
        return PyErr_NoMemory(), NULL;
    kit->here = forked_here();
    return kit;
}

/* ---- the user's code --------------------------------------------------- */

struct codec *
kit_codec(struct kit *kit, uint32_t flags)
{
    struct codec **codec = &kit->codecs[(flags & FLAG_DILL) != 0];
    struct sigaction users;
    if (*codec == NULL && sigint_begin_own(&users) == 0) {
        *codec = codec_new((flags & FLAG_DILL) != 0, NULL);
        sigint_heed(&users);
    }
    return *codec;
}

void
kit_end_if_forked(const struct kit *kit)
{
    if (!forked_since(&kit->here))
        return;
    if (!PyErr_Occurred())
        PyErr_SetNone(PyExc_SystemExit);
    PyErr_PrintEx(0); /* does not return from a SystemExit */
    Py_Exit(1);
}

/* The only item of a parcel; NULL where that could not be kept. */
static PyObject *
load_one(struct kit *kit, const struct parcel *parcel, uint32_t flags)
{
    struct reader reader = {.parcel = parcel};
    struct codec *codec = kit_codec(kit, flags);
    if (codec == NULL)
        return NULL;
    if (parcel == NULL)
        return PyErr_NoMemory();
    PyObject *object = codec_load(codec, &reader);
    codec_end(&reader);
    kit_end_if_forked(kit);
    return object;
}

/* ---- callables -------------------------------------------------------- */

static struct slot *
slot_of(struct kit *kit, const struct header *header)
{
    return &kit->slots[header->slot % CALLABLE_SLOTS];
}

static void
slot_clear(struct slot *slot)
{
    slot->callable = 0;
    parcel_free(slot->parcel);
    slot->parcel = NULL;
    outcome_clear(&slot->outcome);
}

void
kit_hold(struct kit *kit, struct letter *letter)
{
    struct slot *slot = slot_of(kit, &letter->header);
    slot_clear(slot);
    slot->callable = letter->header.callable;
    slot->pool = letter->header.pool;
    slot->job = letter->header.job;
    slot->flags = letter->header.flags;
    slot->parcel = letter->parcel;
    letter->parcel = NULL;
}

/* A callable that could not be loaded stays so for one job: what was in the
   way (Ctrl-C, a full memory) may be gone by the next. */
int
kit_holds(struct kit *kit, const struct header *header)
{
    const struct slot *slot = slot_of(kit, header);
    return slot->callable == header->callable
           && (slot->outcome.value != NULL || slot->parcel != NULL
               || slot->job == header->job);
}

/* -1: what came meanwhile is set, and not what the callable raised. */
static int
load_callable(const struct crew *crew, struct kit *kit, struct slot *slot)
{
    slot->outcome.value = load_one(kit, slot->parcel, slot->flags);
    parcel_free(slot->parcel);
    slot->parcel = NULL;
    if (slot->outcome.value == NULL)
        slot->outcome.account = errors_account_undisturbed(
            crew->known_as, "unpickling the callable of task");
    return PyErr_Occurred() ? -1 : 0;
}

int
kit_load(const struct crew *crew, struct kit *kit, const struct header *header,
         struct outcome *callable)
{
    struct slot *slot = slot_of(kit, header);
    slot->pool = header->pool;
    slot->job = header->job;
    if (slot->outcome.value == NULL && slot->outcome.account == NULL
        && load_callable(crew, kit, slot) < 0)
        return -1;
    callable->value = Py_XNewRef(slot->outcome.value);
    callable->account = Py_XNewRef(slot->outcome.account);
    return 0;
}

/* ---- initializers and names ------------------------------------------- */

static int
call_initializer(struct kit *kit, const struct initialized *one)
{
    PyObject *function, *arguments, *done = NULL;
    PyObject *pair = load_one(kit, one->parcel, one->flags);
    if (pair != NULL
        && PyArg_ParseTuple(pair, "OO!", &function, &PyTuple_Type, &arguments))
        done = PyObject_CallObject(function, arguments);
    kit_end_if_forked(kit);
    Py_XDECREF(pair);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* Keeps the parcel where Ctrl-C ended it: the next job tries again. */
static int
run_initializer(const struct crew *crew, struct kit *kit,
                struct initialized *one, uint64_t job)
{
    int interrupted = 0;
    one->job = job;
    Py_CLEAR(one->account);
    if (call_initializer(kit, one) < 0) {
        interrupted = PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
        one->account = errors_account_undisturbed(
            crew->known_as, "the initializer, before task");
    }
    if (!interrupted) {
        parcel_free(one->parcel);
        one->parcel = NULL;
    }
    return PyErr_Occurred() ? -1 : 0;
}

int
kit_initialize(const struct crew *crew, struct kit *kit, struct letter *letter)
{
    struct initialized *one = PyMem_RawCalloc(1, sizeof *one);
    if (one == NULL)
        return PyErr_NoMemory(), -1;
    one->pool = letter->header.pool;
    one->flags = letter->header.flags;
    one->parcel = letter->parcel;
    letter->parcel = NULL;
    one->next = kit->initialized;
    kit->initialized = one;
    return run_initializer(crew, kit, one, letter->header.job);
}

int
kit_bind(struct crew *crew, struct kit *kit, const struct letter *letter)
{
    PyObject *account = NULL;
    PyObject *bindings = load_one(kit, letter->parcel, letter->header.flags);
    if (bindings == NULL || codec_bind(bindings) < 0)
        account = errors_account_undisturbed(crew->known_as,
                                             "binding names for task");
    Py_XDECREF(bindings);
    if (PyErr_Occurred())
        return -1;
    if (account == NULL)
        return 0;
    Py_XSETREF(kit->unbound, account);
    kit->unbound_job = letter->header.job;
    return crew_send(crew, 0, VERB_UNBOUND, &letter->header, NULL);
}

static struct initialized *
initialized_of(const struct kit *kit, uint64_t pool)
{
    struct initialized *one = kit->initialized;
    while (one != NULL && one->pool != pool)
        one = one->next;
    return one;
}

int
kit_check(const struct crew *crew, struct kit *kit,
          const struct header *header, PyObject **account, uint32_t *flags)
{
    struct initialized *one = initialized_of(kit, header->pool);
    *flags = 0;
    if (one != NULL && one->parcel != NULL && one->job != header->job
        && run_initializer(crew, kit, one, header->job) < 0)
        return -1;
    if (one != NULL && one->account != NULL) {
        *flags = one->parcel == NULL ? FLAG_BROKEN : 0;
        *account = Py_NewRef(one->account);
    }
    else {
        *account =
            kit->unbound_job == header->job ? Py_XNewRef(kit->unbound) : NULL;
    }
    return 0;
}

/* ---- what is shared --------------------------------------------------- */

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

int
kit_share(const struct crew *crew, struct kit *kit,
          const struct letter *letter, const char *what)
{
    struct codec *codec = kit_codec(kit, letter->header.flags);
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
    kit_end_if_forked(kit);
    status = keep_shared(what, key, object, failed);
    Py_DECREF(object);
    Py_DECREF(key);
    return status;
}

/* ---- the end of a pool ------------------------------------------------ */

static void
forget_initialized(struct kit *kit, uint64_t pool)
{
    struct initialized **link = &kit->initialized;
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
forget_callables(struct kit *kit, uint64_t pool)
{
    for (int i = 0; i < CALLABLE_SLOTS; i++) {
        if (pool != 0 && kit->slots[i].pool != pool)
            continue;
        slot_clear(&kit->slots[i]);
    }
}

void
kit_forget(struct kit *kit, uint64_t pool)
{
    forget_initialized(kit, pool);
    forget_callables(kit, pool);
}
