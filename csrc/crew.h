/* crew.h -- what belongs to one communicator, shared by all pools on it.

   The mailbox, the table of workers, the callables that they hold, the job
   counter.  A crew is made at the first pool on a communicator, found again
   by later ones, and lives as long as the mailbox: to the end of MPI.

   Also the two ways through the mailbox, for master and worker alike: send,
   and receive with the GIL free while it waits.  All of this needs the GIL,
   and returns -1 or NULL with an exception set. */

#ifndef EZMPI_CREW_H
#define EZMPI_CREW_H

#include <sys/types.h>

#include "codec.h"
#include "protocol.h"
#include "schedule.h"
#include "snapshot.h"
#include "transport.h"

/* What the master knows of a worker. */
struct crew_member {
    uint32_t owed;                  /* chunks it has not yet answered for */
    uint64_t held[CALLABLE_SLOTS];  /* callables it was sent, by slot */
};

struct crew_callable {
    uint64_t number;                /* 0: the slot is free */
    uint64_t used;                  /* the job that used it last ... */
    uint64_t pool;                  /* ... and that job's pool */
    struct parcel *parcel;
    struct snapshot *snapshot;      /* NULL: to be pickled each time */
    int unfit;                      /* for a snapshot */
    struct schedule_pace pace;      /* of tasks with it, so far */
};

#define SIGNAL_SECONDS 0.1 /* whoever waits looks for signals so often */

struct worker;

struct crew {
    const struct transport *transport;
    struct mailbox *mailbox;
    pid_t pid;                      /* a forked child has no mailbox */
    int rank;
    int workers;                    /* ranks 1..workers */
    int arrived;                    /* message holds one not yet taken in */
    struct transport_message message;
    int busy;                       /* the mailbox is in use: a map or a
                                       close runs; on a worker, it serves */
    int open_pools;
    int released;                   /* workers may be elsewhere: in test_mode
                                       they were let go, and may come back */
    uint64_t jobs, pools, callables;        /* numbers given out so far */
    struct crew_member *members;    /* [workers], rank - 1; on the master */
    struct crew_callable held[CALLABLE_SLOTS];
    PyObject *record;               /* MainRecord of the workers' __main__ */
    struct worker *worker;          /* on a worker: worker.c's own */
};

/* A message as it came in. */
struct letter {
    int source;                     /* rank */
    int verb;
    struct header header;
    struct parcel *parcel; /* NULL where it has none; the caller's */
    int64_t took; /* nanoseconds that its large parts took to come */
};

/* The crew of a communicator; when it is the first that is collective, and
   waits for the others, the GIL free.  NULL: exception set. */
struct crew *crew_open(const struct transport *transport, int32_t handle);

/* The slot of the callable with this parcel's contents, which it takes over
   in either case. */
int crew_hold(struct crew *crew, struct parcel *parcel, uint64_t job,
              uint64_t pool);
/* The slot of the very function that was remembered, if nothing it depends on
   has changed since: it need not be pickled.  -1: none, no exception. */
int crew_recall(struct crew *crew, PyObject *function, uint64_t job,
                uint64_t pool);
/* What is in the slot was pickled from the function, by reference where that
   can be, and the workers know all that it needs. */
int crew_remember(struct crew *crew, int slot, PyObject *function);
/* Names were bound anew on the workers.  Callables that they hold by reference
   would go on meaning what the names meant before: all are to be sent and
   looked at again. */
void crew_rebound(struct crew *crew);
/* A worker could not bind what it was sent: nothing that was counts as held
   there any more. */
int crew_distrust(struct crew *crew);
/* Forgets what the pool used last, or with 0 all pools, here and on the
   workers.  Where a worker forgets more, it asks (VERB_NEED). */
int crew_forget(struct crew *crew, uint64_t pool);

/* parcel: NULL, or kept until the message has left. */
int crew_send(struct crew *crew, int rank, enum verb verb,
              const struct header *header, struct parcel *parcel);
/* To one rank, or to several workers in ascending order.  Several pass it on
   to each other: they must be idle, and never released. */
int crew_send_to(struct crew *crew, const int *ranks, size_t receivers,
                 enum verb verb, const struct header *header,
                 struct parcel *parcel);
/* To every worker. */
int crew_broadcast(struct crew *crew, enum verb verb,
                   const struct header *header, struct parcel *parcel);

/* Waits at most seconds, the GIL free.  1: *letter is filled and its parcel
   the caller's; 0: nothing came; -1: exception set, and where a message came
   but could not be kept, letter->verb is its verb and the header valid; else
   verb is 0.  Does not look for signals. */
int crew_receive(struct crew *crew, double seconds, struct letter *letter);

/* Nanoseconds, from a clock that only goes forward. */
int64_t crew_clock(void);
/* The same in steps of some milliseconds, for less than half the price. */
int64_t crew_coarse_clock(void);

/* Waits until a message is there, the GIL free, at most seconds.  1: one is,
   and the next crew_receive takes it in; 0: none. */
int crew_wait(struct crew *crew, double seconds);

/* Waits until what was sent has left, the GIL free, at most seconds.  0: it
   has; 1: not yet. */
int crew_flush(struct crew *crew, double seconds);

#endif
