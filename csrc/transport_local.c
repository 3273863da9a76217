/* transport_local.c -- the transport between a process and its forked
   children: its table, the link (link.h), and the processes.

   Rank 0 forks the others, of which each has two sockets to it: one for
   pieces, which keep their order among themselves only, and one for all else.
   Knows neither MPI nor Python, and neither parts nor verbs. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#include "link.h"
#include "mailbox.h"
#include "patience.h"
#include "reach.h"
#include "stream.h"
#include "transport.h"
#include "wire.h"

#define LEAVING_SECONDS 1.0     /* that a process gets to end by itself */
#define LOOK_SECONDS 1e-3

/* In memory that rank 0 shares with a worker. */
struct pact {
    _Atomic int has_left;           /* the worker, as it should */
    struct stream_reads by_host, by_worker;
};

/* The process at the other end. */
struct peer {
    pid_t process;                  /* 0: it was reaped */
    struct stream mail, pieces;
};

struct group {
    struct wire wire;               /* first: it is what is passed around */
    struct group *next;
    struct mailbox *mailbox;        /* NULL until open */
    int32_t handle;
    int turn;                       /* the peer that is looked at first */
    uint64_t cookie;                /* to be read by who may */
    struct pact *pacts;             /* [ranks - 1] */
    struct peer peers[];            /* the same; a worker has only its own */
};

/* Processes are forked, and left, without an argument of ours. */
static struct {
    pid_t pid;
    struct group *groups;
    struct mailbox *mailboxes;
    int32_t handles;                /* given out */
    pthread_mutex_t lock;           /* of these */
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- errors ------------------------------------------------------------ */

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

static struct group *
group_of(struct wire *wire)
{
    return (struct group *)wire;
}

static int
peers_of(const struct group *group)
{
    return group->wire.ranks - 1;
}

static struct peer *
peer_of(struct group *group, int rank)
{
    return &group
                ->peers[(group->wire.rank == 0 ? rank : group->wire.rank) - 1];
}

static int
rank_of(const struct group *group, const struct peer *peer)
{
    return group->wire.rank == 0 ? (int)(peer - group->peers) + 1 : 0;
}

/* ---- how a process ends ------------------------------------------------ */

/* 1: it has ended, and *status says how, or -1 if somebody else reaped it. */
static int
reap(struct peer *peer, int *status)
{
    pid_t found = waitpid(peer->process, status, WNOHANG);

    if (found == 0 || (found < 0 && errno == EINTR)) {
        return 0;
    }
    *status = found < 0 ? -1 : *status;
    peer->process = 0;
    return 1;
}

static int
reap_within(struct peer *peer, double seconds, int *status)
{
    double deadline = patience_now() + seconds;

    while (peer->process != 0 && !reap(peer, status)) {
        if (patience_now() > deadline) {
            return 0;
        }
        patience_sleep(LOOK_SECONDS);
    }
    return 1;
}

static void
kill_and_reap(struct peer *peer)
{
    int status;

    if (peer->process > 0) {
        kill(peer->process, SIGKILL);
        reap_within(peer, LEAVING_SECONDS, &status);
    }
}

static void
describe_end(int status, char *text, size_t size)
{
    if (status != -1 && WIFSIGNALED(status)) {
        snprintf(text, size, "was ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    }
    else if (status != -1 && WIFEXITED(status)) {
        snprintf(text, size, "has ended with exit code %d",
                 WEXITSTATUS(status));
    }
    else {
        snprintf(text, size, "has ended");
    }
}

/* The other process has, though it should not. */
static int
fail_ended(struct group *group, struct peer *peer)
{
    pid_t pid = peer->process;
    int rank = rank_of(group, peer), status = -1;
    char how[128], text[256];

    if (rank != 0 && !reap_within(peer, LEAVING_SECONDS, &status)) {
        kill_and_reap(peer);
        status = -1;
    }
    describe_end(status, how, sizeof(how));
    snprintf(text, sizeof(text), "rank %d (process %lld) %s", rank,
             (long long)pid, how);
    return wire_fail(&group->wire, "worker", text);
}

/* What a stream's functions return, with errno. */
static int
checked(struct group *group, struct peer *peer, const char *call, int status)
{
    if (status != TRANSPORT_FAILED) {
        return status;
    }
    return errno == 0 ? fail_ended(group, peer)
                      : wire_fail(&group->wire, call, strerror(errno));
}

/* ---- the link ---------------------------------------------------------- */

static int
push(struct group *group, struct peer *peer)
{
    int status = stream_push(&peer->mail);

    if (status == TRANSPORT_OK) {
        status = stream_push(&peer->pieces);
    }
    return checked(group, peer, "sendmsg", status);
}

/* What waits for room, to whomever: a process that only waits for one message
   must not hold up others'. */
static int
push_all(struct group *group)
{
    int first = group->wire.rank == 0 ? 0 : group->wire.rank - 1;
    int end = group->wire.rank == 0 ? peers_of(group) : group->wire.rank;

    for (int i = first; i < end; i++) {
        if (push(group, &group->peers[i]) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return TRANSPORT_OK;
}

int
link_send(struct wire *wire, const void *base, size_t size, int rank, int tag,
          struct wire_slot *slot)
{
    struct group *group = group_of(wire);
    struct peer *peer = peer_of(group, rank);
    struct stream *stream = tag == PIECE_TAG ? &peer->pieces : &peer->mail;
    struct move *move = NULL;
    int status = stream_send(stream, base, size, tag, &move);

    slot->room = move;
    return checked(group, peer, "sendmsg", status);
}

/* A worker has left once it had nothing to say any more. */
static int
look_at(struct group *group, struct peer *peer, struct stream *stream,
        struct wire_arrival *arrival)
{
    int status = stream_look(stream);
    int rank = rank_of(group, peer);

    if (status == TRANSPORT_NOTHING && stream->has_ended
        && (rank == 0 || !group->pacts[rank - 1].has_left)) {
        return fail_ended(group, peer);
    }
    if (status != TRANSPORT_OK) {
        return checked(group, peer, "recv", status);
    }
    if (stream->in.size > WIRE_SIZE_LIMIT) {
        return wire_fail(&group->wire, "recv", "a message above 2 GiB");
    }
    arrival->source = rank;
    arrival->tag = stream->in.tag;
    arrival->size = stream->in.size;
    arrival->slot.room = stream;
    return TRANSPORT_OK;
}

static int
look_at_any(struct group *group, struct wire_arrival *arrival)
{
    int status = TRANSPORT_NOTHING;

    for (int i = 0; i < peers_of(group) && status == TRANSPORT_NOTHING; i++) {
        struct peer *peer = &group->peers[(group->turn + i) % peers_of(group)];
        status = look_at(group, peer, &peer->mail, arrival);
    }
    if (status == TRANSPORT_OK) {
        group->turn = arrival->source;      /* the next one's, next time */
    }
    return status;
}

int
link_look(struct wire *wire, int source, int tag, struct wire_arrival *arrival)
{
    struct group *group = group_of(wire);
    struct peer *peer;

    if (push_all(group) < 0) {
        return TRANSPORT_FAILED;
    }
    if (source == WIRE_ANY && wire->rank == 0) {
        return look_at_any(group, arrival);
    }
    peer = peer_of(group, source);
    return look_at(group, peer, tag == PIECE_TAG ? &peer->pieces : &peer->mail,
                   arrival);
}

/* The streams need nobody's help. */
void
link_progress(struct wire *wire)
{
    push_all(group_of(wire));
}

int
link_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
            struct wire_slot *slot)
{
    struct group *group = group_of(wire);
    struct move *move = NULL;
    int status = stream_accept(arrival->slot.room, base, &move);

    slot->room = move;
    return checked(group, peer_of(group, arrival->source), "process_vm_readv",
                   status);
}

/* In the middle of a message. */
static int
fail_broken_off(struct group *group)
{
    int code = errno;

    for (int i = 0; i < peers_of(group); i++) {
        struct peer *peer = &group->peers[i];
        if (peer->mail.has_ended || peer->pieces.has_ended) {
            return fail_ended(group, peer);
        }
    }
    return wire_fail(&group->wire, "recv", strerror(code));
}

int
link_test(struct wire *wire, struct wire_slot *slot)
{
    struct group *group = group_of(wire);
    int status;

    if (push_all(group) < 0) {
        return TRANSPORT_FAILED;
    }
    status = stream_test(slot->room);
    return status == TRANSPORT_FAILED ? fail_broken_off(group) : status;
}

static void
close_streams(struct peer *peer)
{
    stream_fini(&peer->mail);
    stream_fini(&peer->pieces);
}

/* At rank 0 the others have said farewell, or are to end at once. */
void
link_close(struct wire *wire)
{
    struct group *group = group_of(wire);
    int status;

    for (int i = 0; i < peers_of(group); i++) {
        close_streams(&group->peers[i]);
    }
    for (int i = 0; wire->rank == 0 && i < peers_of(group); i++) {
        struct peer *peer = &group->peers[i];
        if (!reap_within(peer, LEAVING_SECONDS, &status)) {
            kill_and_reap(peer);
        }
    }
    munmap(group->pacts, (size_t)peers_of(group) * sizeof(struct pact));
    group->pacts = NULL;
    wire_fail(wire, "close", "the pool's workers have ended");
}

/* ---- forking ----------------------------------------------------------- */

/* -1: errno says why. */
static int
make_sockets(int sockets[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) < 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(sockets[i], F_SETFD, FD_CLOEXEC);
    }
    return 0;
}

/* Only in the first thread: it would be the thread's end that counts. */
static int
can_follow(void)
{
#ifdef __linux__
    return syscall(SYS_gettid) == getpid();
#else
    return 0;
#endif
}

static void
end_with(pid_t parent, int follows)
{
#ifdef __linux__
    if (follows) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
#endif
    if (getppid() != parent) {
        _exit(1);
    }
}

/* What this process can read of the other's memory, it will. */
static void
try_reach(struct group *group, pid_t pid, struct stream_reads *reads)
{
    uint64_t found = 0;
    int code = reach_read(pid, (uint64_t)(uintptr_t)&group->cookie, &found,
                          sizeof(found));

    reads->may = code == 0 && found == group->cookie;
}

static void
meet(struct group *group, int rank, pid_t pid, const int sockets[2])
{
    struct peer *peer = &group->peers[rank - 1];
    struct pact *pact = &group->pacts[rank - 1];
    int is_host = group->wire.rank == 0;
    struct stream_reads *ours = is_host ? &pact->by_host : &pact->by_worker;
    struct stream_reads *theirs = is_host ? &pact->by_worker : &pact->by_host;

    peer->process = pid;
    stream_init(&peer->mail, sockets[0], pid, NULL, NULL);
    stream_init(&peer->pieces, sockets[1], pid, ours, theirs);
    try_reach(group, pid, ours);
}

/* Of a process that this one was forked from: it has none of them. */
static void
disown_groups(void)
{
    for (struct group *g = process.groups; g != NULL; g = g->next) {
        for (int i = 0; g->pacts != NULL && i < peers_of(g); i++) {
            close_streams(&g->peers[i]);
        }
    }
    process.groups = NULL;
    process.mailboxes = NULL;
    process.pid = getpid();
    pthread_mutex_init(&process.lock, NULL);
}

static void
become_worker(struct group *group, int rank, pid_t parent,
              const int sockets[2])
{
    disown_groups();
    group->next = NULL;
    process.groups = group;
    group->wire.rank = rank;
    meet(group, rank, parent, sockets);
}

/* 0 in the worker; -1: errno says why. */
static pid_t
fork_worker(struct group *group, int rank)
{
    int mail[2], pieces[2], follows = can_follow();
    pid_t parent = getpid(), pid;

    if (make_sockets(mail) < 0) {
        return -1;
    }
    if (make_sockets(pieces) < 0) {
        close(mail[0]), close(mail[1]);
        return -1;
    }
    pid = fork();
    if (pid < 0) {
        close(mail[0]), close(mail[1]), close(pieces[0]), close(pieces[1]);
        return -1;
    }
    close(mail[pid == 0 ? 0 : 1]);
    close(pieces[pid == 0 ? 0 : 1]);
    if (pid == 0) {
        end_with(parent, follows);
        become_worker(group, rank, parent, (int[2]){mail[1], pieces[1]});
    }
    else {
        meet(group, rank, pid, (int[2]){mail[0], pieces[0]});
    }
    return pid;
}

static struct group *
new_group(int workers)
{
    size_t size = (size_t)workers * sizeof(struct peer);
    struct group *group = calloc(1, sizeof(*group) + size);

    if (group == NULL) {
        return NULL;
    }
    group->wire.ranks = workers + 1;
    group->wire.is_star = 1;
    group->wire.crowded = patience_crowded(workers + 1);
    group->cookie = (uint64_t)(uintptr_t)group ^ (uint64_t)getpid() << 32;
    group->pacts =
        mmap(NULL, (size_t)workers * sizeof(struct pact),
             PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (group->pacts == MAP_FAILED) {
        free(group);
        return NULL;
    }
    for (int i = 0; i < workers; i++) {
        stream_init(&group->peers[i].mail, -1, 0, NULL, NULL);
        stream_init(&group->peers[i].pieces, -1, 0, NULL, NULL);
    }
    return group;
}

/* The workers are not asked. */
static void
kill_workers(struct group *group)
{
    for (int i = 0; group->wire.rank == 0 && i < peers_of(group); i++) {
        if (group->peers[i].process > 0) {
            kill(group->peers[i].process, SIGKILL);
        }
    }
}

static void
add_group(struct group *group)
{
    pthread_mutex_lock(&process.lock);
    group->handle = ++process.handles;
    group->next = process.groups;
    process.groups = group;
    pthread_mutex_unlock(&process.lock);
}

static void
remove_group(struct group *group)
{
    struct group **link = &process.groups;

    pthread_mutex_lock(&process.lock);
    while (*link != NULL && *link != group) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = group->next;
    }
    pthread_mutex_unlock(&process.lock);
}

static int
fail_fork(struct group *group, struct transport_error *error)
{
    char text[128];

    snprintf(text, sizeof(text), "no process can be forked: %s",
             strerror(errno));
    remove_group(group);
    kill_workers(group);
    link_close(&group->wire);
    free(group);
    return refuse(error, "fork", text);
}

static int
transport_fork(int workers, int32_t *handle, int *rank,
               struct transport_error *error)
{
    struct group *group = new_group(workers);

    if (group == NULL) {
        return refuse(error, "mmap", "out of memory");
    }
    fflush(NULL);               /* or each worker writes it again */
    add_group(group);
    *handle = group->handle;
    *rank = 0;
    for (int i = 1; i <= workers && *rank == 0; i++) {
        pid_t pid = fork_worker(group, i);
        if (pid < 0) {
            return fail_fork(group, error);
        }
        *rank = pid == 0 ? i : 0;
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
        disown_groups();
    }
    return TRANSPORT_OK;
}

static int
transport_threads(void)
{
    return 1;
}

static struct group *
find_group(int32_t handle)
{
    struct group *group;

    pthread_mutex_lock(&process.lock);
    group = process.groups;
    while (group != NULL && group->handle != handle) {
        group = group->next;
    }
    pthread_mutex_unlock(&process.lock);
    return group;
}

static int
open_group(struct group *group, const struct transport_farewell *farewell,
           struct transport_error *error)
{
    group->mailbox =
        mailbox_new(&group->wire, group->handle, farewell, process.mailboxes);
    if (group->mailbox == NULL) {
        return refuse(error, "malloc", "out of memory");
    }
    process.mailboxes = group->mailbox;
    if (wire_open(&group->wire) < 0) {
        *error = group->wire.error;
        return TRANSPORT_FAILED;
    }
    return TRANSPORT_OK;
}

static int
transport_open(int32_t handle, const struct transport_farewell *farewell,
               double seconds, struct mailbox **mailbox,
               struct transport_error *error)
{
    struct group *group = find_group(handle);
    int status = TRANSPORT_OK;

    (void)seconds;
    if (group == NULL) {
        return refuse(error, "open", "there are no such workers");
    }
    pthread_mutex_lock(&process.lock);
    if (group->mailbox == NULL) {
        status = open_group(group, farewell, error);
    }
    pthread_mutex_unlock(&process.lock);
    *mailbox = group->mailbox;
    return status;
}

/* The pool breaks when one of them dies. */
static int
transport_survives(const struct mailbox *mailbox)
{
    (void)mailbox;
    return 0;
}

/* ---- the end ----------------------------------------------------------- */

/* Without farewells. */
static void
cut(struct group *group)
{
    kill_workers(group);
    if (group->mailbox != NULL) {
        mailbox_cut(group->mailbox);
    }
    else {
        link_close(&group->wire);
    }
    remove_group(group);
}

static void
part_workers(struct group *group, double seconds)
{
    if (group->mailbox == NULL || group->wire.error.call != NULL
        || seconds <= 0) {
        cut(group);
        return;
    }
    mailbox_set_patience(group->mailbox, seconds);
    if (mailbox_end(process.mailboxes, group->mailbox)) {
        remove_group(group);
    }
    else {
        cut(group);
    }
}

static void
transport_part(int32_t handle, double seconds)
{
    struct group *group = find_group(handle);

    if (group == NULL || process.pid != getpid()) {
        return;
    }
    if (group->wire.rank == 0) {
        part_workers(group, seconds);
    }
    else {
        fflush(NULL);
        group->pacts[group->wire.rank - 1].has_left = 1;
        cut(group);
    }
}

/* At the end of the process all are waited for at once. */
static void
transport_leave(void)
{
    struct group *group, *next;

    if (process.pid != getpid()) {
        return;
    }
    for (group = process.groups; group != NULL; group = next) {
        next = group->next;
        if (group->mailbox == NULL || group->wire.error.call != NULL) {
            cut(group);
        }
    }
    mailbox_end(process.mailboxes, NULL);
    while (process.groups != NULL) {
        cut(process.groups);
    }
}

_Noreturn void
wire_abort(int code)
{
    fflush(NULL);
    if (process.pid == getpid()) {
        for (struct group *g = process.groups; g != NULL; g = g->next) {
            kill_workers(g);
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
    mailbox_set_ending(process.mailboxes, seconds, code);
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
