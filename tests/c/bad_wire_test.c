/* bad_wire_test.c -- a wire whose other end, or something that writes over
   what both share, says what cannot be.

   The link is played: what is to come by it is put there by the test.  Each
   breaks the wire with an error that says so, and harms nothing. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alarm.h"
#include "check.h"
#include "lane.h"
#include "lanes.h"
#include "link.h"
#include "wire.h"

struct envelope {
    uint64_t tag, size;
};

static struct {
    unsigned char bytes[64]; /* that come, or went last */
    size_t size;
} link_mail;

static int by_lane_only;

/* ---- the link ---------------------------------------------------------- */

int
wire_fail(struct wire *wire, const char *call, const char *text)
{
    wire->error.call = call;
    snprintf(wire->error.text, sizeof(wire->error.text), "%s", text);
    return TRANSPORT_FAILED;
}

int
link_send(struct wire *wire, const void *base, size_t size, int rank, int tag,
          struct wire_slot *request)
{
    (void)wire, (void)rank;
    CHECK(tag == LANE_TAG && size <= sizeof(link_mail.bytes));
    CHECK(!by_lane_only);
    if (size > 0) {
        memcpy(link_mail.bytes, base, size);
    }
    link_mail.size = size;
    request->room = NULL;
    return TRANSPORT_OK;
}

int
link_look(struct wire *wire, int source, int tag, struct wire_arrival *arrival)
{
    (void)wire, (void)source, (void)tag, (void)arrival;
    return TRANSPORT_NOTHING;
}

int
link_accept(struct wire *wire, struct wire_arrival *arrival, void *base,
            struct wire_slot *request)
{
    (void)wire;
    if (arrival->size > 0) {
        memcpy(base, link_mail.bytes, arrival->size);
    }
    request->room = NULL;
    return TRANSPORT_OK;
}

int
link_test(struct wire *wire, struct wire_slot *request)
{
    (void)wire, (void)request;
    return TRANSPORT_OK;
}

void
link_progress(struct wire *wire)
{
    (void)wire;
}

void
link_close(struct wire *wire)
{
    (void)wire;
}

/* ---- two ranks --------------------------------------------------------- */

static struct wire host, peer;

static int
heed(struct wire *wire, size_t size)
{
    struct wire_arrival arrival = {
        .source = wire->rank == 0 ? 1 : 0, .tag = LANE_TAG, .size = size};

    return lanes_heed(wire, &arrival);
}

static void
begin(void)
{
    by_lane_only = 0;
    host = (struct wire){.rank = 0, .ranks = 2};
    peer = (struct wire){.rank = 1, .ranks = 2};
    CHECK(wire_open(&peer) == TRANSPORT_OK);
    CHECK(wire_open(&host)
          == TRANSPORT_OK); /* its invitation is in the mail */
}

static void
begin_joined(void)
{
    begin();
    CHECK(heed(&peer, link_mail.size) == TRANSPORT_OK);
    CHECK(heed(&host, link_mail.size) == TRANSPORT_OK);
    CHECK(heed(&peer, link_mail.size) == TRANSPORT_OK);
    by_lane_only = 1;
}

static void
end(void)
{
    by_lane_only = 0;
    wire_close(&host);
    wire_close(&peer);
}

static int
broke(const struct wire *wire, const char *why)
{
    return wire->error.call != NULL && strstr(wire->error.text, why) != NULL;
}

/* ---- greetings --------------------------------------------------------- */

static void
test_greetings(void)
{
    for (size_t size = 0; size <= sizeof(link_mail.bytes); size++) {
        begin();
        if (size != link_mail.size) {
            CHECK(heed(&peer, size) == TRANSPORT_FAILED);
            CHECK(broke(&peer, "wrong size"));
        }
        if (size != sizeof(int)) {
            CHECK(heed(&host, size) == TRANSPORT_FAILED);
            CHECK(broke(&host, "wrong size"));
        }
        end();
    }
}

static void
invite_wrongly(uint64_t peers, int32_t number)
{
    struct segment_invitation invitation;

    begin();
    memcpy(&invitation, link_mail.bytes, sizeof(invitation));
    invitation.peers = peers;
    invitation.peer = number;
    CHECK(segment_join(&invitation) == NULL);
    memcpy(link_mail.bytes, &invitation, sizeof(invitation));
    CHECK(heed(&peer, link_mail.size) == TRANSPORT_FAILED);
    CHECK(broke(&peer, "for another rank"));
    end();
}

static void
test_invitations(void)
{
    static const uint64_t counts[] = {0, 2, 1u << 31, UINT64_MAX};
    static const int32_t peers[] = {-1, 1, 64, INT32_MAX, INT32_MIN};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        invite_wrongly(counts[i], 0);
    }
    for (size_t i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
        invite_wrongly(1, peers[i]);
    }
}

/* Of an invitation that leads nowhere, and that comes again. */
static void
test_greetings_again(void)
{
    struct segment_invitation invitation;

    begin();
    memcpy(&invitation, link_mail.bytes, sizeof(invitation));
    invitation.process = 0;
    memcpy(link_mail.bytes, &invitation, sizeof(invitation));
    CHECK(heed(&peer, sizeof(invitation)) == TRANSPORT_OK);
    CHECK(heed(&host, link_mail.size) == TRANSPORT_OK);
    CHECK(heed(&host, sizeof(int)) == TRANSPORT_FAILED);
    CHECK(broke(&host, "out of place"));
    CHECK(heed(&peer, sizeof(invitation)) == TRANSPORT_FAILED);
    CHECK(broke(&peer, "out of place"));
    end();
    begin_joined();
    CHECK(heed(&peer, sizeof(invitation)) == TRANSPORT_FAILED);
    CHECK(heed(&host, sizeof(int)) == TRANSPORT_FAILED);
    end();
}

/* ---- in shared memory -------------------------------------------------- */

static int
look(struct wire *wire)
{
    struct wire_arrival arrival;
    int source = wire->rank == 0 ? WIRE_ANY : 0, status = TRANSPORT_NOTHING;

    for (int i = 0; i < 3 && status == TRANSPORT_NOTHING; i++) {
        status = wire_look(wire, source, WIRE_ANY, &arrival);
    }
    return status;
}

static void
test_envelopes(void)
{
    static const struct envelope envelopes[] = {
        {PIECE_TAG, 8},
        {LANE_TAG, 8},
        {WIRE_TAGS, 8},
        {UINT64_MAX, 8},
        {1, 1 + (uint64_t)WIRE_SIZE_LIMIT},
        {1, UINT64_MAX},
    };

    for (size_t i = 0; i < sizeof(envelopes) / sizeof(envelopes[0]); i++) {
        struct lane *lane;
        begin_joined();
        lane = lanes_to(peer.lanes, 0);
        pipe_write(&lane->out, &envelopes[i], sizeof(envelopes[i]));
        segment_ring(lane->bells, lane->peer);
        CHECK(look(&host) == TRANSPORT_FAILED && broke(&host, "overwritten"));
        end();
    }
}

static void
test_counters(void)
{
    static char large[PIPE_BYTES * 2];
    struct wire_slot slot;

    begin_joined();
    atomic_store(&lanes_to(host.lanes, 1)->out.pipe->written, UINT64_MAX / 2);
    CHECK(look(&peer) == TRANSPORT_FAILED && broke(&peer, "overwritten"));
    end();
    begin_joined();
    CHECK(wire_send(&host, large, sizeof(large), 1, 1, &slot) == TRANSPORT_OK);
    CHECK(wire_test(&host, &slot) == TRANSPORT_NOTHING);
    atomic_store(&lanes_to(host.lanes, 1)->out.pipe->read, UINT64_MAX / 2);
    CHECK(wire_test(&host, &slot) == TRANSPORT_FAILED);
    CHECK(broke(&host, "overwritten"));
    end();
    wire_drop(&slot);
}

/* In the middle of a message. */
static void
test_counter_within(void)
{
    static char large[PIPE_BYTES * 2];
    struct wire_arrival arrival;
    struct wire_slot out, in;

    begin_joined();
    CHECK(wire_send(&host, large, sizeof(large), 1, 1, &out) == TRANSPORT_OK);
    CHECK(wire_look(&peer, 0, WIRE_ANY, &arrival) == TRANSPORT_OK);
    CHECK(wire_accept(&peer, &arrival, large, &in) == TRANSPORT_OK);
    CHECK(wire_test(&peer, &in) == TRANSPORT_NOTHING);
    atomic_store(&lanes_to(host.lanes, 1)->out.pipe->written, 7);
    CHECK(wire_test(&peer, &in) == TRANSPORT_FAILED);
    CHECK(broke(&peer, "overwritten"));
    end();
    wire_drop(&out);
}

int
main(void)
{
    begin_joined();
    end();
    test_greetings();
    test_invitations();
    test_greetings_again();
    test_envelopes();
    test_counters();
    test_counter_within();
    return 0;
}
