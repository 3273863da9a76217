/* transport_mpi.c -- the transport over MPI: its table, the link (link.h) and
   the process's part in it.

   The one file that includes <mpi.h>.  Each MPI's own mpicc compiles it, with
   mailbox.c and what that needs, into a plug-in of its own.  It knows no
   Python, and neither parts nor verbs.

   Under Open MPI's mpiexec --with-ft ulfm the job goes on when a rank dies:
   ULFM, user-level failure mitigation (Bland et al. 2013). */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpi.h>
#if defined(OPEN_MPI) && OMPI_MAJOR_VERSION >= 5
#include <mpi-ext.h>
#endif

#include "flush.h"
#include "link.h"
#include "mailbox.h"
#include "patience.h"
#include "transport.h"
#include "watch.h"
#include "wire.h"

#define INTERRUPTED_CODE 130     /* 128 + SIGINT, as shells have it */
#define WATCH_SECONDS 0.25       /* between looks whether rank 0 lives */
#define ORPHAN_SECONDS 1.0       /* until all have looked */
#define OPENING_SECONDS 1e-3     /* while another thread does */

/* What differs between MPIs.  LIBRARIES: what those of one ABI call
   themselves. */
#define TEXT(x) #x
#define TEXT_OF(x) TEXT(x)
#define DOTTED(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)
#if defined(MPI_ABI_VERSION)
#define VARIANT "mpiabi"
#define COMPILED_FOR "MPI ABI " TEXT_OF(MPI_ABI_VERSION)
#define LIBRARIES {""}              /* any: the soname is the ABI's */
#define COMM_FROM_HANDLE MPI_Comm_fromint
#define HANDLE_FROM_COMM MPI_Comm_toint
#else
#define COMM_FROM_HANDLE MPI_Comm_f2c
#define HANDLE_FROM_COMM MPI_Comm_c2f
#if defined(OPEN_MPI)
#define VARIANT "openmpi"
#define COMPILED_FOR                                           \
    "Open MPI " DOTTED(OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, \
                       OMPI_RELEASE_VERSION)
#define LIBRARIES {"Open MPI"}
#elif defined(MPICH_VERSION)
#define VARIANT "mpich"
#define COMPILED_FOR "MPICH " MPICH_VERSION
#define LIBRARIES {"MPICH", "Intel(R) MPI", "MVAPICH", "ParaStation MPI"}
#else
#error "this MPI is neither of MPICH's family, nor Open MPI, nor the MPI ABI"
#endif
#endif

/* What a library lacks that is older than its headers is NULL. */
#ifdef OMPI_HAVE_MPI_EXT_FTMPI
#pragma weak MPIX_Comm_failure_ack
#pragma weak MPIX_Comm_get_failed
/* Open MPI's own variable, its parameter of that name. */
extern bool ompi_async_mpi_finalize;
#pragma weak ompi_async_mpi_finalize
#endif

struct mpi_wire {
    struct wire wire;
    MPI_Comm comm;                  /* a duplicate of the user's */
    struct watch *watch;            /* for rank 0, at others; or NULL */
};

/* MPI itself exists once in a process, and neither its callbacks in
   MPI_Finalize nor Py_AtExit's take an argument of ours: so this is the one
   mutable static. */
static struct {
    int parent_key; /* on a communicator: its mailbox */
    int self_key;   /* on MPI_COMM_SELF: tells of MPI_Finalize */
    int has_keys;
    int ours;                       /* MPI is, to finalize */
    int left;                       /* the process ends as it should */
    int survives;                   /* the death of other ranks */
    atomic_int orphaned;            /* one of them was rank 0 */
    pid_t parent;
    pid_t pid; /* a forked child has no MPI */
    struct mpi_wire *coming;        /* being opened: its duplicate is */
    MPI_Comm coming_from;           /* not there yet */
    MPI_Comm absent_from; /* no pool here, and others may have one: */
    int absent; /* is there such a communicator? */
    MPI_Request duplicated;
    struct mailbox *_Atomic mailboxes;
    int ending; /* as set_ending had it last */
    pthread_mutex_t opening;
} process = {.ending = TRANSPORT_OWN_CODE,
             .opening = PTHREAD_MUTEX_INITIALIZER};

/* ---- errors ------------------------------------------------------------ */

static int
refuse(struct transport_error *error, const char *call, const char *text)
{
    error->call = call;
    snprintf(error->text, sizeof(error->text), "%s", text);
    return TRANSPORT_FAILED;
}

/* The one place that asks MPI what its codes mean. */
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

int
wire_fail(struct wire *wire, const char *call, const char *text)
{
    return refuse(&wire->error, call, text);
}

/* ---- deaths ------------------------------------------------------------

   ULFM: calls that need a rank that has died fail, with a class of their own.
   A look for a message from any rank fails until the deaths known so far have
   been acknowledged. */

#ifdef OMPI_HAVE_MPI_EXT_FTMPI
#define SWITCH "OMPI_MCA_mpi_ft_enable" /* mpiexec --with-ft ulfm sets it */

static int
can_survive(void)
{
    const char *value = getenv(SWITCH);

    return MPIX_Comm_failure_ack != NULL && MPIX_Comm_get_failed != NULL
           && &ompi_async_mpi_finalize != NULL && value != NULL
           && (strcmp(value, "1") == 0 || strcmp(value, "true") == 0);
}

/* In MPI_Finalize the ranks wait for each other, and where one has died that
   wait does not always end (seen with 5.0.11, in one of four jobs).  After the
   farewells nobody needs it. */
static void
finalize_alone(void)
{
    ompi_async_mpi_finalize = true;
}

static int
is_death(int code)
{
    int class = MPI_SUCCESS;

    if (code == MPI_SUCCESS || !process.survives) {
        return 0;
    }
    MPI_Error_class(code, &class);
    return class == MPIX_ERR_PROC_FAILED
           || class == MPIX_ERR_PROC_FAILED_PENDING;
}

/* The ranks of comm that have died, at most so many; returns how many. */
static int
list_dead(MPI_Comm comm, int *ranks, int most)
{
    MPI_Group all, failed;
    int count, of_failed = 0;

    if (MPIX_Comm_get_failed(comm, &failed) != MPI_SUCCESS) {
        return 0;
    }
    MPI_Comm_group(comm, &all);
    MPI_Group_size(failed, &count);
    for (; of_failed < count && of_failed < most; of_failed++) {
        MPI_Group_translate_ranks(failed, 1, &of_failed, all,
                                  &ranks[of_failed]);
    }
    MPI_Group_free(&failed);
    MPI_Group_free(&all);
    return of_failed;
}

static int
is_rank_0_dead(MPI_Comm comm)
{
    MPI_Group all, failed;
    int rank = 0, dead = MPI_UNDEFINED;

    if (MPIX_Comm_get_failed(comm, &failed) != MPI_SUCCESS) {
        return 0;
    }
    MPI_Comm_group(comm, &all);
    MPI_Group_translate_ranks(all, 1, &rank, failed, &dead);
    MPI_Group_free(&failed);
    MPI_Group_free(&all);
    return dead != MPI_UNDEFINED;
}

static void
acknowledge(MPI_Comm comm)
{
    MPIX_Comm_failure_ack(comm);
}
#else
static int
can_survive(void)
{
    return 0;
}

/* Nothing of it is called where nothing survives.  GCOVR_EXCL_START */
static void
finalize_alone(void)
{
}

static int
is_death(int code)
{
    (void)code;
    return 0;
}

static int
list_dead(MPI_Comm comm, int *ranks, int most)
{
    (void)comm, (void)ranks, (void)most;
    return 0;
}

static int
is_rank_0_dead(MPI_Comm comm)
{
    (void)comm;
    return 0;
}

static void
acknowledge(MPI_Comm comm)
{
    (void)comm;
}
/* GCOVR_EXCL_STOP */
#endif

/* ---- the process ------------------------------------------------------- */

static int
is_running(void)
{
    int started = 0, finished = 1;

    MPI_Initialized(&started);
    MPI_Finalized(&finished);
    return started && !finished;
}

/* Where the death of ranks is survived MPI_Abort ends none but its caller, as
   seen with Open MPI 5.0.11.  There the others end of themselves when it was
   rank 0 that did: see "the death of rank 0".  But they hear of no process
   that ended with a code other than 0, only of one that a signal ended; and
   those do not count in the launcher's code, so the last one ends with its
   own. */
static int
is_last(void)
{
    int *ranks, count, dead = 0;

    MPI_Comm_size(MPI_COMM_WORLD, &count);
    ranks = malloc((size_t)count * sizeof(*ranks));
    if (ranks != NULL) {
        dead = list_dead(MPI_COMM_WORLD, ranks, count);
    }
    free(ranks);
    return dead == count - 1;
}

static void
die_visibly(void)
{
    if (process.orphaned) { /* it is for the code that is left */
        patience_sleep(ORPHAN_SECONDS);
    }
    else if (!is_last()) {
        kill(getpid(), SIGKILL);
    }
}

static _Noreturn void
end_job(int code)
{
    flush_output();
    if (getpid() == process.pid && is_running()) {
        if (!process.survives) {
            MPI_Abort(MPI_COMM_WORLD, code);
        }
        die_visibly();
    }
    _exit(code);
}

void
wire_abort(int code)
{
    /* Of an exit code only the low byte remains, and 0 would be success. */
    end_job((code & 0xff) != 0 ? code & 0xff : 1);
}

static void
transport_abort(struct mailbox *mailbox, int code)
{
    (void)mailbox;
    wire_abort(code);
}

static void
transport_set_ending(double seconds, int code)
{
    process.ending = code;
    mailbox_set_ending(process.mailboxes, seconds, code);
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
    snprintf(error->text, sizeof(error->text),
             "the variant for " VARIANT " does not run on %.300s", version);
    return TRANSPORT_FAILED;
}

/* exit() in the C or Fortran code of a task.  Python's own end comes through
   transport_leave first; without us the launcher may take this one for the
   regular end of the job. */
static void
on_exit_call(void)
{
    int rank = 0;

    if (!process.left && getpid() == process.pid && is_running()) {
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        fprintf(stderr,
                "ezmpi: C or Fortran code called exit() on rank %d; aborting "
                "the job\n",
                rank);
        wire_abort(1);
    }
}

/* What has to be once, when MPI runs: its start sets its variables. */
static void
look_for_ulfm(void)
{
    process.survives = can_survive();
    process.parent = getppid();
    if (process.survives) {
        finalize_alone();
    }
}

static int
initialize(struct transport_error *error)
{
    int started, level, code;

    MPI_Initialized(&started);
    if (started) {
        return TRANSPORT_OK;
    }
    code = MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level);
    process.ours = code == MPI_SUCCESS;
    return checked(error, "MPI_Init_thread", code);
}

static int
transport_start(int *first, struct transport_error *error)
{
    int finished;

    *first = process.pid == 0;
    if (process.pid != 0 && process.pid != getpid()) {
        return refuse(error, "start",
                      "MPI belongs to the process that forked "
                      "this one");
    }
    process.pid = getpid();
    MPI_Finalized(&finished);
    if (finished) {
        return refuse(error, "start",
                      "MPI was finalized before, and cannot "
                      "be started again");
    }
    if (*first) {
        atexit(on_exit_call);
    }
    if (initialize(error) < 0) {
        return TRANSPORT_FAILED;
    }
    look_for_ulfm();
    return TRANSPORT_OK;
}

/* Where the process's own code is not known yet. */
static _Noreturn void
abort_now(void)
{
    wire_abort(process.ending == TRANSPORT_INTERRUPTED ? INTERRUPTED_CODE : 1);
}

/* Ctrl-C in a pool's constructor: MPI_Finalize would wait there, too. */
static _Noreturn void
abort_alone(void)
{
    fprintf(stderr,
            "ezmpi: rank %d waited for other ranks to come to MPIPool(), and "
            "has ended; aborting the job\n",
            process.coming->wire.rank);
    abort_now();
}

/* 0: rank 0 did not hear from others in time, or they wait for this one. */
static int
end_mailboxes(void)
{
    int rank;

    if (process.coming != NULL) {
        abort_alone();
    }
    if (process.absent) { /* they wait for it, as MPI_Finalize would */
        MPI_Comm_rank(process.absent_from, &rank);
        fprintf(stderr,
                "ezmpi: rank %d has no pool where others may have one, and "
                "has ended; aborting the job\n",
                rank);
        return 0;
    }
    return mailbox_end(process.mailboxes, NULL);
}

#ifdef __GLIBC__
/* Nothing is lost where rank 0 gave up what still runs, and it has all ranks:
   else others' work may end here, or a worker's own. */
static int
may_succeed(void)
{
    int ranks;

    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    return process.ending == TRANSPORT_OWN_CODE_OR_0
           && mailbox_is_only(process.mailboxes, ranks);
}

static void
abort_at_exit(int status, void *unused)
{
    (void)unused;
    if ((status & 0xff) == 0 && may_succeed()) {
        end_job(0);
    }
    wire_abort(status);
}

/* When the process exits, with its code, which Python tells nobody before. */
static void
abort_later(void)
{
    if (on_exit(abort_at_exit, NULL) != 0) {
        abort_now();
    }
}
#else
static void
abort_later(void)
{
    abort_now();
}
#endif

/* A Python that Ctrl-C ended sends itself a SIGINT after this, with no more
   exit handlers; of a rank that a signal ended launchers make codes like that
   of a segmentation fault.  So it ends here; but no faster than others do, by
   _exit, since MPICH's launcher then kills those and takes their code. */
static void
transport_leave(void)
{
    int is_in_time;

    process.left = 1;
    if (!process.ours || getpid() != process.pid || !is_running()) {
        return;
    }
    is_in_time = end_mailboxes();
    if (process.ending == TRANSPORT_INTERRUPTED) {
        if (!is_in_time) {
            abort_now();
        }
        MPI_Finalize();
        exit(INTERRUPTED_CODE);
    }
    if (is_in_time) {
        MPI_Finalize();
    }
    else {
        abort_later();
    }
}

static int
transport_threads(void)
{
    int level = MPI_THREAD_SINGLE;

    if (is_running()) {
        MPI_Query_thread(&level);
    }
    return level == MPI_THREAD_MULTIPLE;
}

/* ---- the link ---------------------------------------------------------- */

static MPI_Comm
comm_of(const struct wire *wire)
{
    return ((const struct mpi_wire *)wire)->comm;
}

/* Some rank has died: notes which.  LOST, but where nothing can go on. */
static int
note_deaths(struct wire *wire)
{
    int *ranks = malloc((size_t)wire->ranks * sizeof(*ranks));
    int count;

    if (ranks == NULL) {
        return wire_fail(wire, "malloc", "out of memory");
    }
    acknowledge(comm_of(wire));
    count = list_dead(comm_of(wire), ranks, wire->ranks);
    for (int i = 0; i < count; i++) {
        wire_lose(wire, ranks[i]);
    }
    free(ranks);
    process.orphaned |= wire->error.call != NULL;
    return wire->error.call == NULL ? TRANSPORT_LOST : TRANSPORT_FAILED;
}

/* As checked, for what another rank takes part in. */
static int
settled(struct wire *wire, const char *call, int code)
{
    return is_death(code) ? note_deaths(wire)
                          : checked(&wire->error, call, code);
}

/* MPI's handles are numbers for some and pointers for others. */

_Static_assert(sizeof(MPI_Request) <= sizeof(void *), "too small");
_Static_assert(sizeof(MPI_Message) <= sizeof(void *), "too small");

static void
keep_request(struct wire_slot *slot, MPI_Request request)
{
    memcpy(&slot->room, &request, sizeof(request));
}

int
link_send(struct wire *wire, const void *base, size_t size, int rank, int tag,
          struct wire_slot *slot)
{
    MPI_Request request = MPI_REQUEST_NULL;
    int code = MPI_Isend(base, (int)size, MPI_BYTE, rank, tag, comm_of(wire),
                         &request);
    int status = settled(wire, "MPI_Isend", code);

    if (status == TRANSPORT_LOST) {
        request = MPI_REQUEST_NULL;
        status = TRANSPORT_OK;
    }
    keep_request(slot, request);
    return status;
}

/* MPIs look among what they know of, and only then for what has come since:
   so after a sleep it takes two looks. */
int
link_look(struct wire *wire, int source, int tag, struct wire_arrival *arrival)
{
    MPI_Message message;
    MPI_Status status;
    int found = 0, size, code, outcome;

    source = source == WIRE_ANY ? MPI_ANY_SOURCE : source;
    tag = tag == WIRE_ANY ? MPI_ANY_TAG : tag;
    for (int i = 0; i < 2 && !found; i++) {
        code =
            MPI_Improbe(source, tag, comm_of(wire), &found, &message, &status);
        outcome = settled(wire, "MPI_Improbe", code);
        if (outcome == TRANSPORT_FAILED
            || (outcome == TRANSPORT_LOST && source != MPI_ANY_SOURCE)) {
            return outcome;
        }
        found = found && outcome == TRANSPORT_OK;
    }
    if (!found) {
        return TRANSPORT_NOTHING;
    }
    MPI_Get_count(&status, MPI_BYTE, &size);
    if (size < 0) { /* MPI_UNDEFINED: more than an int */
        return wire_fail(wire, "MPI_Get_count", "a message above 2 GiB");
    }
    arrival->source = status.MPI_SOURCE;
    arrival->tag = status.MPI_TAG;
    arrival->size = (size_t)size;
    memcpy(&arrival->slot.room, &message, sizeof(message));
    return TRANSPORT_OK;
}

void
link_progress(struct wire *wire)
{
    int found;
    int code = MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_of(wire), &found,
                          MPI_STATUS_IGNORE);

    if (is_death(code)) {
        note_deaths(wire);
    }
}

int
link_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
            struct wire_slot *slot)
{
    MPI_Message message;
    MPI_Request request = MPI_REQUEST_NULL;
    int code;

    memcpy(&message, &arrival->slot.room, sizeof(message));
    code = MPI_Imrecv(base, (int)arrival->size, MPI_BYTE, &message, &request);
    keep_request(slot, request);
    return settled(wire, "MPI_Imrecv", code);
}

int
link_test(struct wire *wire, struct wire_slot *slot)
{
    MPI_Request request;
    int done = 0, code;

    memcpy(&request, &slot->room, sizeof(request));
    code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    keep_request(slot, request);
    if (code != MPI_SUCCESS) {
        return settled(wire, "MPI_Test", code);
    }
    return done ? TRANSPORT_OK : TRANSPORT_NOTHING;
}

void
link_close(struct wire *wire)
{
    watch_stop(((struct mpi_wire *)wire)->watch);
    MPI_Comm_free(&((struct mpi_wire *)wire)->comm);
    free(wire->gone);
    wire->gone = NULL;
    wire_fail(wire, "MPI_Comm_free",
              "the communicator was freed, or MPI was finalized");
}

/* ---- the death of rank 0 -----------------------------------------------

   A launcher that survives the death of ranks survives that of rank 0, and
   whoever works for it would do so for nobody.  A worker that waits learns of
   it; for one that runs a task a thread looks, so that the job ends at once.
   The first to end with a code may end the launcher, and then nobody tells the
   others: so nobody ends before all had time to look; and each looks for the
   launcher, too, whose child it most often is. */

static void
look_for_rank_0(void *wire_)
{
    struct mpi_wire *wire = wire_;
    int found;

    /* MPI looks around while it is called. */
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_SELF, &found,
               MPI_STATUS_IGNORE);
    if (is_rank_0_dead(wire->comm) || getppid() != process.parent) {
        patience_sleep(ORPHAN_SECONDS);
        dprintf(
            STDERR_FILENO,
            "ezmpi: the process of rank 0 has died, or the launcher; ending "
            "rank %d\n",
            wire->wire.rank);
        _exit(1);
    }
}

static void
watch_rank_0(struct mpi_wire *wire)
{
    if (wire->wire.rank != 0 && transport_threads()) {
        wire->watch = watch_start(WATCH_SECONDS, look_for_rank_0, wire);
    }
}

/* ---- duplicating --------------------------------------------------------

   MPI_Comm_dup burns a processor while it waits for the others, and nothing
   can interrupt it. */

static int
begin_duplicate(MPI_Comm parent, struct transport_error *error)
{
    struct mpi_wire *wire;
    int code;

    wire = calloc(1, sizeof(*wire));
    if (wire == NULL) {
        return refuse(error, "malloc", "out of memory");
    }
    MPI_Comm_rank(parent, &wire->wire.rank);
    MPI_Comm_size(parent, &wire->wire.ranks);
    wire->wire.crowded = patience_crowded(wire->wire.ranks, 1);
    code = MPI_Comm_idup(parent, &wire->comm, &process.duplicated);
    if (code != MPI_SUCCESS) {
        free(wire);
        return checked(error, "MPI_Comm_idup", code);
    }
    process.coming = wire;
    process.coming_from = parent;
    return TRANSPORT_OK;
}

/* What it takes to live on when a rank dies. */
static int
prepare_deaths(struct mpi_wire *wire, struct transport_error *error)
{
    wire->wire.gone = calloc((size_t)wire->wire.ranks, 1);
    if (wire->wire.gone == NULL) {
        return refuse(error, "malloc", "out of memory");
    }
    watch_rank_0(wire);
    return TRANSPORT_OK;
}

/* NOTHING: others are not there yet. */
static int
await_duplicate(double seconds, struct transport_error *error)
{
    struct patience patience = {.crowded = process.coming->wire.crowded};
    int done = 0;

    for (;;) {
        int code = MPI_Test(&process.duplicated, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) {
            return checked(error, "MPI_Comm_idup", code);
        }
        if (done) {
            code = MPI_Comm_set_errhandler(process.coming->comm,
                                           MPI_ERRORS_RETURN);
            return checked(error, "MPI_Comm_set_errhandler", code);
        }
        if (patience.waited >= seconds) {
            return TRANSPORT_NOTHING;
        }
        patience_rest(&patience);
    }
}

/* ---- the end ----------------------------------------------------------- */

/* MPI_Finalize has begun, whoever called it. */
static int
on_finalize(MPI_Comm self, int key, void *value, void *extra)
{
    (void)self, (void)key, (void)value, (void)extra;
    if (getpid() == process.pid && !end_mailboxes()) {
        abort_now();
    }
    return MPI_SUCCESS;
}

/* The parent is being freed; MPICH says so of MPI_COMM_WORLD, too, after
   on_finalize. */
static int
on_parent_freed(MPI_Comm parent, int key, void *mailbox, void *extra)
{
    (void)parent, (void)key, (void)extra;
    if (getpid() == process.pid && !mailbox_end(process.mailboxes, mailbox)) {
        abort_now();
    }
    return MPI_SUCCESS;
}

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
    return checked(error, "MPI_Comm_create_keyval", code);
}

/* ---- opening ----------------------------------------------------------- */

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
    if (*parent == MPI_COMM_NULL
        || test_inter(*parent, &inter) != MPI_SUCCESS) {
        return refuse(error, "open",
                      "comm is not a communicator's handle (how many workers "
                      "there are is the launcher's to say: mpiexec -n)");
    }
    if (inter) {
        return refuse(error, "open",
                      "an intercommunicator, which has no one "
                      "rank 0");
    }
    return TRANSPORT_OK;
}

static int
add_mailbox(MPI_Comm parent, struct wire *wire,
            const struct transport_farewell *farewell,
            struct mailbox **mailbox, struct transport_error *error)
{
    int code;

    *mailbox = mailbox_new(wire, HANDLE_FROM_COMM(parent), farewell,
                           process.mailboxes);
    if (*mailbox == NULL) {
        wire_close(wire);
        free(wire);
        return refuse(error, "malloc", "out of memory");
    }
    process.mailboxes = *mailbox;
    code = MPI_Comm_set_attr(parent, process.parent_key, *mailbox);
    if (code == MPI_SUCCESS && wire_open(wire) < 0) {
        *error = wire->error;
        return TRANSPORT_FAILED;
    }
    return checked(error, "MPI_Comm_set_attr", code);
}

static int
look_up(MPI_Comm parent, struct mailbox **mailbox, int *found,
        struct transport_error *error)
{
    int code;

    if (make_keys(error) < 0) {
        return TRANSPORT_FAILED;
    }
    code = MPI_Comm_get_attr(parent, process.parent_key, mailbox, found);
    return checked(error, "MPI_Comm_get_attr", code);
}

/* What is refused here keeps nobody waiting. */
static int
may_begin(MPI_Comm parent, struct transport_error *error)
{
    int rank;

    if (process.coming != NULL && process.coming_from != parent) {
        return refuse(error, "open",
                      "a pool on another communicator is waited for");
    }
    if (process.coming == NULL && process.survives
        && list_dead(parent, &rank, 1) > 0) {
        return refuse(error, "open",
                      "a rank of the communicator has died: where no pool was "
                      "made on it before, none can be made now");
    }
    return TRANSPORT_OK;
}

static int
meet_others(MPI_Comm parent, const struct transport_farewell *farewell,
            double seconds, struct mailbox **mailbox,
            struct transport_error *error)
{
    struct mpi_wire *wire;
    int status;

    if (process.coming == NULL && begin_duplicate(parent, error) < 0) {
        return TRANSPORT_FAILED;
    }
    status = await_duplicate(seconds, error);
    if (status != TRANSPORT_OK) {
        return status;
    }
    wire = process.coming;
    process.coming = NULL;
    if (process.survives && prepare_deaths(wire, error) < 0) {
        return TRANSPORT_FAILED;
    }
    return add_mailbox(parent, &wire->wire, farewell, mailbox, error);
}

/* A script may catch that it failed, and try again. */
static void
note_absence(MPI_Comm parent, int status)
{
    if (status == TRANSPORT_FAILED) {
        process.absent = 1;
        process.absent_from = parent;
    }
    else if (status == TRANSPORT_OK && process.absent_from == parent) {
        process.absent = 0;
    }
}

static int
open_alone(int32_t handle, const struct transport_farewell *farewell,
           double seconds, struct mailbox **mailbox,
           struct transport_error *error)
{
    MPI_Comm parent;
    int found = 0, status;

    if (find_parent(handle, &parent, error) < 0) {
        return TRANSPORT_FAILED;
    }
    status = look_up(parent, mailbox, &found, error);
    if (status == TRANSPORT_OK && found) {
        return TRANSPORT_OK;
    }
    if (status == TRANSPORT_OK && may_begin(parent, error) < 0) {
        return TRANSPORT_FAILED;
    }
    if (status == TRANSPORT_OK) {
        status = meet_others(parent, farewell, seconds, mailbox, error);
    }
    note_absence(parent, status);
    return status;
}

static int
transport_open(int32_t handle, const struct transport_farewell *farewell,
               double seconds, struct mailbox **mailbox,
               struct transport_error *error)
{
    int status;

    if (pthread_mutex_trylock(&process.opening) != 0) {
        patience_sleep(OPENING_SECONDS);
        return TRANSPORT_NOTHING;
    }
    status = open_alone(handle, farewell, seconds, mailbox, error);
    pthread_mutex_unlock(&process.opening);
    return status;
}

static int
transport_survives(const struct mailbox *mailbox)
{
    (void)mailbox;
    return process.survives;
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
    .threads = transport_threads,
    .open = transport_open,
    .rank = mailbox_rank,
    .ranks = mailbox_ranks,
    .handle = mailbox_handle,
    .survives = transport_survives,
    .owner = mailbox_owner,
    .set_owner = mailbox_set_owner,
    .send = mailbox_send,
    .multicast = mailbox_multicast,
    .reap = mailbox_reap,
    .flush = mailbox_flush,
    .wait = mailbox_wait,
    .interrupt = mailbox_interrupt,
    .take = mailbox_take,
    .word = mailbox_word,
    .close = mailbox_close,
    .closed = mailbox_closed,
    .set_ending = transport_set_ending,
    .abort = transport_abort,
};
