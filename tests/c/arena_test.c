/* arena_test.c -- what a rank, its child and what the child forks see of one
   block.  They take turns through a pipe each way. */

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena.h"
#include "check.h"

#define SIZE ((size_t)1 << 20)

static struct arena *arena;
static int there[2], back[2];

static int
all_are(const unsigned char *bytes, size_t size, int value)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != value) {
            return 0;
        }
    }
    return 1;
}

static void
say(const int *way)
{
    CHECK(write(way[1], "", 1) == 1);
}

static void
hear(const int *way)
{
    char byte;

    CHECK(read(way[0], &byte, 1) == 1);
}

/* Runs in another process, which must find all well. */
static pid_t
in_fork(void (*run)(int block), int block)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0) {
        run(block);
        _exit(0); /* a sanitizer's end needs memory */
    }
    return pid;
}

static void
join(pid_t pid)
{
    int status;

    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static unsigned char *
filled(int value, size_t size)
{
    unsigned char *base = arena_take(arena, size);

    CHECK(base != NULL);
    memset(base, value, size);
    return base;
}

/* What the last arena's blocks take of memory. */
static long
blocks_of_file(void)
{
    struct stat status;
    long found = -1;

    for (int file = 3; file < 64; file++) {
        char path[64], name[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
        if (readlink(path, name, sizeof name - 1) > 0
            && strstr(name, "ezmpi arena") != NULL) {
            CHECK(fstat(file, &status) == 0);
            found = (long)status.st_blocks;
        }
    }
    return found;
}

/* ---- a child alters what it got --------------------------------------- */

static void
alter(int block)
{
    CHECK(arena_enter(arena) == 0);
    unsigned char *bytes = arena_look(arena, block, SIZE);
    CHECK(bytes != NULL && all_are(bytes, SIZE, 1));
    memset(bytes, 2, SIZE);
    arena_give_back(arena, block);
}

static void
test_taken_again(void)
{
    unsigned char *base = filled(1, SIZE);
    int block = arena_lend(arena, base);
    CHECK(block >= 0 && arena_lend(arena, &block) < 0);
    arena_leave(arena, base);
    CHECK(arena_lend(arena, base) < 0);
    CHECK(arena_take(arena, SIZE) != base);
    join(in_fork(alter, block));
    CHECK(arena_take(arena, SIZE) == base);
    CHECK(all_are(base, SIZE, 2)); /* it is one memory */
    CHECK(arena_take(arena, (size_t)1 << 40) == NULL);
}

/* ---- what it forks looks longer than the child ------------------------- */

static void *child_sees;

static void
look_on(int block)
{
    say(back);
    hear(there);
    CHECK(all_are(child_sees, SIZE, 1));
    arena_give_back(arena, block); /* not its own */
}

static void
fork_and_give_back(int block)
{
    CHECK(arena_enter(arena) == 0);
    CHECK((child_sees = arena_look(arena, block, SIZE)) != NULL);
    pid_t pid = in_fork(look_on, block);
    memset(child_sees, 3, SIZE);
    arena_give_back(arena, block);
    say(back);
    join(pid);
}

static void
test_forked(void)
{
    unsigned char *base = filled(1, SIZE), *again;
    int block = arena_lend(arena, base);
    arena_leave(arena, base);
    pid_t pid = in_fork(fork_and_give_back, block);
    hear(back);
    hear(back);
    CHECK(blocks_of_file() == 0); /* what was copied is not there twice */
    again = arena_take(arena, SIZE);
    CHECK(again != NULL
          && blocks_of_file() > 0); /* it is there before the touch */
    memset(again, 9, SIZE);
    say(there);
    join(pid);
    arena_leave(arena, again);
}

/* ---- little is kept of a large block ----------------------------------- */

static void
test_rest_goes(void)
{
    unsigned char *base = filled(1, 64 * SIZE);
    arena_leave(arena, base);
    CHECK(arena_take(arena, SIZE) == base);
    CHECK(arena_lend(arena, base) >= 0);
    arena_leave(arena, base);
    arena_trim(arena, 0);
    CHECK(blocks_of_file() * 512 >= (long)(64 * SIZE));
    arena_trim(arena, 0);
    CHECK(blocks_of_file() * 512 == (long)SIZE);
    CHECK(all_are(base, SIZE, 1));
    arena_reclaim(arena, 1);
    arena_trim(arena, 0);
    CHECK(blocks_of_file() == 0);
}

static void
test_no_memory(void)
{
    struct rlimit all, some = {(rlim_t)256 << 20, RLIM_INFINITY};
    CHECK(getrlimit(RLIMIT_AS, &all) == 0);
    if (setrlimit(RLIMIT_AS, &some) == 0) {
        CHECK(arena_take(arena, (size_t)1 << 30) == NULL);
        CHECK(setrlimit(RLIMIT_AS, &all) == 0);
    }
    CHECK(blocks_of_file() == 0);
}

/* ---- the child has died, or has no memory ------------------------------ */

static void
look_and_die(int block)
{
    CHECK(arena_enter(arena) == 0);
    CHECK(arena_look(arena, block, SIZE) != NULL);
}

static void
look_in_vain(int block)
{
    struct rlimit none = {1, 1};
    CHECK(arena_enter(arena) == 0);
    CHECK(setrlimit(RLIMIT_AS, &none) == 0);
    CHECK(arena_look(arena, block, SIZE) == NULL);
}

static void
close_all(int block)
{
    CHECK(arena_enter(arena) == 0);
    for (int file = 3; file < 256; file++) {
        close(file);
    }
    CHECK(arena_look(arena, block, SIZE) == NULL);
}

/* The child that has the block cannot be reaped. */
static void
test_lost(void)
{
    unsigned char *base = filled(1, SIZE), *other;
    int block = arena_lend(arena, base);
    arena_leave(arena, base);
    arena_reclaim(arena, 0);
    other = arena_take(arena, SIZE);
    CHECK(other != NULL && other != base && arena_lend(arena, other) != block);
    arena_leave(arena, other);
    arena_reclaim(arena, 1);
    CHECK(arena_take(arena, SIZE) == other);
    arena_leave(arena, other);
    arena_trim(arena, 1);
    CHECK(blocks_of_file() * 512 == (long)SIZE);
}

static void
test_reclaimed(void)
{
    unsigned char *base = filled(1, SIZE);
    int block = arena_lend(arena, base);
    arena_leave(arena, base);
    join(in_fork(look_and_die, block));
    CHECK(arena_take(arena, SIZE) != base);
    arena_reclaim(arena, 1);
    CHECK(arena_take(arena, SIZE) == base);
    CHECK(arena_lend(arena, base) == block);
    arena_leave(arena, base);
    join(in_fork(look_in_vain, block));
    CHECK(arena_take(arena, SIZE) == base); /* it was given back */
    CHECK(arena_lend(arena, base) == block);
    arena_leave(arena, base);
    join(in_fork(close_all, block));
    CHECK(arena_take(arena, SIZE) == base);
    arena_leave(arena, base);
}

/* ---- what is used, and what is given back ------------------------------ */

static void
test_blocks(void)
{
    unsigned char *bases[ARENA_BLOCKS];
    unsigned char *small = filled(1, SIZE), *large = filled(1, 4 * SIZE);
    arena_leave(arena, small);
    arena_leave(arena, large);
    CHECK(arena_take(arena, 2 * SIZE) == large);
    CHECK(arena_take(arena, SIZE / 2) == small);
    arena_leave(arena, small);
    arena_leave(arena, large);
    arena_trim(arena, 0); /* they were taken since the last time */
    CHECK(all_are(large, 4 * SIZE, 1));
    arena_trim(arena, 0);
    for (int i = 0; i < ARENA_BLOCKS; i++) {
        CHECK((bases[i] = arena_take(arena, SIZE)) != NULL);
        CHECK(all_are(bases[i], SIZE, 0)); /* new pages */
    }
    CHECK(arena_take(arena, SIZE) == NULL);
    for (int i = 0; i < ARENA_BLOCKS; i++) {
        arena_leave(arena, bases[i]);
    }
    arena_trim(arena, 1);
}

int
main(void)
{
    CHECK(pipe(there) == 0 && pipe(back) == 0);
    void (*const tests[])(void) = {
        test_taken_again, test_forked,    test_reclaimed, test_blocks,
        test_rest_goes,   test_no_memory, test_lost};
    static struct arena *arenas[sizeof tests / sizeof tests[0]];
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        arena = arenas[i] = arena_new();
        if (arena == NULL) {
            printf("no such memory here");
            return 0;
        }
        tests[i]();
    }
    return 0;
}
