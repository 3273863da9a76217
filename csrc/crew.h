/* crew.h -- what belongs to one communicator, shared by all pools on it.

   The mailbox, the helm, what the workers hold, the counters.  A crew is made
   at the first pool on a communicator, found again by later ones, and lives as
   long as the mailbox: to the end of MPI.  But one whose workers are its own
   (transport->part) ends with its last share: pools, iterators, tickets and
   the driver's thread have one each.  Whoever is at the helm has a share, or
   was called by who has.

   The master has one, and so has a worker.  A guard has two: in the one to the
   master it is a worker, in the one to its child rank 0.  So rank 0 is the
   master or a guard; but only the master's has callables and a dispatch.

   Also the ways through the mailbox, for all of them alike: send, and receive
   with the GIL free while it waits.  At rank 0 they need the helm; a guard
   takes its child's crew's at once and keeps it.  What returns a
   transport_status needs no GIL; the rest does, and returns -1 or NULL with an
   exception set. */

#ifndef EZMPI_CREW_H
#define EZMPI_CREW_H

#include <sys/types.h>

#include "callable.h"
#include "codec.h"
#include "future.h"
#include "helm.h"
#include "protocol.h"
#include "transport.h"

#define HOST_SIZE 65 /* of a host's name, at most, and what ends it */

/* What the master knows of a worker. */
struct crew_member {
    uint64_t held[CALLABLE_SLOTS];  /* callables it was sent, by slot */
    int64_t since;                  /* when it answered last, or got what it
                                       holds and held nothing; 0: never.  By
                                       crew_clock, or the coarse one */
    char host[HOST_SIZE];           /* its name; "": not known yet */
    /* of chunks that can be taken back (claim.h) */
    _Atomic uint64_t *word;         /* NULL: none can */
    uint32_t claims;                /* such chunks, so far */
    int is_taken_back;              /* some were, and it has not answered for
                                       them */
    int is_lost;                    /* it has died, ... */
    int is_told;                    /* ... and the user was told */
    int is_met;                     /* it runs what we run (hello.h), ... */
    int is_isolated;                /* ... in a forked child (guard.h) */
};

#define SIGNAL_SECONDS 0.1 /* whoever waits looks for signals so often */

struct guard;
struct ledger;
struct worker;
struct dispatch;

/* Of the thread that drives where nobody waits: driver.h. */
struct crew_driver {
    _Atomic int started;            /* and has not ended */
    int may_not_drive;              /* MPI allows one thread only */
    unsigned long thread;           /* 0: it does not run */
    _Atomic int stop;
    _Atomic int drives;             /* it has the helm */
    _Atomic int needed;             /* jobs whose tasks it alone may draw */
    _Atomic int64_t driven;         /* crew_clock, when another drove last */
};

struct crew {
    size_t shares;
    const struct transport *transport;
    struct mailbox *mailbox;
    pid_t pid;                      /* a forked child has no mailbox */
    unsigned long thread;           /* that opened it: where MPI allows but
                                       one, no other may use it */
    int rank;
    int workers;                    /* ranks 1..workers */
    int survives;                   /* the death of some: transport.h */
    _Atomic int lost;               /* workers that have died */
    int arrived;                    /* message holds one not yet taken in */
    struct transport_message message;
    int met;                        /* workers that said hello; on a worker:
                                       it did */
    int is_mixed;                   /* one of them runs something else */
    int serving;                    /* a worker that does */
    int open_pools;
    int released;                   /* workers may be elsewhere: in test_mode
                                       they were let go, and may come back */
    uint64_t jobs, pools;           /* numbers given out so far */
    struct worker *worker;          /* on a worker: worker.c's own */
    struct ledger *ledger;          /* in a guard's child, which writes it;
                                       else NULL, also in the guard */
    struct guard *guard;            /* NULL: none, it runs tasks itself */
    /* A guard's, in one of its crews each, and in its child's; NULL: large
       buffers of tasks are as any others are. */
    struct arena *arena; /* to the master: they are put there */
    struct arena *lends; /* to the child: they are not sent */
    struct arena *borrows; /* in the child: they are there */
    int known_as; /* the rank that messages name; in a child the guard's */
    int is_isolated; /* on the master: some worker's tasks run in a child */
    /* on the master */
    struct helm helm;
    struct crew_member *members; /* [workers], rank - 1 */
    struct callables callables;
    PyObject *record; /* MainRecord of the workers' __main__ */
    struct futures *futures; /* to be told by the driver's thread */
    struct errand *_Atomic errands; /* master.c's own; needs the GIL alone */
    int64_t looked; /* for signals: crew_coarse_clock */
    uint64_t turns; /* the helm was left so often */
    PyObject *ticket_type; /* ticket.c's */
    struct dispatch *dispatch; /* dispatch.c's own */
    void (*end_jobs)(struct crew *); /* frees what master.c has; or NULL */
    struct crew_driver driver;
    _Atomic uint64_t unfinished; /* jobs and calls */
    _Atomic int is_dropped; /* its own workers are to end when the
                                       helm is left */
};

/* A message as it came in. */
struct letter {
    int source; /* rank */
    int verb;
    struct header header;
    struct parcel *parcel; /* NULL where it has none; the caller's */
    int64_t took; /* nanoseconds that its large parts took to come */
};

/* The crew of a communicator; when it is the first that is collective, and
   waits for the others, the GIL free.  The caller has a share.  NULL:
   exception set. */
struct crew *crew_open(const struct transport *transport, int32_t handle);
struct crew *crew_keep(struct crew *crew); /* one more share */
/* Lets go of a share; NULL is allowed.  With the last one workers of its own
   are killed, if they were not ended, and all of it is freed; not in a worker,
   nor in a forked child. */
void crew_release(struct crew *crew);

/* ---- on the master: its workers --------------------------------------- */

/* Ranks of workers whose death is not known. */
int crew_alive(const struct crew *crew);
/* Of a worker; NULL: not known. */
const char *crew_host_of(const struct crew *crew, int worker);
/* Notes its death; dispatch.c does the rest. */
void crew_lose(struct crew *crew, int worker);
/* The exception for a task that its worker did not survive, or, with
   ERRORS_SINGLE_CALL, a call; a new reference.  NULL: exception set. */
PyObject *crew_death_of(const struct crew *crew, uint64_t task, int worker);

/* ---- in any process --------------------------------------------------- */

/* Is this a forked child of the process whose crew it is? */
int crew_is_forked(const struct crew *crew);
/* Are the workers forked processes of this one's? */
int crew_has_own_workers(const struct crew *crew);
/* Or has MPI ended?  Then the workers cannot be told anything. */
int crew_is_gone(const struct crew *crew);

/* ---- on the master: the helm ------------------------------------------ */

/* Waits for the helm, the GIL free.  A guard does so once. */
void crew_take_helm(struct crew *crew);
/* The same, where the GIL is free already. */
void crew_want_helm(struct crew *crew);
void crew_leave_helm(struct crew *crew);
/* At the helm: ends workers of its own, who get so many seconds; transport.h.
   Needs no GIL, nor does what is to be called where the helm is left otherwise
   than by crew_leave_helm. */
void crew_part(struct crew *crew, double seconds);
void crew_part_dropped(struct crew *crew);
/* At the helm, when they have ended: lets go of what was kept for them. */
void crew_clear(struct crew *crew);

/* 1: it is ours, for which there was no need to wait; 0: also where this
   process or thread may not have it. */
int crew_try_helm(struct crew *crew);
/* At the helm: looks for signals without it, for their handlers may use the
   pool. */
int crew_check_signals(struct crew *crew);
/* Is MPI another thread's than this one? */
int crew_is_of_another_thread(const struct crew *crew);
/* May this thread wait for something?  Not in a forked child, nor in another
   thread than the first where MPI allows but one, nor at the helm: from what
   pickles an object.  -1: exception set. */
int crew_check_here(struct crew *crew);

/* Tells a future its result: see future_settle. */
void crew_settle(struct crew *crew, PyObject *future, PyObject *value,
                 int is_failure);

/* ---- on the master: what workers hold --------------------------------- */

/* What workers know, or are to be sent, as the function: it is looked for
   among the callables, or pickled.  header: of messages that go ahead.
   Borrowed; NULL: exception set. */
struct callable *
crew_hold(struct crew *crew, struct codec *codec, PyObject *function,
          const struct header *header, uint64_t pool);
/* Sends all workers what the codec found their __main__ to lack for what it
   dumped since. */
int crew_send_bindings(struct crew *crew, struct codec *codec,
                       const struct header *header);

/* A worker could not bind what it was sent: nothing that was counts as held
   there any more. */
int crew_distrust(struct crew *crew);
/* Forgets what the pool used last, or with 0 all pools, here and on the
   workers.  Where a worker forgets more, it asks (VERB_NEED).  stopped: a pool
   whose tasks need not go on, or 0. */
int crew_forget(struct crew *crew, uint64_t pool, uint64_t stopped);

/* ---- sending ---------------------------------------------------------- */

/* To one rank, or to several workers in ascending order.  Several pass it on
   to each other: they must be idle, and never released.  parcel: NULL, or kept
   until the message has left, and crew_tidy was called. */
int crew_post(struct crew *crew, const int *ranks, size_t receivers,
              enum verb verb, const struct header *header,
              struct parcel *parcel, struct transport_error *error);
/* Lets go of what has left. */
void crew_tidy(struct crew *crew);

/* The same in one, for one rank. */
int crew_send(struct crew *crew, int rank, enum verb verb,
              const struct header *header, struct parcel *parcel);
/* On the master: to every worker. */
int crew_broadcast(struct crew *crew, enum verb verb,
                   const struct header *header, struct parcel *parcel);

/* On the master, where the exception that is set is a KeyboardInterrupt: one
   Ctrl-C, at the terminal or the launcher, goes to every rank, but not at
   once: a worker may get it in a task of what is begun next, which the user
   did not interrupt.  So workers are told before that is.  Takes the helm. */
void crew_tell_interrupted(struct crew *crew);

/* ---- receiving -------------------------------------------------------- */

/* Waits at most seconds, the GIL free.  1: *letter is filled and its parcel
   the caller's; 0: nothing came; -1: exception set, and where a message came
   but could not be kept, letter->verb is its verb and the header valid; else
   verb is 0.  Does not look for signals. */
int crew_receive(struct crew *crew, double seconds, struct letter *letter);

/* Nanoseconds, from a clock that only goes forward. */
int64_t crew_clock(void);
/* The same in steps of some milliseconds, for less than half the price. */
int64_t crew_coarse_clock(void);

/* Waits until a message is there, at most seconds: crew->message, which the
   next crew_receive takes in. */
int
crew_await(struct crew *crew, double seconds, struct transport_error *error);
/* The same, the GIL free.  1: one is; 0: none. */
int crew_wait(struct crew *crew, double seconds);
/* On the master: takes that message in, if that needs no Python: all of it is
   here, and it has no buffers.  NOTHING: crew_receive must. */
int crew_receive_small(struct crew *crew, struct letter *letter);

/* Waits until what was sent has left, the GIL free, at most seconds.  0: it
   has; 1: not yet. */
int crew_flush(struct crew *crew, double seconds);

#endif
