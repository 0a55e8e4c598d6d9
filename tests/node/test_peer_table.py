"""Who is connected now: one place a nodeid, ties decided alike at both ends, events in order."""

import threading

import pytest

from p2p_plain.common.address import Address
from p2p_plain.node.lateness import Lateness
from p2p_plain.node.messages import Hello
from p2p_plain.node.peer import SUPERSEDED, UP, Link, Peer, claimed_address
from p2p_plain.node.peer_table import PeerTable
from tests.support import LARGE_ID, SMALL_ID, new_id

ON_TIME = Lateness(0.2, 0.0)
MIDDLE_ID = "88888888-8888-4888-8888-888888888888"


class Told(list):
    """Takes the table's events."""

    def __call__(self, event, **fields):
        self.append((event, fields["nodeid"], fields["peers"]))


@pytest.fixture
def told():
    return Told()


def make_table(told, nodeid=MIDDLE_ID, max_peers=10, clock=lambda: 0.0):
    return PeerTable(nodeid, max_peers, clock, told)


def make_peer(nodeid, direction="inbound", now=0.0, port=None):
    remote = Address("10.0.0.1", 5000)
    target = remote if direction == "outbound" else None
    return Peer(Link(remote, target), Hello(nodeid, port=port), now)


def test_a_peer_counts_once_it_is_announced_and_no_longer_when_removed(told):
    table = make_table(told)
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
    assert told == [("peer_up", peer.nodeid, 1), ("peer_down", peer.nodeid, 0)]


def test_whoever_was_never_announced_leaves_without_a_word(told):
    table = make_table(told)
    peer = make_peer(new_id())
    table.admit(peer)
    table.remove(peer, "closed")
    assert told == []


def test_of_two_in_the_same_direction_the_first_stays(told):
    table = make_table(told)
    first, second = make_peer(SMALL_ID), make_peer(SMALL_ID)
    table.admit(first)
    admission = table.admit(second)
    assert (admission.refusal, admission.incumbent) == ("duplicate", first)
    assert table.would_lose(second)
    assert not table.announce(second)
    assert not table.remove(second, "closed")  # and its end is not the first one's
    assert table.occupied() == 1


@pytest.mark.parametrize("theirs, winner", [(SMALL_ID, "inbound"), (LARGE_ID, "outbound")])
def test_of_two_opposite_ones_that_of_the_smaller_nodeid_stays_whichever_came_first(
    told, theirs, winner
):
    loser = "outbound" if winner == "inbound" else "inbound"
    table = make_table(told)
    good, bad = make_peer(theirs, winner), make_peer(theirs, loser)
    table.admit(good)
    assert table.admit(bad).refusal == "duplicate"

    table = make_table(told)
    good, bad = make_peer(theirs, winner), make_peer(theirs, loser)
    table.admit(bad)
    assert not table.would_lose(good)
    assert table.admit(good).loser is bad
    assert bad.link.state is SUPERSEDED
    assert not table.remove(bad, "duplicate")


def test_the_winner_of_a_tie_inherits_the_place_without_a_flap(told):
    table = make_table(told)
    loser, winner = make_peer(SMALL_ID, "outbound"), make_peer(SMALL_ID, "inbound")
    table.admit(loser)
    table.announce(loser)
    table.admit(winner)
    assert table.get(SMALL_ID) is winner
    assert table.announce(winner)
    assert table.count() == 1
    table.remove(winner, "closed")
    assert told == [("peer_up", SMALL_ID, 1), ("peer_down", SMALL_ID, 0)]


def test_both_ends_of_a_tie_decide_alike(told):
    """Whatever the order in which each end learns of the two connections."""
    for first_at_small in ("outbound", "inbound"):
        for first_at_large in ("outbound", "inbound"):
            kept = []
            for nodeid, other, first in (
                (SMALL_ID, LARGE_ID, first_at_small),
                (LARGE_ID, SMALL_ID, first_at_large),
            ):
                table = make_table(told, nodeid)
                second = "inbound" if first == "outbound" else "outbound"
                for direction in (first, second):
                    peer = make_peer(other, direction)
                    if table.admit(peer).refusal is None:
                        table.announce(peer)
                kept.append(table.snapshot({})[0].direction)
            assert kept == ["outbound", "inbound"]  # the one that the smaller dialed


def test_full_is_full_for_who_dials_us_and_for_whom_we_dial(told):
    """While a dial is under way, others may take the last place."""
    table = make_table(told, max_peers=1)
    table.admit(make_peer(new_id()))
    assert table.admit(make_peer(new_id())).refusal == "full"
    assert table.admit(make_peer(new_id(), "outbound")).refusal == "full"


def test_long_after_any_tie_a_place_is_not_given_to_who_says_the_same_nodeid(told):
    """Nodeids are no secret: who dials in with a peer's must not get its messages."""
    table = make_table(told)
    peer = make_peer(SMALL_ID, "outbound", now=0.0)
    table.admit(peer)
    table.announce(peer)
    impostor = make_peer(SMALL_ID, "inbound", now=11.0)
    admission = table.admit(impostor)
    assert (admission.refusal, admission.incumbent) == ("duplicate", peer)
    assert table.admit(make_peer(SMALL_ID, "inbound", now=9.0)).loser is peer


def test_after_close_nobody_is_let_in_or_announced(told):
    table = make_table(told)
    peer = make_peer(new_id())
    table.admit(peer)
    table.close()
    assert not table.announce(peer)
    assert table.admit(make_peer(new_id())).refusal == "stopping"
    assert told == []


def test_a_ping_is_due_when_its_time_has_come_and_the_last_one_is_answered(told):
    table = make_table(told)
    peer = make_peer(new_id(), now=0.0)
    table.admit(peer)
    assert table.ping_due(0.0) == [peer]
    table.ping_sent(peer, 1.0, 10.0, patience=5.0)
    assert table.ping_due(20.0) == []  # outstanding
    assert table.pong(peer, 1.5, ON_TIME) == 0.5
    assert table.ping_due(9.9) == []
    assert table.ping_due(10.0) == [peer]
    assert table.pong(peer, 11.0, ON_TIME) is None  # to no ping of ours
    assert list(peer.rtts) == [0.5]


def test_silence_is_measured_on_the_clock_of_patience(told):
    table = make_table(told)
    peer = make_peer(new_id())
    table.admit(peer)
    table.ping_sent(peer, 1.0, 10.0, patience=5.0)
    assert table.silent(4.9) == []
    assert table.silent(5.0) == [peer]
    table.pong(peer, 2.0, ON_TIME)
    assert table.silent(5.0) == []


def test_only_peers_with_a_recent_pong_can_be_vouched_for(told):
    table = make_table(told)
    peer = make_peer(new_id())
    table.admit(peer)
    table.announce(peer)
    assert table.answered_since(0.0) == {}
    table.ping_sent(peer, 1.0, 2.0, 3.0)
    table.pong(peer, 100.0, ON_TIME)
    assert table.answered_since(100.0) == {peer.nodeid: peer}
    assert table.answered_since(100.1) == {}


def test_where_a_peer_can_be_dialed():
    """What we dialed; or its host with the port of its hello; or nobody knows."""
    assert make_peer(new_id(), "outbound", port=1).claimed == Address("10.0.0.1", 5000)
    assert make_peer(new_id(), "inbound", port=6001).claimed == Address("10.0.0.1", 6001)
    silent = make_peer(new_id(), "inbound")
    assert silent.claimed is None
    assert silent.address == Address("10.0.0.1", 5000)  # shown to people all the same
    assert claimed_address(silent.link, silent.hello) is None


def test_many_threads_admit_one_peer_once(told):
    """The question and the answer are one breath: eight threads, one place."""
    table = make_table(told, max_peers=100)
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
    assert [count for _, _, count in told] == list(range(1, 51))
