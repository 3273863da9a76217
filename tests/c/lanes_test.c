/* lanes_test.c -- the wire over a link in memory and real shared memory.

   Each rank is a thread.  Rank 0 and all others send each other messages, some
   with a piece behind them, while lanes open; the link delays what it has.
   Each rank checks that what it gets from another comes in order.  Some ranks
   are on another host; some runs end before the lanes are open.  And there is
   a word that rank 0 shares with each. */

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "alarm.h"
#include "check.h"
#include "lanes.h"
#include "letters.h"
#include "link.h"
#include "wire.h"

#define MOST_RANKS 70               /* bells of more than one word */
#define SMALL 300
#define LARGE 100000                /* more than a pipe holds */
#define BRIEF 1e-3 /* seconds, where the link may have mail */
#define LONG 1000.0                 /* where any message wakes the sleeper */

struct mail {
    struct letter letter;
    unsigned char bytes[];
};

struct message {
    int number; /* by sender and receiver */
    int has_piece;
    unsigned char filling[LARGE];
};

/* What a rank has sent and waits for. */
struct outgoing {
    struct outgoing *next;
    struct wire_slot slot;
    struct message message;
};

struct rank {
    struct wire wire; /* first: a wire is a rank */
    unsigned state; /* of its random numbers */
    struct letter *first;
    struct outgoing *outgoing;
    int sent[MOST_RANKS];
    int received[MOST_RANKS];
    int ends_after; /* messages, at rank 0 */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct rank ranks[MOST_RANKS];
static int all;                     /* ranks, */
static unsigned largest = LARGE;
static int messages;                /* from rank 0 to each, and back */
static int away; /* this rank has no shared memory */

static unsigned
draw(struct rank *rank, unsigned below)
{
    rank->state = rank->state * 1103515245u + 12345u;
    return (rank->state >> 16) % below;
}

/* ---- a link in memory -------------------------------------------------- */

int
wire_fail(struct wire *wire, const char *call, const char *text)
{
    printf("rank %d: %s: %s\n", wire->rank, call, text);
    exit(1);
}

int
link_send(struct wire *wire, const void *base, size_t size, int rank, int tag,
          struct wire_slot *request)
{
    struct mail *mail = malloc(sizeof(*mail) + size);

    mail->letter = (struct letter){NULL, wire->rank, tag, size};
    if (size > 0) {
        memcpy(mail->bytes, base, size);
    }
    request->room = NULL;
    if (tag == LANE_TAG && wire->rank != 0) { /* before rank 0 hears it */
        CHECK((wire_word(wire, 0) != NULL) == (*(const int *)base != 0));
    }
    if (tag == LANE_TAG && rank == away && size > sizeof(int)) {
        struct segment_invitation *invitation = (void *)mail->bytes;
        invitation->process = 0; /* it leads nowhere */
    }
    pthread_mutex_lock(&lock);
    letters_add(&ranks[rank].first, &mail->letter);
    pthread_mutex_unlock(&lock);
    return TRANSPORT_OK;
}

int
link_look(struct wire *wire, int source, int tag, struct wire_arrival *arrival)
{
    struct rank *rank = (struct rank *)wire;
    int status;

    if (draw(rank, 4) > 0) {
        return TRANSPORT_NOTHING;
    }
    pthread_mutex_lock(&lock);
    status = letters_take(&rank->first, source, tag, arrival);
    pthread_mutex_unlock(&lock);
    return status;
}

int
link_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
            struct wire_slot *request)
{
    struct mail *mail = arrival->slot.room;

    (void)wire;
    if (mail->letter.size > 0) {
        memcpy(base, mail->bytes, mail->letter.size);
    }
    free(mail);
    request->room = NULL;
    return TRANSPORT_OK;
}

int
link_test(struct wire *wire, struct wire_slot *request)
{
    (void)request;
    return draw((struct rank *)wire, 3) == 0 ? TRANSPORT_OK
                                             : TRANSPORT_NOTHING;
}

void
link_progress(struct wire *wire)
{
    (void)wire;
}

void
link_close(struct wire *wire)
{
    CHECK(((struct rank *)wire)->first == NULL);
}

/* ---- a rank ------------------------------------------------------------ */

static int
has_to_send(const struct rank *rank)
{
    int first = rank->wire.rank == 0 ? 1 : 0;
    int end = rank->wire.rank == 0 ? all : 1;

    for (int other = first; other < end; other++) {
        if (rank->sent[other] < messages) {
            return 1;
        }
    }
    return 0;
}

static void
forget_sent(struct rank *rank)
{
    struct outgoing **link = &rank->outgoing;

    while (*link != NULL) {
        struct outgoing *outgoing = *link;
        if (wire_test(&rank->wire, &outgoing->slot) == TRANSPORT_NOTHING) {
            link = &outgoing->next;
            continue;
        }
        *link = outgoing->next;
        free(outgoing);
    }
}

static struct outgoing *
new_outgoing(struct rank *rank, int number, size_t filling)
{
    struct outgoing *outgoing = malloc(sizeof(*outgoing));

    outgoing->next = rank->outgoing;
    rank->outgoing = outgoing;
    outgoing->message.number = number;
    outgoing->message.has_piece = 0;
    memset(outgoing->message.filling, number, filling);
    return outgoing;
}

static void
send(struct rank *rank, int to)
{
    int number = rank->sent[to]++;
    size_t filling = draw(rank, draw(rank, 9) ? SMALL : largest);
    size_t size = 2 * sizeof(int) + filling;
    struct outgoing *outgoing = new_outgoing(rank, number, filling), *piece;
    struct message *message = &outgoing->message;

    message->has_piece = draw(rank, 3) == 0;
    CHECK(
        wire_send(&rank->wire, message, size, to, number % 7, &outgoing->slot)
        == TRANSPORT_OK);
    if (message->has_piece) {
        piece = new_outgoing(rank, number, filling);
        CHECK(wire_send(&rank->wire, &piece->message, size, to, PIECE_TAG,
                        &piece->slot)
              == TRANSPORT_OK);
    }
}

static void
receive_now(struct rank *rank, struct wire_arrival *arrival, int number,
            int *has_piece)
{
    struct message *message = calloc(1, sizeof(*message));
    struct wire_slot slot;
    size_t filling = arrival->size - 2 * sizeof(int);

    CHECK(arrival->size <= sizeof(*message));
    CHECK(wire_accept(&rank->wire, arrival, message, &slot) == TRANSPORT_OK);
    while (wire_test(&rank->wire, &slot) == TRANSPORT_NOTHING) {
        forget_sent(rank);
        sched_yield();
    }
    CHECK(message->number == number);
    for (size_t i = 0; i < filling; i++) {
        CHECK(message->filling[i] == (unsigned char)number);
    }
    *has_piece = message->has_piece;
    free(message);
}

static int
is_through(const struct rank *rank)
{
    int first = rank->wire.rank == 0 ? 1 : 0;
    int end = rank->wire.rank == 0 ? all : 1;

    for (int other = first; other < end; other++) {
        if (rank->received[other] < messages) {
            return 0;
        }
    }
    return !has_to_send(rank) && rank->outgoing == NULL;
}

/* Is there a lane that is going to be open, and is not yet? */
static int
expects_lane(struct rank *rank)
{
    struct lanes *lanes = rank->wire.lanes;

    if (rank->ends_after >= 0) {
        return 0;
    }
    if (rank->wire.rank != 0) {
        return lanes_to(lanes, 0) != NULL && lanes_need_link(lanes, 0);
    }
    for (int other = 1; lanes != NULL && other < all; other++) {
        if (other != away && lanes_need_link(lanes, other)) {
            return 1;
        }
    }
    return 0;
}

static int
is_done(struct rank *rank)
{
    return is_through(rank) && !expects_lane(rank);
}

/* With nothing left to do but to receive, until that wakes it. */
static void
rest(struct rank *rank)
{
    int from = rank->wire.rank == 0 ? WIRE_ANY : 0;
    double seconds = lanes_need_link(rank->wire.lanes, from) ? BRIEF : LONG;

    if (rank->outgoing != NULL || has_to_send(rank) || is_done(rank)
        || !wire_sleep(&rank->wire, seconds, NULL)) {
        sched_yield();
    }
}

static void
receive(struct rank *rank)
{
    int from = rank->wire.rank == 0 ? WIRE_ANY : 0, number, has_piece, none;
    struct wire_arrival arrival;

    if (wire_look(&rank->wire, from, WIRE_ANY, &arrival) != TRANSPORT_OK) {
        rest(rank);
        return;
    }
    from = arrival.source;
    number = rank->received[from]++;
    CHECK(arrival.tag == number % 7);
    receive_now(rank, &arrival, number, &has_piece);
    if (!has_piece) {
        return;
    }
    while (wire_look(&rank->wire, from, PIECE_TAG, &arrival)
           == TRANSPORT_NOTHING) {
        forget_sent(rank);
        sched_yield();
    }
    receive_now(rank, &arrival, number, &none);
}

static void *
run(void *argument)
{
    struct rank *rank = argument;
    int me = rank->wire.rank;

    CHECK(wire_open(&rank->wire) == TRANSPORT_OK);
    while (!is_done(rank)) {
        int to = me == 0 ? 1 + (int)draw(rank, (unsigned)all - 1) : 0;
        if (rank->sent[to] < messages && draw(rank, 2)) {
            send(rank, to);
        }
        if (me == 0 && rank->ends_after >= 0
            && rank->sent[1] >= rank->ends_after) {
            wire_end(&rank->wire);
        }
        receive(rank);
        forget_sent(rank);
    }
    return NULL;
}

static int
open_lanes(void)
{
    int count = 0;

    for (int rank = 1; rank < all; rank++) {
        count += lanes_to(ranks[0].wire.lanes, rank) != NULL;
    }
    return count;
}

static void
start(unsigned seed, int ends_after)
{
    memset(ranks, 0, sizeof(ranks));
    for (int i = 0; i < all; i++) {
        ranks[i].wire.rank = i;
        ranks[i].wire.ranks = all;
        ranks[i].state = seed * 100 + (unsigned)i;
        ranks[i].ends_after = ends_after;
    }
}

/* What one side writes the other reads, where rank 0 has a word; is there
   one? */
static int
share_word(int rank)
{
    _Atomic uint64_t *host = wire_word(&ranks[0].wire, rank);
    _Atomic uint64_t *peer = wire_word(&ranks[rank].wire, 0);

    if (host == NULL) {
        return 0;
    }
    CHECK(peer != NULL && *host == 0 && *peer == 0);
    *host = 10 * (uint64_t)rank;
    CHECK(atomic_fetch_add(peer, 1) == 10 * (uint64_t)rank);
    CHECK(*host == 10 * (uint64_t)rank + 1);
    return 1;
}

static void
check_words(int expected)
{
    int count = 0;

    CHECK(wire_word(&ranks[0].wire, 0) == NULL);
    for (int rank = 1; rank < all; rank++) {
        CHECK(wire_word(&ranks[rank].wire, rank) == NULL);
        count += share_word(rank);
    }
    CHECK(count == expected);
}

/* What is said of lanes may come after all messages, and be answered: as
   before a farewell, it is heard. */
static void
hear_greetings(void)
{
    struct wire_arrival arrival;

    for (int i = 0; i < all; i++) {
        int from = i == 0 ? WIRE_ANY : 0;
        while (ranks[i].first != NULL) {
            CHECK(wire_look(&ranks[i].wire, from, WIRE_ANY, &arrival)
                  == TRANSPORT_NOTHING);
        }
        i = ranks[0].first != NULL ? -1 : i;    /* again from rank 0 on */
    }
}

/* Returns how many lanes were open at the end. */
static int
finish(void)
{
    int count;

    hear_greetings();
    count = open_lanes();

    check_words(ranks[0].ends_after < 0 ? count : 0);
    for (int i = 0; i < all; i++) {
        wire_end(&ranks[i].wire);
        CHECK(wire_word(&ranks[i].wire, i == 0) == NULL);
        wire_close(&ranks[i].wire);
        CHECK(wire_word(&ranks[i].wire, i == 0) == NULL);
    }
    return count;
}

static int
run_all(unsigned seed, int ends_after)
{
    pthread_t threads[MOST_RANKS];

    start(seed, ends_after);
    for (int i = 0; i < all; i++) {
        CHECK(pthread_create(&threads[i], NULL, run, &ranks[i]) == 0);
    }
    for (int i = 0; i < all; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
    return finish();
}

/* Two that have much to say are heard in turn. */
static void
run_turns(unsigned seed)
{
    all = 3;
    messages = 0;
    away = -1;
    largest = SMALL;                /* nobody reads meanwhile */
    start(seed, -1);
    for (int i = 0; i < all; i++) {
        CHECK(wire_open(&ranks[i].wire) == TRANSPORT_OK);
    }
    while (!is_done(&ranks[0]) || !is_done(&ranks[1]) || !is_done(&ranks[2])) {
        for (int i = 0; i < all; i++) {
            receive(&ranks[i]);
        }
    }
    messages = 3;
    for (int i = 0; i < messages; i++) {
        send(&ranks[1], 0);
        send(&ranks[2], 0);
    }
    while (ranks[0].received[1] < messages
           || ranks[0].received[2] < messages) {
        int ahead = ranks[0].received[1] - ranks[0].received[2];
        CHECK(ahead >= -1 && ahead <= 1);
        receive(&ranks[0]);
    }
    while (ranks[1].outgoing != NULL || ranks[2].outgoing != NULL) {
        forget_sent(&ranks[1]);
        forget_sent(&ranks[2]);
    }
    finish();
    largest = LARGE;
}

/* One with much to say by its lane does not keep another's waiting, which come
   over the link. */
static void
run_both_ways(unsigned seed)
{
    all = 3;
    messages = 0;
    away = 2;
    largest = SMALL;
    start(seed, -1);
    for (int i = 0; i < all; i++) {
        CHECK(wire_open(&ranks[i].wire) == TRANSPORT_OK);
    }
    while (!is_done(&ranks[0]) || !is_done(&ranks[1])) {
        for (int i = 0; i < all; i++) {
            receive(&ranks[i]);
        }
    }
    messages = 60;
    for (int i = 0; i < messages; i++) {
        send(&ranks[1], 0);
    }
    send(&ranks[2], 0);
    while (ranks[0].received[2] == 0) {
        receive(&ranks[0]);
    }
    CHECK(ranks[0].received[1] < messages);
    while (ranks[0].received[1] < messages) {
        receive(&ranks[0]);
    }
    while (ranks[1].outgoing != NULL || ranks[2].outgoing != NULL) {
        forget_sent(&ranks[1]);
        forget_sent(&ranks[2]);
    }
    CHECK(finish() == 1);
    largest = LARGE;
}

/* The words that were seen last: by rank 0, and by the others. */
struct seen {
    _Atomic uint64_t *host[MOST_RANKS], *peer[MOST_RANKS];
};

/* None goes, none changes, and rank 0 has none that the other does not have.
   Returns how many rank 0 has. */
static int
look_at_words(struct seen *seen)
{
    int count = 0;

    for (int rank = 1; rank < all; rank++) {
        _Atomic uint64_t *host = wire_word(&ranks[0].wire, rank);
        _Atomic uint64_t *peer = wire_word(&ranks[rank].wire, 0);
        CHECK(seen->host[rank] == NULL || seen->host[rank] == host);
        CHECK(seen->peer[rank] == NULL || seen->peer[rank] == peer);
        CHECK(host == NULL || peer != NULL);
        CHECK(rank != away || peer == NULL);
        seen->host[rank] = host;
        seen->peer[rank] = peer;
        count += host != NULL;
    }
    return count;
}

/* Has all been said of lanes? */
static int
is_settled(void)
{
    for (int i = 0; i < all; i++) {
        if (!is_done(&ranks[i]) || ranks[i].first != NULL) {
            return 0;
        }
    }
    return 1;
}

/* None is there at first; they come while lanes open. */
static void
run_words(unsigned seed)
{
    struct seen seen = {{0}, {0}};

    all = 5;
    messages = 0;
    away = 2;
    start(seed, -1);
    for (int i = 0; i < all; i++) {
        CHECK(wire_open(&ranks[i].wire) == TRANSPORT_OK);
        CHECK(look_at_words(&seen) == 0 && seen.peer[1] == NULL);
    }
    while (!is_settled()) {
        for (int i = 0; i < all; i++) {
            receive(&ranks[i]);
            look_at_words(&seen);
        }
    }
    CHECK(look_at_words(&seen) == all - 2);
    CHECK(finish() == all - 2);
}

#define INTERRUPTS 1000

struct sleeping {
    struct rank *rank;
    struct alarm alarm;
    _Atomic int heard;
};

static void *
sleep_till_rung(void *sleeping_)
{
    struct sleeping *sleeping = sleeping_;

    for (int i = 0; i < INTERRUPTS; i++) {
        while (!alarm_hear(&sleeping->alarm)) {
            CHECK(wire_sleep(&sleeping->rank->wire, LONG, &sleeping->alarm));
        }
        sleeping->heard++;
    }
    return NULL;
}

/* Who sleeps for messages is woken by the alarm, too. */
static void
interrupt(struct rank *rank)
{
    struct sleeping sleeping = {.rank = rank};
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, sleep_till_rung, &sleeping) == 0);
    for (int i = 0; i < INTERRUPTS; i++) {
        alarm_ring(&sleeping.alarm);
        while (sleeping.heard == i) {
            sched_yield();
        }
    }
    CHECK(pthread_join(thread, NULL) == 0);
}

static void
run_interrupted(unsigned seed)
{
    all = 2;
    messages = 0;
    away = -1;
    start(seed, -1);
    for (int i = 0; i < all; i++) {
        CHECK(wire_open(&ranks[i].wire) == TRANSPORT_OK);
    }
    while (!is_done(&ranks[0]) || !is_done(&ranks[1])) {
        for (int i = 0; i < all; i++) {
            receive(&ranks[i]);
        }
    }
    for (int i = 0; i < all; i++) {
        interrupt(&ranks[i]);
    }
    CHECK(finish() == 1);
}

/* Where no file can be had, messages go over the link. */
static void
run_without_memory(unsigned seed)
{
    struct rlimit usual, none;

    CHECK(getrlimit(RLIMIT_NOFILE, &usual) == 0);
    none = usual;
    none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    all = 3;
    messages = 20;
    away = -1;
    CHECK(run_all(seed, -1) == 0);
    CHECK(setrlimit(RLIMIT_NOFILE, &usual) == 0);
}

static void
run_few(unsigned seed)
{
    all = 5;
    messages = 150;
    away = -1;
    CHECK(run_all(seed, -1) == all - 1);
    away = 2;
    CHECK(run_all(seed, -1) == all - 2);
    CHECK(run_all(seed, 0) == 0);
    run_all(seed, 10);
}

/* One that says one thing as soon as it may, and no more, is heard. */
static void
run_brief(unsigned seed)
{
    all = 3;
    messages = 1;
    away = -1;
    CHECK(run_all(seed, -1) == all - 1);
}

static void
run_many(unsigned seed)
{
    all = MOST_RANKS;
    messages = 20;
    away = 3;
    CHECK(run_all(seed, -1) == all - 2);
}

static void
run_switched_off(unsigned seed)
{
    all = 5;
    messages = 150;
    away = -1;
    setenv("EZMPI_SHARED_MEMORY", "0", 1);
    CHECK(run_all(seed, -1) == 0);
    setenv("EZMPI_SHARED_MEMORY", "off", 1);
    CHECK(run_all(seed, -1) == 0);
    setenv("EZMPI_SHARED_MEMORY", "1", 1);
    CHECK(run_all(seed, -1) == all - 1);
    unsetenv("EZMPI_SHARED_MEMORY");
}

int
main(void)
{
    for (unsigned seed = 1; seed <= 6; seed++) {
        run_few(seed);
    }
    for (unsigned seed = 1; seed <= 200; seed++) {
        run_brief(seed);
    }
    for (unsigned seed = 1; seed <= 20; seed++) {
        run_words(seed);
    }
    run_turns(1);
    run_both_ways(1);
    run_interrupted(1);
    run_without_memory(1);
    run_many(1);
    run_switched_off(1);
    return 0;
}
