/* lanes.h -- the way between rank 0 and ranks of its host through memory that
   they share (segment.h).

   Who shares memory with whom nobody knows at first, and the order of messages
   must hold while that is found out.  Rank 0 invites every other rank, over
   the link (LANE_TAG); each answers whether it could join.  The answer is the
   last that a joined rank sends over the link, but for pieces; then rank 0
   says that the lane is open, which is the last that it sends there. */

#ifndef EZMPI_LANES_H
#define EZMPI_LANES_H

#include "lane.h"
#include "wire.h"

/* At the start: rank 0 invites, another waits for that.  Fills wire->lanes,
   NULL: there will be none. */
int lanes_open(struct wire *wire);
/* lanes NULL: none, here and below. */
void lanes_free(struct lanes *lanes);

/* The lane by which messages to rank go; NULL: the link. */
struct lane *lanes_to(struct lanes *lanes, int rank);
/* Could messages, other than pieces, come from source (or WIRE_ANY) over the
   link? */
int lanes_need_link(struct lanes *lanes, int source);
int lanes_look(struct lanes *lanes, int source, struct wire_arrival *arrival);

/* As wire_sleep. */
int lanes_sleep(struct lanes *lanes, double seconds, struct alarm *alarm);

/* At rank 0, now and then: where the death of ranks is survived, and MPI does
   not hear of one, the wire breaks. */
void lanes_find_unheard(struct lanes *lanes);
/* The rank has died: what it had written still comes. */
void lanes_lose(struct lanes *lanes, int rank);

/* The word that is shared with rank; NULL: none, or not yet, or not any more,
   from lanes_end on. */
_Atomic uint64_t *lanes_word(struct lanes *lanes, int rank);

/* A message with LANE_TAG has come over the link. */
int lanes_heed(struct wire *wire, struct wire_arrival *arrival);
/* Nothing is said of lanes any more: those that rank 0 did not open it never
   does. */
void lanes_end(struct lanes *lanes);

/* Has something come from that rank that was not looked at?  Then the next
   look at any finds it. */
int lanes_holds(struct lanes *lanes, int rank);

#endif
