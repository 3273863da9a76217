/* lanes.h -- the way between rank 0 and ranks of its host through memory that
   they share (segment.h).

   Who shares memory with whom nobody knows at first, and the order of messages
   must hold while that is found out.  Rank 0 invites every other rank, over
   the link (LANE_TAG); each answers whether it could join.  The answer is the
   last that a joined rank sends over the link, but for pieces; then rank 0
   says that the lane is open, which is the last that it sends there. */

#ifndef EZMPI_LANES_H
#define EZMPI_LANES_H

#include "link.h"

struct lane;

/* Rank 0's with invitations on their way, or another rank's that waits for
   one; NULL: there are none. */
struct lanes *lanes_new(struct wire *wire);
void lanes_free(struct lanes *lanes);

/* The lane by which messages to rank go; NULL: the link. */
struct lane *lanes_to(struct lanes *lanes, int rank);
/* Could messages, other than pieces, come from source (or WIRE_ANY) over the
   link? */
int lanes_leave(const struct lanes *lanes, int source);
int lanes_send(struct lane *lane, const void *base, size_t size, int tag,
               struct wire_slot *request);
int lanes_look(struct lanes *lanes, int source, struct wire_arrival *arrival);
int lanes_accept(struct wire_arrival *arrival, void *base,
                 struct wire_slot *request);
int lanes_test(struct wire_slot *request);

/* A message with LANE_TAG has come over the link. */
int lanes_heed(struct lanes *lanes, struct wire_arrival *arrival);
/* No lane is opened any more. */
void lanes_end(struct lanes *lanes);

/* A piece that came before the message it belongs to, by another way: kept,
   and found again by source. */
int lanes_keep_piece(struct lanes *lanes, const struct wire_arrival *arrival);
int lanes_kept_piece(struct lanes *lanes, int source,
                     struct wire_arrival *arrival);

#endif
