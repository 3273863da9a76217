/* jobs_stub.h -- jobs and calls without Python, for tests/c/driver_test.c.

   They keep to the rules of job.c and call.c: what needs the GIL, what the
   helm, and where the helm is left.  The tasks are numbers, and each chunk's
   answer says what they add up to: so it is seen that each was run once.

   All of this needs the GIL. */

#ifndef EZMPI_TESTS_JOBS_STUB_H
#define EZMPI_TESTS_JOBS_STUB_H

#include "job.h"

/* What a worker answers for these tasks. */
uint64_t sum_of(uint64_t first, uint64_t count);

/* Stands for the user's iterators and callbacks, which may use the pool. */
extern void (*stub_users_code)(struct crew *crew);

/* ---- jobs: what job.h says of them, and ------------------------------- */

enum job_kind {
    JOB_OF_LIST, /* drawn by any thread */
    JOB_OF_ITERATOR, /* by its owner alone, or in the background by the
                        driver's thread, without the helm */
    JOB_CALLING_BACK, /* so is what came taken in */
};

struct job_plan {
    enum job_kind kind;
    int is_in_background;
    uint64_t pool;
    uint64_t tasks;
    uint64_t chunksize; /* 0: the scheduler chooses */
    size_t bytes; /* of each chunk */
};

/* At the helm; the caller has a share. */
struct job *job_start(struct crew *crew, const struct job_plan *plan);
/* Of one that is over: was each task run, if it was not left? */
int job_is_right(const struct job *job);
/* Waits for it, as master_map does. */
void job_wait(struct job *job, double seconds);

/* ---- calls ------------------------------------------------------------ */

struct calls;

struct calls *calls_open(struct crew *crew, uint64_t pool);
void calls_close(struct calls *calls);

/* At the helm; the caller has a share. */
struct ticket *call_start(struct calls *calls);
/* As the methods of ticket.c. */
int call_cancel(struct ticket *ticket);
int call_begun(const struct ticket *ticket);
void call_wait(struct ticket *ticket, double seconds);
void call_release(struct ticket *ticket);
/* Is it over, and was it cancelled or run? */
int call_is_right(const struct ticket *ticket);

#endif
