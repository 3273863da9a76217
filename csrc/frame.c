/* frame.c -- packs parts into a frame and finds them again: a head, the
   parts' sizes, the bytes of the parts that do not travel apart.  Knows
   neither ranks nor messages. */

#include "frame.h"

#include <limits.h>
#include <string.h>

/* "EZ1"; tells another byte order, too.  The digit counts up with every change
   of what travels between plug-ins: frames, notes, greetings, lanes. */
#define MAGIC 0x455a3100u
#define EXPECTS 1u /* in the low byte */
#define APART ((uint64_t)1 << 63) /* in a size */

/* Up to here, copying a part twice costs less than a message of its own. */
#define INSIDE_PART 4096u
/* All that is copied for one frame; MPIs send about so much eagerly. */
#define INSIDE_TOTAL 16384u

struct frame {
    uint32_t magic;
    uint32_t count;
    uint64_t sizes[]; /* then the bytes */
};

static size_t
aligned(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static size_t
head_size(size_t count)
{
    return sizeof(struct frame) + count * sizeof(uint64_t);
}

/* Does a part travel apart from a frame that holds inside bytes already? */
static int
goes_apart(size_t size, size_t inside)
{
    return size > INSIDE_PART || inside + size > INSIDE_TOTAL;
}

int
frame_holds(size_t count)
{
    return count <= (INT_MAX - head_size(0) - INSIDE_TOTAL) / sizeof(uint64_t);
}

struct frame_plan
frame_plan(const struct transport_part *parts, size_t count)
{
    struct frame_plan plan = {0, 0, 0};

    for (size_t i = 0; i < count; i++) {
        if (goes_apart(parts[i].size, plan.size)) {
            plan.apart++;
            plan.apart_bytes += parts[i].size;
        }
        else {
            plan.size += aligned(parts[i].size);
        }
    }
    plan.size += head_size(count);
    return plan;
}

void
frame_pack(struct frame *frame, const struct transport_part *parts,
           size_t count, int expects)
{
    char *bytes = (char *)&frame->sizes[count];
    size_t inside = 0;

    frame->magic = MAGIC | (expects ? EXPECTS : 0);
    frame->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        size_t size = parts[i].size;
        if (goes_apart(size, inside)) {
            frame->sizes[i] = size | APART;
            continue;
        }
        frame->sizes[i] = size;
        if (size > 0) {
            memcpy(bytes + inside, parts[i].base, size);
            memset(bytes + inside + size, 0, aligned(size) - size);
            inside += aligned(size);
        }
    }
}

int
frame_is_apart(const struct frame *frame, size_t index)
{
    return (frame->sizes[index] & APART) != 0;
}

int
frame_expects(const struct frame *frame)
{
    return (frame->magic & EXPECTS) != 0;
}

const char *
frame_count(const struct frame *frame, size_t size, size_t *count)
{
    if (size < head_size(0) || (frame->magic & ~EXPECTS) != MAGIC) {
        return "a message of another program, another version of ezmpi or "
               "another byte order";
    }
    if (frame->count > (size - head_size(0)) / sizeof(uint64_t)) {
        return "a message shorter than its table of parts";
    }
    *count = frame->count;
    return NULL;
}

const char *
frame_unpack(const struct frame *frame, size_t size,
             struct transport_part *parts)
{
    size_t offset = head_size(frame->count);

    for (size_t i = 0; i < frame->count; i++) {
        parts[i].base = NULL;
        parts[i].size = (size_t)(frame->sizes[i] & ~APART);
        if (frame_is_apart(frame, i)) {
            continue;
        }
        if (parts[i].size > size - offset
            || aligned(parts[i].size) > size - offset) {
            return "a message shorter than its parts";
        }
        parts[i].base = (char *)frame + offset;
        offset += aligned(parts[i].size);
    }
    return offset == size ? NULL : "a message longer than its parts";
}
