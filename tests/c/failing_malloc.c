/* failing_malloc.c -- preloaded: memory that cannot be had, as planned.

   With PYTHONMALLOC=malloc all of Python's memory comes from here, too.  The
   allocations of a thread count from memory_begin, which says who it is, to
   memory_end.  A place in the code is a way that the innermost callers came.
   The places that allocate can be noted; and as planned, the first allocation
   of one place fails, for one of the threads, and some that follow it.  In a
   forked child the places are the same.  glibc alone has the allocator's own
   names. */

#include <errno.h>
#include <execinfo.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define FRAMES 40
#define PLACES (1 << 16)
#define OWN 8 /* frames, at most */
#define SPARED 32
#define CALLERS 7 /* where none is of the module */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *memory);

void memory_module(uintptr_t first, uintptr_t end);
void memory_own(uintptr_t first, uintptr_t end);
void memory_spare(uintptr_t first, uintptr_t end, int depth);
void memory_plan(uint64_t at, int more);
void memory_note(void);
void memory_begin(int who);
void memory_end(void);
int memory_failed(void);
size_t memory_places(uint64_t *places, size_t room);
long memory_live(void);

struct code {
    uintptr_t first, end;
    int depth; /* among that many of the innermost callers */
};

static struct {
    uint64_t at;      /* the place that is to fail; 0: none */
    int more;         /* allocations that fail with it */
    atomic_int who;   /* of whom it did: these fail; 0: it has not yet */
    int notes;
    atomic_long live; /* bytes */
    struct code own, module, spared[SPARED];
    size_t spares;
    atomic_flag noting;
    size_t places;
    uint64_t seen[PLACES]; /* by hash */
    uint64_t in_order[PLACES];
} plan = {.noting = ATOMIC_FLAG_INIT};

static _Thread_local int who, inside;

static uint64_t
mix(uint64_t hash, const void *frame)
{
    hash = (hash ^ (uintptr_t)frame) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 29;
}

static int
lies_in(const struct code *code, const void *frame)
{
    return (uintptr_t)frame >= code->first && (uintptr_t)frame < code->end;
}

static int
is_among(const struct code *code, void *const *frames, int depth)
{
    for (int i = 0; i < depth && i < code->depth; i++) {
        if (lies_in(code, frames[i]))
            return 1;
    }
    return 0;
}

static int
is_spared(void *const *frames, int depth)
{
    for (size_t i = 0; i < plan.spares; i++) {
        if (is_among(&plan.spared[i], frames, depth))
            return 1;
    }
    return 0;
}

/* Up to the innermost two frames of the module, if it is there at all. */
static uint64_t
place(void *const *frames, int depth)
{
    uint64_t hash = (uint64_t)who, near = hash;
    int found = 0;

    for (int i = 0; i < depth && found < 2; i++) {
        hash = mix(hash, frames[i]);
        if (i < CALLERS)
            near = mix(near, frames[i]);
        found += lies_in(&plan.module, frames[i]);
    }
    return found > 0 ? hash : near;
}

static void
note(uint64_t hash)
{
    size_t i = hash % PLACES;

    while (plan.seen[i] != 0 && plan.seen[i] != hash)
        i = (i + 1) % PLACES;
    if (plan.seen[i] == hash || plan.places >= PLACES / 2)
        return;
    plan.seen[i] = hash;
    plan.in_order[plan.places++] = hash;
}

/* Of malloc and the like. */
static int
callers(void **frames)
{
    void *all[FRAMES + OWN];
    int depth = backtrace(all, FRAMES + OWN), own = 0;

    while (own < depth && lies_in(&plan.own, all[own]))
        own++;
    memcpy(frames, all + own, (size_t)(depth - own) * sizeof *all);
    return depth - own;
}

/* It says where, in case that something goes wrong. */
static int
begins_to_fail(uint64_t here, void *const *frames, int depth)
{
    if (here != plan.at || plan.who != 0)
        return 0;
    plan.who = who;
    backtrace_symbols_fd(frames, depth, STDOUT_FILENO);
    return 1;
}

/* Is this one to fail? */
static int
looked_at(void)
{
    void *frames[FRAMES + OWN];
    int depth = callers(frames);

    if (is_spared(frames, depth))
        return 0;
    if (plan.who == who)
        return plan.more-- > 0;
    uint64_t here = place(frames, depth);
    if (plan.notes) {
        while (atomic_flag_test_and_set(&plan.noting))
            ;
        note(here);
        atomic_flag_clear(&plan.noting);
    }
    return begins_to_fail(here, frames, depth);
}

static int
fails(void)
{
    if (!who || inside || (plan.who == who && plan.more <= 0))
        return 0;
    if (!plan.notes && plan.at == 0)
        return 0;
    inside = 1;
    int due = looked_at();
    inside = 0;
    if (due)
        errno = ENOMEM;
    return due;
}

static void *
given(void *memory)
{
    if (memory != NULL)
        atomic_fetch_add(&plan.live, (long)malloc_usable_size(memory));
    return memory;
}

void *
malloc(size_t size)
{
    return fails() ? NULL : given(__libc_malloc(size));
}

void *
calloc(size_t count, size_t size)
{
    return fails() ? NULL : given(__libc_calloc(count, size));
}

void *
realloc(void *old, size_t size)
{
    if (fails())
        return NULL;
    long had = old != NULL ? (long)malloc_usable_size(old) : 0;
    void *memory = __libc_realloc(old, size);
    if (memory != NULL || size == 0)
        atomic_fetch_sub(&plan.live, had);
    return given(memory);
}

void
free(void *memory)
{
    if (memory != NULL)
        atomic_fetch_sub(&plan.live, (long)malloc_usable_size(memory));
    __libc_free(memory);
}

/* ---- the test's side -------------------------------------------------- */

void
memory_module(uintptr_t first, uintptr_t end)
{
    plan.module = (struct code){first, end, FRAMES};
}

void
memory_own(uintptr_t first, uintptr_t end)
{
    plan.own = (struct code){first, end, FRAMES};
}

void
memory_spare(uintptr_t first, uintptr_t end, int depth)
{
    if (plan.spares < SPARED)
        plan.spared[plan.spares++] = (struct code){first, end, depth};
}

void
memory_plan(uint64_t at, int more)
{
    void *frames[FRAMES];

    backtrace(frames, FRAMES); /* which loads what it needs, at first */
    plan.at = at;
    plan.more = more;
    plan.who = 0;
    plan.notes = 0;
}

void
memory_note(void)
{
    memory_plan(0, 0);
    plan.notes = 1;
}

void
memory_begin(int begins)
{
    who = begins;
}

void
memory_end(void)
{
    who = 0;
}

int
memory_failed(void)
{
    return plan.who != 0;
}

/* Those noted so far, in the order in which they were met. */
size_t
memory_places(uint64_t *places, size_t room)
{
    size_t count = plan.places < room ? plan.places : room;
    memcpy(places, plan.in_order, count * sizeof *places);
    return count;
}

long
memory_live(void)
{
    return plan.live;
}
