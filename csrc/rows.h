/* rows.h -- the rows of one plain array, as tasks: any number of them travel
   as one block, from the array's own memory.

   On the other side each is what iterating over the array gives, a view (or
   for one dimension a scalar), of the block.  All of this needs the GIL. */

#ifndef EZMPI_ROWS_H
#define EZMPI_ROWS_H

#include "array.h"
#include "parcel.h"

struct rows;

/* 1: tasks is a plain array with rows, and *rows theirs; 0: it is not; -1:
   exception set. */
int rows_open(struct arrays *arrays, PyObject *tasks, struct rows **rows);
void rows_close(struct rows *rows); /* NULL is allowed */

uint64_t rows_count(const struct rows *rows);
size_t rows_size(const struct rows *rows);      /* bytes of one */

/* Appends rows first..first+count-1 as so many items. */
int rows_dump(const struct rows *rows, struct parcel *parcel, uint64_t first,
              uint64_t count);

/* Takes in the block whose tag was read: rows_next has its rows. */
int rows_load(struct arrays *arrays, struct reader *reader);
/* The next row of the reader's block, a new reference.  NULL: exception set,
   and the reader stands behind the row. */
PyObject *rows_next(struct reader *reader);
void rows_skip(struct reader *reader);
/* Lets go of a block that was not read to its end. */
void rows_drop(struct reader *reader);

#endif
