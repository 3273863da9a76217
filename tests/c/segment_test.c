/* segment_test.c -- another process finds the segment by its invitation, and
   by no other that is like it. */

#include "segment.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counting.h"

#define PEERS 70
#define ME 67                       /* its bell is in the second word */
#define PATIENCE 60                 /* seconds that either process has */
#define LONG 1000.0                 /* seconds; nothing sleeps so long */
#define CHECK(condition) check((condition), #condition, __LINE__)

static void
check(int good, const char *text, int line)
{
    if (!good) {
        printf("line %d: %s\n", line, text);
        fflush(stdout);
        _exit(1);
    }
}

static int
is_mapped(void *address)
{
    unsigned char resident;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    return mincore((void *)((uintptr_t)address / page * page), 1, &resident)
           == 0;
}

static int
came(void *end)
{
    return pipe_holds(end, 1);
}

/* Does one by one what the other does between. */
static void
take_turns(_Atomic uint64_t *word, uint64_t mine)
{
    for (uint64_t i = mine; i < STEPS / 100; i += 2) {
        uint64_t turn = 2 * STEPS + i;
        while (!atomic_compare_exchange_weak(word, &turn, turn + 1)) {
            turn = 2 * STEPS + i;
            sched_yield();
        }
    }
}

/* Reads, writes and rings. */
static void
be_peer(const struct segment_invitation *invitation)
{
    struct segment *segment = segment_join(invitation); /* of its own */
    struct pipe_end in = {0}, out = {0};
    char word[4] = "";

    alarm(PATIENCE);
    CHECK(segment != NULL);
    CHECK(*segment_peer_word(segment, ME) == 0);
    in.pipe = segment_pipe(segment, ME, 1);
    out.pipe = segment_pipe(segment, ME, 0);
    while (!pipe_holds(&in, 4)) {
        sleeper_sleep(segment_peer(segment, ME), LONG, came, &in);
    }
    CHECK(pipe_read(&in, word, 4) == 4 && memcmp(word, "ping", 4) == 0);
    CHECK(pipe_write(&out, "pong", 4) == 4);
    segment_ring(segment, ME);
    sleeper_wake(segment_host(segment));
    count_up(segment_peer_word(segment, ME));
    take_turns(segment_peer_word(segment, ME), 1);
    segment_free(segment);
    _exit(0);
}

static void
talk_to_peer(struct segment *segment)
{
    struct pipe_end in = {0}, out = {0};
    char word[4] = "";

    CHECK(segment_map(segment, ME) == 0);
    out.pipe = segment_pipe(segment, ME, 1);
    in.pipe = segment_pipe(segment, ME, 0);
    usleep(20000);                  /* it sleeps by now, most likely */
    CHECK(pipe_write(&out, "ping", 4) == 4);
    sleeper_wake(segment_peer(segment, ME));
    while (!pipe_holds(&in, 4)) {
        sleeper_sleep(segment_host(segment), LONG, came, &in);
    }
    CHECK(pipe_read(&in, word, 4) == 4 && memcmp(word, "pong", 4) == 0);
    CHECK(segment_hear(segment, 0) == 0);
    while (segment_hear(segment, 1) != (uint64_t)1 << (ME - 64)) {
        usleep(1000);
    }
    CHECK(segment_hear(segment, 1) == 0);
}

static void
share_word(struct segment *segment)
{
    _Atomic uint64_t *word = segment_peer_word(segment, ME);

    count_up(word);
    take_turns(word, 0);
    while (*word != 2 * STEPS + STEPS / 100) {
        sched_yield();
    }
}

static void
run_two_processes(void)
{
    struct segment *segment = segment_new(PEERS);
    struct segment_invitation invitation;
    pid_t child;
    int status;

    CHECK(segment != NULL);
    invitation = segment_invite(segment, ME);
    CHECK(is_mapped(segment_host(segment)));
    child = fork();
    if (child == 0) {
        CHECK(!is_mapped(segment_host(segment)));
        be_peer(&invitation);
    }
    talk_to_peer(segment);
    share_word(segment);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    segment_free(segment);
    CHECK(segment_join(&invitation) == NULL); /* it is gone */
}

/* Of a peer, from both sides. */
struct sides {
    struct segment *joined;
    _Atomic uint64_t *peer, *host;
};

static struct sides
join(struct segment *segment, int peer)
{
    struct segment_invitation invitation = segment_invite(segment, peer);
    struct sides sides = {.joined = segment_join(&invitation)};

    CHECK(sides.joined != NULL && segment_map(segment, peer) == 0);
    sides.peer = segment_peer_word(sides.joined, peer);
    sides.host = segment_peer_word(segment, peer);
    return sides;
}

/* Nothing else is in a pair of lines with it. */
static void
check_place(struct segment *segment, int peer)
{
    const size_t pair = 2 * PIPE_LINE;
    uintptr_t word = (uintptr_t)segment_peer_word(segment, peer) / pair;
    uintptr_t pipes[2] = {(uintptr_t)segment_pipe(segment, peer, 0),
                          (uintptr_t)segment_pipe(segment, peer, 1)};

    for (int i = 0; i < 2; i++) {
        uintptr_t last = pipes[i] + sizeof(struct pipe) - 1;
        CHECK(word < pipes[i] / pair || word > last / pair);
    }
    CHECK(word != (uintptr_t)segment_peer(segment, peer) / pair);
    CHECK(word != (uintptr_t)segment_host(segment) / pair);
}

/* Each peer has one, which is what rank 0 sees, and stays zero when all else
   is written. */
static void
run_words(void)
{
    struct segment *segment = segment_new(PEERS);
    struct sides sides[3];
    struct pipe *pipe;

    for (int i = 0; i < 3; i++) {
        sides[i] = join(segment, i * ME / 2);
        CHECK(*sides[i].peer == 0 && *sides[i].host == 0);
        for (int to_peer = 0; to_peer < 2; to_peer++) {
            pipe = segment_pipe(segment, i * ME / 2, to_peer);
            memset(pipe, 0xff, sizeof(*pipe));
        }
        segment_peer(segment, i * ME / 2)->asleep = 1;
        check_place(segment, i * ME / 2);
    }
    for (uint64_t i = 0; i < 3; i++) {
        CHECK(*sides[i].peer == 0 && *sides[i].host == 0);
        *sides[i].host = 100 + i;
    }
    for (uint64_t i = 0; i < 3; i++) {
        CHECK(*sides[i].peer == 100 + i);
        segment_free(sides[i].joined);
        CHECK(*sides[i].host == 100 + i); /* also when the peer is gone */
    }
    segment_free(segment);
}

static void
run_refusals(void)
{
    struct segment *segment = segment_new(PEERS), *other = segment_new(PEERS);
    struct segment_invitation good = segment_invite(segment, ME), bad = good;

    bad.cookie++;
    CHECK(segment_join(&bad) == NULL);
    bad = good;
    bad.peers += 1000;              /* of another size */
    CHECK(segment_join(&bad) == NULL);
    bad = good;
    bad.descriptor = segment_invite(other, ME).descriptor;
    CHECK(segment_join(&bad) == NULL);
    bad.descriptor = 1;             /* not of this kind */
    CHECK(segment_join(&bad) == NULL);
    bad = good;
    bad.process = 1;                /* not ours */
    CHECK(segment_join(&bad) == NULL);
    memset(&bad, 0, sizeof(bad));
    CHECK(segment_join(&bad) == NULL);
    segment_free(other);
    segment_free(segment);
}

static int
open_descriptors(void)
{
    int count = 0;

    for (int descriptor = 0; descriptor < 256; descriptor++) {
        count += fcntl(descriptor, F_GETFD) >= 0;
    }
    return count;
}

int
main(void)
{
    int before = open_descriptors();

    alarm(PATIENCE);
    run_two_processes();
    run_words();
    run_refusals();
    CHECK(open_descriptors() == before);
    return 0;
}
