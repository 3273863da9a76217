/* results.h -- the results of a job, until somebody takes them.

   As a list, or one by one: in the order of the tasks, or as they come.  Needs
   the GIL, and no helm. */

#ifndef EZMPI_RESULTS_H
#define EZMPI_RESULTS_H

#include <stdint.h>

#include "compat.h"

struct results;

enum results_kind {
    RESULTS_UNWANTED,
    RESULTS_AS_LIST,
    RESULTS_IN_ORDER,
    RESULTS_AS_THEY_COME,
};

struct results *results_new(enum results_kind kind);    /* NULL: exception */
void results_free(struct results *results);     /* NULL is allowed */
enum results_kind results_kind(const struct results *results);

/* So many more tasks were drawn.  -1: exception set. */
int results_expect(struct results *results, uint64_t count);
/* A task's result, or the exception that it raised; borrowed.  -1: exception
   set. */
int results_put(struct results *results, uint64_t task, PyObject *value,
                int is_failure);

/* The list so far, borrowed; None where no results are wanted. */
PyObject *results_list(const struct results *results);
/* The next one, a new reference; NULL: none is there, no exception. */
PyObject *results_take(struct results *results, int *is_failure);
/* How many were taken; needs no GIL. */
uint64_t results_taken(const struct results *results);

#endif
