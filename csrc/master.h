/* master.h -- drives: whoever waits for something brings it about.

   A thread that waits for a job or a call takes the helm, if it is free, and
   hands chunks out and takes answers in, of all jobs, until its own is over;
   if another thread has the helm, it watches.  Where nobody waits, a thread of
   the crew's own does it: driver.h.

   Runs on the master (rank 0).  Needs the GIL; takes the helm itself, where it
   does not say otherwise. */

#ifndef EZMPI_MASTER_H
#define EZMPI_MASTER_H

#include "crew.h"
#include "job.h"

/* What it takes for a crew to have jobs: once.  -1: exception set. */
int master_init(struct crew *crew);

/* ---- waiting ---------------------------------------------------------- */

struct master_wait {
    const void *watched;            /* helm_notify is called with it */
    void *of;
    int (*is_over)(void *of);
    /* Does something wait for this thread, and to do it; NULL: never. */
    int (*wants_me)(void *of);
    int (*go_on)(void *of);         /* at the helm; -1: exception set */
    double seconds;                 /* at most; below 0: for ever */
};

/* 1: it is over; 0: it is not, after so long; -1: exception set, of this
   thread: a signal's. */
int master_wait(struct crew *crew, const struct master_wait *wait);
/* None: for ever. */
int master_parse_seconds(PyObject *object, double *seconds);

/* ---- jobs ------------------------------------------------------------- */

/* Runs a job to its end.  The list of results, or None where they are not
   wanted; a new reference.  NULL: exception set, the job is abandoned. */
PyObject *master_map(struct crew *crew, const struct job_request *request);
/* Begins one that goes on in the background; the caller has a share. */
struct job *master_begin(struct crew *crew, const struct job_request *request);
/* All that is unfinished of the pool fails with the exception (borrowed); or
   only what is taken one by one.  At the helm. */
void master_abandon(struct crew *crew, uint64_t pool, int iterators,
                    PyObject *exception);
/* What workers still run is of no use: if they do at the end of the process,
   that does not count as a failure, until another job begins. */
void master_give_up(struct crew *crew);
/* Sends all workers a value, to be kept under the key; its large buffers must
   not change until they have left.  -1: exception set. */
int master_share(struct crew *crew, struct codec *codec, uint32_t flags,
                 PyObject *key, PyObject *value);
/* Tells all workers to let go of what they keep under the key: now, or
   whoever has the helm does it next, or gets it next.  -1: exception set. */
int master_unshare(struct crew *crew, struct codec *codec, PyObject *key);
/* Sends what can be sent at once, and takes in the answers that came, but runs
   none of the user's code.  At the helm.  -1: as master_take_answers, or the
   transport failed and there is no job that would say so. */
int master_move(struct crew *crew);
/* Takes in what has come and hands out what can be, unless another thread
   drives.  -1: exception set, of this thread. */
int master_touch(struct crew *crew);
/* Abandons the job when that can be: now, or before the next is handed out.
   Steals the share. */
void master_drop(struct crew *crew, struct job *job);

/* ---- for driver.c, at the helm ---------------------------------------- */

/* Takes in the answers that came, but for those that another thread must.  -1:
   exception set, of this thread. */
int master_take_answers(struct crew *crew);
/* Is a worker left?  -1: exception set. */
int master_check_workers(const struct crew *crew);
/* Draws chunks and gives them, while there are workers for them.  -1: as
   above. */
int master_hand_out(struct crew *crew);
/* Takes in all that has come, and gives nothing out. */
void master_listen(struct crew *crew);
/* Takes in the message that dispatch_receive left to Python. */
void master_open_letter(struct crew *crew);
/* All that is unfinished fails. */
void master_fail(struct crew *crew, const struct transport_error *error);

#endif
