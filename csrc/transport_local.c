/* transport_local.c -- the transport between a process and its forked
   children: its table, and the process's part in it.

   Parent and child run this (family.h).  The parent, rank 0, is the master
   with local workers, or a guard: then its one child is what transport.h calls
   workers.

   Knows neither MPI nor Python, and neither parts nor verbs. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "family.h"
#include "flush.h"
#include "mailbox.h"
#include "transport.h"
#include "wire.h"

/* Processes are forked, and left, without an argument of ours. */
static struct {
    pid_t pid;
    struct family *families;        /* its children's; the one it is of */
    struct mailbox *mailboxes;
    int32_t handles;                /* given out */
    pthread_mutex_t lock;           /* of these */
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int
refuse(struct transport_error *error, const char *call, const char *text)
{
    error->call = call;
    snprintf(error->text, sizeof(error->text), "%s", text);
    return TRANSPORT_FAILED;
}

int
wire_fail(struct wire *wire, const char *call, const char *text)
{
    return refuse(&wire->error, call, text);
}

/* ---- forking ----------------------------------------------------------- */

/* In a process that was forked. */
static void
disown_families(void)
{
    for (struct family *f = process.families; f != NULL; f = f->next) {
        family_disown(f);
    }
    process.families = NULL;
    process.mailboxes = NULL;
    process.pid = getpid();
    pthread_mutex_init(&process.lock, NULL);
}

static void
become_child(struct family *family, int rank)
{
    disown_families();
    family->next = NULL;
    process.families = family;
    family_enter(family, rank);
}

static void
add_family(struct family *family)
{
    pthread_mutex_lock(&process.lock);
    family->handle = ++process.handles;
    family->next = process.families;
    process.families = family;
    pthread_mutex_unlock(&process.lock);
}

static void
remove_family(struct family *family)
{
    struct family **link = &process.families;

    pthread_mutex_lock(&process.lock);
    while (*link != NULL && *link != family) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = family->next;
    }
    pthread_mutex_unlock(&process.lock);
}

/* One that has no mailbox, or not any more. */
static void
free_family(struct family *family)
{
    remove_family(family);
    family_kill(family);
    family_close(family);
    free(family);
}

static int
fail_fork(struct family *family, struct transport_error *error)
{
    char text[128];

    snprintf(text, sizeof(text), "no process can be forked: %s",
             strerror(errno));
    free_family(family);
    return refuse(error, "fork", text);
}

/* A child comes back from it with its rank; this process with 0, or -1. */
static int
fork_all(struct family *family)
{
    for (int rank = 1; rank < family->wire.ranks; rank++) {
        pid_t pid = family_fork(family, rank);
        if (pid < 0) {
            return -1;
        }
        if (pid == 0) {
            become_child(family, rank);
            return rank;
        }
    }
    return 0;
}

static int
transport_fork(int workers, int32_t *handle, int *rank,
               struct transport_error *error)
{
    struct family *family = family_new(workers);

    if (family == NULL) {
        return refuse(error, "mmap", "out of memory");
    }
    flush_output();             /* or each worker writes it again */
    add_family(family);
    *handle = family->handle;
    *rank = fork_all(family);
    if (*rank < 0) {
        *rank = 0;
        return fail_fork(family, error);
    }
    return TRANSPORT_OK;
}

/* ---- the process ------------------------------------------------------- */

static int
transport_check(char *library, size_t size, struct transport_error *error)
{
    (void)error;
    snprintf(library, size, "forked processes of this host");
    return TRANSPORT_OK;
}

static int
transport_start(int *first, struct transport_error *error)
{
    (void)error;
    *first = process.pid == 0;
    if (process.pid != getpid()) {
        disown_families();
    }
    return TRANSPORT_OK;
}

static int
transport_threads(void)
{
    return 1;
}

/* NULL also in what was forked by others, as by a task, where the lock may be
   held for ever. */
static struct family *
find_family(int32_t handle)
{
    struct family *family;

    if (process.pid != getpid()) {
        return NULL;
    }
    pthread_mutex_lock(&process.lock);
    family = process.families;
    while (family != NULL && family->handle != handle) {
        family = family->next;
    }
    pthread_mutex_unlock(&process.lock);
    return family;
}

static int
open_family(struct family *family, const struct transport_farewell *farewell,
            struct transport_error *error)
{
    family->mailbox = mailbox_new(&family->wire, family->handle, farewell,
                                  process.mailboxes);
    if (family->mailbox == NULL) {
        return refuse(error, "malloc", "out of memory");
    }
    process.mailboxes = family->mailbox;
    if (wire_open(&family->wire) < 0) {
        *error = family->wire.error;
        return TRANSPORT_FAILED;
    }
    return TRANSPORT_OK;
}

static int
transport_open(int32_t handle, const struct transport_farewell *farewell,
               double seconds, struct mailbox **mailbox,
               struct transport_error *error)
{
    struct family *family = find_family(handle);
    int status = TRANSPORT_OK;

    (void)seconds;
    if (family == NULL) {
        return refuse(error, "open", "there are no such workers");
    }
    pthread_mutex_lock(&process.lock);
    if (family->mailbox == NULL) {
        status = open_family(family, farewell, error);
    }
    pthread_mutex_unlock(&process.lock);
    *mailbox = family->mailbox;
    return status;
}

/* A mailbox is of no more use when one of them has died: local workers' pool
   breaks, and a guard (guard.h) opens another. */
static int
transport_survives(const struct mailbox *mailbox)
{
    (void)mailbox;
    return 0;
}

/* ---- the end ----------------------------------------------------------- */

/* Without farewells.  Of a family whose mailbox was opened that stays, for who
   holds it. */
static void
cut(struct family *family)
{
    if (family->mailbox == NULL) {
        free_family(family);
        return;
    }
    family_kill(family);
    mailbox_cut(family->mailbox);
}

static void
part_children(struct family *family, double seconds)
{
    if (family->mailbox == NULL || family->wire.error.call != NULL
        || seconds <= 0) {
        cut(family);
        return;
    }
    mailbox_set_patience(family->mailbox, seconds);
    if (!mailbox_end(NULL, family->mailbox)) {
        cut(family);
    }
}

static void
transport_part(int32_t handle, double seconds)
{
    struct family *family = find_family(handle);

    if (family == NULL || process.pid != getpid()) {
        return;
    }
    if (family->wire.rank == 0) {
        part_children(family, seconds);
    }
    else {
        flush_output();
        family->pacts[family->wire.rank - 1].has_left = 1;
        cut(family);
    }
}

static void
transport_fate(int32_t handle, int rank, struct transport_fate *fate)
{
    struct family *family = find_family(handle);
    struct peer *peer = family ? family_peer(family, rank) : NULL;
    int status = peer != NULL ? family_await_end(family, peer) : -1;

    fate->signal = status != -1 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    fate->code = status != -1 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    fate->peak = peer != NULL ? peer->peak : 0;
    fate->is_gone = peer != NULL && peer->process == 0;
}

static void
transport_free(struct mailbox *mailbox)
{
    struct family *family = find_family(mailbox_handle(mailbox));

    if (family == NULL || process.pid != getpid()
        || !mailbox_closed(mailbox)) {
        return;
    }
    pthread_mutex_lock(&process.lock);
    mailbox_free(&process.mailboxes, mailbox);
    pthread_mutex_unlock(&process.lock);
    free_family(family);
}

/* At the end of the process all are waited for at once. */
static void
transport_leave(void)
{
    struct family *family, *next;

    if (process.pid != getpid()) {
        return;
    }
    for (family = process.families; family != NULL; family = next) {
        next = family->next;
        if (family->mailbox == NULL || family->wire.error.call != NULL) {
            cut(family);
        }
    }
    mailbox_end(process.mailboxes, NULL);
    for (family = process.families; family != NULL; family = next) {
        next = family->next;
        cut(family);
    }
}

_Noreturn void
wire_abort(int code)
{
    flush_output();
    if (process.pid == getpid()) {
        for (struct family *f = process.families; f != NULL; f = f->next) {
            family_kill(f);
        }
    }
    /* Of an exit code only the low byte remains, and 0 would be success. */
    _exit((code & 0xff) != 0 ? code & 0xff : 1);
}

static void
transport_abort(struct mailbox *mailbox, int code)
{
    (void)mailbox;
    wire_abort(code);
}

static void
transport_set_ending(double seconds, int code)
{
    pthread_mutex_lock(&process.lock);
    mailbox_set_ending(process.mailboxes, seconds, code);
    pthread_mutex_unlock(&process.lock);
}

__attribute__((visibility("default")))
const struct transport ezmpi_transport = {
    .version = TRANSPORT_VERSION,
    .size = sizeof(struct transport),
    .variant = "local",
    .compiled_for = "this system",
    .check = transport_check,
    .start = transport_start,
    .leave = transport_leave,
    .threads = transport_threads,
    .fork = transport_fork,
    .part = transport_part,
    .fate = transport_fate,
    .free = transport_free,
    .open = transport_open,
    .rank = mailbox_rank,
    .ranks = mailbox_ranks,
    .handle = mailbox_handle,
    .survives = transport_survives,
    .owner = mailbox_owner,
    .set_owner = mailbox_set_owner,
    .send = mailbox_send,
    .multicast = mailbox_multicast,
    .reap = mailbox_reap,
    .flush = mailbox_flush,
    .wait = mailbox_wait,
    .interrupt = mailbox_interrupt,
    .take = mailbox_take,
    .word = mailbox_word,
    .close = mailbox_close,
    .closed = mailbox_closed,
    .set_ending = transport_set_ending,
    .abort = transport_abort,
};
