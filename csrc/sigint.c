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

int
sigint_look(void)
{
    if (PyErr_CheckSignals() == 0)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return -1;
    PyErr_Clear();
    return 0;
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
    if (done != NULL)
        return 0;
    /* The user's handler may be in force before it has returned. */
    if (!PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return -1;
    PyErr_Clear();
    return 0;
}

int
sigint_expect_no_more(void)
{
    return sigint_expect(0);
}
