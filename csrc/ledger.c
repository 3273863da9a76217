/* ledger.c -- an anonymous mapping that a worker's rank shares with its child:
   ledger.h says which of them calls what.

   A child may die between any two writes, so what counts is written last: one
   word says how many entries were made, of which the last is valid, in one of
   two places, while the other is written.  Results are appended, and never
   change. */

#include "ledger.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STREAM_BYTES ((size_t)4 << 20)
#define BUFFER_BYTES ((size_t)60 << 20) /* touched only where it is used, */
#define KEPT_BYTES ((size_t)1 << 20) /* and given back above so much */

struct entry {
    uint64_t chunk;
    uint64_t done;
    int64_t since; /* 0: no task runs */
    size_t stream, buffers;
};

struct ledger {
    struct entry entries[2];
    _Atomic uint64_t made; /* entries */
    _Atomic uint64_t opened; /* messages */
    _Atomic int is_open;
    size_t sizes[LEDGER_PARTS];
    size_t used; /* bytes of buffers */
    unsigned char stream[STREAM_BYTES];
    unsigned char buffers[BUFFER_BYTES];
};

struct ledger *
ledger_new(void)
{
    void *memory = mmap(NULL, sizeof(struct ledger), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

void
ledger_free(struct ledger *ledger)
{
    if (ledger != NULL) {
        munmap(ledger, sizeof(*ledger));
    }
}

static const struct entry *
valid(const struct ledger *ledger)
{
    return &ledger->entries[atomic_load(&ledger->made) % 2];
}

/* It counts from here on. */
static void
enter(struct ledger *ledger, const struct entry *entry)
{
    uint64_t made = atomic_load(&ledger->made) + 1;

    atomic_thread_fence(memory_order_release); /* for ledger_running */
    ledger->entries[made % 2] = *entry;
    atomic_store(&ledger->made, made);
}

void
ledger_open(struct ledger *ledger)
{
    atomic_fetch_add(&ledger->opened, 1);
    atomic_store(&ledger->is_open, 1);
}

void
ledger_shut(struct ledger *ledger)
{
    atomic_store(&ledger->is_open, 0);
}

void
ledger_begin(struct ledger *ledger, uint64_t chunk)
{
    struct entry entry = {.chunk = chunk};

    enter(ledger, &entry);
#ifdef MADV_REMOVE
    if (ledger->used > KEPT_BYTES) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        uintptr_t start =
            ((uintptr_t)ledger->buffers + page - 1) & ~(page - 1);
        madvise((void *)start, BUFFER_BYTES - page, MADV_REMOVE);
    }
#endif
    ledger->used = 0;
}

void
ledger_run(struct ledger *ledger, int64_t now)
{
    struct entry entry = *valid(ledger);

    entry.since = now;
    enter(ledger, &entry);
}

void
ledger_rest(struct ledger *ledger)
{
    ledger_run(ledger, 0);
}

/* From the parts on that are not there yet. */
static int
append(struct ledger *ledger, struct entry *entry,
       const struct transport_part *parts, size_t count)
{
    size_t more = parts[0].size - entry->stream;

    if (count > LEDGER_PARTS || parts[0].size > STREAM_BYTES) {
        return 0;
    }
    if (more > 0) {
        memcpy(ledger->stream + entry->stream,
               (const char *)parts[0].base + entry->stream, more);
    }
    entry->stream = parts[0].size;
    for (; entry->buffers < count - 1; entry->buffers++) {
        const struct transport_part *part = &parts[1 + entry->buffers];
        if (part->size > BUFFER_BYTES - ledger->used) {
            return 0;
        }
        memcpy(ledger->buffers + ledger->used, part->base, part->size);
        ledger->sizes[entry->buffers] = part->size;
        ledger->used += part->size;
    }
    return 1;
}

int
ledger_note(struct ledger *ledger, uint64_t done,
            const struct transport_part *parts, size_t count)
{
    struct entry entry = *valid(ledger), before = entry;
    int fits = append(ledger, &entry, parts, count);

    entry.done = done;
    if (!fits) {
        entry = before;
    }
    entry.since = 0;
    enter(ledger, &entry);
    return fits;
}

void
ledger_clear(struct ledger *ledger)
{
    ledger_begin(ledger, 0);
    atomic_store(&ledger->opened, 0);
    ledger_shut(ledger);
}

uint64_t
ledger_opened(const struct ledger *ledger)
{
    return atomic_load(&ledger->opened);
}

int
ledger_is_open(const struct ledger *ledger)
{
    return atomic_load(&ledger->is_open);
}

int
ledger_is_of(const struct ledger *ledger, uint64_t chunk)
{
    return valid(ledger)->chunk == chunk;
}

uint64_t
ledger_done(const struct ledger *ledger)
{
    return valid(ledger)->done;
}

int64_t
ledger_running(const struct ledger *ledger, uint64_t *chunk)
{
    struct entry entry;
    uint64_t made;

    do {
        made = atomic_load(&ledger->made);
        entry = ledger->entries[made % 2];
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load(&ledger->made) != made);
    *chunk = entry.chunk;
    return entry.since;
}

size_t
ledger_parts(const struct ledger *ledger, struct transport_part *parts,
             size_t most)
{
    const struct entry *entry = valid(ledger);
    const unsigned char *at = ledger->buffers;
    size_t count = 1 + entry->buffers;

    if (entry->stream == 0 || count > most) {
        return 0;
    }
    parts[0] = (struct transport_part){(void *)ledger->stream, entry->stream};
    for (size_t i = 1; i < count; i++) {
        parts[i] = (struct transport_part){(void *)at, ledger->sizes[i - 1]};
        at += ledger->sizes[i - 1];
    }
    return count;
}
