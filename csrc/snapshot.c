/* snapshot.c -- is a function still what it was when it was pickled?

   Objects are compared by identity, so those compared with are kept alive:
   only small ones are, and a function that reads a table or an array of the
   script has no snapshot.  Must not know what it is for. */

#define PY_SSIZE_T_CLEAN
#include "snapshot.h"

#define READS_MAX 64            /* names; a longer list is not worth it */

struct read {
    PyObject *name;
    PyObject *value;            /* NULL: not bound in __main__, a builtin */
    PyObject *code;             /* where it is a function */
};

struct snapshot {
    PyObject *function;
    PyObject *code;
    PyObject *module;           /* where it is found, under its own name */
    PyObject *module_name, *qualname;
    PyObject *namespace;        /* of __main__; NULL: reads nothing of it */
    Py_ssize_t count;
    struct read reads[];
};

static PyFunctionObject *
parts_of(PyObject *function)
{
    return (PyFunctionObject *)function;
}

static int
is_bare(PyObject *function)
{
    const PyFunctionObject *parts = parts_of(function);
    return PyFunction_Check(function) && parts->func_closure == NULL
           && (parts->func_defaults == NULL || parts->func_defaults == Py_None)
           && (parts->func_kwdefaults == NULL
               || parts->func_kwdefaults == Py_None)
           && (parts->func_dict == NULL
               || PyDict_GET_SIZE(parts->func_dict) == 0)
           && parts->func_module != NULL
           && PyUnicode_CheckExact(parts->func_module)
           && PyUnicode_CheckExact(parts->func_qualname);
}

/* Looks without calling anybody: dictionaries' own exceptions are dropped. */
static PyObject *
look_up(PyObject *dictionary, PyObject *key)
{
    PyObject *value = PyDict_GetItemWithError(dictionary, key);
    if (value == NULL)
        PyErr_Clear();
    return value;
}

/* In its own module, under its own name. */
static int
is_found(PyObject *module, PyObject *function)
{
    const PyFunctionObject *parts = parts_of(function);
    return parts->func_globals == PyModule_GetDict(module)
           && look_up(parts->func_globals, parts->func_qualname) == function;
}

/* Small, and told by its identity: what is changed inside the workers do not
   see (docs/meaning.md), but for functions, and those must be bare, too. */
static int
is_light(PyObject *value)
{
    if (PyFunction_Check(value))
        return is_bare(value);
    return value == Py_None || PyType_Check(value) || PyModule_Check(value)
           || PyCFunction_Check(value) || PyLong_CheckExact(value)
           || PyFloat_CheckExact(value) || PyBool_Check(value)
           || (PyUnicode_CheckExact(value)
               && PyUnicode_GET_LENGTH(value) < 1000);
}

static PyObject *
code_of(PyObject *value)
{
    return value != NULL && PyFunction_Check(value)
               ? parts_of(value)->func_code
               : NULL;
}

/* 1: all were noted; 0: one is too heavy to be kept. */
static int
note_reads(struct snapshot *snapshot, PyObject *names)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(names); i++) {
        PyObject *name = PyList_GET_ITEM(names, i);
        PyObject *value = look_up(snapshot->namespace, name);
        if (value != NULL && !is_light(value))
            return 0;
        snapshot->reads[snapshot->count++] = (struct read){
            Py_NewRef(name), Py_XNewRef(value), Py_XNewRef(code_of(value))};
    }
    return 1;
}

static int
is_unchanged(const struct snapshot *snapshot, const struct read *read)
{
    return look_up(snapshot->namespace, read->name) == read->value
           && (read->code == NULL
               || (is_bare(read->value)
                   && code_of(read->value) == read->code));
}

static struct snapshot *
new_snapshot(PyObject *function, PyObject *module, Py_ssize_t reads)
{
    struct snapshot *snapshot = PyMem_Calloc(
        1, sizeof *snapshot + (size_t)reads * sizeof(struct read));
    if (snapshot == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    const PyFunctionObject *parts = parts_of(function);
    snapshot->function = Py_NewRef(function);
    snapshot->code = Py_NewRef(parts->func_code);
    snapshot->module = Py_NewRef(module);
    snapshot->module_name = Py_NewRef(parts->func_module);
    snapshot->qualname = Py_NewRef(parts->func_qualname);
    return snapshot;
}

/* A function of the script. */
static int
take_main(PyObject *function, PyObject *module, PyObject *record,
          struct snapshot **snapshot)
{
    PyObject *names = PyObject_CallMethod(record, "reads", "O", function);
    if (names == NULL)
        return -1;
    int status = 0;
    if (PyList_Check(names) && PyList_GET_SIZE(names) <= READS_MAX) {
        *snapshot = new_snapshot(function, module, PyList_GET_SIZE(names));
        status = *snapshot == NULL ? -1 : 0;
    }
    if (*snapshot != NULL) {
        (*snapshot)->namespace = Py_NewRef(PyModule_GetDict(module));
        if (!note_reads(*snapshot, names)) {
            snapshot_free(*snapshot);
            *snapshot = NULL;
        }
    }
    Py_DECREF(names);
    return status;
}

int
snapshot_take(PyObject *function, PyObject *record, struct snapshot **snapshot)
{
    *snapshot = NULL;
    if (!is_bare(function))
        return 0;
    PyObject *name = parts_of(function)->func_module;
    PyObject *module = PyImport_GetModule(name);
    int status = 0;
    if (module == NULL)
        return PyErr_Occurred() ? -1 : 0;
    if (PyModule_Check(module) && is_found(module, function)) {
        if (PyUnicode_CompareWithASCIIString(name, "__main__") == 0) {
            status = take_main(function, module, record, snapshot);
        }
        else {
            *snapshot = new_snapshot(function, module, 0);
            status = *snapshot == NULL ? -1 : 0;
        }
    }
    Py_DECREF(module);
    return status;
}

static int
is_in_place(const struct snapshot *snapshot, PyObject *function)
{
    const PyFunctionObject *parts = parts_of(function);
    PyObject *modules = PyImport_GetModuleDict();
    return is_bare(function) && parts->func_code == snapshot->code
           && parts->func_module == snapshot->module_name
           && parts->func_qualname == snapshot->qualname
           && look_up(modules, snapshot->module_name) == snapshot->module
           && is_found(snapshot->module, function);
}

int
snapshot_holds(const struct snapshot *snapshot, PyObject *function)
{
    if (function != snapshot->function || !is_in_place(snapshot, function))
        return 0;
    for (Py_ssize_t i = 0; i < snapshot->count; i++) {
        if (!is_unchanged(snapshot, &snapshot->reads[i]))
            return 0;
    }
    return 1;
}

void
snapshot_free(struct snapshot *snapshot)
{
    if (snapshot == NULL)
        return;
    for (Py_ssize_t i = 0; i < snapshot->count; i++) {
        Py_DECREF(snapshot->reads[i].name);
        Py_XDECREF(snapshot->reads[i].value);
        Py_XDECREF(snapshot->reads[i].code);
    }
    Py_DECREF(snapshot->function);
    Py_DECREF(snapshot->code);
    Py_DECREF(snapshot->module);
    Py_DECREF(snapshot->module_name);
    Py_DECREF(snapshot->qualname);
    Py_XDECREF(snapshot->namespace);
    PyMem_Free(snapshot);
}
