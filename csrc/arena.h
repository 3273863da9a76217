/* arena.h -- memory for large buffers, which a worker's rank shares with its
   child: what comes from the master is put into a block of it, and the child
   looks at it there.  A block is taken anew when neither needs it.

   Tasks may change what they see, for it is nobody else's; what they fork sees
   copies, as of all of their memory.  Plain C. */

#ifndef EZMPI_ARENA_H
#define EZMPI_ARENA_H

#include <stddef.h>

#define ARENA_LEAST ((size_t)1 << 18) /* bytes; fewer are copied as fast */
#define ARENA_BLOCKS 64

struct arena;

/* ---- in the worker's rank: the guard ---------------------------------- */

/* Forks share it.  NULL: out of memory, or not on this system. */
struct arena *arena_new(void);

/* A block of at least so many bytes.  NULL: there is none. */
void *arena_take(struct arena *arena, size_t size);
/* The rank does not need it any more. */
void arena_leave(struct arena *arena, void *base);
/* The child gets it, once, too: its number; -1: base is no block's. */
int arena_lend(struct arena *arena, const void *base);
/* The child has ended; or it was killed, and is not gone yet, for it is stuck
   in the kernel, reading a file that no server sends: which may yet be written
   to the blocks that it has.  These are never taken again. */
void arena_reclaim(struct arena *arena, int is_gone);
/* What nobody needs goes back to the system: all of it, or what nobody has
   needed since this was called last. */
void arena_trim(struct arena *arena, int all);

/* ---- in the child ----------------------------------------------------- */

/* Once, after the fork.  -1: no memory. */
int arena_enter(struct arena *arena);
/* Where a block is that it got.  NULL: no memory; it was given back. */
void *arena_look(struct arena *arena, int block, size_t size);
/* It does not need the block any more.  Does nothing in what a task forked. */
void arena_give_back(struct arena *arena, int block);

#endif
