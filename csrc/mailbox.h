/* mailbox.h -- a mailbox over a wire; the functions are those of
   transport.h, where their contracts stand.

   All ranks run this, and what it is made of.  Rank 0 is the master, or in
   local.so also a guard: that has two mailboxes, and is a worker's rank in the
   master's, and rank 0 in its child's. */

#ifndef EZMPI_MAILBOX_H
#define EZMPI_MAILBOX_H

#include "wire.h"

/* next: the mailboxes that the process has already.  NULL: out of memory. */
struct mailbox *
mailbox_new(struct wire *wire, int32_t handle,
            const struct transport_farewell *farewell, struct mailbox *next);

int mailbox_rank(const struct mailbox *mailbox);
int mailbox_ranks(const struct mailbox *mailbox);
int32_t mailbox_handle(const struct mailbox *mailbox);
void *mailbox_owner(const struct mailbox *mailbox);
void mailbox_set_owner(struct mailbox *mailbox, void *owner);

int mailbox_send(struct mailbox *mailbox, int rank, int verb, int expects,
                 const struct transport_part *parts, size_t count, void *token,
                 struct transport_error *error);
int
mailbox_multicast(struct mailbox *mailbox, const int *ranks, size_t receivers,
                  int verb, const struct transport_part *parts, size_t count,
                  void *token, struct transport_error *error);
void *mailbox_reap(struct mailbox *mailbox);
int mailbox_flush(struct mailbox *mailbox, double seconds,
                  struct transport_error *error);
int
mailbox_wait(struct mailbox *mailbox, double seconds,
             struct transport_message *message, struct transport_error *error);
void mailbox_interrupt(struct mailbox *mailbox);
int mailbox_take(struct mailbox *mailbox, size_t index, void *base,
                 struct transport_error *error);

_Atomic uint64_t *mailbox_word(struct mailbox *mailbox, int rank);

int mailbox_close(struct mailbox *mailbox, struct transport_error *error);
int mailbox_closed(const struct mailbox *mailbox);
/* Of the mailboxes from first on. */
void mailbox_set_ending(struct mailbox *first, double seconds, int code);
/* In local.so, of one: it waits so long, above 0, and says nothing where that
   was in vain. */
void mailbox_set_patience(struct mailbox *mailbox, double seconds);
/* Is there no other, and has it so many ranks? */
int mailbox_is_only(const struct mailbox *first, int ranks);

/* Exchanges farewells in the mailboxes from first on, or in only one of them,
   and closes their wires.  A mailbox that has ended is left alone; it stays
   in memory, and its functions fail.  Where a farewell cannot be had it prints
   a line on stderr and ends the job; without a code (set_ending) the caller is
   to do that, and this returns 0, else 1. */
int mailbox_end(struct mailbox *first, struct mailbox *only);
/* In local.so: ends one without farewells, where its other ranks are gone: no
   message leaves any more, and all tokens can be reaped. */
void mailbox_cut(struct mailbox *mailbox);
/* In local.so: takes one that has ended out of the list, and frees it. */
void mailbox_free(struct mailbox **first, struct mailbox *mailbox);

#endif
