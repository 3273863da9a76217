/* master.c -- who drives, and how.

   Must not know how bytes travel, nor what a job is made of. */

#define PY_SSIZE_T_CLEAN
#include "master.h"

#include <math.h>

#include "dispatch.h"
#include "errors.h"
#include "hello.h"
#include "progress.h"

#define ENDING_SECONDS 5.0      /* what busy workers get when we end */
#define DRIVER_SECONDS 2e-3     /* what the driver's thread gets to drive */

/* ---- driving, with the GIL -------------------------------------------- */

/* The mailbox is of no use any more, or a worker is not. */
void
master_fail(struct crew *crew, const struct transport_error *error)
{
    PyObject *raised = PyErr_GetRaisedException();
    if (error != NULL)
        errors_raise_transport(error);
    PyObject *exception = error ? PyErr_GetRaisedException() : raised;
    struct line *line;
    while ((line = crew->dispatch->lines) != NULL)
        line->kind->fail(line, exception);
    if (error != NULL) {
        Py_DECREF(exception);
        PyErr_SetRaisedException(raised);
    }
    else
        Py_DECREF(exception);
}

/* An answer came and could not be kept. */
static void
lose_answer(struct crew *crew, const struct letter *letter)
{
    PyObject *exception = PyErr_GetRaisedException();
    struct chunk *chunk = dispatch_lose(crew->dispatch, letter->source - 1);
    if (chunk != NULL) {
        chunk->line->kind->lose(chunk->line, chunk, exception);
        chunk_free(chunk);
    }
    Py_DECREF(exception);
}

/* Opens a letter that dispatch could not. */
static int
open_letter(struct crew *crew, struct letter *letter)
{
    struct transport_error error = {0};
    int status = TRANSPORT_OK;
    switch (letter->verb) {
    case VERB_ANSWER:
    case VERB_NEED:
        status = dispatch_accept(crew->dispatch, letter, &error);
        break;
    case VERB_UNBOUND:
        return crew_distrust(crew);
    case VERB_HELLO:
        return hello_hear(crew, letter);
    default:
        return errors_raise("TransportError",
                            "rank %d sent verb %d, which "
                            "the master does not know",
                            letter->source, letter->verb);
    }
    if (status != TRANSPORT_OK)
        master_fail(crew, &error);
    return 0;
}

void
master_open_letter(struct crew *crew)
{
    struct letter letter;
    int came = crew_receive(crew, 0, &letter);
    if (came < 0 && letter.verb == VERB_ANSWER)
        lose_answer(crew, &letter);
    else if (came < 0 || (came > 0 && open_letter(crew, &letter) < 0))
        master_fail(crew, NULL);
    parcel_free(letter.parcel);
}

/* Waits for a message, the GIL free, and takes it in. */
static void
receive(struct crew *crew, double seconds)
{
    struct transport_error error = {0};
    int status = dispatch_receive(crew->dispatch, 0, &error);
    /* That may have been an interruption. */
    if (status == TRANSPORT_NOTHING && seconds > 0
        && !helm_is_wanted(&crew->helm)) {
        Py_BEGIN_ALLOW_THREADS
        status = dispatch_receive(crew->dispatch, seconds, &error);
        Py_END_ALLOW_THREADS
    }
    if (status == DISPATCH_PYTHON)
        master_open_letter(crew);
    else if (status == TRANSPORT_FAILED)
        master_fail(crew, &error);
}

/* Takes in a message that is here.  NOTHING: none is. */
static int
receive_now(struct crew *crew, struct transport_error *error)
{
    int status = dispatch_receive(crew->dispatch, 0, error);
    if (status != DISPATCH_PYTHON)
        return status;
    master_open_letter(crew);
    return TRANSPORT_OK;
}

void
master_listen(struct crew *crew)
{
    struct transport_error error = {0};
    int status;
    do
        status = receive_now(crew, &error);
    while (status == TRANSPORT_OK);
    if (status == TRANSPORT_FAILED)
        master_fail(crew, &error);
}

/* What workers are to let go of, told by whoever is at the helm next. */
struct errand {
    struct errand *next;
    struct parcel *parcel;
    uint64_t key;
};

static int
broadcast_parcel(struct crew *crew, enum verb verb, uint32_t flags,
                 uint64_t key, struct parcel *parcel)
{
    struct transport_error error = {0};
    struct header header = {.flags = flags, .key = key};
    int status =
        dispatch_broadcast(crew->dispatch, verb, &header, parcel, &error);
    crew_tidy(crew);
    return status == TRANSPORT_OK ? 0 : errors_raise_transport(&error);
}

/* -1: exception set; what is left is for the next. */
static int
run_errands(struct crew *crew)
{
    struct errand *errand;
    int status = 0;
    while (status == 0 && (errand = crew->errands) != NULL) {
        crew->errands = errand->next;
        status = broadcast_parcel(crew, VERB_UNSHARE, 0, errand->key,
                                  errand->parcel);
        parcel_free(errand->parcel);
        PyMem_RawFree(errand);
    }
    return status;
}

static void
drop_orphans(struct crew *crew)
{
    struct line *line;
    while ((line = crew->dispatch->orphans) != NULL) {
        crew->dispatch->orphans = line->next_orphan;
        job_abandon((struct job *)line, NULL);
        job_release((struct job *)line);
    }
}

/* A warning may run the user's code, and be made an error. */
static int
warn(struct crew *crew, int worker)
{
    const char *host = crew_host_of(crew, worker);
    crew_leave_helm(crew);
    int status = errors_warn_death(worker + 1, host, crew_alive(crew));
    crew_take_helm(crew);
    return status;
}

/* Who went on without workers would wait for ever. */
int
master_check_workers(const struct crew *crew)
{
    if (crew->lost == 0 || crew_alive(crew) > 0)
        return 0;
    return errors_raise("WorkerDied",
                        "all workers have died: nobody is left to run tasks");
}

/* Tells the user which workers have died. */
static int
tell_deaths(struct crew *crew)
{
    int status = 0;
    for (int worker = 0; worker < crew->workers; worker++) {
        struct crew_member *member = &crew->members[worker];
        if (!member->is_lost || member->is_told || status < 0)
            continue;
        member->is_told = 1;
        crew->dispatch->untold--;
        status = warn(crew, worker);
    }
    PyObject *raised = status < 0 ? PyErr_GetRaisedException() : NULL;
    if (master_check_workers(crew) < 0)
        master_fail(crew, NULL);
    if (raised != NULL)
        PyErr_SetRaisedException(raised);
    return status;
}

int
master_take_answers(struct crew *crew)
{
    struct chunk *chunk;
    int status = 0;
    drop_orphans(crew);
    if (run_errands(crew) < 0)
        master_fail(crew, NULL);
    if (crew->dispatch->untold > 0)
        status = tell_deaths(crew);
    while (status == 0
           && (chunk = chunks_pop(&crew->dispatch->answered)) != NULL)
        status = chunk->line->kind->take(chunk->line, chunk);
    return status == 0 ? future_raise(crew->futures) : status;
}

/* What waits behind a call that turned out to be long goes to who is idle.  1:
   there is such. */
static int
relieve(struct crew *crew)
{
    struct chunk *stuck = dispatch_find_stuck(crew->dispatch);
    return stuck != NULL && stuck->line->kind->take_back(stuck->line, stuck);
}

/* Makes ready what the worker is to get, and gives it. */
static int
hand_over(struct crew *crew, struct line *line, int worker)
{
    struct transport_error error = {0};
    int status = 1;
    if (line->waiting.first == NULL)
        status = line->kind->draw(line);
    else if (!line_is_ready(line))
        status = line->kind->cut(line);
    if (status <= 0)
        return status;      /* whose turn it is is to be looked for again */
    if (dispatch_give(crew->dispatch, line, worker, &error) != TRANSPORT_OK)
        master_fail(crew, &error);
    return 0;
}

int
master_hand_out(struct crew *crew)
{
    struct line *line;
    int worker, status = 0;
    do {
        while (status == 0
               && (line = dispatch_next(crew->dispatch, &worker)) != NULL)
            status = hand_over(crew, line, worker);
    } while (status == 0 && relieve(crew));
    crew_tidy(crew);
    return status;
}

/* Futures that have callbacks are told in another thread. */
int
master_move(struct crew *crew)
{
    struct transport_error error = {0};
    int status;
    do {
        status = dispatch_feed(crew->dispatch, &error);
        if (status == TRANSPORT_OK)
            status = receive_now(crew, &error);
    } while (status == TRANSPORT_OK);
    if (status == TRANSPORT_FAILED && crew->dispatch->lines == NULL)
        return errors_raise_transport(&error);
    if (status == TRANSPORT_FAILED)
        master_fail(crew, &error);
    crew_tidy(crew);
    return master_take_answers(crew);
}

/* ---- waiting ---------------------------------------------------------- */

static int64_t
deadline_of(double seconds)
{
    return seconds < 0 ? INT64_MAX
                       : crew_clock() + (int64_t)(1e9 * fmin(seconds, 1e9));
}

/* Seconds to the deadline, but no more than signals can wait. */
static double
time_left(int64_t deadline)
{
    if (deadline == INT64_MAX)
        return SIGNAL_SECONDS;
    return fmin(1e-9 * (double)(deadline - crew_clock()), SIGNAL_SECONDS);
}

/* Again only when some milliseconds have passed. */
static int
look_for_signals(struct crew *crew)
{
    int64_t now = crew_coarse_clock();
    if (now == crew->looked)
        return 0;
    crew->looked = now;
    return crew_check_signals(crew);
}

/* At the helm: 1: it is over; 0: another thread wants the helm, or it is too
   late. */
static int
drive(struct crew *crew, const struct master_wait *wait, int64_t deadline)
{
    while (!wait->is_over(wait->of)) {
        /* Handlers of what came meanwhile run here, and not in callbacks. */
        if (look_for_signals(crew) < 0
            || (wait->go_on != NULL && wait->go_on(wait->of) < 0)
            || master_take_answers(crew) < 0)
            return -1;
        if (wait->is_over(wait->of))
            break;
        if (master_hand_out(crew) < 0 || look_for_signals(crew) < 0)
            return -1;
        double seconds = time_left(deadline);
        if (wait->is_over(wait->of))
            break;
        if (helm_is_wanted(&crew->helm) || seconds <= 0)
            return 0;
        seconds = fmin(seconds, dispatch_patience(crew->dispatch));
        receive(crew, crew->dispatch->answered.first ? 0 : seconds);
    }
    return 1;
}

static int
wants_me(const struct master_wait *wait)
{
    return wait->wants_me != NULL && wait->wants_me(wait->of);
}

/* Must the driver's thread draw tasks?  Then it is left to drive, unless it
   does not get to it for long: the user's code may not return. */
static int
is_driver_needed(const struct crew *crew)
{
    return crew->driver.started && crew->driver.needed > 0;
}

/* Until something has changed. */
static int
watch(struct crew *crew, const struct master_wait *wait, int64_t deadline)
{
    struct helm_watch watch;
    int would_drive = !is_driver_needed(crew);
    double seconds =
        fmin(time_left(deadline), would_drive ? HUGE_VAL : DRIVER_SECONDS);
    if (helm_watch_begin(&crew->helm, &watch, wait->watched, would_drive)
        < 0) {
        PyErr_SetString(PyExc_OSError, "no lock can be made");
        return -1;
    }
    if (!wait->is_over(wait->of) && !wants_me(wait) && seconds > 0) {
        Py_BEGIN_ALLOW_THREADS
        helm_watch_wait(&crew->helm, &watch, seconds);
        Py_END_ALLOW_THREADS
    }
    helm_watch_end(&crew->helm, &watch);
    return 0;
}

/* Tries to get the helm: from the driver's thread, which drives only where
   nobody else does, or because something waits for this very thread. */
static int
get_helm(struct crew *crew, const struct master_wait *wait, int has_watched)
{
    const struct crew_driver *driver = &crew->driver;
    if (!wants_me(wait)) {
        if (is_driver_needed(crew))
            return has_watched && helm_try(&crew->helm);
        if (helm_try(&crew->helm))
            return 1;
        if (!driver->drives)
            return 0;
    }
    crew_take_helm(crew);
    return 1;
}

static int
wait_for(struct crew *crew, const struct master_wait *wait)
{
    int64_t deadline = deadline_of(wait->seconds);
    int status = 0, has_watched = 0;
    while (status == 0 && !wait->is_over(wait->of)) {
        if (PyErr_CheckSignals() < 0)
            return -1;
        if (get_helm(crew, wait, has_watched)) {
            status = drive(crew, wait, deadline);
            crew->driver.driven = crew_clock();
            crew_leave_helm(crew);
            has_watched = 0;
        }
        else if (watch(crew, wait, deadline) < 0)
            return -1;
        else
            has_watched = 1;
        if (status == 0 && time_left(deadline) <= 0)
            break;
    }
    return status < 0 ? -1 : wait->is_over(wait->of);
}

int
master_wait(struct crew *crew, const struct master_wait *wait)
{
    if (crew_check_here(crew) < 0)
        return -1;
    int status = wait_for(crew, wait);
    if (status < 0)
        crew_tell_interrupted(crew);
    return status;
}

int
master_parse_seconds(PyObject *object, double *seconds)
{
    *seconds = -1;
    if (object == NULL || object == Py_None)
        return 0;
    *seconds = PyFloat_AsDouble(object);
    if (*seconds == -1 && PyErr_Occurred())
        return -1;
    *seconds = *seconds > 0 ? *seconds : 0;
    return 0;
}

/* From the first line again each time: what fails one may end others. */
void
master_abandon(struct crew *crew, uint64_t pool, int iterators,
               PyObject *exception)
{
    struct line *line = crew->dispatch->lines;
    while (line != NULL) {
        if (line->pool != pool || (iterators && !line->is_iterated)) {
            line = line->next;
            continue;
        }
        line->kind->fail(line, exception);
        line = crew->dispatch->lines;
    }
}

static struct parcel *
dump_pair(struct codec *codec, PyObject *key, PyObject *value)
{
    struct parcel *parcel = parcel_new();
    if (parcel != NULL && codec_dump(codec, parcel, key, 1) == 0
        && codec_dump(codec, parcel, value, 0) == 0)
        return parcel;
    parcel_free(parcel);
    return NULL;
}

void
master_give_up(struct crew *crew)
{
    crew->transport->set_ending(ENDING_SECONDS, TRANSPORT_OWN_CODE_OR_0);
}

/* For guards, which do not look into parcels: the same for the same key. */
static uint64_t
number_of(PyObject *key)
{
    Py_hash_t hash = PyObject_Hash(key);
    if (hash == -1)
        PyErr_Clear();
    return (uint64_t)hash;
}

int
master_share(struct crew *crew, struct codec *codec, uint32_t flags,
             PyObject *key, PyObject *value)
{
    struct header header = {.flags = flags};
    int status = -1;
    crew_take_helm(crew);
    struct parcel *parcel = dump_pair(codec, key, value);
    if (parcel != NULL && crew_send_bindings(crew, codec, &header) == 0)
        status =
            broadcast_parcel(crew, VERB_SHARE, flags, number_of(key), parcel);
    parcel_free(parcel);
    crew_leave_helm(crew);
    return status;
}

/* The key needs no pickle, and so nothing that the helm guards. */
int
master_unshare(struct crew *crew, struct codec *codec, PyObject *key)
{
    struct errand *errand = PyMem_RawMalloc(sizeof *errand);
    struct parcel *parcel = dump_pair(codec, key, Py_None);
    if (errand == NULL || parcel == NULL) {
        PyMem_RawFree(errand);
        parcel_free(parcel);
        return PyErr_Occurred() ? -1 : (PyErr_NoMemory(), -1);
    }
    *errand = (struct errand){crew->errands, parcel, number_of(key)};
    crew->errands = errand;
    if (!crew_try_helm(crew)) {
        crew->transport->interrupt(crew->mailbox);
        return 0;
    }
    int status = run_errands(crew);
    crew_leave_helm(crew);
    return status;
}

int
master_touch(struct crew *crew)
{
    if (!crew_try_helm(crew))
        return 0;
    receive(crew, 0);
    int status = master_take_answers(crew);
    if (status == 0)
        status = master_hand_out(crew);
    crew->driver.driven = crew_clock();
    crew_leave_helm(crew);
    return status;
}

/* ---- jobs ------------------------------------------------------------- */

static int
is_over(void *job)
{
    return job_is_over(job);
}

static int
wants_owner(void *job)
{
    return job_wants_owner(job);
}

static int
go_on(void *job)
{
    return job_go_on(job);
}

static void
free_errands(struct crew *crew)
{
    struct errand *errand;
    while ((errand = crew->errands) != NULL) {
        crew->errands = errand->next;
        parcel_free(errand->parcel);
        PyMem_RawFree(errand);
    }
}

/* Each job holds its pool, and so the crew, until it is over: none is left. */
static void
end_jobs(struct crew *crew)
{
    free_errands(crew);
    dispatch_free(crew->dispatch);
    futures_free(crew->futures);
}

int
master_init(struct crew *crew)
{
    crew->end_jobs = end_jobs;
    if (crew->dispatch != NULL)
        return 0;
    if (crew->futures == NULL && !(crew->futures = futures_new()))
        return -1;
    crew->dispatch = dispatch_new(crew);
    if (crew->dispatch == NULL)
        return PyErr_NoMemory(), -1;
    return 0;
}

static struct job *
begin(struct crew *crew, const struct job_request *request)
{
    crew->transport->set_ending(ENDING_SECONDS, TRANSPORT_OWN_CODE);
    crew_take_helm(crew);
    struct job *job = job_begin(crew, request);
    crew_leave_helm(crew);
    if (job == NULL)
        crew_tell_interrupted(crew);
    return job;
}

static PyObject *
result_of(const struct job *job)
{
    PyObject *failure = job_failure(job);
    if (failure == NULL)
        return Py_NewRef(results_list(job_results(job)));
    PyErr_SetRaisedException(Py_NewRef(failure));
    return NULL;
}

/* What failed before the display is raised. */
static int
end_by_display(struct job *job, PyObject *show)
{
    if (!job_is_over(job) || job_failure(job) == NULL)
        return -1;
    PyErr_WriteUnraisable(show);
    return 1;
}

/* As master_wait. */
static int
wait_and_show(struct crew *crew, struct job *job, PyObject *show)
{
    struct master_wait wait = {job, job, is_over, wants_owner, go_on, -1};
    int status = 0;
    if (show == NULL)
        return master_wait(crew, &wait);
    wait.seconds = PROGRESS_SECONDS;
    while (status == 0) {
        status = master_wait(crew, &wait);
        if (status >= 0 && progress_show(crew, job, show) < 0)
            return end_by_display(job, show);
    }
    return status;
}

PyObject *
master_map(struct crew *crew, const struct job_request *request)
{
    struct job *job = begin(crew, request);
    if (job == NULL)
        return NULL;
    PyObject *result = NULL;
    int status = wait_and_show(crew, job, request->show);
    if (status > 0)
        result = result_of(job);
    crew_take_helm(crew);
    if (status < 0)
        job_abandon(job, NULL);
    job_release(job);
    crew_leave_helm(crew);
    return result;
}

struct job *
master_begin(struct crew *crew, const struct job_request *request)
{
    struct job *job = begin(crew, request);
    crew->driver.driven = 0;    /* it need not be waited for longer */
    helm_notify(&crew->helm, crew);
    return job;
}

void
master_drop(struct crew *crew, struct job *job)
{
    if (crew_is_forked(crew))
        return;         /* it is another process's */
    if (!crew_try_helm(crew)) {
        job_orphan(job);
        crew->transport->interrupt(crew->mailbox);
        return;
    }
    job_abandon(job, NULL);
    job_release(job);
    crew_leave_helm(crew);
}
