/* segment.h -- memory that the ranks of one host share: between rank 0 and
   every other rank a pipe each way and a word, a bell for each that rank 0
   hears, and where each sleeps.

   Rank 0 makes it, and invites the others, of whom some may be elsewhere: an
   invitation is bytes that can travel in a message.  What one of these
   forks later has no part in it, and must not call any of this; but ranks that
   are forked processes (family.h) join as others do.  Plain C. */

#ifndef EZMPI_SEGMENT_H
#define EZMPI_SEGMENT_H

#include "pipe.h"
#include "sleeper.h"

#define SEGMENT_WORD 64             /* bells in a word of them */

struct segment;

struct segment_invitation {
    uint64_t cookie;                /* what the segment begins with */
    uint64_t peers;
    int64_t process;
    int32_t descriptor;
    int32_t peer;                   /* 0 to peers - 1 */
};

/* NULL: there is none, for whatever reason.  The memory goes when the last
   process lets go of it, also where that is killed. */
struct segment *segment_new(int peers);
void segment_free(struct segment *segment);

struct segment_invitation
segment_invite(const struct segment *segment, int peer);
/* NULL: it is not for this process, or not to be had from here. */
struct segment *segment_join(const struct segment_invitation *invitation);
/* What follows is there for a peer only once it joined, and rank 0 called this
   for it.  -1: no memory. */
int segment_map(struct segment *segment, int peer);
/* Rank 0: nobody joins, and nothing is mapped, any more. */
void segment_close(struct segment *segment);

struct pipe *
segment_pipe(const struct segment *segment, int peer, int to_peer);

/* Zero at first, and then whatever the two make of it. */
_Atomic uint64_t *segment_peer_word(const struct segment *segment, int peer);

/* The sleep of a peer, and of rank 0, which is always there. */
struct sleeper *segment_peer(const struct segment *segment, int peer);
struct sleeper *segment_host(const struct segment *segment);

/* How many words of bells so many peers take. */
int segment_words(int peers);
/* The peer rings when it has written; rank 0 hears, a word at a time, who
   has since the last time: a bit each. */
void segment_ring(const struct segment *segment, int peer);
uint64_t segment_hear(const struct segment *segment, int word);

#endif
