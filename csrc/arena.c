/* arena.c -- a file without a name, which rank and child map block by block:
   arena.h says which of them calls what.

   Each block has a range of its own in the file, of which only what is used
   takes memory.  Mappings stay for a while, for to touch new pages costs as
   much as to copy them.  The rank's are not handed on by fork; nor are the
   child's as they are: before a task forks, what it looks at becomes a copy,
   since the block may be given back while what was forked still looks. */

#include "arena.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "memfile.h"
#include "unmap.h"

#define BLOCK_SHIFT 36 /* 64 GB for each, of addresses in the file */
#define BLOCK_MOST ((uint64_t)1 << BLOCK_SHIFT)
#define COPIED_AT_ONCE ((size_t)64 << 20)

/* As a process has it mapped. */
struct block {
    void *base; /* NULL: it is not */
    size_t room; /* bytes that are */
    int is_taken; /* the rank receives into it; the child looks at it */
    int was_taken; /* in the rank: since the arena was trimmed */
    int is_lost; /* in the rank: who may write to it is not known */
    size_t size; /* bytes that are used, whole pages */
    enum { SHARED, COPIED, STUCK } is; /* in the child */
};

/* In memory that rank and child share. */
struct tally {
    _Atomic unsigned lent; /* views to come, or there */
    _Atomic int is_punched; /* the child has taken its pages away */
};

struct arena {
    int file;
    dev_t device;
    ino_t inode;
    size_t page;
    struct tally *tallies; /* by block */
    struct block blocks[ARENA_BLOCKS];
    pid_t pid; /* of the child */
};

/* Of the child. */
static struct {
    struct arena *arena; /* it has one guard */
    pthread_mutex_t lock; /* of its blocks */
} child = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- both ------------------------------------------------------------- */

#if HAS_MEMFILES

static void
punch(int file, off_t offset, size_t size)
{
    (void)fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                    (off_t)size);
}

#else

static void
punch(int file, off_t offset, size_t size)
{
    (void)file, (void)offset, (void)size;
}

#endif

static size_t
whole_pages(const struct arena *arena, size_t size)
{
    return (size + arena->page - 1) / arena->page * arena->page;
}

static off_t
offset_of(int block)
{
    return (off_t)((uint64_t)block << BLOCK_SHIFT);
}

/* NULL: no memory. */
static void *
map(const struct arena *arena, int block, size_t size, int how)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, how, arena->file,
                      offset_of(block));

    return base != MAP_FAILED ? base : NULL;
}

/* ---- in the worker's rank: one is made, before there is a child ------- */

#if HAS_MEMFILES

/* Beyond a limit of the user's for files a signal would end the process. */
static int
may_be_large(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_FSIZE, &limit) == 0
           && limit.rlim_cur == RLIM_INFINITY;
}

static int
new_file(void)
{
    int file = may_be_large() ? memfile_new("ezmpi arena") : -1;

    if (file >= 0
        && ftruncate(file, (off_t)(ARENA_BLOCKS * BLOCK_MOST)) != 0) {
        close(file);
        return -1;
    }
    return file;
}

#else

static int
new_file(void)
{
    return -1;
}

#endif

static int
open_file(struct arena *arena)
{
    struct stat status;

    arena->file = new_file();
    if (arena->file < 0 || fstat(arena->file, &status) != 0) {
        return -1;
    }
    arena->device = status.st_dev;
    arena->inode = status.st_ino;
    return 0;
}

struct arena *
arena_new(void)
{
    struct arena *arena = calloc(1, sizeof(*arena));
    size_t size = ARENA_BLOCKS * sizeof(struct tally);
    void *tallies = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (arena == NULL || tallies == MAP_FAILED || open_file(arena) < 0) {
        unmap(tallies != MAP_FAILED ? tallies : NULL, size);
        free(arena);
        return NULL;
    }
    arena->tallies = tallies;
    arena->page = (size_t)sysconf(_SC_PAGESIZE);
    return arena;
}

/* ---- in the worker's rank: the guard ---------------------------------- */

#if HAS_MEMFILES

static void
keep_to_this_process(void *base, size_t size)
{
    (void)madvise(base, size, MADV_DONTFORK);
    (void)madvise(base, size, MADV_DONTDUMP);
}

#else

static void
keep_to_this_process(void *base, size_t size)
{
    (void)base, (void)size;
}

static int
memfile_reserve(int file, off_t offset, size_t size)
{
    (void)file, (void)offset, (void)size;
    return -1;
}

#endif

/* By munmap, since MPI may know the memory. */
static void
drop(struct block *block)
{
    if (block->room > 0) {
        munmap(block->base, block->room);
    }
    *block = (struct block){0};
}

static int
is_free(const struct arena *arena, int block)
{
    return !arena->blocks[block].is_taken && !arena->blocks[block].is_lost
           && atomic_load(&arena->tallies[block].lent) == 0;
}

/* Rather than another: the smallest that is large enough, else the largest,
   so that there are no more than are needed at once. */
static int
is_better(const struct block *block, const struct block *than, size_t size)
{
    int fits = block->room >= size;

    if (than == NULL || fits != (than->room >= size)) {
        return than == NULL || fits;
    }
    return fits ? block->room < than->room : block->room > than->room;
}

static int
enlarge(struct arena *arena, int index, size_t size)
{
    struct block *block = &arena->blocks[index];
    void *base = map(arena, index, size, MAP_SHARED);

    if (base == NULL) {
        return 0;
    }
    keep_to_this_process(base, size);
    if (memfile_reserve(arena->file, offset_of(index), size) < 0) {
        munmap(base, size);
        return 0;
    }
    drop(block);
    block->base = base;
    block->room = size;
    return 1;
}

/* To so many bytes, which are the child's, as is the blame for that much
   memory; the rank does not look at them any more. */
static void
shrink(struct arena *arena, int index, size_t size)
{
    struct block *block = &arena->blocks[index];

    if (block->room > size) {
        punch(arena->file, offset_of(index) + (off_t)size, block->room - size);
        munmap((char *)block->base + size, block->room - size);
        block->room = size;
    }
    if (size > 0) {
        madvise(block->base, size, MADV_DONTNEED);
    }
    else {
        *block = (struct block){0};
    }
}

void
arena_trim(struct arena *arena, int all)
{
    for (int i = 0; arena != NULL && i < ARENA_BLOCKS; i++) {
        struct block *block = &arena->blocks[i];
        int is_idle = all || !block->was_taken;
        if (is_idle && !block->is_taken) {
            shrink(arena, i, is_free(arena, i) ? 0 : block->size);
        }
        block->was_taken = 0;
    }
}

static int
has_room(struct arena *arena, int block, size_t size)
{
    if (arena->blocks[block].room >= size || enlarge(arena, block, size)) {
        return 1;
    }
    arena_trim(arena, 1);
    return enlarge(arena, block, size);
}

void *
arena_take(struct arena *arena, size_t size)
{
    int best = -1;

    size = whole_pages(arena, size);
    for (int i = 0; i < ARENA_BLOCKS && size <= BLOCK_MOST; i++) {
        const struct block *than = best < 0 ? NULL : &arena->blocks[best];
        if (is_free(arena, i) && is_better(&arena->blocks[i], than, size)) {
            best = i;
        }
    }
    if (best < 0) {
        return NULL;
    }
    if (atomic_exchange(&arena->tallies[best].is_punched, 0)) {
        drop(&arena->blocks[best]); /* so that MPI hears of it, too */
    }
    if (!has_room(arena, best, size)) {
        return NULL;
    }
    arena->blocks[best].is_taken = arena->blocks[best].was_taken = 1;
    arena->blocks[best].size = size;
    return arena->blocks[best].base;
}

static int
find(const struct arena *arena, const void *base)
{
    for (int i = 0; i < ARENA_BLOCKS; i++) {
        const struct block *block = &arena->blocks[i];
        if (block->is_taken && block->base == base) {
            return i;
        }
    }
    return -1;
}

void
arena_leave(struct arena *arena, void *base)
{
    int block = find(arena, base);

    if (block >= 0) {
        arena->blocks[block].is_taken = 0;
    }
}

int
arena_lend(struct arena *arena, const void *base)
{
    int block = find(arena, base);

    if (block >= 0) {
        atomic_fetch_add(&arena->tallies[block].lent, 1);
    }
    return block;
}

void
arena_reclaim(struct arena *arena, int is_gone)
{
    for (int i = 0; arena != NULL && i < ARENA_BLOCKS; i++) {
        if (!is_gone && atomic_load(&arena->tallies[i].lent) > 0) {
            arena->blocks[i].is_lost = 1;
        }
        atomic_store(&arena->tallies[i].lent, 0);
    }
}

/* ---- in the child ----------------------------------------------------- */

/* What a task forks has a copy of all this.  It runs after_fork, and
   before_fork where it forks, too, and arena_give_back: by arena->pid these
   leave the blocks alone there. */

#if HAS_MEMFILES

/* The first mapping goes where the second one is. */
static int
replace(void *base, size_t size, void *where)
{
    int how = MREMAP_MAYMOVE | MREMAP_FIXED;

    return mremap(base, size, size, how, where) == where;
}

#else

static int
replace(void *base, size_t size, void *where)
{
    (void)base, (void)size, (void)where;
    return 0;
}

#endif

/* A task may have closed it, and opened another by that number. */
static int
has_file(const struct arena *arena)
{
    struct stat status;

    return fstat(arena->file, &status) == 0 && status.st_dev == arena->device
           && status.st_ino == arena->inode;
}

/* Writes what is there, for other threads of the task may write, too.  A
   compiler may leave out what seems to change nothing, but not this. */
static void
copy_pages(unsigned char *bytes, size_t size, size_t page)
{
    for (size_t i = 0; i < size; i += page) {
        unsigned char is = __atomic_load_n(&bytes[i], __ATOMIC_RELAXED);
        __atomic_compare_exchange_n(&bytes[i], &is, is, 0, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    }
}

/* What was copied is taken away, step by step, or it would be there twice. */
static void
copy(const struct arena *arena, int index, const struct block *block)
{
    size_t step;

    atomic_store(&arena->tallies[index].is_punched, 1);
    for (size_t done = 0; done < block->size; done += step) {
        size_t left = block->size - done;
        step = left < COPIED_AT_ONCE ? left : COPIED_AT_ONCE;
        copy_pages((unsigned char *)block->base + done, step, arena->page);
        punch(arena->file, offset_of(index) + (off_t)done, step);
    }
}

static int
map_privately(const struct arena *arena, int index, const struct block *block)
{
    void *base =
        has_file(arena) ? map(arena, index, block->size, MAP_PRIVATE) : NULL;

    if (base != NULL && !replace(base, block->size, block->base)) {
        unmap(base, block->size);
        return 0;
    }
    return base != NULL;
}

/* What cannot be is not given back. */
static void
make_private(const struct arena *arena, int index, struct block *block)
{
    if (!block->is_taken || block->base == NULL || block->is != SHARED) {
        return;
    }
    block->is = map_privately(arena, index, block) ? COPIED : STUCK;
    if (block->is == COPIED) {
        copy(arena, index, block);
    }
}

static void
before_fork(void)
{
    struct arena *arena = child.arena;

    pthread_mutex_lock(&child.lock);
    for (int i = 0; i < ARENA_BLOCKS && arena->pid == getpid(); i++) {
        make_private(arena, i, &arena->blocks[i]);
    }
}

static void
after_fork(void)
{
    pthread_mutex_unlock(&child.lock);
}

int
arena_enter(struct arena *arena)
{
    if (arena == NULL) {
        return 0;
    }
    for (int i = 0; i < ARENA_BLOCKS; i++) { /* they stayed with the rank */
        arena->blocks[i] = (struct block){0};
    }
    arena->pid = getpid();
    child.arena = arena;
    return pthread_atfork(before_fork, after_fork, after_fork) == 0 ? 0 : -1;
}

static void
drop_view(struct block *block)
{
    unmap(block->base, block->room);
    *block = (struct block){0};
}

static void
drop_idle_views(struct arena *arena)
{
    for (int i = 0; i < ARENA_BLOCKS; i++) {
        if (!arena->blocks[i].is_taken) {
            drop_view(&arena->blocks[i]);
        }
    }
}

static void
map_view(struct arena *arena, int index, size_t size)
{
    struct block *block = &arena->blocks[index];

    drop_view(block);
    if (!has_file(arena)) {
        return;
    }
    block->base = map(arena, index, size, MAP_SHARED);
    if (block->base == NULL) {
        drop_idle_views(arena);
        block->base = map(arena, index, size, MAP_SHARED);
    }
    block->room = block->base != NULL ? size : 0;
}

void *
arena_look(struct arena *arena, int index, size_t size)
{
    struct block *block = &arena->blocks[index];

    size = whole_pages(arena, size);
    pthread_mutex_lock(&child.lock);
    if (block->room < size) {
        map_view(arena, index, size);
    }
    void *base = block->base;
    block->is_taken = 1;
    block->size = size;
    pthread_mutex_unlock(&child.lock);
    if (base == NULL) {
        arena_give_back(arena, index);
    }
    return base;
}

/* Then nothing is held of it that is not used. */
static int
is_memory_limited(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_AS, &limit) == 0
           && limit.rlim_cur != RLIM_INFINITY;
}

/* What a task has forked gives nothing back. */
void
arena_give_back(struct arena *arena, int index)
{
    struct block *block = &arena->blocks[index];

    if (arena->pid != getpid()) {
        return;
    }
    pthread_mutex_lock(&child.lock);
    int is_stuck = block->is == STUCK;
    if (!is_stuck) {
        block->is_taken = 0;
        if (block->is == COPIED || is_memory_limited()) {
            drop_view(block);
        }
    }
    pthread_mutex_unlock(&child.lock);
    if (!is_stuck) {
        atomic_fetch_sub(&arena->tallies[index].lent, 1);
    }
}
