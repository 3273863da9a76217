/* counting.h -- two processes count in a word that they share. */

#ifndef EZMPI_TESTS_COUNTING_H
#define EZMPI_TESTS_COUNTING_H

#include <stdatomic.h>
#include <stdint.h>

#define STEPS 100000

/* While the other does the same. */
static inline void
count_up(_Atomic uint64_t *word)
{
    for (int i = 0; i < STEPS; i++) {
        uint64_t seen = atomic_load(word);
        while (!atomic_compare_exchange_weak(word, &seen, seen + 1)) {
        }
    }
}

#endif
