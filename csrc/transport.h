/* transport.h -- a mailbox between ranks: open, send, wait, take, close.

   The contract between the engine (_ezmpi, which knows Python) and a plug-in:
   ezmpi/_mpi/<variant>.so, which knows MPI, or local.so, between a process and
   its forked children, which what is said of MPI below does not concern.  No
   MPI type, no Python type.

   A message is a verb and a few parts (byte ranges).  It travels between rank
   0 and another rank, and messages from one rank to another arrive in the
   order in which they were sent.  What a verb means is not the transport's
   business.

   Every function returns TRANSPORT_OK, TRANSPORT_NOTHING or TRANSPORT_LOST
   where it says so, or TRANSPORT_FAILED with *error filled; it never prints,
   exits or calls Python, except where it says so.  None needs the GIL.  One
   mailbox is used by one thread at a time, but for interrupt, and open by one
   thread of the process.

   A wrong argument harms nothing.  Where MPI fails, the mailbox is broken:
   every later call fails with the same error, and MPI_Finalize ends the job.
   When the communicator has been freed, or MPI finalized, the mailbox stays
   in memory: it is closed, reap still works, and other calls fail. */

#ifndef EZMPI_TRANSPORT_H
#define EZMPI_TRANSPORT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define TRANSPORT_VERSION 7u
#define TRANSPORT_SYMBOL "ezmpi_transport"
#define TRANSPORT_WORLD INT32_MIN   /* the handle that means COMM_WORLD */

enum transport_status {
    TRANSPORT_OK = 0,
    TRANSPORT_NOTHING = 1,          /* nothing came within the time given */
    TRANSPORT_LOST = 2,             /* a rank has died: see survives */
    TRANSPORT_FAILED = -1,
};

struct transport_error {
    const char *call;               /* the call that failed: "MPI_Isend" */
    char text[512];                 /* what the library said of it */
};

struct transport_part {
    void *base;
    size_t size;
};

/* A message that has arrived.  parts[i].base points into the mailbox and is
   valid until the next wait, or is NULL: then the part is still on its way,
   to be fetched with take, in order, before the next wait, which drops what
   was not.  A first part of at most 4096 bytes is there at once. */
struct transport_message {
    int source;
    int verb;
    size_t count;
    const struct transport_part *parts;
};

struct transport_fate {
    int signal;                     /* that ended it; 0: none */
    int code;                       /* that it ended with; -1: not known */
    int64_t peak;                   /* of its memory, in kB */
    int is_gone;                    /* 0: it may yet run, though killed */
};

/* What each side says last; every rank of a mailbox says it once. */
struct transport_farewell {
    int verb;
    const void *bytes;              /* copied by open */
    size_t size;
};

struct mailbox;                     /* opaque: the transport's own */

/* In place of a code, for set_ending: the process's, or 1 if that is 0; the
   process's, since what still runs was given up; that of one that Ctrl-C
   ended. */
#define TRANSPORT_OWN_CODE (-1)
#define TRANSPORT_OWN_CODE_OR_0 (-2)
#define TRANSPORT_INTERRUPTED (-3)

struct transport {
    uint32_t version;               /* TRANSPORT_VERSION; stays first */
    uint32_t size;                  /* sizeof(struct transport) */
    const char *variant;            /* "mpich", "openmpi", "mpiabi" */
    const char *compiled_for;       /* the library's version when compiled */

    /* Is the libmpi in this process the one this variant was compiled for?
       May be called before start.  library: its version line, one line. */
    int (*check)(char *library, size_t size, struct transport_error *error);

    /* Initialises MPI, unless somebody did.  *first: no call did before, and
       leave is to be called when the process ends as it should (Py_AtExit):
       it finalizes MPI if that is ours.  A process that calls exit() without
       it aborts the job. */
    int (*start)(int *first, struct transport_error *error);
    void (*leave)(void);
    /* May several threads of the process call MPI at the same time?  1, or 0;
       0 also before start, and when MPI has been finalized. */
    int (*threads)(void);

    /* Where the other ranks are forked children of rank 0; else NULL.
       fork makes so many: it returns in each process, *rank says which it is,
       and *handle is what open takes.  Needs the GIL, between Python's own
       steps before and after a fork.
       part ends them: they get so many seconds for their farewells, and 0
       kills them at once; in a worker, before it leaves with _exit.  No other
       thread may be in a function of the mailbox; it is closed then, and reap
       gives back all tokens.  It stays in memory until it is freed. */
    int (*fork)(int workers, int32_t *handle, int *rank,
                struct transport_error *error);
    void (*part)(int32_t handle, double seconds);
    /* How the process of that rank has ended, at rank 0; what has not is
       waited for, killed, and waited for again, a second each. */
    void (*fate)(int32_t handle, int rank, struct transport_fate *fate);
    /* Frees a mailbox that part has closed, when all tokens were reaped: no
       thread may use it any more. */
    void (*free)(struct mailbox *mailbox);

    /* The mailbox of a communicator (a Fortran handle, or TRANSPORT_WORLD):
       a duplicate made at the first call, which is collective, and found again
       by later calls, which are local.  NOTHING: the others did not all come
       within seconds; to go on waiting call again.  It lives until its
       communicator is freed or MPI is finalized, whoever does that: then rank
       0 and the others exchange farewells.  That may end the job, with one
       line on stderr: see expects and set_ending. */
    int (*open)(int32_t handle, const struct transport_farewell *farewell,
                double seconds, struct mailbox **mailbox,
                struct transport_error *error);
    int (*rank)(const struct mailbox *mailbox);
    int (*ranks)(const struct mailbox *mailbox);
    int32_t (*handle)(const struct mailbox *mailbox);

    /* Does the job go on when a rank other than 0 dies?  Then rank 0's wait
       says LOST once for each that did, when all that had come from it was
       received; message->source is its rank.  No message of it comes after
       that, and none to it is sent: send drops it, and multicast must not be
       used.  Where rank 0 dies the others' calls fail. */
    int (*survives)(const struct mailbox *mailbox);

    /* What the caller ties to the mailbox: found again by later opens. */
    void *(*owner)(const struct mailbox *mailbox);
    void (*set_owner)(struct mailbox *mailbox, void *owner);

    /* Sends without blocking.  The parts' memory must stay as it is until
       reap returns token (never NULL); after TRANSPORT_FAILED reap will not.
       expects: the receiver owes an answer; if it has ended instead, it ends
       the job. */
    int (*send)(struct mailbox *mailbox, int rank, int verb, int expects,
                const struct transport_part *parts, size_t count, void *token,
                struct transport_error *error);
    /* Rank 0 sends a message to several ranks, in ascending order, in its
       place among those that send sends to each; but it travels along a
       binomial tree.  Ranks pass it on to each other, its parts in take, which
       blocks until those that they go to have them: so all of them must be in
       wait, or come to it before they wait for anything else, and take the
       parts at once. */
    int (*multicast)(struct mailbox *mailbox, const int *ranks,
                     size_t receivers, int verb,
                     const struct transport_part *parts, size_t count,
                     void *token, struct transport_error *error);
    /* A token whose message has left, or NULL. */
    void *(*reap)(struct mailbox *mailbox);
    /* Waits until all that was sent has left, at most seconds. */
    int (*flush)(struct mailbox *mailbox, double seconds,
                 struct transport_error *error);

    /* Waits for a message, at most seconds (0: looks once).  Returns at once
       on a worker that has heard rank 0's farewell. */
    int (*wait)(struct mailbox *mailbox, double seconds,
                struct transport_message *message,
                struct transport_error *error);
    /* Any thread may call this at any time, also while another is in a
       function of this mailbox, and when the mailbox is closed; but not a
       forked child.  The wait that runs, or else the next one, returns NOTHING
       at once, and then the caller sees all that was done before interrupt.
       It returns a message instead if one has come; then a later wait returns
       NOTHING, since it is only a wait which does so that uses interrupts up:
       all that came till then.  So NOTHING may come for no reason that is
       left.  Ends nothing but wait, and not while that still drops parts of
       the last message; makes no call to MPI, and never blocks. */
    void (*interrupt)(struct mailbox *mailbox);
    /* Receives part index of the last message into base; NULL: drops it.
       Blocks while the bytes come; a part that is there is copied.  LOST: its
       sender has died, and no part that is not there will come. */
    int (*take)(struct mailbox *mailbox, size_t index, void *base,
                struct transport_error *error);

    /* A word in memory that rank 0 shares with another rank, for both to use
       as they agree; zero at first.  Rank 0 asks for that rank's, that rank
       for rank 0's: the same word.  NULL where they share no memory (another
       host, EZMPI_SHARED_MEMORY=0, this system), and at first: then it comes
       in some wait, and to rank 0 not before the other has it.  It stays that
       pointer until close, or until the communicator is freed or MPI
       finalized; after that it is NULL.
       Any thread may use the word, whatever another does with the mailbox.
       But while the communicator is freed, or MPI finalized, its memory goes:
       no thread may be using it then, or use it later.  It is there as long as
       closed says 0 to the thread that has the mailbox.  A forked child does
       not have it, though this may still tell it where it was. */
    _Atomic uint64_t *(*word)(struct mailbox *mailbox, int rank);

    /* A worker's own farewell, once rank 0's has come: nothing more is sent
       or received.  Later opens still find the mailbox. */
    int (*close)(struct mailbox *mailbox, struct transport_error *error);
    /* Any thread may ask at any time. */
    int (*closed)(const struct mailbox *mailbox);

    /* How the farewells in MPI_Finalize end for rank 0, in all mailboxes that
       there are: it waits at most seconds for the others (5, until set), then
       says so in one line on stderr and aborts the job with code (until set
       TRANSPORT_OWN_CODE).  The process's is known where MPI is ours; else it
       counts as 1. */
    void (*set_ending)(double seconds, int code);
    /* Ends the whole job now, with the low byte of code, or 1 if that is 0;
       does not return. */
    void (*abort)(struct mailbox *mailbox, int code);
};

#endif
