/* choices.h -- runs a test until each choice in it has been made in each way.

   A run asks choose() at every point where more than one thing may happen
   next; main() repeats the run while turn() says so.  What fails is named with
   the path that led there. */

#ifndef EZMPI_TESTS_CHOICES_H
#define EZMPI_TESTS_CHOICES_H

#include <stdio.h>
#include <stdlib.h>

#define MOST_CHOICES 64

#define CHECK(what) check((what), #what, __LINE__)

static struct {
    int made[MOST_CHOICES];     /* the path: what was chosen */
    int options[MOST_CHOICES];  /* out of how many */
    int length;
    int at;                     /* how far the present run has come */
} path;

static inline void
check(int holds, const char *what, int line)
{
    if (holds)
        return;
    printf("line %d: not so: %s; path", line, what);
    for (int i = 0; i < path.at; i++)
        printf(" %d/%d", path.made[i], path.options[i]);
    printf("\n");
    exit(1);
}

static inline int
choose(int options)
{
    if (path.at == path.length) {
        CHECK(path.length < MOST_CHOICES);
        path.made[path.length] = 0;
        path.options[path.length++] = options;
    }
    return path.made[path.at++];
}

/* Has an earlier run been here, on the same path?  Then all was checked. */
static inline int
seen(void)
{
    return path.at < path.length;
}

/* To the next path; 0 after the last one. */
static inline int
turn(void)
{
    path.at = 0;
    while (path.length > 0
           && ++path.made[path.length - 1] == path.options[path.length - 1])
        path.length--;
    return path.length > 0;
}

#endif
