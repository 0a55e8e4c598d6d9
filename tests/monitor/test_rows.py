"""The rows of the matrix: whom to believe, what is kept, and what counts as the network's fault."""

import json
import random

import pytest

from p2p_plain.common.config import MAX_NAME
from p2p_plain.monitor.judge import Judgement
from p2p_plain.monitor.row_messages import MAX_LINKS, Links, encode_end_of_links, encode_links
from p2p_plain.monitor.rows import (
    ANSWER_FRESH, FORGET_AFTER, FORWARDED_BYTES, MAX_BURIED, MAX_ROWS, TOLD_BY_ONE, Rows, read_row,
)
from p2p_plain.monitor.unmet import MOST_NODES
from p2p_plain.node import messages
from p2p_plain.node.codec import MAX_LINE
from p2p_plain.node.lateness import Lateness
from p2p_plain.node.peer import spread
from tests.support import new_id
from tests.support.simulation import World, mesh, raw_link, say

ME, NODE, OTHER, THIRD, FOURTH = (new_id() for _ in range(5))
NOBODY = frozenset()


@pytest.fixture
def matrix():
    return Rows(ME)


def tell(matrix, nodeid, source, peers=NOBODY, now=1000.0, age=0.0, links=(), name="a"):
    line = encode_links(Links(nodeid, tuple(links), name=name, age=age))[:-1]
    return matrix.heard(messages.parse(line), source, frozenset(peers), now)


def names(matrix, now=1000.0):
    found = [read_row(row, now) for row in matrix.all(now)]
    return {row.nodeid: row.name for row in found}


def test_a_peers_own_row_is_believed_and_replaces_the_one_before(matrix):
    assert tell(matrix, NODE, NODE, [NODE], name="old")
    assert tell(matrix, NODE, NODE, [NODE], name="new", age=50)  # it may have been suspended
    assert names(matrix) == {NODE: "new"}


def test_nobody_else_is_believed_about_a_peer_or_about_ourselves(matrix):
    tell(matrix, NODE, NODE, [NODE, OTHER], name="true")
    assert not tell(matrix, NODE, OTHER, [NODE, OTHER], name="false")
    assert not tell(matrix, ME, OTHER, [NODE, OTHER], name="false")
    assert names(matrix) == {NODE: "true"}


def test_of_second_hand_rows_the_one_measured_last_wins(matrix):
    assert tell(matrix, THIRD, NODE, [NODE, OTHER], name="fresh", age=10)
    assert not tell(matrix, THIRD, OTHER, [NODE, OTHER], name="stale", age=60)
    assert names(matrix) == {THIRD: "fresh"}
    assert tell(matrix, THIRD, OTHER, [NODE, OTHER], name="newest", age=1)
    assert names(matrix) == {THIRD: "newest"}


def test_the_last_row_of_a_dead_node_gets_no_younger_by_being_exchanged():
    """Each answer is a little old when it arrives."""
    nodes = {ME: Rows(ME), OTHER: Rows(OTHER)}
    for rows in nodes.values():
        tell(rows, NODE, NODE, [NODE])
    now = 1000.0
    for asking, asked in 20 * [(ME, OTHER), (OTHER, ME)]:
        now += 1.0
        (row,) = nodes[asked].all(now)
        tell(nodes[asking], NODE, asked, [asked], now + ANSWER_FRESH + 0.1, now - row.measured_at)
    assert [row.measured_at for rows in nodes.values() for row in rows.all(now)] == [1000.0, 1000.0]


def test_a_row_grows_old_and_is_dropped_after_a_day(matrix):
    tell(matrix, NODE, NODE, age=5)
    (row,) = matrix.all(1060.0)
    assert read_row(row, 1060.0).age == 65.0
    assert matrix.all(1000.0 + FORGET_AFTER) == []
    assert not tell(matrix, THIRD, NODE, age=FORGET_AFTER + 1)


def test_a_row_that_came_while_others_were_read_is_no_older_than_now(matrix):
    tell(matrix, NODE, NODE, [NODE], now=1000.0)
    (row,) = matrix.all(999.9)
    assert read_row(row, 999.9).age == 0.0


def test_the_row_of_a_node_that_is_gone_for_good_is_refused_from_others(matrix):
    """Others may keep it for a day.  But from that node itself it shows that it lives after all."""
    tell(matrix, THIRD, THIRD, [NODE, THIRD])
    matrix.bury(THIRD, 1000.0)
    assert not tell(matrix, THIRD, NODE, [NODE], now=1000.0 + FORGET_AFTER)
    assert names(matrix) == {}
    assert tell(matrix, THIRD, THIRD, [NODE, THIRD], now=2000.0)
    assert tell(matrix, THIRD, NODE, [NODE], now=2100.0)
    assert names(matrix, 2100.0) == {THIRD: "a"}


def test_a_refusal_ends_after_a_day_as_every_row_does(matrix):
    matrix.bury(THIRD, 1000.0)
    later = 1001.0 + FORGET_AFTER
    assert matrix.all(later) == []
    assert tell(matrix, THIRD, NODE, [NODE], now=later)


def test_only_so_many_nodeids_are_remembered_for_a_refusal(matrix):
    ids = [new_id() for _ in range(MAX_BURIED + 1)]
    for nodeid in ids:
        matrix.bury(nodeid, 1000.0)
    assert [tell(matrix, nodeid, NODE, [NODE]) for nodeid in ids[:2]] == [True, False]


def test_a_replaced_node_is_buried_when_no_peer_names_it_any_more(matrix):
    """Until then everyone who asks needs its row, to see that it was replaced."""
    tell(matrix, THIRD, THIRD, [NODE, THIRD])
    tell(matrix, NODE, NODE, [NODE], links=[{"nodeid": THIRD, "dial": "refused"}])
    peers = frozenset([NODE])
    matrix.note_replaced({THIRD: OTHER}, peers, 1100.0)
    assert set(names(matrix)) == {NODE, THIRD}
    tell(matrix, NODE, NODE, [NODE], now=1200.0)
    matrix.note_replaced({}, peers, 1200.0)
    assert set(names(matrix)) == {NODE}
    assert matrix.replaced() == {THIRD: OTHER}
    assert not tell(matrix, THIRD, NODE, [NODE])


def test_rows_are_bounded_and_those_of_peers_are_not_displaced(matrix):
    peers = [new_id() for _ in range(MAX_ROWS - 1)]
    for nodeid in peers:
        tell(matrix, nodeid, nodeid, peers)
    liar = peers[0]
    for _ in range(50):
        assert tell(matrix, new_id(), liar, peers)
    assert len(matrix.all(1000.0)) == MAX_ROWS
    assert set(peers) < set(names(matrix))
    assert tell(matrix, NODE, NODE, peers + [NODE])
    assert not tell(matrix, new_id(), liar, peers + [NODE])


def long_row(matrix, nodeid, source, peers):
    """Tell a row of 30 KB."""
    return tell(matrix, nodeid, source, peers, links=[{"nodeid": NODE, "name": "x" * 60}] * 250)


def size(matrix):
    return sum(len(row.line) for row in matrix.all(1000.0))


def test_what_others_say_has_a_budget_in_bytes(matrix):
    """The rows of peers come on top: one line each."""
    peers = [NODE, OTHER]
    long_row(matrix, NODE, NODE, peers)
    long_row(matrix, OTHER, OTHER, peers)
    own = size(matrix)
    first = new_id()
    assert long_row(matrix, first, NODE, peers)
    for _ in range(FORWARDED_BYTES // (size(matrix) - own) + 10):
        long_row(matrix, new_id(), OTHER, peers)
    assert FORWARDED_BYTES * 0.9 < size(matrix) - own <= FORWARDED_BYTES
    assert {NODE, OTHER, first} <= set(names(matrix))


def test_a_peer_that_tells_of_many_displaces_only_what_it_has_told_itself(matrix):
    peers = [NODE, OTHER]
    honest = [new_id() for _ in range(100)]
    for nodeid in honest:
        tell(matrix, nodeid, NODE, peers, age=50)
    for _ in range(3 * TOLD_BY_ONE):
        assert tell(matrix, new_id(), OTHER, peers)
    kept = set(names(matrix))
    assert kept.issuperset(honest)
    assert len(kept) == 100 + TOLD_BY_ONE


def test_a_crowd_that_comes_and_goes_leaves_no_more_than_one_teller(matrix):
    """Each of them was a peer, and left its row behind."""
    for _ in range(2 * TOLD_BY_ONE):
        nodeid = new_id()
        tell(matrix, nodeid, nodeid, [NODE, nodeid])
    for _ in range(10):
        tell(matrix, new_id(), NODE, [NODE])
    assert len(names(matrix)) == TOLD_BY_ONE + 10


def test_an_answer_costs_nothing_where_the_rows_are_those_of_our_peers(matrix):
    """They come from themselves: in a network of 140 nodes nearly all lines of an answer are like that."""
    line = encode_links(Links(THIRD, (), age=3.0))[:-1]
    for peers, unread in ((frozenset([NODE, THIRD]), True), (frozenset([NODE]), False)):
        assert matrix.keep(line, NODE, peers, 1000.0) is unread
    assert matrix.keep(encode_links(Links(ME, ()))[:-1], NODE, NOBODY, 1000.0)
    assert matrix.all(1000.0) == []


def keep(matrix, now, name="unread", source=NODE, age=0.0):
    """Whether a row that comes in is kept unread."""
    line = encode_links(Links(NODE, (), name=name, age=age))[:-1]
    return matrix.keep(line, source, frozenset([source]), now)


def test_most_rows_of_a_peer_are_kept_unread(matrix):
    """The first is read, and then one after 5 s, 20 s, 80 s, then every five minutes."""
    assert not keep(matrix, 1000.0)
    read_at = []
    for now in range(1000, 3000):
        if not keep(matrix, float(now), name=str(now)):
            tell(matrix, NODE, NODE, [NODE], now=float(now), name=str(now))
            read_at.append(now - 1000)
        assert names(matrix, float(now)) == {NODE: str(now)}
    gaps = [later - earlier for earlier, later in zip(read_at, read_at[1:])]
    assert gaps == [5, 20, 80, 300, 300, 300, 300, 300, 300]


def test_what_is_not_surely_a_peers_own_row_of_this_moment_is_read(matrix):
    tell(matrix, NODE, NODE, [NODE])
    assert keep(matrix, 1001.0)
    assert not keep(matrix, 1001.0, source=OTHER)
    assert not keep(matrix, 1001.0, age=3.0)
    assert not matrix.keep(encode_end_of_links(NODE, 180.0)[:-1], NODE, NOBODY, 1001.0)
    (row,) = matrix.all(1004.0)
    assert read_row(row, 1004.0).age == 3.0


def changed(matrix, now, changes, connected=()):
    """Have a row come in that is kept unread if possible; return what is known to be connected then."""
    links = tuple({"nodeid": nodeid, "direction": "inbound"} for nodeid in connected)
    line = encode_links(Links(NODE, links, changes=changes))[:-1]
    if not matrix.keep(line, NODE, frozenset([NODE]), now):
        matrix.heard(messages.parse(line), NODE, frozenset([NODE]), now)
    (row,) = matrix.all(now)
    return row.connected


def test_a_row_after_which_other_nodes_are_connected_is_read_at_once(matrix):
    """Even if those before it have been read so seldom that the next one would be in five minutes."""
    for now in range(1000, 1200, 10):
        assert changed(matrix, float(now), 1, [OTHER]) == {OTHER}
    assert changed(matrix, 1200.0, 2, [OTHER, THIRD]) == {OTHER, THIRD}
    assert changed(matrix, 1210.0, 12, [OTHER]) == {OTHER}


def test_of_a_burst_of_changes_the_last_one_is_read_when_five_seconds_have_passed(matrix):
    peers = frozenset([NODE])
    assert changed(matrix, 1000.0, 1) == NOBODY
    for now in range(1001, 1004):
        assert changed(matrix, float(now), now, [OTHER]) == NOBODY
        assert matrix.overdue(peers, float(now)) == []
    assert matrix.overdue(NOBODY, 1005.0) == []  # only a peer's row can be that new
    (row,) = matrix.overdue(peers, 1005.0)
    assert changed(matrix, 1005.0 - 0.1, 1004, [THIRD]) == NOBODY  # another thread, meanwhile
    matrix.read(read_row(row, 1005.0), 1005.0)
    (row,) = matrix.all(1005.0)
    assert row.connected == {OTHER}
    (row,) = matrix.overdue(peers, 1010.0)
    matrix.read(read_row(row, 1010.0), 1010.0)
    assert matrix.overdue(peers, 1015.0) == []
    (row,) = matrix.all(1015.0)
    assert row.connected == {THIRD}


def test_a_larger_network_is_noticed_by_who_is_connected_to_whom(matrix):
    """The peers that are connected to a node have its row from itself; others do not."""
    peers = frozenset((NODE, OTHER))
    tell(matrix, NODE, NODE, peers, links=[{"nodeid": ME, "direction": "inbound"}])
    assert matrix.witnesses(peers) == {}
    tell(matrix, NODE, NODE, peers, links=[{"nodeid": THIRD, "direction": "none", "dial": "ok"}])
    assert matrix.witnesses(peers) == {}
    tell(matrix, NODE, NODE, peers, links=[{"nodeid": THIRD, "direction": "inbound"}])
    assert matrix.witnesses(peers) == {THIRD: [NODE]}
    tell(matrix, THIRD, NODE, peers, links=[{"nodeid": FOURTH, "direction": "inbound"}])
    assert matrix.witnesses(peers) == {THIRD: [NODE], FOURTH: []}


def test_the_longest_row_fits_a_line():
    """Names go first: they are in their own nodes' rows as well."""
    link = {
        "name": "\u00fc" * MAX_NAME,
        "address": "[2001:db8:1111:2222:3333:4444:5555:6666]:65535",
        "direction": "outbound",
        "rtt_ms": 12345.678,
        "rtt_p50_ms": 12345.678,
        "rtt_max_ms": 12345.678,
        "jitter_ms": 12345.678,
        "dial": "unreachable",
        "why": "x" * 12,
        "dial_ms": 12345.678,
        "up_s": 31536000.5,
    }
    links = tuple(dict(link, nodeid=new_id()) for _ in range(2 * MAX_LINKS))
    line = encode_links(Links(NODE, links, name="a", lag_ms=0.1))
    assert len(line) <= MAX_LINE
    row = messages.parse(line[:-1])
    assert len(row.links) >= MAX_LINKS // 2
    whole = messages.parse(encode_links(Links(NODE, links[: MOST_NODES - 1], name="a"))[:-1])
    assert len(whole.links) == MOST_NODES - 1
    assert "name" not in row.links[0]
    assert "name" in messages.parse(
        encode_links(Links(NODE, links[:64], name="a"))[:-1]
    ).links[0]


def test_what_a_few_round_trips_have_in_common():
    """The last one, the median of three or more, the longest, the mean step; in milliseconds."""
    assert spread([], False) == (None, None, None, None)
    assert spread([0.5], False) == (500.0, None, 500.0, 0.0)
    assert spread([0.5, 0.7, 0.6], True)[1] == 600.0
    assert spread([1.0, 2.0, 1.0, 4.0, 1.0], True) == (1000.0, 1000.0, 4000.0, 2000.0)


def late(*delays):
    """A node that ticked late by these seconds."""
    lateness, now = Lateness(0.2, 0.0), 0.0
    for delay in delays:
        now += 0.2 + delay
        lateness.tick(now)
    return lateness


def test_one_late_tick_is_what_any_machine_has_and_many_are_ours():
    assert late().usual == 0.0
    assert late(*[0.0] * 48 + [0.3] * 2).usual < 1e-6
    assert late(*[0.0] * 40 + [0.3] * 10).usual == pytest.approx(0.3)


def test_a_round_trip_counts_unless_we_ran_late_ourselves():
    assert not late(0.001).excuses(0.080)  # the network is slow
    assert not late(0.010).excuses(0.080)
    assert late(0.060).excuses(0.080)
    assert not late(0.004).excuses(0.0002)  # so late is everyone


# -- in a network ---------------------------------------------------------------------------


def rows(node):
    return {row.nodeid: row for row in node.survey.exchange.matrix()}


def test_everyone_has_everyones_row_a_second_after_the_last_has_come():
    world = World(21)
    nodes = [world.node(number) for number in range(1, 13)]
    world.run(5.0)
    everyone = {node.nodeid for node in nodes}
    for node in nodes:
        found = rows(node)
        assert set(found) == everyone
        for nodeid, row in found.items():
            assert {link["nodeid"] for link in row.links} == everyone - {nodeid}
            assert all(link["dial"] == "ok" for link in row.links)
            assert row.age <= 4.5


def test_rows_are_sent_once_an_interval_and_not_more_than_once_a_second():
    world = World(22)
    node = world.node(1, ping_interval=10, ping_timeout=1000)
    link = raw_link(node, new_id())
    link.peer.hello = link.peer.hello._replace(version=1)
    world.run(100.0)
    assert len([said for said in link.said if said["msgtype"] == "links"]) in (9, 10, 11)
    before = len(link.said)
    for number in range(50):  # a crowd that comes and goes
        raw_link(node, new_id(), host="10.0.8.%d" % number).end("closed")
        world.run(0.1)
    assert len([said for said in link.said[before:] if said["msgtype"] == "links"]) <= 6


def test_in_a_large_network_nobody_gets_more_than_twenty_rows_a_second():
    """Many that start together change all the time; with a row each second they would drown."""
    world = World(30)
    nodes = [world.node(number) for number in range(1, 33)]
    world.run(10.0)
    assert mesh(nodes)
    one = nodes[10]
    heard = []
    keep = one.survey.rows.keep  # asked about each row before it is read
    one.survey.rows.keep = lambda *args: heard.append(world.now) or keep(*args)
    victims = nodes[20:30]
    for victim in victims:  # something changes every second
        nodes.remove(victim)
        victim.crash()
        world.run(1.0)
    assert 100 < len(heard) <= 20 * 10 + 32
    world.run(10.0)
    assert len(rows(one)) == 32


def test_a_row_is_not_old_before_the_next_ones_are_due():
    """Among many nodes that comes later than a ping interval."""
    world = World(31)
    node = world.node(1, ping_interval=1, ping_timeout=1000)
    assert node.survey.exchange.stale_after() == 3.0
    links = [raw_link(node, new_id(), host="10.0.8.%d" % number) for number in range(80)]
    links[0].peer.hello = links[0].peer.hello._replace(version=1)
    world.run(1.0)
    said = links[0].said
    told = []
    for _ in range(100):
        before = len(said)
        world.run(0.5)
        if any(message["msgtype"] == "links" for message in said[before:]):
            told.append(world.now)
    longest = max(late - early for early, late in zip(told, told[1:]))
    assert longest > 3.0
    assert 2 * longest < node.survey.exchange.stale_after()


def test_a_node_that_runs_late_tells_its_row_less_often_and_before_it_is_old():
    world = World(32)
    node = world.node(1, ping_interval=10, ping_timeout=1000)
    link = raw_link(node, new_id())
    link.peer.hello = link.peer.hello._replace(version=1)
    told = []
    end = world.now + 200.0
    while world.now < end:
        before = len(link.said)
        world.stand_still(0.25)
        world.run(0.2)
        if any(message["msgtype"] == "links" for message in link.said[before:]):
            told.append(world.now)
    gaps = [later - earlier for earlier, later in zip(told[3:], told[4:])]
    assert min(gaps) > 15.0
    assert max(gaps) < node.survey.exchange.stale_after() == 30.0


def test_what_is_measured_while_this_node_runs_late_does_not_count():
    world = World(23)
    node = world.node(1)
    link = raw_link(node, new_id())

    def ping_that_takes(seconds):
        node.overlay.table.ping_sent(link.peer, world.now, world.now + 60, 1e9)
        world.run(seconds)
        link.arrive(messages.PONG[:-1])
        (peer,) = node.survey.peers()
        return peer.rtt_max_ms

    world.run(3.0)
    assert ping_that_takes(0.03) == pytest.approx(30)
    world.stand_still(0.5)
    assert ping_that_takes(0.4) == pytest.approx(30)
    world.run(3.0)
    assert ping_that_takes(0.4) == pytest.approx(400)


def test_where_nothing_has_counted_yet_the_next_ping_does_not_wait_for_its_interval():
    world = World(28)
    node = world.node(1)
    world.stand_still(0.5)
    world.run(0.2)
    link = raw_link(node, new_id())
    for _ in range(5):  # late again and again: no figure, and no flood of pings either
        world.run(1.3)
        world.stand_still(0.5)
        world.run(0.2)
        link.arrive(messages.PONG[:-1])
        (peer,) = node.survey.peers()
    pings = [said for said in link.said if said["msgtype"] == "ping"]
    assert 3 <= len(pings) <= 8
    world.run(1.3)
    link.arrive(messages.PONG[:-1])
    (peer,) = node.survey.peers()
    assert peer.rtt_ms is not None


def test_a_node_that_runs_late_says_so_in_its_row():
    world = World(24)
    node = world.node(1)
    world.run(20.0)
    assert node.survey.own_row().lag_ms == 0.0
    for _ in range(20):
        world.stand_still(0.25)
        world.run(0.2)
    assert node.survey.own_row().lag_ms == pytest.approx(250, abs=60)


def test_two_behind_nat_learn_each_others_rows_from_a_third():
    """They cannot meet, and still everyone gives the same picture."""
    world = World(25)
    middle = world.node(1, ping_interval=5)
    hidden = [world.node(number, ping_interval=5) for number in (2, 3)]
    for node in hidden:
        world.deaf.add(node)
    hidden[1].book.add_bootstrap([middle.address], world.now)
    world.run(30.0)
    assert not mesh(hidden)
    for node in [middle] + hidden:
        assert set(rows(node)) == {n.nodeid for n in [middle] + hidden}


def test_who_left_on_purpose_leaves_no_row_and_who_crashed_does():
    world = World(26)
    nodes = [world.node(number) for number in range(1, 5)]
    world.run(5.0)
    leaver, victim = nodes[2], nodes[3]
    leaver.overlay.stop()
    for peer in leaver.table.up():
        peer.link.close("stopping")
    leaver.alive = False
    victim.crash()
    world.run(70.0)
    for node in nodes[:2]:
        found = rows(node)
        assert leaver.nodeid not in found
        assert found[victim.nodeid].age > 60
        for row in (found[nodes[0].nodeid], found[nodes[1].nodeid]):
            links = {link["nodeid"]: link for link in row.links}
            assert leaver.nodeid not in links
            assert links[victim.nodeid]["direction"] == "none"
            assert links[victim.nodeid]["dial"] == "refused"
            assert 4.0 < links[victim.nodeid]["known_s"] < 6.0


def test_who_came_for_a_moment_is_missed_at_once_and_for_minutes():
    world = World(27)
    nodes = [world.node(number) for number in range(1, 4)]
    world.run(5.0)
    nodes.pop().crash()

    def is_ok():
        return [Judgement(n.survey.exchange.matrix(), n.survey.exchange.stale_after()).ok for n in nodes]

    world.run(5.0)
    assert is_ok() == [False, False]
    world.run(200.0)
    assert is_ok() == [False, False]
    world.run(180.0)
    assert is_ok() == [True, True]


@pytest.mark.parametrize("host", ["fe80::7%eth0", "2001:db8::7", "10.0.0.7"])
@pytest.mark.parametrize("name", [None, "a", "\u00fc" * 64])
def test_whatever_a_peer_is_like_our_row_about_it_is_one_that_others_accept(host, name):
    world = World(29)
    node = world.node(1)
    link = raw_link(node, new_id(), port=6000, host=host)
    link.peer.hello = link.peer.hello._replace(name=name)
    world.run(12.0)
    link.end("closed")
    messages.parse(encode_links(node.survey.own_row())[:-1])
    link = raw_link(node, new_id(), port=6000, host=host)
    row = messages.parse(encode_links(node.survey.own_row())[:-1])
    assert link.peer.nodeid in {told["nodeid"] for told in row.links}


def test_rows_of_any_kind_do_not_hurt(matrix):
    """Whatever passes the vocabulary can be kept, read again, and sent on."""
    rng = random.Random(5)
    world = World(27)
    node = world.node(1)
    link = raw_link(node, NODE)
    for _ in range(200):
        links = [
            {
                "nodeid": rng.choice([ME, NODE, OTHER, node.nodeid, new_id()]),
                "dial": rng.choice(["ok", "timeout", "unknown"]),
                "direction": rng.choice(["none", "inbound"]),
                "rtt_ms": rng.choice([None, 0, 1e300, 5]),
                "later": {"field": [1, 2]},
            }
            for _ in range(rng.randrange(4))
        ]
        say(link, msgtype="links", nodeid=rng.choice([NODE, OTHER, ME]), links=links, age=rng.random())
        assert link.open
    for line in node.survey.exchange.answer():
        json.loads(line.decode())
