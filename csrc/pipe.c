/* pipe.c -- a ring of bytes and two counters that only grow.

   What is between them is in the pipe.  The writer fills in bytes before it
   counts them (release), the reader looks at the count before the bytes
   (acquire); and the other way round for room.  Neither looks at the other's
   counter, which costs a cache miss, before it has to. */

#include "pipe.h"

#include <string.h>

_Static_assert((PIPE_BYTES & (PIPE_BYTES - 1)) == 0, "no power of two");

static size_t
lower(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* Bytes from a place in the ring to its end. */
static size_t
straight(uint64_t at)
{
    return PIPE_BYTES - (size_t)(at % PIPE_BYTES);
}

static size_t
room(const struct pipe_end *end)
{
    return pipe_is_torn_off(end)
               ? 0
               : PIPE_BYTES - (size_t)(end->mine - end->other);
}

int
pipe_has_room(struct pipe_end *end, size_t size)
{
    if (room(end) >= size) {
        return 1;
    }
    end->other = atomic_load_explicit(&end->pipe->read, memory_order_acquire);
    return room(end) >= size;
}

size_t
pipe_write(struct pipe_end *end, const void *base, size_t size)
{
    unsigned char *bytes = end->pipe->bytes;
    size_t first;

    if (!pipe_has_room(end, size)) {
        size = room(end);
    }
    if (size == 0) {
        return 0;
    }
    first = lower(size, straight(end->mine));
    memcpy(bytes + end->mine % PIPE_BYTES, base, first);
    memcpy(bytes, (const char *)base + first, size - first);
    end->mine += size;
    atomic_store_explicit(&end->pipe->written, end->mine,
                          memory_order_release);
    return size;
}

int
pipe_holds(struct pipe_end *end, size_t size)
{
    if (end->other - end->mine >= size) {
        return 1;
    }
    end->other =
        atomic_load_explicit(&end->pipe->written, memory_order_acquire);
    return end->other - end->mine >= size;
}

size_t
pipe_read(struct pipe_end *end, void *base, size_t size)
{
    const unsigned char *bytes = end->pipe->bytes;
    size_t first;

    if (!pipe_holds(end, size)) {
        size = (size_t)(end->other - end->mine);
    }
    if (size == 0 || pipe_is_torn(end)) {
        return 0;
    }
    first = lower(size, straight(end->mine));
    memcpy(base, bytes + end->mine % PIPE_BYTES, first);
    memcpy((char *)base + first, bytes, size - first);
    end->mine += size;
    atomic_store_explicit(&end->pipe->read, end->mine, memory_order_release);
    return size;
}
