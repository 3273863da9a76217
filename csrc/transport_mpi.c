/* transport_mpi.c -- the mailbox of transport.h, over MPI.

   The one file that includes <mpi.h>.  Each MPI's own mpicc compiles it into
   a plug-in of its own.  It knows no Python, and not what a verb means.

   On the wire a message is a frame, whose tag is the verb: a head, the sizes
   of the parts, and the bytes of the small parts, each at a multiple of 8.
   Large parts follow as messages of their own, tagged PIECE_TAG and cut into
   pieces, so that they go from and to their final memory without a copy.
   MPI keeps the order of messages between two ranks, and a receiver takes all
   pieces of a frame before it looks for the next frame: so the next piece
   from a frame's source is always that frame's. */

#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <mpi.h>

#include "transport.h"

#define FRAME_MAGIC 0x455a3100u     /* "EZ1"; tells another byte order, too */
#define FRAME_EXPECTS 1u            /* in the low byte: an answer is owed */
#define SEPARATE ((uint64_t)1 << 63)    /* in a size: not in the frame */

/* Below this, copying a part twice costs less than a message of its own. */
#define INLINE_PART 4096u
/* All inline parts of a frame: MPIs send about this much eagerly. */
#define INLINE_TOTAL 16384u
/* Far below the 2 GiB that fit an int count, and small enough that a piece
   nobody wants can be received into scratch memory; yet so large that its
   overhead is lost in the time its bytes take. */
#define PIECE_BYTES ((size_t)64 << 20)
#define PIECE_TAG 32767             /* the largest tag that every MPI has */

/* So many parts that the frame's length fits an int. */
#define COUNT_LIMIT ((INT_MAX - 2 * INLINE_TOTAL) / sizeof(uint64_t))

#define SPIN_SECONDS 50e-6          /* wait without giving up the processor */
#define YIELD_SECONDS 1e-3          /* then offering it, and then asleep: */
#define SLEEP_SHARE 0.1             /* for this share of the time waited, */
#define SLEEP_LIMIT 1e-3            /* at most so long. */

#define SENDS_TESTED 16             /* unfinished sends looked at in one go */
#define RANKS_NAMED 4               /* in the line before an abort */

/* What differs between MPIs.  NAMES: what the libraries that share the ABI
   call themselves. */
#define TEXT(x) #x
#define TEXT_OF(x) TEXT(x)
#define COMM_FROM_HANDLE(handle) MPI_Comm_f2c(handle)
#define HANDLE_FROM_COMM(comm) MPI_Comm_c2f(comm)
#if defined(MPI_ABI_VERSION)
#define VARIANT "mpiabi"
#define COMPILED_FOR "MPI ABI " TEXT_OF(MPI_ABI_VERSION)
#define VARIANT_LIBRARIES {""}
#undef COMM_FROM_HANDLE
#undef HANDLE_FROM_COMM
#define COMM_FROM_HANDLE(handle) MPI_Comm_fromint(handle)
#define HANDLE_FROM_COMM(comm) MPI_Comm_toint(comm)
#elif defined(OPEN_MPI)
#define VARIANT "openmpi"
#define COMPILED_FOR "Open MPI " TEXT_OF(OMPI_MAJOR_VERSION) "." \
    TEXT_OF(OMPI_MINOR_VERSION) "." TEXT_OF(OMPI_RELEASE_VERSION)
#define VARIANT_LIBRARIES {"Open MPI"}
#elif defined(MPICH_VERSION)
#define VARIANT "mpich"
#define COMPILED_FOR "MPICH " MPICH_VERSION
#define VARIANT_LIBRARIES \
    {"MPICH", "Intel(R) MPI", "MVAPICH", "ParaStation MPI"}
#else
#error "this MPI is neither of MPICH's family, nor Open MPI, nor the MPI ABI"
#endif

struct frame {
    uint32_t magic;
    uint32_t count;                 /* parts */
    uint64_t sizes[];               /* then the inline parts' bytes */
};

/* A message on its way out. */
struct sending {
    struct sending *next;
    void *token;                    /* NULL: nothing is to be reaped */
    int posted;                     /* requests in use */
    struct frame *frame;            /* in this allocation, after requests */
    MPI_Request requests[];         /* the frame's, then one per piece */
};

struct mailbox {
    struct mailbox *next;           /* in the process's list */
    MPI_Comm comm;                  /* the duplicate; MPI_COMM_NULL: ended */
    int32_t handle;                 /* the parent's */
    int rank;
    int ranks;
    int crowded;                    /* more ranks here than processors */
    void *owner;
    struct transport_error error;   /* what broke the mailbox, if call */

    /* Outgoing. */
    struct sending *sending;
    struct sending **cursor;        /* link to the one to be tested next */
    void **tokens;                  /* ready to be reaped */
    size_t tokens_ready;
    size_t tokens_owed;             /* ready, or with a message on its way */
    size_t tokens_room;

    /* The last message, and what remains to be received of it. */
    struct frame *frame;
    size_t frame_room;
    struct transport_part *parts;
    size_t parts_room;
    struct transport_message message;
    int expects;
    size_t settled;                 /* parts below are received or dropped */
    double idle;                    /* seconds since something happened */

    /* The end. */
    struct transport_farewell farewell;     /* bytes: our copy */
    int said;
    int heard;                      /* farewells of others */
    char *heard_from;               /* by rank */
    int closed;
    double deadline;                /* for receiving, once rank 0 ends */
    double ending_seconds;
    int ending_code;
};

/* MPI itself exists once in a process, and neither the callbacks of
   MPI_Finalize nor Py_AtExit's take an argument of ours: this is the one
   mutable static. */
static struct {
    int parent_key;                 /* a communicator's mailbox */
    int self_key;                   /* on MPI_COMM_SELF: MPI_Finalize began */
    int keys_made;
    pid_t pid;                      /* a forked child has no MPI */
    struct mailbox *mailboxes;
} process = {.parent_key = MPI_KEYVAL_INVALID, .self_key = MPI_KEYVAL_INVALID};


/* --- Errors --- */

static int
refuse(struct transport_error *error, const char *call, const char *text)
{
    error->call = call;
    snprintf(error->text, sizeof(error->text), "%s", text);
    return TRANSPORT_FAILED;
}

/* What MPI says of its error code. */
static int
failed(struct transport_error *error, const char *call, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;

    MPI_Error_string(code, text, &length);
    return refuse(error, call, text);
}

static int
no_memory(struct transport_error *error)
{
    return refuse(error, "malloc", "out of memory");
}

/* Inside, an error is left in the mailbox, which is of no use from then on;
   this hands it to the caller. */
static int
report(const struct mailbox *mailbox, int status,
       struct transport_error *error)
{
    if (status == TRANSPORT_FAILED) {
        *error = mailbox->error;
    }
    return status;
}

static int
broken(const struct mailbox *mailbox)
{
    return mailbox->error.call != NULL;
}


/* --- Waiting --- */

static double
now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Between two looks at what we wait for: the longer it has been, the less of
   the processor we take.  A signal ends the sleep early, which is as well. */
static void
rest(int crowded, double waited)
{
    struct timespec time = {0, 0};
    double seconds = waited * SLEEP_SHARE;

    if (waited < SPIN_SECONDS && !crowded) {
        return;
    }
    if (waited < YIELD_SECONDS) {
        sched_yield();
        return;
    }
    seconds = seconds < SLEEP_LIMIT ? seconds : SLEEP_LIMIT;
    time.tv_nsec = (long)(seconds * 1e9);
    nanosleep(&time, NULL);
}

/* More ranks on this host than processors?  The launchers tell how many;
   asking the other ranks would be collective. */
static int
is_crowded(int ranks)
{
    static const char *const names[] = {
        "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE",
        "MV2_COMM_WORLD_LOCAL_SIZE", "SLURM_STEP_TASKS_PER_NODE",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *value = getenv(names[i]);
        if (value != NULL && atoi(value) > 0) {
            ranks = atoi(value);
            break;
        }
    }
    return ranks > sysconf(_SC_NPROCESSORS_ONLN);
}

/* MPI's own waits burn a processor; this one rests. */
static int
finish(struct mailbox *mailbox, MPI_Request *request, MPI_Status *status,
       const char *call)
{
    double start = 0, waited = 0;

    for (;;) {
        int done;
        int code = MPI_Test(request, &done, status);
        if (code != MPI_SUCCESS) {
            return failed(&mailbox->error, call, code);
        }
        if (done) {
            return TRANSPORT_OK;
        }
        if (start == 0) {
            start = now();
        }
        if (mailbox->deadline > 0 && start + waited > mailbox->deadline) {
            return refuse(&mailbox->error, call, "not done in time");
        }
        rest(mailbox->crowded, waited);
        waited = now() - start;
    }
}


/* --- Sending --- */

static size_t
aligned(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

static size_t
frame_head(size_t count)
{
    return sizeof(struct frame) + count * sizeof(uint64_t);
}

/* Does a part travel in the frame that holds inlined bytes already? */
static int
is_inline(size_t size, size_t inlined)
{
    return size == 0 || (size <= INLINE_PART && inlined + size <= INLINE_TOTAL);
}

static size_t
pieces(size_t size)
{
    return size / PIECE_BYTES + (size % PIECE_BYTES != 0);
}

/* Fills sizes (or nothing, if NULL) and the inline bytes behind them; tells
   how many bytes the inline parts take and how many pieces the others. */
static size_t
pack(const struct transport_part *parts, size_t count, struct frame *frame,
     size_t *separate)
{
    char *bytes = frame != NULL ? (char *)&frame->sizes[count] : NULL;
    size_t inlined = 0;

    *separate = 0;
    for (size_t i = 0; i < count; i++) {
        size_t size = parts[i].size;
        int inside = is_inline(size, inlined);
        if (frame != NULL) {
            frame->sizes[i] = inside ? size : size | SEPARATE;
        }
        if (!inside) {
            *separate += pieces(size);
            continue;
        }
        if (frame != NULL && size > 0) {
            memcpy(bytes + inlined, parts[i].base, size);
            memset(bytes + inlined + size, 0, aligned(size) - size);
        }
        inlined += aligned(size);
    }
    return inlined;
}

static struct sending *
sending_new(size_t requests, size_t frame_size)
{
    size_t offset = aligned(sizeof(struct sending)
                            + requests * sizeof(MPI_Request));
    struct sending *sending = malloc(offset + frame_size);

    if (sending != NULL) {
        sending->next = NULL;
        sending->posted = 0;
        sending->frame = (struct frame *)((char *)sending + offset);
    }
    return sending;
}

static int
post(struct mailbox *mailbox, struct sending *sending, int rank, int tag,
     const void *base, size_t size)
{
    int code = MPI_Isend(base, (int)size, MPI_BYTE, rank, tag, mailbox->comm,
                         &sending->requests[sending->posted]);

    if (code != MPI_SUCCESS) {
        return failed(&mailbox->error, "MPI_Isend", code);
    }
    sending->posted++;
    return TRANSPORT_OK;
}

static int
post_separate(struct mailbox *mailbox, struct sending *sending, int rank,
              const struct transport_part *part)
{
    const char *base = part->base;

    for (size_t done = 0; done < part->size; done += PIECE_BYTES) {
        size_t rest_size = part->size - done;
        size_t size = rest_size < PIECE_BYTES ? rest_size : PIECE_BYTES;
        if (post(mailbox, sending, rank, PIECE_TAG, base + done, size) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return TRANSPORT_OK;
}

/* Are all requests of the message at *link done?  Then it is taken out of
   the list and its token is ready. */
static int
settle(struct mailbox *mailbox, struct sending **link)
{
    struct sending *sending = *link;
    int done;
    int code = MPI_Testall(sending->posted, sending->requests, &done,
                           MPI_STATUSES_IGNORE);

    if (code != MPI_SUCCESS) {
        return failed(&mailbox->error, "MPI_Testall", code);
    }
    if (!done) {
        return TRANSPORT_NOTHING;
    }
    if (sending->token != NULL) {
        mailbox->tokens[mailbox->tokens_ready++] = sending->token;
    }
    *link = sending->next;
    free(sending);
    return TRANSPORT_OK;
}

/* Frees what has left.  Goes round the list a few unfinished messages at a
   time: one to a rank that does not receive must not hold up the others, and
   a long list must not be walked at every call.  Messages are taken out at
   the cursor only, so the link that it points to stays valid. */
static int
progress(struct mailbox *mailbox)
{
    for (int tested = 0; tested < SENDS_TESTED; ) {
        int status;
        if (*mailbox->cursor == NULL) {
            mailbox->cursor = &mailbox->sending;
            if (mailbox->sending == NULL || tested > 0) {
                break;
            }
        }
        status = settle(mailbox, mailbox->cursor);
        if (status == TRANSPORT_FAILED) {
            return status;
        }
        if (status == TRANSPORT_NOTHING) {
            mailbox->cursor = &(*mailbox->cursor)->next;
            tested++;
        }
    }
    return TRANSPORT_OK;
}

/* Room for one more token, so that settle cannot fail for lack of it. */
static int
reserve_token(struct mailbox *mailbox)
{
    size_t room = 2 * mailbox->tokens_room + 16;
    void **tokens;

    if (mailbox->tokens_owed < mailbox->tokens_room) {
        return TRANSPORT_OK;
    }
    tokens = realloc(mailbox->tokens, room * sizeof(*tokens));
    if (tokens == NULL) {
        return TRANSPORT_FAILED;
    }
    mailbox->tokens = tokens;
    mailbox->tokens_room = room;
    return TRANSPORT_OK;
}

static int
post_all(struct mailbox *mailbox, struct sending *sending, int rank, int verb,
         size_t frame_size, const struct transport_part *parts)
{
    const struct frame *frame = sending->frame;

    if (post(mailbox, sending, rank, verb, frame, frame_size) < 0) {
        return TRANSPORT_FAILED;
    }
    for (size_t i = 0; i < frame->count; i++) {
        if (frame->sizes[i] & SEPARATE
            && post_separate(mailbox, sending, rank, &parts[i]) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return TRANSPORT_OK;
}

/* token NULL: nothing is to be reaped. */
static int
enqueue(struct mailbox *mailbox, int rank, int verb, int expects,
        const struct transport_part *parts, size_t count, void *token)
{
    size_t separate;
    size_t frame_size = frame_head(count)
                        + pack(parts, count, NULL, &separate);
    struct sending *sending;

    sending = sending_new(1 + separate, frame_size);
    if (sending == NULL || reserve_token(mailbox) < 0) {
        free(sending);
        return no_memory(&mailbox->error);
    }
    sending->frame->magic = FRAME_MAGIC | (expects ? FRAME_EXPECTS : 0);
    sending->frame->count = (uint32_t)count;
    pack(parts, count, sending->frame, &separate);
    mailbox->tokens_owed += token != NULL;
    sending->token = token;
    if (separate == 0 && token != NULL) {
        /* All is in our own memory: the caller's is free at once. */
        mailbox->tokens[mailbox->tokens_ready++] = token;
        sending->token = NULL;
    }
    sending->next = mailbox->sending;
    mailbox->sending = sending;
    if (post_all(mailbox, sending, rank, verb, frame_size, parts) < 0) {
        return TRANSPORT_FAILED;
    }
    if (settle(mailbox, &mailbox->sending) == TRANSPORT_FAILED) {
        return TRANSPORT_FAILED;
    }
    return TRANSPORT_OK;
}

static int
transport_send(struct mailbox *mailbox, int rank, int verb, int expects,
               const struct transport_part *parts, size_t count, void *token,
               struct transport_error *error)
{
    if (broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    if (mailbox->said) {
        return refuse(error, "send", "the farewell has been said");
    }
    if (rank < 0 || rank >= mailbox->ranks || rank == mailbox->rank
        || (rank != 0 && mailbox->rank != 0)) {
        return refuse(error, "send", "not between rank 0 and another");
    }
    if (verb < 0 || verb >= PIECE_TAG || count > COUNT_LIMIT) {
        return refuse(error, "send", "the verb or the count is too large");
    }
    mailbox->idle = 0;
    return report(mailbox,
                  enqueue(mailbox, rank, verb, expects, parts, count, token),
                  error);
}

static void *
transport_reap(struct mailbox *mailbox)
{
    if (mailbox->tokens_ready == 0 && !broken(mailbox)) {
        progress(mailbox);          /* the next call reports what it broke */
    }
    if (mailbox->tokens_ready == 0) {
        return NULL;
    }
    mailbox->tokens_owed--;
    return mailbox->tokens[--mailbox->tokens_ready];
}

/* As transport_flush, with the error in the mailbox. */
static int
flush(struct mailbox *mailbox, double seconds)
{
    double start = now(), waited = 0;

    for (;;) {
        if (progress(mailbox) < 0) {
            return TRANSPORT_FAILED;
        }
        if (mailbox->sending == NULL) {
            return TRANSPORT_OK;
        }
        if (waited >= seconds) {
            return TRANSPORT_NOTHING;
        }
        rest(mailbox->crowded, waited);
        waited = now() - start;
    }
}

static int
transport_flush(struct mailbox *mailbox, double seconds,
                struct transport_error *error)
{
    int status = broken(mailbox) ? TRANSPORT_FAILED : flush(mailbox, seconds);

    return report(mailbox, status, error);
}


/* --- Receiving --- */

/* Makes *memory at least size bytes long; its content is lost. */
static int
grow(void **memory, size_t *room, size_t size)
{
    if (size <= *room) {
        return TRANSPORT_OK;
    }
    free(*memory);
    *room = 0;
    *memory = malloc(size);
    if (*memory == NULL) {
        return TRANSPORT_FAILED;
    }
    *room = size;
    return TRANSPORT_OK;
}

static int
malformed(struct mailbox *mailbox, const char *text)
{
    return refuse(&mailbox->error, "MPI_Imrecv", text);
}

/* Points parts into the frame.  Nothing in it is believed before it was held
   against size, the length that MPI reports. */
static int
unpack(struct mailbox *mailbox, size_t size)
{
    const struct frame *frame = mailbox->frame;
    size_t count, offset;

    if (size < sizeof(*frame)
        || (frame->magic & ~FRAME_EXPECTS) != FRAME_MAGIC) {
        return malformed(mailbox, "a message of another program, version of "
                                  "ezmpi or byte order");
    }
    count = frame->count;
    if (count > (size - sizeof(*frame)) / sizeof(uint64_t)) {
        return malformed(mailbox, "a message shorter than its table of parts");
    }
    if (grow((void **)&mailbox->parts, &mailbox->parts_room,
             count * sizeof(*mailbox->parts)) < 0) {
        return no_memory(&mailbox->error);
    }
    offset = frame_head(count);
    for (size_t i = 0; i < count; i++) {
        uint64_t part = frame->sizes[i];
        int inside = (part & SEPARATE) == 0;
        if (inside && part > size - offset) {
            return malformed(mailbox, "a message shorter than its parts");
        }
        mailbox->parts[i].base = inside ? (char *)frame + offset : NULL;
        mailbox->parts[i].size = (size_t)(part & ~SEPARATE);
        offset += inside ? aligned((size_t)part) : 0;
    }
    if (offset != size) {
        return malformed(mailbox, "a message longer than its parts");
    }
    mailbox->message.count = count;
    mailbox->message.parts = mailbox->parts;
    mailbox->expects = (frame->magic & FRAME_EXPECTS) != 0;
    return TRANSPORT_OK;
}

static int
receive_piece(struct mailbox *mailbox, void *base, size_t size)
{
    MPI_Request request;
    MPI_Status status;
    int received;
    int code = MPI_Irecv(base, (int)size, MPI_BYTE, mailbox->message.source,
                         PIECE_TAG, mailbox->comm, &request);

    if (code != MPI_SUCCESS) {
        return failed(&mailbox->error, "MPI_Irecv", code);
    }
    if (finish(mailbox, &request, &status, "MPI_Irecv") < 0) {
        return TRANSPORT_FAILED;
    }
    MPI_Get_count(&status, MPI_BYTE, &received);
    if (received < 0 || (size_t)received != size) {
        return malformed(mailbox, "a piece of the wrong size");
    }
    return TRANSPORT_OK;
}

/* Receives a separate part; base NULL: into scratch memory, piece by piece.
   (MPI has no other way to drop a message: one longer than its buffer is an
   error, after which MPI promises nothing.) */
static int
receive_part(struct mailbox *mailbox, size_t size, char *base)
{
    char *scratch = NULL;
    int status = TRANSPORT_OK;

    if (base == NULL) {
        scratch = malloc(size < PIECE_BYTES ? size : PIECE_BYTES);
        if (scratch == NULL) {
            return no_memory(&mailbox->error);
        }
    }
    for (size_t done = 0; done < size && status == TRANSPORT_OK; ) {
        size_t left = size - done;
        size_t piece = left < PIECE_BYTES ? left : PIECE_BYTES;
        status = receive_piece(mailbox, scratch ? scratch : base + done,
                               piece);
        done += piece;
    }
    free(scratch);
    return status;
}

/* Drops the separate parts below index that nobody took. */
static int
discard_until(struct mailbox *mailbox, size_t index)
{
    for (; mailbox->settled < index; mailbox->settled++) {
        const struct transport_part *part = &mailbox->parts[mailbox->settled];
        if (part->base == NULL
            && receive_part(mailbox, part->size, NULL) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return TRANSPORT_OK;
}

static int
receive_frame(struct mailbox *mailbox, MPI_Message *arrived, int size)
{
    MPI_Request request;
    int code;

    if (size < 0) {                 /* MPI_UNDEFINED: more than an int */
        return malformed(mailbox, "a message longer than 2 GiB");
    }
    if (grow((void **)&mailbox->frame, &mailbox->frame_room,
             (size_t)size) < 0) {
        return no_memory(&mailbox->error);
    }
    code = MPI_Imrecv(mailbox->frame, size, MPI_BYTE, arrived, &request);
    if (code != MPI_SUCCESS) {
        return failed(&mailbox->error, "MPI_Imrecv", code);
    }
    if (finish(mailbox, &request, MPI_STATUS_IGNORE, "MPI_Imrecv") < 0) {
        return TRANSPORT_FAILED;
    }
    return unpack(mailbox, (size_t)size);
}

/* The next message that is there, once the last one is out of the way. */
static int
receive(struct mailbox *mailbox)
{
    MPI_Message arrived;
    MPI_Status status;
    int found, size, code;

    if (discard_until(mailbox, mailbox->message.count) < 0) {
        return TRANSPORT_FAILED;
    }
    code = MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, mailbox->comm, &found,
                       &arrived, &status);
    if (code != MPI_SUCCESS) {
        return failed(&mailbox->error, "MPI_Improbe", code);
    }
    if (!found) {
        return TRANSPORT_NOTHING;
    }
    MPI_Get_count(&status, MPI_BYTE, &size);
    mailbox->message.source = status.MPI_SOURCE;
    mailbox->message.verb = status.MPI_TAG;
    mailbox->message.count = 0;
    mailbox->settled = 0;
    if (receive_frame(mailbox, &arrived, size) < 0) {
        return TRANSPORT_FAILED;
    }
    if (status.MPI_TAG == mailbox->farewell.verb) {
        mailbox->heard += !mailbox->heard_from[status.MPI_SOURCE];
        mailbox->heard_from[status.MPI_SOURCE] = 1;
    }
    return TRANSPORT_OK;
}

/* Has every farewell come that will? */
static int
heard_all(const struct mailbox *mailbox)
{
    return mailbox->heard == (mailbox->rank == 0 ? mailbox->ranks - 1 : 1);
}

/* As transport_wait, with the error in the mailbox. */
static int
await(struct mailbox *mailbox, double seconds)
{
    double start = 0, waited = 0;

    for (;;) {
        int status = receive(mailbox);
        if (status != TRANSPORT_NOTHING) {
            mailbox->idle = 0;
            return status;
        }
        if (mailbox->sending != NULL && progress(mailbox) < 0) {
            return TRANSPORT_FAILED;
        }
        if (waited >= seconds) {
            mailbox->idle += waited;
            return TRANSPORT_NOTHING;
        }
        if (start == 0) {
            start = now();
        }
        /* Many short waits in a row are one long wait. */
        rest(mailbox->crowded, mailbox->idle + waited);
        waited = now() - start;
    }
}

static int
transport_wait(struct mailbox *mailbox, double seconds,
               struct transport_message *message,
               struct transport_error *error)
{
    int status;

    if (broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    if (mailbox->rank != 0 && heard_all(mailbox)) {
        return discard_until(mailbox, mailbox->message.count) < 0
               ? report(mailbox, TRANSPORT_FAILED, error) : TRANSPORT_NOTHING;
    }
    status = await(mailbox, seconds);
    if (status == TRANSPORT_OK) {
        *message = mailbox->message;
    }
    return report(mailbox, status, error);
}

static int
transport_take(struct mailbox *mailbox, size_t index, void *base,
               struct transport_error *error)
{
    const struct transport_part *part;

    if (broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    if (index >= mailbox->message.count) {
        return refuse(error, "take", "the message has no such part");
    }
    part = &mailbox->parts[index];
    if (part->base != NULL) {
        if (base != NULL) {
            memcpy(base, part->base, part->size);
        }
        return TRANSPORT_OK;
    }
    if (index < mailbox->settled) {
        return refuse(error, "take", "this part or a later one was taken");
    }
    if (discard_until(mailbox, index) < 0
        || receive_part(mailbox, part->size, base) < 0) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    mailbox->settled = index + 1;
    return TRANSPORT_OK;
}


/* --- The end ---

   Every rank says farewell once: rank 0 when it is done for good, another
   rank in answer to that, and nobody sends anything after it.  Since messages
   keep their order, whoever has heard the other side's farewell has received
   all that side ever sent.  So when rank 0 has heard all, and another rank
   has heard rank 0 and its own farewell has left, nothing is on its way, and
   MPI_Finalize meets no message that nobody received.

   No two processes wait for each other: each says all the farewells that it
   owes as rank 0 before it waits for any, and then serves its mailboxes in
   turn. */

static void abort_job(int code);

static int
say_farewell(struct mailbox *mailbox)
{
    struct transport_part part = {(void *)mailbox->farewell.bytes,
                                  mailbox->farewell.size};
    int first = mailbox->rank == 0 ? 1 : 0;
    int end = mailbox->rank == 0 ? mailbox->ranks : 1;

    mailbox->said = 1;
    for (int rank = first; rank < end; rank++) {
        if (enqueue(mailbox, rank, mailbox->farewell.verb, 0, &part, 1, NULL)
            < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return TRANSPORT_OK;
}

/* "ranks 2, 3, 5, 8 and 500 more": those whose farewell has not come. */
static void
name_missing(const struct mailbox *mailbox, char *text, size_t size)
{
    int missing = mailbox->ranks - 1 - mailbox->heard;
    int named = 0;
    size_t length = (size_t)snprintf(text, size,
                                     missing == 1 ? "rank" : "ranks");

    for (int rank = 1; rank < mailbox->ranks && named < RANKS_NAMED; rank++) {
        if (mailbox->heard_from[rank]) {
            continue;
        }
        length += (size_t)snprintf(text + length, size - length, "%s %d",
                                   named > 0 ? "," : "", rank);
        named++;
    }
    if (missing > named) {
        snprintf(text + length, size - length, " and %d more",
                 missing - named);
    }
}

static void
give_up_waiting(const struct mailbox *mailbox)
{
    char names[128];

    name_missing(mailbox, names, sizeof(names));
    fprintf(stderr, "ezmpi: %s still %s %g s after rank 0 ended; "
            "aborting the job\n", names,
            mailbox->ranks - 1 - mailbox->heard == 1 ? "works" : "work",
            mailbox->ending_seconds);
    abort_job(mailbox->ending_code);
}

/* Drops what has come. */
static int
drain(struct mailbox *mailbox)
{
    int status;

    while ((status = receive(mailbox)) == TRANSPORT_OK) {
        if (mailbox->rank != 0 && mailbox->expects) {
            fprintf(stderr, "ezmpi: rank 0 gave work to rank %d, which has "
                    "ended; aborting the job\n", mailbox->rank);
            abort_job(1);
        }
    }
    return status;
}

/* A step towards the mailbox's end: OK when it is reached. */
static int
approach_end(struct mailbox *mailbox)
{
    if (drain(mailbox) == TRANSPORT_FAILED) {
        return TRANSPORT_FAILED;
    }
    if (heard_all(mailbox) && !mailbox->said && say_farewell(mailbox) < 0) {
        return TRANSPORT_FAILED;
    }
    if (progress(mailbox) < 0) {
        return TRANSPORT_FAILED;
    }
    return heard_all(mailbox) && mailbox->sending == NULL ? TRANSPORT_OK
                                                          : TRANSPORT_NOTHING;
}

static int
is_ending(const struct mailbox *mailbox, const struct mailbox *only)
{
    return mailbox->comm != MPI_COMM_NULL && (!only || mailbox == only);
}

/* How far all mailboxes (or only one) are together. */
static int
approach_end_of(struct mailbox *only)
{
    int together = TRANSPORT_OK;

    for (struct mailbox *m = process.mailboxes; m != NULL; m = m->next) {
        int status = is_ending(m, only) ? approach_end(m) : TRANSPORT_OK;
        if (status == TRANSPORT_NOTHING) {
            together = status;
        }
        if (status != TRANSPORT_OK && m->deadline > 0
            && now() > m->deadline) {
            give_up_waiting(m);
        }
        if (status == TRANSPORT_FAILED) {
            fprintf(stderr, "ezmpi: %s: %s; aborting the job\n",
                    m->error.call, m->error.text);
            abort_job(1);
        }
    }
    return together;
}

static void
begin_end_of(struct mailbox *only)
{
    for (struct mailbox *m = process.mailboxes; m != NULL; m = m->next) {
        if (is_ending(m, only) && m->rank == 0) {
            m->deadline = now() + m->ending_seconds;
            /* What fails here fails again in approach_end. */
            (void)say_farewell(m);
        }
    }
}

/* The struct stays: whoever still has a pointer to it gets an error. */
static void
release(struct mailbox *mailbox)
{
    MPI_Comm_free(&mailbox->comm);
    mailbox->comm = MPI_COMM_NULL;
    mailbox->closed = 1;
    free(mailbox->frame);
    free(mailbox->parts);
    free(mailbox->heard_from);
    free((void *)mailbox->farewell.bytes);
    refuse(&mailbox->error, "MPI_Comm_free", "the communicator is gone: it "
           "was freed, or MPI was finalized");
}

static void
end_mailboxes(struct mailbox *only)
{
    double start = now(), waited = 0;

    begin_end_of(only);
    while (approach_end_of(only) != TRANSPORT_OK) {
        rest(process.mailboxes->crowded, waited);
        waited = now() - start;
    }
    for (struct mailbox *m = process.mailboxes; m != NULL; m = m->next) {
        if (is_ending(m, only)) {
            release(m);
        }
    }
}

/* MPI_Finalize began, whoever called it. */
static int
on_finalize(MPI_Comm self, int key, void *value, void *extra)
{
    (void)self, (void)key, (void)value, (void)extra;
    if (getpid() == process.pid) {
        end_mailboxes(NULL);
    }
    return MPI_SUCCESS;
}

/* The parent is freed.  MPICH calls this for MPI_COMM_WORLD in MPI_Finalize,
   when on_finalize has ended the mailbox. */
static int
on_parent_freed(MPI_Comm parent, int key, void *value, void *extra)
{
    struct mailbox *mailbox = value;

    (void)parent, (void)key, (void)extra;
    if (mailbox->comm != MPI_COMM_NULL && getpid() == process.pid) {
        end_mailboxes(mailbox);
    }
    return MPI_SUCCESS;
}

static int
transport_close(struct mailbox *mailbox, struct transport_error *error)
{
    if (mailbox->closed) {
        return TRANSPORT_OK;
    }
    if (broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    if (mailbox->rank == 0 || !heard_all(mailbox)) {
        return refuse(error, "close", "rank 0 has not said farewell");
    }
    if (discard_until(mailbox, mailbox->message.count) < 0
        || say_farewell(mailbox) < 0 || flush(mailbox, HUGE_VAL) < 0) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    mailbox->closed = 1;
    return TRANSPORT_OK;
}

static int
transport_closed(const struct mailbox *mailbox)
{
    return mailbox->closed;
}

static void
transport_set_ending(struct mailbox *mailbox, double seconds, int code)
{
    mailbox->ending_seconds = seconds;
    mailbox->ending_code = code;
}

static int
is_running(void)
{
    int started = 0, finished = 1;

    MPI_Initialized(&started);
    MPI_Finalized(&finished);
    return started && !finished;
}

static void
abort_job(int code)
{
    /* Of an exit code only the low byte remains, and 0 would be a success. */
    code = (code & 0xff) != 0 ? code & 0xff : 1;
    fflush(NULL);
    if (is_running()) {
        MPI_Abort(MPI_COMM_WORLD, code);
    }
    _exit(code);
}

static void
transport_abort(struct mailbox *mailbox, int code)
{
    (void)mailbox;
    abort_job(code);
}


/* --- The beginning --- */

static int
make_keys(struct transport_error *error)
{
    int code;

    if (process.keys_made) {
        return TRANSPORT_OK;
    }
    code = MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_parent_freed,
                                  &process.parent_key, NULL);
    if (code == MPI_SUCCESS) {
        code = MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_finalize,
                                      &process.self_key, NULL);
    }
    if (code != MPI_SUCCESS) {
        return failed(error, "MPI_Comm_create_keyval", code);
    }
    code = MPI_Comm_set_attr(MPI_COMM_SELF, process.self_key, NULL);
    if (code != MPI_SUCCESS) {
        return failed(error, "MPI_Comm_set_attr", code);
    }
    process.pid = getpid();
    process.keys_made = 1;
    return TRANSPORT_OK;
}

/* MPI raises the error of an invalid handle on MPI_COMM_SELF, before MPI 4 on
   MPI_COMM_WORLD, where it ends the job unless somebody said otherwise. */
static int
test_inter(MPI_Comm comm, int *inter)
{
    MPI_Comm where[2] = {MPI_COMM_SELF, MPI_COMM_WORLD};
    MPI_Errhandler saved[2];
    int code;

    for (int i = 0; i < 2; i++) {
        MPI_Comm_get_errhandler(where[i], &saved[i]);
        MPI_Comm_set_errhandler(where[i], MPI_ERRORS_RETURN);
    }
    code = MPI_Comm_test_inter(comm, inter);
    for (int i = 0; i < 2; i++) {
        MPI_Comm_set_errhandler(where[i], saved[i]);
        MPI_Errhandler_free(&saved[i]);
    }
    return code;
}

static int
find_parent(int32_t handle, MPI_Comm *parent, struct transport_error *error)
{
    int inter = 0, code;

    if (!is_running()) {
        return refuse(error, "open", "MPI is not running");
    }
    *parent = MPI_COMM_WORLD;
    if (handle == TRANSPORT_WORLD) {
        return TRANSPORT_OK;
    }
    *parent = COMM_FROM_HANDLE(handle);
    if (*parent == MPI_COMM_NULL) {
        return refuse(error, "open", "not a communicator");
    }
    code = test_inter(*parent, &inter);
    if (code != MPI_SUCCESS) {
        return failed(error, "MPI_Comm_test_inter", code);
    }
    if (inter) {
        return refuse(error, "open", "an intercommunicator has no rank 0 that "
                                     "all its processes share");
    }
    return TRANSPORT_OK;
}

static int
duplicate(struct mailbox *mailbox, MPI_Comm parent)
{
    MPI_Request request;
    int code;

    MPI_Comm_rank(parent, &mailbox->rank);
    MPI_Comm_size(parent, &mailbox->ranks);
    mailbox->crowded = is_crowded(mailbox->ranks);
    mailbox->heard_from = calloc((size_t)mailbox->ranks, 1);
    if (mailbox->heard_from == NULL) {
        return no_memory(&mailbox->error);
    }
    code = MPI_Comm_idup(parent, &mailbox->comm, &request);
    if (code != MPI_SUCCESS) {
        return failed(&mailbox->error, "MPI_Comm_idup", code);
    }
    if (finish(mailbox, &request, MPI_STATUS_IGNORE, "MPI_Comm_idup") < 0) {
        return TRANSPORT_FAILED;
    }
    MPI_Comm_set_errhandler(mailbox->comm, MPI_ERRORS_RETURN);
    code = MPI_Comm_set_attr(parent, process.parent_key, mailbox);
    if (code != MPI_SUCCESS) {
        return failed(&mailbox->error, "MPI_Comm_set_attr", code);
    }
    return TRANSPORT_OK;
}

static struct mailbox *
mailbox_new(MPI_Comm parent, const struct transport_farewell *farewell,
            struct transport_error *error)
{
    struct mailbox *mailbox = calloc(1, sizeof(*mailbox));
    void *bytes = malloc(farewell->size + 1);

    if (mailbox == NULL || bytes == NULL) {
        no_memory(error);
        goto failure;
    }
    memcpy(bytes, farewell->bytes, farewell->size);
    mailbox->farewell = *farewell;
    mailbox->farewell.bytes = bytes;
    mailbox->handle = HANDLE_FROM_COMM(parent);
    mailbox->cursor = &mailbox->sending;
    mailbox->ending_seconds = 5;
    mailbox->ending_code = 1;
    if (duplicate(mailbox, parent) == TRANSPORT_OK) {
        mailbox->next = process.mailboxes;
        process.mailboxes = mailbox;
        return mailbox;
    }
    report(mailbox, TRANSPORT_FAILED, error);
    free(mailbox->heard_from);
failure:
    free(bytes);
    free(mailbox);
    return NULL;
}

static int
transport_open(int32_t handle, const struct transport_farewell *farewell,
               struct mailbox **mailbox, struct transport_error *error)
{
    MPI_Comm parent;
    int code, found;

    if (find_parent(handle, &parent, error) < 0 || make_keys(error) < 0) {
        return TRANSPORT_FAILED;
    }
    code = MPI_Comm_get_attr(parent, process.parent_key, mailbox, &found);
    if (code != MPI_SUCCESS) {
        return failed(error, "MPI_Comm_get_attr", code);
    }
    if (!found) {
        *mailbox = mailbox_new(parent, farewell, error);
    }
    return *mailbox != NULL ? TRANSPORT_OK : TRANSPORT_FAILED;
}

static int
transport_rank(const struct mailbox *mailbox)
{
    return mailbox->rank;
}

static int
transport_ranks(const struct mailbox *mailbox)
{
    return mailbox->ranks;
}

static int32_t
transport_handle(const struct mailbox *mailbox)
{
    return mailbox->handle;
}

static void *
transport_owner(const struct mailbox *mailbox)
{
    return mailbox->owner;
}

static void
transport_set_owner(struct mailbox *mailbox, void *owner)
{
    mailbox->owner = owner;
}

/* Libraries that keep the ABI of the one this variant was compiled for. */
static int
is_relative(const char *library)
{
    static const char *const names[] = VARIANT_LIBRARIES;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strstr(library, names[i]) != NULL) {
            return 1;
        }
    }
    return 0;
}

static int
transport_check(char *library, size_t size, struct transport_error *error)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int length;
    int code = MPI_Get_library_version(version, &length);

    if (code != MPI_SUCCESS) {
        return failed(error, "MPI_Get_library_version", code);
    }
    version[strcspn(version, "\r\n")] = '\0';
    snprintf(library, size, "%s", version);
    if (!is_relative(version)) {
        error->call = "MPI_Get_library_version";
        snprintf(error->text, sizeof(error->text), "the transport for "
                 VARIANT " does not run on %.200s", version);
        return TRANSPORT_FAILED;
    }
    return TRANSPORT_OK;
}

static int
transport_start(int *ours, struct transport_error *error)
{
    int started, finished, level, code;

    *ours = 0;
    MPI_Finalized(&finished);
    if (finished) {
        return refuse(error, "MPI_Init_thread", "MPI was finalized already, "
                                                "and starts only once");
    }
    MPI_Initialized(&started);
    if (started) {
        return TRANSPORT_OK;
    }
    code = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level);
    if (code != MPI_SUCCESS) {
        return failed(error, "MPI_Init_thread", code);
    }
    process.pid = getpid();
    *ours = 1;
    return TRANSPORT_OK;
}

static void
transport_leave(void)
{
    if (getpid() == process.pid && is_running()) {
        MPI_Finalize();
    }
}

__attribute__((visibility("default")))
const struct transport ezmpi_transport = {
    .version = TRANSPORT_VERSION,
    .size = sizeof(struct transport),
    .variant = VARIANT,
    .compiled_for = COMPILED_FOR,
    .check = transport_check,
    .start = transport_start,
    .leave = transport_leave,
    .open = transport_open,
    .rank = transport_rank,
    .ranks = transport_ranks,
    .handle = transport_handle,
    .owner = transport_owner,
    .set_owner = transport_set_owner,
    .send = transport_send,
    .reap = transport_reap,
    .flush = transport_flush,
    .wait = transport_wait,
    .take = transport_take,
    .close = transport_close,
    .closed = transport_closed,
    .set_ending = transport_set_ending,
    .abort = transport_abort,
};
