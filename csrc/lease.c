/* lease.c -- joined when all is over, closed, dropped; the workers are told.

   Must not know what a pool has begun, nor how. */

#define PY_SSIZE_T_CLEAN
#include "lease.h"

#include <unistd.h>

#include "dispatch.h"
#include "master.h"

#define FLUSH_SECONDS 0.5       /* what close spends on messages to leave */
#define JOIN_SECONDS 0.01       /* between looks whether all is over */
#define REST_SECONDS 1e-3       /* ... and whether workers have ended */

void
lease_begin(struct lease *lease)
{
    lease->number = ++lease->crew->pools;
    lease->crew->open_pools++;
    lease->closed = 0;
}

/* Tells the workers; the helm is ours. */
static int
forget(struct lease *lease)
{
    struct crew *crew = lease->crew;
    struct header header = {.pool = lease->number};
    if (!lease->is_to_be_forgotten || crew_is_gone(crew))
        return 0;
    lease->is_to_be_forgotten = 0;
    int status = crew_forget(crew, crew->open_pools == 0 ? 0 : lease->number,
                             lease->is_terminated ? lease->number : 0);
    if (lease->test_mode && status == 0)
        status = crew_broadcast(crew, VERB_RELEASE, &header, NULL);
    if (status == 0)
        status = crew_flush(crew, FLUSH_SECONDS) < 0 ? -1 : 0;
    return status;
}

int
lease_has_unfinished(const struct lease *lease)
{
    const struct line *line = lease->crew->dispatch->lines;
    while (line != NULL && line->pool != lease->number)
        line = line->next;
    return line != NULL;
}

/* Does a worker run something of it, or will? */
static int
is_at_workers(const struct lease *lease)
{
    const struct crew *crew = lease->crew;
    for (int worker = 0; worker < crew->workers; worker++) {
        const struct chunk *chunk =
            seats_oldest(crew->dispatch->seats, worker);
        for (; chunk != NULL; chunk = chunk->next) {
            if (chunk->header.pool == lease->number)
                return 1;
        }
    }
    return 0;
}

/* But for what waits until somebody takes its results. */
static int
is_all_over(const struct lease *lease)
{
    struct line *line = lease->crew->dispatch->lines;
    for (; line != NULL; line = line->next) {
        if (line->pool == lease->number && !line->kind->is_stalled(line))
            return 0;
    }
    return 1;
}

/* But for one that runs here. */
static int
waits_for_callbacks(const struct lease *lease)
{
    const struct crew_driver *driver = &lease->crew->driver;
    return futures_are_left(lease->crew->futures)
           && driver->thread != PyThread_get_thread_ident();
}

/* Is there nothing to be waited for, nor to be told?  Needs no helm. */
static int
is_done(const struct lease *lease)
{
    return !lease_has_unfinished(lease) && !waits_for_callbacks(lease)
           && !lease->is_to_be_forgotten;
}

/* And no worker runs anything of it, if that matters.  The helm is ours. */
static int
is_at_rest(const struct lease *lease, int workers_too)
{
    return is_all_over(lease)
           && (lease->is_terminated || !waits_for_callbacks(lease))
           && (!workers_too || lease->is_terminated || !is_at_workers(lease));
}

/* Ends the use of the lease; the workers serve on for the next one. */
static void
mark_closed(struct lease *lease)
{
    if (lease->closed)
        return;
    lease->closed = 1;
    lease->is_to_be_forgotten = 1;
    lease->crew->open_pools--;
}

/* From a callback or the tasks' iterator of one of its own jobs? */
static int
is_inside(const struct lease *lease)
{
    const struct line *line = lease->crew->dispatch->lines;
    while (line != NULL
           && (line->pool != lease->number || !line->kind->is_inside(line)))
        line = line->next;
    return line != NULL;
}

static int
has_no_lines(void *lease)
{
    return !lease_has_unfinished(lease);
}

/* Drives for so long, or until the pool has nothing unfinished. */
static int
wait_a_while(struct lease *lease, double seconds)
{
    struct master_wait wait = {.watched = lease,
                               .of = lease,
                               .is_over = has_no_lines,
                               .seconds = seconds};
    int status = master_wait(lease->crew, &wait);
    if (status <= 0 || seconds <= 0)
        return status;
    /* Workers run on, and nobody will say when they have ended. */
    Py_BEGIN_ALLOW_THREADS
    usleep((useconds_t)(1e6 * REST_SECONDS));
    Py_END_ALLOW_THREADS
    return PyErr_CheckSignals();
}

static int
refuse_inside(void)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "a callback or the tasks' iterator waits for the job that "
                    "runs it, and so for itself");
    return -1;
}

int
lease_join(struct lease *lease, double seconds, int workers_too)
{
    struct crew *crew = lease->crew;
    int64_t began = crew_clock();
    int status = 0, is_over = 0;
    if (crew_is_gone(crew) || (!workers_too && is_done(lease)))
        return 1;
    if (crew_check_here(crew) < 0)
        return -1;
    if (is_inside(lease))
        return refuse_inside();
    while (status >= 0) {
        crew_take_helm(crew);
        status = master_move(crew);
        is_over = status == 0 && is_at_rest(lease, workers_too);
        if (is_over)
            status = forget(lease);
        crew_leave_helm(crew);
        double left = seconds - 1e-9 * (double)(crew_clock() - began);
        if (is_over || (seconds >= 0 && left <= 0) || status < 0)
            break;
        status = wait_a_while(lease, JOIN_SECONDS);
    }
    return status < 0 ? -1 : is_over;
}

int
lease_close(struct lease *lease)
{
    mark_closed(lease);
    if (crew_is_gone(lease->crew)
        || (!lease->test_mode && lease_has_unfinished(lease)))
        return 0;
    return lease_join(lease, -1, 0) < 0 ? -1 : 0;
}

void
lease_terminate(struct lease *lease)
{
    lease->is_terminated = 1;
    lease->is_to_be_forgotten |= lease->closed && !lease->test_mode;
}

int
lease_drop(struct lease *lease)
{
    struct crew *crew = lease->crew;
    mark_closed(lease);
    if (crew_is_gone(crew))
        return 0;
    crew->is_dropped = crew_has_own_workers(crew);
    if (!crew_try_helm(crew))
        return 0;
    int status = crew->is_dropped ? 0 : forget(lease);
    crew_leave_helm(crew);
    return status;
}

void
lease_part(struct lease *lease, double seconds)
{
    struct crew *crew = lease->crew;
    if (!crew_has_own_workers(crew) || crew_is_gone(crew))
        return;
    crew_take_helm(crew);
    Py_BEGIN_ALLOW_THREADS
    if (!crew_is_gone(crew))
        crew_part(crew, seconds);
    Py_END_ALLOW_THREADS
    crew_clear(crew);
    crew_leave_helm(crew);
}
