/* python_stub.c -- Python's lock, and no Python. */

#define PY_SSIZE_T_CLEAN
#include "python_stub.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "compat.h"

void (*stub_drive)(void *crew);

static struct {
    pthread_mutex_t lock;
    pthread_t holder; /* while it is held */
    int is_held;
} gil = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct {
    pthread_t thread;
    int runs;
    void *crew; /* what its capsule holds, ... */
    PyCapsule_Destructor release; /* ... and gives back */
} driver;

/* Stands for every object, and for the state of every thread. */
static PyObject object = {.ob_refcnt = 1 << 30};

/* ---- the lock --------------------------------------------------------- */

void
gil_take(void)
{
    pthread_mutex_lock(&gil.lock);
    gil.holder = pthread_self();
    gil.is_held = 1;
}

void
gil_leave(void)
{
    CHECK(gil_is_mine());
    gil.is_held = 0;
    pthread_mutex_unlock(&gil.lock);
}

/* To be asked with the lock. */
int
gil_is_mine(void)
{
    return gil.is_held && pthread_equal(gil.holder, pthread_self());
}

PyThreadState *
PyEval_SaveThread(void)
{
    gil_leave();
    return (PyThreadState *)&object;
}

void
PyEval_RestoreThread(PyThreadState *state)
{
    CHECK(state == (PyThreadState *)&object);
    gil_take();
}

unsigned long
PyThread_get_thread_ident(void)
{
    return (unsigned long)pthread_self();
}

/* ---- the driver's thread ---------------------------------------------- */

static void *
run(void *crew)
{
    gil_take();
    stub_drive(crew);
    gil_leave();
    return NULL;
}

PyObject *
PyImport_ImportModule(const char *name)
{
    (void)name;
    return Py_NewRef(&object);
}

PyObject *
PyCapsule_New(void *pointer, const char *name, PyCapsule_Destructor free_it)
{
    (void)name;
    CHECK(!driver.runs && stub_drive != NULL);
    driver.runs = 1;
    driver.crew = pointer;
    driver.release = free_it;
    CHECK(pthread_create(&driver.thread, NULL, run, pointer) == 0);
    return Py_NewRef(&object);
}

void *
PyCapsule_GetPointer(PyObject *capsule, const char *name)
{
    (void)capsule, (void)name;
    return driver.crew;
}

/* Of ezmpi._driver.start, which waits for the thread, so others have the GIL;
   and of MainRecord, which does not matter. */
PyObject *
PyObject_CallMethod(PyObject *of, const char *name, const char *format, ...)
{
    (void)of, (void)name;
    if (format == NULL)
        return Py_NewRef(&object);
    gil_leave();
    usleep(500);
    gil_take();
    Py_True->ob_refcnt = 1 << 30; /* it stays */
    return Py_NewRef(Py_True);
}

void
stub_join(void)
{
    if (!driver.runs)
        return;
    gil_leave();
    CHECK(pthread_join(driver.thread, NULL) == 0);
    gil_take();
    driver.runs = 0;
    driver.release(&object);
}

/* ---- exceptions: there are none --------------------------------------- */

PyObject *PyExc_KeyboardInterrupt, *PyExc_MemoryError, *PyExc_OSError;
PyObject *PyExc_RuntimeError;

static void
refuse(const char *what)
{
    printf("not to be called: %s\n", what);
    abort();
}

int
PyErr_CheckSignals(void)
{
    CHECK(gil_is_mine());
    return 0;
}

void
PyErr_Clear(void)
{
}

int
PyErr_ExceptionMatches(PyObject *exception)
{
    (void)exception;
    refuse("PyErr_ExceptionMatches");
    return 0;
}

void
PyErr_SetString(PyObject *exception, const char *text)
{
    (void)exception;
    refuse(text);
}

PyObject *
PyErr_Format(PyObject *exception, const char *format, ...)
{
    (void)exception;
    refuse(format);
    return NULL;
}

PyObject *
PyErr_NoMemory(void)
{
    refuse("PyErr_NoMemory");
    return NULL;
}

#if PY_VERSION_HEX < 0x030C00A6 /* as in compat.h */
void
PyErr_Fetch(PyObject **type, PyObject **value, PyObject **traceback)
{
    *type = *value = *traceback = NULL;
}

void
PyErr_NormalizeException(PyObject **type, PyObject **value,
                         PyObject **traceback)
{
    (void)type, (void)value, (void)traceback;
    refuse("PyErr_NormalizeException");
}

void
PyErr_Restore(PyObject *type, PyObject *value, PyObject *traceback)
{
    (void)type, (void)value, (void)traceback;
    refuse("PyErr_Restore");
}

PyObject *
PyException_GetTraceback(PyObject *exception)
{
    (void)exception;
    refuse("PyException_GetTraceback");
    return NULL;
}

int
PyException_SetTraceback(PyObject *exception, PyObject *traceback)
{
    (void)exception, (void)traceback;
    refuse("PyException_SetTraceback");
    return -1;
}
#else
PyObject *
PyErr_GetRaisedException(void)
{
    return NULL;
}

void
PyErr_SetRaisedException(PyObject *exception)
{
    CHECK(exception == NULL);
}
#endif

/* ---- objects, of which there is one ----------------------------------- */

struct _longobject _Py_TrueStruct;
PyTypeObject PyBool_Type, PyByteArray_Type, PyLong_Type;
char _PyByteArray_empty_string[1];

#undef _Py_Dealloc /* Python 3.8's */
void
_Py_Dealloc(PyObject *one)
{
    (void)one;
    refuse("_Py_Dealloc");
}

PyObject *
PyByteArray_FromStringAndSize(const char *bytes, Py_ssize_t size)
{
    (void)bytes, (void)size;
    refuse("PyByteArray_FromStringAndSize");
    return NULL;
}

int
PyByteArray_Resize(PyObject *bytearray, Py_ssize_t size)
{
    (void)bytearray, (void)size;
    refuse("PyByteArray_Resize");
    return -1;
}

int
PyType_IsSubtype(PyTypeObject *one, PyTypeObject *other)
{
    (void)one, (void)other;
    refuse("PyType_IsSubtype");
    return 0;
}
