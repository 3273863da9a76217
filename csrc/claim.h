/* claim.h -- whose a chunk is, that a worker has got and not begun: the
   worker's when it begins, or again the master's when that takes it back.

   Both decide in one word that they share (transport.h).  Chunks are numbered
   in the order in which the worker gets them, from 1.  Plain C. */

#ifndef EZMPI_CLAIM_H
#define EZMPI_CLAIM_H

#include <stdatomic.h>
#include <stdint.h>

/* The worker: 1: the chunk may be run; 0: it was taken back. */
int claim_begin(_Atomic uint64_t *word, uint32_t number);
/* The master: was it begun? */
int claim_is_begun(const _Atomic uint64_t *word, uint32_t number);
/* The master: 1: this chunk and all that were sent behind it will not be run;
   0: it was begun.  Until claim_reset nothing may be sent behind them. */
int claim_take_back(_Atomic uint64_t *word, uint32_t number);
/* The master: the worker has answered for all that was taken back. */
void claim_reset(_Atomic uint64_t *word);

#endif
