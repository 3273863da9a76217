/* check.h -- a test's assertion, which names its line. */

#ifndef EZMPI_TESTS_CHECK_H
#define EZMPI_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition) check((condition), #condition, __LINE__)

static inline void
check(int good, const char *text, int line)
{
    if (!good) {
        printf("line %d: %s\n", line, text);
        exit(1);
    }
}

#endif
