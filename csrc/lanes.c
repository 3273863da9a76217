/* lanes.c -- which ranks share memory with this one, and how that comes to be
   used. */

#include "lanes.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alarm.h"
#include "lane.h"
#include "link.h"

#define SWITCH "EZMPI_SHARED_MEMORY"    /* 0: no lanes */
#define UNHEARD 4                   /* looks, half a second apart */
#define LONGER 2                    /* times, where every message wakes */

/* A rank that may share memory with this one. */
struct neighbour {
    struct lane lane;
    struct lanes *lanes;
    int is_out, is_in;              /* messages go by the lane, and come */
    /* what is said of it over the link */
    struct segment_invitation invitation;
    int answered;
    int joined;                     /* 0: no; else its process id */
    int unheard;                    /* looks at which it had ended */
    struct wire_slot greetings[2];
    int greeted;
};

struct lanes {
    struct wire *wire;
    struct segment *segment;
    int ended;
    int count;
    int answers;                    /* to invitations */
    int missing;                    /* lanes by which nothing comes */
    int turn;                       /* the lane that is looked at first */
    uint64_t *ready;                /* lanes that may hold messages: bits */
    struct neighbour neighbours[];
};

/* ---- which way --------------------------------------------------------- */

static struct neighbour *
neighbour_of(struct lanes *lanes, int rank)
{
    int at;

    if (lanes == NULL) {
        return NULL;
    }
    at = lanes->wire->rank == 0 ? rank - 1 : rank;
    return at >= 0 && at < lanes->count ? &lanes->neighbours[at] : NULL;
}

struct lane *
lanes_to(struct lanes *lanes, int rank)
{
    struct neighbour *neighbour = neighbour_of(lanes, rank);

    return neighbour != NULL && neighbour->is_out ? &neighbour->lane : NULL;
}

int
lanes_need_link(struct lanes *lanes, int source)
{
    const struct neighbour *neighbour;

    if (source == WIRE_ANY) {
        return lanes == NULL || lanes->missing > 0;
    }
    neighbour = neighbour_of(lanes, source);
    return neighbour == NULL || !neighbour->is_in;
}

_Atomic uint64_t *
lanes_word(struct lanes *lanes, int rank)
{
    const struct neighbour *neighbour = neighbour_of(lanes, rank);

    return neighbour != NULL && !lanes->ended ? neighbour->lane.word : NULL;
}

/* The next lane, in turn, that may hold a message; NULL: none. */
static struct neighbour *
next_ready(struct lanes *lanes)
{
    int words = segment_words(lanes->count);

    for (int i = 0; i <= words; i++) {
        int word = (lanes->turn / SEGMENT_WORD + i) % words;
        uint64_t bits = lanes->ready[word] |=
            segment_hear(lanes->segment, word);
        if (i == 0) {
            bits &= ~(uint64_t)0 << lanes->turn % SEGMENT_WORD;
        }
        if (bits != 0) {
            return &lanes->neighbours[word * SEGMENT_WORD
                                      + __builtin_ctzll(bits)];
        }
    }
    return NULL;
}

static int
look_into(struct neighbour *neighbour, struct wire_arrival *arrival)
{
    int status = neighbour->is_in ? lane_look(&neighbour->lane, arrival)
                                  : TRANSPORT_NOTHING;

    return status == TRANSPORT_FAILED ? lane_fail(neighbour->lanes->wire)
                                      : status;
}

static int
look_into_any(struct lanes *lanes, struct wire_arrival *arrival)
{
    struct neighbour *neighbour;

    while ((neighbour = next_ready(lanes)) != NULL) {
        int at = (int)(neighbour - lanes->neighbours);
        int status = look_into(neighbour, arrival);
        if (status != TRANSPORT_NOTHING) {
            lanes->turn = (at + 1) % lanes->count;
            return status;
        }
        lanes->ready[at / SEGMENT_WORD] &= ~((uint64_t)1 << at % SEGMENT_WORD);
    }
    return TRANSPORT_NOTHING;
}

int
lanes_look(struct lanes *lanes, int source, struct wire_arrival *arrival)
{
    struct neighbour *neighbour;

    if (lanes != NULL && source == WIRE_ANY) {
        return look_into_any(lanes, arrival);
    }
    neighbour = neighbour_of(lanes, source);
    return neighbour != NULL ? look_into(neighbour, arrival)
                             : TRANSPORT_NOTHING;
}

static int
has_ended(const struct neighbour *neighbour)
{
    return neighbour->joined && !neighbour->lane.is_dead
           && kill(neighbour->joined, 0) < 0 && errno == ESRCH;
}

/* A process that has joined is of this host, and found here by its number.
   Of a death that MPI hears of it hears sooner. */
void
lanes_find_unheard(struct lanes *lanes)
{
    for (int i = 0; lanes != NULL && i < lanes->count; i++) {
        struct neighbour *neighbour = &lanes->neighbours[i];
        if (has_ended(neighbour) && ++neighbour->unheard >= UNHEARD) {
            wire_fail(lanes->wire, "receive",
                      "a worker's process has ended with a code, as after "
                      "_exit(1), and of that MPI hears nothing");
        }
    }
}

/* It may have died before it rang. */
void
lanes_lose(struct lanes *lanes, int rank)
{
    struct neighbour *neighbour = neighbour_of(lanes, rank);
    int at = rank - 1;

    if (neighbour != NULL) {
        neighbour->lane.is_dead = 1;
        lanes->ready[at / SEGMENT_WORD] |= (uint64_t)1 << at % SEGMENT_WORD;
    }
}

int
lanes_holds(struct lanes *lanes, int rank)
{
    struct neighbour *neighbour = neighbour_of(lanes, rank);
    int at = rank - 1;

    if (neighbour == NULL || !neighbour->is_in
        || !pipe_holds(&neighbour->lane.in, 1)) {
        return 0;
    }
    if (rank != 0) { /* it may have ended before it rang */
        lanes->ready[at / SEGMENT_WORD] |= (uint64_t)1 << at % SEGMENT_WORD;
    }
    return 1;
}

/* ---- sleep ------------------------------------------------------------- */

/* Takes what bells say to ready. */
static int
host_has_mail(void *lanes_)
{
    struct lanes *lanes = lanes_;
    uint64_t ready = 0;

    for (int word = 0; word < segment_words(lanes->count); word++) {
        ready |= lanes->ready[word] |= segment_hear(lanes->segment, word);
    }
    return ready != 0;
}

static int
peer_has_mail(void *lanes_)
{
    struct lanes *lanes = lanes_;

    return pipe_holds(&lanes->neighbours[0].lane.in, 1);
}

int
lanes_sleep(struct lanes *lanes, double seconds, struct alarm *alarm)
{
    const struct neighbour *first;

    if (lanes == NULL || lanes->missing == lanes->count) {
        return 0;
    }
    if (lanes->missing == 0) {
        seconds *= LONGER;
    }
    first = &lanes->neighbours[0];
    if (lanes->wire->rank == 0) {
        alarm_sleep(alarm, segment_host(lanes->segment), seconds,
                    host_has_mail, lanes);
    }
    else {
        alarm_sleep(alarm, segment_peer(lanes->segment, first->lane.peer),
                    seconds, peer_has_mail, lanes);
    }
    return 1;
}

/* ---- opening ----------------------------------------------------------- */

/* Says something of the lane over the link; bytes stay as they are. */
static int
greet(struct neighbour *neighbour, const void *bytes, size_t size)
{
    struct wire_slot *slot = &neighbour->greetings[neighbour->greeted++];

    slot->way = BY_LINK;
    return link_send(neighbour->lanes->wire, bytes, size, neighbour->lane.rank,
                     LANE_TAG, slot);
}

/* So short a message is here as soon as it is seen. */
static int
hear(struct neighbour *neighbour, struct wire_arrival *arrival, void *bytes,
     size_t size)
{
    struct wire *wire = neighbour->lanes->wire;
    struct wire_slot slot = {NULL, BY_LINK};
    int status;

    if (arrival->size != size) {
        return wire_fail(wire, "receive",
                         "a greeting of the wrong size, as from another "
                         "version of ezmpi");
    }
    status = link_accept(wire, arrival, bytes, &slot);
    if (status == TRANSPORT_OK) {
        do {
            status = link_test(wire, &slot);
        } while (status == TRANSPORT_NOTHING);
    }
    return status;
}

static void
begin_coming(struct neighbour *neighbour)
{
    neighbour->is_in = 1;
    neighbour->lanes->missing--;
}

/* At rank 0, of one that has joined: its first messages may be there. */
static int
open_lane(struct neighbour *neighbour)
{
    struct lanes *lanes = neighbour->lanes;
    int at = (int)(neighbour - lanes->neighbours);

    if (segment_map(lanes->segment, at) < 0) {
        return wire_fail(lanes->wire, "mmap",
                         "no memory to share with a worker, which counts "
                         "on it (EZMPI_SHARED_MEMORY=0 does without)");
    }
    lane_connect(&neighbour->lane, lanes->segment, at, 1);
    begin_coming(neighbour);
    lanes->ready[at / SEGMENT_WORD] |= (uint64_t)1 << at % SEGMENT_WORD;
    if (lanes->ended) {
        return TRANSPORT_OK;
    }
    if (greet(neighbour, NULL, 0) < 0) {
        return TRANSPORT_FAILED;
    }
    neighbour->is_out = 1;
    return TRANSPORT_OK;
}

static int
heed_answer(struct neighbour *neighbour, struct wire_arrival *arrival)
{
    struct lanes *lanes = neighbour->lanes;
    int status = hear(neighbour, arrival, &neighbour->joined,
                      sizeof(neighbour->joined));

    neighbour->answered = 1;
    if (status == TRANSPORT_OK && neighbour->joined) {
        status = open_lane(neighbour);
    }
    if (++lanes->answers == lanes->count) {
        segment_close(lanes->segment);
    }
    return status;
}

static int
is_for(const struct wire *wire, const struct segment_invitation *invitation)
{
    return invitation->peer == wire->rank - 1
           && invitation->peers == (uint64_t)wire->ranks - 1;
}

static int
heed_invitation(struct neighbour *neighbour, struct wire_arrival *arrival)
{
    struct segment_invitation *invitation = &neighbour->invitation;

    if (hear(neighbour, arrival, invitation, sizeof(*invitation)) < 0) {
        return TRANSPORT_FAILED;
    }
    if (!is_for(neighbour->lanes->wire, invitation)) {
        return wire_fail(neighbour->lanes->wire, "receive",
                         "an invitation that is for another rank");
    }
    neighbour->lanes->segment = segment_join(invitation);
    neighbour->joined = neighbour->lanes->segment != NULL ? (int)getpid() : 0;
    if (neighbour->joined) {
        lane_connect(&neighbour->lane, neighbour->lanes->segment,
                     invitation->peer, 0);
    }
    if (greet(neighbour, &neighbour->joined, sizeof(neighbour->joined)) < 0) {
        return TRANSPORT_FAILED;
    }
    neighbour->is_out = neighbour->joined != 0;
    return TRANSPORT_OK;
}

/* Has it been said, or heard, that this neighbour does not join? */
static int
has_declined(const struct neighbour *neighbour)
{
    return !neighbour->joined
           && (neighbour->lane.rank == 0 ? neighbour->greeted > 0
                                         : neighbour->answered);
}

int
lanes_heed(struct wire *wire, struct wire_arrival *arrival)
{
    struct neighbour *neighbour = neighbour_of(wire->lanes, arrival->source);

    if (neighbour == NULL || neighbour->is_in || has_declined(neighbour)) {
        return wire_fail(wire, "receive", "a greeting out of place");
    }
    if (neighbour->lane.rank != 0) {
        return heed_answer(neighbour, arrival);
    }
    if (!neighbour->joined) {
        return heed_invitation(neighbour, arrival);
    }
    if (hear(neighbour, arrival, NULL, 0) < 0) {
        return TRANSPORT_FAILED;
    }
    begin_coming(neighbour);
    return TRANSPORT_OK;
}

void
lanes_end(struct lanes *lanes)
{
    if (lanes != NULL) {
        lanes->ended = 1;
    }
}

/* ---- making ------------------------------------------------------------ */

static struct lanes *
allocate(struct wire *wire, int count)
{
    size_t size =
        sizeof(struct lanes) + (size_t)count * sizeof(struct neighbour);
    struct lanes *lanes = calloc(1, size);

    if (lanes == NULL) {
        return NULL;
    }
    lanes->ready = calloc((size_t)segment_words(count), sizeof(uint64_t));
    if (lanes->ready == NULL) {
        free(lanes);
        return NULL;
    }
    lanes->wire = wire;
    lanes->count = count;
    lanes->missing = count;
    for (int i = 0; i < count; i++) {
        struct neighbour *neighbour = &lanes->neighbours[i];
        neighbour->lanes = lanes;
        neighbour->lane.rank = wire->rank == 0 ? i + 1 : 0;
    }
    return lanes;
}

static int
invite_all(struct lanes *lanes)
{
    for (int i = 0; i < lanes->count; i++) {
        struct neighbour *neighbour = &lanes->neighbours[i];
        neighbour->invitation = segment_invite(lanes->segment, i);
        if (greet(neighbour, &neighbour->invitation,
                  sizeof(neighbour->invitation))
            < 0) {
            return TRANSPORT_FAILED;
        }
    }
    return TRANSPORT_OK;
}

static int
is_switched_off(void)
{
    static const char *const words[] = {"0", "no", "off", "false"};
    const char *value = getenv(SWITCH);

    for (size_t i = 0; value != NULL && i < sizeof(words) / sizeof(words[0]);
         i++) {
        if (strcmp(value, words[i]) == 0) {
            return 1;
        }
    }
    return 0;
}

/* What was said has been received by now. */
static void
finish_greetings(struct neighbour *neighbour)
{
    struct wire *wire = neighbour->lanes->wire;

    for (int i = 0; i < neighbour->greeted && wire->error.call == NULL; i++) {
        while (link_test(wire, &neighbour->greetings[i])
               == TRANSPORT_NOTHING) {
        }
    }
}

void
lanes_free(struct lanes *lanes)
{
    if (lanes == NULL) {
        return;
    }
    for (int i = 0; i < lanes->count; i++) {
        finish_greetings(&lanes->neighbours[i]);
    }
    segment_free(lanes->segment);
    free(lanes->ready);
    free(lanes);
}

/* Rank 0.  Without memory to share, nobody is invited. */
static int
be_host(struct lanes *lanes)
{
    struct wire *wire = lanes->wire;

    lanes->segment = segment_new(lanes->count);
    if (lanes->segment == NULL) {
        lanes_free(lanes);
        wire->lanes = NULL;
        return TRANSPORT_OK;
    }
    return invite_all(lanes);
}

int
lanes_open(struct wire *wire)
{
    int is_host = wire->rank == 0;

    if (is_host && (wire->ranks == 1 || is_switched_off())) {
        return TRANSPORT_OK;
    }
    wire->lanes = allocate(wire, is_host ? wire->ranks - 1 : 1);
    if (wire->lanes == NULL) {
        return wire_fail(wire, "malloc", "out of memory");
    }
    return is_host ? be_host(wire->lanes) : TRANSPORT_OK;
}
