"""Nodes that have not met: who exists, where it may be, and what each reports on it."""

import pytest

from p2p_plain.monitor.belief import MOST_ALONE
from p2p_plain.monitor.judge import Judgement
from p2p_plain.monitor.row_messages import Links, encode_links
from p2p_plain.monitor.rows import READ_AGAIN_AFTER, Row
from p2p_plain.monitor.unmet import (
    MOST_NODES, ROWS_A_LOOK, ROWS_ABOUT_EACH, described, rows_about, unmet_nodes,
)
from p2p_plain.monitor.view import View
from p2p_plain.node.claims import CLAIMS_A_PEER
from p2p_plain.node.connector import DIAL_TIMEOUT
from tests.support import new_id
from tests.support.simulation import World, mesh, raw_link

pytestmark = pytest.mark.long  # whole networks in one thread

ME, NODE, OTHER, THIRD, FOURTH = (new_id() for _ in range(5))
NOBODY = frozenset()


def ids(count):
    return [new_id() for _ in range(count)]


def row(nodeid, *connected, changes=None, measured_at=1000.0, read_at=1000.0):
    line = encode_links(Links(nodeid, (), changes=changes))[:-1]
    return Row(nodeid, line, measured_at, frozenset(connected), changes, read_at)


def unmet(rows, *peers, gone=()):
    return unmet_nodes(rows, frozenset(peers), ME, dict(gone)).keys()


# -- who exists -----------------------------------------------------------------------------


def test_a_node_exists_if_a_peer_is_connected_to_it_or_a_node_that_exists_is():
    rows = [row(NODE, ME, OTHER), row(OTHER, NODE, THIRD), row(THIRD, OTHER)]
    assert unmet(rows, NODE) == {OTHER, THIRD}
    assert unmet(rows, NODE, OTHER) == {THIRD}
    assert unmet(rows, NODE, OTHER, THIRD) == NOBODY


def test_old_rows_that_name_each_other_make_nobody_exist():
    assert unmet([row(NODE, ME), row(OTHER, THIRD), row(THIRD, OTHER)], NODE) == NOBODY


def test_of_a_node_that_has_left_only_what_was_said_later_counts():
    """Its other peers notice it a little later, and their rows come later still."""
    left = {OTHER: 1000.0}
    assert unmet([row(NODE, ME, OTHER)], NODE, gone=left) == NOBODY
    assert unmet([row(NODE, ME, OTHER, measured_at=1060.0)], NODE, gone=left) == NOBODY
    assert unmet([row(NODE, ME, OTHER, measured_at=1060.0, changes=4)], NODE, gone=left) == {OTHER}
    assert unmet([row(NODE, ME, OTHER, read_at=1060.0)], NODE, gone=left) == NOBODY


def test_in_a_large_network_nobody_is_unmet():
    others = ids(MOST_NODES - 3)
    assert len(unmet([row(NODE, *others), row(FOURTH, *others)], NODE, FOURTH)) == MOST_NODES - 3
    others.append(new_id())
    assert unmet([row(NODE, *others), row(FOURTH, *others)], NODE, FOURTH) == NOBODY
    peers = ids(MOST_NODES)
    assert unmet([row(peers[0], OTHER)], *peers) == NOBODY


@pytest.mark.parametrize("through_others", [False, True])
def test_one_liar_cannot_make_a_network_look_too_large(through_others):
    """Not by its own row, nor by rows that it claims to have from others."""
    invented = ids(300)
    liar = row(THIRD, ME, *(invented[:1] if through_others else invented))
    rows = [row(NODE, ME, OTHER), row(FOURTH, ME, OTHER, NODE), liar, row(invented[0], *invented)]
    found = unmet(rows, NODE, FOURTH, THIRD)
    assert OTHER in found
    assert len(found) == 1 + MOST_ALONE


def test_several_liars_cannot_either():
    peers = ids(8)
    rows = [row(one, ME, *ids(300)) for one in peers[2:]]
    assert unmet([*rows, row(peers[0], OTHER), row(peers[1], OTHER)], *peers) == {OTHER}


# -- where it may be ------------------------------------------------------------------------


def said(nodeid, *links):
    """A row whose links are (nodeid, address, direction, dial)."""
    fields = ("nodeid", "address", "direction", "dial")
    return Links(nodeid, tuple(dict(zip(fields, link), name="a name") for link in links))


def where(*rows, here=()):
    (found,) = described(rows, frozenset([OTHER]), lambda nodeid: nodeid in here)
    return [address.host.rsplit(".")[-1] for address in found.addresses]


def test_an_address_counts_where_a_dial_has_gone():
    """Otherwise it may be the other end of a connection, where nobody listens."""
    assert where(said(NODE, (OTHER, "192.0.2.1:6000", "outbound", "unknown"))) == ["1"]
    assert where(said(NODE, (OTHER, "192.0.2.1:6000", "inbound", "refused"))) == ["1"]
    assert where(said(NODE, (OTHER, "192.0.2.1:40000", "inbound", "unknown"))) == []
    unconnected = said(NODE, (OTHER, "192.0.2.1:6000", "none", "refused"))
    assert described([unconnected], frozenset([OTHER]), bool) == []
    assert where(said(NODE, (OTHER, "0.0.0.0:6000", "outbound", "ok"))) == []
    (found,) = described([said(NODE, (OTHER, None, "inbound", "ok"))], frozenset([OTHER]), bool)
    assert found == (OTHER, "a name", [])


def test_addresses_where_it_was_found_come_first_and_then_those_that_most_name():
    failed = [said(one, (OTHER, "192.0.2.1:6000", "inbound", "timeout")) for one in ids(3)]
    twice = [said(one, (OTHER, "192.0.2.2:6000", "inbound", "timeout")) for one in ids(2)]
    found = [said(NODE, (OTHER, "192.0.2.3:6000", "inbound", "ok"))]
    assert where(*(twice + failed + found)) == ["3", "1", "2"]
    many = [said(one, (OTHER, "198.51.100.%d:6000" % n, "outbound", "ok")) for n, one in enumerate(ids(20))]
    assert len(where(*many)) == CLAIMS_A_PEER


def test_a_loopback_address_is_believed_from_a_node_on_this_machine():
    loopback = said(NODE, (OTHER, "127.0.0.1:6000", "outbound", "ok"))
    assert where(loopback) == []
    assert where(loopback, here=[NODE]) == ["1"]


def test_a_few_rows_are_read_for_all_that_is_asked():
    everyone = ids(10)
    rows = [row(nodeid, *everyone) for nodeid in ids(20)] + [row(NODE, OTHER)]
    assert len(rows_about(rows, everyone + [OTHER])) == ROWS_ABOUT_EACH + 1


def test_a_crowd_of_rows_is_read_a_few_at_a_time():
    """Reading them all would take seconds, and only those who are named then are known."""
    nodeids = ids(100)
    rows = [row(new_id(), nodeid) for nodeid in nodeids]
    read = rows_about(rows, nodeids)
    assert read == rows[:ROWS_A_LOOK]
    links = [said(one.nodeid, (nodeid, None, "inbound")) for one, nodeid in zip(read, nodeids)]
    found = described(links, frozenset(nodeids), bool)
    assert [one.nodeid for one in found] == nodeids[:ROWS_A_LOOK]


# -- in a network ---------------------------------------------------------------------------


def link(node, other):
    """What a node reports on another one; None if it does not name it."""
    found = [one for one in node.survey.own_row().links if one["nodeid"] == other.nodeid]
    return found[0] if found else None


def dial(node, other):
    return (link(node, other) or {}).get("dial")


def reported(node, other):
    return [fields["dial"] for told, fields in node.told if told == "reach" and fields["nodeid"] == other.nodeid]


def star(world, leaves, **settings):
    """Leaves that cannot meet: nobody gets through to them."""
    hub = world.node(1, **settings)
    nodes = [world.node(n, bootstrap=[hub.address], **settings) for n in range(2, leaves + 2)]
    world.deaf.update(nodes)
    return hub, nodes


@pytest.mark.parametrize("interval", [1, 60])
@pytest.mark.parametrize("later", [0, 1200])
def test_a_pair_that_was_blocked_before_it_could_meet_is_reported_by_both(interval, later):
    """Also if the third one's row has been read every five minutes for long."""
    world = World(60)
    middle = world.node(1, ping_interval=interval, probe_interval=interval)
    first = world.node(2, ping_interval=interval, probe_interval=interval)
    world.run(later)
    second = world.node(
        3, bootstrap=[middle.address], ping_interval=interval, probe_interval=interval
    )
    world.broken = {first, second}
    world.run(READ_AGAIN_AFTER + DIAL_TIMEOUT + 10.0)
    for one, other in ((first, second), (second, first)):
        found = link(one, other)
        assert (found["name"], found["address"]) == (other.overlay.myself.name, str(other.address))
        assert (found["direction"], found["dial"], found["known_s"]) == ("none", "timeout", 0.0)
        assert reported(one, other) == ["timeout"]
    rows = {found.nodeid: found for found in middle.survey.exchange.matrix()}
    assert {one["dial"] for one in rows[second.nodeid].links} == {"ok", "timeout"}
    world.broken = set()
    world.run(400.0)
    assert mesh([middle, first, second])
    assert dial(first, second) == dial(second, first) == "ok"


def test_each_leaf_of_a_star_reports_on_all_others():
    world = World(61)
    hub, leaves = star(world, 20)
    world.run(60.0)
    for leaf in leaves:
        assert leaf.peers() == {hub.nodeid}
        assert {dial(leaf, other) for other in leaves if other is not leaf} == {"timeout"}
        assert dial(leaf, hub) == "ok"


def test_a_node_that_only_the_article_made_is_probed_too():
    world = World(62)
    middle = world.node(1, ping_interval=5)
    first, bare = world.node(2, ping_interval=5), world.node(3, bare=True, bootstrap=[middle.address])
    world.broken = {first, bare}
    world.run(20.0)
    assert dial(first, bare) == "timeout"


def test_the_rows_of_nodes_that_only_one_peer_has_met_never_grow_old():
    """That peer is asked: all others have only what they asked it for themselves."""
    world = World(66)
    between, *near = [world.node(number, ping_interval=1, probe_interval=1) for number in range(1, 9)]
    far = [
        world.node(number, bootstrap=[between.address], ping_interval=1, probe_interval=1)
        for number in (9, 10)
    ]
    world.one_way = {pair for one in near for other in far for pair in ((one, other), (other, one))}
    world.run(30.0)
    for _ in range(60):
        world.run(1.0)
        for one in near + far:
            assert len(View(one.survey.exchange.matrix(), one.survey.exchange.stale_after()).current) == 10


def test_what_one_can_dial_and_is_no_peer_of_is_reported_as_well():
    """Where seats are few nobody is connected to everyone."""
    world = World(63)
    nodes = [world.node(number, max_peers=4, ping_interval=5) for number in range(1, 13)]
    world.run(150.0)
    assert not mesh(nodes)
    for node in nodes:
        assert {dial(node, other) for other in nodes if other is not node} == {"ok"}
        assert not [fields for told, fields in node.told if told == "reach"]


@pytest.mark.parametrize("interval", [5, 60])
def test_who_leaves_on_purpose_has_failed_for_nobody_who_never_met_it(interval):
    """The goodbye is for its peers.  Their rows say so a little later, through several hands."""
    world = World(64)
    nodes = [
        world.node(number, ping_interval=interval, probe_interval=interval, max_peers=4)
        for number in range(1, 10)
    ]
    world.run(200.0 + 10 * interval)
    leaver = nodes.pop(4)
    others = [node for node in nodes if leaver.nodeid not in node.peers()]
    assert len(others) >= 4
    assert {dial(node, leaver) for node in others} == {"ok"}
    leaver.overlay.stop()
    for peer in leaver.table.up():
        peer.link.close("stopping")
    leaver.alive = False
    del world.towns[leaver.address]
    world.run(4 * interval)
    assert {dial(node, leaver) for node in others} <= {None, "unknown", "ok"}
    world.run(20 * interval)
    assert {dial(node, leaver) for node in others} == {None}
    assert not [1 for node in others if reported(node, leaver)]


def test_a_node_that_was_lost_and_that_others_still_have_stays_reported():
    """It dialed us and nobody gets through to it, so it was never found."""
    world = World(65)
    hub, (first, second) = star(world, 2, ping_interval=2, ping_timeout=2)
    world.deaf.remove(first)
    world.run(20.0)
    assert mesh([hub, first, second])
    assert dial(first, second) == "timeout"
    world.broken = {first, second}
    world.run(20.0)
    assert first.peers() == {hub.nodeid}
    assert link(first, second)["direction"] == "none"
    assert reported(first, second) == ["timeout"]
    second.crash()
    world.run(20.0)
    assert link(first, second)["direction"] == "none"  # missed for a while


def test_three_hundred_that_a_liar_has_invented_cost_little():
    """It is one of three peers, and names them in its own row and as those of others."""
    world = World(66)
    nodes = [world.node(number, ping_interval=5, ping_timeout=1000) for number in (1, 2)]
    blocked = world.node(3, ping_interval=5, bootstrap=[nodes[0].address])
    world.broken = {nodes[1], blocked}
    liar = raw_link(nodes[1], new_id(), port=6000)
    invented = ids(300)
    fields = {"direction": "outbound", "dial": "ok"}

    def lie(nodeid, names):
        links = [
            dict(fields, nodeid=one, address="10.1.0.%d:6000" % (n % 256)) for n, one in enumerate(names)
        ]
        liar.arrive(encode_links(Links(nodeid, tuple(links)))[:-1])

    lie(liar.peer.nodeid, invented[:256])
    lie(invented[0], invented[256:])
    world.run(60.0)
    assert dial(nodes[1], blocked) == "timeout"
    world.run(130.0)
    dialed = [address for _, address, _ in nodes[1].dials if address.host.startswith("10.1.0.")]
    assert MOST_ALONE // 2 <= len(set(dialed)) <= MOST_ALONE
    assert len(dialed) <= 4 * MOST_ALONE
    assert dial(nodes[1], blocked) == "timeout"
    assert len(nodes[1].survey.own_row().links) == 3 + MOST_ALONE
    liar.end("closed")
    world.run(2.0)
    assert len(nodes[1].survey.own_row().links) == 3  # the liar is missed for a while


@pytest.mark.parametrize("nodes", [2, 3])
def test_a_host_that_nobody_can_dial_is_down_when_it_has_crashed(nodes):
    """It is behind a router, so no dial has ever found it, and there is nowhere to look for it."""
    world = World(67)
    settings = {"ping_interval": 2, "ping_timeout": 2, "probe_interval": 2}
    hub = world.node(1, **settings)
    others = [world.node(n, bootstrap=[hub.address], **settings) for n in range(2, nodes + 1)]
    gone = others[-1]
    world.deaf.add(gone)
    world.run(400.0)
    assert mesh([hub, *others])
    gone.crash()
    for _ in range(30):
        world.run(10.0)
        for node in [hub, *others[:-1]]:
            judged = Judgement(node.survey.exchange.matrix(), node.survey.exchange.stale_after())
            assert not judged.ok
            assert [(v.kind, v.nodes) for v in judged.verdicts] == [("down", (gone.nodeid,))]


@pytest.mark.parametrize("size, dials", [(128, True), (130, False)])
def test_nodes_that_have_not_met_dial_each_other_in_networks_of_up_to_128(size, dials):
    world = World(67)
    node = world.node(1, ping_timeout=1000)
    links = [raw_link(node, new_id(), port=6000, host="10.0.8.%d" % number) for number in range(8)]
    unmet = ids(size - 1 - len(links))
    for number, one in enumerate(links):  # each is connected to the half of them
        named = [
            {"nodeid": other, "direction": "outbound", "address": "10.1.0.1:6000", "dial": "ok"}
            for place, other in enumerate(unmet)
            if (place - number) % len(links) < len(links) // 2
        ]
        one.arrive(encode_links(Links(one.peer.nodeid, tuple(named)))[:-1])
    world.run(30.0)
    assert any(address.host == "10.1.0.1" for _, address, _ in node.dials) == dials
    assert len(node.survey.own_row().links) == (size - 1 if dials else len(links))


def test_32_that_start_together_dial_nobody_more_often_for_it():
    """Those that can meet have met before others are heard of.  Without rows it is 51 dials each."""
    world = World(68)
    nodes = [world.node(1)] + [world.node(n, bootstrap=["10.0.0.1:6000"]) for n in range(2, 33)]
    world.run(30.0)
    assert mesh(nodes)
    assert sum(len(node.dials) for node in nodes) <= 32 * 53
    assert all(link(node, other)["direction"] != "none" for node in nodes for other in nodes if other is not node)
