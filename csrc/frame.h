/* frame.h -- the parts of a message as one range of bytes.

   A frame holds the sizes of all parts and the bytes of the small ones, each
   at a multiple of 8; the others travel apart from it.  Plain C: no MPI, no
   Python.  A frame begins at a multiple of 8 in memory. */

#ifndef EZMPI_FRAME_H
#define EZMPI_FRAME_H

#include <stddef.h>

#include "transport.h"

struct frame;

struct frame_plan {
    size_t size;                    /* bytes of the frame */
    size_t apart;                   /* parts that do not travel in it */
    size_t apart_bytes;
};

/* Whether so many parts fit a frame, whose length must fit an int. */
int frame_holds(size_t count);

struct frame_plan frame_plan(const struct transport_part *parts, size_t count);

/* Fills a frame of the planned size. */
void frame_pack(struct frame *frame, const struct transport_part *parts,
                size_t count, int expects);

int frame_is_apart(const struct frame *frame, size_t index);
int frame_expects(const struct frame *frame);

/* These believe nothing that size bytes do not bear out.  They return NULL,
   or what is wrong.  frame_unpack fills as many parts as frame_count told;
   their bases point into the frame, or are NULL for parts that are apart. */
const char *frame_count(const struct frame *frame, size_t size, size_t *count);
const char *frame_unpack(const struct frame *frame, size_t size,
                         struct transport_part *parts);

#endif
