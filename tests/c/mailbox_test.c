/* mailbox_test.c -- mailbox, inbox, outbox, multicast and frame over a wire in
   memory.

   All ranks live in this one process.  A wire's message keeps pointing to the
   sender's memory until it is accepted, as a large one over MPI does, or is
   copied at once, as a small one may be.  The k-th call can be made to
   fail.  Where ranks wait for each other each has a thread. */

#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "letters.h"
#include "mailbox.h"
#include "outbox.h"
#include "patience.h"
#include "multicast.h"

#define RANKS 33
#define FAREWELL 500
#define CHECK(condition) check((condition), #condition, __LINE__)

struct mail {
    struct letter letter;
    struct mail *made; /* before it, in this world */
    const void *base; /* the sender's memory, or copy */
    void *copy;
    int accepted;
};

struct memory_wire {
    struct wire wire;
    struct letter *first; /* what is on its way to this rank */
};

static struct {
    struct memory_wire wires[RANKS];
    struct mailbox *boxes[RANKS];
    struct mail *mails; /* all that were made */
    int slow; /* looks until an accepted frame is here */
    size_t large[RANKS]; /* bytes that a rank sent in large messages */
    int eager;
    int calls;
    int fail_at; /* 0: never */
    int allocations; /* of the mailboxes */
    int short_at; /* memory, then; 0: never */
    int aborted; /* the code */
    jmp_buf abort;
} world;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the world */
static _Thread_local struct transport_error error;

static void
check(int good, const char *text, int line)
{
    if (!good) {
        printf("line %d: %s (last error: %s: %s)\n", line, text,
               error.call ? error.call : "none", error.text);
        exit(1);
    }
}

/* ---- memory, which the linker has all ask for here ---------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static int
is_short(void)
{
    return world.short_at > 0 && ++world.allocations == world.short_at;
}

void *
__wrap_malloc(size_t size)
{
    return is_short() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return is_short() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
    return is_short() ? NULL : __real_realloc(old, size);
}

/* ---- the wire in memory ------------------------------------------------ */

int
wire_fail(struct wire *wire, const char *call, const char *text)
{
    wire->error.call = call;
    snprintf(wire->error.text, sizeof(wire->error.text), "%s", text);
    return TRANSPORT_FAILED;
}

static int
fails(struct wire *wire)
{
    CHECK(wire->error.call == NULL); /* a broken wire is left alone */
    if (++world.calls != world.fail_at) {
        return 0;
    }
    wire_fail(wire, "wire", "made to fail");
    return 1;
}

static int
locked_send(struct wire *wire, const void *base, size_t size, int rank,
            int tag, struct wire_slot *request)
{
    struct mail *mail;

    if (fails(wire)) {
        return TRANSPORT_FAILED;
    }
    mail = __real_calloc(1, sizeof(*mail));
    mail->made = world.mails;
    world.mails = mail;
    mail->letter = (struct letter){NULL, wire->rank, tag, size};
    world.large[wire->rank] += size > 4096 ? size : 0;
    mail->base = base;
    if (world.eager) {
        mail->copy = __real_malloc(size);
        mail->base = memcpy(mail->copy, base, size);
    }
    letters_add(&world.wires[rank].first, &mail->letter);
    request->room = mail;
    return TRANSPORT_OK;
}

static int
locked_look(struct wire *wire, int source, int tag,
            struct wire_arrival *arrival)
{
    if (fails(wire)) {
        return TRANSPORT_FAILED;
    }
    return letters_take(&((struct memory_wire *)wire)->first, source, tag,
                        arrival);
}

static int
locked_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
              struct wire_slot *request)
{
    struct mail *mail = arrival->slot.room;

    request->room = NULL;
    if (fails(wire)) {
        return TRANSPORT_FAILED;
    }
    if (mail->letter.size > 0) {
        memcpy(base, mail->base, mail->letter.size);
    }
    mail->accepted = 1;
    return TRANSPORT_OK;
}

static int
locked_test(struct wire *wire, struct wire_slot *request)
{
    struct mail *mail = request->room;

    if (fails(wire)) {
        return TRANSPORT_FAILED;
    }
    if (mail == NULL && world.slow > 0) {
        world.slow--;
        return TRANSPORT_NOTHING;
    }
    return mail == NULL || mail->accepted || world.eager ? TRANSPORT_OK
                                                         : TRANSPORT_NOTHING;
}

int
wire_send(struct wire *wire, const void *base, size_t size, int rank, int tag,
          struct wire_slot *request)
{
    int status;

    pthread_mutex_lock(&lock);
    status = locked_send(wire, base, size, rank, tag, request);
    pthread_mutex_unlock(&lock);
    return status;
}

int
wire_look(struct wire *wire, int source, int tag, struct wire_arrival *arrival)
{
    int status;

    pthread_mutex_lock(&lock);
    status = locked_look(wire, source, tag, arrival);
    pthread_mutex_unlock(&lock);
    return status;
}

int
wire_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
            struct wire_slot *request)
{
    int status;

    pthread_mutex_lock(&lock);
    status = locked_accept(wire, arrival, base, request);
    pthread_mutex_unlock(&lock);
    return status;
}

int
wire_test(struct wire *wire, struct wire_slot *request)
{
    int status;

    pthread_mutex_lock(&lock);
    status = locked_test(wire, request);
    pthread_mutex_unlock(&lock);
    return status;
}

int
wire_sleep(struct wire *wire, double seconds, struct alarm *alarm)
{
    (void)wire, (void)seconds, (void)alarm;
    return 0;
}

static _Atomic uint64_t words[RANKS];

void
wire_look_well(struct wire *wire)
{
    (void)wire; /* all ways are one */
}

_Atomic uint64_t *
wire_word(const struct wire *wire, int rank)
{
    CHECK(rank >= 0 && rank < wire->ranks);
    return &words[rank];
}

void
wire_drop(struct wire_slot *request)
{
    CHECK(request == NULL); /* none is cut off here */
}

void
wire_end(struct wire *wire)
{
    (void)wire;
}

void
wire_close(struct wire *wire)
{
    CHECK(((struct memory_wire *)wire)->first == NULL);
    CHECK(mailbox_closed(world.boxes[wire->rank])); /* its words go */
    wire_fail(wire, "close", "closed");
}

void
wire_abort(int code)
{
    world.aborted = code;
    longjmp(world.abort, 1);
}

/* Mailboxes stay in memory for good; the sanitizer, which looks for leaks,
   finds them here. */
static struct mailbox *kept[20000];
static size_t kept_count;

static void
make_world(int ranks, int eager)
{
    static const struct transport_farewell farewell = {FAREWELL, "bye", 3};
    struct mailbox *last = NULL;

    for (struct mail *mail = world.mails, *made; mail; mail = made) {
        made = mail->made;
        free(mail->copy);
        free(mail);
    }
    memset(&world, 0, sizeof(world));
    memset(&error, 0, sizeof(error));
    world.eager = eager;
    for (int rank = 0; rank < ranks; rank++) {
        world.wires[rank].wire.rank = rank;
        world.wires[rank].wire.ranks = ranks;
        last = mailbox_new(&world.wires[rank].wire, 0, &farewell, last);
        world.boxes[rank] = last;
        kept[kept_count++] = last;
    }
}

/* ---- messages ---------------------------------------------------------- */

#define PARTS 7
static const size_t part_sizes[PARTS] = {4096, 0, 1, 4097, 4095, 100000, 8192};
static unsigned char bytes[PARTS][100000];
static _Thread_local unsigned char copy[100000];

static void
send_parts(int from, int to, int verb, size_t count)
{
    struct transport_part parts[PARTS];

    for (size_t i = 0; i < count; i++) {
        memset(bytes[i], (int)i + 1, part_sizes[i]);
        parts[i] = (struct transport_part){bytes[i], part_sizes[i]};
    }
    CHECK(mailbox_send(world.boxes[from], to, verb, 0, parts, count, bytes,
                       &error)
          == TRANSPORT_OK);
}

static struct transport_message
receive(int rank)
{
    struct transport_message message;

    CHECK(mailbox_wait(world.boxes[rank], 1, &message, &error)
          == TRANSPORT_OK);
    return message;
}

static void
check_part(int rank, const struct transport_message *message, size_t i)
{
    CHECK(message->parts[i].size == part_sizes[i]);
    CHECK((message->parts[i].base == NULL) == (part_sizes[i] > 4096));
    CHECK(mailbox_take(world.boxes[rank], i, copy, &error) == TRANSPORT_OK);
    for (size_t at = 0; at < part_sizes[i]; at++) {
        CHECK(copy[at] == i + 1);
    }
}

static void
test_messages(int eager)
{
    struct transport_message message;

    make_world(2, eager);
    for (size_t count = 0; count <= PARTS; count++) {
        send_parts(0, 1, (int)count, count);
    }
    for (size_t count = 0; count <= PARTS; count++) {
        message = receive(1);
        CHECK(message.source == 0 && message.verb == (int)count);
        CHECK(message.count == count);
        for (size_t i = count % 2; i < count; i += 1 + count % 2) {
            check_part(1, &message, i); /* all, or some: the rest is dropped */
        }
    }
    CHECK(mailbox_wait(world.boxes[1], 0, &message, &error)
          == TRANSPORT_NOTHING); /* it drops the rest of the last one */
    CHECK(mailbox_flush(world.boxes[0], 1, &error) == TRANSPORT_OK);
    for (size_t count = 0; count <= PARTS; count++) {
        CHECK(mailbox_reap(world.boxes[0]) == bytes);
    }
    CHECK(mailbox_reap(world.boxes[0]) == NULL);
}

/* The wire is asked of ranks that there are. */
static void
test_words(void)
{
    make_world(3, 0);
    CHECK(mailbox_word(world.boxes[0], 2) == &words[2]);
    CHECK(mailbox_word(world.boxes[2], 0) == &words[0]);
    CHECK(mailbox_word(world.boxes[0], -1) == NULL);
    CHECK(mailbox_word(world.boxes[0], 3) == NULL);
    CHECK(mailbox_word(world.boxes[0], INT_MIN) == NULL);
    CHECK(mailbox_word(world.boxes[2], INT_MAX) == NULL);
}

/* Small parts are inside up to a limit for all of them together. */
static void
test_many_small_parts(void)
{
    struct transport_part parts[100];
    struct transport_message message;
    int inside = 0;

    make_world(2, 1);
    for (int i = 0; i < 100; i++) {
        parts[i] = (struct transport_part){bytes[0], 1000};
    }
    CHECK(mailbox_send(world.boxes[0], 1, 1, 0, parts, 100, parts, &error)
          == TRANSPORT_OK);
    message = receive(1);
    for (size_t i = 0; i < 100; i++) {
        inside += message.parts[i].base != NULL;
        CHECK(mailbox_take(world.boxes[1], i, copy, &error) == TRANSPORT_OK);
    }
    CHECK(inside == 16 && message.parts[0].base != NULL);
}

static void
test_pieces(void)
{
    size_t size = 2 * PIECE_BYTES + 5;
    unsigned char *from = calloc(size, 1), *to = malloc(size);
    struct transport_part part = {from, size};

    make_world(2, 0);
    from[PIECE_BYTES - 1] = 1;
    from[PIECE_BYTES] = 2;
    from[size - 1] = 3;
    CHECK(mailbox_send(world.boxes[0], 1, 1, 0, &part, 1, from, &error)
          == TRANSPORT_OK);
    receive(1);
    CHECK(mailbox_reap(world.boxes[0]) == NULL);
    CHECK(mailbox_take(world.boxes[1], 0, to, &error) == TRANSPORT_OK);
    CHECK(memcmp(from, to, size) == 0);
    CHECK(mailbox_reap(world.boxes[0]) == from);
    free(from);
    free(to);
}

/* One rank that does not receive holds up no other's tokens, however many
   messages wait for it. */
static void
test_slow_rank(void)
{
    struct transport_part part = {bytes[0], 5000};

    make_world(3, 0);
    for (int i = 0; i < 200; i++) {
        CHECK(mailbox_send(world.boxes[0], 1, 1, 0, &part, 1, bytes[1], &error)
              == TRANSPORT_OK);
    }
    for (int i = 0; i < 200; i++) {
        void *token = NULL;
        CHECK(mailbox_send(world.boxes[0], 2, 1, 0, &part, 1, bytes[2], &error)
              == TRANSPORT_OK);
        receive(2);
        CHECK(mailbox_take(world.boxes[2], 0, copy, &error) == TRANSPORT_OK);
        for (int tries = 0; tries < 20 && token == NULL; tries++) {
            token = mailbox_reap(world.boxes[0]);
        }
        CHECK(token == bytes[2]);
    }
}

/* ---- to many ranks ----------------------------------------------------- */

/* A rank that gets the messages 0, 1 and 2, of which 1 is the one to all. */
static void *
receive_three(void *number)
{
    int rank = *(int *)number;
    struct transport_message message;

    for (int verb = 0; verb < 3; verb++) {
        message = receive(rank);
        CHECK(message.source == 0 && message.verb == verb);
        CHECK(message.count == PARTS);
        for (size_t i = 0; i < PARTS && rank % 3 > 0; i += (size_t)rank % 3) {
            check_part(rank, &message, i); /* or drops some, or all */
        }
    }
    CHECK(mailbox_wait(world.boxes[rank], 0, &message, &error)
          == TRANSPORT_NOTHING);
    return NULL;
}

/* Each rank gets a message of its own before and after the one to all.
   Returns how many copies of that one rank 0 sent. */
static size_t
send_to_all(int ranks)
{
    struct transport_part parts[PARTS];
    int to[RANKS];
    size_t one;

    for (int rank = 1; rank < ranks; rank++) {
        to[rank - 1] = rank;
        send_parts(0, rank, 0, PARTS);
    }
    for (size_t i = 0; i < PARTS; i++) {
        parts[i] = (struct transport_part){bytes[i], part_sizes[i]};
    }
    one = world.large[0] / ((size_t)ranks - 1);
    world.large[0] = 0;
    CHECK(mailbox_multicast(world.boxes[0], to, (size_t)ranks - 1, 1, parts,
                            PARTS, to, &error)
          == TRANSPORT_OK);
    CHECK(world.large[0] % one == 0);
    one = world.large[0] / one;
    for (int rank = 1; rank < ranks; rank++) {
        send_parts(0, rank, 2, PARTS);
    }
    return one;
}

static void
test_multicast(int eager, int ranks)
{
    pthread_t threads[RANKS];
    int numbers[RANKS];
    size_t rounds = 0;

    make_world(ranks, eager);
    while (1 << rounds < ranks) {
        rounds++;
    }
    CHECK(send_to_all(ranks) == rounds);
    for (int rank = ranks - 1; rank > 0; rank--) {
        numbers[rank] = rank;
        CHECK(
            pthread_create(&threads[rank], NULL, receive_three, &numbers[rank])
            == 0);
    }
    for (int rank = 1; rank < ranks; rank++) {
        CHECK(pthread_join(threads[rank], NULL) == 0);
    }
    CHECK(mailbox_flush(world.boxes[0], 1, &error) == TRANSPORT_OK);
    for (int token = 0; token < 2 * (ranks - 1) + 1; token++) {
        CHECK(mailbox_reap(world.boxes[0]) != NULL);
    }
    CHECK(mailbox_reap(world.boxes[0]) == NULL);
}

static void
test_wrong_multicast(void)
{
    int ranks[3] = {1, 2, 3};
    struct transport_part part = {bytes, 1};

    make_world(3, 1);
    for (size_t receivers = 0; receivers <= 3; receivers += 3) {
        CHECK(mailbox_multicast(world.boxes[0], ranks, receivers, 1, &part, 1,
                                bytes, &error)
              < 0);
    }
    for (int other = 1; other >= 0; other--) {
        ranks[1] = other;
        CHECK(mailbox_multicast(world.boxes[0], ranks, 2, 1, &part, 1, bytes,
                                &error)
              < 0);
    }
    ranks[0] = 0;
    CHECK(
        mailbox_multicast(world.boxes[1], ranks, 1, 1, &part, 1, bytes, &error)
        < 0);
    CHECK(mailbox_reap(world.boxes[0]) == NULL);
}

/* ---- interrupts -------------------------------------------------------- */

#define INTERRUPTS 100000
#define LONG 1000.0 /* seconds: a wait that ends by itself */

static _Atomic int interrupts_seen;

/* How long rank 0 waits for nothing. */
static double
wait_in_vain(double seconds)
{
    struct transport_message message;
    double start = patience_now();

    CHECK(mailbox_wait(world.boxes[0], seconds, &message, &error)
          == TRANSPORT_NOTHING);
    return patience_now() - start;
}

/* It ends one wait, the next one, however often it was asked for; and not
   without NOTHING, so one that finds a message leaves it to another. */
static void
test_interrupt_before(void)
{
    make_world(2, 1);
    mailbox_interrupt(world.boxes[0]);
    mailbox_interrupt(world.boxes[0]);
    CHECK(wait_in_vain(LONG) < LONG / 2);
    CHECK(wait_in_vain(0.02) >= 0.02);
    send_parts(1, 0, 7, 1);
    mailbox_interrupt(world.boxes[0]);
    CHECK(receive(0).verb == 7);
    CHECK(wait_in_vain(LONG) < LONG / 2);
    CHECK(wait_in_vain(0.02) >= 0.02);
    send_parts(1, 0, 8, 1);
    CHECK(receive(0).verb == 8);
}

static void *
interrupt_later(void *unused)
{
    usleep(20000);
    mailbox_interrupt(world.boxes[0]);
    return unused;
}

static void
test_interrupt_during(int crowded)
{
    pthread_t thread;

    make_world(2, 1);
    world.wires[0].wire.crowded = crowded;
    CHECK(pthread_create(&thread, NULL, interrupt_later, NULL) == 0);
    CHECK(wait_in_vain(LONG) < LONG / 2);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(wait_in_vain(0.02) >= 0.02);
}

static void *
interrupt_in_turn(void *unused)
{
    for (int i = 0; i < INTERRUPTS; i++) {
        mailbox_interrupt(world.boxes[0]);
        while (interrupts_seen == i) {
            sched_yield();
        }
    }
    return unused;
}

static void
test_no_interrupt_is_lost(void)
{
    pthread_t thread;

    make_world(2, 1);
    interrupts_seen = 0;
    CHECK(pthread_create(&thread, NULL, interrupt_in_turn, NULL) == 0);
    for (int i = 0; i < INTERRUPTS; i++) {
        CHECK(wait_in_vain(LONG) < LONG / 2);
        interrupts_seen++;
    }
    CHECK(pthread_join(thread, NULL) == 0);
}

/* ---- messages that nobody should send ---------------------------------- */

static void
deliver(const void *base, size_t size)
{
    static struct wire_slot request;

    make_world(2, 1);
    CHECK(wire_send(&world.wires[0].wire, base, size, 1, 1, &request)
          == TRANSPORT_OK);
}

/* Reads all that the message claims to hold: the sanitizer watches. */
static int
read_all(void)
{
    struct transport_message message;
    int status = mailbox_wait(world.boxes[1], 0, &message, &error);

    for (size_t i = 0; status == TRANSPORT_OK && i < message.count; i++) {
        if (message.parts[i].base != NULL) {
            CHECK(message.parts[i].size <= sizeof(copy));
            memcpy(copy, message.parts[i].base, message.parts[i].size);
        }
    }
    return status;
}

/* A good frame, cut, lengthened, and with every bit of its head turned. */
static void
test_malformed(void)
{
    struct transport_part parts[3] = {{"abc", 3}, {bytes, 9000}, {"defgh", 5}};
    struct frame_plan plan = frame_plan(parts, 3);
    uint64_t frame[16] = {0}; /* aligned */
    unsigned char *raw = (unsigned char *)frame;
    int refused = 0;

    CHECK(plan.size <= sizeof(frame) - 8 && plan.apart == 1);
    frame_pack((struct frame *)raw, parts, 3, 0);
    deliver(raw, plan.size);
    CHECK(read_all() == TRANSPORT_OK);
    for (size_t size = 0; size <= sizeof(frame); size++) {
        deliver(raw, size);
        CHECK(size == plan.size || read_all() == TRANSPORT_FAILED);
    }
    for (size_t bit = 0; bit < 8 * plan.size; bit++) {
        raw[bit / 8] ^= (unsigned char)(1 << bit % 8);
        deliver(raw, plan.size);
        refused += read_all() == TRANSPORT_FAILED;
        raw[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    CHECK(refused > 150); /* most; what is apart may have any size */
}

static void
test_malformed_notes(void)
{
    struct multicast_note note = {.from = 0, .children = {0}};
    struct transport_message message;
    struct wire_slot request;

    for (int wrong = -2; wrong <= 2; wrong++) {
        for (size_t size = 0; size <= sizeof(note) + 8; size++) {
            static unsigned char raw[sizeof(note) + 8];
            int good = size % 4 == 0 && size >= 4 && size <= sizeof(note)
                       && (wrong == 0 || wrong == 2);
            note.from = wrong;
            memcpy(raw, &note, sizeof(note));
            make_world(3, 1);
            CHECK(wire_send(&world.wires[0].wire, raw, size, 1, NOTE_TAG,
                            &request)
                  == TRANSPORT_OK);
            CHECK((mailbox_wait(world.boxes[1], 0, &message, &error)
                   == TRANSPORT_NOTHING)
                  == good);
        }
    }
}

/* A note to rank 0, and one where the message of another is to come. */
static void
test_notes_out_of_place(void)
{
    struct multicast_note note = {.from = 2};
    struct transport_message message;
    struct wire_slot request;
    size_t size = multicast_note_size(0);

    make_world(3, 1);
    CHECK(wire_send(&world.wires[1].wire, &note, size, 0, NOTE_TAG, &request)
          == TRANSPORT_OK);
    CHECK(mailbox_wait(world.boxes[0], 0, &message, &error) < 0);
    CHECK(strstr(error.text, "out of place") != NULL);
    make_world(3, 1);
    CHECK(wire_send(&world.wires[0].wire, &note, size, 1, NOTE_TAG, &request)
          == TRANSPORT_OK);
    CHECK(wire_send(&world.wires[2].wire, &note, size, 1, NOTE_TAG, &request)
          == TRANSPORT_OK);
    CHECK(mailbox_wait(world.boxes[1], 0, &message, &error) < 0);
    CHECK(strstr(error.text, "out of place") != NULL);
}

/* ---- the end ----------------------------------------------------------- */

/* All mailboxes of one world, ended as those of one process are. */
static void
end_all(int ranks)
{
    mailbox_end(world.boxes[ranks - 1], NULL);
}

/* Messages of all kinds, few of which are received: FAILED, or OK.  In one
   thread nobody can wait for those it passes messages on to. */
static int
exchange(int ranks)
{
    static const struct transport_part parts[3] = {
        {bytes[0], 100}, {bytes[1], 70000}, {bytes[2], 5000}};
    struct transport_message message;
    int others[3] = {1, 2, 3};
    int status = TRANSPORT_OK;

    if (world.eager) {
        status = mailbox_multicast(world.boxes[0], others, (size_t)ranks - 1,
                                   1, parts, 3, bytes, &error);
    }
    for (int i = 0; i < 3 * ranks && status == TRANSPORT_OK; i++) {
        int rank = 1 + i % (ranks - 1);
        status = mailbox_send(world.boxes[i % 2 ? 0 : rank], i % 2 ? rank : 0,
                              i, 0, parts, 3, bytes, &error);
    }
    if (status == TRANSPORT_OK) {
        status = mailbox_wait(world.boxes[0], 0, &message, &error);
    }
    if (status == TRANSPORT_OK) {
        status = mailbox_take(world.boxes[0], 2, copy, &error);
    }
    return status == TRANSPORT_FAILED ? status : TRANSPORT_OK;
}

static void
check_ended(int ranks)
{
    struct transport_message message;
    struct transport_part part = {bytes, 1};

    for (int rank = 0; rank < ranks; rank++) {
        struct mailbox *mailbox = world.boxes[rank];
        CHECK(mailbox_closed(mailbox));
        CHECK(mailbox_wait(mailbox, 1, &message, &error) < 0);
        CHECK(mailbox_take(mailbox, 0, copy, &error) < 0);
        CHECK(mailbox_flush(mailbox, 1, &error) < 0);
        CHECK(mailbox_send(mailbox, !rank, 1, 0, &part, 1, bytes, &error) < 0);
        CHECK(strcmp(error.text, "closed") == 0);
        while (mailbox_reap(mailbox) != NULL) {
        }
    }
}

static void
test_end(int eager)
{
    make_world(4, eager);
    CHECK(exchange(4) == TRANSPORT_OK);
    end_all(4);
    check_ended(4);
    end_all(4); /* once more does nothing */
}

/* What mailbox_end prints where it aborts; "" where it does not. */
static const char *
line_of_end(struct mailbox *first)
{
    static char line[200];
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    size_t size;

    dup2(fileno(file), STDERR_FILENO);
    if (setjmp(world.abort) == 0) {
        mailbox_end(first, NULL);
    }
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(file);
    size = fread(line, 1, sizeof(line) - 1, file);
    line[size] = '\0';
    fclose(file);
    return line;
}

/* A frame that is there, but whose bytes come slowly: nobody waits for it. */
static void
test_slow_frame(void)
{
    struct transport_part part = {bytes, 100};
    struct transport_message message;

    make_world(2, 1);
    CHECK(mailbox_send(world.boxes[0], 1, 4, 0, &part, 1, bytes, &error)
          == TRANSPORT_OK);
    world.slow = 2;
    for (int i = 0; i < 2; i++) {
        CHECK(mailbox_wait(world.boxes[1], 0, &message, &error)
              == TRANSPORT_NOTHING);
    }
    CHECK(mailbox_wait(world.boxes[1], 0, &message, &error) == TRANSPORT_OK);
    CHECK(message.verb == 4 && message.count == 1);
    CHECK(memcmp(message.parts[0].base, bytes, 100) == 0);
    CHECK(mailbox_wait(world.boxes[1], 0, &message, &error)
          == TRANSPORT_NOTHING);
}

/* A worker that hears the farewell while it serves. */
static void
test_close(void)
{
    struct transport_message message;

    make_world(2, 1);
    CHECK(mailbox_close(world.boxes[1], &error) < 0);
    CHECK(mailbox_close(world.boxes[0], &error) < 0);
    mailbox_set_ending(world.boxes[0], 0, 3);
    line_of_end(world.boxes[0]); /* it speaks, and gives up */
    CHECK(world.aborted == 3);
    message = receive(1);
    CHECK(message.verb == FAREWELL && message.count == 1);
    CHECK(memcmp(message.parts[0].base, "bye", 3) == 0);
    CHECK(mailbox_wait(world.boxes[1], 9, &message, &error)
          == TRANSPORT_NOTHING);
    CHECK(mailbox_close(world.boxes[1], &error) == TRANSPORT_OK);
    CHECK(mailbox_close(world.boxes[1], &error) == TRANSPORT_OK);
    CHECK(mailbox_closed(world.boxes[1]));
    CHECK(mailbox_send(world.boxes[1], 0, 1, 0, NULL, 0, bytes, &error) < 0);
}

static void
test_late(void)
{
    make_world(3, 1);
    mailbox_set_ending(world.boxes[0], 0.01, 7);
    CHECK(strcmp(line_of_end(world.boxes[0]),
                 "ezmpi: ranks 1, 2 still work 0.01 s after rank 0 ended; "
                 "aborting the job\n")
          == 0);
    CHECK(world.aborted == 7);
    make_world(9, 1);
    mailbox_set_ending(world.boxes[0], 0, 7);
    CHECK(strstr(line_of_end(world.boxes[0]), "ranks 1, 2, 3, 4 and 4 more")
          != NULL);
    make_world(2, 1);
    mailbox_set_ending(world.boxes[0], 0, 7);
    CHECK(strstr(line_of_end(world.boxes[0]), "rank 1 still works 0 s")
          != NULL);
    make_world(2, 1);
    mailbox_set_ending(world.boxes[0], 0, TRANSPORT_OWN_CODE);
    world.aborted = -1;
    CHECK(strstr(line_of_end(world.boxes[0]), "rank 1 still works 0 s")
          != NULL);
    CHECK(world.aborted < 0);
}

/* The frame has come, what is apart never does. */
static void
test_late_pieces(void)
{
    static struct wire_slot request;
    struct transport_part part = {bytes, 9000};
    uint64_t frame[2]; /* head and one size */

    make_world(2, 1);
    frame_pack((struct frame *)frame, &part, 1, 0);
    CHECK(wire_send(&world.wires[1].wire, frame, sizeof(frame), 0, 1, &request)
          == TRANSPORT_OK);
    mailbox_set_ending(world.boxes[0], 0.01, 7);
    CHECK(strstr(line_of_end(world.boxes[0]), "rank 1 still works 0.01 s")
          != NULL);
    CHECK(world.aborted == 7);
}

/* An interrupt that no wait has seen does not keep the end from sleeping. */
static void
test_end_after_interrupt(void)
{
    clock_t start = clock();

    make_world(2, 1);
    mailbox_interrupt(world.boxes[0]);
    mailbox_set_ending(world.boxes[0], 0.4, 7);
    line_of_end(world.boxes[0]);
    CHECK((double)(clock() - start) < 0.2 * CLOCKS_PER_SEC);
    mailbox_interrupt(world.boxes[0]);
}

static void
test_owing(void)
{
    struct transport_part part = {bytes, 100};

    make_world(2, 1);
    CHECK(mailbox_send(world.boxes[0], 1, 1, 1, &part, 1, bytes, &error)
          == TRANSPORT_OK);
    CHECK(strcmp(line_of_end(world.boxes[1]),
                 "ezmpi: rank 0 gave work to rank 1, which has ended; "
                 "aborting the job\n")
          == 0);
    CHECK(world.aborted == 1);
}

/* The wire breaks at its k-th call, for every k: the caller is told, or in
   the end the job is. */
static void
test_faults(int eager)
{
    int told = 0, aborted = 0;

    for (int k = 1;; k++) {
        const char *line;
        make_world(4, eager);
        world.fail_at = k;
        told += exchange(4) == TRANSPORT_FAILED;
        line = line_of_end(world.boxes[3]);
        if (world.calls < k) {
            check_ended(4);
            break;
        }
        aborted += world.aborted == 1;
        CHECK(strcmp(line, "ezmpi: wire: made to fail; aborting the job\n")
              == 0);
    }
    CHECK(told > 10 && aborted > told);
}

#define SHORT(text) "ezmpi: malloc: " text "; aborting the job\n"

/* What is dropped is a part of exchange's messages that is apart. */
static int
says_short(const char *line)
{
    return strcmp(line, SHORT("out of memory")) == 0
           || strcmp(line, SHORT("no memory for 70000 bytes of a message"))
                  == 0
           || strcmp(line, SHORT("no memory for 5000 bytes of a message"))
                  == 0;
}

/* The k-th allocation fails: the same. */
static void
test_short_memory(int eager)
{
    int told = 0, ended = 0;

    for (int k = 1; !ended; k++) {
        const char *line;
        make_world(4, eager);
        world.short_at = k;
        told += exchange(4) == TRANSPORT_FAILED;
        line = line_of_end(world.boxes[3]);
        ended = world.allocations < k;
        CHECK(ended || says_short(line));
    }
    CHECK(told > 3);
}

static void
test_short_of_mailboxes(void)
{
    struct transport_farewell farewell = {FAREWELL, "bye", 3};
    struct mailbox *mailbox = NULL;

    make_world(2, 0);
    for (int k = 1; k == 1 || mailbox == NULL; k++) {
        world.allocations = 0;
        world.short_at = k;
        mailbox = mailbox_new(&world.wires[0].wire, 0, &farewell, NULL);
        CHECK((mailbox == NULL) == (world.allocations >= k));
    }
    world.short_at = 0;
    kept[kept_count++] = mailbox;
}

int
main(void)
{
    for (int eager = 0; eager < 2; eager++) {
        test_messages(eager);
        test_end(eager);
        test_faults(eager);
        test_short_memory(eager);
        for (int ranks = 2; ranks <= RANKS; ranks++) {
            test_multicast(eager, ranks);
        }
    }
    test_short_of_mailboxes();
    test_words();
    test_wrong_multicast();
    test_malformed_notes();
    test_notes_out_of_place();
    test_many_small_parts();
    test_pieces();
    test_slow_rank();
    test_interrupt_before();
    for (int crowded = 0; crowded < 2; crowded++) {
        test_interrupt_during(crowded);
    }
    test_no_interrupt_is_lost();
    test_malformed();
    test_slow_frame();
    test_close();
    test_late();
    test_late_pieces();
    test_end_after_interrupt();
    test_owing();
    make_world(0, 0);
    return 0;
}
