/* family.h -- a process and the children that it forked for one pool.

   The parent, which is rank 0, forks the others, of which each has two sockets
   to it: one for pieces, which keep their order among themselves only, and one
   for all else.  In a child only the peer of its own rank is there, which is
   the parent.  A child is killed when the parent has ended.

   The parent is the master's process with local workers as its children, or,
   where tasks are isolated, a guard with the one child that runs them.  Both
   sides run this file, link_local.c and transport_local.c.  Plain C. */

#ifndef EZMPI_FAMILY_H
#define EZMPI_FAMILY_H

#include "stream.h"
#include "wire.h"

/* In memory that the parent shares with a child. */
struct pact {
    _Atomic int has_left;           /* the child, as it should */
    struct stream_reads by_parent, by_child;
};

/* The process at the other end. */
struct peer {
    pid_t process;                  /* 0: it was reaped: ... */
    int status;                     /* ... with this; -1: by others */
    long peak;                      /* kB of memory */
    struct stream mail, pieces;
};

struct mailbox;

struct family {
    struct wire wire;               /* first: it is what is passed around */
    struct family *next;
    struct mailbox *mailbox;        /* NULL until open */
    int32_t handle;
    int turn;                       /* the peer that is looked at first */
    unsigned looks;                 /* in vain */
    double looked;                  /* by the parent, for children that have
                                       ended */
    struct peer *lost;              /* that has, and should not; or NULL */
    uint64_t cookie;                /* to be read by who may */
    int sockets[2];                 /* in a new child: its own */
    struct pact *pacts;             /* [ranks - 1]; NULL: closed */
    struct peer peers[];            /* the same */
};

/* ---- both ------------------------------------------------------------- */

int family_peers(const struct family *family);
/* At the other end of this process's way to that rank. */
struct peer *family_peer(struct family *family, int rank);
int family_rank_of(const struct family *family, const struct peer *peer);

/* Forks the child of that rank.  0 in the child, which is to disown all that
   there are, and to enter this one; -1: errno says why. */
pid_t family_fork(struct family *family, int rank);

/* A peer has ended, or is about to: says how, as far as this side knows. */
void family_describe_end(struct family *family, struct peer *peer, char *text,
                         size_t size);
/* The same, for who wants to tell it otherwise: as waitpid has it, or -1, in
   the child always. */
int family_await_end(struct family *family, struct peer *peer);
/* Also the parent waits briefly for children that end by themselves, and kills
   others. */
void family_close(struct family *family);

/* ---- in the parent ---------------------------------------------------- */

/* Before it forks.  NULL: out of memory. */
struct family *family_new(int children);
/* Where nothing comes: looks some times a second for children that have ended.
   Their sockets need not tell: what they forked may hold them.  Does nothing
   in a child, nor does family_kill. */
void family_look(struct family *family);
/* Children that it has yet end at once. */
void family_kill(struct family *family);

/* ---- in the child ----------------------------------------------------- */

/* In any process that was forked: what its parent has it has not. */
void family_disown(struct family *family);
void family_enter(struct family *family, int rank);

#endif
