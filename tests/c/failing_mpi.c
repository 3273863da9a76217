/* failing_mpi.c -- preloaded: MPI's calls, one of which fails, as planned by
   EZMPI_TEST_FAILS: a rank or "all", the call's name, and which of its calls. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

static int count;

static int
is_rank(const char *rank)
{
    const char *own = getenv("PMI_RANK");

    own = own != NULL ? own : getenv("OMPI_COMM_WORLD_RANK");
    return strcmp(rank, "all") == 0 || (own != NULL && strcmp(own, rank) == 0);
}

static int
fails(const char *call)
{
    const char *plan = getenv("EZMPI_TEST_FAILS");
    char rank[8], planned[32];
    int number;

    return plan != NULL
           && sscanf(plan, "%7s %31s %d", rank, planned, &number) == 3
           && strcmp(call, planned) == 0 && is_rank(rank) && ++count == number;
}

int
MPI_Get_library_version(char *version, int *length)
{
    return fails("MPI_Get_library_version")
               ? MPI_ERR_OTHER
               : PMPI_Get_library_version(version, length);
}

int
MPI_Init_thread(int *argc, char ***argv, int level, int *provided)
{
    int code = PMPI_Init_thread(argc, argv, level, provided);
    return fails("MPI_Init_thread") ? MPI_ERR_OTHER : code;
}

int
MPI_Comm_create_keyval(MPI_Comm_copy_attr_function *copy,
                       MPI_Comm_delete_attr_function *deleted, int *key,
                       void *extra)
{
    return fails("MPI_Comm_create_keyval")
               ? MPI_ERR_OTHER
               : PMPI_Comm_create_keyval(copy, deleted, key, extra);
}

int
MPI_Comm_set_attr(MPI_Comm comm, int key, void *value)
{
    return fails("MPI_Comm_set_attr") ? MPI_ERR_OTHER
                                      : PMPI_Comm_set_attr(comm, key, value);
}

int
MPI_Comm_get_attr(MPI_Comm comm, int key, void *value, int *found)
{
    return fails("MPI_Comm_get_attr")
               ? MPI_ERR_OTHER
               : PMPI_Comm_get_attr(comm, key, value, found);
}

int
MPI_Comm_idup(MPI_Comm comm, MPI_Comm *other, MPI_Request *request)
{
    return fails("MPI_Comm_idup") ? MPI_ERR_OTHER
                                  : PMPI_Comm_idup(comm, other, request);
}

int
MPI_Isend(const void *base, int size, MPI_Datatype type, int rank, int tag,
          MPI_Comm comm, MPI_Request *request)
{
    return fails("MPI_Isend")
               ? MPI_ERR_OTHER
               : PMPI_Isend(base, size, type, rank, tag, comm, request);
}

int
MPI_Improbe(int source, int tag, MPI_Comm comm, int *found,
            MPI_Message *message, MPI_Status *status)
{
    return fails("MPI_Improbe")
               ? MPI_ERR_OTHER
               : PMPI_Improbe(source, tag, comm, found, message, status);
}

/* What MPI says of more bytes than an int counts. */
int
MPI_Get_count(const MPI_Status *status, MPI_Datatype type, int *size)
{
    int code = PMPI_Get_count(status, type, size);

    if (fails("MPI_Get_count"))
        *size = MPI_UNDEFINED;
    return code;
}

int
MPI_Imrecv(void *base, int size, MPI_Datatype type, MPI_Message *message,
           MPI_Request *request)
{
    return fails("MPI_Imrecv")
               ? MPI_ERR_OTHER
               : PMPI_Imrecv(base, size, type, message, request);
}

int
MPI_Test(MPI_Request *request, int *done, MPI_Status *status)
{
    return fails("MPI_Test") ? MPI_ERR_OTHER
                             : PMPI_Test(request, done, status);
}
