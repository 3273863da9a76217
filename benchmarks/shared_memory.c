/* shared_memory.c -- would shared memory beat MPI's messages inside a host?

   Two ranks of one host, blocking calls, nothing else between:

   - 8 bytes there and back: MPI_Send and MPI_Recv, against a doorbell (a
     number in a shared page that the other spins on);
   - an array into fresh memory that the receiver then owns, page faults
     included (huge pages, as numpy asks for): MPI_Send and MPI_Recv, against
       window     the sender copies in, the receiver copies out: pieces through
                  a ring of shared memory, both at once (MPI_Win_allocate_shared
                  is such memory, too);
       segment    the sender copies all of it into a new segment that the
                  receiver maps and keeps: one copy, and the file system's
                  memory instead of its own;
       read       process_vm_readv: the receiver copies from the sender's
                  memory; one copy, and the kernel has to allow it.

   Prints a table in Markdown: medians, and how many times as fast as MPI.
   Every way but MPI_Recv skips what a mailbox needs beside: matching, many
   senders, flow control, progress while somebody computes, and an end.

   shared_memory [BYTES...], under mpiexec -n 2; 8 MB and 1 GB by default. */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <mpi.h>

#define TRIPS 20000                     /* in a measurement */
#define MOST_TIMES 15                   /* the median of so many is told */
#define SECONDS 8.0                     /* that ways in turn may take */
#define PIECE ((size_t)256 << 10)       /* of a window's ring */
#define PIECES 4
#define SPINS 2000                      /* before the core is given away */
#define PAGE ((size_t)4096)
#define LINE 64                         /* bytes that caches exchange */

/* What both ranks see; a line for each, so that neither takes the other's. */
struct shared {
    _Alignas(LINE) _Atomic uint64_t bell;
    _Alignas(LINE) _Atomic uint64_t filled;
    _Alignas(LINE) _Atomic uint64_t emptied;
    _Alignas(LINE) unsigned char ring[PIECES][PIECE];
};

struct pair {
    int rank;
    struct shared *shared;
    unsigned char *source;              /* rank 0's array */
    size_t size;
    int small_pages;                    /* of the fresh memory */
    int failed;                         /* errno of what is not allowed */
};

/* Moves one array from rank 0 to rank 1, who returns where it has it now. */
typedef void *(*carrier)(struct pair *pair);

static void
stop(const char *what)
{
    perror(what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* Memory that nobody had before, unlike malloc's, which may be used again; in
   huge pages, as numpy asks for, where the kernel gives these. */
static void *
fresh(const struct pair *pair)
{
    void *base = mmap(NULL, pair->size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        stop("mmap");
    if (!pair->small_pages)
        madvise(base, pair->size, MADV_HUGEPAGE);
    return base;
}

/* Spins, and then lets others have the core. */
static void
await(_Atomic uint64_t *number, uint64_t least)
{
    for (long spins = 0;
         atomic_load_explicit(number, memory_order_acquire) < least; spins++)
        if (spins > SPINS)
            sched_yield();
}

static void
tell(_Atomic uint64_t *number, uint64_t value)
{
    atomic_store_explicit(number, value, memory_order_release);
}

/* ---- 8 bytes there and back --------------------------------------------- */

static void
trip_by_message(struct pair *pair, uint64_t number)
{
    int other = 1 - pair->rank;
    if (pair->rank == 0)
        MPI_Send(&number, 8, MPI_BYTE, other, 0, MPI_COMM_WORLD);
    MPI_Recv(&number, 8, MPI_BYTE, other, 0, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    if (pair->rank == 1)
        MPI_Send(&number, 8, MPI_BYTE, other, 0, MPI_COMM_WORLD);
}

static void
trip_by_bell(struct pair *pair, uint64_t number)
{
    _Atomic uint64_t *there = &pair->shared->bell;
    _Atomic uint64_t *back = &pair->shared->emptied;
    if (pair->rank == 0) {
        tell(there, number);
        await(back, number);
    }
    else {
        await(there, number);
        tell(back, number);
    }
}

/* ---- an array ----------------------------------------------------------- */

static void *
by_message(struct pair *pair)
{
    if (pair->rank == 0) {
        MPI_Send(pair->source, (int)pair->size, MPI_BYTE, 1, 0,
                 MPI_COMM_WORLD);
        return NULL;
    }
    void *base = fresh(pair);
    MPI_Recv(base, (int)pair->size, MPI_BYTE, 0, 0, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    return base;
}

static size_t
piece_size(const struct pair *pair, size_t done)
{
    return pair->size - done < PIECE ? pair->size - done : PIECE;
}

static void *
by_window(struct pair *pair)
{
    struct shared *shared = pair->shared;
    unsigned char *base = pair->rank == 1 ? fresh(pair) : NULL;
    uint64_t piece = 0;
    for (size_t done = 0; done < pair->size; done += PIECE, piece++) {
        unsigned char *slot = shared->ring[piece % PIECES];
        if (pair->rank == 0) {
            await(&shared->emptied, piece < PIECES ? 0 : piece - PIECES + 1);
            memcpy(slot, pair->source + done, piece_size(pair, done));
            tell(&shared->filled, piece + 1);
        }
        else {
            await(&shared->filled, piece + 1);
            memcpy(base + done, slot, piece_size(pair, done));
            tell(&shared->emptied, piece + 1);
        }
    }
    return base;
}

#define SEGMENT "/ezmpi-shared-memory"

static void *
map_segment(struct pair *pair, int flags)
{
    int file = shm_open(SEGMENT, flags, 0600);
    if (file < 0)
        stop("shm_open");
    /* Writing to what /dev/shm has no room for would be a signal. */
    if (pair->rank == 0)
        pair->failed = posix_fallocate(file, 0, (off_t)pair->size);
    void *base =
        mmap(NULL, pair->size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (base == MAP_FAILED)
        stop("mmap");
    return base;
}

static void *
by_segment(struct pair *pair)
{
    if (pair->rank == 0) {
        void *base = map_segment(pair, O_CREAT | O_EXCL | O_RDWR);
        if (pair->failed == 0)
            memcpy(base, pair->source, pair->size);
        munmap(base, pair->size);
        tell(&pair->shared->filled, 1);
        await(&pair->shared->emptied, 1);
        return NULL;
    }
    await(&pair->shared->filled, 1);
    void *base = map_segment(pair, O_RDWR);
    shm_unlink(SEGMENT);
    tell(&pair->shared->emptied, 1);
    return base;
}

/* Rank 0 tells where the array is, and waits until it is read. */
static void *
by_read(struct pair *pair)
{
    uint64_t told[2] = {(uint64_t)getpid(), (uintptr_t)pair->source};
    if (pair->rank == 0) {
        MPI_Send(told, sizeof told, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
        await(&pair->shared->emptied, 1);
        return NULL;
    }
    MPI_Recv(told, sizeof told, MPI_BYTE, 0, 0, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    unsigned char *base = fresh(pair);
    for (size_t done = 0; done < pair->size && pair->failed == 0;) {
        struct iovec here = {base + done, pair->size - done};
        struct iovec there = {(unsigned char *)(uintptr_t)told[1] + done,
                              pair->size - done};
        ssize_t got = process_vm_readv((pid_t)told[0], &here, 1, &there, 1, 0);
        done += got > 0 ? (size_t)got : 0;
        pair->failed = got > 0 ? 0 : errno;
    }
    tell(&pair->shared->emptied, 1);
    return base;
}

/* ---- measuring ---------------------------------------------------------- */

static int
compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static double
median(double *times, int count)
{
    qsort(times, (size_t)count, sizeof *times, compare);
    return times[count / 2];
}

static void
reset(struct pair *pair)
{
    MPI_Barrier(MPI_COMM_WORLD);
    if (pair->rank == 0) {
        tell(&pair->shared->bell, 0);
        tell(&pair->shared->filled, 0);
        tell(&pair->shared->emptied, 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static double
trip_seconds(struct pair *pair, void (*trip)(struct pair *, uint64_t))
{
    reset(pair);
    double start = MPI_Wtime();
    for (uint64_t number = 1; number <= TRIPS; number++)
        trip(pair, number);
    return (MPI_Wtime() - start) / TRIPS;
}

/* Until rank 1 has read a number from every page of what it now owns. */
static double
array_seconds(struct pair *pair, carrier carry)
{
    reset(pair);
    double start = MPI_Wtime();
    volatile unsigned char *base = carry(pair);
    if (pair->rank == 1) {
        for (size_t at = 0; at < pair->size && pair->failed == 0; at += PAGE)
            (void)base[at];
        munmap((void *)base, pair->size);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    return MPI_Wtime() - start;
}

struct measured {
    double times[MOST_TIMES];
    int count, failed;
};

static double
told(struct measured *measured)
{
    return median(measured->times, measured->count);
}

static void
print_trips(struct pair *pair)
{
    struct measured message = {.count = MOST_TIMES}, bell = message;
    for (int i = 0; i < MOST_TIMES; i++) {
        message.times[i] = trip_seconds(pair, trip_by_message);
        bell.times[i] = trip_seconds(pair, trip_by_bell);
    }
    if (pair->rank == 0)
        printf("| 8 bytes there and back | MPI_Send, MPI_Recv | %.2f us | |\n"
               "| | doorbell | %.2f us | %.2fx |\n",
               1e6 * told(&message), 1e6 * told(&bell),
               told(&message) / told(&bell));
}

static const struct {
    const char *name;
    carrier carry;
    int small_pages;
} WAYS[] = {
    {"MPI_Send, MPI_Recv", by_message, 0},
    {"window", by_window, 0},
    {"process_vm_readv", by_read, 0},
    {"segment (small pages)", by_segment, 0},
    {"MPI_Send, MPI_Recv, small pages", by_message, 1},
};

#define WAYS_COUNT ((int)(sizeof WAYS / sizeof *WAYS))
#define HUGE_COUNT 3                    /* the ways with huge pages */

/* Ways first to end - 1 once, unless they failed; returns rank 0's seconds. */
static double
turn(struct pair *pair, struct measured *measured, int first, int end)
{
    double spent = 0;
    for (int i = first; i < end; i++) {
        if (measured[i].failed)
            continue;
        pair->failed = 0;
        pair->small_pages = WAYS[i].small_pages;
        double seconds = array_seconds(pair, WAYS[i].carry);
        MPI_Allreduce(&pair->failed, &measured[i].failed, 1, MPI_INT, MPI_MAX,
                      MPI_COMM_WORLD);
        measured[i].times[measured[i].count++] = seconds;
        spent += seconds;
    }
    MPI_Bcast(&spent, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    return spent;
}

/* They take turns, so that a drift of the machine hits all alike. */
static void
take_turns(struct pair *pair, struct measured *measured, int first, int end)
{
    double spent = 0;
    turn(pair, measured, first, end); /* connects, and finds who fails */
    for (int i = first; i < end; i++)
        measured[i].count = 0;
    for (int i = 0; i < 3 || (i < MOST_TIMES && spent < SECONDS); i++)
        spent += turn(pair, measured, first, end);
}

static void
print_way(const struct pair *pair, const char *name, struct measured *measured,
          double message)
{
    double size = (double)pair->size / 1e6;
    printf("| %.0f MB | %s ", size, name);
    if (measured->failed)
        printf("| %s | |\n", strerror(measured->failed));
    else
        printf("| %.0f MB/s | %.2fx |\n", size / told(measured),
               message / told(measured));
}

static void
print_arrays(struct pair *pair, size_t size)
{
    struct measured measured[WAYS_COUNT] = {0};
    pair->size = size;
    pair->small_pages = 0;
    pair->source = pair->rank == 0 ? memset(fresh(pair), 1, size) : NULL;
    /* Freed small pages spoil what comes next: there are no huge ones. */
    take_turns(pair, measured, 0, HUGE_COUNT);
    take_turns(pair, measured, HUGE_COUNT, WAYS_COUNT);
    double message = told(&measured[0]);
    for (int i = 0; i < WAYS_COUNT && pair->rank == 0; i++)
        print_way(pair, WAYS[i].name, &measured[i], message);
    if (pair->source != NULL)
        munmap(pair->source, size);
}

static struct shared *
share(MPI_Win *window)
{
    struct shared *shared;
    MPI_Aint size;
    int rank, unit;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Win_allocate_shared(rank == 0 ? sizeof *shared + LINE : 0, 1,
                            MPI_INFO_NULL, MPI_COMM_WORLD, &shared, window);
    MPI_Win_shared_query(*window, 0, &size, &unit, &shared);
    uintptr_t base = ((uintptr_t)shared + LINE - 1) / LINE * LINE;
    return (struct shared *)base; /* pages are shared, so is alignment */
}

static void
print_library(void)
{
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(library, &length);
    library[strcspn(library, "\n,")] = '\0';
    printf("%s\n\n| | by | | over MPI |\n| --- | --- | --- | --- |\n",
           library);
}

int
main(int argc, char **argv)
{
    struct pair pair = {0};
    MPI_Win window;
    int ranks;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* for read */
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &pair.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (ranks != 2) {
        fputs("usage: mpiexec -n 2 shared_memory [BYTES...]\n", stderr);
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    pair.shared = share(&window);
    if (pair.rank == 0)
        print_library();
    print_trips(&pair);
    for (int i = 1; i < argc; i++)
        print_arrays(&pair, (size_t)atol(argv[i]));
    for (size_t size = 8000000; argc == 1 && size <= 1000000000; size *= 125)
        print_arrays(&pair, size);
    MPI_Win_free(&window);
    MPI_Finalize();
    return 0;
}
