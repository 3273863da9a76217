/* failing_malloc.c -- preloaded: memory that cannot be had, as planned.

   With PYTHONMALLOC=malloc all of Python's memory comes from here, too.  The
   allocations of one thread at a time count, from memory_begin to memory_end;
   those whose numbers lie within the plan fail.  While none is planned, the
   first allocation of each place in the code can be noted: of each way that
   the innermost callers came.  glibc alone has the allocator's own names. */

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
void memory_plan(long first, long last, int note);
void memory_begin(void);
void memory_end(void);
long memory_counted(void);
int memory_failed(void);
void memory_show(void);
size_t memory_places(long *numbers, size_t room);
long memory_live(void);

struct code {
    uintptr_t first, end;
    int depth; /* among that many of the innermost callers */
};

static struct {
    long first, last; /* what is to fail */
    int note;
    atomic_long counted;
    atomic_int failed;
    atomic_long live; /* bytes */
    struct code own, module, spared[SPARED];
    size_t spares;
    void *failing[FRAMES];
    int depth;
    size_t places;
    uint64_t seen[PLACES]; /* by hash */
    long numbers[PLACES];
} plan;

static _Thread_local int counts, inside;

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
    uint64_t hash = 1, near = 1;
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
note(long number, void *const *frames, int depth)
{
    uint64_t hash = place(frames, depth);
    size_t i = hash % PLACES;

    while (plan.seen[i] != 0 && plan.seen[i] != hash)
        i = (i + 1) % PLACES;
    if (plan.seen[i] == hash || plan.places >= PLACES / 2)
        return;
    plan.seen[i] = hash;
    plan.numbers[plan.places++] = number;
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

/* Is this one to fail, for which it is time? */
static int
looked_at(long number)
{
    void *frames[FRAMES + OWN];
    int depth = callers(frames);

    if (is_spared(frames, depth))
        return 0;
    if (plan.note) {
        note(number, frames, depth);
        return 0;
    }
    if (!atomic_exchange(&plan.failed, 1)) {
        plan.depth = depth < FRAMES ? depth : FRAMES;
        memcpy(plan.failing, frames, sizeof plan.failing);
    }
    return 1;
}

static int
fails(void)
{
    if (!counts || inside)
        return 0;
    inside = 1;
    long number = atomic_fetch_add(&plan.counted, 1) + 1;
    int due = plan.note || (number >= plan.first && number <= plan.last);
    due = due && looked_at(number);
    inside = 0;
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
memory_plan(long first, long last, int wants_notes)
{
    void *frames[FRAMES];

    backtrace(frames, FRAMES); /* which loads what it needs, at first */
    plan.first = first;
    plan.last = last;
    plan.note = wants_notes;
    plan.counted = 0;
    plan.failed = 0;
    plan.depth = 0;
}

void
memory_begin(void)
{
    counts = 1;
}

void
memory_end(void)
{
    counts = 0;
}

long
memory_counted(void)
{
    return plan.counted;
}

int
memory_failed(void)
{
    return plan.failed;
}

/* Where the first one failed. */
void
memory_show(void)
{
    backtrace_symbols_fd(plan.failing, plan.depth, STDOUT_FILENO);
}

/* The numbers noted so far. */
size_t
memory_places(long *numbers, size_t room)
{
    size_t count = plan.places < room ? plan.places : room;
    memcpy(numbers, plan.numbers, count * sizeof *numbers);
    return plan.places;
}

long
memory_live(void)
{
    return plan.live;
}
