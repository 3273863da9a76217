/* module.c -- the module _ezmpi, and how it gets hold of a transport. */

#define PY_SSIZE_T_CLEAN
#include "compat.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "driver.h"
#include "errors.h"
#include "guard.h"
#include "pool.h"
#include "transport.h"

#ifndef RTLD_DEEPBIND       /* macOS binds to the library named anyway */
#define RTLD_DEEPBIND 0
#endif

static int
is_same_file(const char *one, const char *other)
{
    char resolved_one[PATH_MAX], resolved_other[PATH_MAX];
    return realpath(one, resolved_one) != NULL
           && realpath(other, resolved_other) != NULL
           && strcmp(resolved_one, resolved_other) == 0;
}

/* An MPI that is visible to the whole process and is not ours would capture
   the transport's calls, so those must be bound to its own libraries first.
   Otherwise not: that would also bypass profilers that are preloaded (they
   define MPI_ functions; PMPI_ ones only an MPI does), and AddressSanitizer
   refuses it. */
static int
binding_mode(const char *library)
{
    Dl_info info;
    void *visible = dlsym(RTLD_DEFAULT, "PMPI_Init");
    if (library == NULL || visible == NULL || dladdr(visible, &info) == 0
        || info.dli_fname == NULL || is_same_file(info.dli_fname, library))
        return RTLD_NOW | RTLD_LOCAL;
    return RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
}

static const struct transport *
open_transport(const char *path, const char *library)
{
    int mode = binding_mode(library);
    if (library != NULL && dlopen(library, RTLD_NOW | RTLD_LOCAL) == NULL) {
        errors_raise("TransportError", "%s cannot be loaded: %s", library,
                     dlerror());
        return NULL;
    }
    /* Never closed: callbacks of MPI_Finalize point into it. */
    void *plugin = dlopen(path, mode);
    if (plugin == NULL) {
        errors_raise("TransportError", "%s cannot be loaded: %s", path,
                     dlerror());
        return NULL;
    }
    const struct transport *transport = dlsym(plugin, TRANSPORT_SYMBOL);
    if (transport == NULL)
        errors_raise("TransportError",
                     "%s is not a transport of ezmpi: it "
                     "does not export %s",
                     path, TRANSPORT_SYMBOL);
    return transport;
}

static int
check_transport(const struct transport *transport, const char *path)
{
    if (transport->version != TRANSPORT_VERSION
        || transport->size != sizeof *transport)
        return errors_raise("TransportError",
                            "%s was built for transport "
                            "version %u, this ezmpi needs version %u; "
                            "compile it again: pip install --force-reinstall "
                            "--no-deps . (in the directory of ezmpi's source)",
                            path, transport->version, TRANSPORT_VERSION);
    struct transport_error error = {0};
    char library[512] = "";
    if (transport->check(library, sizeof library, &error) != TRANSPORT_OK)
        return errors_raise_transport(&error);
    return 0;
}

static PyObject *
load_transport(PyObject *Py_UNUSED(module), PyObject *args)
{
    const char *path, *library;
    if (!PyArg_ParseTuple(args, "sz:load_transport", &path, &library))
        return NULL;
    const struct transport *transport = open_transport(path, library);
    if (transport == NULL || check_transport(transport, path) < 0)
        return NULL;
    return PyCapsule_New((void *)transport, TRANSPORT_CAPSULE, NULL);
}

/* Starts MPI unless somebody did.  If it is ours to end, that happens after
   all exit hooks of Python, in Py_AtExit. */
static PyObject *
start_transport(PyObject *Py_UNUSED(module), PyObject *capsule)
{
    const struct transport *transport =
        PyCapsule_GetPointer(capsule, TRANSPORT_CAPSULE);
    struct transport_error error = {0};
    int first = 0;
    if (transport == NULL)
        return NULL;
    if (transport->start(&first, &error) != TRANSPORT_OK) {
        errors_raise_transport(&error);
        return NULL;
    }
    if (first && Py_AtExit(transport->leave) < 0)
        PyErr_WarnEx(PyExc_RuntimeWarning,
                     "MPI will not be finalised: "
                     "Python has no room for another exit function",
                     1);
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* What a handler of the user's raises must not reach the script, of which a
   worker is a copy: it does not come back from here. */
static _Noreturn void
be_worker(PyObject *serve, int handle)
{
    PyObject *done = PyObject_CallFunction(serve, "i", handle);
    if (done == NULL)
        PyErr_WriteUnraisable(serve);
    _exit(1);
}

/* Nobody has opened their mailbox: see FORKED_CAPSULE. */
static void
end_workers(PyObject *capsule)
{
    const struct transport *transport =
        PyCapsule_GetPointer(capsule, FORKED_CAPSULE);
    transport->part((int32_t)(intptr_t)PyCapsule_GetContext(capsule), 0);
}

static PyObject *
new_forked(const struct transport *transport, int32_t handle)
{
    PyObject *capsule = PyCapsule_New((void *)transport, FORKED_CAPSULE, NULL);
    if (capsule == NULL) {
        transport->part(handle, 0);
        return NULL;
    }
    PyCapsule_SetContext(capsule, (void *)(intptr_t)handle);
    PyCapsule_SetDestructor(capsule, end_workers);
    return capsule;
}

static PyObject *
fork_workers(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *capsule, *serve;
    struct transport_error error = {0};
    int workers, rank = 0;
    int32_t handle = 0;
    if (!PyArg_ParseTuple(args, "OiO:fork_workers", &capsule, &workers,
                          &serve))
        return NULL;
    const struct transport *transport =
        PyCapsule_GetPointer(capsule, TRANSPORT_CAPSULE);
    if (transport == NULL)
        return NULL;
    PyOS_BeforeFork();
    int status = transport->fork(workers, &handle, &rank, &error);
    if (rank == 0)
        PyOS_AfterFork_Parent();
    else
        PyOS_AfterFork_Child();
    if (rank > 0)
        be_worker(serve, (int)handle);
    if (status == TRANSPORT_OK)
        return new_forked(transport, handle);
    errors_raise_transport(&error);
    return NULL;
}

/* For ezmpi._forks, in the child of a guard. */
static PyObject *
serve_in_child(PyObject *Py_UNUSED(module), PyObject *capsule)
{
    return guard_serve_in_child(capsule) < 0 ? NULL : Py_NewRef(Py_None);
}

/* A worker's end. */
static PyObject *
part(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *capsule;
    int handle;
    if (!PyArg_ParseTuple(args, "Oi:part", &capsule, &handle))
        return NULL;
    const struct transport *transport =
        PyCapsule_GetPointer(capsule, TRANSPORT_CAPSULE);
    if (transport == NULL)
        return NULL;
    transport->part(handle, 0);
    Py_RETURN_NONE;
}

/* The job's end is the process's, whatever pools there are. */
static PyObject *
set_ending(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *capsule;
    double seconds;
    int code;
    if (!PyArg_ParseTuple(args, "Odi:set_ending", &capsule, &seconds, &code))
        return NULL;
    const struct transport *transport =
        PyCapsule_GetPointer(capsule, TRANSPORT_CAPSULE);
    if (transport == NULL)
        return NULL;
    transport->set_ending(seconds, code);
    Py_RETURN_NONE;
}

/* For ezmpi._driver. */
static PyObject *
drive(PyObject *Py_UNUSED(module), PyObject *capsule)
{
    struct crew *crew = PyCapsule_GetPointer(capsule, DRIVER_CAPSULE);
    if (crew == NULL)
        return NULL;
    if (driver_run(crew) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *
stop_driving(PyObject *Py_UNUSED(module), PyObject *capsule)
{
    struct crew *crew = PyCapsule_GetPointer(capsule, DRIVER_CAPSULE);
    if (crew == NULL)
        return NULL;
    driver_stop(crew);
    Py_RETURN_NONE;
}

static PyObject *
describe_transport(PyObject *Py_UNUSED(module), PyObject *capsule)
{
    const struct transport *transport =
        PyCapsule_GetPointer(capsule, TRANSPORT_CAPSULE);
    struct transport_error error = {0};
    char library[512] = "";
    if (transport == NULL)
        return NULL;
    transport->check(library, sizeof library, &error);
    return Py_BuildValue("(sss)", transport->variant, transport->compiled_for,
                         library);
}

PyDoc_STRVAR(
    load_doc,
    "load_transport(path, library)\n\n"
    "Load a transport, after the libmpi at path `library` if it is not None.");
PyDoc_STRVAR(start_doc, "start_transport(transport)\n\nInitialise MPI.");
PyDoc_STRVAR(
    fork_doc,
    "fork_workers(transport, workers, serve)\n\n"
    "Fork so many, which call serve(handle) and do not return; a handle for\n"
    "MPIPool, until whose constructor they end with it.");
PyDoc_STRVAR(in_child_doc,
             "serve_in_child(crew)\n\nWhat the child of a guard runs.");
PyDoc_STRVAR(part_doc,
             "part(transport, handle)\n\n"
             "What a forked worker does before it leaves with os._exit.");
PyDoc_STRVAR(
    ending_doc,
    "set_ending(transport, seconds, code)\n\n"
    "When the process ends, workers get so many seconds to end; then the job\n"
    "is aborted with that code.  The next map sets it back.");
PyDoc_STRVAR(drive_doc, "drive(crew)\n\nWhat the driver's thread runs.");
PyDoc_STRVAR(stop_driving_doc, "stop_driving(crew)\n\nHas it end, for good.");
PyDoc_STRVAR(
    describe_doc,
    "describe_transport(transport)\n\n"
    "Its name, the MPI it was compiled for, and the MPI in this process.");

static PyMethodDef module_methods[] = {
    {"load_transport", load_transport, METH_VARARGS, load_doc},
    {"start_transport", start_transport, METH_O, start_doc},
    {"fork_workers", fork_workers, METH_VARARGS, fork_doc},
    {"serve_in_child", serve_in_child, METH_O, in_child_doc},
    {"part", part, METH_VARARGS, part_doc},
    {"set_ending", set_ending, METH_VARARGS, ending_doc},
    {"drive", drive, METH_O, drive_doc},
    {"stop_driving", stop_driving, METH_O, stop_driving_doc},
    {"describe_transport", describe_transport, METH_O, describe_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)pool_add_type},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_ezmpi",
    .m_doc = "The engine of ezmpi: MPIPool over a transport.",
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__ezmpi(void);

PyMODINIT_FUNC
PyInit__ezmpi(void)
{
    return PyModuleDef_Init(&module_def);
}
