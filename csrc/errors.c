/* errors.c -- how a fault becomes a Python exception.

   Thin: what can be said in Python is said in ezmpi/errors.py.  Must not
   know what a message or a job is. */

#define PY_SSIZE_T_CLEAN
#include "errors.h"

#include <stdarg.h>

#include "sigint.h"

static PyObject *
from_errors(const char *name)
{
    PyObject *module = PyImport_ImportModule("ezmpi.errors");
    if (module == NULL)
        return NULL;
    PyObject *value = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return value;
}

int
errors_raise(const char *name, const char *format, ...)
{
    PyObject *type = from_errors(name);
    if (type == NULL)
        return -1;
    va_list arguments;
    va_start(arguments, format);
    PyErr_FormatV(type, format, arguments);
    va_end(arguments);
    Py_DECREF(type);
    return -1;
}

/* What that of ezmpi/errors.py returns when it is called with these arguments,
   whose format is a tuple's. */
static PyObject *
ask_errors(const char *name, const char *format, ...)
{
    PyObject *function = from_errors(name);
    va_list arguments;
    va_start(arguments, format);
    PyObject *args = function ? Py_VaBuildValue(format, arguments) : NULL;
    va_end(arguments);
    PyObject *value = args ? PyObject_CallObject(function, args) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(function);
    return value;
}

PyObject *
errors_new(const char *name, const char *text)
{
    return ask_errors(name, "(s)", text);
}

PyObject *
errors_new_death(uint64_t task, int rank, const char *host)
{
    return ask_errors("_worker_died", "(Kiz)", (unsigned long long)task, rank,
                      host);
}

PyObject *
errors_new_end(uint64_t task, int rank, const char *before,
               const struct transport_fate *fate)
{
    return ask_errors("_child_died", "(KiziiL)", (unsigned long long)task,
                      rank, before, fate->signal, fate->code,
                      (long long)fate->peak);
}

PyObject *
errors_new_timeout(uint64_t task, int rank, double seconds)
{
    return ask_errors("_timed_out", "(Kid)", (unsigned long long)task, rank,
                      seconds);
}

PyObject *
errors_new_deadly(int rank, uint64_t ended)
{
    return ask_errors("_deadly", "(iK)", rank, (unsigned long long)ended);
}

int
errors_warn_death(int rank, const char *host, int left)
{
    PyObject *done = ask_errors("_warn_death", "(izi)", rank, host, left);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int
errors_raise_transport(const struct transport_error *error)
{
    return errors_raise("TransportError", "%s: %s",
                        error->call ? error->call : "transport", error->text);
}

/* A signal's handler may raise meanwhile: that is one more try. */
#define ACCOUNT_TRIES 3

PyObject *
errors_account(int rank, const char *what)
{
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *account = NULL, *function = from_errors("_account");
    for (int i = 0; function && !account && i < ACCOUNT_TRIES; i++) {
        PyErr_Clear();
        account =
            PyObject_CallFunction(function, "Ois", exception, rank, what);
    }
    Py_XDECREF(function);
    Py_DECREF(exception);
    return account;
}

PyObject *
errors_account_undisturbed(int rank, const char *what)
{
    struct sigaction users = sigint_ignore();
    PyObject *raised = PyErr_GetRaisedException();
    if (sigint_look() == 0)
        PyErr_SetRaisedException(raised);
    else
        Py_DECREF(raised);
    PyObject *account = errors_account(rank, what);
    sigint_heed(&users);
    return account;
}

PyObject *
errors_restore(PyObject *account, uint64_t task, int broken)
{
    PyObject *function = from_errors("_restore");
    if (function == NULL)
        return NULL;
    PyObject *exception = PyObject_CallFunction(
        function, "OKi", account, (unsigned long long)task, broken);
    Py_DECREF(function);
    if (exception == NULL || PyExceptionInstance_Check(exception))
        return exception;
    Py_DECREF(exception);
    PyErr_SetString(PyExc_SystemError, "a worker's account of a failure "
                                       "does not hold an exception");
    return NULL;
}

int
errors_match(PyObject *exception, PyObject *types)
{
    if (PyErr_GivenExceptionMatches(exception, types))
        return 1;
    PyObject *function = from_errors("_was_of"), *found = NULL;
    if (function != NULL)
        found = PyObject_CallFunctionObjArgs(function, exception, types, NULL);
    int status = found != NULL ? PyObject_IsTrue(found) : -1;
    Py_XDECREF(found);
    Py_XDECREF(function);
    return status;
}

/* Steals both.  The exception matters more than its note. */
static int
end_note(PyObject *function, PyObject *done)
{
    if (done == NULL && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(function);
    return PyErr_Occurred() ? -1 : 0;
}

int
errors_note(PyObject *exception, const char *what, uint64_t task)
{
    PyObject *done = NULL, *function = from_errors("_note");
    if (function != NULL)
        done = PyObject_CallFunction(function, "OsK", exception, what,
                                     (unsigned long long)task);
    return end_note(function, done);
}

int
errors_note_attempts(PyObject *exception, PyObject *ranks)
{
    PyObject *done = NULL, *function = from_errors("_note_attempts");
    if (function != NULL)
        done = PyObject_CallFunctionObjArgs(function, exception, ranks, NULL);
    return end_note(function, done);
}
