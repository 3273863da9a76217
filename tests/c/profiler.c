/* profiler.c -- an MPI profiler as those that are preloaded: counts what rank
   0 sends. */

#include <stdio.h>

#include <mpi.h>

static int sends;
static long long bytes;

int
MPI_Isend(const void *base, int count, MPI_Datatype type, int rank, int tag,
          MPI_Comm comm, MPI_Request *request)
{
    sends++;
    bytes += count; /* the pool sends bytes only */
    return PMPI_Isend(base, count, type, rank, tag, comm, request);
}

int
MPI_Init_thread(int *argc, char ***argv, int level, int *provided)
{
    return PMPI_Init_thread(argc, argv, level, provided);
}

int
MPI_Init(int *argc, char ***argv)
{
    return PMPI_Init(argc, argv);
}

int
MPI_Finalize(void)
{
    int rank;

    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        printf("profiled: %d sends, %lld bytes\n", sends, bytes);
        fflush(stdout);
    }
    return PMPI_Finalize();
}
