/* pipe_test.c -- a pipe between two threads: every byte, in order. */

#include "check.h"
#include "pipe.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define BYTES ((size_t)3 << 20)
#define MOST 100000                 /* at one go: more than a pipe holds */

static struct pipe pipe_between;

static unsigned char
byte_at(size_t at)
{
    return (unsigned char)(at * 2654435761u >> 13);
}

static size_t
size_of_next(unsigned *state)
{
    *state = *state * 1103515245u + 12345u;
    return (*state >> 16) % (*state >> 8 & 1 ? 100 : MOST) + 1;
}

static void *
write_all(void *unused)
{
    struct pipe_end end = {&pipe_between, 0, 0};
    unsigned char *bytes = malloc(MOST);
    unsigned state = 1;

    (void)unused;
    for (size_t done = 0; done < BYTES;) {
        size_t size = size_of_next(&state), written = 0;
        for (size_t i = 0; i < size; i++) {
            bytes[i] = byte_at(done + i);
        }
        while (written < size) {
            size_t now = pipe_write(&end, bytes + written, size - written);
            written += now;
            if (now == 0) {
                sched_yield();
            }
        }
        done += size;
    }
    free(bytes);
    return NULL;
}

static void
read_all(void)
{
    struct pipe_end end = {&pipe_between, 0, 0};
    unsigned char *bytes = malloc(MOST);
    unsigned state = 2;

    for (size_t done = 0; done < BYTES;) {
        size_t wanted = size_of_next(&state);
        int holds = pipe_holds(&end, wanted);
        size_t now = pipe_read(&end, bytes, wanted);
        CHECK(now <= wanted && (!holds || now == wanted));
        for (size_t i = 0; i < now; i++) {
            CHECK(bytes[i] == byte_at(done + i));
        }
        done += now;
        if (now == 0) {
            sched_yield();
        }
    }
    free(bytes);
}

static void
test_full(void)
{
    static struct pipe pipe;
    static unsigned char bytes[PIPE_BYTES + 1];
    struct pipe_end in = {&pipe, 0, 0}, out = {&pipe, 0, 0};

    CHECK(pipe_read(&in, bytes, 1) == 0);
    CHECK(pipe_has_room(&out, PIPE_BYTES));
    CHECK(!pipe_has_room(&out, PIPE_BYTES + 1));
    CHECK(pipe_write(&out, bytes, PIPE_BYTES + 1) == PIPE_BYTES);
    CHECK(pipe_write(&out, bytes, 1) == 0);
    CHECK(pipe_read(&in, bytes, 1) == 1);
    CHECK(pipe_write(&out, bytes, 2) == 1);
    CHECK(pipe_holds(&in, PIPE_BYTES));
    CHECK(!pipe_holds(&in, PIPE_BYTES + 1));
}

/* Something else wrote over the counters: nothing is read or written. */
static void
test_torn(void)
{
    static const uint64_t lies[] = {PIPE_BYTES + 1, 1u << 31, UINT64_MAX / 2,
                                    UINT64_MAX};
    static struct pipe pipe;
    unsigned char bytes[8] = {0};

    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct pipe_end in = {&pipe, 0, 0}, out = {&pipe, 0, 0};
        atomic_store(&pipe.written, lies[i]);
        pipe_holds(&in, 1);
        CHECK(pipe_is_torn(&in));
        CHECK(pipe_read(&in, bytes, sizeof(bytes)) == 0);
        atomic_store(&pipe.read, lies[i]);
        CHECK(!pipe_has_room(&out, PIPE_BYTES + 1));
        out.mine = PIPE_BYTES; /* it is full, and has to look */
        CHECK(!pipe_has_room(&out, 1) && pipe_is_torn_off(&out));
        CHECK(pipe_write(&out, bytes, 1) == 0);
    }
}

int
main(void)
{
    pthread_t writer;

    test_full();
    test_torn();
    CHECK(pthread_create(&writer, NULL, write_all, NULL) == 0);
    read_all();
    CHECK(pthread_join(writer, NULL) == 0);
    return 0;
}
