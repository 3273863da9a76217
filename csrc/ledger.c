/* ledger.c -- an anonymous mapping that forks share.

   A child may die between any two writes, so what counts is written last: how
   many tasks are done, and in one word with it how many bytes hold their
   results.  Results are appended, and never change. */

#include "ledger.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define STREAM_BYTES ((size_t)4 << 20)
#define BUFFER_BYTES ((size_t)60 << 20) /* touched only where it is used */
#define MOST_BUFFERS 1024

struct entry {
    uint64_t done;
    size_t stream, buffers;
};

struct ledger {
    _Atomic uint64_t job, first;
    _Atomic int64_t since;          /* 0: no task runs */
    /* two entries, of which one is valid while the other is written */
    struct entry entries[2];
    _Atomic int valid;
    size_t sizes[MOST_BUFFERS];
    size_t used;                    /* bytes of buffers */
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
    return &ledger->entries[atomic_load(&ledger->valid)];
}

void
ledger_begin(struct ledger *ledger, uint64_t job, uint64_t first)
{
    int other = !atomic_load(&ledger->valid);

    atomic_store(&ledger->since, 0);
    ledger->entries[other] = (struct entry){0, 0, 0};
    ledger->used = 0;
    atomic_store(&ledger->valid, other);
    atomic_store(&ledger->first, first);
    atomic_store(&ledger->job, job);
}

/* From the parts on that are not there yet. */
static int
append(struct ledger *ledger, struct entry *entry,
       const struct transport_part *parts, size_t count)
{
    size_t more = parts[0].size - entry->stream;

    if (count - 1 > MOST_BUFFERS || parts[0].size > STREAM_BYTES) {
        return 0;
    }
    memcpy(ledger->stream + entry->stream,
           (const char *)parts[0].base + entry->stream, more);
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
ledger_note(struct ledger *ledger, uint64_t done, int64_t now,
            const struct transport_part *parts, size_t count)
{
    int other = !atomic_load(&ledger->valid), fits = 1;
    struct entry *entry = &ledger->entries[other];

    *entry = *valid(ledger);
    if (count > 0) {
        fits = append(ledger, entry, parts, count);
    }
    if (fits) {
        entry->done = done;
        atomic_store(&ledger->valid, other);
    }
    atomic_store(&ledger->since, now);
    return fits;
}

void
ledger_end(struct ledger *ledger)
{
    atomic_store(&ledger->since, 0);
    atomic_store(&ledger->job, 0);
}

int
ledger_is_of(const struct ledger *ledger, uint64_t job, uint64_t first)
{
    return ledger->job == job && ledger->first == first;
}

uint64_t
ledger_done(const struct ledger *ledger)
{
    return valid(ledger)->done;
}

int64_t
ledger_since(const struct ledger *ledger)
{
    return ledger->since;
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
