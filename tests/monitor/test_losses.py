"""What a node remembers of lost connections, and what it does about those that break when idle."""

import pytest

from p2p_plain.monitor.judge import Judgement
from p2p_plain.monitor.losses import MOST_COUNTED, Losses
from p2p_plain.monitor.row_messages import MAX_LINKS
from p2p_plain.monitor.verdict import Kind
from p2p_plain.node.peer import Link, Peer
from tests.support.simulation import World, mesh

DEFAULT = {"ping_interval": 60.0, "ping_timeout": 20.0}
QUICK = {"ping_interval": 8.0, "ping_timeout": 2.0, "probe_interval": 8.0}


def network(count=3, seed=1, **settings):
    world = World(seed)
    nodes = [world.node(number, **settings) for number in range(1, count + 1)]
    world.run(5)
    assert mesh(nodes)
    return world, nodes


def verdicts(node):
    return Judgement(node.survey.exchange.matrix(), node.survey.exchange.stale_after()).verdicts


def unstable(node):
    return [verdict.text for verdict in verdicts(node) if verdict.kind == Kind.UNSTABLE]


def run_until(world, predicate, seconds):
    """Return the seconds until it was true; fails if that takes longer than ``seconds``."""
    start = world.now
    while not predicate():
        assert world.now - start < seconds
        world.run(0.5)
    return world.now - start


def link_to(node, other):
    (link,) = [link for link in node.survey.own_row().links if link["nodeid"] == other.nodeid]
    return link


NEW = {"lost", "lost_why", "lost_every_s", "lost_quiet_s", "busy_s"}


def test_a_healthy_network_has_none_of_the_fields_and_one_loss_is_no_news():
    world, nodes = network()
    nodes[0].table.get(nodes[1].nodeid).link.end("closed")
    world.run(30)
    assert mesh(nodes)
    assert not NEW & {field for row in nodes[0].survey.exchange.matrix() for link in row.links for field in link}
    assert nodes[0].survey.losses.counts() == {nodes[1].nodeid: {"closed": 1}}


# -- idle connections --------------------------------------------------------------------------


@pytest.mark.parametrize("resets", [False, True], ids=["silent", "resets"])
@pytest.mark.parametrize(
    "settings, limit, named_within", [(DEFAULT, 30, 240), (QUICK, 4, 120)], ids=["default", "quick"]
)
def test_what_forgets_idle_connections_is_named_and_the_next_ones_are_kept_busy(
    settings, limit, named_within, resets
):
    """The verdict goes away by itself once the losses have grown old."""
    world, nodes = network(**settings)
    one, other, third = nodes
    world.forgetful, world.forgets_after, world.resets = {one, other}, limit, resets
    run_until(world, lambda: unstable(third), named_within)
    run_until(world, lambda: "busy" in "".join(unstable(third)), named_within / 2)
    (text,) = unstable(third)
    assert "n1 <-> n2 lost their connection" in text
    assert "without traffic" in text and "something on the way forgets idle connections" in text
    assert "kept busy every " in text
    world.run(settings["ping_interval"] + settings["ping_timeout"] + 5)  # the last ones that were not
    lost = [one.survey.losses.counts(), other.survey.losses.counts()]
    world.run(600)
    assert lost == [one.survey.losses.counts(), other.survey.losses.counts()]
    assert [verdict.kind for verdict in verdicts(third)] == [Kind.WELL]
    busy = [link_to(one, other).get("busy_s"), link_to(other, one).get("busy_s")]
    assert min(filter(None, busy)) < limit
    assert mesh(nodes)


def test_what_forgets_faster_is_answered_by_keeping_busier():
    world, nodes = network(**DEFAULT)
    world.forgetful, world.forgets_after = set(nodes[:2]), 10.0
    world.run(500)
    lost = nodes[0].survey.losses.counts()
    world.run(700)
    assert lost == nodes[0].survey.losses.counts()
    assert 1.0 <= link_to(nodes[0], nodes[1])["busy_s"] < 10.0
    assert "busy_s" not in link_to(nodes[0], nodes[2])


@pytest.mark.parametrize("seconds", [20, 60, 130])
def test_what_limits_how_long_connections_last_is_told_from_that(seconds):
    """No ping helps against it, which the node finds out where it could be either."""
    world, nodes = network(**DEFAULT)
    one, other, third = nodes
    world.lasts[frozenset((one, other))] = seconds
    one.table.get(other.nodeid).link.end("closed")
    run_until(world, lambda: "traffic or not" in "".join(unstable(third)), 8 * seconds)
    (text,) = unstable(third)
    assert text.startswith("n1 <-> n2 lost their connection")
    assert "something limits how long connections last" in text


def test_a_ping_that_keeps_busy_never_overtakes_its_pong():
    """A node has at most one ping unanswered (rule 5)."""
    world, nodes = network(**DEFAULT)
    one, other = nodes[:2]
    peer = one.table.get(other.nodeid)
    one.table.keep_busy(peer, 1.0, world.now)
    world.run(3)
    world.broken = {one, other}
    pings = peer.link.said.count({"msgtype": "ping"})
    world.run(15)
    assert peer.link.said.count({"msgtype": "ping"}) - pings <= 1


# -- cables ------------------------------------------------------------------------------------


def test_a_loose_cable_is_named_as_its_node_and_not_as_something_that_forgets():
    world, nodes = network(6, **QUICK)
    for _ in range(3):
        world.cut = {nodes[2]}
        world.run(14)
        world.cut = set()
        world.run(30)
        assert mesh(nodes)
    world.run(20)
    for node in nodes:
        (text,) = unstable(node)
        assert text.startswith("n3: lost its connections to n1, n2, n4, n5, n6 ")
        assert text.endswith("3 times in ten minutes (timed out)")
    world.run(600)
    assert [verdict.kind for verdict in verdicts(nodes[0])] == [Kind.WELL]


# -- what does not count ------------------------------------------------------------------------


def peer_of(nodeid, now, heard_at=None):
    link = Link(None)
    link.heard_at = now if heard_at is None else heard_at
    peer = Peer.__new__(Peer)
    peer.link, peer.nodeid, peer.greeted_at, peer.last_pong_at = link, nodeid, now, now
    return peer


@pytest.mark.parametrize(
    "reason, late, counts",
    [
        ("closed", False, True),
        ("timeout", False, True),
        ("protocol", False, True),
        ("stopping", False, False),  # a goodbye
        ("duplicate", False, False),  # the end of a tie
        ("timeout", True, False),  # we run late
    ],
)
def test_goodbyes_ties_and_our_own_lateness_are_no_losses(reason, late, counts):
    losses = Losses(60.0, 20.0, 0.0)
    for now in 1.0, 2.0, 3.0:
        losses.ticked(now)
        losses.lost(peer_of("a", now), reason, late, now + 0.5)
    assert bool(losses.about("a", 4.0)) == counts
    assert bool(losses.counts()) == counts


def test_what_is_lost_after_we_stood_still_is_our_own_fault():
    """A suspended laptop, a frozen process: a reader may notice before the first tick, or long after."""
    losses = Losses(60.0, 20.0, 0.0)
    losses.ticked(1.0)
    losses.lost(peer_of("a", 0.5), "closed", False, 100.0)
    for second in range(80):
        losses.ticked(100.1 + second)
    losses.lost(peer_of("b", 0.5), "timeout", False, 179.5)
    assert losses.counts() == {}
    losses.ticked(181.0)
    losses.lost(peer_of("b", 170.0), "timeout", False, 182.0)
    assert losses.counts() == {"b": {"timeout": 1}}


def test_a_connection_without_a_single_pong_was_none():
    losses = Losses(60.0, 20.0, 0.0)
    peer = peer_of("a", 0.0)
    peer.last_pong_at = None
    losses.lost(peer, "timeout", False, 1.0)
    assert losses.counts() == {}


def test_a_node_that_said_goodbye_is_forgotten():
    world, nodes = network()
    one, other = nodes[:2]
    one.table.get(other.nodeid).link.end("closed")
    world.run(20)
    assert other.nodeid in one.survey.losses.counts()
    one.survey.lost(peer_of(other.nodeid, world.now), "stopping", world.now)
    assert other.nodeid not in one.survey.losses.counts()


def test_what_is_remembered_is_bounded():
    losses = Losses(60.0, 20.0, 0.0)
    for number in range(2 * MAX_LINKS):
        losses.ticked(float(number))
        for _ in range(2 * MOST_COUNTED):
            losses.lost(peer_of(str(number), number), "closed", False, number + 0.1)
    assert len(losses.counts()) == MAX_LINKS
    assert losses.about(str(number), number + 1.0)["lost"] == MOST_COUNTED
    assert "0" not in losses.counts()
