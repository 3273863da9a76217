/* stream_test.c -- messages over a socket, both ends of which are here. */

#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "transport.h"

#define LARGE ((size_t)3 << 20)

struct pair {
    struct stream a, b;
    struct stream_reads by_a, by_b;
};

static void
open_pair(struct pair *pair, int may)
{
    int sockets[2];

    memset(pair, 0, sizeof(*pair));
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0);
    pair->by_a.may = pair->by_b.may = may;
    stream_init(&pair->a, sockets[0], getpid(), &pair->by_a, &pair->by_b);
    stream_init(&pair->b, sockets[1], getpid(), &pair->by_b, &pair->by_a);
}

static void
close_pair(struct pair *pair)
{
    stream_fini(&pair->a);
    stream_fini(&pair->b);
}

static unsigned char *
new_bytes(size_t size, int seed)
{
    unsigned char *bytes = malloc(size);

    CHECK(bytes != NULL);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)(i * 31 + (size_t)seed);
    }
    return bytes;
}

/* Receives the next message, which must be so. */
static void
receive(struct stream *from, struct stream *sender, int tag, size_t size,
        const unsigned char *expected)
{
    unsigned char *base = malloc(size + 1);
    struct move *move = NULL;
    int status;

    while ((status = stream_look(from)) == TRANSPORT_NOTHING) {
        CHECK(stream_push(sender) == TRANSPORT_OK);
    }
    CHECK(status == TRANSPORT_OK && from->in.tag == tag);
    CHECK(from->in.size == size);
    CHECK(stream_look(from) == TRANSPORT_OK);   /* until it is accepted */
    CHECK(stream_accept(from, base, &move) == TRANSPORT_OK);
    while ((status = stream_test(move)) == TRANSPORT_NOTHING) {
        CHECK(stream_push(sender) == TRANSPORT_OK);
    }
    CHECK(status == TRANSPORT_OK && memcmp(base, expected, size) == 0);
    free(base);
}

static void
test_both_ways(int may)
{
    size_t sizes[] = {0, 1, 100, 20000, LARGE};
    struct move *moves[2][5];
    unsigned char *bytes[5];
    struct pair pair;

    open_pair(&pair, may);
    for (int i = 0; i < 5; i++) {
        bytes[i] = new_bytes(sizes[i] + 1, i);
        CHECK(stream_send(&pair.a, bytes[i], sizes[i], i, &moves[0][i]) == 0);
        CHECK(stream_send(&pair.b, bytes[i], sizes[i], -i, &moves[1][i]) == 0);
    }
    CHECK(stream_test(moves[0][4]) == TRANSPORT_NOTHING);
    for (int i = 0; i < 5; i++) {
        receive(&pair.b, &pair.a, i, sizes[i], bytes[i]);
        receive(&pair.a, &pair.b, -i, sizes[i], bytes[i]);
    }
    for (int i = 0; i < 5; i++) {
        CHECK(stream_test(moves[0][i]) == TRANSPORT_OK);
        CHECK(stream_test(moves[1][i]) == TRANSPORT_OK);
        free(bytes[i]);
    }
    CHECK((pair.by_a.done == 2) == may && pair.by_a.done == pair.by_b.done);
    CHECK(stream_look(&pair.a) == TRANSPORT_NOTHING && !pair.a.has_ended);
    close_pair(&pair);
}

static void
test_end(void)
{
    unsigned char *bytes = new_bytes(LARGE, 0);
    struct move *move = NULL;
    struct pair pair;

    open_pair(&pair, 0);            /* between messages */
    stream_fini(&pair.b);
    CHECK(stream_look(&pair.a) == TRANSPORT_NOTHING && pair.a.has_ended);
    CHECK(stream_look(&pair.a) == TRANSPORT_NOTHING);
    errno = EIO;
    CHECK(stream_send(&pair.a, bytes, 5, 1, &move) == TRANSPORT_FAILED);
    CHECK(errno == 0);
    close_pair(&pair);

    open_pair(&pair, 0);            /* in an envelope */
    CHECK(write(pair.b.socket, bytes, 3) == 3);
    stream_fini(&pair.b);
    errno = EIO;
    CHECK(stream_look(&pair.a) == TRANSPORT_FAILED && errno == 0);
    close_pair(&pair);

    open_pair(&pair, 0);            /* in the bytes */
    CHECK(stream_send(&pair.b, bytes, LARGE, 1, &move) == TRANSPORT_OK);
    CHECK(stream_look(&pair.a) == TRANSPORT_OK);
    stream_fini(&pair.b);
    CHECK(stream_accept(&pair.a, bytes, &move) == TRANSPORT_OK);
    errno = EIO;
    CHECK(stream_test(move) == TRANSPORT_FAILED && errno == 0);
    close_pair(&pair);
    free(bytes);
}

/* Whatever is found first. */
static void
test_last_words(int may)
{
    unsigned char *bytes = new_bytes(LARGE, 0);
    struct move *move = NULL;
    struct pair pair;

    open_pair(&pair, may);
    CHECK(stream_send(&pair.a, bytes, 5, 1, &move) == TRANSPORT_OK);
    CHECK(stream_send(&pair.b, bytes, 7, 2, &move) == TRANSPORT_OK);
    stream_fini(&pair.b);           /* it has not read all */
    CHECK(stream_send(&pair.a, bytes, LARGE, 3, &move) == TRANSPORT_FAILED);
    CHECK(errno == 0 && stream_push(&pair.a) == TRANSPORT_FAILED);
    CHECK(stream_goes_out(move) && stream_test(move) == TRANSPORT_NOTHING);
    CHECK(!pair.a.has_ended && stream_look(&pair.a) == TRANSPORT_OK);
    CHECK(stream_accept(&pair.a, bytes, &move) == TRANSPORT_OK);
    CHECK(stream_test(move) == TRANSPORT_OK);
    CHECK(stream_look(&pair.a) == TRANSPORT_NOTHING && pair.a.has_ended);
    close_pair(&pair);
    free(bytes);
}

/* What is lent is read where the envelope says, or not at all. */
static void
test_wrong_envelopes(void)
{
    struct stream_envelope wrong = {7, 1, 100, 8};
    char base[100];
    struct move *move = NULL;
    struct pair pair;

    open_pair(&pair, 1);
    CHECK(write(pair.b.socket, &wrong, sizeof(wrong)) == sizeof(wrong));
    CHECK(stream_look(&pair.a) == TRANSPORT_OK);
    CHECK(stream_accept(&pair.a, base, &move) == TRANSPORT_FAILED);
    CHECK(errno == EFAULT && pair.by_a.done == 0);
    close_pair(&pair);

    open_pair(&pair, 1);
    pair.a.ours = NULL;
    CHECK(write(pair.b.socket, &wrong, sizeof(wrong)) == sizeof(wrong));
    CHECK(stream_look(&pair.a) == TRANSPORT_FAILED && errno == EPROTO);
    close_pair(&pair);
}

int
main(void)
{
    test_both_ways(0);
    test_both_ways(1);
    test_end();
    test_last_words(0);
    test_last_words(1);
    test_wrong_envelopes();
    return 0;
}
