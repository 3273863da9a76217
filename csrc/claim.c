/* claim.c -- the word: below, the number of the chunk begun last; above, that
   of the first one taken back, or 0.  Numbers may come round to 0. */

#include "claim.h"

static uint32_t
begun_of(uint64_t word)
{
    return (uint32_t)word;
}

static uint32_t
taken_back_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static int
is_before(uint32_t one, uint32_t other)
{
    return (int32_t)(one - other) < 0;
}

int
claim_begin(_Atomic uint64_t *word, uint32_t number)
{
    uint64_t old = atomic_load(word), new;
    do {
        uint32_t taken_back = taken_back_of(old);
        if (taken_back != 0 && !is_before(number, taken_back))
            return 0;
        new = (old >> 32 << 32) | number;
    } while (!atomic_compare_exchange_weak(word, &old, new));
    return 1;
}

int
claim_is_begun(const _Atomic uint64_t *word, uint32_t number)
{
    return !is_before(begun_of(atomic_load(word)), number);
}

int
claim_take_back(_Atomic uint64_t *word, uint32_t number)
{
    uint64_t old = atomic_load(word), new;
    do {
        uint32_t taken_back = taken_back_of(old);
        if (!is_before(begun_of(old), number))
            return 0;
        if (taken_back != 0 && !is_before(number, taken_back))
            return 1;
        new = (uint64_t)number << 32 | begun_of(old);
    } while (!atomic_compare_exchange_weak(word, &old, new));
    return 1;
}

void
claim_reset(_Atomic uint64_t *word)
{
    atomic_fetch_and(word, UINT32_MAX);
}
