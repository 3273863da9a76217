/* init.c -- a program that starts MPI and ends it, and does nothing between:
   what MPI's own start costs.  See startup.py. */

#include <mpi.h>

int
main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Finalize();
    return 0;
}
