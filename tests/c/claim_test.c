/* claim_test.c -- a worker that begins chunks, a master that takes them back.

   With an argument: so many rounds of the race, for a sanitizer. */

#include "claim.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "check.h"

/* Numbers as dispatch.c gives them: from 1, and 0 is none. */
static uint32_t
number_after(uint32_t number)
{
    return number == UINT32_MAX ? 1 : number + 1;
}

/* Where the numbers begin: at first, where their difference could change its
   sign, and where they come round to 0. */
static const uint32_t starts[] = {0, INT32_MAX - 2u, INT32_MAX, UINT32_MAX,
                                  UINT32_MAX - 2u};
#define STARTS (sizeof starts / sizeof *starts)

/* ---- every order ------------------------------------------------------ */

#define CHUNKS 5 /* that are sent, at most */
#define TAKES 3 /* times that some are taken back, at most */

struct game {
    _Atomic uint64_t word;
    uint32_t numbers[CHUNKS];
    int sent, seen; /* by the worker, which answers for it at once */
    int begun; /* the last that was: the index behind it */
    int taken_back; /* from this index on; CHUNKS: none */
    int takes;
    int known; /* to the master: what became of those below */
};

static long games;

static void play(const struct game *before);

static void
check_begun(const struct game *game)
{
    for (int i = 0; i < game->sent; i++)
        CHECK(claim_is_begun(&game->word, game->numbers[i])
              == (i < game->begun));
}

static void
send_one(struct game game)
{
    if (game.sent == CHUNKS || game.taken_back < CHUNKS)
        return;
    game.numbers[game.sent] = number_after(
        game.sent ? game.numbers[game.sent - 1] : (uint32_t)game.word);
    game.sent++;
    play(&game);
}

static void
see_one(struct game game)
{
    if (game.seen == game.sent)
        return;
    int may = claim_begin(&game.word, game.numbers[game.seen]);
    CHECK(may == (game.seen < game.taken_back));
    game.seen++;
    if (may)
        game.begun = game.seen;
    play(&game);
}

/* The master may not know yet that the worker has begun it, or passed over. */
static void
take_back(struct game game, int index)
{
    int taken = claim_take_back(&game.word, game.numbers[index]);
    CHECK(taken == (index >= game.begun));
    if (taken && index < game.taken_back)
        game.taken_back = index;
    game.takes++;
    play(&game);
}

static void
reset(struct game game)
{
    if (game.taken_back == CHUNKS || game.seen < game.sent)
        return;
    claim_reset(&game.word);
    game.taken_back = CHUNKS;
    game.known = game.sent;
    play(&game);
}

/* Goes on from here in every way. */
static void
play(const struct game *before)
{
    games++;
    check_begun(before);
    send_one(*before);
    see_one(*before);
    for (int i = before->known; before->takes < TAKES && i < before->sent; i++)
        take_back(*before, i);
    reset(*before);
}

static void
test_every_order(void)
{
    for (size_t i = 0; i < STARTS; i++) {
        struct game game = {.word = starts[i], .taken_back = CHUNKS};
        play(&game);
    }
}

/* ---- a race ----------------------------------------------------------- */

#define BATCH 8 /* chunks of a round */

static int rounds = 200000;

struct race {
    _Atomic uint64_t word;
    uint32_t numbers[BATCH];
    int run[BATCH], passed_over[BATCH];
    _Atomic int sent; /* rounds */
    _Atomic int answered;
};

/* Two threads that share processors: a moment's wait, then the other's turn. */
static void
wait_until(const _Atomic int *count, int least)
{
    for (int spins = 0; atomic_load(count) < least; spins++) {
        if (spins > 100)
            sched_yield();
    }
}

static void *
work(void *race_)
{
    struct race *race = race_;
    for (int round = 0; round < rounds; round++) {
        wait_until(&race->sent, round + 1);
        for (int i = 0; i < BATCH; i++) {
            if (claim_begin(&race->word, race->numbers[i]))
                race->run[i]++;
            else
                race->passed_over[i]++;
        }
        atomic_store(&race->answered, round + 1);
    }
    return NULL;
}

static uint32_t
send_batch(struct race *race, uint32_t number, int round)
{
    memset(race->run, 0, sizeof race->run);
    memset(race->passed_over, 0, sizeof race->passed_over);
    for (int i = 0; i < BATCH; i++)
        race->numbers[i] = number = number_after(number);
    atomic_store(&race->sent, round + 1);
    return number;
}

/* Takes back from one on, and perhaps more; returns from where it has. */
static int
take_back_some(struct race *race, unsigned random)
{
    int first = BATCH;
    for (unsigned spins = random / 64 % 128; spins > 0; spins--)
        atomic_load(&race->word);
    for (int tries = 0; tries < 3; tries++) {
        int index = (int)(random % BATCH);
        int begun = claim_is_begun(&race->word, race->numbers[index]);
        int taken = claim_take_back(&race->word, race->numbers[index]);
        CHECK(!begun || !taken);
        if (taken && index < first)
            first = index;
        random /= BATCH;
    }
    return first;
}

/* Each is run or taken back, never both, never neither. */
static void
check_batch(const struct race *race, int first)
{
    for (int i = 0; i < BATCH; i++) {
        CHECK(race->run[i] == (i < first));
        CHECK(race->passed_over[i] == (i >= first));
    }
}

/* The numbers come round within the race. */
static void
test_race(void)
{
    uint32_t number = UINT32_MAX - (uint32_t)rounds * BATCH / 2;
    struct race race = {.word = number};
    unsigned random = 1;
    long mixed = 0;
    pthread_t worker;
    CHECK(pthread_create(&worker, NULL, work, &race) == 0);
    for (int round = 0; round < rounds; round++) {
        number = send_batch(&race, number, round);
        random = random * 1664525u + 1013904223u;
        int first = take_back_some(&race, random >> 8);
        wait_until(&race.answered, round + 1);
        check_batch(&race, first);
        claim_reset(&race.word);
        mixed += first > 0 && first < BATCH;
    }
    CHECK(pthread_join(worker, NULL) == 0);
    CHECK(number < (uint32_t)rounds * BATCH); /* they came round */
    CHECK(mixed > 0); /* it was a race */
}

int
main(int argc, char **argv)
{
    if (argc > 1)
        rounds = atoi(argv[1]);
    test_every_order();
    test_race();
    printf("%ld games\n", games);
    return 0;
}
