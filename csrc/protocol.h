/* protocol.h -- the verbs on the wire, and the conversation.

   The verb is the message's tag, the sender its identity.  Part 0 of every
   message is a header of fixed size, little-endian; part 1, where there is
   one, a parcel's stream, and the rest its out-of-band buffers (parcel.h).

     master                                   worker
               <------------  HELLO what it runs; the master waits for it
       CALLABLE slot, callable  ------------>   holds it in that slot
       TASKS job, first, count  ------------>   calls it, task by task
               <------------  ANSWER job, first, count: exactly one a chunk
       ...
       FAREWELL                 ------------>   stops serving
               <------------  FAREWELL

   Messages between two ranks keep their order, so whatever a chunk needs
   (bindings, initializer, callable) is sent before it. */

#ifndef EZMPI_PROTOCOL_H
#define EZMPI_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>

enum verb {
    /* master to worker */
    VERB_BIND = 1,      /* names: they, with values, to bind in __main__ */
    VERB_INITIALIZE,    /* pool: (initializer, initargs), run once a pool */
    VERB_CALLABLE,      /* slot, callable: stream and buffers, unpickled when
                           a chunk needs it */
    VERB_TASKS,         /* job, pool, callable, first, count, elapsed: the
                           tasks */
    VERB_ABANDON,       /* job, first: drop its tasks from first upwards */
    VERB_FORGET, /* pool: it is closed, drop what it used; 0: all are */
    VERB_SHARE, /* key: it, and an object: kept, for all that runs here ... */
    VERB_UNSHARE, /* key: it, and None: ... until this drops it */
    VERB_INTERRUPTED, /* the master had a Ctrl-C, which may come here late */
    VERB_RELEASE, /* one credit: one wait of a test_mode worker ends */
    /* worker to master */
    VERB_ANSWER, /* job, first, count done, elapsed: the results; with
                           FLAG_FAILED the last item is the failure of task
                           first + count, with FLAG_BACK the tasks from there
                           on were not begun */
    VERB_NEED, /* callable: "I do not hold it, send it again" */
    VERB_UNBOUND, /* "I could not bind what came": it has to be sent again */
    /* both: the last word of either side */
    VERB_FAREWELL,
    /* worker to master: what it runs, before all else.  The same number in
       every version: two of them may meet. */
    VERB_HELLO = 1000,
};

enum flag {
    FLAG_DILL = 1, /* lambdas and __main__ by value where needed */
    FLAG_NO_RESULTS = 2, /* TASKS: nobody wants them; ANSWER: left out */
    FLAG_FAILED = 4, /* ANSWER: a task raised; SHARE, from a guard: who looks
                        at the object dies */
    FLAG_BROKEN = 8, /* ANSWER: the pool's initializer raised, or crashed */
    FLAG_BACK = 16, /* TASKS: the master takes back what is not begun when
                       the chunk is late; ANSWER: there it is */
    FLAG_STAR = 32, /* TASKS: a task is the arguments of a call, ... */
    FLAG_CALL = 64, /* ... or (args, kwargs) of one */
    FLAG_EACH = 128, /* TASKS: a task's failure stands among the results, and
                        the others go on; where these are not wanted, among
                        as many None */
    FLAG_CLAIM = 256, /* TASKS: it may have been taken back when it could begin
                         (claim.h); its number is in elapsed */
    FLAG_ONE = 512, /* TASKS: a call of its own, not one of a job's tasks */
    FLAG_LOST =
        1024, /* from a guard: it had no memory for what came with it */
    FLAG_LENT =
        2048, /* from a guard: some buffers are where both see them, and part
                 1 says which (parcel_lend); the others stand behind it */
};

/* Counts up with every change of what is here, or travels in a parcel. */
#define PROTOCOL_VERSION 4

#define CALLABLE_SLOTS 4 /* callables that a worker holds at once */

struct header {
    uint64_t job;
    union { /* one field on the wire, by the message's verb */
        uint64_t first; /* TASKS, ANSWER, ABANDON: number of the first task */
        uint64_t names; /* BIND: a number, the same for the same names */
        uint64_t key; /* SHARE, UNSHARE: a number, the same for the same
                           key */
        uint64_t has_guard; /* HELLO: 1: so the sender does; or 0 */
        uint64_t stopped; /* FORGET: a pool that was terminated, no task of it
                             is to go on; 0: none was */
    };
    union {
        uint64_t count; /* TASKS, ANSWER: tasks, or results */
        uint64_t ended; /* SHARE with FLAG_FAILED: how others there have: the
                           signal, or 256 + the exit code; 0: unknown */
    };
    uint64_t callable; /* its number; never reused on a communicator */
    uint64_t pool;
    uint64_t elapsed; /* ANSWER: nanoseconds the chunk took to come and run;
                         TASKS: after which it is late, 0: never */
    uint64_t timeout; /* TASKS: nanoseconds that a task may take, 0: any */
    uint32_t flags;
    uint32_t slot;
};

#define HEADER_SIZE 64u

void header_pack(const struct header *header, unsigned char *bytes);
/* 0, or -1 where size is not that of a header. */
int header_unpack(struct header *header, const void *bytes, size_t size);

#endif
