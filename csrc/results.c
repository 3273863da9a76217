/* results.c -- a list, or a ring of those that were not taken yet. */

#define PY_SSIZE_T_CLEAN
#include "results.h"

#include <stdatomic.h>

struct item {
    PyObject *value;            /* NULL: not here yet */
    int is_failure;
};

struct results {
    enum results_kind kind;
    PyObject *list;
    /* Items taken to taken + room - 1; item i is in place i % room. */
    struct item *ring;
    uint64_t room;              /* a power of 2, or 0 */
    _Atomic uint64_t taken;
    uint64_t came;              /* the next one's place, as they come */
};

struct results *
results_new(enum results_kind kind)
{
    struct results *results = PyMem_RawCalloc(1, sizeof *results);
    if (results == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    results->kind = kind;
    if (kind == RESULTS_AS_LIST && !(results->list = PyList_New(0))) {
        PyMem_RawFree(results);
        return NULL;
    }
    return results;
}

void
results_free(struct results *results)
{
    if (results == NULL)
        return;
    for (uint64_t i = 0; i < results->room; i++)
        Py_XDECREF(results->ring[i].value);
    PyMem_RawFree(results->ring);
    Py_XDECREF(results->list);
    PyMem_RawFree(results);
}

enum results_kind
results_kind(const struct results *results)
{
    return results->kind;
}

int
results_expect(struct results *results, uint64_t count)
{
    for (uint64_t i = 0; results->list != NULL && i < count; i++) {
        if (PyList_Append(results->list, Py_None) < 0)
            return -1;
    }
    return 0;
}

/* ---- the ring --------------------------------------------------------- */

static struct item *
item_at(const struct results *results, uint64_t number)
{
    return &results->ring[number & (results->room - 1)];
}

/* Makes room for item number. */
static int
grow(struct results *results, uint64_t number)
{
    struct results old = *results;
    uint64_t taken = results->taken, room = old.room ? old.room : 16;
    while (number - taken >= room)
        room *= 2;
    if (room == old.room)
        return 0;
    struct item *ring = PyMem_RawCalloc(room, sizeof *ring);
    if (ring == NULL)
        return PyErr_NoMemory(), -1;
    results->ring = ring;
    results->room = room;
    for (uint64_t i = taken; i < taken + old.room; i++)
        *item_at(results, i) = old.ring[i & (old.room - 1)];
    PyMem_RawFree(old.ring);
    return 0;
}

int
results_put(struct results *results, uint64_t task, PyObject *value,
            int is_failure)
{
    if (results->kind == RESULTS_UNWANTED)
        return 0;
    if (results->list != NULL)
        return PyList_SetItem(results->list, (Py_ssize_t)task,
                              Py_NewRef(value));
    int in_order = results->kind == RESULTS_IN_ORDER;
    uint64_t number = in_order ? task : results->came;
    if (grow(results, number) < 0)
        return -1;
    *item_at(results, number) = (struct item){Py_NewRef(value), is_failure};
    results->came += !in_order;
    return 0;
}

PyObject *
results_list(const struct results *results)
{
    return results->list != NULL ? results->list : Py_None;
}

PyObject *
results_take(struct results *results, int *is_failure)
{
    uint64_t number = results->taken;
    if (results->room == 0)
        return NULL;
    struct item *item = item_at(results, number);
    PyObject *value = item->value;
    if (value == NULL)
        return NULL;
    *is_failure = item->is_failure;
    item->value = NULL;
    atomic_store(&results->taken, number + 1);
    return value;
}

uint64_t
results_taken(const struct results *results)
{
    return atomic_load(&results->taken);
}
