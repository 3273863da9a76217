/* driver_test.c -- the driver's thread, and others that use its crew.

       driver_test SEED STEPS

   For ThreadSanitizer: all that is the engine's and sees Python only in
   passing (driver.c, master.c, dispatch.c, crew.c, lease.c) is linked as it
   is, over the transport that forks its workers; Python's lock is in
   python_stub.c, and jobs and calls, which are made of objects, in
   jobs_stub.c.  Threads begin jobs and calls, wait for them, cancel them, drop
   them, ask for status, interrupt, at random, until a pool is closed, dropped
   or terminated under them; then the next one begins with a seed of its own.

   So this shows races between threads that go through the GIL and the helm,
   and those that go round both.  It shows none in job.c, call.c and the like:
   tests/programs/races.py runs the whole extension. */

#define PY_SSIZE_T_CLEAN
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "claim.h"
#include "driver.h"
#include "jobs_stub.h"
#include "lease.h"
#include "master.h"
#include "python_stub.h"

#define WORKERS 3
#define USERS 3
#define HELD 8 /* jobs, and calls, that a thread has at a time */
#define STEPS 200 /* of each thread, in a pool's life */
#define LARGE 300000 /* bytes: they do not travel through a lane */

extern const struct transport ezmpi_transport;

/* Known to all threads of a pool's life. */
static struct {
    struct lease lease;
    struct calls *calls;
    pthread_key_t user; /* the thread's */
    int is_closed;
} life;

struct user {
    uint64_t seed;
    struct job *jobs[HELD];
    struct ticket *tickets[HELD];
    int depth; /* of users' code in users' code */
};

static uint64_t
draw_number(uint64_t *seed, uint64_t below)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (*seed >> 33) % below;
}

static int
happens(struct user *user, int percent)
{
    return draw_number(&user->seed, 100) < (uint64_t)percent;
}

/* ---- a worker --------------------------------------------------------- */

struct server {
    struct mailbox *mailbox;
    uint64_t seed;
    unsigned char header[HEADER_SIZE];
    unsigned char body[LARGE];
};

static void
flush(const struct server *server)
{
    struct transport_error error;
    CHECK(ezmpi_transport.flush(server->mailbox, 1e9, &error) == TRANSPORT_OK);
    while (ezmpi_transport.reap(server->mailbox) != NULL)
        continue;
}

static void
answer(struct server *server, const struct header *header, size_t size)
{
    struct transport_error error;
    struct transport_part parts[] = {{server->header, HEADER_SIZE},
                                     {server->body, size}};
    uint64_t sum = sum_of(header->first, header->count);
    memcpy(server->body, &sum, sizeof sum);
    header_pack(header, server->header);
    CHECK(ezmpi_transport.send(server->mailbox, 0, VERB_ANSWER, 0, parts,
                               header->count > 0 ? 2 : 1, server, &error)
          == TRANSPORT_OK);
    flush(server);
}

/* Now and then it is slow, gives something back, or has much to say. */
static void
serve_chunk(struct server *server, struct header header)
{
    uint64_t asked = header.count;
    size_t size = sizeof(uint64_t);
    if (header.flags & FLAG_CLAIM) {
        _Atomic uint64_t *word = ezmpi_transport.word(server->mailbox, 0);
        if (!claim_begin(word, (uint32_t)header.elapsed))
            header.count = 0;
    }
    else if (header.flags & FLAG_BACK && draw_number(&server->seed, 4) == 0)
        header.count = draw_number(&server->seed, asked);
    if (draw_number(&server->seed, 8) == 0)
        usleep((useconds_t)draw_number(&server->seed, 2000));
    if (draw_number(&server->seed, 30) == 0)
        size = LARGE;
    header.flags = header.count < asked ? FLAG_BACK : 0;
    header.elapsed = 1000 * asked;
    answer(server, &header, size);
}

static _Noreturn void
serve(int32_t handle, int rank, uint64_t seed,
      const struct transport_farewell *farewell)
{
    static struct server server;
    struct transport_error error;
    struct transport_message message;
    int status;
    server.seed = seed + (uint64_t)rank;
    CHECK(ezmpi_transport.open(handle, farewell, 1, &server.mailbox, &error)
          == TRANSPORT_OK);
    do {
        struct header header;
        status = ezmpi_transport.wait(server.mailbox, 1, &message, &error);
        CHECK(status == TRANSPORT_OK || status == TRANSPORT_NOTHING);
        if (status != TRANSPORT_OK || message.verb != VERB_TASKS)
            continue;
        CHECK(header_unpack(&header, message.parts[0].base,
                            message.parts[0].size)
              == 0);
        serve_chunk(&server, header);
    } while (status != TRANSPORT_OK || message.verb != VERB_FAREWELL);
    CHECK(ezmpi_transport.close(server.mailbox, &error) == TRANSPORT_OK);
    ezmpi_transport.part(handle, 1);
    _exit(0);
}

/* ---- what threads do; all of it at the GIL ---------------------------- */

static struct crew *
crew(void)
{
    return life.lease.crew;
}

static void
let_others(void)
{
    gil_leave();
    sched_yield();
    gil_take();
}

static void
begin_job(struct user *user, struct job **place)
{
    struct job_plan plan = {
        .kind = (enum job_kind)draw_number(&user->seed, 3),
        .is_in_background = happens(user, 60),
        .pool = life.lease.number,
        .tasks = draw_number(&user->seed, 300),
        .chunksize = draw_number(&user->seed, 4),
        .bytes = happens(user, 5) ? LARGE : draw_number(&user->seed, 500),
    };
    CHECK(!plan.is_in_background || driver_start(crew()) == 0);
    crew_take_helm(crew());
    /* It may have been closed meanwhile. */
    struct job *job = life.is_closed ? NULL : job_start(crew(), &plan);
    crew_leave_helm(crew());
    if (job == NULL)
        return;
    if (plan.is_in_background) {
        helm_notify(&crew()->helm, crew());
        *place = job;
        return;
    }
    job_wait(job, -1);
    CHECK(job_is_right(job));
    crew_take_helm(crew());
    job_release(job);
    crew_leave_helm(crew());
}

/* One that is there: waits, or leaves it. */
static void
go_on_with_job(struct user *user, struct job **place)
{
    struct job *job = *place;
    if (happens(user, 50))
        job_wait(job, happens(user, 50) ? 0 : 0.002);
    else if (happens(user, 30)) {
        *place = NULL;
        master_drop(crew(), job);
        return;
    }
    else if (happens(user, 50))
        job_wait(job, -1);
    if (!job_is_over(job))
        return;
    CHECK(job_is_right(job));
    *place = NULL;
    job_release(job);
}

static void
step_job(struct user *user)
{
    struct job **place = &user->jobs[draw_number(&user->seed, HELD)];
    if (*place != NULL)
        go_on_with_job(user, place);
    else if (!life.is_closed)
        begin_job(user, place);
}

static void
begin_call(struct ticket **place)
{
    CHECK(driver_start(crew()) == 0);
    crew_take_helm(crew());
    if (!life.is_closed)
        *place = call_start(life.calls);
    crew_leave_helm(crew());
    helm_notify(&crew()->helm, crew());
}

static void
step_call(struct user *user)
{
    struct ticket **place = &user->tickets[draw_number(&user->seed, HELD)];
    if (*place == NULL) {
        if (!life.is_closed)
            begin_call(place);
        return;
    }
    call_begun(*place);
    if (happens(user, 30))
        call_cancel(*place);
    call_wait(*place, happens(user, 50) ? -1 : 0.001);
    if (!call_is_right(*place))
        return;
    call_release(*place);
    *place = NULL;
}

/* As status.c. */
static void
ask_for_status(void)
{
    crew_take_helm(crew());
    if (!crew_is_gone(crew()))
        master_listen(crew());
    for (int worker = 0; worker < WORKERS; worker++) {
        const struct chunk *chunk =
            seats_oldest(crew()->dispatch->seats, worker);
        CHECK(chunk == NULL || chunk->header.job <= crew()->jobs);
        CHECK(crew()->members[worker].since <= crew_clock());
    }
    crew_leave_helm(crew());
}

/* Without the GIL, as hurry in crew.c and the stall's watcher. */
static void
interrupt(void)
{
    gil_leave();
    ezmpi_transport.interrupt(crew()->mailbox);
    if (!ezmpi_transport.closed(crew()->mailbox))
        ezmpi_transport.interrupt(crew()->mailbox);
    gil_take();
}

static void
step(struct user *user)
{
    switch (draw_number(&user->seed, 9)) {
    case 0:
        ask_for_status();
        break;
    case 1:
        interrupt();
        break;
    case 2:
        if (!crew_is_gone(crew()))
            CHECK(master_touch(crew()) == 0);
        break;
    case 3:
        let_others();
        break;
    case 4:
    case 5:
        step_call(user);
        break;
    default:
        step_job(user);
    }
}

/* Iterators and callbacks: they may use the pool, or take their time. */
static void
users_code(struct crew *of)
{
    struct user *user = pthread_getspecific(life.user);
    CHECK(of == crew() && gil_is_mine());
    if (user == NULL || user->depth > 0) { /* the driver's thread */
        let_others();
        return;
    }
    user->depth++;
    if (happens(user, 20))
        step(user);
    else
        let_others();
    user->depth--;
}

/* ---- a pool's life ---------------------------------------------------- */

static void *
use(void *user_)
{
    struct user *user = user_;
    CHECK(pthread_setspecific(life.user, user) == 0);
    gil_take();
    for (int i = 0; i < STEPS && !life.is_closed; i++)
        step(user);
    for (int i = 0; i < HELD; i++) {
        while (user->jobs[i] != NULL)
            go_on_with_job(user, &user->jobs[i]);
        if (user->tickets[i] == NULL)
            continue;
        call_wait(user->tickets[i], -1);
        CHECK(call_is_right(user->tickets[i]));
        call_release(user->tickets[i]);
    }
    gil_leave();
    return NULL;
}

/* As MPIPool.terminate: whatever is unfinished is left. */
static void
terminate(void)
{
    life.is_closed = 1;
    life.lease.is_terminated = 1;
    crew_take_helm(crew());
    master_abandon(crew(), life.lease.number, 0, NULL);
    crew_leave_helm(crew());
    CHECK(lease_close(&life.lease) == 0);
    lease_part(&life.lease, 0);
}

static void
close_pool(struct user *user)
{
    life.is_closed = 1;
    CHECK(lease_close(&life.lease) == 0);
    CHECK(lease_join(&life.lease, -1, 0) == 1);
    if (happens(user, 50))
        lease_part(&life.lease, 5);
    else
        CHECK(lease_drop(&life.lease) == 0);
}

static void
begin_life(int32_t handle)
{
    life.is_closed = 0;
    life.lease = (struct lease){.crew = crew_open(&ezmpi_transport, handle)};
    CHECK(crew() != NULL && crew()->workers == WORKERS);
    CHECK(master_init(crew()) == 0);
    lease_begin(&life.lease);
    life.calls = calls_open(crew(), life.lease.number);
}

static void
end_life(struct user *user)
{
    if (happens(user, 60))
        terminate();
    else
        close_pool(user);
}

static void
live(uint64_t seed)
{
    struct user users[USERS + 1] = {{0}};
    pthread_t threads[USERS];
    for (int i = 0; i <= USERS; i++)
        users[i].seed = 1000 * seed + (uint64_t)i;
    for (int i = 0; i < USERS; i++)
        CHECK(pthread_create(&threads[i], NULL, use, &users[i]) == 0);
    gil_leave();
    usleep((useconds_t)draw_number(&users[USERS].seed, 50000));
    gil_take();
    end_life(&users[USERS]);
    gil_leave();
    for (int i = 0; i < USERS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    gil_take();
    driver_stop(crew());
    stub_join();
    CHECK(ezmpi_transport.closed(crew()->mailbox));
    CHECK(crew()->unfinished == 0 && crew()->dispatch->lines == NULL);
    crew_release(crew()); /* the last share: it goes */
    calls_close(life.calls);
}

static void
drive(void *of)
{
    driver_run(of);
}

int
main(int argc, char **argv)
{
    unsigned char bytes[HEADER_SIZE] = {0};
    struct transport_farewell farewell = {VERB_FAREWELL, bytes, sizeof bytes};
    struct transport_error error;
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    long steps = argc > 2 ? strtol(argv[2], NULL, 10) : 10000;
    int first;
    stub_drive = drive;
    stub_users_code = users_code;
    CHECK(pthread_key_create(&life.user, NULL) == 0);
    CHECK(ezmpi_transport.start(&first, &error) == TRANSPORT_OK);
    gil_take();
    for (; steps > 0; steps -= USERS * STEPS, seed++) {
        int32_t handle;
        int rank;
        printf("seed %llu\n", (unsigned long long)seed);
        CHECK(ezmpi_transport.fork(WORKERS, &handle, &rank, &error)
              == TRANSPORT_OK);
        if (rank > 0)
            serve(handle, rank, seed, &farewell);
        begin_life(handle);
        live(seed);
    }
    printf("ok\n");
    return 0;
}
