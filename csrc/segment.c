/* segment.c -- an anonymous file in memory (memfd), which others of the same
   user open through /proc.  Nothing of it has a name that could stay behind.

   Where there is no such thing, outside Linux or under another process
   namespace, there is no segment, and messages travel as they would anyway. */

#include "segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BELLS 64                    /* in a word */

struct head {
    _Alignas(PIPE_LINE) uint64_t cookie;
    _Alignas(PIPE_LINE) _Atomic uint64_t bells[];
};

struct segment {
    struct head *head;
    size_t size;
    int peers;
    int descriptor;                 /* -1: of those who joined */
    uint64_t cookie;
};

static size_t
head_size(int peers)
{
    size_t words = ((size_t)peers + BELLS - 1) / BELLS;
    size_t size = sizeof(struct head) + words * sizeof(uint64_t);

    return (size + PIPE_LINE - 1) / PIPE_LINE * PIPE_LINE;
}

static size_t
whole_size(int peers)
{
    return head_size(peers) + 2 * (size_t)peers * sizeof(struct pipe);
}

/* Maps the file; closes it where that fails. */
static struct segment *
map(int descriptor, int peers)
{
    struct segment *segment = calloc(1, sizeof(*segment));
    size_t size = whole_size(peers);
    void *memory = MAP_FAILED;

    if (segment != NULL) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
                      descriptor, 0);
    }
    if (memory == MAP_FAILED) {
        free(segment);
        close(descriptor);
        return NULL;
    }
    segment->head = memory;
    segment->size = size;
    segment->peers = peers;
    segment->descriptor = descriptor;
    return segment;
}

/* Nobody is kept out by it: it tells one segment from another. */
static uint64_t
new_cookie(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec) * 2654435761u
           + (uint64_t)getpid();
}

#ifdef MFD_CLOEXEC
struct segment *
segment_new(int peers)
{
    int descriptor = memfd_create("ezmpi", MFD_CLOEXEC);
    struct segment *segment;

    if (descriptor < 0) {
        return NULL;
    }
    if (ftruncate(descriptor, (off_t)whole_size(peers)) < 0) {
        close(descriptor);
        return NULL;
    }
    segment = map(descriptor, peers);
    if (segment != NULL) {
        segment->cookie = segment->head->cookie = new_cookie();
    }
    return segment;
}
#else
struct segment *
segment_new(int peers)
{
    (void)peers, (void)map, (void)new_cookie;
    return NULL;
}
#endif

void
segment_free(struct segment *segment)
{
    if (segment == NULL) {
        return;
    }
    munmap(segment->head, segment->size);
    if (segment->descriptor >= 0) {
        close(segment->descriptor);
    }
    free(segment);
}

struct segment_invitation
segment_invite(const struct segment *segment, int peer)
{
    return (struct segment_invitation){
        .cookie = segment->cookie,
        .peers = (uint64_t)segment->peers,
        .process = getpid(),
        .descriptor = segment->descriptor,
        .peer = peer,
    };
}

/* Under that name another host may have whatever: it is looked at before it is
   opened. */
static int
open_segment(const struct segment_invitation *invitation)
{
    static const char name[] = "/memfd:ezmpi";
    char path[64], target[sizeof(name)];

    snprintf(path, sizeof(path), "/proc/%lld/fd/%d",
             (long long)invitation->process, (int)invitation->descriptor);
    if (readlink(path, target, sizeof(name) - 1) != sizeof(name) - 1
        || memcmp(target, name, sizeof(name) - 1) != 0) {
        return -1;
    }
    return open(path, O_RDWR | O_CLOEXEC);
}

static int
is_so_large(int descriptor, size_t size)
{
    off_t end = lseek(descriptor, 0, SEEK_END);

    return end >= 0 && (uint64_t)end == size;
}

struct segment *
segment_join(const struct segment_invitation *invitation)
{
    int descriptor = open_segment(invitation);
    int peers = (int)invitation->peers;
    struct segment *segment;

    if (descriptor < 0) {
        return NULL;
    }
    if (!is_so_large(descriptor, whole_size(peers))) {
        close(descriptor);
        return NULL;
    }
    segment = map(descriptor, peers);
    if (segment == NULL) {
        return NULL;
    }
    close(descriptor);
    segment->descriptor = -1;
    segment->cookie = segment->head->cookie;
    if (segment->cookie != invitation->cookie) {
        segment_free(segment);
        return NULL;
    }
    return segment;
}

struct pipe *
segment_pipe(const struct segment *segment, int peer, int to_peer)
{
    char *pipes = (char *)segment->head + head_size(segment->peers);

    return (struct pipe *)pipes + 2 * peer + (to_peer ? 0 : 1);
}

void
segment_ring(const struct segment *segment, int peer)
{
    atomic_fetch_or(&segment->head->bells[peer / BELLS],
                    (uint64_t)1 << peer % BELLS);
}

uint64_t
segment_hear(const struct segment *segment, int word)
{
    _Atomic uint64_t *bells = &segment->head->bells[word];

    return atomic_load_explicit(bells, memory_order_relaxed) != 0
               ? atomic_exchange(bells, 0)
               : 0;
}
