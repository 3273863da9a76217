/* bad_sender.c -- preloaded as an MPI profiler: a worker sends one message
   that no ezmpi would, the first one after there is a file "fault".

   EZMPI_TEST_MESSAGE says how: "truncated", or "garbled" in all its bytes. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpi.h>

static int sent;
static char garbled[4096];

static const char *
how_now(int count)
{
    int rank;
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (sent || rank == 0 || count == 0 || count > (int)sizeof garbled)
        return NULL;
    return access("fault", F_OK) == 0 ? getenv("EZMPI_TEST_MESSAGE") : NULL;
}

int
MPI_Isend(const void *base, int count, MPI_Datatype type, int rank, int tag,
          MPI_Comm comm, MPI_Request *request)
{
    const char *how = how_now(count);
    if (how != NULL) {
        sent = 1;
        memset(garbled, 0xa5, sizeof garbled);
        if (strcmp(how, "truncated") == 0)
            count /= 2;
        else
            base = garbled;
    }
    return PMPI_Isend(base, count, type, rank, tag, comm, request);
}
