/* crew_stub.c -- what dispatch.c calls of crew.c, parcel.c, callable.c and
   Python, so that it can be linked without them. */

#include "crew_stub.h"

#include <stdio.h>
#include <stdlib.h>

struct parcel {
    size_t size;
    int owners;
};

int64_t stub_now;

static int parcels;

static _Atomic uint64_t *
word(struct mailbox *mailbox, int rank)
{
    return mailbox->words ? &mailbox->words[rank - 1] : NULL;
}

static int
closed(const struct mailbox *mailbox)
{
    return mailbox->is_closed;
}

static const struct transport transport = {.word = word, .closed = closed};

void
stub_init(struct crew *crew, struct mailbox *mailbox, int workers)
{
    *crew = (struct crew){
        .transport = &transport, .mailbox = mailbox, .workers = workers};
    crew->members = calloc((size_t)workers, sizeof *crew->members);
    if (crew->members == NULL)
        abort();
}

void
stub_clear(struct crew *crew)
{
    free(crew->members);
}

/* ---- parcels and callables -------------------------------------------- */

struct parcel *
stub_parcel(size_t size)
{
    struct parcel *parcel = malloc(sizeof *parcel);
    if (parcel == NULL)
        abort();
    *parcel = (struct parcel){.size = size, .owners = 1};
    parcels++;
    return parcel;
}

int
stub_parcels(void)
{
    return parcels;
}

void
parcel_free(struct parcel *parcel)
{
    if (parcel == NULL || --parcel->owners > 0)
        return;
    free(parcel);
    parcels--;
}

size_t
parcel_size(const struct parcel *parcel)
{
    return parcel->size;
}

struct callable *
callable_keep(struct callable *callable)
{
    callable->owners++;
    return callable;
}

void
callable_free(struct callable *callable)
{
    if (callable != NULL)
        callable->owners--;
}

/* ---- messages --------------------------------------------------------- */

int
crew_post(struct crew *crew, const int *ranks, size_t receivers,
          enum verb verb, const struct header *header, struct parcel *parcel,
          struct transport_error *error)
{
    struct mailbox *mailbox = crew->mailbox;
    (void)parcel;
    if (mailbox->fails_after > 0 && mailbox->posts == mailbox->fails_after) {
        *error = (struct transport_error){"send", "the stub fails"};
        return TRANSPORT_FAILED;
    }
    mailbox->posts++;
    for (size_t i = 0; i < receivers; i++)
        mailbox->post(mailbox, ranks[i], verb, header);
    return TRANSPORT_OK;
}

int
crew_await(struct crew *crew, double seconds, struct transport_error *error)
{
    const struct letter *letter = crew->mailbox->coming;
    (void)seconds, (void)error;
    if (letter == NULL)
        return TRANSPORT_NOTHING;
    crew->message.verb = letter->verb;
    return TRANSPORT_OK;
}

int
crew_receive_small(struct crew *crew, struct letter *letter)
{
    struct mailbox *mailbox = crew->mailbox;
    if (mailbox->is_large)
        return TRANSPORT_NOTHING;
    *letter = *mailbox->coming;
    mailbox->coming = NULL;
    return TRANSPORT_OK;
}

int64_t
crew_clock(void)
{
    return stub_now;
}

int64_t
crew_coarse_clock(void)
{
    return stub_now;
}

/* ---- Python ----------------------------------------------------------- */

/* The tests have memory. */
PyObject *
PyErr_NoMemory(void)
{
    abort();
}

void
crew_lose(struct crew *crew, int worker)
{
    crew->lost += !crew->members[worker].is_lost;
    crew->members[worker].is_lost = 1;
}
