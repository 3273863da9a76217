/* guard.c -- passes on, and forks.

   Runs in the worker's rank, but for what stands under "in the child".  What a
   later child needs to hear, too, is in the journal; what the master is owed
   for one that has died the debts know.

   Ctrl-C and a queue's signals need not be passed on: launchers send them to
   the rank's process group, and the child is in it.

   Must not know what is in a parcel. */

#define PY_SSIZE_T_CLEAN
#include "guard.h"

#include <unistd.h>

#include "debts.h"
#include "errors.h"
#include "hello.h"
#include "journal.h"
#include "ledger.h"
#include "orphans.h"
#include "sigint.h"
#include "worker.h"

#define CHILD_CAPSULE "ezmpi crew of a child"
#define CHILD 1                 /* its rank, towards the guard */
#define BUSY_SECONDS 1e-3       /* between looks for the master's messages */
#define IDLE_SECONDS 0.05       /* between looks whether the child lives */
#define ENDING_SECONDS 5.0      /* for the last answers to leave */
#define LEAVING_SECONDS 4.0     /* for the child; the master waits for 5 */
#define REAP_SECONDS 1.0        /* between looks for programs that ended */
#define FORK_TRIES 50           /* where the system has no room for it ... */
#define FORK_PAUSE 0.1          /* ... for so long, each */

struct guard {
    struct crew *crew;          /* to the master */
    const struct transport *local;
    struct crew *child;         /* NULL: none */
    int32_t handle;             /* of its mailbox */
    int forks;                  /* children so far */
    int64_t reaped;             /* when orphans were looked for last */
    struct orphans *orphans;    /* of those */
    struct ledger *ledger;
    struct journal journal;
    struct debts *debts;
    int releases;               /* waits that the master ended */
    int ended;                  /* it said farewell */
    int is_late;                /* the child was killed for it */
    struct sigaction users;     /* what the child does at SIGINT */
};

/* ---- in the child ----------------------------------------------------- */

/* What a worker does.  Does not return. */
static void
be_child(struct guard *guard)
{
    struct crew *crew = crew_open(guard->local, guard->handle);
    PyObject *module = NULL, *capsule = NULL;
    sigint_heed(&guard->users);
    if (crew != NULL) {
        crew->ledger = guard->ledger;
        crew->known_as = guard->crew->rank;
        capsule = PyCapsule_New(crew, CHILD_CAPSULE, NULL);
    }
    if (capsule != NULL)
        module = PyImport_ImportModule("ezmpi._forks");
    if (module != NULL)
        PyObject_CallMethod(module, "run_child", "Oii", capsule,
                            (int)guard->handle, guard->forks);
    PyErr_WriteUnraisable(module);
    _exit(1);
}

/* What ezmpi._forks.run_child calls. */
int
guard_run_child(PyObject *capsule)
{
    struct crew *crew = PyCapsule_GetPointer(capsule, CHILD_CAPSULE);
    return crew == NULL ? -1 : worker_serve(crew, 0);
}

/* ---- in the worker's rank: the child's life --------------------------- */

/* 1: it is there; 0: not now, for the system has no room. */
static int
try_fork(struct guard *guard, struct transport_error *error)
{
    int rank = 0;
    PyOS_BeforeFork();
    int status = guard->local->fork(1, &guard->handle, &rank, error);
    if (rank == 0)
        PyOS_AfterFork_Parent();
    else
        PyOS_AfterFork_Child();
    if (rank > 0)
        be_child(guard);
    return status == TRANSPORT_OK;
}

/* After a child that took all memory it may be short for a while. */
static int
fork_in_time(struct guard *guard)
{
    struct transport_error error = {0};
    for (int tries = 1; !try_fork(guard, &error); tries++) {
        if (tries == FORK_TRIES)
            return errors_raise_transport(&error);
        Py_BEGIN_ALLOW_THREADS
        usleep((useconds_t)(1e6 * FORK_PAUSE));
        Py_END_ALLOW_THREADS
    }
    return 0;
}

static int
open_child(struct guard *guard)
{
    guard->forks++;
    debts_begin(guard->debts);
    ledger_clear(guard->ledger);
    if (fork_in_time(guard) < 0)
        return -1;
    orphans_spare(guard->orphans);
    guard->child = crew_open(guard->local, guard->handle);
    if (guard->child == NULL) {
        guard->local->part(guard->handle, 0);
        return -1;
    }
    crew_take_helm(guard->child);
    return 0;
}

/* ---- in the worker's rank: passing on --------------------------------- */

static int
heed_child(struct guard *guard, const struct letter *letter)
{
    if (letter->verb == VERB_HELLO)     /* the guard's own is enough */
        return 0;
    if (letter->verb == VERB_ANSWER)
        debts_settle(guard->debts, &letter->header);
    return crew_send(guard->crew, 0, letter->verb, &letter->header,
                     letter->parcel);
}

/* ---- its death -------------------------------------------------------- */

/* The next one is forked when there are tasks for it.  The exception that is
   set is the transport's, of the child's mailbox; or the guard's own memory is
   short, and stays so. */
static int
bury_child(struct guard *guard)
{
    struct death death = {.is_late = guard->is_late};
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError))
        return -1;
    PyErr_Clear();
    if (!guard->is_late)
        guard->local->fate(guard->handle, CHILD, &death.fate);
    guard->local->part(guard->handle, 0);
    crew_release(guard->child);
    guard->child = NULL;
    orphans_end(guard->orphans);
    guard->is_late = 0;
    journal_unsay(&guard->journal);
    return debts_pay(guard->debts, &death);
}

static int
send_down(struct guard *guard, int verb, const struct header *header,
          struct parcel *parcel)
{
    if (crew_send(guard->child, CHILD, verb, header, parcel) < 0)
        return bury_child(guard);
    return 0;
}

/* What there is to be said; the child may die of it. */
static int
say_journal(struct guard *guard, uint64_t pool)
{
    struct note *note = journal_find(guard->journal.first, pool);
    int status = 0;
    while (note != NULL && guard->child != NULL && status == 0) {
        note->is_said = 1;
        status = send_down(guard, note->verb, &note->header, note->parcel);
        note = journal_find(note->next, pool);
    }
    return status;
}

/* Where there is no child it hears of it from the journal; or it need not
   know. */
static int
pass_down(struct guard *guard, const struct letter *letter)
{
    int is_tasks = letter->verb == VERB_TASKS;
    if (guard->child == NULL && !is_tasks)
        return 0;
    if (guard->child == NULL && open_child(guard) < 0)
        return -1;
    if (is_tasks
        && (debts_add(guard->debts, &letter->header) < 0
            || say_journal(guard, letter->header.pool) < 0))
        return -1;
    if (guard->child == NULL) /* it has been answered for */
        return 0;
    return send_down(guard, letter->verb, &letter->header, letter->parcel);
}

static int
heed_master(struct guard *guard, const struct letter *letter)
{
    switch (letter->verb) {
    case VERB_FAREWELL:
        guard->ended = 1;
        return 0;
    case VERB_RELEASE:
        guard->releases++;
        return 0;
    case VERB_TASKS:
        break;
    default:
        if (journal_write(&guard->journal, letter, guard->child != NULL) < 0)
            return -1;
    }
    return pass_down(guard, letter);
}

/* 1: a message came, and was passed on. */
static int
listen_to_master(struct guard *guard, double seconds)
{
    struct letter letter;
    int came = crew_receive(guard->crew, seconds, &letter);
    if (came > 0 && heed_master(guard, &letter) < 0)
        came = -1;
    parcel_free(letter.parcel);
    return came;
}

static int
listen_to_child(struct guard *guard, double seconds)
{
    struct letter letter;
    int came = crew_receive(guard->child, seconds, &letter);
    if (came < 0)
        return bury_child(guard);
    if (came > 0 && heed_child(guard, &letter) < 0)
        came = -1;
    parcel_free(letter.parcel);
    return came;
}

/* Waits where the next message comes from, most likely. */
static int
step(struct guard *guard)
{
    int is_busy = debts_are_left(guard->debts);
    int64_t now = crew_coarse_clock();
    if (now - guard->reaped > (int64_t)(1e9 * REAP_SECONDS)) {
        guard->reaped = now;
        orphans_reap(guard->orphans);
    }
    if (is_busy && debts_run_late(guard->debts)) {
        guard->is_late = 1;
        return bury_child(guard);
    }
    int came = listen_to_master(guard, is_busy ? 0 : IDLE_SECONDS);
    if (came != 0 || guard->ended || guard->child == NULL)
        return came < 0 ? -1 : sigint_look();
    return listen_to_child(guard, is_busy ? BUSY_SECONDS : 0) < 0
               ? -1
               : sigint_look();
}

/* ---- in the worker's rank: its own life ------------------------------- */

struct guard *
guard_new(struct crew *crew, const struct transport *local)
{
    struct guard *guard = PyMem_RawCalloc(1, sizeof *guard);
    if (guard == NULL || (guard->ledger = ledger_new()) == NULL
        || (guard->debts = debts_new(crew, guard->ledger)) == NULL
        || (guard->orphans = orphans_new()) == NULL) {
        ledger_free(guard != NULL ? guard->ledger : NULL);
        PyMem_RawFree(guard);
        PyErr_NoMemory();
        return NULL;
    }
    guard->crew = crew;
    guard->local = local;
    return guard;
}

static int
end(struct guard *guard)
{
    struct transport_error error = {0};
    struct crew *crew = guard->crew;
    int status;
    Py_BEGIN_ALLOW_THREADS
    if (guard->child != NULL)
        guard->local->part(guard->handle, LEAVING_SECONDS);
    status = crew->transport->close(crew->mailbox, &error);
    Py_END_ALLOW_THREADS
    crew_release(guard->child);
    guard->child = NULL;
    if (debts_are_left(guard->debts)) /* of what it started, too */
        orphans_end(guard->orphans);
    return status == TRANSPORT_OK ? 0 : errors_raise_transport(&error);
}

static int
serve(struct guard *guard, int one_wait)
{
    if (hello_say(guard->crew) < 0
        || (guard->child == NULL && open_child(guard) < 0))
        return -1;
    while (!guard->ended) {
        if (one_wait && guard->releases > 0 && !debts_are_left(guard->debts)) {
            guard->releases--;
            return crew_flush(guard->crew, ENDING_SECONDS) < 0 ? -1 : 0;
        }
        if (step(guard) < 0)
            return -1;
    }
    return guard->crew->transport->closed(guard->crew->mailbox) ? 0
                                                                : end(guard);
}

int
guard_serve(struct guard *guard, int one_wait)
{
    guard->users = sigint_ignore();
    orphans_spare(guard->orphans); /* what the script has started since */
    int status = serve(guard, one_wait);
    sigint_heed(&guard->users);
    return status;
}
