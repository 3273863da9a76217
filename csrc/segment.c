/* segment.c -- an anonymous file in memory (memfd), which others of the same
   user open through /proc.  Nothing of it has a name that could stay behind.

   It begins with a front, and holds a berth for each peer, which is neither
   memory nor mapped before that peer has joined: of most ranks of a large job
   the berths stay empty.

   Where there is no such thing, outside Linux or under another process
   namespace, there is no segment, and messages travel as they would anyway. */

#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "memfile.h"
#include "unmap.h"

struct front {
    _Alignas(PIPE_LINE) uint64_t cookie;
    _Alignas(PIPE_LINE) struct sleeper host;
    _Alignas(PIPE_LINE) _Atomic uint64_t bells[];
};

/* The word is in no pair of lines with anything: some processors fetch the
   other one, too. */
struct berth {
    struct pipe to_peer, from_peer;
    _Alignas(PIPE_LINE) struct sleeper peer;
    _Alignas(2 * PIPE_LINE) _Atomic uint64_t word;
};

struct segment {
    struct front *front;
    int descriptor;                 /* -1: closed */
    int peers;
    int first;                      /* the peer that berths[0] is for */
    int count;                      /* all at rank 0, one at a peer */
    struct berth *berths[];         /* NULL: not mapped */
};

int
segment_words(int peers)
{
    return (peers + SEGMENT_WORD - 1) / SEGMENT_WORD;
}

/* ---- where things are -------------------------------------------------- */

static size_t
whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

static size_t
front_size(int peers)
{
    size_t words = (size_t)segment_words(peers);

    return whole_pages(sizeof(struct front) + words * sizeof(uint64_t));
}

static size_t
berth_size(void)
{
    return whole_pages(sizeof(struct berth));
}

static size_t
berth_at(int peers, int peer)
{
    return front_size(peers) + (size_t)peer * berth_size();
}

/* ---- making ------------------------------------------------------------ */

/* Takes the descriptor; closes it where that fails. */
static struct segment *
new_segment(int descriptor, int peers, int first, int count)
{
    size_t berths = (size_t)count * sizeof(struct berth *);
    struct segment *segment = calloc(1, sizeof(*segment) + berths);

    if (segment == NULL) {
        close(descriptor);
        return NULL;
    }
    segment->descriptor = descriptor;
    segment->peers = peers;
    segment->first = first;
    segment->count = count;
    return segment;
}

#if HAS_MEMFILES
static int
reserve(const struct segment *segment, size_t at, size_t size)
{
    return memfile_reserve(segment->descriptor, (off_t)at, size);
}

static void *
map(const struct segment *segment, size_t at, size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
                        segment->descriptor, (off_t)at);

    if (memory == MAP_FAILED) {
        return NULL;
    }
    madvise(memory, size, MADV_DONTFORK);
    return memory;
}

static int
make_file(void)
{
    return memfile_new("ezmpi");
}
#else
static int
reserve(const struct segment *segment, size_t at, size_t size)
{
    (void)segment, (void)at, (void)size;
    return -1;
}

static void *
map(const struct segment *segment, size_t at, size_t size)
{
    (void)segment, (void)at, (void)size;
    return NULL;
}

static int
make_file(void)
{
    return -1;
}
#endif

/* Nobody is kept out by it: it tells one segment from another. */
static uint64_t
new_cookie(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return ((uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec) * 2654435761u
           + (uint64_t)getpid();
}

struct segment *
segment_new(int peers)
{
    int descriptor = make_file();
    struct segment *segment =
        descriptor < 0 ? NULL : new_segment(descriptor, peers, 0, peers);

    if (segment == NULL) {
        return NULL;
    }
    if (ftruncate(descriptor, (off_t)berth_at(peers, peers)) == 0
        && reserve(segment, 0, front_size(peers)) == 0) {
        segment->front = map(segment, 0, front_size(peers));
    }
    if (segment->front == NULL) {
        segment_free(segment);
        return NULL;
    }
    segment->front->cookie = new_cookie();
    return segment;
}

int
segment_map(struct segment *segment, int peer)
{
    void *berth = map(segment, berth_at(segment->peers, peer), berth_size());

    segment->berths[peer - segment->first] = berth;
    return berth != NULL ? 0 : -1;
}

void
segment_close(struct segment *segment)
{
    if (segment->descriptor >= 0) {
        close(segment->descriptor);
        segment->descriptor = -1;
    }
}

void
segment_free(struct segment *segment)
{
    if (segment == NULL) {
        return;
    }
    for (int i = 0; i < segment->count; i++) {
        unmap(segment->berths[i], berth_size());
    }
    unmap(segment->front, front_size(segment->peers));
    segment_close(segment);
    free(segment);
}

/* ---- joining ----------------------------------------------------------- */

struct segment_invitation
segment_invite(const struct segment *segment, int peer)
{
    return (struct segment_invitation){
        .cookie = segment->front->cookie,
        .peers = (uint64_t)segment->peers,
        .process = getpid(),
        .descriptor = segment->descriptor,
        .peer = peer,
    };
}

/* Under that name another host may have whatever: it is looked at before it is
   opened. */
static int
open_file(const struct segment_invitation *invitation)
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

static int
is_possible(const struct segment_invitation *invitation)
{
    return invitation->peers <= INT32_MAX && invitation->peer >= 0
           && (uint64_t)invitation->peer < invitation->peers;
}

/* Is it the segment that the invitation is for? */
static int
is_meant(struct segment *segment, const struct segment_invitation *invitation)
{
    int peers = segment->peers;

    if (!is_so_large(segment->descriptor, berth_at(peers, peers))) {
        return 0;
    }
    segment->front = map(segment, 0, front_size(peers));
    return segment->front != NULL
           && segment->front->cookie == invitation->cookie;
}

struct segment *
segment_join(const struct segment_invitation *invitation)
{
    int descriptor = is_possible(invitation) ? open_file(invitation) : -1;
    int peer = invitation->peer;
    struct segment *segment =
        descriptor < 0
            ? NULL
            : new_segment(descriptor, (int)invitation->peers, peer, 1);

    if (segment == NULL) {
        return NULL;
    }
    if (!is_meant(segment, invitation)
        || reserve(segment, berth_at(segment->peers, peer), berth_size()) < 0
        || segment_map(segment, peer) < 0) {
        segment_free(segment);
        return NULL;
    }
    segment_close(segment);
    return segment;
}

/* ---- what is in it ----------------------------------------------------- */

static struct berth *
berth_of(const struct segment *segment, int peer)
{
    return segment->berths[peer - segment->first];
}

struct pipe *
segment_pipe(const struct segment *segment, int peer, int to_peer)
{
    struct berth *berth = berth_of(segment, peer);

    return to_peer ? &berth->to_peer : &berth->from_peer;
}

_Atomic uint64_t *
segment_peer_word(const struct segment *segment, int peer)
{
    return &berth_of(segment, peer)->word;
}

struct sleeper *
segment_peer(const struct segment *segment, int peer)
{
    return &berth_of(segment, peer)->peer;
}

struct sleeper *
segment_host(const struct segment *segment)
{
    return &segment->front->host;
}

void
segment_ring(const struct segment *segment, int peer)
{
    atomic_fetch_or(&segment->front->bells[peer / SEGMENT_WORD],
                    (uint64_t)1 << peer % SEGMENT_WORD);
}

uint64_t
segment_hear(const struct segment *segment, int word)
{
    _Atomic uint64_t *bells = &segment->front->bells[word];

    return atomic_load_explicit(bells, memory_order_relaxed) != 0
               ? atomic_exchange(bells, 0)
               : 0;
}
