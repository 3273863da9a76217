/* ticket.c -- the type of tickets.

   As Python:

       class Ticket:                    # made by MPIPool._call and _begin
           def cancel(self): ...        # False: a worker has it, or had
           def begun(self): ...         # was it given to a worker?
           def wait(self, seconds): ... # None: for ever.  True: it is over
           def progress(self): ...      # of a job; see progress.h

   Must not know what comes of a call. */

#define PY_SSIZE_T_CLEAN
#include "ticket.h"

#include "dispatch.h"
#include "master.h"
#include "progress.h"

static void
ticket_dealloc(PyObject *self)
{
    struct ticket *ticket = (struct ticket *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (ticket->job != NULL)
        job_release(ticket->job);
    Py_XDECREF(ticket->receiver);
    crew_release(ticket->crew);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
is_over(void *ticket_)
{
    const struct ticket *ticket = ticket_;
    return (ticket->chunk == NULL || ticket->chunk->is_cancelled)
           && (ticket->job == NULL || job_is_over(ticket->job));
}

static PyObject *
ticket_cancel(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct ticket *ticket = (struct ticket *)self;
    int cancelled = 0;
    if (crew_check_here(ticket->crew) < 0)
        return NULL;
    crew_take_helm(ticket->crew);
    if (ticket->chunk != NULL && ticket->chunk->is_given)
        ticket->chunk->line->kind->take_back(ticket->chunk->line,
                                             ticket->chunk);
    if (ticket->chunk != NULL && !ticket->chunk->is_given)
        cancelled = ticket->chunk->is_cancelled = 1;
    crew_leave_helm(ticket->crew);
    if (cancelled)
        helm_notify(&ticket->crew->helm, ticket);
    return PyBool_FromLong(cancelled);
}

static PyObject *
ticket_begun(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    const struct ticket *ticket = (struct ticket *)self;
    const struct chunk *chunk = ticket->chunk;
    if (crew_is_forked(ticket->crew))  /* the child does not share memory */
        Py_RETURN_TRUE;
    return PyBool_FromLong(
        chunk == NULL
        || (chunk->is_given
            && dispatch_is_begun(ticket->crew->dispatch, chunk)));
}

static PyObject *
ticket_wait(PyObject *self, PyObject *seconds)
{
    struct ticket *ticket = (struct ticket *)self;
    struct master_wait wait = {
        .watched = ticket, .of = ticket, .is_over = is_over};
    if (ticket->job != NULL)
        wait.watched = ticket->job;
    if (master_parse_seconds(seconds, &wait.seconds) < 0)
        return NULL;
    int status = master_wait(ticket->crew, &wait);
    return status < 0 ? NULL : PyBool_FromLong(status);
}

static PyObject *
ticket_progress(PyObject *self, PyObject *Py_UNUSED(ignored))
{
    struct ticket *ticket = (struct ticket *)self;
    return progress_of(ticket->crew, ticket->job);
}

static PyMethodDef ticket_methods[] = {
    {"cancel", ticket_cancel, METH_NOARGS, "cancel()"},
    {"begun", ticket_begun, METH_NOARGS, "begun()"},
    {"wait", ticket_wait, METH_O, "wait(seconds)"},
    {"progress", ticket_progress, METH_NOARGS, "progress()"},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ticket_slots[] = {
    {Py_tp_doc, "Of a call or a job, for its future."},
    {Py_tp_dealloc, ticket_dealloc},
    {Py_tp_methods, ticket_methods},
    {0, NULL},
};

static PyType_Spec ticket_spec = {
    .name = "ezmpi._ezmpi.Ticket",
    .basicsize = sizeof(struct ticket),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = ticket_slots,
};

PyObject *
ticket_new_type(void)
{
    return PyType_FromSpec(&ticket_spec);
}

struct ticket *
ticket_new(struct crew *crew)
{
    PyTypeObject *type = (PyTypeObject *)crew->ticket_type;
    struct ticket *ticket = (struct ticket *)type->tp_alloc(type, 0);
    if (ticket != NULL)
        ticket->crew = crew_keep(crew);
    return ticket;
}
