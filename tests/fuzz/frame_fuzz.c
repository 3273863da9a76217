/* frame_fuzz.c -- libFuzzer on what the transport makes of bytes: frames, and
   the headers and notes in them.

   What is believed must be borne out by the bytes: each part lies within the
   frame, and what was unpacked packs to the same. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "protocol.h"
#include "multicast.h"
#include "wire.h"

#define RANKS 9

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* multicast.c passes bytes on; here nobody gets them. */
int
wire_send(struct wire *wire, const void *base, size_t size, int rank, int tag,
          struct wire_slot *request)
{
    (void)wire, (void)base, (void)size, (void)rank, (void)tag, (void)request;
    return TRANSPORT_OK;
}

int
wire_test(struct wire *wire, struct wire_slot *request)
{
    (void)wire, (void)request;
    return TRANSPORT_OK;
}

static void
must(int holds)
{
    if (!holds)
        abort();
}

static void
try_header(const void *bytes, size_t size)
{
    struct header header;
    unsigned char packed[HEADER_SIZE];

    if (header_unpack(&header, bytes, size) < 0) {
        must(size != HEADER_SIZE);
        return;
    }
    header_pack(&header, packed);
    must(memcmp(packed, bytes, size) == 0);
}

static void
try_note(const void *bytes, size_t size)
{
    struct wire wire = {.rank = 1, .ranks = RANKS};
    struct multicast multicast = {.wire = &wire};

    if (size > sizeof(multicast.note))
        return;
    if (size > 0)
        memcpy(&multicast.note, bytes, size);
    if (multicast_begin(&multicast, size) != NULL)
        return;
    must(multicast.children <= TREE_CHILDREN && multicast.awaited);
    for (size_t i = 0; i < multicast.children; i++)
        must(multicast.note.children[i] >= 0
             && multicast.note.children[i] < RANKS);
}

/* Every byte that is promised, so that a sanitizer sees it read. */
static void
read_all(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        (void)*(const volatile unsigned char *)&bytes[i];
}

static void
try_parts(const struct frame *frame, size_t size, size_t count)
{
    struct transport_part *parts = calloc(count + 1, sizeof(*parts));

    if (parts == NULL)
        abort();
    if (frame_unpack(frame, size, parts) == NULL) {
        for (size_t i = 0; i < count; i++) {
            must((parts[i].base == NULL) == frame_is_apart(frame, i));
            if (parts[i].base != NULL)
                read_all(parts[i].base, parts[i].size);
        }
        if (count > 0 && parts[0].base != NULL)
            try_header(parts[0].base, parts[0].size);
    }
    free(parts);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame *frame = malloc(size + 1); /* aligned, and its end known */
    size_t count;

    if (frame == NULL)
        abort();
    if (size > 0)
        memcpy(frame, data, size);
    if (frame_count(frame, size, &count) == NULL) {
        must(count <= size / sizeof(uint64_t));
        try_parts(frame, size, count);
    }
    try_header(data, size);
    try_note(data, size);
    free(frame);
    return 0;
}
