/* seats.c -- a queue of chunks for each worker, and a list of idle workers. */

#include "seats.h"

#include <stdlib.h>

struct seat {
    struct chunks chunks;
    int held;
    int before, after; /* while idle: its neighbours in the list */
    int is_dismissed;
};

struct seats {
    int workers;
    int first, last; /* idle: longest, shortest */
    struct seat seats[];
};

static void
join_idle(struct seats *seats, int worker)
{
    struct seat *seat = &seats->seats[worker];
    seat->before = seats->last;
    seat->after = NOBODY;
    if (seats->last == NOBODY)
        seats->first = worker;
    else
        seats->seats[seats->last].after = worker;
    seats->last = worker;
}

static void
leave_idle(struct seats *seats, int worker)
{
    const struct seat *seat = &seats->seats[worker];
    if (seat->before == NOBODY)
        seats->first = seat->after;
    else
        seats->seats[seat->before].after = seat->after;
    if (seat->after == NOBODY)
        seats->last = seat->before;
    else
        seats->seats[seat->after].before = seat->before;
}

struct seats *
seats_new(int workers)
{
    struct seats *seats =
        calloc(1, sizeof *seats + (size_t)workers * sizeof(struct seat));
    if (seats == NULL)
        return NULL;
    seats->workers = workers;
    for (int worker = 0; worker < workers; worker++)
        chunks_init(&seats->seats[worker].chunks);
    seats_sort_idle(seats);
    return seats;
}

void
seats_sort_idle(struct seats *seats)
{
    seats->first = seats->last = NOBODY;
    for (int worker = 0; worker < seats->workers; worker++) {
        const struct seat *seat = &seats->seats[worker];
        if (seat->held == 0 && !seat->is_dismissed)
            join_idle(seats, worker);
    }
}

void
seats_free(struct seats *seats)
{
    free(seats);
}

int
seats_idle(const struct seats *seats)
{
    return seats->first;
}

size_t
seats_list_idle(const struct seats *seats, int *workers, size_t most)
{
    size_t found = 0;
    for (int worker = seats->first; worker != NOBODY && found < most;
         worker = seats->seats[worker].after)
        workers[found++] = worker;
    return found;
}

void
seats_give(struct seats *seats, int worker, struct chunk *chunk)
{
    struct seat *seat = &seats->seats[worker];
    if (seat->held++ == 0)
        leave_idle(seats, worker);
    chunks_append(&seat->chunks, chunk);
}

struct chunk *
seats_oldest(const struct seats *seats, int worker)
{
    return seats->seats[worker].chunks.first;
}

int
seats_held(const struct seats *seats, int worker)
{
    return seats->seats[worker].held;
}

struct chunk *
seats_answer(struct seats *seats, int worker)
{
    struct seat *seat = &seats->seats[worker];
    struct chunk *chunk = chunks_pop(&seat->chunks);
    if (--seat->held == 0)
        join_idle(seats, worker);
    return chunk;
}

void
seats_dismiss(struct seats *seats, int worker)
{
    struct seat *seat = &seats->seats[worker];
    if (!seat->is_dismissed)
        leave_idle(seats, worker);
    seat->is_dismissed = 1;
}
