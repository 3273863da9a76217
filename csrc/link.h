/* link.h -- messages of one communicator as MPI has them, or as sockets do:
   the functions are those of wire.h, where their contracts stand.  Implemented
   by transport_mpi.c and link_local.c. */

#ifndef EZMPI_LINK_H
#define EZMPI_LINK_H

#include "wire.h"

int link_send(struct wire *wire, const void *base, size_t size, int rank,
              int tag, struct wire_slot *request);
/* WIRE_ANY does not leave out pieces. */
int link_look(struct wire *wire, int source, int tag,
              struct wire_arrival *arrival);
int link_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
                struct wire_slot *request);
int link_test(struct wire *wire, struct wire_slot *request);
/* Lets MPI move what is on its way, the user's own messages among it. */
void link_progress(struct wire *wire);
void link_close(struct wire *wire);

#endif
