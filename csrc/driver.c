/* driver.c -- sleeps, drives, and takes the GIL as seldom as it can.

   How seldom depends on what it costs.  Where no other thread runs Python code
   the GIL is had at once, and answers are taken in as they come.  Where one
   does, Python gives it up after its switch interval, 5 ms: then answers are
   left for some times as long, and as many tasks drawn ahead as workers will
   need meanwhile.

   Must not know what a job is made of. */

#define PY_SSIZE_T_CLEAN
#include "driver.h"

#include <math.h>

#include "dispatch.h"
#include "errors.h"
#include "master.h"

#define DOZE_SECONDS 1e-3       /* while others drive now and then */
#define SLEEP_SECONDS 60.0      /* to be woken */
#define GIL_PATIENCE 8 /* times what the GIL cost last */
#define AHEAD 20 /* times the same, of work for each worker */
#define AHEAD_BYTES ((size_t)64 << 20)
#define DRAWING 5000000 /* nanoseconds with the GIL, for others wait */

struct shift { /* a time at the helm */
    struct crew *crew;
    PyThreadState *thread; /* while the GIL is free */
    int64_t gil_cost; /* nanoseconds that it took to get it last */
    int64_t gil_left; /* when it was given up last */
    struct transport_error error;
};

/* ---- with the GIL ----------------------------------------------------- */

/* Tasks of the line that should wait, drawn. */
static uint64_t
tasks_ahead(const struct shift *shift, const struct line *line)
{
    double time = AHEAD * (double)shift->gil_cost;
    return schedule_tasks_in(line->schedule, time)
           * (uint64_t)shift->crew->workers;
}

static int
is_short_of_tasks(const struct shift *shift, struct line *line)
{
    uint64_t tasks = 0;
    size_t bytes = 0;
    if (line->schedule == NULL || !line->kind->can_draw(line))
        return 0;
    uint64_t wanted = tasks_ahead(shift, line);
    for (const struct chunk *chunk = line->waiting.first; chunk;
         chunk = chunk->next) {
        tasks += chunk->header.count;
        bytes += parcel_size(chunk->tasks);
    }
    return tasks < wanted && bytes < AHEAD_BYTES;
}

/* Draws for the time when the GIL is not had. */
static int
draw_ahead(const struct shift *shift)
{
    int64_t began = crew_clock();
    struct line *line = shift->crew->dispatch->lines;
    int status = 0;
    while (line != NULL && status >= 0) {
        if (crew_clock() - began > DRAWING
            || !is_short_of_tasks(shift, line)) {
            line = line->next;
            continue;
        }
        status = line->kind->draw(line);
        line = shift->crew->dispatch->lines; /* they may have changed */
    }
    return status;
}

/* An exception here is nobody's: of a signal, which this thread does not get,
   or an exit in the user's code, which has failed its job. */
static void
with_gil(struct shift *shift, int status)
{
    struct crew *crew = shift->crew;
    if (status == DISPATCH_PYTHON)
        master_open_letter(crew);
    else if (status == TRANSPORT_FAILED)
        master_fail(crew, &shift->error);
    if (master_take_answers(crew) < 0 || master_hand_out(crew) < 0
        || draw_ahead(shift) < 0)
        PyErr_Clear();
}

/* ---- without ---------------------------------------------------------- */

static int
is_to_leave(const struct crew *crew)
{
    return helm_is_wanted(&crew->helm) || crew->driver.stop
           || crew->unfinished == 0 || futures_are_left(crew->futures);
}

/* Seconds until the answers that are here should be taken in. */
static double
answers_can_wait(const struct shift *shift)
{
    const struct dispatch *dispatch = shift->crew->dispatch;
    int64_t since = dispatch->answered_since > shift->gil_left
                        ? dispatch->answered_since
                        : shift->gil_left;
    if (dispatch->answered.first == NULL)
        return dispatch_patience(dispatch);
    int64_t until = since + GIL_PATIENCE * shift->gil_cost;
    return fmax(1e-9 * (double)(until - crew_clock()), 0);
}

/* Is a worker idle, or about to be, for whom a chunk must be drawn or cut? */
static int
is_short_of_chunks(const struct shift *shift)
{
    int worker;
    const struct line *line = dispatch_next(shift->crew->dispatch, &worker);
    return line != NULL && !line_is_ready(line);
}

/* Works without the GIL until it is needed. */
static int
work(struct shift *shift)
{
    struct dispatch *dispatch = shift->crew->dispatch;
    int status = TRANSPORT_OK;
    while (status == TRANSPORT_OK || status == TRANSPORT_NOTHING) {
        status = dispatch_feed(dispatch, &shift->error);
        if (status != TRANSPORT_OK)
            break;
        double seconds = answers_can_wait(shift);
        if (is_to_leave(shift->crew) || seconds <= 0
            || is_short_of_chunks(shift) || dispatch->orphans != NULL
            || shift->crew->errands != NULL || dispatch->untold > 0
            || dispatch_find_stuck(dispatch) != NULL)
            break;
        status = dispatch_receive(dispatch, seconds, &shift->error);
    }
    return status;
}

static void
take_gil(struct shift *shift)
{
    int64_t began = crew_clock();
    PyEval_RestoreThread(shift->thread);
    shift->gil_cost = crew_clock() - began;
}

static void
leave_gil(struct shift *shift)
{
    shift->thread = PyEval_SaveThread();
    shift->gil_left = crew_clock();
}

/* At the helm, the GIL free; both ways. */
static void
drive(struct shift *shift)
{
    struct crew *crew = shift->crew;
    crew->driver.drives = 1;
    /* At least once, or who always wants the helm would keep answers waiting
       for ever. */
    do {
        int status = work(shift);
        take_gil(shift);
        with_gil(shift, status);
        leave_gil(shift);
    } while (!is_to_leave(crew));
    crew->driver.drives = 0;
}

/* ---- the thread ------------------------------------------------------- */

/* Did another thread drive a moment ago?  Then it may again. */
static int
others_drive(const struct crew *crew)
{
    int64_t since = crew_clock() - crew->driver.driven;
    return since < (int64_t)(1e9 * DOZE_SECONDS);
}

/* Gets the helm, if it is this thread's turn: others drive as well as it does,
   but for what only it may draw. */
static int
get_helm(struct crew *crew)
{
    if (crew->driver.needed == 0)
        return !others_drive(crew) && helm_try(&crew->helm);
    crew_want_helm(crew);
    return 1;
}

/* A pool that went while this thread had the helm, and had looked. */
static void
part_late(struct crew *crew)
{
    if (crew->is_dropped && helm_try(&crew->helm)) {
        crew_part_dropped(crew);
        helm_leave(&crew->helm);
    }
}

/* The GIL is free.  Until there is something to be told, or the end. */
static void
stand_by(struct shift *shift, struct helm_watch *watch)
{
    struct crew *crew = shift->crew;
    while (!crew->driver.stop && !futures_are_left(crew->futures)
           && !crew->transport->closed(crew->mailbox)) {
        if (crew->unfinished == 0 || crew->driver.may_not_drive)
            helm_watch_wait(&crew->helm, watch, SLEEP_SECONDS);
        else if (get_helm(crew)) {
            drive(shift);
            crew_part_dropped(crew);
            helm_leave(&crew->helm);
            part_late(crew);
        }
        else
            helm_watch_wait(&crew->helm, watch, DOZE_SECONDS);
    }
}

int
driver_run(struct crew *crew)
{
    struct shift shift = {.crew = crew};
    struct helm_watch watch;
    if (helm_watch_begin(&crew->helm, &watch, crew, 0) < 0) {
        crew->driver.started = 0;
        return PyErr_NoMemory(), -1;
    }
    crew->driver.thread = PyThread_get_thread_ident();
    crew->driver.started = 1; /* also where that seems to have failed */
    while (!crew->driver.stop && !crew->transport->closed(crew->mailbox)) {
        futures_call(crew->futures, 0);
        leave_gil(&shift);
        stand_by(&shift, &watch);
        take_gil(&shift);
    }
    crew->driver.started = 0;
    crew->driver.thread = 0;
    helm_watch_end(&crew->helm, &watch);
    futures_call(crew->futures, 0);
    return 0;
}

/* ---- its life --------------------------------------------------------- */

static void
release(PyObject *capsule)
{
    crew_release(PyCapsule_GetPointer(capsule, DRIVER_CAPSULE));
}

/* It has a share. */
static PyObject *
new_capsule(struct crew *crew)
{
    PyObject *capsule = PyCapsule_New(crew, DRIVER_CAPSULE, release);
    if (capsule != NULL)
        crew_keep(crew);
    return capsule;
}

/* ezmpi._driver starts it, and sees to its end. */
static int
start(struct crew *crew)
{
    PyObject *done = NULL;
    crew->driver.started = 1;       /* now: others may come by meanwhile */
    crew->driver.may_not_drive = !crew->transport->threads();
    PyObject *module = PyImport_ImportModule("ezmpi._driver");
    PyObject *capsule = new_capsule(crew);
    if (module != NULL && capsule != NULL)
        done = PyObject_CallMethod(module, "start", "Oi", capsule,
                                   crew->driver.may_not_drive);
    if (done != Py_True && !crew->driver.thread)
        crew->driver.started = 0;
    Py_XDECREF(done);
    Py_XDECREF(capsule);
    Py_XDECREF(module);
    return done == NULL ? -1 : 0;
}

int
driver_start(struct crew *crew)
{
    if (crew->driver.stop) {
        PyErr_SetString(PyExc_RuntimeError,
                        "cannot schedule new futures, nor begin anything else "
                        "in the background, after interpreter shutdown");
        return -1;
    }
    return crew->driver.started ? 0 : start(crew);
}

void
driver_stop(struct crew *crew)
{
    if (crew_is_forked(crew))
        return;
    crew->driver.stop = 1;
    crew->transport->interrupt(crew->mailbox);
    helm_notify(&crew->helm, crew);
}
