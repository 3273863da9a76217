/* family.c -- how children come to be, and how they end: the parent's part in
   that, and the child's.

   Knows neither messages nor mailboxes. */

#include "family.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

#ifndef SOCK_CLOEXEC /* macOS: a program that starts just then inherits them */
#define SOCK_CLOEXEC 0
#endif

#include "patience.h"
#include "reach.h"
#include "unmap.h"
#include "watch.h"

#define LEAVING_SECONDS 1.0 /* that a process gets to end by itself */
#define LOOK_SECONDS 1e-3
#define LIFE_SECONDS 0.25 /* between looks who has ended */
#define LOOKS 64u /* in vain, between looks at the clock */

/* ---- both -------------------------------------------------------------- */

int
family_peers(const struct family *family)
{
    return family->wire.ranks - 1;
}

struct peer *
family_peer(struct family *family, int rank)
{
    return &family->peers[(family->wire.rank == 0 ? rank : family->wire.rank)
                          - 1];
}

int
family_rank_of(const struct family *family, const struct peer *peer)
{
    return family->wire.rank == 0 ? (int)(peer - family->peers) + 1 : 0;
}

static void
close_streams(struct peer *peer)
{
    stream_fini(&peer->mail);
    stream_fini(&peer->pieces);
}

/* What this process can read of the other's memory, it will. */
static void
try_reach(struct family *family, pid_t pid, struct stream_reads *reads)
{
    uint64_t found = 0;
    int code = reach_read(pid, (uint64_t)(uintptr_t)&family->cookie, &found,
                          sizeof(found));

    reads->may = code == 0 && found == family->cookie;
}

static void
meet(struct family *family, int rank, pid_t pid, const int sockets[2])
{
    struct peer *peer = &family->peers[rank - 1];
    struct pact *pact = &family->pacts[rank - 1];
    int is_parent = family->wire.rank == 0;
    struct stream_reads *ours = is_parent ? &pact->by_parent : &pact->by_child;
    struct stream_reads *theirs =
        is_parent ? &pact->by_child : &pact->by_parent;

    peer->process = pid;
    stream_init(&peer->mail, sockets[0], pid, NULL, NULL);
    stream_init(&peer->pieces, sockets[1], pid, ours, theirs);
    try_reach(family, pid, ours);
}

/* ---- in the parent: how a child ends ----------------------------------- */

/* Has it ended? */
static int
reap(struct peer *peer)
{
    struct rusage usage = {0};
    int status;
    pid_t found = wait4(peer->process, &status, WNOHANG, &usage);

    if (found == 0 || (found < 0 && errno == EINTR)) {
        return 0;
    }
    peer->status = found < 0 ? -1 : status;
    peer->peak = usage.ru_maxrss;
    peer->process = 0;
    return 1;
}

static int
reap_within(struct peer *peer, double seconds)
{
    double deadline = patience_now() + seconds;

    while (peer->process != 0 && !reap(peer)) {
        if (patience_now() > deadline) {
            return 0;
        }
        patience_sleep(LOOK_SECONDS);
    }
    return 1;
}

/* If others have reaped it, its number may be another process's by now. */
static void
kill_process(struct peer *peer)
{
    if (peer->process > 0 && !reap(peer)) {
        kill(peer->process, SIGKILL);
    }
}

static void
end_process(struct peer *peer)
{
    if (!reap_within(peer, LEAVING_SECONDS)) {
        kill_process(peer);
        reap_within(peer, LEAVING_SECONDS);
        peer->status = -1;
    }
}

void
family_kill(struct family *family)
{
    for (int i = 0; family->wire.rank == 0 && i < family_peers(family); i++) {
        kill_process(&family->peers[i]);
    }
}

void
family_look(struct family *family)
{
    double now;

    if (family->wire.rank != 0 || ++family->looks % LOOKS != 0) {
        return;
    }
    now = patience_now();
    if (now - family->looked < LIFE_SECONDS) {
        return;
    }
    family->looked = now;
    for (int i = 0; i < family_peers(family); i++) {
        struct peer *peer = &family->peers[i];
        if (peer->process > 0 && reap(peer) && !family->pacts[i].has_left) {
            family->lost = peer;
        }
    }
}

/* ---- both: how it ends ------------------------------------------------- */

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

int
family_await_end(struct family *family, struct peer *peer)
{
    if (family_rank_of(family, peer) == 0) {
        return -1;
    }
    end_process(peer);
    return peer->status;
}

void
family_describe_end(struct family *family, struct peer *peer, char *text,
                    size_t size)
{
    long long pid = peer->mail.peer;
    char how[128];

    describe_end(family_await_end(family, peer), how, sizeof(how));
    snprintf(text, size, "rank %d (process %lld) %s",
             family_rank_of(family, peer), pid, how);
}

void
family_close(struct family *family)
{
    size_t size = (size_t)family_peers(family) * sizeof(struct pact);

    for (int i = 0; i < family_peers(family); i++) {
        close_streams(&family->peers[i]);
    }
    for (int i = 0; family->wire.rank == 0 && i < family_peers(family); i++) {
        end_process(&family->peers[i]);
    }
    unmap(family->pacts, size);
    family->pacts = NULL;
}

/* ---- in the parent: forking -------------------------------------------- */

struct family *
family_new(int children)
{
    size_t size = (size_t)children * sizeof(struct peer);
    struct family *family = calloc(1, sizeof(*family) + size);

    if (family == NULL) {
        return NULL;
    }
    family->wire.ranks = children + 1;
    family->wire.is_star = 1;
    family->wire.crowded = patience_crowded(1, children + 1);
    family->cookie = (uint64_t)(uintptr_t)family ^ (uint64_t)getpid() << 32;
    family->pacts =
        mmap(NULL, (size_t)children * sizeof(struct pact),
             PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (family->pacts == MAP_FAILED) {
        free(family);
        return NULL;
    }
    for (int i = 0; i < children; i++) {
        stream_init(&family->peers[i].mail, -1, 0, NULL, NULL);
        stream_init(&family->peers[i].pieces, -1, 0, NULL, NULL);
    }
    return family;
}

/* -1: errno says why. */
static int
make_sockets(int sockets[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) < 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(sockets[i], F_SETFD, FD_CLOEXEC);
    }
    return 0;
}

/* Does the system end a child with this process?  Only one of the first
   thread: it would be the thread's end that counts. */
static int
can_follow(void)
{
#ifdef __linux__
    return syscall(SYS_gettid) == getpid();
#else
    return 0;
#endif
}

/* ---- in the child ------------------------------------------------------ */

/* Also in the thread that end_with starts. */
static void
look_at_parent(void *parent)
{
    if (getppid() != (pid_t)(intptr_t)parent) {
        kill(getpid(), SIGKILL);
    }
}

/* Else a thread looks: what runs in this one may take long.  It does so to the
   end of the process, by when the family may be gone. */
static void
end_with(pid_t parent, int follows)
{
#ifdef __linux__
    if (follows) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
#endif
    if (!follows) {
        watch_start(LIFE_SECONDS, look_at_parent, (void *)(intptr_t)parent);
    }
    look_at_parent((void *)(intptr_t)parent);
}

void
family_disown(struct family *family)
{
    for (int i = 0; family->pacts != NULL && i < family_peers(family); i++) {
        close_streams(&family->peers[i]);
    }
}

void
family_enter(struct family *family, int rank)
{
    family->wire.rank = rank;
    meet(family, rank, getppid(), family->sockets);
}

/* ---- both come back from it -------------------------------------------- */

pid_t
family_fork(struct family *family, int rank)
{
    int mail[2], pieces[2], follows = can_follow();
    pid_t pid, parent = getpid();

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
        family->sockets[0] = mail[1];
        family->sockets[1] = pieces[1];
    }
    else {
        meet(family, rank, pid, (int[2]){mail[0], pieces[0]});
    }
    return pid;
}
