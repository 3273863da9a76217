/* job.h -- a map: tasks drawn, cut into chunks, answers taken in.

   Runs on the master (rank 0), in whatever thread has the helm.  Needs that
   and the GIL, but where it says that the helm is not needed.  The helm is
   left while the user's iterator or callback runs; but a callback of a job
   that nobody waits for is not the user's, and must not use it.

   An iterator that runs code belongs to one thread, which alone draws: that
   which waits, or the driver's.  Unless `calm` is not empty any more: then any
   thread may. */

#ifndef EZMPI_JOB_H
#define EZMPI_JOB_H

#include "crew.h"
#include "dispatch.h"
#include "results.h"

struct job;

/* What a pool asks for. */
struct job_request {
    PyObject *pool;                 /* borrowed, like all of these */
    PyObject *function;
    PyObject *tasks;
    PyObject *calm;                 /* a list, see above; or NULL */
    PyObject *callback;             /* of each result; NULL: none */
    int tells_index;                /* of the task, to callback, too */
    PyObject *receiver;             /* a future; NULL: somebody waits */
    PyObject *show;                 /* how far a map is; NULL: nobody */
    enum results_kind results;
    uint64_t chunksize;             /* 0: the scheduler chooses */
    uint64_t window;                /* tasks drawn and not taken; 0: any */
    uint64_t pool_number;
    struct codec *codec;
    struct initializer *initializer;    /* NULL: none */
    uint32_t flags;                 /* FLAG_DILL, FLAG_STAR, FLAG_EACH */
    int returns_failures;           /* FLAG_EACH: as results like others */
    PyObject *retries;              /* a plan (retries.h); NULL: none */
    uint64_t timeout;               /* nanoseconds a task; 0: any */
};

/* Begins a job; the caller has a share in it.  NULL: exception set. */
struct job *job_begin(struct crew *crew, const struct job_request *request);
/* One more share; needs no helm. */
void job_keep(struct job *job);
void job_release(struct job *job);

/* How far it is, and never less than was told before; total: SCHEDULE_UNKNOWN
   while it is not known. */
struct job_progress {
    uint64_t completed, total;      /* tasks */
    int busy;                       /* workers, by whatever job */
};
struct job_progress job_progress(struct job *job);

/* These need no helm. */
int job_is_over(const struct job *job);
/* Does it wait for the thread that runs it, which alone may go on? */
int job_wants_owner(const struct job *job);
struct results *job_results(const struct job *job);
/* Have results been taken, for want of which nothing was drawn?  Says so
   once. */
int job_has_room_again(struct job *job);
/* Was it left before its end? */
int job_is_left(const struct job *job);
/* What failed, borrowed, or NULL. */
PyObject *job_failure(const struct job *job);

/* Takes in the answers that wait for this thread.  -1: exception set. */
int job_go_on(struct job *job);
/* Leaves the job where it is: workers drop what they hold of it.  A receiver
   is told the exception (borrowed; NULL: nobody is told). */
void job_abandon(struct job *job, PyObject *exception);
/* To be abandoned by whoever is at the helm next; needs no helm.  Steals the
   share. */
void job_orphan(struct job *job);

#endif
