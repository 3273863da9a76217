/* transport_mpi.c -- the mailbox of transport.h, over MPI.

   The one file that includes <mpi.h>.  Each MPI's own mpicc compiles it, with
   frame.c and patience.c, into a plug-in of its own.  It knows no Python, and
   not what a verb means.

   A message travels as a frame (frame.h), whose tag is the verb, and then the
   parts that do not fit it, tagged PIECE_TAG and cut into pieces: those go
   from and to their final memory without a copy.  MPI keeps the order of the
   messages between two ranks, and all pieces of a frame are received before
   the next frame is looked for: so the next piece from a frame's source is
   always that frame's. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpi.h>

#include "frame.h"
#include "patience.h"
#include "transport.h"

/* Far below the 2 GiB of an int count, and so small that a piece nobody wants
   can go to scratch memory; yet its overhead is lost in its bytes' time. */
#define PIECE_BYTES ((size_t)64 << 20)
#define PIECE_TAG 32767             /* the largest that every MPI has */

#define SENDS_TESTED 16             /* unfinished ones, at one go */
#define RANKS_NAMED 4               /* in the line before an abort */

/* What differs between MPIs.  LIBRARIES: what those of one ABI call
   themselves. */
#define TEXT(x) #x
#define TEXT_OF(x) TEXT(x)
#if defined(MPI_ABI_VERSION)
#define VARIANT "mpiabi"
#define COMPILED_FOR "MPI ABI " TEXT_OF(MPI_ABI_VERSION)
#define LIBRARIES {""}              /* any, under this soname */
#define COMM_FROM_HANDLE MPI_Comm_fromint
#define HANDLE_FROM_COMM MPI_Comm_toint
#else
#define COMM_FROM_HANDLE MPI_Comm_f2c
#define HANDLE_FROM_COMM MPI_Comm_c2f
#if defined(OPEN_MPI)
#define VARIANT "openmpi"
#define COMPILED_FOR "Open MPI " TEXT_OF(OMPI_MAJOR_VERSION) "." \
    TEXT_OF(OMPI_MINOR_VERSION) "." TEXT_OF(OMPI_RELEASE_VERSION)
#define LIBRARIES {"Open MPI"}
#elif defined(MPICH_VERSION)
#define VARIANT "mpich"
#define COMPILED_FOR "MPICH " MPICH_VERSION
#define LIBRARIES {"MPICH", "Intel(R) MPI", "MVAPICH", "ParaStation MPI"}
#else
#error "this MPI is neither of MPICH's family, nor Open MPI, nor the MPI ABI"
#endif
#endif

/* A message on its way out. */
struct outgoing {
    struct outgoing *next;
    void *token;                    /* NULL: nothing is to be reaped */
    struct frame *frame;            /* behind this, in the same allocation */
    int posted;
    MPI_Request requests[];         /* the frame's, then one per piece */
};

struct mailbox {
    struct mailbox *next;           /* in the process's list */
    MPI_Comm comm;                  /* the duplicate; MPI_COMM_NULL: ended */
    int32_t handle;                 /* the parent's */
    int rank;
    int ranks;
    int crowded;
    void *owner;
    struct transport_error error;   /* what broke the mailbox, if call */

    /* What leaves. */
    struct outgoing *outgoing;
    struct outgoing **cursor;       /* link to the one to be tested next */
    void **tokens;                  /* those to be reaped */
    size_t tokens_ready;
    size_t tokens_out;              /* ready, or with a message on its way */
    size_t tokens_room;

    /* The last message that came. */
    struct frame *frame;
    size_t frame_room;
    struct transport_part *parts;
    size_t parts_room;
    struct transport_message message;
    size_t settled;                 /* parts below are here, or dropped */
    double idle;                    /* seconds waited since then in vain */

    /* The end. */
    struct transport_farewell farewell;     /* bytes: our copy */
    int said;
    int heard;                      /* farewells of others */
    char *heard_from;               /* by rank */
    int closed;
    double deadline;                /* 0, until rank 0 ends */
    double ending_seconds;
    int ending_code;
};

/* MPI itself exists once in a process, and neither its callbacks in
   MPI_Finalize nor Py_AtExit's take an argument of ours: so this is the one
   mutable static. */
static struct {
    int parent_key;                 /* on a communicator: its mailbox */
    int self_key;                   /* on MPI_COMM_SELF: MPI_Finalize began */
    int has_keys;
    pid_t pid;                      /* a forked child has no MPI */
    struct mailbox *mailboxes;
} process;


/* ---- errors ------------------------------------------------------------ */

/* Inside, errors are left in the mailbox, which is of no use from then on. */

static int
refuse(struct transport_error *error, const char *call, const char *text)
{
    error->call = call;
    snprintf(error->text, sizeof(error->text), "%s", text);
    return TRANSPORT_FAILED;
}

/* The one place that asks MPI what its error codes mean. */
static int
checked(struct transport_error *error, const char *call, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;

    if (code == MPI_SUCCESS) {
        return TRANSPORT_OK;
    }
    MPI_Error_string(code, text, &length);
    return refuse(error, call, text);
}

static int
no_memory(struct transport_error *error)
{
    return refuse(error, "malloc", "out of memory");
}

static int
is_broken(const struct mailbox *mailbox)
{
    return mailbox->error.call != NULL;
}

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
    /* Of an exit code only the low byte remains, and 0 would be success. */
    code = (code & 0xff) != 0 ? code & 0xff : 1;
    fflush(NULL);
    if (is_running() && getpid() == process.pid) {
        MPI_Abort(MPI_COMM_WORLD, code);
    }
    _exit(code);
}

/* MPI's own waits burn a processor; this one rests. */
static int
finish(struct mailbox *mailbox, const char *call, MPI_Request *request,
       MPI_Status *status)
{
    struct patience patience = {.crowded = mailbox->crowded};
    int done;

    for (;;) {
        if (checked(&mailbox->error, call, MPI_Test(request, &done, status))
            < 0) {
            return TRANSPORT_FAILED;
        }
        if (done) {
            return TRANSPORT_OK;
        }
        if (mailbox->deadline > 0 && patience_now() > mailbox->deadline) {
            return refuse(&mailbox->error, call, "not done in time");
        }
        patience_rest(&patience);
    }
}


/* ---- sending ----------------------------------------------------------- */

static struct outgoing *
outgoing_new(const struct frame_plan *plan)
{
    size_t requests = 1 + plan->apart + plan->apart_bytes / PIECE_BYTES;
    size_t offset = sizeof(struct outgoing) + requests * sizeof(MPI_Request);
    struct outgoing *outgoing;

    offset = (offset + 7) & ~(size_t)7;
    outgoing = malloc(offset + plan->size);
    if (outgoing != NULL) {
        outgoing->posted = 0;
        outgoing->frame = (struct frame *)((char *)outgoing + offset);
    }
    return outgoing;
}

static int
post(struct mailbox *mailbox, struct outgoing *outgoing, int rank, int tag,
     const void *base, size_t size)
{
    MPI_Request *request = &outgoing->requests[outgoing->posted];
    int code = MPI_Isend(base, (int)size, MPI_BYTE, rank, tag, mailbox->comm,
                         request);

    outgoing->posted += code == MPI_SUCCESS;
    return checked(&mailbox->error, "MPI_Isend", code);
}

static size_t
piece_at(size_t done, size_t size)
{
    return size - done < PIECE_BYTES ? size - done : PIECE_BYTES;
}

static int
post_pieces(struct mailbox *mailbox, struct outgoing *outgoing, int rank,
            const struct transport_part *part)
{
    for (size_t done = 0; done < part->size; done += PIECE_BYTES) {
        if (post(mailbox, outgoing, rank, PIECE_TAG,
                 (const char *)part->base + done, piece_at(done, part->size))
            < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return TRANSPORT_OK;
}

/* Takes the message at *link out of the list and makes its token ready, if
   all of it has left. */
static int
settle(struct mailbox *mailbox, struct outgoing **link)
{
    struct outgoing *outgoing = *link;
    int done;
    int code = MPI_Testall(outgoing->posted, outgoing->requests, &done,
                           MPI_STATUSES_IGNORE);

    if (checked(&mailbox->error, "MPI_Testall", code) < 0) {
        return TRANSPORT_FAILED;
    }
    if (!done) {
        return TRANSPORT_NOTHING;
    }
    if (outgoing->token != NULL) {
        mailbox->tokens[mailbox->tokens_ready++] = outgoing->token;
    }
    *link = outgoing->next;
    free(outgoing);
    return TRANSPORT_OK;
}

/* Settles what has left.  Goes on round the list from call to call, a few
   unfinished messages at a time: one to a rank that does not receive must not
   hold up the others, and a long list must not be walked at every call. */
static int
progress(struct mailbox *mailbox)
{
    int tested = 0;

    if (*mailbox->cursor == NULL) {
        mailbox->cursor = &mailbox->outgoing;
    }
    while (*mailbox->cursor != NULL && tested < SENDS_TESTED) {
        int status = settle(mailbox, mailbox->cursor);
        if (status == TRANSPORT_FAILED) {
            return TRANSPORT_FAILED;
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

    if (mailbox->tokens_out < mailbox->tokens_room) {
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

/* Puts the message into the list.  Where nothing of it is apart, all is in
   our own memory by now, and the caller's is free at once. */
static void
enlist(struct mailbox *mailbox, struct outgoing *outgoing, void *token,
       int apart)
{
    outgoing->token = apart ? token : NULL;
    if (token != NULL) {
        mailbox->tokens_out++;
        if (!apart) {
            mailbox->tokens[mailbox->tokens_ready++] = token;
        }
    }
    /* In front, so that no link is lost: the cursor's is &outgoing, or in a
       message behind. */
    outgoing->next = mailbox->outgoing;
    mailbox->outgoing = outgoing;
}

/* As transport_send; token NULL: nothing is to be reaped. */
static int
send_message(struct mailbox *mailbox, int rank, int verb, int expects,
             const struct transport_part *parts, size_t count, void *token)
{
    struct frame_plan plan = frame_plan(parts, count);
    struct outgoing *outgoing = outgoing_new(&plan);

    if (outgoing == NULL || reserve_token(mailbox) < 0) {
        free(outgoing);
        return no_memory(&mailbox->error);
    }
    frame_pack(outgoing->frame, parts, count, expects);
    enlist(mailbox, outgoing, token, plan.apart > 0);
    if (post(mailbox, outgoing, rank, verb, outgoing->frame, plan.size) < 0) {
        return TRANSPORT_FAILED;
    }
    for (size_t i = 0; i < count && plan.apart > 0; i++) {
        if (frame_is_apart(outgoing->frame, i)
            && post_pieces(mailbox, outgoing, rank, &parts[i]) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    /* Most small messages have left by now. */
    return settle(mailbox, &mailbox->outgoing) < 0 ? TRANSPORT_FAILED
                                                   : TRANSPORT_OK;
}

static int
transport_send(struct mailbox *mailbox, int rank, int verb, int expects,
               const struct transport_part *parts, size_t count, void *token,
               struct transport_error *error)
{
    if (is_broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    if (mailbox->said) {
        return refuse(error, "send", "after the farewell");
    }
    if (rank < 0 || rank >= mailbox->ranks || rank == mailbox->rank
        || (rank != 0 && mailbox->rank != 0)) {
        return refuse(error, "send", "not between rank 0 and another");
    }
    if (verb < 0 || verb >= PIECE_TAG || !frame_holds(count)) {
        return refuse(error, "send", "no such verb, or too many parts");
    }
    mailbox->idle = 0;
    return report(mailbox,
                  send_message(mailbox, rank, verb, expects, parts, count,
                               token),
                  error);
}

static void *
transport_reap(struct mailbox *mailbox)
{
    if (mailbox->tokens_ready == 0 && !is_broken(mailbox)) {
        progress(mailbox);          /* what it breaks, the next call reports */
    }
    if (mailbox->tokens_ready == 0) {
        return NULL;
    }
    mailbox->tokens_out--;
    return mailbox->tokens[--mailbox->tokens_ready];
}

static int
flush(struct mailbox *mailbox, double seconds)
{
    struct patience patience = {.crowded = mailbox->crowded};

    for (;;) {
        if (progress(mailbox) < 0) {
            return TRANSPORT_FAILED;
        }
        if (mailbox->outgoing == NULL) {
            return TRANSPORT_OK;
        }
        if (patience.waited >= seconds) {
            return TRANSPORT_NOTHING;
        }
        patience_rest(&patience);
    }
}

static int
transport_flush(struct mailbox *mailbox, double seconds,
                struct transport_error *error)
{
    int status = is_broken(mailbox) ? TRANSPORT_FAILED
                                    : flush(mailbox, seconds);

    return report(mailbox, status, error);
}


/* ---- receiving --------------------------------------------------------- */

/* Makes *memory at least size bytes long; what was in it is lost. */
static int
grow(void **memory, size_t *room, size_t size)
{
    if (size <= *room) {
        return TRANSPORT_OK;
    }
    free(*memory);
    *memory = malloc(size);
    *room = *memory != NULL ? size : 0;
    return *memory != NULL ? TRANSPORT_OK : TRANSPORT_FAILED;
}

static int
malformed(struct mailbox *mailbox, const char *text)
{
    return refuse(&mailbox->error, "MPI_Imrecv", text);
}

static int
unpack(struct mailbox *mailbox, size_t size)
{
    size_t count = 0;
    const char *wrong = frame_count(mailbox->frame, size, &count);

    if (wrong != NULL) {
        return malformed(mailbox, wrong);
    }
    if (grow((void **)&mailbox->parts, &mailbox->parts_room,
             count * sizeof(*mailbox->parts)) < 0) {
        return no_memory(&mailbox->error);
    }
    wrong = frame_unpack(mailbox->frame, size, mailbox->parts);
    if (wrong != NULL) {
        return malformed(mailbox, wrong);
    }
    mailbox->message.count = count;
    mailbox->message.parts = mailbox->parts;
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

    if (checked(&mailbox->error, "MPI_Irecv", code) < 0
        || finish(mailbox, "MPI_Irecv", &request, &status) < 0) {
        return TRANSPORT_FAILED;
    }
    MPI_Get_count(&status, MPI_BYTE, &received);
    if (received < 0 || (size_t)received != size) {
        return malformed(mailbox, "a piece of the wrong size");
    }
    return TRANSPORT_OK;
}

/* base NULL: the part goes piece by piece to scratch memory.  (A shorter
   buffer would be an error, after which MPI promises nothing.) */
static int
receive_part(struct mailbox *mailbox, size_t size, char *base)
{
    char *scratch = NULL;
    int status = TRANSPORT_OK;

    if (base == NULL) {
        scratch = malloc(piece_at(0, size));
        if (scratch == NULL) {
            return no_memory(&mailbox->error);
        }
    }
    for (size_t done = 0; done < size && status == TRANSPORT_OK;
         done += PIECE_BYTES) {
        status = receive_piece(mailbox, base != NULL ? base + done : scratch,
                               piece_at(done, size));
    }
    free(scratch);
    return status;
}

/* Drops the parts below index that are still on their way. */
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
        return malformed(mailbox, "a message of another program");
    }
    if (grow((void **)&mailbox->frame, &mailbox->frame_room, (size_t)size)
        < 0) {
        return no_memory(&mailbox->error);
    }
    code = MPI_Imrecv(mailbox->frame, size, MPI_BYTE, arrived, &request);
    if (checked(&mailbox->error, "MPI_Imrecv", code) < 0
        || finish(mailbox, "MPI_Imrecv", &request, MPI_STATUS_IGNORE) < 0) {
        return TRANSPORT_FAILED;
    }
    return unpack(mailbox, (size_t)size);
}

/* MPIs look among what they know of, and only then for what has come since:
   so after a sleep it takes two looks. */
static int
look(struct mailbox *mailbox, MPI_Message *arrived, MPI_Status *status)
{
    int found = 0;

    for (int i = 0; i < 2 && !found; i++) {
        int code = MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, mailbox->comm,
                               &found, arrived, status);
        if (checked(&mailbox->error, "MPI_Improbe", code) < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return found ? TRANSPORT_OK : TRANSPORT_NOTHING;
}

/* Receives the next message, if it is there, once the last one is out of the
   way, and notes a farewell. */
static int
receive(struct mailbox *mailbox)
{
    MPI_Message arrived;
    MPI_Status status;
    int size, found;

    if (discard_until(mailbox, mailbox->message.count) < 0) {
        return TRANSPORT_FAILED;
    }
    found = look(mailbox, &arrived, &status);
    if (found != TRANSPORT_OK) {
        return found;
    }
    MPI_Get_count(&status, MPI_BYTE, &size);
    mailbox->message.source = status.MPI_SOURCE;
    mailbox->message.verb = status.MPI_TAG;
    mailbox->message.count = 0;
    mailbox->settled = 0;
    if (receive_frame(mailbox, &arrived, size) < 0) {
        return TRANSPORT_FAILED;
    }
    if (status.MPI_TAG == mailbox->farewell.verb
        && !mailbox->heard_from[status.MPI_SOURCE]) {
        mailbox->heard_from[status.MPI_SOURCE] = 1;
        mailbox->heard++;
    }
    return TRANSPORT_OK;
}

/* Whether every farewell has come that will: see "the end". */
static int
heard_all(const struct mailbox *mailbox)
{
    return mailbox->heard == (mailbox->rank == 0 ? mailbox->ranks - 1 : 1);
}

static int
await(struct mailbox *mailbox, double seconds)
{
    /* Many short waits in a row are one long wait. */
    struct patience patience = {mailbox->crowded, mailbox->idle, 0, 0};

    for (;;) {
        int status = receive(mailbox);
        if (status != TRANSPORT_NOTHING) {
            mailbox->idle = 0;
            return status;
        }
        if (progress(mailbox) < 0) {
            return TRANSPORT_FAILED;
        }
        if (patience.waited >= seconds) {
            mailbox->idle += patience.waited;
            return TRANSPORT_NOTHING;
        }
        patience_rest(&patience);
    }
}

static int
transport_wait(struct mailbox *mailbox, double seconds,
               struct transport_message *message,
               struct transport_error *error)
{
    int status;

    if (is_broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    /* Another rank has heard all when it has heard rank 0: why wait? */
    if (mailbox->rank != 0 && heard_all(mailbox)) {
        return TRANSPORT_NOTHING;
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

    if (is_broken(mailbox)) {
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


/* ---- the end -----------------------------------------------------------

   Every rank says farewell once: rank 0 when it is done for good, another in
   answer to that; and a rank sends nothing after it.  Messages keep their
   order, so whoever has heard a farewell has received all that its sender
   ever sent.  When rank 0 has heard all others, and another rank has heard
   rank 0 and its own farewell has left, nothing is on its way, and
   MPI_Finalize meets no message that nobody received.

   Nobody waits in a circle: a process says all the farewells that it owes as
   rank 0 before it waits for any, and then serves its mailboxes in turn, so
   that each farewell that comes is answered. */

static int
say_farewell(struct mailbox *mailbox)
{
    struct transport_part part = {(void *)mailbox->farewell.bytes,
                                  mailbox->farewell.size};
    int first = mailbox->rank == 0 ? 1 : 0;
    int end = mailbox->rank == 0 ? mailbox->ranks : 1;
    int status = TRANSPORT_OK;

    mailbox->said = 1;
    for (int rank = first; rank < end && status == TRANSPORT_OK; rank++) {
        status = send_message(mailbox, rank, mailbox->farewell.verb, 0, &part,
                              1, NULL);
    }
    return status;
}

/* "ranks 2, 3, 5, 8 and 500 more": those whose farewell has not come. */
static void
name_missing(const struct mailbox *mailbox, char *text, size_t size)
{
    int missing = mailbox->ranks - 1 - mailbox->heard;
    int named = 0;
    size_t length = (size_t)snprintf(text, size, "rank%s",
                                     missing == 1 ? "" : "s");

    for (int rank = 1; rank < mailbox->ranks && named < RANKS_NAMED; rank++) {
        if (!mailbox->heard_from[rank]) {
            length += (size_t)snprintf(text + length, size - length, "%s %d",
                                       named > 0 ? "," : "", rank);
            named++;
        }
    }
    if (missing > named) {
        snprintf(text + length, size - length, " and %d more",
                 missing - named);
    }
}

static void
abort_late(const struct mailbox *mailbox)
{
    char names[128];
    int one = mailbox->ranks - 1 - mailbox->heard == 1;

    name_missing(mailbox, names, sizeof(names));
    fprintf(stderr, "ezmpi: %s still %s %g s after rank 0 ended; aborting "
            "the job\n", names, one ? "works" : "work",
            mailbox->ending_seconds);
    abort_job(mailbox->ending_code);
}

static void
abort_broken(const struct mailbox *mailbox)
{
    fprintf(stderr, "ezmpi: %s: %s; aborting the job\n", mailbox->error.call,
            mailbox->error.text);
    abort_job(1);
}

/* Drops what has come. */
static int
drain(struct mailbox *mailbox)
{
    int status;

    while ((status = receive(mailbox)) == TRANSPORT_OK) {
        if (mailbox->rank != 0 && frame_expects(mailbox->frame)) {
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
    if (is_broken(mailbox) || drain(mailbox) < 0) {
        return TRANSPORT_FAILED;
    }
    if (heard_all(mailbox) && !mailbox->said && say_farewell(mailbox) < 0) {
        return TRANSPORT_FAILED;
    }
    if (progress(mailbox) < 0) {
        return TRANSPORT_FAILED;
    }
    return heard_all(mailbox) && mailbox->outgoing == NULL
           ? TRANSPORT_OK : TRANSPORT_NOTHING;
}

static int
has_ended(struct mailbox *mailbox)
{
    int status = approach_end(mailbox);

    if (status != TRANSPORT_OK && mailbox->deadline > 0
        && patience_now() > mailbox->deadline) {
        abort_late(mailbox);
    }
    if (status == TRANSPORT_FAILED) {
        abort_broken(mailbox);
    }
    return status == TRANSPORT_OK;
}

/* What fails here, approach_end finds broken. */
static void
begin_end(struct mailbox *mailbox)
{
    if (mailbox->rank == 0) {
        mailbox->deadline = patience_now() + mailbox->ending_seconds;
        if (!is_broken(mailbox)) {
            say_farewell(mailbox);
        }
    }
}

/* The struct itself stays: who still has a pointer to it gets an error.  So
   do the tokens, to be reaped. */
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
    refuse(&mailbox->error, "MPI_Comm_free",
           "the communicator was freed, or MPI was finalized");
}

/* The mailboxes that end together: one, or (only NULL) all that are left. */
static struct mailbox *
next_ending(struct mailbox *mailbox, const struct mailbox *only)
{
    while (mailbox != NULL && (mailbox->comm == MPI_COMM_NULL
                               || (only != NULL && mailbox != only))) {
        mailbox = mailbox->next;
    }
    return mailbox;
}

static void
end_mailboxes(const struct mailbox *only)
{
    struct mailbox *first = next_ending(process.mailboxes, only), *m;
    struct patience patience = {.crowded = first != NULL && first->crowded};
    int all_ended = 0;

    for (m = first; m != NULL; m = next_ending(m->next, only)) {
        begin_end(m);
    }
    while (!all_ended) {
        all_ended = 1;
        for (m = first; m != NULL; m = next_ending(m->next, only)) {
            all_ended &= has_ended(m);
        }
        if (!all_ended) {
            patience_rest(&patience);
        }
    }
    for (m = first; m != NULL; m = next_ending(m->next, only)) {
        release(m);
    }
}

/* MPI_Finalize has begun, whoever called it. */
static int
on_finalize(MPI_Comm self, int key, void *value, void *extra)
{
    (void)self, (void)key, (void)value, (void)extra;
    if (getpid() == process.pid) {
        end_mailboxes(NULL);
    }
    return MPI_SUCCESS;
}

/* The parent is being freed; MPICH says so of MPI_COMM_WORLD, too, after
   on_finalize. */
static int
on_parent_freed(MPI_Comm parent, int key, void *mailbox, void *extra)
{
    (void)parent, (void)key, (void)extra;
    if (getpid() == process.pid) {
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
    if (is_broken(mailbox)) {
        return report(mailbox, TRANSPORT_FAILED, error);
    }
    if (mailbox->rank == 0 || !heard_all(mailbox)) {
        return refuse(error, "close", "rank 0 has not said farewell");
    }
    if (say_farewell(mailbox) < 0 || flush(mailbox, HUGE_VAL) < 0) {
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

static void
transport_abort(struct mailbox *mailbox, int code)
{
    (void)mailbox;
    abort_job(code);
}


/* ---- the beginning ----------------------------------------------------- */

static int
make_keys(struct transport_error *error)
{
    int code;

    if (process.has_keys) {
        return TRANSPORT_OK;
    }
    code = MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_parent_freed,
                                  &process.parent_key, NULL);
    if (code == MPI_SUCCESS) {
        code = MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_finalize,
                                      &process.self_key, NULL);
    }
    if (code == MPI_SUCCESS) {
        code = MPI_Comm_set_attr(MPI_COMM_SELF, process.self_key, NULL);
    }
    process.has_keys = code == MPI_SUCCESS;
    process.pid = getpid();
    return checked(error, "MPI_Comm_create_keyval", code);
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
    int inter = 0;

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
    if (checked(error, "MPI_Comm_test_inter", test_inter(*parent, &inter))
        < 0) {
        return TRANSPORT_FAILED;
    }
    if (inter) {
        return refuse(error, "open", "an intercommunicator, which has no one "
                                     "rank 0");
    }
    return TRANSPORT_OK;
}

/* Collective. */
static int
duplicate(struct mailbox *mailbox, MPI_Comm parent)
{
    struct transport_error *error = &mailbox->error;
    MPI_Request request;

    if (checked(error, "MPI_Comm_idup",
                MPI_Comm_idup(parent, &mailbox->comm, &request)) < 0
        || finish(mailbox, "MPI_Comm_idup", &request, MPI_STATUS_IGNORE)
           < 0) {
        return TRANSPORT_FAILED;
    }
    MPI_Comm_set_errhandler(mailbox->comm, MPI_ERRORS_RETURN);
    return checked(error, "MPI_Comm_set_attr",
                   MPI_Comm_set_attr(parent, process.parent_key, mailbox));
}

static void
mailbox_free(struct mailbox *mailbox)
{
    free((void *)mailbox->farewell.bytes);
    free(mailbox->heard_from);
    free(mailbox);
}

/* All but the duplicate. */
static struct mailbox *
mailbox_new(MPI_Comm parent, const struct transport_farewell *farewell)
{
    struct mailbox *mailbox = calloc(1, sizeof(*mailbox));

    if (mailbox == NULL) {
        return NULL;
    }
    MPI_Comm_rank(parent, &mailbox->rank);
    MPI_Comm_size(parent, &mailbox->ranks);
    mailbox->handle = HANDLE_FROM_COMM(parent);
    mailbox->crowded = patience_crowded(mailbox->ranks);
    mailbox->cursor = &mailbox->outgoing;
    mailbox->heard_from = calloc((size_t)mailbox->ranks, 1);
    mailbox->farewell = *farewell;
    mailbox->farewell.bytes = malloc(farewell->size + 1);
    mailbox->ending_seconds = 5;
    mailbox->ending_code = 1;
    if (mailbox->heard_from == NULL || mailbox->farewell.bytes == NULL) {
        mailbox_free(mailbox);
        return NULL;
    }
    memcpy((void *)mailbox->farewell.bytes, farewell->bytes, farewell->size);
    return mailbox;
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
    if (code != MPI_SUCCESS || found) {
        return checked(error, "MPI_Comm_get_attr", code);
    }
    *mailbox = mailbox_new(parent, farewell);
    if (*mailbox == NULL) {
        return no_memory(error);
    }
    if (duplicate(*mailbox, parent) < 0) {
        report(*mailbox, TRANSPORT_FAILED, error);
        mailbox_free(*mailbox);
        return TRANSPORT_FAILED;
    }
    (*mailbox)->next = process.mailboxes;
    process.mailboxes = *mailbox;
    return TRANSPORT_OK;
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

static int
is_ours(const char *library)
{
    static const char *const names[] = LIBRARIES;

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

    if (checked(error, "MPI_Get_library_version", code) < 0) {
        return TRANSPORT_FAILED;
    }
    version[strcspn(version, "\r\n")] = '\0';
    snprintf(library, size, "%s", version);
    if (is_ours(version)) {
        return TRANSPORT_OK;
    }
    error->call = "MPI_Get_library_version";
    snprintf(error->text, sizeof(error->text), "the variant for " VARIANT
             " does not run on %.300s", version);
    return TRANSPORT_FAILED;
}

static int
transport_start(int *ours, struct transport_error *error)
{
    int started, finished, level, code;

    *ours = 0;
    MPI_Finalized(&finished);
    if (finished) {
        return refuse(error, "start", "MPI was finalized before, and cannot "
                                      "be started again");
    }
    MPI_Initialized(&started);
    if (started) {
        return TRANSPORT_OK;
    }
    code = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level);
    process.pid = getpid();
    *ours = code == MPI_SUCCESS;
    return checked(error, "MPI_Init_thread", code);
}

static void
transport_leave(void)
{
    if (getpid() == process.pid && is_running()) {
        MPI_Finalize();
    }
}

extern const struct transport ezmpi_transport;

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
