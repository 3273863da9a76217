/* crew.c -- what belongs to one communicator, and the way through its
   mailbox.

   Must not know what a task is, nor what the verbs ask for. */

#define PY_SSIZE_T_CLEAN
#include "crew.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "errors.h"

#define DROPPED_SECONDS 1.0     /* that workers of a pool that goes get */

/* A message's token: what must live until it has left. */
struct outgoing {
    struct parcel *parcel;
    unsigned char header[HEADER_SIZE];
};

/* ---- making ----------------------------------------------------------- */

static PyObject *
new_record(void)
{
    PyObject *module = PyImport_ImportModule("ezmpi._main");
    if (module == NULL)
        return NULL;
    PyObject *record = PyObject_CallMethod(module, "MainRecord", NULL);
    Py_DECREF(module);
    return record;
}

static int
crew_init(struct crew *crew)
{
    if (crew->rank != 0)
        return 0;
    crew->members =
        PyMem_RawCalloc((size_t)crew->workers + 1, sizeof *crew->members);
    if (crew->members == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (helm_init(&crew->helm) == 0)
        return 0;
    PyErr_SetString(PyExc_OSError, "no lock can be made");
    return -1;
}

static void
free_memory(struct crew *crew)
{
    PyMem_RawFree(crew->members);
    PyMem_RawFree(crew);
}

static struct crew *
new_crew(const struct transport *transport, struct mailbox *mailbox)
{
    struct crew *crew = PyMem_RawCalloc(1, sizeof *crew);
    if (crew == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    crew->transport = transport;
    crew->mailbox = mailbox;
    crew->pid = getpid();
    crew->thread = PyThread_get_thread_ident();
    crew->rank = transport->rank(mailbox);
    crew->known_as = crew->rank;
    crew->workers = transport->ranks(mailbox) - 1;
    crew->survives = transport->survives(mailbox);
    if (crew_init(crew) < 0) {
        free_memory(crew);
        return NULL;
    }
    transport->set_owner(mailbox, crew);
    return crew;
}

/* Making a record runs Python, and so perhaps another thread, or a signal's
   handler, that makes the mailbox's crew meanwhile; making a crew does not. */
static struct crew *
find_or_make(const struct transport *transport, struct mailbox *mailbox)
{
    PyObject *record = NULL;
    struct crew *crew = transport->owner(mailbox);
    if (crew != NULL)
        return crew;
    if (transport->rank(mailbox) == 0 && (record = new_record()) == NULL)
        return NULL;
    crew = transport->owner(mailbox);
    if (crew == NULL)
        crew = new_crew(transport, mailbox);
    if (crew != NULL && crew->record == NULL) {
        crew->record = record;
        record = NULL;
    }
    Py_XDECREF(record);
    return crew;
}

struct crew *
crew_open(const struct transport *transport, int32_t handle)
{
    struct header header = {0};
    unsigned char bytes[HEADER_SIZE];
    header_pack(&header, bytes);
    struct transport_farewell farewell = {VERB_FAREWELL, bytes, sizeof bytes};
    struct transport_error error = {0};
    struct mailbox *mailbox;
    int status;
    do {
        Py_BEGIN_ALLOW_THREADS
        status = transport->open(handle, &farewell, SIGNAL_SECONDS, &mailbox,
                                 &error);
        Py_END_ALLOW_THREADS
        if (status == TRANSPORT_NOTHING && PyErr_CheckSignals() < 0)
            return NULL;
    } while (status == TRANSPORT_NOTHING);
    if (status != TRANSPORT_OK) {
        errors_raise_transport(&error);
        return NULL;
    }
    struct crew *crew = find_or_make(transport, mailbox);
    return crew != NULL ? crew_keep(crew) : NULL;
}

struct crew *
crew_keep(struct crew *crew)
{
    crew->shares++;
    return crew;
}

void
crew_clear(struct crew *crew)
{
    crew_tidy(crew);
    callables_forget(&crew->callables, 0);
}

/* Nobody knows it any more. */
static void
end(struct crew *crew)
{
    if (!crew->transport->closed(crew->mailbox)) {
        Py_BEGIN_ALLOW_THREADS
        crew_part(crew, 0);
        Py_END_ALLOW_THREADS
    }
    crew_clear(crew);
    if (crew->end_jobs != NULL)
        crew->end_jobs(crew);
    Py_XDECREF(crew->record);
    Py_XDECREF(crew->ticket_type);
    helm_fini(&crew->helm);
    crew->transport->free(crew->mailbox);
    free_memory(crew);
}

void
crew_release(struct crew *crew)
{
    if (crew != NULL && --crew->shares == 0 && crew_has_own_workers(crew)
        && !crew_is_forked(crew))
        end(crew);
}

int
crew_alive(const struct crew *crew)
{
    return crew->workers - crew->lost;
}

PyObject *
crew_death_of(const struct crew *crew, uint64_t task, int worker)
{
    return errors_new_death(task, worker + 1, crew_host_of(crew, worker));
}

const char *
crew_host_of(const struct crew *crew, int worker)
{
    const char *host = crew->members[worker].host;
    return *host != '\0' ? host : NULL;
}

void
crew_lose(struct crew *crew, int worker)
{
    crew->lost += !crew->members[worker].is_lost;
    crew->members[worker].is_lost = 1;
}

/* ---- the helm --------------------------------------------------------- */

static void
hurry(void *crew_)
{
    struct crew *crew = crew_;
    crew->transport->interrupt(crew->mailbox);
}

void
crew_want_helm(struct crew *crew)
{
    helm_take(&crew->helm, hurry, crew);
}

void
crew_take_helm(struct crew *crew)
{
    if (helm_try(&crew->helm))
        return;
    Py_BEGIN_ALLOW_THREADS
    crew_want_helm(crew);
    Py_END_ALLOW_THREADS
}

void
crew_part(struct crew *crew, double seconds)
{
    crew->transport->part(crew->transport->handle(crew->mailbox), seconds);
    helm_notify(&crew->helm, crew); /* the driver's thread: it ends */
}

void
crew_part_dropped(struct crew *crew)
{
    if (!crew->is_dropped)
        return;
    crew->is_dropped = 0;
    crew_part(crew, DROPPED_SECONDS);
}

void
crew_leave_helm(struct crew *crew)
{
    if (crew->is_dropped) {
        Py_BEGIN_ALLOW_THREADS
        crew_part_dropped(crew);
        Py_END_ALLOW_THREADS
        crew_clear(crew);
    }
    crew->turns++;
    helm_leave(&crew->helm);
}

int
crew_is_forked(const struct crew *crew)
{
    return getpid() != crew->pid;
}

int
crew_has_own_workers(const struct crew *crew)
{
    return crew->transport->part != NULL && crew->rank == 0;
}

int
crew_is_gone(const struct crew *crew)
{
    return crew_is_forked(crew) || crew->transport->closed(crew->mailbox);
}

int
crew_is_of_another_thread(const struct crew *crew)
{
    return PyThread_get_thread_ident() != crew->thread
           && !crew->transport->closed(crew->mailbox)
           && !crew->transport->threads();
}

int
crew_try_helm(struct crew *crew)
{
    return !crew_is_forked(crew) && !crew_is_of_another_thread(crew)
           && helm_try(&crew->helm);
}

int
crew_check_signals(struct crew *crew)
{
    crew_leave_helm(crew);
    int status = PyErr_CheckSignals();
    crew_take_helm(crew);
    return status;
}

int
crew_check_here(struct crew *crew)
{
    const char *why = NULL;
    if (crew_is_forked(crew) && crew_has_own_workers(crew))
        why = "a pool was used in a forked child: its workers belong to the "
              "process that made the pool; the child can make one of its own";
    else if (crew_is_forked(crew))
        why = "a pool was used in a forked child: MPI belongs to the process "
              "that made the pool";
    else if (helm_is_mine(&crew->helm))
        why = "a pool was used by what pickles, unpickles or ends an object "
              "for it";
    else if (crew_is_of_another_thread(crew))
        why = "a pool was used in another thread than the one that made the "
              "first, and MPI was initialised for one thread only; initialise "
              "it with MPI_THREAD_MULTIPLE";
    if (why != NULL)
        PyErr_SetString(PyExc_RuntimeError, why);
    return why == NULL ? 0 : -1;
}

/* The driver's thread watches the crew; after its end nobody does. */
void
crew_settle(struct crew *crew, PyObject *future, PyObject *value,
            int is_failure)
{
    if (future_settle(crew->futures, future, value, is_failure))
        return;
    if (crew->driver.started)
        helm_notify(&crew->helm, crew);
    else
        futures_call(crew->futures, 1);
}

/* ---- what workers hold ------------------------------------------------ */

static struct callable *
pickle_function(struct crew *crew, struct codec *codec, PyObject *function,
                const struct header *header, uint64_t pool)
{
    struct parcel *parcel = parcel_new();
    if (parcel == NULL || codec_dump(codec, parcel, function, 0) < 0
        || crew_send_bindings(crew, codec, header) < 0) {
        parcel_free(parcel);
        return NULL;
    }
    return callables_hold(&crew->callables, parcel, pool);
}

struct callable *
crew_hold(struct crew *crew, struct codec *codec, PyObject *function,
          const struct header *header, uint64_t pool)
{
    int use_dill = (header->flags & FLAG_DILL) != 0;
    struct callable *callable = NULL;
    if (codec_begin(codec) < 0)
        return NULL;
    if (use_dill)
        callable = callables_recall(&crew->callables, function, pool);
    if (callable != NULL)
        return callable;
    callable = pickle_function(crew, codec, function, header, pool);
    if (callable != NULL && callable->name == NULL
        && !(callable->name = callable_name(function)))
        return NULL;
    if (callable != NULL && use_dill
        && callable_remember(callable, function, crew->record) < 0)
        return NULL;
    return callable;
}

/* Names were bound anew on the workers.  Callables that they hold by reference
   would go on meaning what the names meant before: all are to be sent and
   looked at again. */
static void
note_rebound(struct crew *crew)
{
    for (int worker = 0; worker < crew->workers; worker++)
        memset(crew->members[worker].held, 0,
               sizeof crew->members[worker].held);
    callables_rebound(&crew->callables);
}

int
crew_send_bindings(struct crew *crew, struct codec *codec,
                   const struct header *header)
{
    struct header numbered = *header;
    struct parcel *parcel = NULL;
    PyObject *pair = codec_take_bindings(codec), *bindings;
    unsigned long long number;
    int status = pair == Py_None ? 0 : -1;
    if (pair == NULL || pair == Py_None
        || !PyArg_ParseTuple(pair, "KO", &number, &bindings))
        goto done;
    numbered.names = number;
    note_rebound(crew);
    parcel = parcel_new();
    if (parcel != NULL && codec_dump(codec, parcel, bindings, 0) == 0)
        status = crew_broadcast(crew, VERB_BIND, &numbered, parcel);
    if (status == 0)
        status = codec_bindings_sent(codec);
done:
    parcel_free(parcel);
    Py_XDECREF(pair);
    return status;
}

int
crew_distrust(struct crew *crew)
{
    note_rebound(crew);
    PyObject *done = PyObject_CallMethod(crew->record, "distrust", NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
crew_forget(struct crew *crew, uint64_t pool, uint64_t stopped)
{
    struct header header = {.pool = pool, .stopped = stopped};
    callables_forget(&crew->callables, pool);
    return crew_broadcast(crew, VERB_FORGET, &header, NULL);
}

/* ---- sending ---------------------------------------------------------- */

static void
free_outgoing(struct outgoing *outgoing)
{
    parcel_free(outgoing->parcel);
    PyMem_RawFree(outgoing);
}

void
crew_tidy(struct crew *crew)
{
    struct outgoing *outgoing;
    while ((outgoing = crew->transport->reap(crew->mailbox)) != NULL)
        free_outgoing(outgoing);
}

static int
no_memory(struct transport_error *error)
{
    *error = (struct transport_error){"malloc", "out of memory"};
    return TRANSPORT_FAILED;
}

static int
call_send(struct crew *crew, const int *ranks, size_t receivers,
          enum verb verb, const struct transport_part *parts, size_t count,
          struct outgoing *outgoing, struct transport_error *error)
{
    const struct transport *transport = crew->transport;
    if (receivers == 1)
        return transport->send(crew->mailbox, ranks[0], verb,
                               verb == VERB_TASKS, parts, count, outgoing,
                               error);
    return transport->multicast(crew->mailbox, ranks, receivers, verb, parts,
                                count, outgoing, error);
}

/* The parcel's, and what the header is to say of them.  loans: room for what
   need not travel: of tasks, which go to one child only, that may alter it.
   They are so few bytes that they are copied before this returns. */
static size_t
fill_parts(struct crew *crew, enum verb verb, struct parcel *parcel,
           struct header *header, struct transport_part *parts,
           struct parcel_loan *loans)
{
    size_t count = parcel_part_count(parcel), lent = 0;
    if (verb == VERB_TASKS && crew->lends != NULL) {
        parcel_parts(parcel, parts + 1);
        lent = parcel_lend(parcel, crew->lends, parts + 1, loans);
    }
    if (lent == 0) {
        parcel_parts(parcel, parts);
        return count;
    }
    header->flags |= FLAG_LENT;
    parts[0] = (struct transport_part){loans, lent * sizeof *loans};
    return count + 1;
}

static int
send_parts(struct crew *crew, const int *ranks, size_t receivers,
           enum verb verb, struct header header, struct outgoing *outgoing,
           struct transport_error *error)
{
    struct parcel *parcel = outgoing->parcel;
    size_t most = 2 + (parcel ? parcel_part_count(parcel) : 0), count = 1;
    struct parcel_loan loans[ARENA_BLOCKS];
    struct transport_part few[5], *parts = few;
    if (most > 5 && (parts = PyMem_RawMalloc(most * sizeof *parts)) == NULL)
        return no_memory(error);
    if (parcel != NULL)
        count += fill_parts(crew, verb, parcel, &header, parts + 1, loans);
    header_pack(&header, outgoing->header);
    parts[0] = (struct transport_part){outgoing->header, HEADER_SIZE};
    int status =
        call_send(crew, ranks, receivers, verb, parts, count, outgoing, error);
    if (parts != few)
        PyMem_RawFree(parts);
    return status;
}

/* The caller's own share in the parcel outlives a failure, so that none is
   freed here, where the GIL may be free. */
int
crew_post(struct crew *crew, const int *ranks, size_t receivers,
          enum verb verb, const struct header *header, struct parcel *parcel,
          struct transport_error *error)
{
    struct outgoing *outgoing = PyMem_RawMalloc(sizeof *outgoing);
    if (outgoing == NULL)
        return no_memory(error);
    outgoing->parcel = parcel ? parcel_keep(parcel) : NULL;
    int status =
        send_parts(crew, ranks, receivers, verb, *header, outgoing, error);
    if (status != TRANSPORT_OK)
        free_outgoing(outgoing);
    return status;
}

int
crew_send(struct crew *crew, int rank, enum verb verb,
          const struct header *header, struct parcel *parcel)
{
    struct transport_error error = {0};
    int status = crew_post(crew, &rank, 1, verb, header, parcel, &error);
    crew_tidy(crew);
    return status == TRANSPORT_OK ? 0 : errors_raise_transport(&error);
}

int
crew_broadcast(struct crew *crew, enum verb verb, const struct header *header,
               struct parcel *parcel)
{
    crew->released |= verb == VERB_RELEASE;
    for (int rank = 1; rank <= crew->workers; rank++) {
        if (crew_send(crew, rank, verb, header, parcel) < 0)
            return -1;
    }
    return 0;
}

void
crew_tell_interrupted(struct crew *crew)
{
    struct header header = {0};
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || crew_is_gone(crew))
        return;
    PyObject *raised = PyErr_GetRaisedException();
    crew_take_helm(crew);
    if (crew_broadcast(crew, VERB_INTERRUPTED, &header, NULL) < 0)
        PyErr_Clear();
    crew_leave_helm(crew);
    PyErr_SetRaisedException(raised);
}

/* ---- receiving -------------------------------------------------------- */

#ifdef CLOCK_MONOTONIC_COARSE
#define COARSE_CLOCK CLOCK_MONOTONIC_COARSE
#else
#define COARSE_CLOCK CLOCK_MONOTONIC
#endif

static int64_t
time_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t
crew_clock(void)
{
    return time_of(CLOCK_MONOTONIC);
}

int64_t
crew_coarse_clock(void)
{
    return time_of(COARSE_CLOCK);
}

/* Throws away what is still on its way of a message that cannot be kept; what
   its sender's death keeps from coming, too. */
static void
discard(struct crew *crew, const struct transport_message *message)
{
    struct transport_error error;
    for (size_t i = 0; i < message->count; i++) {
        if (message->parts[i].base == NULL)
            crew->transport->take(crew->mailbox, i, NULL, &error);
    }
}

/* 1: it will not come. */
static int
take_part(struct crew *crew, const struct transport_message *message,
          size_t index, const struct transport_part *into)
{
    const struct transport_part *part = &message->parts[index];
    if (part->base != NULL || part->size == 0) {
        if (part->size > 0)
            memcpy(into->base, part->base, part->size);
        return 0;
    }
    struct transport_error error = {0};
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = crew->transport->take(crew->mailbox, index, into->base, &error);
    Py_END_ALLOW_THREADS
    if (status == TRANSPORT_FAILED)
        return errors_raise_transport(&error);
    return status == TRANSPORT_LOST;
}

/* 1: the sender died in the middle of it, as take_part. */
static int
take_parcel(struct crew *crew, const struct transport_message *message,
            size_t first, struct parcel *parcel, int64_t *took)
{
    size_t count = message->count - first;
    struct transport_part *into = PyMem_RawMalloc(count * sizeof *into);
    if (into == NULL) {
        discard(crew, message);
        return PyErr_NoMemory(), -1;
    }
    parcel_parts(parcel, into);
    int64_t began = count > 1 ? crew_clock() : 0;
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = take_part(crew, message, first + i, &into[i]);
    *took = count > 1 ? crew_clock() - began : 0;
    PyMem_RawFree(into);
    return status;
}

struct loans {
    const struct parcel_loan *first;
    size_t count;
};

/* What the rank lends, by a message's part 1; who borrows nothing does not
   heed what a message says. */
static struct loans
find_loans(struct crew *crew, const struct transport_message *message,
           struct header *header)
{
    int is_lent = (header->flags & FLAG_LENT) != 0 && crew->borrows != NULL;
    struct loans loans = {NULL, 0};
    header->flags &= ~(uint32_t)FLAG_LENT;
    if (is_lent) {
        loans.first = message->parts[1].base;
        loans.count = message->parts[1].size / sizeof *loans.first;
    }
    return loans;
}

static int
no_room(const struct transport_message *message)
{
    size_t size = 0;
    for (size_t i = 0; i < message->count; i++)
        size += message->parts[i].size;
    PyErr_Format(PyExc_MemoryError, "a message of %zu bytes from rank %d",
                 size, message->source);
    return -1;
}

/* For the parts from first on.  Memory that a guard keeps for later goes
   before there is too little. */
static struct parcel *
new_parcel(struct crew *crew, const struct transport_message *message,
           size_t first)
{
    const struct transport_part *parts = message->parts + first;
    size_t count = message->count - first;
    struct arena *arena = message->verb == VERB_TASKS ? crew->arena : NULL;
    struct arena *kept = crew->arena != NULL ? crew->arena : crew->lends;
    struct parcel *parcel = parcel_for(parts, count, arena);
    if (parcel == NULL && kept != NULL) {
        PyErr_Clear();
        arena_trim(kept, 1);
        parcel = parcel_for(parts, count, NULL);
    }
    return parcel;
}

static int
take_letter(struct crew *crew, const struct transport_message *message,
            size_t first, const struct loans *loans, struct letter *letter)
{
    struct parcel *parcel = new_parcel(crew, message, first);
    int status;
    if (parcel == NULL) {
        discard(crew, message);
        status = no_room(message);
    }
    else {
        status = take_parcel(crew, message, first, parcel, &letter->took);
    }
    if (parcel_borrow(status == 0 ? parcel : NULL, crew->borrows, loans->first,
                      loans->count)
        < 0)
        status = -1;
    if (status == 0) {
        letter->parcel = parcel;
        return 1;
    }
    parcel_free(parcel);
    return status < 0 ? -1 : 0;
}

static int
open_letter(struct crew *crew, const struct transport_message *message,
            struct letter *letter)
{
    letter->source = message->source;
    if (message->count == 0 || message->parts[0].base == NULL
        || header_unpack(&letter->header, message->parts[0].base,
                         message->parts[0].size)
               < 0) {
        discard(crew, message);
        return errors_raise("TransportError",
                            "a message from rank %d begins "
                            "with no valid header",
                            message->source);
    }
    letter->verb = message->verb;
    struct loans loans = find_loans(crew, message, &letter->header);
    size_t first = loans.first != NULL ? 2 : 1;
    return message->count == first
               ? 1
               : take_letter(crew, message, first, &loans, letter);
}

int
crew_await(struct crew *crew, double seconds, struct transport_error *error)
{
    if (crew->arrived)
        return TRANSPORT_OK;
    int status =
        crew->transport->wait(crew->mailbox, seconds, &crew->message, error);
    crew->arrived = status == TRANSPORT_OK;
    return status;
}

int
crew_wait(struct crew *crew, double seconds)
{
    struct transport_error error = {0};
    int status;
    if (seconds > 0 && !crew->arrived) {
        Py_BEGIN_ALLOW_THREADS
        status = crew_await(crew, seconds, &error);
        Py_END_ALLOW_THREADS
    }
    else {
        status = crew_await(crew, 0, &error);
    }
    crew_tidy(crew);
    if (status == TRANSPORT_LOST)
        crew_lose(crew, crew->message.source - 1);
    return status == TRANSPORT_FAILED ? errors_raise_transport(&error)
                                      : status == TRANSPORT_OK;
}

static int
is_small(const struct transport_message *message)
{
    return message->count <= 2
           && (message->count < 2 || message->parts[1].base != NULL
               || message->parts[1].size == 0);
}

int
crew_receive_small(struct crew *crew, struct letter *letter)
{
    const struct transport_message *message = &crew->message;
    *letter =
        (struct letter){.source = message->source, .verb = message->verb};
    if (!is_small(message) || message->count == 0
        || message->parts[0].base == NULL
        || header_unpack(&letter->header, message->parts[0].base,
                         message->parts[0].size)
               < 0)
        return TRANSPORT_NOTHING;
    if (message->count == 2) {
        letter->parcel =
            parcel_of(message->parts[1].base, message->parts[1].size);
        if (letter->parcel == NULL)
            return TRANSPORT_NOTHING;
    }
    crew->arrived = 0;
    return TRANSPORT_OK;
}

int
crew_receive(struct crew *crew, double seconds, struct letter *letter)
{
    *letter = (struct letter){0};
    int came = crew_wait(crew, 0);
    if (came == 0 && seconds > 0)
        came = crew_wait(crew, seconds);
    if (came <= 0)
        return came;
    crew->arrived = 0;
    return open_letter(crew, &crew->message, letter);
}

int
crew_flush(struct crew *crew, double seconds)
{
    struct transport_error error = {0};
    int status = crew->transport->flush(crew->mailbox, 0, &error);
    if (status == TRANSPORT_NOTHING) {
        Py_BEGIN_ALLOW_THREADS
        status = crew->transport->flush(crew->mailbox, seconds, &error);
        Py_END_ALLOW_THREADS
    }
    crew_tidy(crew);
    return status == TRANSPORT_FAILED ? errors_raise_transport(&error)
                                      : status == TRANSPORT_NOTHING;
}
