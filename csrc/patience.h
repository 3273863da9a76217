/* patience.h -- waiting for something that must be polled.

   Between two looks: nothing at first, then an offer of the processor to
   others, then sleep, the longer the longer it has been.  So what comes soon
   is met at once, and a long wait costs next to nothing. */

#ifndef EZMPI_PATIENCE_H
#define EZMPI_PATIENCE_H

struct patience {
    int crowded;                    /* never keep the processor */
    double before;                  /* seconds waited in earlier waits, */
    double waited;                  /* and in this one; begin with 0 */
    double began;                   /* 0: at the first rest */
    unsigned spins;
    /* How to sleep about so long; NULL: patience_sleep. */
    void (*sleep)(struct patience *patience, double seconds);
};

/* Waiting, but for messages in a mailbox (mailbox.c), is not ended early. */
void patience_rest(struct patience *patience);

/* A signal ends it early. */
void patience_sleep(double seconds);

/* Are there more processes on this host than processors?  There are so many
   for each rank that the launcher says is here; and so many ranks where it
   does not say. */
int patience_crowded(int ranks, int each);

/* Seconds, from a clock that only goes forward. */
double patience_now(void);

#endif
