/* callable.h -- the callables that workers were sent, as the master knows
   them.

   A worker holds few at once, each in a slot; a callable is known by its
   bytes, and where its bytes changed it is another.  All of this needs the GIL
   and the helm. */

#ifndef EZMPI_CALLABLE_H
#define EZMPI_CALLABLE_H

#include "parcel.h"
#include "protocol.h"
#include "schedule.h"
#include "snapshot.h"

/* Whoever keeps one may read these. */
struct callable {
    size_t owners;
    uint64_t number;                /* on its communicator; never reused */
    int slot;
    struct parcel *parcel;
    struct schedule_pace pace;      /* of tasks with it, so far */
    PyObject *name;                 /* what people are told; crew.c's */
    /* callable.c's own */
    uint64_t used;                  /* when it was needed last ... */
    uint64_t pool;                  /* ... and by which pool */
    struct snapshot *snapshot;      /* NULL: to be pickled each time */
    int unfit;                      /* for a snapshot */
};

struct callables {
    struct callable *held[CALLABLE_SLOTS];
    uint64_t given;                 /* numbers, so far */
    uint64_t uses;
};

/* What people are told of a function, or of another callable: its qualified
   name or its type's; where results are kept in a file, those of the user's.
   Runs none of the user's code.  A new reference. */
PyObject *callable_name(PyObject *function);

struct callable *callable_keep(struct callable *callable);
void callable_free(struct callable *callable); /* lets go; NULL is allowed */

/* The callable with this parcel's contents; takes the parcel over in any case.
   Borrowed, like all that these return.  NULL: exception set. */
struct callable *callables_hold(struct callables *callables,
                                struct parcel *parcel, uint64_t pool);
/* That of the very function that was remembered, if nothing it depends on has
   changed since: it need not be pickled.  NULL: none, no exception. */
struct callable *callables_recall(struct callables *callables,
                                  PyObject *function, uint64_t pool);
/* It was pickled from the function, by reference where that can be, and the
   workers know all that it needs.  record: what they hold. */
int callable_remember(struct callable *callable, PyObject *function,
                      PyObject *record);
/* Names were bound anew on the workers: no function is the same any more. */
void callables_rebound(struct callables *callables);
/* Forgets what the pool used last, or with 0 all. */
void callables_forget(struct callables *callables, uint64_t pool);

#endif
