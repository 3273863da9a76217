/* segment_test.c -- another process finds the segment by its invitation, and
   by no other that is like it. */

#include "segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PEERS 70
#define ME 67                       /* its bell is in the second word */
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

/* Reads, writes and rings. */
static void
be_peer(const struct segment_invitation *invitation)
{
    struct segment *segment = segment_join(invitation); /* of its own */
    struct pipe_end in = {0}, out = {0};
    char word[4] = "";

    CHECK(segment != NULL);
    in.pipe = segment_pipe(segment, ME, 1);
    out.pipe = segment_pipe(segment, ME, 0);
    while (!pipe_holds(&in, 4)) {
        sleeper_sleep(segment_peer(segment, ME), LONG, came, &in);
    }
    CHECK(pipe_read(&in, word, 4) == 4 && memcmp(word, "ping", 4) == 0);
    CHECK(pipe_write(&out, "pong", 4) == 4);
    segment_ring(segment, ME);
    sleeper_wake(segment_host(segment));
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
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    segment_free(segment);
    CHECK(segment_join(&invitation) == NULL); /* it is gone */
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

    run_two_processes();
    run_refusals();
    CHECK(open_descriptors() == before);
    return 0;
}
