/* guard.c -- passes on, answers for the dead, and forks.

   What the child was sent that a later one needs, too, is kept in the journal,
   and said again to it.  Chunks are not: the master keeps their tasks, and
   gets back what was not begun.

   Ctrl-C and a queue's signals need not be passed on: launchers send them to
   the rank's process group, and the child is in it.

   Must not know what is in a parcel. */

#define PY_SSIZE_T_CLEAN
#include "guard.h"

#include <string.h>
#include <unistd.h>

#include "errors.h"
#include "hello.h"
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
#define MOST_IN_VAIN 3          /* children in a row that get nothing done */
#define REAP_SECONDS 1.0        /* between looks for programs that ended */
#define FORK_TRIES 50           /* where the system has no room for it ... */
#define FORK_PAUSE 0.1          /* ... for so long, each */

/* A message that a new child is to get, too. */
struct note {
    struct note *next;
    int is_said;                    /* to the child that is there */
    int verb;
    struct header header;
    struct parcel *parcel;
};

/* A chunk that the child owes an answer for. */
struct owed {
    struct owed *next;
    uint64_t number;                /* of the child's chunks: see ledger.h */
    int64_t since;                  /* when it was passed down */
    struct header header;
};

struct guard {
    struct crew *crew;          /* to the master */
    const struct transport *local;
    struct crew *child;         /* NULL: none */
    int32_t handle;             /* of its mailbox */
    int forks;                  /* children so far */
    int64_t reaped;             /* when orphans were looked for last */
    struct orphans *orphans;    /* of those */
    struct ledger *ledger;
    struct note *journal;
    struct owed *owed;
    uint64_t chunks;            /* that this child was sent */
    int releases;               /* waits that the master ended */
    int ended;                  /* it said farewell */
    int is_late;                /* the child was killed for it */
    int in_vain;                /* deaths since something was done last */
    struct sigaction users;     /* what the child does at SIGINT */
};

/* ---- the journal ------------------------------------------------------ */

static void
note_free(struct note *note)
{
    parcel_free(note->parcel);
    PyMem_RawFree(note);
}

/* Does the newer message make this one unnecessary?  Of a closed pool, or 0:
   of all, what its tasks need goes; what was shared and bound stays. */
static int
is_superseded(const struct note *note, const struct letter *letter)
{
    const struct header *header = &letter->header;
    switch (letter->verb) {
    case VERB_BIND:
        return note->verb == VERB_BIND && note->header.first == header->first;
    case VERB_CALLABLE:
        return note->verb == VERB_CALLABLE
               && note->header.slot == header->slot;
    case VERB_FORGET:
        return (note->verb == VERB_CALLABLE || note->verb == VERB_INITIALIZE)
               && (header->pool == 0 || note->header.pool == header->pool);
    case VERB_UNSHARE:
        return note->verb == VERB_SHARE && note->header.first == header->first;
    default:
        return 0;
    }
}

static struct note **
drop_superseded(struct guard *guard, const struct letter *letter)
{
    struct note **link = &guard->journal;
    while (*link != NULL) {
        struct note *note = *link;
        if (is_superseded(note, letter)) {
            *link = note->next;
            note_free(note);
        }
        else {
            link = &note->next;
        }
    }
    return link;
}

static int
is_to_be_kept(int verb)
{
    return verb == VERB_BIND || verb == VERB_INITIALIZE
           || verb == VERB_CALLABLE || verb == VERB_SHARE;
}

static int
write_journal(struct guard *guard, const struct letter *letter)
{
    struct note **end = drop_superseded(guard, letter);
    if (!is_to_be_kept(letter->verb))
        return 0;
    struct note *note = PyMem_RawCalloc(1, sizeof *note);
    if (note == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    note->verb = letter->verb;
    note->is_said = guard->child != NULL; /* soon: see pass_down */
    note->header = letter->header;
    if (letter->parcel != NULL)
        note->parcel = parcel_keep(letter->parcel);
    *end = note;
    return 0;
}

/* ---- the child's life ------------------------------------------------- */

/* In the child: what a worker does.  Does not return. */
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
    guard->chunks = 0;
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

/* ---- what it owes ------------------------------------------------------ */

static int
note_owed(struct guard *guard, const struct header *header)
{
    struct owed **end = &guard->owed;
    struct owed *owed = PyMem_RawCalloc(1, sizeof *owed);
    if (owed == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    owed->header = *header;
    owed->number = ++guard->chunks;
    owed->since = crew_clock();
    while (*end != NULL)
        end = &(*end)->next;
    *end = owed;
    return 0;
}

static void
forget_owed(struct guard *guard, const struct header *reply)
{
    struct owed **link = &guard->owed;
    while (*link != NULL
           && ((*link)->header.job != reply->job
               || (*link)->header.first != reply->first))
        link = &(*link)->next;
    if (*link != NULL) {
        struct owed *owed = *link;
        *link = owed->next;
        PyMem_RawFree(owed);
    }
}

static int
heed_child(struct guard *guard, const struct letter *letter)
{
    if (letter->verb == VERB_HELLO)     /* the guard's own is enough */
        return 0;
    if (letter->verb == VERB_ANSWER) {
        forget_owed(guard, &letter->header);
        guard->in_vain = 0;
    }
    return crew_send(guard->crew, 0, letter->verb, &letter->header,
                     letter->parcel);
}

/* ---- its death -------------------------------------------------------- */

static int
is_begun(const struct guard *guard, const struct owed *owed)
{
    return ledger_is_of(guard->ledger, owed->number);
}

/* The exception for the task that it ran, or was to run; a new reference. */
static PyObject *
new_death(const struct guard *guard, const struct transport_fate *fate,
          const struct owed *owed, uint64_t task)
{
    const struct header *header = &owed->header;
    int has_run = is_begun(guard, owed) && ledger_since(guard->ledger) > 0;
    if (header->flags & FLAG_ONE)
        task = ERRORS_SINGLE_CALL;
    return guard->is_late
               ? errors_new_timeout(task, guard->crew->rank,
                                    1e-9 * (double)header->timeout)
               : errors_new_end(task, guard->crew->rank, has_run, fate);
}

/* Appends the account of the exception, as worker.c does for a task that
   raised. */
static int
append_death(struct guard *guard, struct parcel *results, PyObject *death,
             int as_result)
{
    struct codec *codec = codec_new(0, NULL);
    if (codec == NULL)
        return -1;
    PyErr_SetObject((PyObject *)Py_TYPE(death), death);
    PyObject *account = errors_account(guard->crew->rank, "task");
    int status = -1;
    if (account != NULL && as_result)
        status = codec_dump_failure(codec, results, account);
    else if (account != NULL)
        status = codec_dump(codec, results, account, 0);
    Py_XDECREF(account);
    codec_free(codec);
    return status;
}

/* What the child had of the chunk's results. */
static struct parcel *
read_ledger(const struct guard *guard, const struct owed *owed)
{
    struct transport_part parts[LEDGER_PARTS];
    size_t count = is_begun(guard, owed)
                       ? ledger_parts(guard->ledger, parts, LEDGER_PARTS)
                       : 0;
    struct parcel *results = parcel_new();
    if (results == NULL || count == 0)
        return results;
    unsigned char *stream = parcel_extend(results, parts[0].size);
    int status = stream == NULL ? -1 : 0;
    if (status == 0)
        memcpy(stream, parts[0].base, parts[0].size);
    for (size_t i = 1; i < count && status == 0; i++)
        status = parcel_add_copy(results, parts[i].base, parts[i].size);
    if (status == 0)
        return results;
    parcel_free(results);
    return NULL;
}

/* The task behind those that are done has failed; in on_error="return" it
   stands among the results, and those behind it go back. */
static int
add_death(struct guard *guard, const struct transport_fate *fate,
          const struct owed *owed, struct header *reply,
          struct parcel *results)
{
    int is_each = (owed->header.flags & FLAG_EACH) != 0;
    PyObject *death =
        new_death(guard, fate, owed, reply->first + reply->count);
    int status =
        death != NULL ? append_death(guard, results, death, is_each) : -1;
    Py_XDECREF(death);
    reply->count += (uint64_t)is_each;
    if (!is_each)
        reply->flags = (reply->flags & ~(uint32_t)FLAG_BACK) | FLAG_FAILED;
    return status;
}

/* What is done of a chunk; what was not begun goes back.  Unless it is to
   blame, no task has failed. */
static int
answer(struct guard *guard, const struct owed *owed,
       const struct transport_fate *fate, int is_blamed)
{
    const struct header *header = &owed->header;
    struct header reply = {.job = header->job,
                           .first = header->first,
                           .callable = header->callable,
                           .flags = FLAG_BACK};
    struct parcel *results = read_ledger(guard, owed);
    int status = results != NULL ? 0 : -1;
    if (is_begun(guard, owed)) {
        reply.count = ledger_done(guard->ledger);
        reply.elapsed = (uint64_t)(crew_clock() - owed->since);
    }
    if (!(header->flags & FLAG_EACH))
        reply.flags |= header->flags & FLAG_NO_RESULTS;
    if (is_blamed && status == 0)
        status = add_death(guard, fate, owed, &reply, results);
    if (reply.count == header->count)
        reply.flags &= ~(uint32_t)FLAG_BACK;
    if (status == 0)
        status = crew_send(guard->crew, 0, VERB_ANSWER, &reply, results);
    parcel_free(results);
    return status;
}

/* Does the child run a task for longer than that may take? */
static int
runs_late(const struct guard *guard)
{
    int64_t since = ledger_since(guard->ledger);
    for (const struct owed *owed = guard->owed; owed && since > 0;
         owed = owed->next) {
        int64_t timeout = (int64_t)owed->header.timeout;
        if (is_begun(guard, owed))
            return timeout > 0 && crew_clock() - since > timeout;
    }
    return 0;
}

/* The chunk that the death is blamed on: that whose task ran.  Where none did
   it is nobody's fault; but not again and again, as with an initializer that
   crashes: then the first one that waits.  NULL: none. */
static const struct owed *
find_blamed(struct guard *guard)
{
    int runs = ledger_since(guard->ledger) > 0;
    const struct owed *owed = guard->owed;
    if (guard->is_late && !runs_late(guard)) /* it was done just then */
        return NULL;
    while (owed != NULL && !(runs && is_begun(guard, owed)))
        owed = owed->next;
    if (owed != NULL || guard->owed == NULL) {
        guard->in_vain = 0;
        return owed;
    }
    if (++guard->in_vain < MOST_IN_VAIN)
        return NULL;
    guard->in_vain = 0;
    return guard->owed;
}

static int
answer_for_all(struct guard *guard, const struct transport_fate *fate)
{
    int status = 0;
    const struct owed *blamed = find_blamed(guard);
    while (guard->owed != NULL && status == 0) {
        struct owed *owed = guard->owed;
        guard->owed = owed->next;
        status = answer(guard, owed, fate, owed == blamed);
        PyMem_RawFree(owed);
    }
    return status;
}

/* The next one is forked when there are tasks for it.  The exception that is
   set is the transport's, of the child's mailbox; or the guard's own memory is
   short, and stays so. */
static int
bury_child(struct guard *guard)
{
    struct transport_fate fate = {0};
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError))
        return -1;
    PyErr_Clear();
    if (!guard->is_late)
        guard->local->fate(guard->handle, CHILD, &fate);
    guard->local->part(guard->handle, 0);
    crew_release(guard->child);
    guard->child = NULL;
    orphans_end(guard->orphans);
    int status = answer_for_all(guard, &fate);
    guard->is_late = 0;
    for (struct note *note = guard->journal; note != NULL; note = note->next)
        note->is_said = 0;
    return status;
}

/* ---- passing on ------------------------------------------------------- */

static int
send_down(struct guard *guard, int verb, const struct header *header,
          struct parcel *parcel)
{
    if (crew_send(guard->child, CHILD, verb, header, parcel) < 0)
        return bury_child(guard);
    return 0;
}

/* Does the child need to hear it before tasks of that pool?  Another pool's
   initializer is its own affair. */
static int
is_needed(const struct note *note, uint64_t pool)
{
    return !note->is_said
           && (note->verb != VERB_INITIALIZE || note->header.pool == pool);
}

/* What there is to be said; the child may die of it. */
static int
say_journal(struct guard *guard, uint64_t pool)
{
    int status = 0;
    for (struct note *note = guard->journal;
         note != NULL && guard->child != NULL && status == 0;
         note = note->next) {
        if (!is_needed(note, pool))
            continue;
        note->is_said = 1;
        status = send_down(guard, note->verb, &note->header, note->parcel);
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
        && (note_owed(guard, &letter->header) < 0
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
        if (write_journal(guard, letter) < 0)
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
    int is_busy = guard->owed != NULL;
    int64_t now = crew_coarse_clock();
    if (now - guard->reaped > (int64_t)(1e9 * REAP_SECONDS)) {
        guard->reaped = now;
        orphans_reap(guard->orphans);
    }
    if (is_busy && runs_late(guard)) {
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

/* ---- its own life ----------------------------------------------------- */

struct guard *
guard_new(struct crew *crew, const struct transport *local)
{
    struct guard *guard = PyMem_RawCalloc(1, sizeof *guard);
    if (guard == NULL || (guard->ledger = ledger_new()) == NULL
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
    if (guard->owed != NULL) /* what its task had started, the job waits for */
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
        if (one_wait && guard->releases > 0 && guard->owed == NULL) {
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
