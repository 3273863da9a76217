/* python_stub.h -- what the engine's locking needs of Python: the GIL, threads
   and memory.  For tests/c/driver_test.c, so that all that runs is compiled
   with a sanitizer.  What else it calls of Python aborts. */

#ifndef EZMPI_TESTS_PYTHON_STUB_H
#define EZMPI_TESTS_PYTHON_STUB_H

/* Of a thread that Python has not begun. */
void gil_take(void);
void gil_leave(void);
int gil_is_mine(void);

/* Run by threading.Thread in ezmpi/_driver.py: with what it is given, at the
   GIL.  Set before the first driver_start. */
extern void (*stub_drive)(void *crew);
/* Waits for that thread's end, the GIL free, and lets go of what it had. */
void stub_join(void);

#endif
