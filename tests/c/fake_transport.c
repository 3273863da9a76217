/* fake_transport.c -- a transport within one process, for tests.

   Handles RANKS * j to RANKS * j + RANKS - 1 are the ranks of job j; each
   belongs to a thread.  What goes beyond the contract of transport.h stands
   behind its table, in struct fake: a test can have the k-th call of a kind
   fail, and play the parts of MPI_Finalize and of the launcher.

   It is as strict as MPI may be.  Small parts are copied at send; large ones
   stay with the sender until the receiver takes them, and only then is the
   token given back.  What a receiver may no longer look at is overwritten.
   A caller that breaks the contract is told so, and counted. */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "transport.h"

#define RANKS 3                 /* of every job */
#define LARGE 4096u             /* parts from here on must be taken */
#define STALE 0xdd              /* what is no longer valid reads so */

#ifndef FAKE_VERSION            /* of the contract it claims to keep */
#define FAKE_VERSION TRANSPORT_VERSION
#endif

enum call {
    CHECK,
    START,
    OPEN,
    SEND,
    MULTICAST,
    FLUSH,
    WAIT,
    TAKE,
    CLOSE,
    CALLS
};

static const char *const call_names[CALLS] = {
    "check", "start", "open", "send",  "multicast",
    "flush", "wait",  "take", "close",
};

/* The sender's side of a message. */
struct sent {
    struct sent *next;
    void *token;
    size_t size;                /* of the parts that stay with the sender */
    size_t receivers;           /* that are not through with them */
};

struct message {
    struct message *next;
    struct mailbox *sender;
    struct sent *sent;          /* NULL once its token may be given back */
    int verb;
    size_t count;
    struct transport_part *parts; /* copies, or the sender's own */
    struct transport_part *shown; /* to the receiver: large ones NULL */
};

struct mailbox {
    struct job *job;
    int rank;
    int opened;
    int closed;
    int in_call;                /* one thread at a time */
    int interrupted;            /* and no wait has ended for it */
    int dead; /* its process has died, and rank 0 lives on */
    int told; /* rank 0 knows */
    void *owner;
    int farewell_verb;
    unsigned char farewell[256];
    size_t farewell_size;
    struct message *first, *last; /* arrived, not yet looked at */
    struct message *current;
    size_t taken; /* parts of it below this are settled */
    struct sent *waiting; /* tokens of messages on their way */
    struct sent *ready; /* tokens to be given back */
    _Atomic uint64_t word; /* shared with rank 0 */
};

struct job {
    struct job *next;
    int number;
    pthread_cond_t changed;
    struct mailbox ranks[RANKS];
    const char *over; /* why the job is at its end, or NULL */
};

/* One lock for all: this is a test. */
static struct {
    pthread_mutex_t lock;
    struct job *jobs;
    long calls[RANKS][CALLS];
    struct {
        int rank;
        enum call call;
        long number; /* this one fails; 0: none */
        int lasting; /* and all after it */
        int tripped;
    } plan;
    struct {
        int verb;
        long number; /* so many messages of that verb get lost */
    } loss;
    int wordless; /* as if no memory were shared */
    int survives; /* the job, when a worker dies */
    int violations;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int
refuse(struct transport_error *error, const char *call, const char *text)
{
    error->call = call;
    snprintf(error->text, sizeof(error->text), "%s", text);
    return TRANSPORT_FAILED;
}

static int
violate(struct transport_error *error, const char *call, const char *text)
{
    fake.violations++;
    fprintf(stderr, "fake transport: %s: %s\n", call, text);
    return refuse(error, call, text);
}

/* Counts the call; is it the one that is to fail? */
static int
count_call(int rank, enum call call, struct transport_error *error)
{
    long number = ++fake.calls[rank][call];
    if (fake.plan.number == 0 || rank != fake.plan.rank
        || call != fake.plan.call || number < fake.plan.number
        || (number > fake.plan.number && !fake.plan.lasting))
        return TRANSPORT_OK;
    fake.plan.tripped = 1;
    return refuse(error, call_names[call], "failed as planned");
}

/* ---- messages --------------------------------------------------------- */

static void *
copy_of(const void *bytes, size_t size)
{
    void *copy = malloc(size + 1);
    if (copy != NULL && size > 0)
        memcpy(copy, bytes, size);
    return copy;
}

/* A receiver is through with the message's large parts. */
static void
settle(struct message *message)
{
    struct mailbox *sender = message->sender;
    struct sent **link = &sender->waiting, *sent = message->sent;
    message->sent = NULL;
    if (sent == NULL || --sent->receivers > 0)
        return;
    while (*link != sent)
        link = &(*link)->next;
    *link = sent->next;
    sent->next = sender->ready;
    sender->ready = sent;
}

static void
drop(struct message *message)
{
    if (message == NULL)
        return;
    settle(message);
    for (size_t i = 0; i < message->count; i++) {
        if (message->parts[i].size >= LARGE)
            continue;
        memset(message->parts[i].base, STALE, message->parts[i].size);
        free(message->parts[i].base);
    }
    free(message->parts);
    free(message->shown);
    free(message);
}

/* Fills the message from parts; the number of bytes left with the sender. */
static size_t
fill(struct message *message, const struct transport_part *parts, size_t count)
{
    size_t left = 0;
    message->count = count;
    message->parts = calloc(count + 1, sizeof(*parts));
    message->shown = calloc(count + 1, sizeof(*parts));
    for (size_t i = 0; i < count; i++) {
        message->parts[i] = message->shown[i] = parts[i];
        if (parts[i].size >= LARGE) {
            left += parts[i].size;
            message->shown[i].base = NULL;
            continue;
        }
        message->parts[i].base = copy_of(parts[i].base, parts[i].size);
        message->shown[i].base = message->parts[i].base;
    }
    return left;
}

static void
deliver(struct mailbox *receiver, struct message *message)
{
    if (receiver->first == NULL)
        receiver->first = message;
    else
        receiver->last->next = message;
    receiver->last = message;
    pthread_cond_broadcast(&receiver->job->changed);
}

/* ---- calls ------------------------------------------------------------ */

/* Every call on a mailbox begins and ends with these; in between the lock is
   held. */
static int
enter(struct mailbox *mailbox, enum call call, struct transport_error *error)
{
    pthread_mutex_lock(&fake.lock);
    if (mailbox->in_call++)
        return violate(error, call_names[call], "two threads in a mailbox");
    if (mailbox->closed)
        return violate(error, call_names[call], "the mailbox is closed");
    if (count_call(mailbox->rank, call, error) != TRANSPORT_OK)
        return TRANSPORT_FAILED;
    if (mailbox->job->over != NULL)
        return refuse(error, call_names[call], mailbox->job->over);
    if (mailbox->dead)
        return refuse(error, call_names[call], "the process has died");
    return TRANSPORT_OK;
}

static int
leave(struct mailbox *mailbox, int status)
{
    mailbox->in_call--;
    pthread_mutex_unlock(&fake.lock);
    return status;
}

static struct timespec
in_seconds(double seconds)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    double whole = (double)time.tv_sec + 1e-9 * (double)time.tv_nsec + seconds;
    time.tv_sec = (time_t)whole;
    time.tv_nsec = (long)((whole - (double)time.tv_sec) * 1e9);
    return time;
}

/* Until something changes; 0 when that did not come in time. */
static int
sleep_until(struct job *job, const struct timespec *deadline)
{
    return pthread_cond_timedwait(&job->changed, &fake.lock, deadline)
           != ETIMEDOUT;
}

static void
post(struct mailbox *mailbox, int rank, int verb, struct sent *sent,
     const struct transport_part *parts, size_t count)
{
    struct message *message = calloc(1, sizeof(*message));
    message->sender = mailbox;
    message->sent = sent;
    message->verb = verb;
    sent->size += fill(message, parts, count);
    if (sent->size == 0)
        settle(message);
    if (verb == fake.loss.verb && fake.loss.number > 0) {
        fake.loss.number--;
        drop(message);
    }
    else if (mailbox->job->ranks[rank].dead) {
        drop(message);
    }
    else
        deliver(&mailbox->job->ranks[rank], message);
}

static int
send_to(struct mailbox *mailbox, enum call call, const int *ranks,
        size_t receivers, int verb, const struct transport_part *parts,
        size_t count, void *token, struct transport_error *error)
{
    if (enter(mailbox, call, error) != TRANSPORT_OK)
        return leave(mailbox, TRANSPORT_FAILED);
    if (call == MULTICAST && fake.survives)
        return leave(mailbox, violate(error, "multicast", "ranks may die"));
    for (size_t i = 0; i < receivers; i++) {
        if (ranks[i] < 0 || ranks[i] >= RANKS || ranks[i] == mailbox->rank)
            return leave(mailbox, violate(error, call_names[call], "no rank"));
    }
    if (token == NULL || receivers == 0)
        return leave(mailbox, violate(error, call_names[call], "no token"));
    struct sent *sent = calloc(1, sizeof(*sent));
    *sent = (struct sent){mailbox->waiting, token, 0, receivers};
    mailbox->waiting = sent;
    for (size_t i = 0; i < receivers; i++)
        post(mailbox, ranks[i], verb, sent, parts, count);
    return leave(mailbox, TRANSPORT_OK);
}

static int
fake_send(struct mailbox *mailbox, int rank, int verb, int expects,
          const struct transport_part *parts, size_t count, void *token,
          struct transport_error *error)
{
    (void)expects;
    return send_to(mailbox, SEND, &rank, 1, verb, parts, count, token, error);
}

static int
fake_multicast(struct mailbox *mailbox, const int *ranks, size_t receivers,
               int verb, const struct transport_part *parts, size_t count,
               void *token, struct transport_error *error)
{
    return send_to(mailbox, MULTICAST, ranks, receivers, verb, parts, count,
                   token, error);
}

static void *
fake_reap(struct mailbox *mailbox)
{
    pthread_mutex_lock(&fake.lock);
    struct sent *sent = mailbox->ready;
    void *token = NULL;
    if (sent != NULL) {
        token = sent->token;
        mailbox->ready = sent->next;
        free(sent);
    }
    pthread_mutex_unlock(&fake.lock);
    return token;
}

static int
fake_flush(struct mailbox *mailbox, double seconds,
           struct transport_error *error)
{
    struct timespec deadline = in_seconds(seconds);
    int status = enter(mailbox, FLUSH, error);
    while (status == TRANSPORT_OK && mailbox->waiting != NULL) {
        if (!sleep_until(mailbox->job, &deadline))
            status = TRANSPORT_NOTHING;
        else if (mailbox->job->over != NULL)
            status = refuse(error, "flush", mailbox->job->over);
    }
    return leave(mailbox, status);
}

/* Makes the next message the current one, if there is one. */
static int
advance(struct mailbox *mailbox, struct transport_message *message)
{
    struct message *next = mailbox->first;
    if (next == NULL)
        return TRANSPORT_NOTHING;
    mailbox->first = next->next;
    mailbox->current = next;
    mailbox->taken = 0;
    *message = (struct transport_message){next->sender->rank, next->verb,
                                          next->count, next->shown};
    return TRANSPORT_OK;
}

/* The next message, or else a rank that has died. */
static int
advance_or_lose(struct mailbox *mailbox, struct transport_message *message)
{
    int status = advance(mailbox, message);
    for (int rank = 1; rank < RANKS && mailbox->rank == 0; rank++) {
        struct mailbox *other = &mailbox->job->ranks[rank];
        if (status != TRANSPORT_NOTHING || !other->dead || other->told)
            continue;
        other->told = 1;
        *message = (struct transport_message){.source = rank};
        status = TRANSPORT_LOST;
    }
    return status;
}

/* The next part from index on that must be taken; count: none. */
static size_t
next_large(const struct message *message, size_t index)
{
    while (index < message->count && message->shown[index].base != NULL)
        index++;
    return index;
}

static int
all_taken(const struct mailbox *mailbox)
{
    const struct message *message = mailbox->current;
    return message == NULL || fake.plan.tripped
           || next_large(message, mailbox->taken) == message->count;
}

static int
fake_wait(struct mailbox *mailbox, double seconds,
          struct transport_message *message, struct transport_error *error)
{
    struct timespec deadline = in_seconds(seconds);
    int status = enter(mailbox, WAIT, error);
    if (status == TRANSPORT_OK && !all_taken(mailbox))
        status = violate(error, "wait", "a part was not taken");
    if (status != TRANSPORT_OK)
        return leave(mailbox, status);
    drop(mailbox->current);
    mailbox->current = NULL;
    pthread_cond_broadcast(&mailbox->job->changed);
    status = advance_or_lose(mailbox, message);
    while (status == TRANSPORT_NOTHING && !mailbox->interrupted
           && sleep_until(mailbox->job, &deadline)) {
        status = advance_or_lose(mailbox, message);
        if (mailbox->job->over != NULL)
            status = refuse(error, "wait", mailbox->job->over);
    }
    if (status == TRANSPORT_NOTHING)
        mailbox->interrupted = 0;
    return leave(mailbox, status);
}

/* Not a call like others: it comes while a thread is in the mailbox. */
static void
fake_interrupt(struct mailbox *mailbox)
{
    pthread_mutex_lock(&fake.lock);
    mailbox->interrupted = 1;
    pthread_cond_broadcast(&mailbox->job->changed);
    pthread_mutex_unlock(&fake.lock);
}

static int
fake_take(struct mailbox *mailbox, size_t index, void *base,
          struct transport_error *error)
{
    struct message *current = mailbox->current;
    if (enter(mailbox, TAKE, error) != TRANSPORT_OK)
        return leave(mailbox, TRANSPORT_FAILED);
    if (current == NULL || index >= current->count
        || index != next_large(current, mailbox->taken))
        return leave(mailbox, violate(error, "take", "not the next part"));
    if (current->sender->dead) {
        mailbox->taken = current->count;
        return leave(mailbox, TRANSPORT_LOST);
    }
    if (base != NULL)
        memcpy(base, current->parts[index].base, current->parts[index].size);
    mailbox->taken = index + 1;
    if (next_large(current, mailbox->taken) == current->count) {
        settle(current);
        pthread_cond_broadcast(&mailbox->job->changed);
    }
    return leave(mailbox, TRANSPORT_OK);
}

/* Which rank's word it is that this one and that share; NULL: none. */
static struct mailbox *
sharer(struct mailbox *mailbox, int rank)
{
    if (rank < 0 || rank >= RANKS || (mailbox->rank == 0) == (rank == 0))
        return NULL;
    return mailbox->rank == 0 ? &mailbox->job->ranks[rank] : mailbox;
}

static _Atomic uint64_t *
fake_word(struct mailbox *mailbox, int rank)
{
    struct transport_error error;
    pthread_mutex_lock(&fake.lock);
    struct mailbox *owner = sharer(mailbox, rank);
    if (mailbox->in_call)
        violate(&error, "word", "two threads in a mailbox");
    int given = owner != NULL && !fake.wordless && !mailbox->closed;
    pthread_mutex_unlock(&fake.lock);
    return given ? &owner->word : NULL;
}

static int
fake_close(struct mailbox *mailbox, struct transport_error *error)
{
    int status = enter(mailbox, CLOSE, error);
    if (status == TRANSPORT_OK)
        mailbox->closed = 1;
    return leave(mailbox, status);
}

/* ---- mailboxes -------------------------------------------------------- */

static struct job *
job_of(int number)
{
    struct job *job = fake.jobs;
    while (job != NULL && job->number != number)
        job = job->next;
    if (job != NULL)
        return job;
    job = calloc(1, sizeof(*job));
    job->next = fake.jobs;
    job->number = number;
    pthread_cond_init(&job->changed, NULL);
    for (int rank = 0; rank < RANKS; rank++) {
        job->ranks[rank].job = job;
        job->ranks[rank].rank = rank;
    }
    return fake.jobs = job;
}

static struct mailbox *
mailbox_of(int32_t handle)
{
    return &job_of(handle / RANKS)->ranks[handle % RANKS];
}

static int
open_mailbox(struct mailbox *mailbox,
             const struct transport_farewell *farewell,
             struct transport_error *error)
{
    if (farewell->size > sizeof(mailbox->farewell))
        return violate(error, "open", "a farewell of that size");
    if (mailbox->opened)
        return TRANSPORT_OK;
    mailbox->opened = 1;
    mailbox->farewell_verb = farewell->verb;
    mailbox->farewell_size = farewell->size;
    memcpy(mailbox->farewell, farewell->bytes, farewell->size);
    return TRANSPORT_OK;
}

static int
fake_open(int32_t handle, const struct transport_farewell *farewell,
          double seconds, struct mailbox **mailbox,
          struct transport_error *error)
{
    (void)seconds;
    if (handle < 0)
        return refuse(error, "open", "there is no such communicator");
    pthread_mutex_lock(&fake.lock);
    int status = count_call(handle % RANKS, OPEN, error);
    *mailbox = mailbox_of(handle);
    if (status == TRANSPORT_OK)
        status = open_mailbox(*mailbox, farewell, error);
    pthread_mutex_unlock(&fake.lock);
    return status;
}

static int
fake_rank(const struct mailbox *mailbox)
{
    return mailbox->rank;
}

static int
fake_ranks(const struct mailbox *mailbox)
{
    (void)mailbox;
    return RANKS;
}

static int32_t
fake_handle(const struct mailbox *mailbox)
{
    return RANKS * mailbox->job->number + mailbox->rank;
}

static void *
fake_owner(const struct mailbox *mailbox)
{
    return mailbox->owner;
}

static void
fake_set_owner(struct mailbox *mailbox, void *owner)
{
    mailbox->owner = owner;
}

static int
fake_closed(const struct mailbox *mailbox)
{
    return mailbox->closed;
}

static void
fake_set_ending(double seconds, int code)
{
    (void)seconds;
    (void)code;
}

static void
finish_job(struct job *job, const char *why)
{
    pthread_mutex_lock(&fake.lock);
    job->over = why;
    pthread_cond_broadcast(&job->changed);
    pthread_mutex_unlock(&fake.lock);
}

/* What was sent to it, and not looked at, is gone. */
static void
kill_rank(struct mailbox *mailbox)
{
    struct message *message;
    pthread_mutex_lock(&fake.lock);
    mailbox->dead = 1;
    while ((message = mailbox->first) != NULL) {
        mailbox->first = message->next;
        drop(message);
    }
    drop(mailbox->current);
    mailbox->current = NULL;
    pthread_cond_broadcast(&mailbox->job->changed);
    pthread_mutex_unlock(&fake.lock);
}

/* The rank's process has ended; the launcher ends the job, or does not. */
static void
lose_process(struct mailbox *mailbox, const char *why)
{
    if (fake.survives && mailbox->rank != 0)
        kill_rank(mailbox);
    else
        finish_job(mailbox->job, why);
}

/* The process must live on, for the next test: so this returns. */
static void
fake_abort(struct mailbox *mailbox, int code)
{
    (void)code;
    lose_process(mailbox, "the job was aborted");
}

static int
fake_survives(const struct mailbox *mailbox)
{
    (void)mailbox;
    return fake.survives;
}

/* ---- the process ------------------------------------------------------ */

static int
fake_check(char *library, size_t size, struct transport_error *error)
{
    snprintf(library, size, "no MPI at all");
    pthread_mutex_lock(&fake.lock);
    int status = count_call(0, CHECK, error);
    pthread_mutex_unlock(&fake.lock);
    return status;
}

static int
fake_start(int *first, struct transport_error *error)
{
    *first = 0;
    pthread_mutex_lock(&fake.lock);
    int status = count_call(0, START, error);
    pthread_mutex_unlock(&fake.lock);
    return status;
}

static void
fake_leave(void)
{
}

static int
fake_threads(void)
{
    return 1;
}

/* ---- the test's side -------------------------------------------------- */

static enum call
call_named(const char *name)
{
    int call = 0;
    while (call < CALLS && strcmp(call_names[call], name) != 0)
        call++;
    return (enum call)call;
}

static void
control_plan(int rank, const char *name, long number, int lasting)
{
    pthread_mutex_lock(&fake.lock);
    memset(fake.calls, 0, sizeof(fake.calls));
    fake.plan.rank = rank;
    fake.plan.call = call_named(name);
    fake.plan.number = number;
    fake.plan.lasting = lasting;
    fake.plan.tripped = 0;
    fake.loss.number = 0;
    pthread_mutex_unlock(&fake.lock);
}

static void
control_lose(int verb, long number)
{
    pthread_mutex_lock(&fake.lock);
    fake.loss.verb = verb;
    fake.loss.number = number;
    pthread_mutex_unlock(&fake.lock);
}

static long
control_to_lose(void)
{
    return fake.loss.number;
}

static void
control_share(int words)
{
    pthread_mutex_lock(&fake.lock);
    fake.wordless = !words;
    pthread_mutex_unlock(&fake.lock);
}

static int
control_tripped(void)
{
    return fake.plan.tripped;
}

static int
control_violations(void)
{
    return fake.violations;
}

/* What MPI_Finalize does at rank 0: it says farewell. */
static void
control_finalize(int32_t handle)
{
    pthread_mutex_lock(&fake.lock);
    struct mailbox *mailbox = mailbox_of(handle);
    struct transport_part part = {mailbox->farewell, mailbox->farewell_size};
    for (int rank = 1; rank < RANKS; rank++) {
        struct message *message = calloc(1, sizeof(*message));
        message->sender = mailbox;
        message->verb = mailbox->farewell_verb;
        fill(message, &part, 1);
        deliver(&mailbox->job->ranks[rank], message);
    }
    pthread_mutex_unlock(&fake.lock);
}

/* A message that no engine made, from that rank; its large parts stay where
   they are. */
static void
control_inject(int32_t handle, int source, int verb,
               const struct transport_part *parts, size_t count)
{
    pthread_mutex_lock(&fake.lock);
    struct mailbox *mailbox = mailbox_of(handle);
    struct message *message = calloc(1, sizeof(*message));
    message->sender = &mailbox->job->ranks[source];
    message->verb = verb;
    fill(message, parts, count);
    deliver(mailbox, message);
    pthread_mutex_unlock(&fake.lock);
}

/* Messages of the verb that have arrived, and nobody looked at. */
static int
control_arrived(int32_t handle, int verb)
{
    int count = 0;
    pthread_mutex_lock(&fake.lock);
    struct message *message = mailbox_of(handle)->first;
    for (; message != NULL; message = message->next)
        count += message->verb == verb;
    pthread_mutex_unlock(&fake.lock);
    return count;
}

/* Was the job ended, by abort or die? */
static int
control_over(int32_t handle)
{
    return mailbox_of(handle)->job->over != NULL;
}

static void
control_survive(int survives)
{
    pthread_mutex_lock(&fake.lock);
    fake.survives = survives;
    pthread_mutex_unlock(&fake.lock);
}

/* A rank's process has died. */
static void
control_die(int32_t handle)
{
    pthread_mutex_lock(&fake.lock); /* or two threads would make the job */
    struct mailbox *mailbox = mailbox_of(handle);
    pthread_mutex_unlock(&fake.lock);
    lose_process(mailbox, "a rank has died");
}

static size_t
total(const struct sent *sent)
{
    size_t size = 0;
    for (; sent != NULL; sent = sent->next)
        size += sent->size;
    return size;
}

/* Bytes of messages whose token the mailbox's user has not got back. */
static size_t
control_kept(int32_t handle)
{
    pthread_mutex_lock(&fake.lock);
    struct mailbox *mailbox = mailbox_of(handle);
    size_t size = total(mailbox->waiting) + total(mailbox->ready);
    pthread_mutex_unlock(&fake.lock);
    return size;
}

struct fake {
    struct transport table; /* what the engine sees */
    int ranks;
    void (*plan)(int rank, const char *call, long number, int lasting);
    int (*tripped)(void); /* has the plan come to pass? */
    int (*violations)(void);
    void (*finalize)(int32_t handle);
    void (*die)(int32_t handle);
    int (*over)(int32_t handle);
    size_t (*kept)(int32_t handle);
    void (*lose)(int verb, long number);
    long (*to_lose)(void); /* how many of them are still to be lost */
    void (*share)(int words); /* 0: word gives none; 1, as at first: all */
    void (*survive)(int survives); /* 1: the job does, when workers die */
    void (*inject)(int32_t handle, int source, int verb,
                   const struct transport_part *parts, size_t count);
    int (*arrived)(int32_t handle, int verb);
};

extern const struct fake ezmpi_transport;

const struct fake ezmpi_transport = {
    .table =
        {
            .version = FAKE_VERSION,
            .size = sizeof(struct transport),
            .variant = "fake",
            .compiled_for = "tests",
            .check = fake_check,
            .start = fake_start,
            .leave = fake_leave,
            .threads = fake_threads,
            .open = fake_open,
            .rank = fake_rank,
            .ranks = fake_ranks,
            .handle = fake_handle,
            .survives = fake_survives,
            .owner = fake_owner,
            .set_owner = fake_set_owner,
            .send = fake_send,
            .multicast = fake_multicast,
            .reap = fake_reap,
            .flush = fake_flush,
            .wait = fake_wait,
            .interrupt = fake_interrupt,
            .take = fake_take,
            .word = fake_word,
            .close = fake_close,
            .closed = fake_closed,
            .set_ending = fake_set_ending,
            .abort = fake_abort,
        },
    .ranks = RANKS,
    .plan = control_plan,
    .tripped = control_tripped,
    .violations = control_violations,
    .finalize = control_finalize,
    .die = control_die,
    .over = control_over,
    .kept = control_kept,
    .lose = control_lose,
    .to_lose = control_to_lose,
    .share = control_share,
    .survive = control_survive,
    .inject = control_inject,
    .arrived = control_arrived,
};
