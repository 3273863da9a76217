/* transport_test.c -- the transport over MPI, without Python.

   mpiexec -n N transport_test SCENARIO; exit code 0 and an empty stderr mean
   that all went well.  Rank 0 is called the master, the others workers. */

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <mpi.h>

#include "counting.h"
#include "transport.h"

#define CHECK(condition) check((condition), #condition, __LINE__)
#define FAREWELL 1000
#define PATIENCE 60.0               /* seconds until a message is missing */

extern const struct transport ezmpi_transport;

static const struct transport *const transport = &ezmpi_transport;
static struct transport_error error;
static struct mailbox *world;
static int rank;
static int ranks;
static int guest;                   /* MPI is somebody else's */

static void
check(int good, const char *text, int line)
{
    if (!good) {
        fprintf(stderr, "rank %d, line %d: %s (last error: %s: %s)\n", rank,
                line, text, error.call ? error.call : "none", error.text);
        transport->abort(world, 99);
    }
}

static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static struct mailbox *
open_mailbox(int32_t handle)
{
    static const struct transport_farewell farewell = {FAREWELL, "bye", 3};
    struct mailbox *mailbox = NULL;

    CHECK(transport->open(handle, &farewell, 60, &mailbox, &error)
          == TRANSPORT_OK);
    return mailbox;
}

static struct mailbox *
open_comm(MPI_Comm comm)
{
#ifdef MPI_ABI_VERSION
    return open_mailbox(MPI_Comm_toint(comm));
#else
    return open_mailbox(MPI_Comm_c2f(comm));
#endif
}

static struct transport_message
receive(struct mailbox *mailbox)
{
    struct transport_message message = {0};

    CHECK(transport->wait(mailbox, PATIENCE, &message, &error)
          == TRANSPORT_OK);
    return message;
}

/* --- Messages with content that can be told from any other --- */

static unsigned char
pattern(int seed, size_t part, size_t at)
{
    return (unsigned char)(seed * 31 + (int)part * 7 + (int)(at % 251));
}

static struct transport_part *
make_parts(int seed, const size_t *sizes, size_t count)
{
    struct transport_part *parts = calloc(count + 1, sizeof(*parts));

    CHECK(parts != NULL);
    for (size_t i = 0; i < count; i++) {
        unsigned char *base = malloc(sizes[i] + 1);
        CHECK(base != NULL);
        for (size_t at = 0; at < sizes[i]; at++) {
            base[at] = pattern(seed, i, at);
        }
        parts[i].base = base;
        parts[i].size = sizes[i];
    }
    parts[count].base = NULL;       /* the end, for free_parts */
    return parts;
}

static void
free_parts(struct transport_part *parts)
{
    for (size_t i = 0; parts[i].base != NULL; i++) {
        free(parts[i].base);
    }
    free(parts);
}

/* Sends parts that are freed when they are reaped. */
static void
send_made(struct mailbox *mailbox, int to, int verb, const size_t *sizes,
          size_t count)
{
    struct transport_part *parts = make_parts(verb, sizes, count);

    CHECK(transport->send(mailbox, to, verb, 0, parts, count, parts, &error)
          == TRANSPORT_OK);
}

static int
reap_all(struct mailbox *mailbox)
{
    struct transport_part *parts;
    int reaped = 0;

    while ((parts = transport->reap(mailbox)) != NULL) {
        free_parts(parts);
        reaped++;
    }
    return reaped;
}

static void
flush_all(struct mailbox *mailbox)
{
    CHECK(transport->flush(mailbox, PATIENCE, &error) == TRANSPORT_OK);
    reap_all(mailbox);
}

static void
check_part(struct mailbox *mailbox, const struct transport_message *message,
           size_t index)
{
    size_t size = message->parts[index].size;
    unsigned char *base = malloc(size + 1);

    CHECK(base != NULL);
    base[size] = 0xa5;
    CHECK(transport->take(mailbox, index, base, &error) == TRANSPORT_OK);
    for (size_t at = 0; at < size; at++) {
        if (base[at] != pattern(message->verb, index, at)) {
            CHECK(!"a byte is wrong");
        }
    }
    CHECK(base[size] == 0xa5);
    free(base);
}

/* Its first count parts; what is left may be dropped. */
static void
check_message(struct mailbox *mailbox, const struct transport_message *message,
              const size_t *sizes, size_t count)
{
    CHECK(message->count >= count);
    for (size_t i = 0; i < count; i++) {
        CHECK(message->parts[i].size == sizes[i]);
        CHECK((size_t)message->parts[i].base % 8 == 0);
        check_part(mailbox, message, i);
    }
}

/* --- What travels --- */

#define SHAPES 8
#define MOST_PARTS 100

struct shape {
    size_t count;
    size_t sizes[MOST_PARTS];
};

static const struct shape *
shape(int number)
{
    static struct shape shapes[SHAPES] = {
        {0, {0}},
        {1, {0}},
        {1, {1}},
        {1, {4096}},
        {8, {0, 1, 4095, 4096, 4097, 16384, 1 << 20, 7}},
        {1, {(3 << 20) + 5}},
        {MOST_PARTS, {0}},
        {MOST_PARTS, {0}},
    };

    for (size_t i = 0; i < MOST_PARTS; i++) {
        shapes[SHAPES - 1].sizes[i] = shapes[4].sizes[i % 6];
    }
    return &shapes[number];
}

/* The master sends every shape to every worker before it looks at what they
   send back. */
static void
echo_round(void)
{
    int *next = calloc((size_t)ranks, sizeof(*next));
    int expected = rank == 0 ? SHAPES * (ranks - 1) : SHAPES;

    for (int i = 0; rank == 0 && i < SHAPES * (ranks - 1); i++) {
        const struct shape *sent = shape(i / (ranks - 1));
        send_made(world, 1 + i % (ranks - 1), i / (ranks - 1), sent->sizes,
                  sent->count);
    }
    for (int i = 0; i < expected; i++) {
        struct transport_message message = receive(world);
        const struct shape *sent = shape(message.verb);
        CHECK(message.verb == next[message.source]++);
        check_message(world, &message, sent->sizes, sent->count);
        if (rank != 0) {
            send_made(world, 0, message.verb, sent->sizes, sent->count);
        }
    }
    flush_all(world);
    free(next);
}

static void
echo(void)
{
    for (int i = 0; i < 5; i++) {
        echo_round();
    }
}

/* What is not taken, or thrown away, leaves the next message whole. */
static void
discard(void)
{
    static const size_t sizes[4] = {100000, 5, 70 << 20, 300000};

    for (int verb = 0; verb < 5 && rank == 0; verb++) {
        for (int to = 1; to < ranks; to++) {
            send_made(world, to, verb, sizes, 4);
        }
        flush_all(world);
    }
    for (int verb = 0; verb < 5 && rank != 0; verb++) {
        struct transport_message message = receive(world);
        CHECK(message.verb == verb && message.count == 4);
        CHECK(message.parts[1].base != NULL);
        for (size_t i = 0; verb == 0 && i < 4; i++) {
            CHECK(transport->take(world, i, NULL, &error) == TRANSPORT_OK);
        }
        if (verb == 1 || verb == 4) {
            check_part(world, &message, 3);
            check_part(world, &message, 1);
        }
        if (verb == 3) {
            check_part(world, &message, 0);
        }
    }
}

/* The ranks that get message number round; how many there are.  The same on
   every rank. */
static size_t
choose_receivers(unsigned round, int *chosen)
{
    size_t count = 0;
    unsigned draw = round * 2654435761u;

    for (int i = 0; i < ranks - 1; i++) {
        draw = draw * 1103515245u + 12345u;
        if (draw >> 16 & 3 || (count == 0 && i == ranks - 2)) {
            chosen[count++] = 1 + i;
        }
    }
    return count;
}

#define ROUNDS 60

static const struct shape *
multicast_shape(unsigned round)
{
    static const struct shape usual = {4, {5, 100000, 4097, 1 << 20}};
    static const struct shape long_one = {2, {5, (64 << 20) + 100}};

    return round == ROUNDS / 2 ? &long_one : &usual;
}

static void
multicast_round(unsigned round, int *chosen)
{
    const struct shape *sent = multicast_shape(round);
    size_t count = choose_receivers(round, chosen);
    struct transport_part *parts =
        make_parts((int)round, sent->sizes, sent->count);

    CHECK(transport->multicast(world, chosen, count, (int)round, parts,
                               sent->count, parts, &error)
          == TRANSPORT_OK);
    for (int to = 1; to < ranks && round % 4 == 0; to++) {
        send_made(world, to, ROUNDS + (int)round, shape(4)->sizes, 8);
    }
    if (round % 7 == 0) {
        flush_all(world);
    }
}

/* Receives what round brings, or drops parts of it. */
static void
receive_round(unsigned round, int *chosen)
{
    size_t count = choose_receivers(round, chosen);
    struct transport_message message;

    for (size_t i = 0; i < count; i++) {
        if (chosen[i] == rank) {
            const struct shape *sent = multicast_shape(round);
            message = receive(world);
            CHECK(message.source == 0 && message.verb == (int)round);
            check_message(world, &message, sent->sizes,
                          round % 5 == 0 ? 1 : sent->count);
        }
    }
    if (round % 4 == 0) {
        message = receive(world);
        CHECK(message.verb == ROUNDS + (int)round);
        check_message(world, &message, shape(4)->sizes, 8);
    }
}

/* Messages to some ranks, in their place among those to all. */
static void
multicast(void)
{
    int *chosen = calloc((size_t)ranks, sizeof(*chosen));

    for (unsigned round = 0; round < ROUNDS; round++) {
        if (rank == 0) {
            multicast_round(round, chosen);
        }
        else {
            receive_round(round, chosen);
        }
    }
    flush_all(world);
    free(chosen);
}

/* Nobody looks at them before MPI_Finalize. */
static void
multicast_unread(void)
{
    int *chosen = calloc((size_t)ranks, sizeof(*chosen));

    for (unsigned round = 0; round < ROUNDS && rank == 0; round++) {
        multicast_round(round | 1, chosen);
    }
    free(chosen);
}

/* Wrong calls say so and harm nothing. */
static void
mistakes(void)
{
    static const size_t sizes[2] = {5000, 5};
    struct transport_part part = {"x", 1};
    struct transport_message message;

    CHECK(transport->send(world, rank, 1, 0, &part, 1, &part, &error) < 0);
    CHECK(transport->send(world, -1, 1, 0, &part, 1, &part, &error) < 0);
    CHECK(transport->send(world, ranks, 1, 0, &part, 1, &part, &error) < 0);
    CHECK(transport->send(world, !rank, -1, 0, &part, 1, &part, &error) < 0);
    CHECK(transport->send(world, !rank, 32767, 0, &part, 1, &part, &error)
          < 0);
    CHECK(strcmp(error.call, "send") == 0 && error.text[0] != '\0');
    CHECK(transport->close(world, &error) < 0);
    CHECK(transport->take(world, 0, NULL, &error) < 0);
    if (rank == 0) {
        for (int to = 1; to < ranks; to++) {
            send_made(world, to, 3, sizes, 2);
        }
        flush_all(world);
        return;
    }
    message = receive(world);
    CHECK(transport->take(world, 2, NULL, &error) < 0);
    check_part(world, &message, 0);
    CHECK(transport->take(world, 0, NULL, &error) < 0);
    CHECK(receive(world).verb == FAREWELL);
}

/* A part above 2 GiB; its content is checked at some places only. */
static void
huge(void)
{
    const size_t size = (size_t)2252 << 20;
    struct transport_part part = {malloc(size), size};
    struct transport_message message;
    unsigned char *bytes = part.base;

    CHECK(bytes != NULL);
    for (size_t at = 0; at < size && rank == 0; at += 4093) {
        bytes[at] = pattern(1, 2, at);
    }
    if (rank == 0) {
        CHECK(transport->send(world, 1, 1, 0, &part, 1, bytes, &error) == 0);
        CHECK(transport->reap(world) == NULL);
        CHECK(transport->flush(world, PATIENCE, &error) == TRANSPORT_OK);
        CHECK(transport->reap(world) == bytes);
    }
    if (rank == 1) {
        message = receive(world);
        CHECK(message.count == 1 && message.parts[0].size == size);
        CHECK(transport->take(world, 0, bytes, &error) == TRANSPORT_OK);
        for (size_t at = 0; at < size; at += 4093) {
            CHECK(bytes[at] == pattern(1, 2, at));
        }
    }
    free(bytes);
}

static long
peak_megabytes(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

/* 10^5 messages to workers that do not look: the master goes on at once. */
static void
flood(void)
{
    enum { MESSAGES = 100000 };
    static int tokens[MESSAGES];
    long before = peak_megabytes();
    int reaped = 0;

    for (int i = 0; rank == 0 && i < MESSAGES; i++) {
        struct transport_part part = {&i, sizeof(i)};
        CHECK(transport->send(world, 1 + i % (ranks - 1), i % 100, 0, &part, 1,
                              &tokens[i], &error)
              == TRANSPORT_OK);
        reaped += transport->reap(world) != NULL;
    }
    if (rank == 0) {
        CHECK(reaped == MESSAGES);
        CHECK(transport->flush(world, 0, &error) != TRANSPORT_FAILED);
        printf("flood: %ld MB more\n", peak_megabytes() - before);
        CHECK(peak_megabytes() - before < 400);
        CHECK(transport->flush(world, PATIENCE, &error) == TRANSPORT_OK);
    }
    sleep(rank != 0);
    for (int i = rank - 1; rank != 0 && i < MESSAGES; i += ranks - 1) {
        struct transport_message message = receive(world);
        CHECK(message.verb == i % 100 && message.count == 1);
        CHECK(memcmp(message.parts[0].base, &i, sizeof(i)) == 0);
    }
}

/* --- Words --- */

/* Only rank 0's environment counts. */
static int
shares_memory(void)
{
    const char *value = getenv("EZMPI_SHARED_MEMORY");

    return value == NULL || strcmp(value, "0") != 0;
}

/* Waits until it is there; NULL: it does not come. */
static _Atomic uint64_t *
await_word(int other)
{
    struct transport_message message;
    _Atomic uint64_t *word = transport->word(world, other);
    double start = now(), patience = shares_memory() ? PATIENCE : 0.3;

    while (word == NULL && now() - start < patience) {
        CHECK(transport->wait(world, 0.01, &message, &error)
              == TRANSPORT_NOTHING);
        word = transport->word(world, other);
    }
    CHECK((word != NULL) == shares_memory());
    return word;
}

static void
check_no_words(void)
{
    for (int other = -1; other <= ranks; other++) {
        CHECK(transport->word(world, other) == NULL);
    }
}

/* Ranks that share none: wrong ones, or two of which neither is rank 0. */
static void
check_no_other_words(void)
{
    const int wrong[] = {INT_MIN, -1, rank, ranks, INT_MAX};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        CHECK(transport->word(world, wrong[i]) == NULL);
    }
    for (int other = 1; rank != 0 && other < ranks; other++) {
        CHECK(transport->word(world, other) == NULL);
    }
}

static void meet(void);

static void
share_words(void)
{
    int first = rank == 0 ? 1 : 0, end = rank == 0 ? ranks : 1;

    for (int other = first; other < end; other++) {
        CHECK(*await_word(other) <= STEPS); /* the other may be ahead */
    }
    for (int other = first; other < end; other++) {
        count_up(transport->word(world, other));
    }
    meet();
    for (int other = first; other < end; other++) {
        CHECK(*transport->word(world, other) == 2 * STEPS);
    }
    meet();
    for (int to = 1; rank == 0 && to < ranks; to++) {
        *transport->word(world, to) = (uint64_t)to;
    }
    meet();
    for (int to = 1; rank == 0 && to < ranks; to++) {
        CHECK(*transport->word(world, to) == (uint64_t)to);
    }
    CHECK(rank == 0 || *transport->word(world, 0) == (uint64_t)rank);
}

/* None is there before rank 0 has invited, and the other has answered; none
   after the end. */
static void
words(void)
{
    check_no_words();
    if (shares_memory()) {
        share_words();
    }
    else {
        await_word(!rank);
    }
    check_no_other_words();
    meet();
    echo_round();
    meet();
    CHECK((transport->word(world, !rank) != NULL) == shares_memory());
    transport->leave();
    check_no_words();
}

/* --- Mailboxes --- */

static void
open_twice(void)
{
    static int owner;
    struct mailbox *mailbox = world;

    CHECK(open_mailbox(TRANSPORT_WORLD) == world);
    CHECK(open_mailbox(transport->handle(world)) == world);
    CHECK(open_comm(MPI_COMM_WORLD) == world);
    CHECK(transport->owner(world) == NULL);
    transport->set_owner(world, &owner);
    CHECK(transport->owner(open_mailbox(TRANSPORT_WORLD)) == &owner);
    CHECK(open_comm(MPI_COMM_SELF) != world);
    CHECK(transport->ranks(open_comm(MPI_COMM_SELF)) == 1);
    CHECK(transport->open(123456789, NULL, 60, &mailbox, &error) < 0);
    CHECK(error.text[0] != '\0');
}

static MPI_Comm
split(int color, int key)
{
    MPI_Comm comm;

    MPI_Comm_split(MPI_COMM_WORLD, color, key, &comm);
    return comm;
}

static void
intercommunicator(void)
{
    MPI_Comm half = split(rank % 2, rank), both;
    struct mailbox *mailbox;
    int32_t handle;

    MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, 1 - rank % 2, 1, &both);
#ifdef MPI_ABI_VERSION
    handle = MPI_Comm_toint(both);
#else
    handle = MPI_Comm_c2f(both);
#endif
    CHECK(transport->open(handle, NULL, 60, &mailbox, &error) < 0);
    CHECK(strstr(error.text, "intercommunicator") != NULL);
    MPI_Comm_free(&both);
    MPI_Comm_free(&half);
}

/* A message in each of two mailboxes, received in the other order. */
static void
halves(void)
{
    MPI_Comm comm = split(rank % 2, rank);
    struct mailbox *half = open_comm(comm);
    struct transport_message message;
    static const size_t sizes[2] = {3, 50000};
    int master = transport->rank(half) == 0;

    for (int to = 1; rank == 0 && to < ranks; to++) {
        send_made(world, to, 1, sizes, 2);
    }
    for (int to = 1; master && to < transport->ranks(half); to++) {
        send_made(half, to, 2, sizes, 2);
    }
    if (!master) {
        message = receive(half);
        CHECK(message.verb == 2);
        check_message(half, &message, sizes, 2);
    }
    if (rank != 0) {
        message = receive(world);
        CHECK(message.verb == 1);
        check_message(world, &message, sizes, 2);
    }
    flush_all(world);
    flush_all(half);
}

/* Users free communicators, with messages on their way; pools on others go
   on. */
static void
freed(void)
{
    static const size_t sizes[2] = {3, 50000};
    struct transport_message message;

    for (int round = 0; round < 50; round++) {
        MPI_Comm comm = split(rank % 2, -rank);
        struct mailbox *mailbox = open_comm(comm);
        int others = transport->ranks(mailbox) - 1;
        for (int i = 0; i < 3 && others > 0; i++) {
            int to = transport->rank(mailbox) == 0 ? 1 + i % others : 0;
            send_made(mailbox, to, i, sizes, 2);
        }
        MPI_Comm_free(&comm);
        CHECK(transport->closed(mailbox));
        CHECK(transport->word(mailbox, !transport->rank(mailbox)) == NULL);
        CHECK(transport->wait(mailbox, 1, &message, &error) < 0);
        CHECK(transport->send(mailbox, 1, 1, 0, NULL, 0, world, &error) < 0);
        reap_all(mailbox);
    }
    echo_round();
}

/* --- The end --- */

/* Both sides end with messages on their way, large ones, too. */
static void
in_flight(struct mailbox *mailbox)
{
    static const size_t sizes[3] = {3, 300000, 4000};
    int others = transport->ranks(mailbox) - 1;
    int mine = transport->rank(mailbox);

    for (int i = 0; i < 20 && others > 0; i++) {
        send_made(mailbox, mine == 0 ? 1 + i % others : 0, i, sizes,
                  (size_t)i % 4);
    }
    if (mine % 2 == 1) {
        receive(mailbox);
    }
}

static void
farewell(void)
{
    in_flight(world);
}

/* Everybody is the first in one mailbox and not in another. */
static void
crossed(void)
{
    in_flight(open_comm(split(0, -rank)));
    in_flight(world);
    in_flight(open_comm(split(rank / 2, -rank)));
}

static void
closing(void)
{
    struct transport_message message;
    struct transport_part part = {"x", 1};
    double start;

    if (rank == 0) {
        return;
    }
    message = receive(world);
    CHECK(message.verb == FAREWELL && message.source == 0);
    CHECK(message.count == 1 && message.parts[0].size == 3);
    CHECK(memcmp(message.parts[0].base, "bye", 3) == 0);
    CHECK(!transport->closed(world));
    CHECK(transport->close(world, &error) == TRANSPORT_OK);
    CHECK(transport->close(world, &error) == TRANSPORT_OK);
    CHECK(transport->closed(world));
    check_no_words();
    CHECK(open_mailbox(TRANSPORT_WORLD) == world);
    start = now();
    CHECK(transport->wait(world, 5, &message, &error) == TRANSPORT_NOTHING);
    CHECK(now() - start < 1);
    CHECK(transport->send(world, 0, 1, 0, &part, 1, &part, &error) < 0);
}

/* MPI is gone, the mailbox is not. */
static void
finalized(void)
{
    struct transport_message message;
    struct transport_part part = {"x", 1};
    struct mailbox *mailbox;
    int unused;

    in_flight(world);
    transport->leave();
    transport->leave();
    CHECK(transport->closed(world));
    CHECK(transport->wait(world, 1, &message, &error) < 0);
    CHECK(transport->take(world, 0, NULL, &error) < 0);
    CHECK(transport->flush(world, 1, &error) < 0);
    CHECK(transport->send(world, !rank, 1, 0, &part, 1, &part, &error) < 0);
    CHECK(transport->start(&unused, &error) < 0);
    CHECK(strstr(error.text, "finalized") != NULL);
    CHECK(transport->open(TRANSPORT_WORLD, NULL, 60, &mailbox, &error) < 0);
}

/* A worker that computes when the master ends. */
static void
stuck(void)
{
    transport->set_ending(1.0, 7);
    if (rank == ranks - 1) {
        sleep(30);
    }
}

/* As stuck; the master meets a message whose bytes do not come. */
static void
stuck_sending(void)
{
    static const size_t size = 100 << 20;

    if (rank == ranks - 1) {
        send_made(world, 0, 1, &size, 1);
    }
    stuck();
}

/* The master waits for the answer of a worker that has ended. */
static void
owing(void)
{
    struct transport_message message;
    struct transport_part part = {"task", 4};

    if (rank == 0) {
        sleep(1);
        CHECK(transport->send(world, 1, 1, 1, &part, 1, &part, &error) == 0);
        transport->wait(world, PATIENCE, &message, &error);
    }
}

static void
aborting(void)
{
    if (rank == 0) {
        transport->abort(world, 9);
    }
    sleep(30);
}

/* --- Waiting --- */

static double
processor_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
           + 1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* Waits as the engine does, in slices; how much of a processor that takes. */
static double
idle_share(double seconds)
{
    struct transport_message message;
    double start = now(), used = processor_seconds();

    while (now() - start < seconds) {
        CHECK(transport->wait(world, 0.1, &message, &error)
              == TRANSPORT_NOTHING);
    }
    return (processor_seconds() - used) / (now() - start);
}

static int
ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

/* Seconds until a worker that has waited for long answers: the median. */
static double
response(double pause)
{
    double taken[9];

    for (int i = 0; i < 9; i++) {
        struct transport_part part = {"x", 1};
        idle_share(pause);
        taken[i] = now();
        CHECK(transport->send(world, 1, 1, 0, &part, 1, &part, &error) == 0);
        receive(world);
        taken[i] = now() - taken[i];
    }
    qsort(taken, 9, sizeof(taken[0]), ascending);
    return taken[4];
}

/* Answers whatever comes, until the farewell. */
static void
answer(void)
{
    struct transport_part part = {"x", 1};

    while (receive(world).verb != FAREWELL) {
        CHECK(transport->send(world, 0, 1, 0, &part, 1, &part, &error) == 0);
        while (transport->reap(world) != NULL) {
        }
    }
}

/* Prints: rank, per cent of a processor used; the master, milliseconds.  The
   machine may be busy with other things: of three tries one must be good. */
static void
idle(void)
{
    double share = 1, seconds = 1;

    for (int i = 0; i < 3; i++) {
        double again = idle_share(1.5);
        share = again < share ? again : share;
    }
    printf("idle: rank %d uses %.2f %%\n", rank, 100 * share);
    CHECK(share < 0.03);
    if (rank == 1) {
        answer();
    }
    for (int i = 0; rank == 0 && i < 3 && seconds >= 3e-3; i++) {
        seconds = response(0.5);
        printf("idle: answer after a pause in %.3f ms\n", 1e3 * seconds);
    }
    CHECK(rank != 0 || seconds < 3e-3);
}

#define INTERRUPTS 21

struct interrupt {
    useconds_t pause;               /* until then */
    double when;
};

static void *
interrupt_later(void *interrupt_)
{
    struct interrupt *interrupt = interrupt_;

    usleep(interrupt->pause);
    interrupt->when = now();
    transport->interrupt(world);
    return NULL;
}

static double
wait_in_vain(double seconds)
{
    struct transport_message message;
    double start = now();

    CHECK(transport->wait(world, seconds, &message, &error)
          == TRANSPORT_NOTHING);
    return now() - start;
}

/* Seconds from the interrupt to the end of the wait: the median. */
static double
time_interrupts(void)
{
    double taken[INTERRUPTS];
    pthread_t thread;

    for (int i = 0; i < INTERRUPTS; i++) {
        struct interrupt interrupt = {5000 + 370 * (useconds_t)i, 0};
        CHECK(pthread_create(&thread, NULL, interrupt_later, &interrupt) == 0);
        CHECK(wait_in_vain(PATIENCE) < PATIENCE / 2);
        taken[i] = now();
        CHECK(pthread_join(thread, NULL) == 0);
        taken[i] -= interrupt.when;
    }
    qsort(taken, INTERRUPTS, sizeof(taken[0]), ascending);
    return taken[INTERRUPTS / 2];
}

/* For all ranks, without a message through the transport. */
static void
meet(void)
{
    MPI_Request request;
    int done = 0;

    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    while (!done) {
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        usleep(1000);
    }
}

/* On every rank, when it has waited for so long that it sleeps for two
   milliseconds or four.  Prints how soon a wait ends. */
static void
interrupt(void)
{
    double seconds = 1;

    idle_share(1.2);
    transport->interrupt(world);
    CHECK(wait_in_vain(PATIENCE) < PATIENCE / 2);
    for (int i = 0; i < 3 && seconds >= 0.4e-3; i++) {
        seconds = time_interrupts();
        printf("interrupt: rank %d's wait ends in %.3f ms\n", rank,
               1e3 * seconds);
    }
    CHECK(seconds < 0.4e-3);
    CHECK(wait_in_vain(0.05) >= 0.05);
    meet();
    echo_round();
}

/* Those who start MPI with MPI_Init have one thread that calls it. */
static void
threads(void)
{
    CHECK(transport->threads() == !guest);
    if (!guest) {
        transport->leave();
        CHECK(!transport->threads());
    }
}

static void
raw_turn(char *bytes, size_t size)
{
    MPI_Status status;

    if (rank == 0) {
        MPI_Send(bytes, (int)size, MPI_BYTE, 1, 1, MPI_COMM_WORLD);
        MPI_Recv(bytes, (int)size, MPI_BYTE, 1, 1, MPI_COMM_WORLD, &status);
    }
    else {
        MPI_Recv(bytes, (int)size, MPI_BYTE, 0, 1, MPI_COMM_WORLD, &status);
        MPI_Send(bytes, (int)size, MPI_BYTE, 0, 1, MPI_COMM_WORLD);
    }
}

static void
turn(char *bytes, size_t size)
{
    struct transport_part part = {bytes, size};
    struct transport_message message;

    for (int leg = 0; leg < 2; leg++) {
        if (leg == rank) {
            CHECK(transport->send(world, !rank, 1, 0, &part, 1, bytes, &error)
                  == TRANSPORT_OK);
            while (transport->reap(world) == NULL) {
            }
        }
        else {
            message = receive(world);
            CHECK(transport->take(world, 0, bytes, &error) == TRANSPORT_OK);
        }
    }
    (void)message;
}

static double
time_turns(void (*one)(char *, size_t), char *bytes, size_t size)
{
    int turns = size < 100000 ? 20000 : 40;
    double start = now();

    for (int i = 0; i < turns; i++) {
        if (i == turns / 10) {
            start = now();          /* the first tenth warms up */
        }
        one(bytes, size);
    }
    return (now() - start) / (turns - turns / 10);
}

/* Round trips beside those of MPI_Send and MPI_Recv.  Asserts nothing. */
static void
speed(void)
{
    static const size_t sizes[] = {
        8, 1024, 4096, 4097, 16384, 1 << 20, 8 << 20, 64 << 20,
    };

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && rank < 2; i++) {
        char *bytes = calloc(sizes[i], 1);
        double raw = time_turns(raw_turn, bytes, sizes[i]);
        double cooked = time_turns(turn, bytes, sizes[i]);
        if (rank == 0) {
            printf("speed: %9zu bytes: MPI %9.2f us, transport %9.2f us, "
                   "%.2f times\n",
                   sizes[i], 1e6 * raw, 1e6 * cooked, cooked / raw);
        }
        free(bytes);
    }
}

/* --- Main --- */

static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
    {"echo", echo},
    {"discard", discard},
    {"multicast", multicast},
    {"multicast_unread", multicast_unread},
    {"mistakes", mistakes},
    {"huge", huge},
    {"flood", flood},
    {"words", words},
    {"open_twice", open_twice},
    {"intercommunicator", intercommunicator},
    {"halves", halves},
    {"freed", freed},
    {"farewell", farewell},
    {"crossed", crossed},
    {"closing", closing},
    {"finalized", finalized},
    {"stuck", stuck},
    {"stuck_sending", stuck_sending},
    {"owing", owing},
    {"aborting", aborting},
    {"idle", idle},
    {"interrupt", interrupt},
    {"threads", threads},
    {"speed", speed},
};

static void
begin(void)
{
    int first;
    char library[200];

    CHECK(transport->version == TRANSPORT_VERSION);
    CHECK(transport->size == sizeof(struct transport));
    CHECK(transport->check(library, sizeof(library), &error) == TRANSPORT_OK);
    if (guest) {
        MPI_Init(NULL, NULL);
    }
    CHECK(transport->start(&first, &error) == TRANSPORT_OK && first);
    CHECK(transport->start(&first, &error) == TRANSPORT_OK && !first);
    world = open_mailbox(TRANSPORT_WORLD);
    rank = transport->rank(world);
    ranks = transport->ranks(world);
}

/* With a second argument somebody else starts and ends MPI. */
int
main(int argc, char **argv)
{
    guest = argc > 2;
    begin();
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (argc > 1 && strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run();
            if (guest) {
                MPI_Finalize();
            }
            transport->leave();
            return 0;
        }
    }
    fprintf(stderr, "usage: transport_test SCENARIO [guest]\n");
    return 2;
}
