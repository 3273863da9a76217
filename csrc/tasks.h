/* tasks.h -- where a job's tasks come from: an iterator, or an array's rows.

   Needs the GIL and the helm, which is left while the user's code runs. */

#ifndef EZMPI_TASKS_H
#define EZMPI_TASKS_H

#include "crew.h"
#include "rows.h"

struct tasks {
    struct rows *rows;              /* NULL: there is an iterator */
    PyObject *iterator;             /* NULL: rows, or none any more */
    uint64_t count;                 /* SCHEDULE_UNKNOWN: it is not known */
    int copy;                       /* a task's buffers may change when the
                                       next is drawn */
    int is_calm;                    /* drawing runs no user's code */
};

/* Of what a user gave; a list that is used in the background may be changed
   meanwhile.  -1: exception set. */
int tasks_open(struct tasks *tasks, struct crew *crew, struct codec *codec,
               PyObject *given, int in_background);
void tasks_close(struct tasks *tasks);

/* The iterator's next, a new reference; NULL: there is none, or exception
   set. */
PyObject *tasks_next(struct tasks *tasks, struct crew *crew);

#endif
