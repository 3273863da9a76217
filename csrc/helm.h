/* helm.h -- who drives: at most one thread of the process at a time.

   Whoever has the helm of a crew may use its mailbox and change what is known
   of its jobs.  It is left while the user's iterators and callbacks run, which
   may take long or use the pool, and soon when another thread wants it, whose
   waiting for messages interrupts (master.h).  What else of the user's runs at
   the helm, pickling and the end of objects, cannot use a pool (RuntimeError).
   The GIL is another matter: the helm is waited for with the GIL free, and the
   GIL is waited for at the helm.

   Plain C: threads, no Python. */

#ifndef EZMPI_HELM_H
#define EZMPI_HELM_H

#include <pthread.h>
#include <stdatomic.h>

/* A thread that waits for something that whoever drives will bring about. */
struct helm_watch {
    struct helm_watch *next;
    pthread_cond_t changed;
    const void *of;                 /* what helm_notify is called with */
    int would_drive;                /* a free helm wakes it, too */
    int is_woken;
};

struct helm {
    pthread_mutex_t lock;
    pthread_cond_t is_free;
    _Atomic int wanted;             /* threads in helm_take */
    int is_held;
    pthread_t holder;
    struct helm_watch *watches;     /* the first to come, first */
};

int helm_init(struct helm *helm);   /* -1: no resources */
void helm_fini(struct helm *helm);  /* nobody waits for it, nor watches */

int helm_try(struct helm *helm);    /* 1: it is ours */
/* Waits for it.  hurry(of) is called when somebody else has it. */
void helm_take(struct helm *helm, void (*hurry)(void *), void *of);
void helm_leave(struct helm *helm);
int helm_is_wanted(const struct helm *helm);
int helm_is_mine(struct helm *helm);

/* To watch: begin, look whether it has come about, wait, end.  What happens
   between begin and wait ends the wait. */
int helm_watch_begin(struct helm *helm, struct helm_watch *watch,
                     const void *of, int would_drive);
/* At most seconds. */
void
helm_watch_wait(struct helm *helm, struct helm_watch *watch, double seconds);
void helm_watch_end(struct helm *helm, struct helm_watch *watch);
/* It has come about; NULL: for all that watch. */
void helm_notify(struct helm *helm, const void *of);

#endif
