/* pipe.h -- bytes from one process to another through memory that both see.

   One end writes, the other reads, and neither ever waits.  Neither believes
   a counter of the other's that cannot be: a pipe that something else wrote
   into is torn, and nothing more comes or goes.  Plain C. */

#ifndef EZMPI_PIPE_H
#define EZMPI_PIPE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define PIPE_BYTES 32768u           /* a power of two */
#define PIPE_LINE 64                /* bytes that processors exchange */

/* In shared memory, all zero at first.  A line for each counter, so that
   neither end takes the other's. */
struct pipe {
    _Alignas(PIPE_LINE) _Atomic uint64_t written;   /* bytes, ever */
    _Alignas(PIPE_LINE) _Atomic uint64_t read;
    _Alignas(PIPE_LINE) unsigned char bytes[PIPE_BYTES];
};

/* One process's end: its own counter, and the last that it saw of the
   other's. */
struct pipe_end {
    struct pipe *pipe;              /* NULL: none */
    uint64_t mine;
    uint64_t other;
};

static inline int
pipe_is_torn(const struct pipe_end *reader)
{
    return reader->other - reader->mine > PIPE_BYTES;
}

static inline int
pipe_is_torn_off(const struct pipe_end *writer)
{
    return writer->mine - writer->other > PIPE_BYTES;
}

/* Room for size bytes? */
int pipe_has_room(struct pipe_end *end, size_t size);
/* As many of size bytes as there is room for, seen by the reader all at once;
   returns how many. */
size_t pipe_write(struct pipe_end *end, const void *base, size_t size);

/* Are size bytes there to be read? */
int pipe_holds(struct pipe_end *end, size_t size);
/* As many of size bytes as are there; returns how many. */
size_t pipe_read(struct pipe_end *end, void *base, size_t size);

#endif
