"""The peers that are connected: one for each nodeid, and the same tie-break at both ends."""

import threading

import pytest

from p2p_plain.common.address import Address
from p2p_plain.node.lateness import Lateness
from p2p_plain.node.messages import Hello
from p2p_plain.node.peer import SUPERSEDED, UP, Link, Order, Peer
from p2p_plain.node.peer_table import PeerTable
from p2p_plain.node.round_trips import NETWORK, RoundTrip
from tests.support import LARGE_ID, SMALL_ID, new_id

ON_TIME = Lateness(0.2, 0.0)
MIDDLE_ID = "88888888-8888-4888-8888-888888888888"


class Recorded(list):
    """Takes the table's events."""

    def __call__(self, event, **fields):
        self.append((event, fields["nodeid"], fields["peers"]))


@pytest.fixture
def events():
    return Recorded()


def make_table(events, nodeid=MIDDLE_ID, max_peers=10, clock=lambda: 0.0):
    return PeerTable(nodeid, max_peers, clock, events)


def make_peer(nodeid, direction="inbound", now=0.0, port=None, known=False):
    remote = Address("10.0.0.1", 5000)
    order = Order(remote) if direction == "outbound" else None
    return Peer(Link(remote, order), Hello(nodeid, port=port), now, 0.0, lambda address: known)


def test_a_peer_counts_once_it_is_announced_and_no_longer_when_removed(events):
    table = make_table(events)
    peer = make_peer(new_id())
    assert table.admit(peer).refusal is None
    assert (table.count(), table.occupied(), table.snapshot({})) == (0, 1, [])
    assert table.get(peer.nodeid) is None
    assert table.announce(peer)
    assert peer.link.state is UP
    assert (table.count(), table.get(peer.nodeid)) == (1, peer)
    assert table.remove(peer, "closed")
    assert not table.remove(peer, "closed")
    assert (table.count(), table.occupied()) == (0, 0)
    assert events == [("peer_up", peer.nodeid, 1), ("peer_down", peer.nodeid, 0)]


def test_a_peer_that_was_never_announced_ends_without_an_event(events):
    table = make_table(events)
    peer = make_peer(new_id())
    table.admit(peer)
    table.remove(peer, "closed")
    assert events == []


def test_the_first_of_two_in_the_same_direction_stays(events):
    table = make_table(events)
    first, second = make_peer(SMALL_ID), make_peer(SMALL_ID)
    table.admit(first)
    admission = table.admit(second)
    assert (admission.refusal, admission.incumbent) == ("duplicate", first)
    assert table.loses_to(second)
    assert not table.announce(second)
    assert not table.remove(second, "closed")  # and its end is not the first one's
    assert table.occupied() == 1


@pytest.mark.parametrize("theirs, winner", [(SMALL_ID, "inbound"), (LARGE_ID, "outbound")])
def test_of_two_directions_the_one_that_the_smaller_nodeid_dialed_stays(
    events, theirs, winner
):
    loser = "outbound" if winner == "inbound" else "inbound"
    table = make_table(events)
    good, bad = make_peer(theirs, winner), make_peer(theirs, loser)
    table.admit(good)
    assert table.admit(bad).refusal == "duplicate"

    table = make_table(events)
    good, bad = make_peer(theirs, winner), make_peer(theirs, loser)
    table.admit(bad)
    assert not table.loses_to(good)
    assert table.admit(good).loser is bad
    assert bad.link.state is SUPERSEDED
    assert not table.remove(bad, "duplicate")


def test_the_winner_of_a_tie_takes_over_without_events(events):
    table = make_table(events)
    loser, winner = make_peer(SMALL_ID, "outbound"), make_peer(SMALL_ID, "inbound")
    table.admit(loser)
    table.announce(loser)
    table.admit(winner)
    assert table.get(SMALL_ID) is winner
    assert table.announce(winner)
    assert table.count() == 1
    table.remove(winner, "closed")
    assert events == [("peer_up", SMALL_ID, 1), ("peer_down", SMALL_ID, 0)]


def test_both_ends_of_a_tie_keep_the_same_connection(events):
    """In whatever order each end sees the two connections."""
    for first_at_small in ("outbound", "inbound"):
        for first_at_large in ("outbound", "inbound"):
            kept = []
            for nodeid, other, first in (
                (SMALL_ID, LARGE_ID, first_at_small),
                (LARGE_ID, SMALL_ID, first_at_large),
            ):
                table = make_table(events, nodeid)
                second = "inbound" if first == "outbound" else "outbound"
                for direction in (first, second):
                    peer = make_peer(other, direction)
                    if table.admit(peer).refusal is None:
                        table.announce(peer)
                kept.append(table.snapshot({})[0].direction)
            assert kept == ["outbound", "inbound"]  # the one that the smaller dialed


def test_a_full_table_refuses_inbound_and_outbound_peers(events):
    """While a dial is under way, others may take the last place."""
    table = make_table(events, max_peers=1)
    table.admit(make_peer(new_id()))
    assert table.admit(make_peer(new_id())).refusal == "full"
    assert table.admit(make_peer(new_id(), "outbound")).refusal == "full"


def fill(table, direction="inbound", **how):
    """Admit as many as there is room for; return how many."""
    count = 0
    while table.admit(make_peer(new_id(), direction, **how)).refusal is None:
        count += 1
    return count


def test_strangers_cannot_take_every_seat(events):
    """However many there are, peers that we dial and nodes that we knew find a seat."""
    table = make_table(events, max_peers=256)
    assert fill(table) == 224
    assert table.room() == 32
    assert fill(table, known=True, port=6000) == 16
    assert table.room() == 16
    assert fill(table, "outbound") == 16
    assert table.room() <= 0


def test_seats_that_friends_have_taken_are_not_kept_twice(events):
    table = make_table(events, max_peers=16)
    assert table.room() == 8
    for _ in range(4):
        table.admit(make_peer(new_id(), "outbound"))
    assert fill(table) == 12
    assert table.room() <= 0


@pytest.mark.parametrize("seats", range(1, 8))
def test_a_small_table_keeps_no_seat(events, seats):
    assert fill(make_table(events, max_peers=seats)) == seats


def test_a_nodeid_that_is_said_again_later_takes_no_place(events):
    """Nodeids are no secret: an impostor must not get a peer's messages."""
    table = make_table(events)
    peer = make_peer(SMALL_ID, "outbound", now=0.0)
    table.admit(peer)
    table.announce(peer)
    impostor = make_peer(SMALL_ID, "inbound", now=11.0)
    admission = table.admit(impostor)
    assert (admission.refusal, admission.incumbent) == ("duplicate", peer)
    assert table.admit(make_peer(SMALL_ID, "inbound", now=9.0)).loser is peer


def test_after_close_no_peer_is_let_in_or_announced(events):
    table = make_table(events)
    peer = make_peer(new_id())
    table.admit(peer)
    table.admit_nobody_more()
    assert not table.announce(peer)
    assert table.admit(make_peer(new_id())).refusal == "stopping"
    assert events == []


def test_a_ping_is_due_once_the_last_one_is_answered(events):
    table = make_table(events)
    peer = make_peer(new_id(), now=0.0)
    table.admit(peer)
    assert table.ping_due(0.0) == [peer]
    table.ping_sent(peer, 1.0, 10.0, expires_at=5.0)
    assert table.ping_due(20.0) == []  # outstanding
    assert table.pong(peer, 1.5, ON_TIME) == (0.5, True)
    assert table.ping_due(9.9) == []
    assert table.ping_due(10.0) == [peer]
    assert table.pong(peer, 11.0, ON_TIME) is None  # to no ping of ours
    assert list(peer.round_trips.seconds) == [0.5]


def test_a_round_trip_while_we_ran_late_is_left_out_where_there_are_exact_ones(events):
    """Without those it is shown, but does not count."""
    late = Lateness(0.2, 0.0)
    late.tick(0.3)
    assert late.excuses(0.1)
    table, peer = make_table(events), make_peer(new_id())
    table.admit(peer)
    found = []
    for measured in RoundTrip(0.1), RoundTrip(0.001, NETWORK), RoundTrip(0.1):
        table.ping_sent(peer, 0.3, 1.3, 2.0)
        found.append(table.pong(peer, 0.4, late, measured=measured))
    assert found == [(0.1, False), (0.001, True), None]
    assert peer.last_pong_at == 0.4


def test_a_ping_times_out_on_the_clock_that_stands_still_with_us(events):
    table = make_table(events)
    peer = make_peer(new_id())
    table.admit(peer)
    table.ping_sent(peer, 1.0, 10.0, expires_at=5.0)
    assert table.silent(4.9) == []
    assert table.silent(5.0) == [peer]
    table.pong(peer, 2.0, ON_TIME)
    assert table.silent(5.0) == []


def test_only_peers_with_a_recent_pong_can_be_advertised(events):
    table = make_table(events)
    peer = make_peer(new_id())
    table.admit(peer)
    table.announce(peer)
    assert table.answered_since(0.0) == {}
    table.ping_sent(peer, 1.0, 2.0, 3.0)
    table.pong(peer, 100.0, ON_TIME)
    assert table.answered_since(100.0) == {peer.nodeid: peer}
    assert table.answered_since(100.1) == {}


def test_a_peer_is_dialed_where_we_dialed_it_or_at_the_port_in_its_hello():
    assert make_peer(new_id(), "outbound", port=1).claimed == Address("10.0.0.1", 5000)
    assert make_peer(new_id(), "inbound", port=6001).claimed == Address("10.0.0.1", 6001)
    silent = make_peer(new_id(), "inbound")
    assert silent.claimed is None
    assert silent.address == Address("10.0.0.1", 5000)  # shown to people, though it cannot be dialed


def test_many_threads_admit_one_peer_once(events):
    """Eight threads ask for the same seats at once."""
    table = make_table(events, max_peers=100)
    nodeids = [new_id() for _ in range(50)]
    start = threading.Barrier(8)
    admitted = []

    def work():
        start.wait()
        for nodeid in nodeids:
            peer = make_peer(nodeid)
            if table.admit(peer).refusal is None and table.announce(peer):
                admitted.append(nodeid)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(admitted) == sorted(nodeids)
    assert [count for _, _, count in events] == list(range(1, 51))
