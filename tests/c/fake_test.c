/* fake_test.c -- the fake's interrupt keeps the contract of transport.h, and
   counts for no second thread in the mailbox; so do its words.  Prints
   nothing. */

#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <time.h>

#include "check.h"
#include "transport.h"

extern const struct transport ezmpi_transport; /* the fake begins with it */

static const struct transport *const transport = &ezmpi_transport;
static struct mailbox *box;

static int
wait_for(double seconds)
{
    struct transport_message message;
    struct transport_error error;

    return transport->wait(box, seconds, &message, &error);
}

static void *
interrupt_later(void *unused)
{
    struct timespec time = {0, 20000000};

    nanosleep(&time, NULL);
    transport->interrupt(box);
    return unused;
}

static const struct transport_farewell farewell = {0, "", 0};

/* Rank 0 shares one with each other rank, and nobody shares any else. */
static void
check_words(void)
{
    struct mailbox *ranks[3];
    struct transport_error error;

    for (int rank = 0; rank < 3; rank++) {
        CHECK(transport->open(rank, &farewell, 1, &ranks[rank], &error)
              == TRANSPORT_OK);
        CHECK(transport->word(ranks[rank], rank) == NULL);
        CHECK(transport->word(ranks[rank], -1) == NULL);
        CHECK(transport->word(ranks[rank], 3) == NULL);
    }
    CHECK(transport->word(ranks[1], 2) == NULL);
    for (int rank = 1; rank < 3; rank++) {
        CHECK(*transport->word(ranks[rank], 0) == 0);
        *transport->word(ranks[0], rank) = (uint64_t)rank;
    }
    CHECK(*transport->word(ranks[1], 0) == 1);
    CHECK(*transport->word(ranks[2], 0) == 2);
    CHECK(transport->close(ranks[2], &error) == TRANSPORT_OK);
    CHECK(transport->word(ranks[2], 0) == NULL);
}

int
main(void)
{
    struct transport_error error;
    time_t start = time(NULL);
    pthread_t other;

    CHECK(transport->open(0, &farewell, 1, &box, &error) == TRANSPORT_OK);
    transport->interrupt(box);
    CHECK(wait_for(100) == TRANSPORT_NOTHING);
    CHECK(pthread_create(&other, NULL, interrupt_later, NULL) == 0);
    CHECK(wait_for(100) == TRANSPORT_NOTHING);
    CHECK(pthread_join(other, NULL) == 0);
    CHECK(time(NULL) - start < 50);
    CHECK(wait_for(2) == TRANSPORT_NOTHING);
    CHECK(time(NULL) - start > 0);
    CHECK(transport->threads() == 1);
    check_words();
    return 0;
}
