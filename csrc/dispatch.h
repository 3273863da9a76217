/* dispatch.h -- chunks to workers, answers back, for several jobs at once.

   Each job is a line of chunks.  A worker that is free gets a chunk of the
   line that has the fewest workers; it holds chunks of one line at a time.

   Runs on the master (rank 0), in whatever thread has the helm.  Needs that,
   but no GIL: nothing here calls Python, so that workers are kept busy while
   other threads run Python code.  What needs it is left to the caller: drawing
   tasks (what line_kind says of a line), and reading answers, which wait in a
   queue. */

#ifndef EZMPI_DISPATCH_H
#define EZMPI_DISPATCH_H

#include "chunk.h"
#include "crew.h"
#include "initializer.h"
#include "schedule.h"
#include "seats.h"

struct line;

/* What kind of job it is. */
struct line_kind {
    /* Could a chunk be drawn now, by this thread? */
    int (*can_draw)(struct line *line);
    /* Draws one, if that can be.  Needs the GIL.  1: it waits, and nothing
       else has changed, for the helm was not left; -1: exception set, which
       is not the job's own.  NULL where can_draw never says so. */
    int (*draw)(struct line *line);
    /* Cuts the first chunk that waits to what one should have by now.  Needs
       the GIL; -1: as draw.  NULL without a schedule. */
    int (*cut)(struct line *line);
    /* Takes in what a chunk's answer says, and frees the chunk.  Needs the
       GIL; -1: as draw. */
    int (*take)(struct line *line, struct chunk *chunk);
    /* It cannot go on: this exception (borrowed) is what comes of it. */
    void (*fail)(struct line *line, PyObject *exception);
    /* Nobody may take results for now: draws all that there is, where it is
       known to end; else what is to be taken waits.  1: so it does.  Needs the
       GIL. */
    int (*is_stalled)(struct line *line);
    /* Does this thread run code of the user's for it?  Needs the GIL. */
    int (*is_inside)(const struct line *line);
    /* Takes back a chunk that a worker has and has not begun, with all that it
       has behind it: they wait again.  1; 0: that cannot be.  Needs the
       GIL.  NULL with a schedule: what is late comes back of itself. */
    int (*take_back)(struct line *line, struct chunk *chunk);
    /* A chunk's answer came, and could not be kept: this exception (borrowed)
       is what comes of it.  Needs the GIL. */
    void (*lose)(struct line *line, struct chunk *chunk, PyObject *exception);
    /* A chunk of it was freed.  Needs the GIL. */
    void (*chunk_is_gone)(struct line *line);
};

struct line {
    const struct line_kind *kind;
    struct line *next;
    struct line *next_orphan;
    struct schedule *schedule; /* NULL: one task in a chunk */
    struct chunks waiting; /* to be given, lowest first */
    struct chunks again; /* what failed, to wait until it can be given to a
                            worker that it does not avoid */
    uint64_t timeout; /* nanoseconds that a task may take; 0: any */
    int keeps_tasks; /* until they are answered for: they may be run again */
    int held; /* chunks that workers have, */
    int holders; /* so many workers */
    int untaken; /* answers, until they are taken in */
    int last_answered; /* a worker, or NOBODY */
    int is_parted; /* from dispatch: it may lack a schedule */
    int is_iterated;         /* its results are taken one by one */
    uint64_t served; /* nanoseconds of workers' time */
    int rests; /* it has nothing to be given, and no worker */
    /* what a worker is sent once before */
    uint64_t pool;
    struct initializer *initializer; /* NULL: none */
};

struct dispatch {
    struct crew *crew;
    struct seats *seats;
    struct line *lines; /* the first to come, first */
    uint64_t least_served; /* of those that have something to be given */
    struct line *_Atomic orphans; /* of whom nobody wants anything any more,
                                       each with a share; needs the GIL, and
                                       no helm */
    struct chunks answered; /* oldest first */
    int ahead; /* chunks that workers have and that can be taken back */
    int untold; /* workers that have died since the user was told */
    int64_t answered_since; /* crew_clock, of the oldest */
};

struct dispatch *dispatch_new(struct crew *crew); /* NULL: no memory */
/* When there is no line left: frees it, and the chunks that are there.  Needs
   the GIL; NULL is allowed. */
void dispatch_free(struct dispatch *dispatch);

/* A chunk of the line, which is told when it is freed; it keeps the callable.
   These need the GIL.  NULL: exception set. */
struct chunk *chunk_new(struct line *line, struct callable *callable);
void chunk_free(struct chunk *chunk);

void line_init(struct line *line, const struct line_kind *kind);
void dispatch_join(struct dispatch *dispatch, struct line *line);
void dispatch_part(struct dispatch *dispatch, struct line *line);

/* The chunk waits: with the others, or with what failed. */
void line_wait(struct line *line, struct chunk *chunk);
/* What failed waits with the others, for any worker. */
void line_join_again(struct line *line);

/* The line whose turn it is, and the worker to get its first waiting chunk.
   NULL: none now. */
struct line *dispatch_next(struct dispatch *dispatch, int *worker);
/* Can that chunk be given as it is?  Else it is to be cut first, or drawn. */
int line_is_ready(const struct line *line);
/* Gives the worker the line's first waiting chunk. */
int dispatch_give(struct dispatch *dispatch, struct line *line, int worker,
                  struct transport_error *error);
/* Gives a worker a chunk that does not wait, behind what it holds, whatever
   that is. */
int dispatch_send(struct dispatch *dispatch, struct chunk *chunk, int worker,
                  struct transport_error *error);
/* A chunk that waits behind one that takes far longer than was expected, while
   another worker has nothing to do: it should be taken back.  NULL: none. */
struct chunk *dispatch_find_stuck(const struct dispatch *dispatch);
/* Seconds after which to look for such again. */
double dispatch_patience(const struct dispatch *dispatch);
/* Workers that have something to do, of whatever line. */
int dispatch_busy(const struct dispatch *dispatch);
/* Has the worker begun the chunk that it was given? */
int
dispatch_is_begun(const struct dispatch *dispatch, const struct chunk *chunk);
/* Takes the chunk back, with all that its worker was sent behind it, unless it
   was begun: they will not be run.  1; the caller moves them. */
int dispatch_revoke(struct dispatch *dispatch, const struct chunk *chunk);
/* Gives what waits and can be given, until it is the turn of a line of which a
   chunk is to be drawn or cut: others do not get its share meanwhile. */
int dispatch_feed(struct dispatch *dispatch, struct transport_error *error);

/* To all workers: along a tree to those that are idle, if it is large. */
int dispatch_broadcast(struct dispatch *dispatch, enum verb verb,
                       const struct header *header, struct parcel *parcel,
                       struct transport_error *error);

/* Waits for a message, at most seconds, and takes it in: an answer joins the
   answered.  DISPATCH_PYTHON: it has come, but crew_receive must take it in,
   and dispatch_accept or who else knows its verb. */
#define DISPATCH_PYTHON 3
int dispatch_receive(struct dispatch *dispatch, double seconds,
                     struct transport_error *error);
/* Takes over the letter's parcel, if it is of use. */
int dispatch_accept(struct dispatch *dispatch, struct letter *letter,
                    struct transport_error *error);

/* What workers hold of the line is of no use any more: frees all but what it
   takes to know their answers.  Needs the GIL. */
void dispatch_strip(struct dispatch *dispatch, const struct line *line);
/* The worker's oldest chunk was answered for, but the answer is lost: takes it
   out.  NULL: it holds none. */
struct chunk *dispatch_lose(struct dispatch *dispatch, int worker);

/* No task of the line from first upwards matters any more: tells the workers
   that hold such; those that wait are moved to dropped. */
int
dispatch_limit(struct dispatch *dispatch, struct line *line, uint64_t first,
               struct chunks *dropped, struct transport_error *error);

#endif
