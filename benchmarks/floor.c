/* floor.c -- what bare MPI needs for the conversation of a map.

   floor MAPS TASKS THERE BACK ONCE: rank 0 does MAPS times: send ONCE bytes
   to every other rank, if any; hand TASKS messages of THERE bytes to whoever
   is free; get BACK bytes for each.  Blocking calls; small messages come to
   the same memory over and over, large ones to fresh memory, as they must
   where they become arrays that are kept until the map ends.  Prints a JSON
   object like cell.py's. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

#define TIMES 9     /* the median of so many is told */
#define LARGE 100000            /* bytes */

enum tag { ONCE = 1, TASK, ANSWER, STOP };

struct shape {
    long maps, tasks;
    int there, back, once;
};

static char *
memory(int size)
{
    char *base = malloc((size_t)size + 1);
    if (base == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    return memset(base, 1, (size_t)size + 1);
}

static void
send_task(char *task, const struct shape *shape, int rank)
{
    MPI_Send(task, shape->there, MPI_BYTE, rank, TASK, MPI_COMM_WORLD);
}

/* Where a message is to come to: memory of its own, if it is large. */
static char *
place(char *usual, int size)
{
    char *base = size < LARGE ? usual : malloc((size_t)size);
    if (base == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    return base;
}

static void
map(const struct shape *shape, char *once, char *task, char *answer, int ranks)
{
    long given = 0;
    char **places = calloc((size_t)shape->tasks, sizeof *places);
    MPI_Status status;
    if (places == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    for (int rank = 1; rank < ranks && shape->once > 0; rank++)
        MPI_Send(once, shape->once, MPI_BYTE, rank, ONCE, MPI_COMM_WORLD);
    for (int rank = 1; rank < ranks && given < shape->tasks; rank++, given++)
        send_task(task, shape, rank);
    for (long done = 0; done < shape->tasks; done++) {
        places[done] = place(answer, shape->back);
        MPI_Recv(places[done], shape->back, MPI_BYTE, MPI_ANY_SOURCE, ANSWER,
                 MPI_COMM_WORLD, &status);
        if (given < shape->tasks) {
            send_task(task, shape, status.MPI_SOURCE);
            given++;
        }
    }
    for (long done = 0; done < shape->tasks && shape->back >= LARGE; done++)
        free(places[done]);
    free(places);
}

static void
serve(const struct shape *shape)
{
    int largest = shape->once > shape->there ? shape->once : shape->there;
    char *task = memory(largest), *answer = memory(shape->back);
    MPI_Status status;
    for (;;) {
        char *into = shape->there < largest ? task : place(task, largest);
        MPI_Recv(into, largest, MPI_BYTE, 0, MPI_ANY_TAG, MPI_COMM_WORLD,
                 &status);
        if (into != task)
            free(into);
        if (status.MPI_TAG == STOP)
            break;
        if (status.MPI_TAG == TASK)
            MPI_Send(answer, shape->back, MPI_BYTE, 0, ANSWER, MPI_COMM_WORLD);
    }
    free(task);
    free(answer);
}

static int
compare(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

static void
measure(const struct shape *shape, int ranks)
{
    double times[TIMES];
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    char *once = memory(shape->once), *task = memory(shape->there);
    char *answer = memory(shape->back);
    struct shape few = *shape;
    int length;

    few.maps = (shape->maps + 49) / 50;
    few.tasks = (shape->tasks + 49) / 50;
    for (long i = 0; i < few.maps; i++)
        map(&few, once, task, answer, ranks);
    for (int time = 0; time < TIMES; time++) {
        double start = MPI_Wtime();
        for (long i = 0; i < shape->maps; i++)
            map(shape, once, task, answer, ranks);
        times[time] = MPI_Wtime() - start;
    }
    qsort(times, TIMES, sizeof *times, compare);
    for (int rank = 1; rank < ranks; rank++)
        MPI_Send(NULL, 0, MPI_BYTE, rank, STOP, MPI_COMM_WORLD);
    MPI_Get_library_version(library, &length);
    library[strcspn(library, "\n,")] = '\0';
    for (char *c = library; *c != '\0'; c++)
        *c = *c == '\t' ? ' ' : *c;
    printf("{\"seconds\": %.9f, \"version\": \"%s\"}\n", times[TIMES / 2],
           library);
    free(once);
    free(task);
    free(answer);
}

int
main(int argc, char **argv)
{
    int rank, ranks;
    if (argc != 6) {
        fputs("usage: floor MAPS TASKS THERE BACK ONCE\n", stderr);
        return 2;
    }
    struct shape shape = {atol(argv[1]), atol(argv[2]), atoi(argv[3]),
                          atoi(argv[4]), atoi(argv[5])};
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (rank == 0)
        measure(&shape, ranks);
    else
        serve(&shape);
    MPI_Finalize();
    return 0;
}
