/* mailbox.c -- a mailbox: an inbox, an outbox, and a farewell at the end.

   Knows no MPI (wire.h), no Python, and of the verbs only the farewell's. */

#include "mailbox.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alarm.h"
#include "frame.h"
#include "inbox.h"
#include "outbox.h"
#include "patience.h"

#define ENDING_SECONDS 5.0
#define RANKS_NAMED 4               /* in the line before an abort */

struct mailbox {
    struct mailbox *next;
    struct wire *wire;
    int32_t handle;
    void *owner;
    struct inbox inbox;
    struct outbox outbox;
    double idle;                    /* seconds waited in vain so far */
    struct alarm alarm;             /* for who waits */

    struct transport_farewell farewell;     /* bytes: our copy */
    int said;
    int heard;                      /* farewells of others */
    char *heard_from;               /* by rank */
    char *told_of; /* by rank: the caller knows of its death */
    int told; /* deaths */
    int lost; /* the rank that was told of last */
    _Atomic int closed;             /* any thread asks */
    int ended;
    double ending_seconds;
    int ending_code;
    double quiet_seconds;           /* it waits so long instead, and says
                                       nothing where that was in vain; or 0 */
};

/* ---- a mailbox --------------------------------------------------------- */

static void
free_memory(struct mailbox *mailbox)
{
    outbox_fini(&mailbox->outbox);
    free((void *)mailbox->farewell.bytes);
    free(mailbox->heard_from);
    free(mailbox->told_of);
    free(mailbox);
}

struct mailbox *
mailbox_new(struct wire *wire, int32_t handle,
            const struct transport_farewell *farewell, struct mailbox *next)
{
    struct mailbox *mailbox = calloc(1, sizeof(*mailbox));

    if (mailbox == NULL) {
        return NULL;
    }
    mailbox->next = next;
    mailbox->wire = wire;
    mailbox->handle = handle;
    inbox_init(&mailbox->inbox, wire);
    outbox_init(&mailbox->outbox, wire);
    mailbox->heard_from = calloc((size_t)wire->ranks, 1);
    mailbox->told_of = calloc((size_t)wire->ranks, 1);
    mailbox->farewell = *farewell;
    mailbox->farewell.bytes = malloc(farewell->size + 1);
    mailbox->ending_seconds = ENDING_SECONDS;
    mailbox->ending_code = TRANSPORT_OWN_CODE;
    if (mailbox->heard_from == NULL || mailbox->told_of == NULL
        || mailbox->farewell.bytes == NULL) {
        free_memory(mailbox);
        return NULL;
    }
    memcpy((void *)mailbox->farewell.bytes, farewell->bytes, farewell->size);
    return mailbox;
}

int
mailbox_rank(const struct mailbox *mailbox)
{
    return mailbox->wire->rank;
}

int
mailbox_ranks(const struct mailbox *mailbox)
{
    return mailbox->wire->ranks;
}

int32_t
mailbox_handle(const struct mailbox *mailbox)
{
    return mailbox->handle;
}

void *
mailbox_owner(const struct mailbox *mailbox)
{
    return mailbox->owner;
}

void
mailbox_set_owner(struct mailbox *mailbox, void *owner)
{
    mailbox->owner = owner;
}

/* ---- errors ------------------------------------------------------------ */

static int
refuse(struct transport_error *error, const char *call, const char *text)
{
    error->call = call;
    snprintf(error->text, sizeof(error->text), "%s", text);
    return TRANSPORT_FAILED;
}

static int
is_broken(const struct mailbox *mailbox)
{
    return mailbox->wire->error.call != NULL;
}

/* Failures inside are the wire's. */
static int
report(const struct mailbox *mailbox, int status,
       struct transport_error *error)
{
    if (status == TRANSPORT_FAILED) {
        *error = mailbox->wire->error;
    }
    return status;
}

/* ---- messages ---------------------------------------------------------- */

/* Whether the farewells of all others have come that will: see "the end". */
static int
heard_all(const struct mailbox *mailbox)
{
    return mailbox->heard
           == (mailbox->wire->rank == 0 ? mailbox->wire->ranks - 1 : 1);
}

/* What is wrong with such a message from here to rank, or NULL. */
static const char *
find_wrong(const struct mailbox *mailbox, int rank, int verb, size_t count)
{
    const struct wire *wire = mailbox->wire;

    if (mailbox->said) {
        return "after the farewell";
    }
    if (rank < 0 || rank >= wire->ranks || rank == wire->rank
        || (rank != 0 && wire->rank != 0)) {
        return "not between rank 0 and another";
    }
    if (verb < 0 || verb >= VERB_TAGS || !frame_holds(count)) {
        return "no such verb, or too many parts";
    }
    return NULL;
}

int
mailbox_send(struct mailbox *mailbox, int rank, int verb, int expects,
             const struct transport_part *parts, size_t count, void *token,
             struct transport_error *error)
{
    const char *wrong;

    if (is_broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    wrong = find_wrong(mailbox, rank, verb, count);
    if (wrong != NULL) {
        return refuse(error, "send", wrong);
    }
    mailbox->idle = 0;
    return report(mailbox,
                  outbox_send(&mailbox->outbox, rank, verb, expects, parts,
                              count, token),
                  error);
}

int
mailbox_multicast(struct mailbox *mailbox, const int *ranks, size_t receivers,
                  int verb, const struct transport_part *parts, size_t count,
                  void *token, struct transport_error *error)
{
    if (is_broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    if (mailbox->wire->rank != 0 || receivers == 0) {
        return refuse(error, "multicast", "to nobody, or not from rank 0");
    }
    for (size_t i = 0; i < receivers; i++) {
        const char *wrong = find_wrong(mailbox, ranks[i], verb, count);
        if (i > 0 && ranks[i] <= ranks[i - 1]) {
            wrong = "ranks that do not ascend";
        }
        if (wrong != NULL) {
            return refuse(error, "multicast", wrong);
        }
    }
    mailbox->idle = 0;
    return report(mailbox,
                  outbox_multicast(&mailbox->outbox, ranks, receivers, verb,
                                   parts, count, token),
                  error);
}

void *
mailbox_reap(struct mailbox *mailbox)
{
    void *token = outbox_reap(&mailbox->outbox);

    if (token == NULL && !is_broken(mailbox)) {
        /* What breaks here, the next call reports. */
        outbox_progress(&mailbox->outbox, 0);
        token = outbox_reap(&mailbox->outbox);
    }
    return token;
}

static int
flush(struct mailbox *mailbox, double seconds)
{
    struct patience patience = {.crowded = mailbox->wire->crowded};

    for (;;) {
        if (outbox_progress(&mailbox->outbox, 1) < 0) {
            return TRANSPORT_FAILED;
        }
        if (mailbox->outbox.first == NULL) {
            return TRANSPORT_OK;
        }
        if (patience.waited >= seconds) {
            return TRANSPORT_NOTHING;
        }
        patience_rest(&patience);
    }
}

int
mailbox_flush(struct mailbox *mailbox, double seconds,
              struct transport_error *error)
{
    int status =
        is_broken(mailbox) ? TRANSPORT_FAILED : flush(mailbox, seconds);

    return report(mailbox, status, error);
}

static void
note_heard(struct mailbox *mailbox, int rank)
{
    mailbox->heard += !mailbox->heard_from[rank];
    mailbox->heard_from[rank] = 1;
}

/* Receives a message; not one of a rank that the caller was told of, which
   was still under way then. */
static int
receive_any(struct mailbox *mailbox)
{
    int status;

    do {
        status = inbox_receive(&mailbox->inbox);
    } while (status == TRANSPORT_OK
             && mailbox->told_of[mailbox->inbox.message.source]);
    return status;
}

/* A rank has died, and nothing has come: then nothing more will from it, if
   one look goes every way and meets no message that is on its way here. */
static int
lose_rank(struct mailbox *mailbox)
{
    const char *gone = mailbox->wire->gone;
    int rank = 1, status;

    wire_look_well(mailbox->wire);
    status = receive_any(mailbox);
    if (status != TRANSPORT_NOTHING || !inbox_is_open(&mailbox->inbox)) {
        return status;
    }
    while (!gone[rank] || mailbox->told_of[rank]) {
        rank++;
    }
    mailbox->told_of[rank] = 1;
    mailbox->told++;
    mailbox->lost = rank;
    note_heard(mailbox, rank); /* it has no farewell to say */
    return TRANSPORT_LOST;
}

/* Receives a message, if one has come, and notes a farewell; or finds that a
   rank has died. */
static int
receive(struct mailbox *mailbox)
{
    const struct transport_message *message = &mailbox->inbox.message;
    int status = receive_any(mailbox);

    if (status == TRANSPORT_NOTHING && mailbox->wire->deaths > mailbox->told) {
        status = lose_rank(mailbox);
    }
    if (status == TRANSPORT_OK && message->verb == mailbox->farewell.verb) {
        note_heard(mailbox, message->source);
    }
    return status;
}

struct waiting {
    struct patience patience; /* first: it is what is passed around */
    struct mailbox *mailbox;
    struct alarm *alarm; /* NULL: nobody interrupts */
};

/* A wake-up is for any message, so it is no help to who waits for one. */
static void
sleep_for_mail(struct patience *patience, double seconds)
{
    const struct waiting *waiting = (struct waiting *)patience;
    const struct mailbox *mailbox = waiting->mailbox;

    if (inbox_is_open(&mailbox->inbox)
        && wire_sleep(mailbox->wire, seconds, waiting->alarm)) {
        return;
    }
    if (waiting->alarm != NULL) {
        alarm_sleep_alone(waiting->alarm, seconds);
    }
    else {
        patience_sleep(seconds);
    }
}

static int
await(struct mailbox *mailbox, double seconds)
{
    /* Many short waits in a row are one long wait. */
    struct waiting waiting = {{.crowded = mailbox->wire->crowded,
                               .before = mailbox->idle,
                               .sleep = sleep_for_mail},
                              mailbox,
                              &mailbox->alarm};
    struct patience *patience = &waiting.patience;

    for (;;) {
        int status = receive(mailbox);
        if (status != TRANSPORT_NOTHING) {
            mailbox->idle = 0;
            return status;
        }
        if (outbox_progress(&mailbox->outbox, 0) < 0) {
            return TRANSPORT_FAILED;
        }
        if (alarm_hear(&mailbox->alarm) || patience->waited >= seconds) {
            mailbox->idle += patience->waited;
            return TRANSPORT_NOTHING;
        }
        patience_rest(patience);
        if (is_broken(mailbox)) {   /* where one sleeps, others are seen */
            return TRANSPORT_FAILED;
        }
    }
}

int
mailbox_wait(struct mailbox *mailbox, double seconds,
             struct transport_message *message, struct transport_error *error)
{
    int status;

    if (is_broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    /* After rank 0's farewell nothing will come. */
    if (mailbox->wire->rank != 0 && heard_all(mailbox)) {
        return TRANSPORT_NOTHING;
    }
    status = await(mailbox, seconds);
    if (status == TRANSPORT_OK) {
        *message = mailbox->inbox.message;
    }
    if (status == TRANSPORT_LOST) {
        *message = (struct transport_message){.source = mailbox->lost};
    }
    return report(mailbox, status, error);
}

void
mailbox_interrupt(struct mailbox *mailbox)
{
    alarm_ring(&mailbox->alarm);
}

int
mailbox_take(struct mailbox *mailbox, size_t index, void *base,
             struct transport_error *error)
{
    const struct inbox *inbox = &mailbox->inbox;
    const struct transport_part *part;

    if (is_broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    if (index >= inbox->message.count) {
        return refuse(error, "take", "the message has no such part");
    }
    part = &inbox->parts[index];
    if (part->base != NULL) {
        if (base != NULL) {
            memcpy(base, part->base, part->size);
        }
        return TRANSPORT_OK;
    }
    if (index < inbox->settled) {
        return refuse(error, "take", "this part or a later one was taken");
    }
    return report(mailbox, inbox_take(&mailbox->inbox, index, base), error);
}

_Atomic uint64_t *
mailbox_word(struct mailbox *mailbox, int rank)
{
    const struct wire *wire = mailbox->wire;

    return rank >= 0 && rank < wire->ranks ? wire_word(wire, rank) : NULL;
}

/* ---- the end -----------------------------------------------------------

   Every rank says farewell once: rank 0 when it is done for good, another in
   answer to that; and a rank sends nothing after it.  Messages keep their
   order, so whoever has heard a farewell has received all that its sender
   ever sent, and all that others passed on, whose notes came before it.  When
   rank 0 has heard all others, and another rank has heard rank 0 and its own
   farewell has left, nothing is on its way, and MPI_Finalize meets no message
   that nobody received.  Forked processes do the same when they part.

   Nobody waits in a circle: a process says all the farewells that it owes as
   rank 0 before it waits for any, and then serves its mailboxes in turn, so
   that each farewell that comes is answered. */

static int
say_farewell(struct mailbox *mailbox)
{
    struct transport_part part = {(void *)mailbox->farewell.bytes,
                                  mailbox->farewell.size};
    int first = mailbox->wire->rank == 0 ? 1 : 0;
    int end = mailbox->wire->rank == 0 ? mailbox->wire->ranks : 1;
    int status = TRANSPORT_OK;

    mailbox->said = 1;
    wire_end(mailbox->wire);
    for (int rank = first; rank < end && status == TRANSPORT_OK; rank++) {
        status = outbox_send(&mailbox->outbox, rank, mailbox->farewell.verb, 0,
                             &part, 1, NULL);
    }
    return status;
}

int
mailbox_close(struct mailbox *mailbox, struct transport_error *error)
{
    if (mailbox->closed) {
        return TRANSPORT_OK;
    }
    if (is_broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    if (mailbox->wire->rank == 0 || !heard_all(mailbox)) {
        return refuse(error, "close", "rank 0 has not said farewell");
    }
    if (say_farewell(mailbox) < 0 || flush(mailbox, HUGE_VAL) < 0) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    mailbox->closed = 1;
    return TRANSPORT_OK;
}

int
mailbox_closed(const struct mailbox *mailbox)
{
    return mailbox->closed;
}

void
mailbox_set_ending(struct mailbox *first, double seconds, int code)
{
    for (struct mailbox *m = first; m != NULL; m = m->next) {
        m->ending_seconds = seconds;
        m->ending_code = code;
    }
}

void
mailbox_set_patience(struct mailbox *mailbox, double seconds)
{
    mailbox->quiet_seconds = seconds;
}

int
mailbox_is_only(const struct mailbox *first, int ranks)
{
    return first != NULL && first->next == NULL && first->wire->ranks == ranks;
}

/* "ranks 2, 3, 5, 8 and 500 more": those whose farewell has not come. */
static void
name_missing(const struct mailbox *mailbox, char *text, size_t size)
{
    int missing = mailbox->wire->ranks - 1 - mailbox->heard;
    int named = 0;
    size_t length =
        (size_t)snprintf(text, size, "rank%s", missing == 1 ? "" : "s");

    for (int rank = 1; named < missing && named < RANKS_NAMED; rank++) {
        if (!mailbox->heard_from[rank]) {
            length += (size_t)snprintf(text + length, size - length, "%s %d",
                                       named > 0 ? "," : "", rank);
            named++;
        }
    }
    if (missing > named) {
        snprintf(text + length, size - length, " and %d more",
                 missing - named);
    }
}

static void
abort_late(const struct mailbox *mailbox)
{
    char names[128];
    int one = mailbox->wire->ranks - 1 - mailbox->heard == 1;

    if (mailbox->quiet_seconds > 0) {
        return;
    }
    name_missing(mailbox, names, sizeof(names));
    fprintf(stderr,
            "ezmpi: %s still %s %g s after rank 0 ended; aborting "
            "the job\n",
            names, one ? "works" : "work", mailbox->ending_seconds);
    if (mailbox->ending_code >= 0) {
        wire_abort(mailbox->ending_code);
    }
}

static _Noreturn void
abort_broken(const struct mailbox *mailbox)
{
    fprintf(stderr, "ezmpi: %s: %s; aborting the job\n",
            mailbox->wire->error.call, mailbox->wire->error.text);
    wire_abort(1);
}

/* Drops what has come. */
static int
drain(struct mailbox *mailbox)
{
    int status;

    while ((status = receive(mailbox)) == TRANSPORT_OK
           || status == TRANSPORT_LOST) {
        if (mailbox->wire->rank != 0 && mailbox->inbox.expects) {
            fprintf(stderr,
                    "ezmpi: rank 0 gave work to rank %d, which has "
                    "ended; aborting the job\n",
                    mailbox->wire->rank);
            wire_abort(1);
        }
    }
    return status;
}

/* A step towards the mailbox's end: OK when it is reached. */
static int
approach_end(struct mailbox *mailbox)
{
    if (drain(mailbox) < 0) {
        return TRANSPORT_FAILED;
    }
    if (heard_all(mailbox) && !mailbox->said && say_farewell(mailbox) < 0) {
        return TRANSPORT_FAILED;
    }
    if (outbox_progress(&mailbox->outbox, 1) < 0) {
        return TRANSPORT_FAILED;
    }
    return heard_all(mailbox) && mailbox->outbox.first == NULL
               ? TRANSPORT_OK
               : TRANSPORT_NOTHING;
}

/* 0: not yet; -1: it is too late for that. */
static int
is_at_end(struct mailbox *mailbox)
{
    int status = approach_end(mailbox);
    double deadline = mailbox->inbox.deadline;

    if (status != TRANSPORT_OK && deadline > 0 && patience_now() > deadline) {
        abort_late(mailbox);
        return -1;
    }
    if (status == TRANSPORT_FAILED && mailbox->quiet_seconds > 0) {
        return -1;
    }
    if (status == TRANSPORT_FAILED) {
        abort_broken(mailbox);
    }
    return status == TRANSPORT_OK;
}

/* Before any waiting: who has not sent all of a message must not wait for
   the farewell that ends it. */
static void
begin_end(struct mailbox *mailbox)
{
    int is_first = mailbox->wire->rank == 0;
    int is_quiet = mailbox->quiet_seconds > 0;
    double seconds =
        is_quiet ? mailbox->quiet_seconds : mailbox->ending_seconds;

    mailbox->inbox.deadline = is_first ? patience_now() + seconds : 0;
    if (!is_broken(mailbox) && is_first) {
        say_farewell(mailbox);
    }
    if (is_broken(mailbox) && !is_quiet) {
        abort_broken(mailbox);
    }
}

/* Keeps the tokens, to be reaped.  It is closed before the wire is, with which
   the shared word goes. */
static void
end(struct mailbox *mailbox)
{
    mailbox->closed = 1;
    mailbox->ended = 1;
    wire_close(mailbox->wire);
    inbox_fini(&mailbox->inbox);
}

void
mailbox_cut(struct mailbox *mailbox)
{
    if (!mailbox->ended) {
        if (!is_broken(mailbox)) {
            wire_fail(mailbox->wire, "close", "the pool's workers have ended");
        }
        end(mailbox);
        outbox_drop(&mailbox->outbox);
    }
}

void
mailbox_free(struct mailbox **first, struct mailbox *mailbox)
{
    struct mailbox **link = first;

    while (*link != NULL && *link != mailbox) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = mailbox->next;
    }
    free_memory(mailbox);
}

/* From mailbox on, the next one that is to end. */
static struct mailbox *
next_ending(struct mailbox *mailbox)
{
    while (mailbox != NULL && mailbox->ended) {
        mailbox = mailbox->next;
    }
    return mailbox;
}

/* Of one alone the others are not looked at: threads may free them. */
static struct mailbox *
first_ending(struct mailbox *first, struct mailbox *only)
{
    if (only != NULL) {
        return only->ended ? NULL : only;
    }
    return next_ending(first);
}

static struct mailbox *
later_ending(struct mailbox *mailbox, const struct mailbox *only)
{
    return only != NULL ? NULL : next_ending(mailbox->next);
}

int
mailbox_end(struct mailbox *first, struct mailbox *only)
{
    struct waiting waiting = {.patience.sleep = sleep_for_mail};
    struct mailbox *m;
    int status, at_end = 0;

    for (m = first_ending(first, only); m; m = later_ending(m, only)) {
        begin_end(m);
    }
    while (!at_end) {
        at_end = 1;
        for (m = first_ending(first, only); m; m = later_ending(m, only)) {
            status = is_at_end(m);
            if (status < 0) {
                return 0;
            }
            at_end &= status;
            waiting.patience.crowded = m->wire->crowded;
            waiting.mailbox = m; /* any will do: it sleeps briefly */
        }
        if (!at_end) {
            patience_rest(&waiting.patience);
        }
    }
    for (m = first_ending(first, only); m; m = later_ending(m, only)) {
        end(m);
    }
    return 1;
}
