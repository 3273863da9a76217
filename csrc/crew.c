/* crew.c -- what belongs to one communicator, and the way through its
   mailbox.

   Must not know what a task is, nor what the verbs ask for. */

#define PY_SSIZE_T_CLEAN
#include "crew.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "errors.h"

/* Callables above this share slot 0, so that at most one such is held. */
#define LARGE_CALLABLE ((size_t)64 << 20)

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
    crew->record = new_record();
    return crew->record == NULL ? -1 : 0;
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
    crew->rank = transport->rank(mailbox);
    crew->workers = transport->ranks(mailbox) - 1;
    if (crew_init(crew) < 0) {
        PyMem_RawFree(crew->members);
        PyMem_RawFree(crew);
        return NULL;
    }
    transport->set_owner(mailbox, crew);
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
        if (PyErr_CheckSignals() < 0)
            return NULL;
    } while (status == TRANSPORT_NOTHING);
    if (status != TRANSPORT_OK) {
        errors_raise_transport(&error);
        return NULL;
    }
    struct crew *crew = transport->owner(mailbox);
    return crew != NULL ? crew : new_crew(transport, mailbox);
}

/* ---- callables -------------------------------------------------------- */

static int
slot_for(struct crew *crew, const struct parcel *parcel)
{
    if (parcel_size(parcel) > LARGE_CALLABLE)
        return 0;
    int oldest = 1;
    for (int i = 2; i < CALLABLE_SLOTS; i++) {
        if (crew->held[i].used < crew->held[oldest].used)
            oldest = i;
    }
    return oldest;
}

/* What it kept alive may call anything when it goes. */
static void
drop_snapshot(struct crew_callable *held)
{
    struct snapshot *snapshot = held->snapshot;
    held->snapshot = NULL;
    snapshot_free(snapshot);
}

static void
empty_slot(struct crew_callable *held)
{
    struct crew_callable old = *held;
    *held = (struct crew_callable){0};
    parcel_free(old.parcel);
    snapshot_free(old.snapshot);
}

static int
use_slot(struct crew *crew, int slot, uint64_t job, uint64_t pool)
{
    crew->held[slot].used = job;
    crew->held[slot].pool = pool;
    return slot;
}

int
crew_hold(struct crew *crew, struct parcel *parcel, uint64_t job,
          uint64_t pool)
{
    for (int i = 0; i < CALLABLE_SLOTS; i++) {
        struct crew_callable *held = &crew->held[i];
        if (held->number != 0 && parcel_equal(held->parcel, parcel)) {
            parcel_free(parcel);
            return use_slot(crew, i, job, pool);
        }
    }
    /* What is compared with later must not change when the user's does. */
    if (parcel_own(parcel) < 0) {
        parcel_free(parcel);
        return -1;
    }
    int slot = slot_for(crew, parcel);
    empty_slot(&crew->held[slot]);
    crew->held[slot].number = ++crew->callables;
    crew->held[slot].parcel = parcel;
    return use_slot(crew, slot, job, pool);
}

int
crew_recall(struct crew *crew, PyObject *function, uint64_t job, uint64_t pool)
{
    for (int i = 0; i < CALLABLE_SLOTS; i++) {
        const struct snapshot *snapshot = crew->held[i].snapshot;
        if (snapshot != NULL && snapshot_holds(snapshot, function))
            return use_slot(crew, i, job, pool);
    }
    return -1;
}

int
crew_remember(struct crew *crew, int slot, PyObject *function)
{
    struct crew_callable *held = &crew->held[slot];
    if (held->unfit)
        return 0;
    drop_snapshot(held);
    if (snapshot_take(function, crew->record, &held->snapshot) < 0)
        return -1;
    held->unfit = held->snapshot == NULL;
    return 0;
}

void
crew_rebound(struct crew *crew)
{
    for (int worker = 0; worker < crew->workers; worker++)
        memset(crew->members[worker].held, 0,
               sizeof crew->members[worker].held);
    for (int i = 0; i < CALLABLE_SLOTS; i++)
        drop_snapshot(&crew->held[i]);
}

int
crew_distrust(struct crew *crew)
{
    crew_rebound(crew);
    PyObject *done = PyObject_CallMethod(crew->record, "distrust", NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
crew_forget(struct crew *crew, uint64_t pool)
{
    struct header header = {.pool = pool};
    for (int i = 0; i < CALLABLE_SLOTS; i++) {
        if (pool == 0 || crew->held[i].pool == pool)
            empty_slot(&crew->held[i]);
    }
    return crew_broadcast(crew, VERB_FORGET, &header, NULL);
}

/* ---- sending ---------------------------------------------------------- */

static void
free_outgoing(struct outgoing *outgoing)
{
    parcel_free(outgoing->parcel);
    PyMem_RawFree(outgoing);
}

static void
reap(struct crew *crew)
{
    struct outgoing *outgoing;
    while ((outgoing = crew->transport->reap(crew->mailbox)) != NULL)
        free_outgoing(outgoing);
}

static int
call_send(struct crew *crew, const int *ranks, size_t receivers,
          enum verb verb, const struct transport_part *parts, size_t count,
          struct outgoing *outgoing)
{
    const struct transport *transport = crew->transport;
    struct transport_error error = {0};
    int status =
        receivers == 1
            ? transport->send(crew->mailbox, ranks[0], verb,
                              verb == VERB_TASKS, parts, count, outgoing,
                              &error)
            : transport->multicast(crew->mailbox, ranks, receivers, verb,
                                   parts, count, outgoing, &error);
    return status == TRANSPORT_OK ? 0 : errors_raise_transport(&error);
}

static int
send_parts(struct crew *crew, const int *ranks, size_t receivers,
           enum verb verb, struct outgoing *outgoing)
{
    struct parcel *parcel = outgoing->parcel;
    size_t count = 1 + (parcel ? parcel_part_count(parcel) : 0);
    struct transport_part few[4], *parts = few;
    if (count > 4 && (parts = PyMem_RawMalloc(count * sizeof *parts)) == NULL)
        return PyErr_NoMemory(), -1;
    parts[0] = (struct transport_part){outgoing->header, HEADER_SIZE};
    if (parcel != NULL)
        parcel_parts(parcel, parts + 1);
    int status =
        call_send(crew, ranks, receivers, verb, parts, count, outgoing);
    if (parts != few)
        PyMem_RawFree(parts);
    return status;
}

int
crew_send_to(struct crew *crew, const int *ranks, size_t receivers,
             enum verb verb, const struct header *header,
             struct parcel *parcel)
{
    struct outgoing *outgoing = PyMem_RawMalloc(sizeof *outgoing);
    if (outgoing == NULL)
        return PyErr_NoMemory(), -1;
    outgoing->parcel = parcel ? parcel_keep(parcel) : NULL;
    header_pack(header, outgoing->header);
    if (send_parts(crew, ranks, receivers, verb, outgoing) < 0) {
        free_outgoing(outgoing);
        return -1;
    }
    reap(crew);
    return 0;
}

int
crew_send(struct crew *crew, int rank, enum verb verb,
          const struct header *header, struct parcel *parcel)
{
    return crew_send_to(crew, &rank, 1, verb, header, parcel);
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

/* Throws away what is still on its way of a message that cannot be kept. */
static void
discard(struct crew *crew, const struct transport_message *message)
{
    struct transport_error error;
    for (size_t i = 0; i < message->count; i++) {
        if (message->parts[i].base == NULL)
            crew->transport->take(crew->mailbox, i, NULL, &error);
    }
}

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
    return status == TRANSPORT_OK ? 0 : errors_raise_transport(&error);
}

static int
take_parcel(struct crew *crew, const struct transport_message *message,
            struct parcel *parcel, int64_t *took)
{
    size_t count = message->count - 1;
    struct transport_part *into = PyMem_RawMalloc(count * sizeof *into);
    if (into == NULL) {
        discard(crew, message);
        return PyErr_NoMemory(), -1;
    }
    parcel_parts(parcel, into);
    int64_t began = count > 1 ? crew_clock() : 0;
    int status = 0;
    for (size_t i = 0; i < count && status == 0; i++)
        status = take_part(crew, message, i + 1, &into[i]);
    *took = count > 1 ? crew_clock() - began : 0;
    PyMem_RawFree(into);
    return status;
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
    if (message->count == 1)
        return 1;
    letter->parcel = parcel_for(message->parts + 1, message->count - 1);
    if (letter->parcel == NULL) {
        discard(crew, message);
        return -1;
    }
    if (take_parcel(crew, message, letter->parcel, &letter->took) < 0) {
        parcel_free(letter->parcel);
        letter->parcel = NULL;
        return -1;
    }
    return 1;
}

int
crew_wait(struct crew *crew, double seconds)
{
    struct transport_error error = {0};
    int status;
    if (crew->arrived)
        return 1;
    if (seconds > 0) {
        Py_BEGIN_ALLOW_THREADS
        status = crew->transport->wait(crew->mailbox, seconds, &crew->message,
                                       &error);
        Py_END_ALLOW_THREADS
    }
    else {
        status =
            crew->transport->wait(crew->mailbox, 0, &crew->message, &error);
    }
    reap(crew);
    if (status == TRANSPORT_FAILED)
        return errors_raise_transport(&error);
    crew->arrived = status == TRANSPORT_OK;
    return crew->arrived;
}

int
crew_receive(struct crew *crew, double seconds, struct letter *letter)
{
    letter->verb = 0;
    letter->parcel = NULL;
    letter->took = 0;
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
    reap(crew);
    return status == TRANSPORT_FAILED ? errors_raise_transport(&error)
                                      : status == TRANSPORT_NOTHING;
}
