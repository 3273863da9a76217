/* status.c -- looks at the seats, and tells what is there.

   Python's objects are made when the helm was left: that may run the user's
   code.  Must not know what is done about a worker that is stuck. */

#define PY_SSIZE_T_CLEAN
#include "status.h"

#include "dispatch.h"
#include "errors.h"
#include "master.h"

struct status {
    struct crew_member member;
    int is_busy, is_call;
    PyObject *name;
    uint64_t job, first, count;
};

static struct status
look_at(const struct crew *crew, int worker)
{
    const struct chunk *chunk = seats_oldest(crew->dispatch->seats, worker);
    struct status status = {.member = crew->members[worker]};
    if (chunk == NULL)
        return status;
    status.is_busy = 1;
    status.is_call = chunk->line->kind->take_back != NULL; /* no schedule */
    status.job = chunk->header.job;
    status.first = chunk->header.first;
    status.count = chunk->header.count;
    if (chunk->callable != NULL)
        status.name = Py_XNewRef(chunk->callable->name);
    return status;
}

/* -1: exception set: the mailbox is of no use any more. */
static int
listen(struct crew *crew)
{
    struct transport_error error = {0};
    master_listen(crew);
    return crew->transport->flush(crew->mailbox, 0, &error) == TRANSPORT_FAILED
               ? errors_raise_transport(&error)
               : 0;
}

static int
look(struct crew *crew, struct status *statuses)
{
    int status = 0;
    crew_take_helm(crew);
    if (!crew_is_gone(crew) && !crew_is_of_another_thread(crew))
        status = listen(crew);
    for (int worker = 0; worker < crew->workers; worker++)
        statuses[worker] = look_at(crew, worker);
    crew_leave_helm(crew);
    return status;
}

static PyObject *
host_of(const struct status *status)
{
    const char *host = status->member.host;
    if (*host == '\0')
        return Py_NewRef(Py_None);
    return PyUnicode_DecodeUTF8(host, (Py_ssize_t)strlen(host), "replace");
}

static PyObject *
seconds_since(int64_t since, int64_t now)
{
    if (since == 0)
        return Py_NewRef(Py_None);
    return PyFloat_FromDouble(1e-9 * (double)(now - since));
}

static PyObject *
tell(const struct status *status, int rank, int64_t now)
{
    return Py_BuildValue(
        "iNNONKKKN", rank, host_of(status), PyBool_FromLong(status->is_busy),
        status->name ? status->name : Py_None,
        PyBool_FromLong(status->is_call), (unsigned long long)status->job,
        (unsigned long long)status->first, (unsigned long long)status->count,
        seconds_since(status->member.since, now));
}

/* 0; -1: exception set. */
static int
append(PyObject *list, const struct status *status, int rank, int64_t now)
{
    PyObject *told = tell(status, rank, now);
    int done = told != NULL ? PyList_Append(list, told) : -1;
    Py_XDECREF(told);
    return done;
}

/* What waits for the helm would wait for itself. */
static int
may_look(struct crew *crew)
{
    return (!crew_is_forked(crew) && !helm_is_mine(&crew->helm))
           || crew_check_here(crew) == 0;
}

PyObject *
status_list(struct crew *crew)
{
    if (!may_look(crew))
        return NULL;
    if (crew_has_own_workers(crew) && crew_is_gone(crew))
        return PyList_New(0); /* they have ended with the pool */
    size_t workers = (size_t)crew->workers;
    struct status *statuses = PyMem_RawCalloc(workers, sizeof *statuses);
    PyObject *list = PyList_New(0);
    if (statuses == NULL || list == NULL) {
        PyMem_RawFree(statuses);
        Py_XDECREF(list);
        return PyErr_NoMemory();
    }
    int status = look(crew, statuses);
    int64_t now = crew_clock();
    for (int worker = 0; worker < crew->workers; worker++) {
        if (status == 0 && !statuses[worker].member.is_lost)
            status = append(list, &statuses[worker], worker + 1, now);
        Py_XDECREF(statuses[worker].name);
    }
    PyMem_RawFree(statuses);
    if (status < 0)
        Py_CLEAR(list);
    return list;
}
