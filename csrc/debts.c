/* debts.c -- a list of chunks, oldest first, and the ledger that is read when
   the child has died.  Runs in the worker's rank.

   Must not know what is in a parcel, nor how a child comes to be. */

#define PY_SSIZE_T_CLEAN
#include "debts.h"

#include <string.h>

#include "errors.h"
#include "sigint.h"

struct debt {
    struct debt *next;
    uint64_t number; /* of its message: see ledger.h; 0: not sent yet */
    int64_t since; /* when it was passed down */
    int is_refused; /* no child gets it: answered for in its turn */
    struct header header;
};

struct debts {
    struct crew *crew;
    const struct ledger *ledger;
    struct journal *journal;
    struct debt *first;
    int in_vain; /* deaths since something was done last */
};

struct debts *
debts_new(struct crew *crew, const struct ledger *ledger,
          struct journal *journal)
{
    struct debts *debts = PyMem_RawCalloc(1, sizeof *debts);
    if (debts == NULL)
        return NULL;
    debts->crew = crew;
    debts->ledger = ledger;
    debts->journal = journal;
    return debts;
}

void
debts_free(struct debts *debts)
{
    PyMem_RawFree(debts);
}

/* ---- while the child lives --------------------------------------------- */

int
debts_add(struct debts *debts, const struct header *chunk)
{
    struct debt **end = &debts->first;
    struct debt *debt = PyMem_RawCalloc(1, sizeof *debt);
    if (debt == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    debt->header = *chunk;
    debt->since = crew_clock();
    while (*end != NULL)
        end = &(*end)->next;
    *end = debt;
    return 0;
}

static struct debt *
last_of(const struct debts *debts)
{
    struct debt *last = debts->first;
    while (last->next != NULL)
        last = last->next;
    return last;
}

void
debts_note_sent(struct debts *debts, uint64_t number)
{
    last_of(debts)->number = number;
}

static struct debt **
find(struct debts *debts, const struct header *answer)
{
    struct debt **link = &debts->first;
    while (*link != NULL
           && ((*link)->header.job != answer->job
               || (*link)->header.first != answer->first))
        link = &(*link)->next;
    return link;
}

void
debts_settle(struct debts *debts, const struct header *answer)
{
    struct debt **link = find(debts, answer);
    if (*link != NULL) {
        struct debt *debt = *link;
        *link = debt->next;
        PyMem_RawFree(debt);
    }
    debts->in_vain = 0;
    journal_acquit_callable(debts->journal, answer->callable);
}

int
debts_are_left(const struct debts *debts)
{
    return debts->first != NULL;
}

static int
is_begun(const struct debts *debts, const struct debt *debt)
{
    return debt->number != 0 && ledger_is_of(debts->ledger, debt->number);
}

/* The one that the child works on, be it between two tasks; NULL: none. */
static const struct debt *
find_begun(const struct debts *debts)
{
    const struct debt *debt = debts->first;
    while (debt != NULL && !is_begun(debts, debt))
        debt = debt->next;
    return debt;
}

/* The one whose task runs, and since when; NULL: none. */
static const struct debt *
find_running(const struct debts *debts, int64_t *since)
{
    const struct debt *debt = debts->first;
    uint64_t number;
    *since = ledger_running(debts->ledger, &number);
    if (*since == 0 || number == 0)
        return NULL;
    while (debt != NULL && debt->number != number)
        debt = debt->next;
    return debt;
}

int
debts_is_late(const struct debts *debts)
{
    int64_t since;
    const struct debt *debt = find_running(debts, &since);
    int64_t timeout = debt != NULL ? (int64_t)debt->header.timeout : 0;
    return timeout > 0 && crew_clock() - since > timeout;
}

int
debts_is_busy_for(const struct debts *debts, uint64_t pool)
{
    const struct debt *debt = find_begun(debts);
    if (debt == NULL)
        debt = debts->first;
    return debt != NULL && debt->header.pool == pool;
}

/* ---- when it has died -------------------------------------------------- */

/* What a task fails of that is not its own fault. */
struct obstacle {
    const char *before;         /* what the child did last */
    const char *what;           /* what the failure is raised by */
};

static const struct obstacle none = {"it may have been ended from outside",
                                     "task"};

static struct obstacle
obstacle_of(const struct note *note)
{
    switch (note != NULL ? note->verb : 0) {
    case VERB_INITIALIZE:
        return (struct obstacle){"it ran the pool's initializer",
                                 "the initializer, before task"};
    case VERB_BIND:
        return (struct obstacle){"it was unpickling values of __main__",
                                 "binding names for task"};
    case VERB_CALLABLE:
        return (struct obstacle){"it was unpickling the function",
                                 "unpickling the callable of task"};
    default:
        return none;
    }
}

/* The exception for the task that it ran (before NULL), or was to run; a new
   reference.  note: what children die of each time, or NULL: then there is a
   death. */
static PyObject *
new_exception(const struct debts *debts, const struct death *death,
              const struct debt *debt, uint64_t task, const char *before,
              const struct note *note)
{
    const struct header *header = &debt->header;
    int rank = debts->crew->rank;
    if (header->flags & FLAG_ONE)
        task = ERRORS_SINGLE_CALL;
    sigset_t signals;
    PyObject *exception;
    sigint_hold(&signals);
    if (before == NULL && death->how == KILLED_AS_LATE)
        exception =
            errors_new_timeout(task, rank, 1e-9 * (double)header->timeout);
    else
        exception = errors_new_end(task, rank, before,
                                   note != NULL ? &note->fate : &death->fate);
    sigint_release(&signals);
    return exception;
}

/* Appends the account of the exception, as worker.c does for a task that
   raised. */
static int
append_account(const struct debts *debts, struct parcel *results,
               PyObject *exception, const char *what, int as_result)
{
    sigset_t signals;
    PyObject *account = NULL;
    int status = -1;
    sigint_hold(&signals);
    struct codec *codec = codec_new(0, NULL);
    if (codec != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        account = errors_account(debts->crew->rank, what);
    }
    if (account != NULL && as_result)
        status = codec_dump_failure(codec, results, account);
    else if (account != NULL)
        status = codec_dump(codec, results, account, 0);
    sigint_release(&signals);
    Py_XDECREF(account);
    codec_free(codec);
    return status;
}

/* What the child had of the chunk's results. */
static struct parcel *
read_results(const struct debts *debts, const struct debt *debt)
{
    struct transport_part parts[LEDGER_PARTS];
    size_t count = is_begun(debts, debt)
                       ? ledger_parts(debts->ledger, parts, LEDGER_PARTS)
                       : 0;
    struct parcel *results = parcel_new();
    if (results == NULL || count == 0)
        return results;
    unsigned char *stream = parcel_extend(results, parts[0].size);
    int status = stream == NULL ? -1 : 0;
    if (status == 0)
        memcpy(stream, parts[0].base, parts[0].size);
    for (size_t i = 1; i < count && status == 0; i++)
        status = parcel_add_copy(results, parts[i].base, parts[i].size);
    if (status == 0)
        return results;
    parcel_free(results);
    return NULL;
}

/* The task behind those that are done has failed; in on_error="return" it
   stands among the results, and those behind it go back.  But where the
   initializer is why, the pool is broken. */
static int
add_failure(const struct debts *debts, const struct death *death,
            const struct debt *debt, struct header *reply,
            struct parcel *results)
{
    int64_t since;
    int runs = death != NULL && debt == find_running(debts, &since);
    const struct note *note =
        runs ? NULL : journal_obstacle(debts->journal, &debt->header);
    struct obstacle obstacle = obstacle_of(note);
    int is_broken = note != NULL && note->verb == VERB_INITIALIZE;
    int is_each = (debt->header.flags & FLAG_EACH) != 0 && !is_broken;
    PyObject *exception =
        new_exception(debts, death, debt, reply->first + reply->count,
                      runs ? NULL : obstacle.before, note);
    int status = exception != NULL ? append_account(debts, results, exception,
                                                    obstacle.what, is_each)
                                   : -1;
    Py_XDECREF(exception);
    reply->count += (uint64_t)is_each;
    reply->flags |= is_broken ? FLAG_BROKEN : 0;
    if (!is_each)
        reply->flags = (reply->flags & ~(uint32_t)FLAG_BACK) | FLAG_FAILED;
    return status;
}

static struct header
reply_to(const struct header *chunk, uint32_t flags)
{
    return (struct header){.job = chunk->job,
                           .first = chunk->first,
                           .callable = chunk->callable,
                           .flags = flags};
}

/* Unless there is an exception already (status).  Steals the results. */
static int
send_reply(const struct debts *debts, int status, const struct header *reply,
           struct parcel *results)
{
    if (status == 0)
        status = crew_send(debts->crew, 0, VERB_ANSWER, reply, results);
    parcel_free(results);
    return status;
}

/* What is done of a chunk; what was not begun goes back.  Unless it is to
   blame, no task has failed. */
static int
answer(const struct debts *debts, const struct death *death,
       const struct debt *debt, int is_blamed)
{
    const struct header *header = &debt->header;
    struct header reply = reply_to(header, FLAG_BACK);
    struct parcel *results = read_results(debts, debt);
    int status = results != NULL ? 0 : -1;
    if (is_begun(debts, debt)) {
        reply.count = ledger_done(debts->ledger);
        reply.elapsed = (uint64_t)(crew_clock() - debt->since);
    }
    if (!(header->flags & FLAG_EACH))
        reply.flags |= header->flags & FLAG_NO_RESULTS;
    if (is_blamed && status == 0 && reply.count < header->count)
        status = add_failure(debts, death, debt, &reply, results);
    if (reply.count == header->count)
        reply.flags &= ~(uint32_t)FLAG_BACK;
    return send_reply(debts, status, &reply, results);
}

/* As `answer`, for the one that waits longest. */
static int
pay_first(struct debts *debts, const struct death *death, int is_blamed)
{
    struct debt *debt = debts->first;
    int status = answer(debts, death, debt, is_blamed);
    debts->first = debt->next;
    PyMem_RawFree(debt);
    return status;
}

int
debts_lose(struct debts *debts, const struct header *answer)
{
    const struct debt *debt = *find(debts, answer);
    PyObject *exception = PyErr_GetRaisedException();
    struct parcel *results = parcel_new();
    struct header reply = reply_to(answer, FLAG_FAILED);
    int is_each = debt != NULL && debt->header.flags & FLAG_EACH;
    int status = results == NULL
                     ? -1
                     : append_account(debts, results, exception,
                                      "receiving the result of task", is_each);
    Py_DECREF(exception);
    if (is_each) {
        reply.count = 1;
        reply.flags = debt->header.count > 1 ? FLAG_BACK : 0;
    }
    debts_settle(debts, answer);
    status = send_reply(debts, status, &reply, results);
    return status < 0 ? -1 : debts_pay_refused(debts);
}

int
debts_refuse(struct debts *debts, const struct header *chunk)
{
    if (debts_add(debts, chunk) < 0)
        return -1;
    last_of(debts)->is_refused = 1;
    return debts_pay_refused(debts);
}

static int
has_obstacle(const struct debts *debts, const struct debt *debt)
{
    return journal_obstacle(debts->journal, &debt->header) != NULL;
}

int
debts_pay_refused(struct debts *debts)
{
    int status = 0;
    while (status == 0 && debts->first != NULL && debts->first->is_refused)
        status = pay_first(debts, NULL, has_obstacle(debts, debts->first));
    return status;
}

/* The callable of the chunk in that message; 0: there is no chunk in it. */
static uint64_t
callable_in(const struct debts *debts, uint64_t number)
{
    const struct debt *debt = debts->first;
    while (debt != NULL && debt->number != number)
        debt = debt->next;
    return debt != NULL ? debt->header.callable : 0;
}

/* Is it something that the child was told, and was looking at? */
static int
accuse(struct debts *debts, const struct death *death)
{
    uint64_t number = ledger_opened(debts->ledger);
    int is_open = ledger_is_open(debts->ledger);
    journal_acquit(debts->journal, number - (uint64_t)is_open);
    return death->how == BY_ITSELF && is_open
           && journal_accuse(debts->journal, number,
                             callable_in(debts, number), &death->fate);
}

static int
has_done_something(const struct debts *debts)
{
    return find_begun(debts) != NULL && ledger_done(debts->ledger) > 0;
}

/* The chunk that the death is blamed on: that whose task ran.  Where none did
   it is nobody's fault, or a note's; but not again and again: then it is the
   first one that waits.  NULL: none. */
static const struct debt *
find_blamed(struct debts *debts, const struct death *death)
{
    int64_t since;
    const struct debt *running = find_running(debts, &since);
    if (death->how == KILLED_AS_LATE && !debts_is_late(debts))
        return NULL; /* it was done just then */
    if (death->how == KILLED_WITH_POOL && running != NULL
        && running->header.pool != death->pool)
        running = NULL; /* it had come to another one's, which runs again */
    if (accuse(debts, death) || running != NULL || debts->first == NULL
        || death->how != BY_ITSELF) {
        debts->in_vain = 0;
        return running;
    }
    if (has_done_something(debts))
        debts->in_vain = 0;
    if (++debts->in_vain < MOST_DEATHS)
        return NULL;
    debts->in_vain = 0;
    return debts->first;
}

int
debts_pay(struct debts *debts, const struct death *death)
{
    int status = 0;
    const struct debt *blamed = find_blamed(debts, death);
    while (debts->first != NULL && status == 0)
        status = pay_first(debts, death,
                           debts->first == blamed
                               || has_obstacle(debts, debts->first));
    return status;
}
