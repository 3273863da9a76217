/* debts.c -- a list of chunks, oldest first, and the ledger that is read when
   the child has died.  Runs in the worker's rank.

   Must not know what is in a parcel, nor how a child comes to be. */

#define PY_SSIZE_T_CLEAN
#include "debts.h"

#include <string.h>

#include "errors.h"

#define MOST_IN_VAIN 3 /* children in a row that get nothing done */

struct debt {
    struct debt *next;
    uint64_t number; /* of the child's chunks: see ledger.h */
    int64_t since; /* when it was passed down */
    struct header header;
};

struct debts {
    struct crew *crew;
    const struct ledger *ledger;
    struct debt *first;
    uint64_t chunks; /* that this child was sent */
    int in_vain; /* deaths since something was done last */
};

struct debts *
debts_new(struct crew *crew, const struct ledger *ledger)
{
    struct debts *debts = PyMem_RawCalloc(1, sizeof *debts);
    if (debts == NULL)
        return NULL;
    debts->crew = crew;
    debts->ledger = ledger;
    return debts;
}

/* ---- while the child lives --------------------------------------------- */

void
debts_begin(struct debts *debts)
{
    debts->chunks = 0;
}

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
    debt->number = ++debts->chunks;
    debt->since = crew_clock();
    while (*end != NULL)
        end = &(*end)->next;
    *end = debt;
    return 0;
}

void
debts_settle(struct debts *debts, const struct header *answer)
{
    struct debt **link = &debts->first;
    while (*link != NULL
           && ((*link)->header.job != answer->job
               || (*link)->header.first != answer->first))
        link = &(*link)->next;
    if (*link != NULL) {
        struct debt *debt = *link;
        *link = debt->next;
        PyMem_RawFree(debt);
    }
    debts->in_vain = 0;
}

int
debts_are_left(const struct debts *debts)
{
    return debts->first != NULL;
}

static int
is_begun(const struct debts *debts, const struct debt *debt)
{
    return ledger_is_of(debts->ledger, debt->number);
}

/* The one whose task runs; NULL: none. */
static const struct debt *
find_running(const struct debts *debts)
{
    const struct debt *debt = debts->first;
    if (ledger_since(debts->ledger) == 0)
        return NULL;
    while (debt != NULL && !is_begun(debts, debt))
        debt = debt->next;
    return debt;
}

int
debts_run_late(const struct debts *debts)
{
    const struct debt *debt = find_running(debts);
    int64_t timeout = debt != NULL ? (int64_t)debt->header.timeout : 0;
    return timeout > 0 && crew_clock() - ledger_since(debts->ledger) > timeout;
}

/* ---- when it has died -------------------------------------------------- */

/* The exception for the task that it ran, or was to run; a new reference. */
static PyObject *
new_exception(const struct debts *debts, const struct death *death,
              const struct debt *debt, uint64_t task)
{
    const struct header *header = &debt->header;
    int rank = debts->crew->rank;
    int has_run = debt == find_running(debts);
    if (header->flags & FLAG_ONE)
        task = ERRORS_SINGLE_CALL;
    return death->is_late
               ? errors_new_timeout(task, rank, 1e-9 * (double)header->timeout)
               : errors_new_end(task, rank, has_run, &death->fate);
}

/* Appends the account of the exception, as worker.c does for a task that
   raised. */
static int
append_account(const struct debts *debts, struct parcel *results,
               PyObject *exception, int as_result)
{
    struct codec *codec = codec_new(0, NULL);
    if (codec == NULL)
        return -1;
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    PyObject *account = errors_account(debts->crew->rank, "task");
    int status = -1;
    if (account != NULL && as_result)
        status = codec_dump_failure(codec, results, account);
    else if (account != NULL)
        status = codec_dump(codec, results, account, 0);
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
   stands among the results, and those behind it go back. */
static int
add_failure(const struct debts *debts, const struct death *death,
            const struct debt *debt, struct header *reply,
            struct parcel *results)
{
    int is_each = (debt->header.flags & FLAG_EACH) != 0;
    PyObject *exception =
        new_exception(debts, death, debt, reply->first + reply->count);
    int status = exception != NULL
                     ? append_account(debts, results, exception, is_each)
                     : -1;
    Py_XDECREF(exception);
    reply->count += (uint64_t)is_each;
    if (!is_each)
        reply->flags = (reply->flags & ~(uint32_t)FLAG_BACK) | FLAG_FAILED;
    return status;
}

/* What is done of a chunk; what was not begun goes back.  Unless it is to
   blame, no task has failed. */
static int
answer(const struct debts *debts, const struct death *death,
       const struct debt *debt, int is_blamed)
{
    const struct header *header = &debt->header;
    struct header reply = {.job = header->job,
                           .first = header->first,
                           .callable = header->callable,
                           .flags = FLAG_BACK};
    struct parcel *results = read_results(debts, debt);
    int status = results != NULL ? 0 : -1;
    if (is_begun(debts, debt)) {
        reply.count = ledger_done(debts->ledger);
        reply.elapsed = (uint64_t)(crew_clock() - debt->since);
    }
    if (!(header->flags & FLAG_EACH))
        reply.flags |= header->flags & FLAG_NO_RESULTS;
    if (is_blamed && status == 0)
        status = add_failure(debts, death, debt, &reply, results);
    if (reply.count == header->count)
        reply.flags &= ~(uint32_t)FLAG_BACK;
    if (status == 0)
        status = crew_send(debts->crew, 0, VERB_ANSWER, &reply, results);
    parcel_free(results);
    return status;
}

/* The chunk that the death is blamed on: that whose task ran.  Where none did
   it is nobody's fault; but not again and again, as with an initializer that
   crashes: then the first one that waits.  NULL: none. */
static const struct debt *
find_blamed(struct debts *debts, const struct death *death)
{
    const struct debt *running = find_running(debts);
    if (death->is_late && !debts_run_late(debts)) /* it was done just then */
        return NULL;
    if (running != NULL || debts->first == NULL) {
        debts->in_vain = 0;
        return running;
    }
    if (++debts->in_vain < MOST_IN_VAIN)
        return NULL;
    debts->in_vain = 0;
    return debts->first;
}

int
debts_pay(struct debts *debts, const struct death *death)
{
    int status = 0;
    const struct debt *blamed = find_blamed(debts, death);
    while (debts->first != NULL && status == 0) {
        struct debt *debt = debts->first;
        status = answer(debts, death, debt, debt == blamed);
        debts->first = debt->next;
        PyMem_RawFree(debt);
    }
    return status;
}
