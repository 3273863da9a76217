/* tasks.c -- lists and ranges apart from iterators that run code. */

#define PY_SSIZE_T_CLEAN
#include "tasks.h"

static int
is_stable(PyObject *given)
{
    return PyList_CheckExact(given) || PyTuple_CheckExact(given)
           || PyObject_CheckBuffer(given);
}

static uint64_t
count(const struct tasks *tasks, PyObject *given)
{
    if (tasks->rows != NULL)
        return rows_count(tasks->rows);
    if (PyList_CheckExact(given) || PyTuple_CheckExact(given)
        || PyRange_Check(given)) {
        Py_ssize_t size = PyObject_Size(given);
        if (size >= 0)
            return (uint64_t)size;
        PyErr_Clear(); /* a range of more than there can be */
    }
    return SCHEDULE_UNKNOWN;
}

/* Iterators that run no code but Python's own. */
static int
is_calm(PyObject *iterator)
{
    PyTypeObject *type = Py_TYPE(iterator);
    return type == &PyListIter_Type || type == &PyTupleIter_Type
           || type == &PyRangeIter_Type;
}

static int
open_iterator(struct tasks *tasks, struct crew *crew, PyObject *given)
{
    crew_leave_helm(crew);
    tasks->iterator = PyObject_GetIter(given);
    crew_take_helm(crew);
    tasks->is_calm = tasks->iterator != NULL && is_calm(tasks->iterator);
    return tasks->iterator == NULL ? -1 : 0;
}

int
tasks_open(struct tasks *tasks, struct crew *crew, struct codec *codec,
           PyObject *given, int in_background)
{
    PyObject *kept = in_background && PyList_CheckExact(given)
                         ? PyList_AsTuple(given)
                         : Py_NewRef(given);
    if (kept == NULL)
        return -1;
    tasks->copy = in_background || !is_stable(given);
    int found = codec_open_rows(codec, kept, &tasks->rows);
    tasks->is_calm = found > 0;
    if (found == 0)
        found = open_iterator(tasks, crew, kept);
    if (found >= 0)
        tasks->count = count(tasks, kept);
    Py_DECREF(kept);
    return found < 0 ? -1 : 0;
}

void
tasks_close(struct tasks *tasks)
{
    rows_close(tasks->rows);
    Py_XDECREF(tasks->iterator);
}

PyObject *
tasks_next(struct tasks *tasks, struct crew *crew)
{
    if (tasks->is_calm)
        return PyIter_Next(tasks->iterator);
    PyObject *iterator = Py_NewRef(tasks->iterator);
    crew_leave_helm(crew);
    PyObject *task = PyIter_Next(iterator);
    crew_take_helm(crew);
    Py_DECREF(iterator);
    return task;
}
