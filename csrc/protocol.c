/* protocol.c -- the header as bytes: its fields in the order of struct
   header, each little-endian, without gaps. */

#include "protocol.h"

static unsigned char *
put(unsigned char *bytes, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(value >> (8 * i));
    return bytes + size;
}

static uint64_t
get(const unsigned char **bytes, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)(*bytes)[i] << (8 * i);
    *bytes += size;
    return value;
}

void
header_pack(const struct header *header, unsigned char *bytes)
{
    bytes = put(bytes, header->job, 8);
    bytes = put(bytes, header->first, 8);
    bytes = put(bytes, header->count, 8);
    bytes = put(bytes, header->callable, 8);
    bytes = put(bytes, header->pool, 8);
    bytes = put(bytes, header->elapsed, 8);
    bytes = put(bytes, header->timeout, 8);
    bytes = put(bytes, header->flags, 4);
    put(bytes, header->slot, 4);
}

int
header_unpack(struct header *header, const void *bytes, size_t size)
{
    const unsigned char *at = bytes;
    if (size != HEADER_SIZE)
        return -1;
    header->job = get(&at, 8);
    header->first = get(&at, 8);
    header->count = get(&at, 8);
    header->callable = get(&at, 8);
    header->pool = get(&at, 8);
    header->elapsed = get(&at, 8);
    header->timeout = get(&at, 8);
    header->flags = (uint32_t)get(&at, 4);
    header->slot = (uint32_t)get(&at, 4);
    return 0;
}
