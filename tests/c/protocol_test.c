/* protocol_test.c -- the header's bytes are these on every machine. */

#include "protocol.h"

#include <stdio.h>
#include <string.h>

static const struct header sample = {
    .job = 0x0807060504030201u,
    .first = 0x100f0e0d0c0b0a09u,
    .count = 0x1817161514131211u,
    .callable = 0x201f1e1d1c1b1a19u,
    .pool = 0x2827262524232221u,
    .elapsed = 0x302f2e2d2c2b2a29u,
    .timeout = 0x3837363534333231u,
    .flags = 0x3c3b3a39u,
    .slot = 0x403f3e3du,
};

/* Packed, the sample reads 1, 2, 3 ... and nothing is written behind it. */
static int
packs(void)
{
    unsigned char bytes[HEADER_SIZE + 1] = {0};
    header_pack(&sample, bytes);
    for (unsigned i = 0; i < HEADER_SIZE; i++) {
        if (bytes[i] != i + 1)
            return 0;
    }
    return bytes[HEADER_SIZE] == 0;
}

static int
unpacks(void)
{
    unsigned char bytes[HEADER_SIZE];
    struct header header;
    memset(&header, 0xff, sizeof(header));
    header_pack(&sample, bytes);
    return header_unpack(&header, bytes, sizeof(bytes)) == 0
           && memcmp(&header, &sample, sizeof(header)) == 0;
}

static int
refuses(size_t size)
{
    unsigned char bytes[2 * HEADER_SIZE] = {0};
    struct header header;
    return header_unpack(&header, bytes, size) == -1;
}

int
main(void)
{
    int right = packs() && unpacks() && refuses(0) && refuses(HEADER_SIZE - 1)
                && refuses(HEADER_SIZE + 1);
    puts(right ? "ok" : "wrong");
    return !right;
}
