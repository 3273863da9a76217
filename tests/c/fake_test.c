/* fake_test.c -- the fake's interrupt keeps the contract of transport.h, and
   counts for no second thread in the mailbox.  Prints nothing. */

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

int
main(void)
{
    static const struct transport_farewell farewell = {0, "", 0};
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
    return 0;
}
