/* loan.c -- a type with the buffer interface, whose memory is a block.

   In the rank, in its child, and in what a task forks, which has copies of the
   child's loans: they end there, too, but only the child gives back. */

#define PY_SSIZE_T_CLEAN
#include "loan.h"

struct loan {
    PyObject_HEAD
    struct arena *arena;
    int block;                      /* that the child got; -1: the rank's */
    void *base;                     /* NULL: none yet */
    Py_ssize_t size;
};

static int
get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct loan *loan = (struct loan *)self;
    return PyBuffer_FillInfo(view, self, loan->base, loan->size, 0, flags);
}

static void
dealloc(PyObject *self)
{
    struct loan *loan = (struct loan *)self;
    if (loan->base != NULL && loan->block < 0)
        arena_leave(loan->arena, loan->base);
    else if (loan->base != NULL)
        arena_give_back(loan->arena, loan->block);
    PyObject_Free(self);
}

static PyBufferProcs loan_as_buffer = {.bf_getbuffer = get_buffer};

/* Static, since a PyType_Spec of Python 3.8 has no buffers. */
static PyTypeObject loan_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "ezmpi._ezmpi.Loan",
    .tp_doc = "Memory that a worker's rank shares with its child.",
    .tp_basicsize = sizeof(struct loan),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = dealloc,
    .tp_as_buffer = &loan_as_buffer,
};

static struct loan *
new_loan(struct arena *arena, int block, size_t size)
{
    if (PyType_Ready(&loan_type) < 0)
        return NULL;
    struct loan *loan = PyObject_New(struct loan, &loan_type);
    if (loan == NULL)
        return NULL;
    loan->arena = arena;
    loan->block = block;
    loan->base = NULL;
    loan->size = (Py_ssize_t)size;
    return loan;
}

PyObject *
loan_room(struct arena *arena, size_t size, void **base)
{
    struct loan *loan = new_loan(arena, -1, size);
    if (loan == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if ((loan->base = arena_take(arena, size)) == NULL) {
        Py_DECREF(loan);
        return NULL;
    }
    *base = loan->base;
    return (PyObject *)loan;
}

PyObject *
loan_look(struct arena *arena, int block, size_t size, void **base)
{
    struct loan *loan = new_loan(arena, block, size);
    if (loan == NULL) {
        arena_give_back(arena, block);
        return NULL;
    }
    if ((loan->base = arena_look(arena, block, size)) == NULL) {
        Py_DECREF(loan);
        return PyErr_NoMemory();
    }
    *base = loan->base;
    PyObject *memory = PyMemoryView_FromObject((PyObject *)loan);
    Py_DECREF(loan);
    return memory;
}
