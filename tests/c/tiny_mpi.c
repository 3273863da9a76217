/* tiny_mpi.c -- what test_transport_choice.py takes for MPI libraries.

   With VERSION it is a libmpi that says it is that version.  Without, it is a
   transport for one, named VARIANT, that can be loaded and started. */

#include <stdio.h>
#include <string.h>

#include "transport.h"

int MPI_Get_library_version(char *version, int *length);

#ifdef VERSION
int
MPI_Get_library_version(char *version, int *length)
{
    *length = sprintf(version, "%s", VERSION);
    return 0;
}
#else
static int
check(char *library, size_t size, struct transport_error *error)
{
    char version[512];
    int length;

    MPI_Get_library_version(version, &length);
    snprintf(library, size, "%s", version);
    if (strstr(version, "Stranger") == NULL) {
        return TRANSPORT_OK;
    }
    error->call = "MPI_Get_library_version";
    snprintf(error->text, sizeof(error->text), "it is %.99s", version);
    return TRANSPORT_FAILED;
}

static int
start(int *first, struct transport_error *error)
{
    *first = 0;
    error->call = NULL;
    puts("MPI_Init");
    fflush(stdout); /* before what Python prints */
    return TRANSPORT_OK;
}

extern const struct transport ezmpi_transport;

const struct transport ezmpi_transport = {
    .version = TRANSPORT_VERSION,
    .size = sizeof(struct transport),
    .variant = VARIANT,
    .compiled_for = "a test",
    .check = check,
    .start = start,
};
#endif
