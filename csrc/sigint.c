/* sigint.c -- when Ctrl-C means something on a worker.

   Must not know what a task is. */

#define PY_SSIZE_T_CLEAN
#include "sigint.h"

#include "compat.h"

struct sigaction
sigint_ignore(void)
{
    struct sigaction users, ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGINT, &ignore, &users);
    return users;
}

void
sigint_heed(const struct sigaction *users)
{
    struct sigaction now;
    sigaction(SIGINT, users, &now);
    if (now.sa_handler != SIG_IGN)
        sigaction(SIGINT, &now, NULL);
}

/* The exception that is set; -1: it is not one of Ctrl-C, and stays. */
static int
drop_interrupt(void)
{
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return -1;
    PyErr_Clear();
    return 0;
}

int
sigint_look(void)
{
    return PyErr_CheckSignals() == 0 ? 0 : drop_interrupt();
}

void
sigint_report(void)
{
    if (sigint_look() == 0)
        return;
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *where = PyUnicode_FromString(
        "a signal's handler, in a worker that has a child run its tasks");
    if (where == NULL)
        PyErr_Clear();
    PyErr_SetRaisedException(raised);
    PyErr_WriteUnraisable(where);
    Py_XDECREF(where);
}

void
sigint_hold(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
    sigint_report(); /* those that came until here */
}

void
sigint_release(const sigset_t *before)
{
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

int
sigint_begin_own(struct sigaction *users)
{
    *users = sigint_ignore();
    if (sigint_look() == 0)
        return 0;
    sigint_heed(users);
    return -1;
}

int
sigint_expect(double seconds)
{
    PyObject *module = PyImport_ImportModule("ezmpi._sigint");
    PyObject *done = NULL;
    if (module != NULL)
        done = PyObject_CallMethod(module, "expect", "d", seconds);
    Py_XDECREF(module);
    Py_XDECREF(done);
    /* The user's handler may be in force before it has returned. */
    return done != NULL ? 0 : drop_interrupt();
}
