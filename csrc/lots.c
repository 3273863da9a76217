/* lots.c -- chunks by worker, and those that came back by task.

   Must not know why anything comes back. */

#define PY_SSIZE_T_CLEAN
#include "lots.h"

#include "codec.h"

struct lot {
    uint64_t first, count;
    struct parcel *parcel;      /* or NULL */
    struct reader reader;       /* at the first task */
    struct lot *next;
};

struct lots {
    struct lot *back;           /* what came back, lowest first */
    struct lot *latest;         /* of these; most come in order */
    int workers;
    struct lot *out[];          /* [workers] what each holds, oldest first */
};

struct lots *
lots_new(int workers)
{
    size_t out = (size_t)workers * sizeof(struct lot *);
    struct lots *lots = PyMem_RawCalloc(1, sizeof *lots + out);
    if (lots == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    lots->workers = workers;
    return lots;
}

void
lot_free(struct lot *lot)
{
    if (lot == NULL)
        return;
    parcel_free(lot->parcel);
    PyMem_RawFree(lot);
}

static void
free_all(struct lot *lot)
{
    while (lot != NULL) {
        struct lot *next = lot->next;
        lot_free(lot);
        lot = next;
    }
}

void
lots_free(struct lots *lots)
{
    if (lots == NULL)
        return;
    for (int worker = 0; worker < lots->workers; worker++)
        free_all(lots->out[worker]);
    free_all(lots->back);
    PyMem_RawFree(lots);
}

int
lots_keep(struct lots *lots, int worker, uint64_t first, uint64_t count,
          struct parcel *parcel)
{
    struct lot *lot = PyMem_RawCalloc(1, sizeof *lot);
    struct lot **link = &lots->out[worker];
    if (lot == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    lot->first = first;
    lot->count = count;
    if (parcel != NULL)
        lot->reader.parcel = lot->parcel = parcel_keep(parcel);
    while (*link != NULL)
        link = &(*link)->next;
    *link = lot;
    return 0;
}

struct lot *
lots_take(struct lots *lots, int worker, uint64_t first)
{
    struct lot *lot = lots->out[worker];
    if (lot == NULL || lot->first != first)
        return NULL;
    lots->out[worker] = lot->next;
    return lot;
}

/* Moves the lot's beginning behind count tasks. */
static int
pass_over(struct lot *lot, uint64_t count)
{
    for (uint64_t i = 0; i < count && lot->parcel != NULL; i++) {
        if (codec_skip(&lot->reader) < 0)
            return -1;
    }
    lot->first += count;
    lot->count -= count;
    return 0;
}

int
lots_return(struct lots *lots, struct lot *lot, uint64_t done)
{
    struct lot **link = &lots->back;
    int status = pass_over(lot, done);
    if (status < 0 || lot->count == 0) {
        lot_free(lot);
        return status;
    }
    if (lots->latest != NULL && lots->latest->first < lot->first)
        link = &lots->latest->next;
    while (*link != NULL && (*link)->first < lot->first)
        link = &(*link)->next;
    lot->next = *link;
    *link = lots->latest = lot;
    return 0;
}

int
lots_draw(struct lots *lots, struct parcel *parcel, uint64_t count)
{
    struct lot *lot = lots->back;
    struct reader start = lot->reader;
    if (pass_over(lot, count) < 0)
        return -1;
    if (lot->parcel != NULL && parcel_copy(parcel, &start, &lot->reader) < 0)
        return -1;
    if (lot->count == 0) {
        lots->back = lot->next;
        if (lots->latest == lot)
            lots->latest = NULL;
        lot_free(lot);
    }
    return 0;
}
