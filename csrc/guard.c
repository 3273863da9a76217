/* guard.c -- passes on, and forks.

   Runs in the worker's rank, but for what stands under "in the child".  What a
   later child needs to hear, too, is in the journal; what the master is owed
   for one that has died the debts know.

   Ctrl-C and a queue's signals need not be passed on: launchers send them to
   the rank's process group, and the child is in it.  So the script's handlers
   run here, too, and are all that does of the user's.

   Must not know what is in a parcel. */

#define PY_SSIZE_T_CLEAN
#include "guard.h"

#include <signal.h>
#include <unistd.h>

#include "arena.h"
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
#define REAP_SECONDS 1.0        /* between looks for what has ended */
#define FORK_TRIES 50           /* where the system has no room for it ... */
#define FORK_PAUSE 0.1          /* ... for so long, each */

struct guard {
    struct crew *crew;          /* to the master */
    const struct transport *local;
    struct crew *child;         /* NULL: none */
    int32_t handle;             /* of its mailbox */
    int forks;                  /* children so far */
    uint64_t said;              /* messages to this one */
    int64_t reaped;             /* when these were looked for last: */
    struct orphans *orphans;    /* programs, ... */
    struct arena *arena;        /* ... memory; NULL: buffers are copied */
    struct ledger *ledger;
    struct journal journal;
    struct debts *debts;
    int releases;               /* waits that the master ended */
    int ended;                  /* it said farewell */
    struct sigaction users;     /* what the child does at SIGINT */
};

/* ---- in the child ----------------------------------------------------- */

/* What a worker does.  Does not return. */
static void
be_child(struct guard *guard)
{
    struct crew *crew = crew_open(guard->local, guard->handle);
    PyObject *module = NULL, *capsule = NULL;
    if (crew != NULL && arena_enter(guard->arena) < 0) {
        PyErr_NoMemory();
        crew = NULL;
    }
    if (crew != NULL) {
        crew->borrows = guard->arena;
        crew->ledger = guard->ledger;
        crew->known_as = guard->crew->rank;
        capsule = PyCapsule_New(crew, CHILD_CAPSULE, NULL);
    }
    if (capsule != NULL)
        PyCapsule_SetContext(capsule, &guard->users);
    if (capsule != NULL)
        module = PyImport_ImportModule("ezmpi._forks");
    if (module != NULL)
        PyObject_CallMethod(module, "run_child", "Oii", capsule,
                            (int)guard->handle, guard->forks);
    PyErr_WriteUnraisable(module);
    _exit(1);
}

/* What ezmpi._forks.run_child calls, behind all that no Ctrl-C may end. */
int
guard_serve_in_child(PyObject *capsule)
{
    struct crew *crew = PyCapsule_GetPointer(capsule, CHILD_CAPSULE);
    if (crew == NULL)
        return -1;
    sigint_heed(PyCapsule_GetContext(capsule));
    return worker_serve(crew, 0);
}

/* ---- in the worker's rank: the child's life --------------------------- */

/* 1: it is there; 0: not now, for the system has no room.  Comes back in the
   rank alone: the child goes on in be_child. */
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

/* What they hold each child would write again; the transport looks after
   those of C code. */
static void
flush_streams(void)
{
    static const char *const names[] = {"stdout", "stderr"};
    sigset_t signals;
    sigint_hold(&signals);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        PyObject *stream = PySys_GetObject(names[i]); /* borrowed */
        PyObject *done = stream == NULL || stream == Py_None
                             ? NULL
                             : PyObject_CallMethod(stream, "flush", NULL);
        if (done == NULL)
            PyErr_Clear(); /* it is closed, or nobody reads it */
        Py_XDECREF(done);
    }
    sigint_release(&signals);
}

static int
open_child(struct guard *guard)
{
    flush_streams();
    guard->forks++;
    guard->said = 0;
    ledger_clear(guard->ledger);
    if (fork_in_time(guard) < 0)
        return -1;
    orphans_spare(guard->orphans);
    guard->child = crew_open(guard->local, guard->handle);
    if (guard->child == NULL) {
        guard->local->part(guard->handle, 0);
        return -1;
    }
    guard->child->lends = guard->arena;
    crew_take_helm(guard->child);
    return 0;
}

/* The next one is forked when there are tasks for it. */
static int
bury_child(struct guard *guard, struct death *death)
{
    struct transport_fate last;
    Py_BEGIN_ALLOW_THREADS
    if (death->how == BY_ITSELF) /* else it may just end, and is killed */
        guard->local->fate(guard->handle, CHILD, &death->fate);
    last = death->fate;
    guard->local->part(guard->handle, 0);
    if (death->how != BY_ITSELF)
        guard->local->fate(guard->handle, CHILD, &last);
    orphans_end(guard->orphans);
    Py_END_ALLOW_THREADS
    crew_release(guard->child);
    guard->child = NULL;
    arena_reclaim(guard->arena, last.is_gone);
    int status = debts_pay(guard->debts, death);
    journal_unsay(&guard->journal);
    return status;
}

/* The exception that is set is the transport's, of the child's mailbox; or the
   guard's own memory is short, and stays so. */
static int
find_dead(struct guard *guard)
{
    struct death death = {.how = BY_ITSELF};
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError))
        return -1;
    PyErr_Clear();
    return bury_child(guard, &death);
}

/* ---- in the worker's rank: passing on --------------------------------- */

static int
send_down(struct guard *guard, int verb, const struct header *header,
          struct parcel *parcel)
{
    guard->said++;
    if (crew_send(guard->child, CHILD, verb, header, parcel) < 0)
        return find_dead(guard);
    return 0;
}

/* As header.ended has it. */
static uint64_t
end_of(const struct transport_fate *fate)
{
    int is_exit = fate->signal == 0 && fate->code >= 0;
    return (uint64_t)(is_exit ? 256 + fate->code : fate->signal);
}

/* Of a shared object that others have died of it hears that they did. */
static int
say(struct guard *guard, struct note *note)
{
    struct header header = note->header;
    note->number = guard->said + 1;
    if (note->verb == VERB_SHARE && journal_is_deadly(note)) {
        header.flags |= FLAG_FAILED;
        header.ended = end_of(&note->fate);
    }
    return send_down(guard, note->verb, &header, note->parcel);
}

/* What there is to be said; the child may die of it. */
static int
say_journal(struct guard *guard, uint64_t pool)
{
    struct note *note = journal_find(guard->journal.first, pool);
    int status = 0;
    while (note != NULL && guard->child != NULL && status == 0) {
        status = say(guard, note);
        note = journal_find(note->next, pool);
    }
    return status;
}

/* A chunk, behind all that is needed for it. */
static int
pass_tasks(struct guard *guard, const struct letter *letter)
{
    const struct header *header = &letter->header;
    if (journal_obstacle(&guard->journal, header) != NULL)
        return debts_refuse(guard->debts, header);
    if ((guard->child == NULL && open_child(guard) < 0)
        || debts_add(guard->debts, header) < 0
        || say_journal(guard, header->pool) < 0)
        return -1;
    if (guard->child == NULL) /* it has been answered for */
        return 0;
    debts_note_sent(guard->debts, guard->said + 1);
    return send_down(guard, VERB_TASKS, header, letter->parcel);
}

/* A child that comes later hears of it from the journal; or need not know. */
static int
pass_on(struct guard *guard, const struct letter *letter)
{
    uint64_t number = guard->child != NULL ? guard->said + 1 : 0;
    if (journal_write(&guard->journal, letter, number) < 0)
        return -1;
    if (guard->child == NULL)
        return 0;
    return send_down(guard, letter->verb, &letter->header, letter->parcel);
}

static int
heed_child(struct guard *guard, const struct letter *letter)
{
    if (letter->verb == VERB_HELLO)     /* the guard's own is enough */
        return 0;
    if (letter->verb == VERB_ANSWER)
        debts_settle(guard->debts, &letter->header);
    if (crew_send(guard->crew, 0, letter->verb, &letter->header,
                  letter->parcel)
        < 0)
        return -1;
    return debts_pay_refused(guard->debts);
}

/* A message came of which only the header could be kept: the exception that is
   set says so.  It is passed on without the rest. */
static int
is_lost(const struct letter *letter)
{
    return letter->verb != 0 && PyErr_ExceptionMatches(PyExc_MemoryError);
}

/* 1: a message came, and was passed on. */
static int
listen_to_child(struct guard *guard, double seconds)
{
    struct letter letter;
    int came = crew_receive(guard->child, seconds, &letter);
    if (came < 0 && letter.verb == VERB_ANSWER && is_lost(&letter))
        return debts_lose(guard->debts, &letter.header) < 0 ? -1 : 1;
    if (came < 0)
        return find_dead(guard);
    if (came > 0 && heed_child(guard, &letter) < 0)
        came = -1;
    parcel_free(letter.parcel);
    return came;
}

/* The pool was terminated: what its task does nobody waits for.  What the
   child has said is heard before, or what is done of other pools' would run
   again. */
static int
end_task(struct guard *guard, const struct header *header)
{
    struct death death = {
        KILLED_WITH_POOL, {.signal = SIGKILL}, header->stopped};
    int came = header->stopped != 0;
    while (came > 0 && guard->child != NULL)
        came = listen_to_child(guard, 0);
    if (came < 0 || header->stopped == 0 || guard->child == NULL
        || !debts_is_busy_for(guard->debts, header->stopped))
        return came;
    return bury_child(guard, &death);
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
        return pass_tasks(guard, letter);
    case VERB_FORGET:
        if (end_task(guard, &letter->header) < 0)
            return -1;
        return pass_on(guard, letter);
    default:
        return pass_on(guard, letter);
    }
}

static int
listen_to_master(struct guard *guard, double seconds)
{
    struct letter letter;
    int came = crew_receive(guard->crew, seconds, &letter);
    if (came < 0 && is_lost(&letter)) {
        PyErr_Clear(); /* the child raises another */
        letter.header.flags |= FLAG_LOST;
        came = 1;
    }
    if (came > 0 && heed_master(guard, &letter) < 0)
        came = -1;
    parcel_free(letter.parcel);
    return came;
}

static int
attend_to_child(struct guard *guard, double seconds)
{
    struct death death = {.how = KILLED_AS_LATE};
    int came = listen_to_child(guard, seconds);
    if (came == 0 && guard->child != NULL && debts_is_late(guard->debts))
        came = bury_child(guard, &death);
    return came;
}

/* Once in a while. */
static void
tidy_up(struct guard *guard)
{
    int64_t now = crew_coarse_clock();
    if (now - guard->reaped <= (int64_t)(1e9 * REAP_SECONDS))
        return;
    guard->reaped = now;
    orphans_reap(guard->orphans);
    arena_trim(guard->arena, 0);
}

/* Waits where the next message comes from, most likely. */
static int
step(struct guard *guard)
{
    int is_busy = debts_are_left(guard->debts);
    tidy_up(guard);
    int came = listen_to_master(guard, is_busy ? 0 : IDLE_SECONDS);
    if (came == 0 && guard->child != NULL)
        came = attend_to_child(guard, is_busy ? BUSY_SECONDS : 0);
    if (came < 0)
        return -1;
    sigint_report();
    return 0;
}

/* ---- in the worker's rank: its own life ------------------------------- */

struct guard *
guard_new(struct crew *crew, const struct transport *local)
{
    struct guard *guard = PyMem_RawCalloc(1, sizeof *guard);
    if (guard == NULL || (guard->ledger = ledger_new()) == NULL
        || (guard->debts = debts_new(crew, guard->ledger, &guard->journal))
               == NULL
        || (guard->orphans = orphans_new()) == NULL) {
        if (guard != NULL) {
            debts_free(guard->debts);
            ledger_free(guard->ledger);
        }
        PyMem_RawFree(guard);
        PyErr_NoMemory();
        return NULL;
    }
    guard->crew = crew;
    guard->local = local;
    guard->arena = crew->arena = arena_new();
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
    orphans_end(guard->orphans); /* launchers may wait for what they hold */
    Py_END_ALLOW_THREADS
    crew_release(guard->child);
    guard->child = NULL;
    return status == TRANSPORT_OK ? 0 : errors_raise_transport(&error);
}

static int
say_hello(struct guard *guard)
{
    sigset_t signals;
    sigint_hold(&signals);
    int status = hello_say(guard->crew);
    sigint_release(&signals);
    return status;
}

static int
serve(struct guard *guard, int one_wait)
{
    if (say_hello(guard) < 0
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
