"""The judgement without a socket: a simulated network, and the rules that need a clock.

The same code that runs a real node runs here on a made-up clock, with dice from one seed and
links that are two Python objects. A failure is repeated by its seed.
"""

import itertools
import json
import random

import pytest

from p2p_plain.common.address import Address
from p2p_plain.monitor.reach import MAX_PROBES
from p2p_plain.node import messages
from p2p_plain.node.address_book import MINE_FOR
from p2p_plain.node.claims import LEISURE
from p2p_plain.node.discovery import SECOND_NEWS_AFTER
from p2p_plain.node.fields import is_nodeid
from p2p_plain.node.peer import Order
from p2p_plain.node.rivals import RIVAL_PATIENCE
from tests.support import new_id
from tests.support.simulation import TICK, SimulatedLink, World, lonely_pair, mesh, raw_link, say

pytestmark = pytest.mark.long  # whole networks in one thread


@pytest.mark.parametrize("seed", range(2))
def test_a_chain_of_twenty_becomes_a_full_mesh_within_two_seconds_and_without_a_flap(seed):
    world = World(seed)
    nodes = [world.node(number) for number in range(1, 21)]
    world.run(2.0)
    assert mesh(nodes)
    world.run(60.0)
    assert mesh(nodes)
    for node in nodes:
        assert (node.count("peer_up"), node.count("peer_down")) == (19, 0)
        assert node.overlay.discovery._dialing == 0


def test_nodes_that_start_together_tell_of_each_other_in_few_lines(monkeypatch):
    """Each is soon asked by all others, and tells a few of all that is new since the last beat."""
    lines = []
    arrive = SimulatedLink.arrive
    monkeypatch.setattr(
        SimulatedLink, "arrive", lambda link, line: lines.append(line) or arrive(link, line)
    )
    world = World(1)
    nodes = [world.node(number, bootstrap=["10.0.0.1:6000"]) for number in range(1, 25)]
    world.run(1.0)
    assert mesh(nodes)
    pairs = len(nodes) * (len(nodes) - 1) / 2
    told = [line for line in lines if b'"addr"' in line]
    # Two answers a connection, and some news; with a line for each piece of it there were twenty.
    assert len(told) < 7 * pairs
    # Two for each connection, and two more where both nodes dialed.
    greeted = [line for line in lines if b'"hello"' in line]
    assert len(greeted) < 2.5 * pairs


@pytest.mark.parametrize("seed", range(4))
def test_where_one_direction_is_blocked_the_other_one_is_dialed_soon(seed):
    """Only one of two newcomers is told of the other, and it may be the one that cannot dial."""
    world = World(seed)
    nodes = [world.node(number, bootstrap=["10.0.0.1:6000"]) for number in range(1, 9)]
    world.one_way = set(itertools.combinations(nodes[1:], 2))
    world.run(SECOND_NEWS_AFTER + 1.0)
    assert mesh(nodes)


@pytest.mark.parametrize("seed", range(3))
def test_who_is_dialed_by_all_tells_all(seed):
    """Before anyone else has dialed the others back."""
    world = World(seed)
    nodes = [world.node(number, bootstrap=["10.0.0.1:6000"]) for number in range(1, 41)]
    world.run(LEISURE[0])
    assert mesh(nodes)
    dialed_back = {node for node in nodes if any(probe for _, _, probe in node.dials)}
    assert dialed_back == {nodes[0]}


@pytest.mark.parametrize("seed", range(3))
def test_started_together_with_the_same_list_they_recognise_themselves_once(seed):
    world = World(seed)
    everyone = ["10.0.0.%d:6000" % number for number in range(1, 9)]
    nodes = [world.node(number, bootstrap=everyone) for number in range(1, 9)]
    world.run(120.0)
    assert mesh(nodes)
    for node in nodes:
        assert (node.count("peer_up"), node.count("peer_down"), node.count("self")) == (7, 0, 1)


def test_a_large_network_becomes_a_graph_of_bounded_degree():
    """A node with half of its seats taken dials no more: there is room for newcomers."""
    world = World(1)
    nodes = [world.node(number, max_peers=16) for number in range(1, 61)]
    world.run(60.0)
    degrees = [len(node.peers()) for node in nodes]
    assert min(degrees) >= 2
    assert max(degrees) <= 16
    # And it is one network: everyone is reachable from the first.
    by_id = {node.nodeid: node for node in nodes}
    seen, front = set(), [nodes[0].nodeid]
    while front:
        nodeid = front.pop()
        if nodeid not in seen:
            seen.add(nodeid)
            front.extend(by_id[nodeid].peers())
    assert len(seen) == len(nodes)


def test_a_broadcast_reaches_everyone_once_however_many_ways_lead_there():
    world = World(1)
    nodes = [world.node(number, max_peers=8) for number in range(1, 31)]
    world.run(30.0)
    nodes[0].overlay.talk.broadcast("to all")
    world.run(1.0)
    assert [node.count("message") for node in nodes] == [0] + [1] * 29


@pytest.mark.parametrize(
    "sizes, apart",
    [
        ((3, 3), 60.0),
        ((3, 3), 1000.0),
        ((2, 2), 1000.0),
        ((1, 1), 1000.0),
        ((1, 5), 1000.0),
        ((2, 4), 100.0),
        ((7, 8), 100.0),
    ],
)
def test_a_partition_is_noticed_on_both_sides_and_heals_within_thirty_seconds(sizes, apart):
    """With default intervals, also when all backoffs have reached their 300 s: noticed within
    ping_interval and ping_timeout, healed within 30 s of the cable's return."""
    world = World(int(apart) + sum(sizes))
    nodes = [world.node(number) for number in range(1, sum(sizes) + 1)]
    world.run(5.0)
    assert mesh(nodes)
    left, right = nodes[: sizes[0]], nodes[sizes[0] :]
    world.cut = set(left)
    world.run(80.0)
    assert mesh(left)
    assert mesh(right)
    world.run(apart)
    world.cut = set()
    world.run(30.0)
    assert mesh(nodes)


def test_a_link_between_two_that_breaks_is_mended_within_thirty_seconds():
    """All others still see both: it is no matter of bootstrap lists."""
    world = World(6)
    nodes = [world.node(number) for number in range(1, 7)]
    world.run(5.0)
    one, other = nodes[4], nodes[5]
    world.broken = {one, other}
    world.run(1000.0)
    assert not mesh(nodes)
    world.broken = set()
    world.run(30.0)
    assert mesh(nodes)


@pytest.mark.parametrize("seed", [1, 3, 5, 7, 8])
def test_each_change_of_whom_one_can_dial_is_told_once(seed):
    """Also when the cable is put back while dials from before are still waiting."""
    world = World(seed)
    nodes = [world.node(number) for number in range(1, 5)]
    world.run(5.0)
    world.cut = {nodes[0]}
    world.run(600.0)
    world.cut = set()
    world.run(70.0)
    for node in nodes:
        changes = [fields for name, fields in node.told if name == "reach"]
        others = nodes[1:] if node is nodes[0] else nodes[:1]
        for other in others:
            mine = [(c["was"], c["dial"]) for c in changes if c["nodeid"] == other.nodeid]
            assert mine == [("ok", "timeout"), ("timeout", "ok")]
        assert len(changes) == 2 * len(others)


def test_a_firewall_that_lets_out_and_not_in_is_told_by_those_it_keeps_out():
    """The pair stays connected: only a probe can tell."""
    world = World(8)
    open_one = world.node(1)
    world.run(1.0)
    behind = world.node(2)
    world.deaf = {behind}
    world.run(300.0)
    assert mesh([open_one, behind])
    (told,) = [fields for name, fields in open_one.told if name == "reach"]
    assert (told["nodeid"], told["dial"], told["was"]) == (behind.nodeid, "timeout", "unknown")
    assert behind.count("reach") == 0
    (seen,) = open_one.survey.peers()
    assert (seen.dial, seen.dial_ms) == ("timeout", None)
    (seen,) = behind.survey.peers()
    assert seen.dial == "ok"


def test_a_restarted_node_is_not_looked_for_under_its_old_name():
    world = World(9)
    nodes = [world.node(number) for number in range(1, 5)]
    world.run(5.0)
    old = nodes.pop()
    old.crash()
    world.run(100.0)
    nodes.append(world.node(4))
    world.run(100.0)
    assert mesh(nodes)
    for node in nodes[:3]:
        assert set(node.survey.reach.all()) == node.peers()
        changes = [(f["was"], f["dial"]) for n, f in node.told if n == "reach"]
        assert changes == [("ok", "refused")]


def test_who_has_left_on_purpose_is_not_probed_either():
    world = World(10)
    nodes = [world.node(number) for number in range(1, 4)]
    world.run(5.0)
    leaver = nodes.pop()
    leaver.overlay.stop()
    for peer in leaver.table.up():
        peer.link.close("stopping")
    leaver.alive = False
    world.run(1.0)
    began = world.now
    world.run(600.0)
    for node in nodes:
        assert not [at for at, address, _ in node.dials if at > began and address == leaver.address]
        assert node.count("reach") == 0


def test_a_crashed_node_is_redialed_with_backoff_and_found_when_it_is_back():
    world = World(3)
    nodes = [world.node(number) for number in range(1, 4)]
    world.run(5.0)
    victim = nodes.pop(0)
    victim.crash()
    began = world.now
    world.run(100.0)
    tries = [at - began for at, _, probe in nodes[1].dials if at > began and not probe]
    gaps = [later - earlier for earlier, later in zip(tries, tries[1:])]
    assert 4 <= len(tries) <= 9
    assert all(later > earlier for earlier, later in zip(gaps, gaps[1:]))
    # For whom it is a bootstrap address, and hardly anyone else is left, it is tried more often.
    tries = [at for at, _, probe in nodes[0].dials if at > began and not probe]
    assert all(5 < later - earlier < 15 for earlier, later in zip(tries[3:], tries[4:]))
    nodes.append(world.node(1))  # the same address, another nodeid
    world.run(130.0)
    assert mesh(nodes)


def test_a_planned_leave_is_not_redialed():
    world = World(4)
    nodes = [world.node(number, bootstrap=["10.0.0.1:6000"]) for number in range(1, 5)]
    world.run(5.0)
    leaver = nodes.pop()
    leaver.overlay.stop()
    for peer in leaver.table.up():
        peer.link.close("stopping")
    leaver.alive = False
    began = world.now
    world.run(600.0)
    for node in nodes:
        assert [a for at, a, _ in node.dials if at > began and a == leaver.address] == []
        (down,) = [fields for name, fields in node.told if name == "peer_down"]
        assert down["reason"] == "stopping"


def test_a_node_that_stops_dials_nobody_and_lets_nobody_in():
    world = World(13)
    node = world.node(2)
    world.run(3.0)
    node.overlay.stop()
    dials = len(node.dials)
    world.run(300.0)
    assert len(node.dials) == dials
    late = raw_link(node, new_id())
    assert late.said[-1]["reason"] == "stopping"
    assert node.count("peer_up") == 0


# -- time --------------------------------------------------------------------------------


def test_our_own_absence_is_nobodys_timeout():
    """The Timer did not come for five minutes: the laptop slept, the peer did not."""
    world, first, _ = lonely_pair()
    first.table.ping_sent(next(iter(first.table.up())), world.now, world.now + 60, 20.0)
    first.overlay.lateness.awake_clock = 19.0
    world.now += 300.0
    first.overlay.tick()
    assert first.count("peer_down") == 0
    world.run(30.0)  # but it is not endless: without a pong it does time out
    assert first.count("peer_down") == 1


def test_a_peer_that_stops_answering_is_dropped_after_the_timeout_and_not_before():
    world, first, second = lonely_pair()
    second.alive = False  # hangs: the connection stands, nobody answers
    world.run(60.0 * 1.1 + 19.0)
    dropped = [fields for name, fields in first.told if name == "peer_down"]
    world.run(10.0)
    (down,) = [fields for name, fields in first.told if name == "peer_down"]
    assert down["reason"] == "timeout"
    assert dropped == [] or dropped == [down]
    assert 20.0 < down["up_seconds"] < 95.0


def test_who_is_left_unread_on_purpose_is_not_blamed_for_silence():
    world, first, second = lonely_pair(ping_interval=5, ping_timeout=2)
    (peer,) = first.table.up()
    peer.link.unread_until = first.overlay.lateness.awake_clock + 30.0
    second.alive = False
    world.run(20.0)
    world.stand_still(60.0)  # neither is our own absence in the middle of it
    world.run(10.0)
    assert first.count("peer_down") == 0
    world.run(10.0)
    assert first.count("peer_down") == 1


def test_addresses_are_not_asked_for_in_one_breath_with_a_ping():
    """The two would arrive together, and nobody would know for how long the ping was held."""
    world, first, _ = lonely_pair(ping_interval=1)
    (peer,) = first.table.up()
    asked = 0
    for _ in range(600):
        before = len(peer.link.said)
        world.run(0.1)
        said = [line["msgtype"] for line in peer.link.said[before:]]
        assert not {"ping", "getaddr"} <= set(said)
        asked += said.count("getaddr")
    assert asked >= 45


def test_nobody_can_say_goodbye_for_somebody_who_is_missing():
    world = World(31)
    nodes = [world.node(number) for number in range(1, 4)]
    world.run(5.0)
    victim = nodes.pop()
    victim.crash()
    world.run(20.0)
    link = SimulatedLink(nodes[0], Address("10.0.0.66", 40000), nodes[0].address)
    link.other = SimulatedLink(nodes[0], nodes[0].address, Address("10.0.0.66", 40000))
    link.other.other, link.other.open = link, False
    say(link, msgtype="hello", nodeid=victim.nodeid)
    say(link, msgtype="bye", reason="stopping")
    began = world.now
    world.run(60.0)
    assert [at for at, address, _ in nodes[0].dials if at > began and address == victim.address]


def test_who_has_a_new_nodeid_at_each_hello_is_one_peer_and_not_many():
    """Otherwise a single address could take half of all seats."""
    world = World(32)
    node = world.node(1, probe_interval=5)
    dialed = node.dial
    hydra = Address("10.0.7.1", 6000)

    def dial(order):
        if order.address != hydra:
            dialed(order)
            return
        node.dials.append((world.now, hydra, order.probe))
        link = SimulatedLink(node, hydra, node.address, order)
        link.other = SimulatedLink(node, node.address, hydra)
        link.other.other, link.other.open = link, False
        world.later(0.01, link.arrive, json.dumps({"msgtype": "hello", "nodeid": new_id()}).encode())
        world.later(0.02, link.arrive, messages.PONG[:-1])

    node.overlay.discovery._dial = dial
    raw_link(node, new_id())
    node.overlay.dial(hydra)
    world.run(15.0)
    for number in range(30):  # any traffic makes the book look for what is due
        say(raw_link(node, new_id()), msgtype="addr", peers=["10.0.9.%d:6000" % (number + 1)])
        world.run(5.0)
    outbound = [peer for peer in node.table.up() if peer.link.target == hydra]
    assert len(outbound) <= 1


# -- small rules --------------------------------------------------------------------------------


def test_one_peer_cannot_make_us_knock_at_a_whole_street():
    """Addresses that a peer claims for itself are probed, a few and once."""
    world = World(5)
    node = world.node(1)
    nodeid = new_id()
    link = raw_link(node, nodeid)
    for number in range(50):
        say(link, msgtype="addr", peers=[["10.0.1.%d:6000" % number, nodeid]])
        say(link, msgtype="addr", peers=["10.0.2.%d:6000" % number])
    world.run(50.0)
    assert len(node.dials) == 4
    assert all(probe for _, _, probe in node.dials)


VICTIM = "10.0.8.1"


@pytest.mark.parametrize("claims", [False, True])
def test_a_crowd_cannot_have_us_scan_the_ports_of_a_host(claims):
    """Neither by hearsay nor by claims: one dial a second, and none when the crowd has gone."""
    world = World(8)
    node = world.node(1)
    links = []
    for number in range(20):
        liar = new_id()
        links.append(raw_link(node, liar, host="10.0.7.%d" % number))
        for port in range(4):
            where = "%s:%d" % (VICTIM, 5000 + 10 * number + port)
            say(links[-1], msgtype="addr", peers=[[where, liar if claims else new_id()]])
    began = world.now
    world.run(10.0)
    dials = [at for at, address, _ in node.dials if address.host == VICTIM]
    assert 5 <= len(dials) <= 11
    for link in links:
        link.end("closed")
    world.run(20.0)
    assert len([at for at, address, _ in node.dials if address.host == VICTIM]) <= len(dials) + 1
    assert began < dials[-1]


@pytest.mark.parametrize(
    "named, host, believed",
    [
        ("10.0.8.1:22", "10.0.0.77", False),
        ("10.0.8.1:1024", "10.0.0.77", True),
        ("10.0.0.77:443", "10.0.0.77", True),
        ("169.254.169.254:6000", "10.0.0.77", False),
        ("169.254.3.4:6000", "169.254.1.2", True),
        ("127.0.0.1:7000", "10.0.0.77", False),
        ("127.0.0.1:7000", "127.0.0.1", True),
        ("[fe80::1]:6000", "fe80::2%eth0", False),
    ],
)
@pytest.mark.parametrize("claimed", [False, True])
def test_what_a_stranger_may_have_us_dial(named, host, believed, claimed):
    world = World(9)
    node = world.node(1)
    liar = new_id()
    link = raw_link(node, liar, host=host)
    say(link, msgtype="addr", peers=[[named, liar if claimed else new_id()]])
    world.run(5.0)
    assert bool(node.dials) is believed


def test_a_node_on_a_well_known_port_believes_in_others():
    world = World(9)
    node = world.node(1, port=443)
    say(raw_link(node, new_id()), msgtype="addr", peers=[["10.0.8.1:80", new_id()]])
    assert node.dials
    user = world.node(2, bootstrap=["10.0.8.1:80"])
    assert user.dials


def test_silent_addresses_of_forty_liars_leave_a_newcomers_claim_unproven_for_seconds():
    """Not for a minute and more, whichever addresses the liars connect from."""
    world = World(7)
    node = world.node(1, max_peers=500)
    honest = world.node(2, bootstrap=[])
    world.deaf = {world.node(number, bootstrap=[], port=7000) for number in range(100, 105)}
    for _ in range(40):
        liar = new_id()
        link = raw_link(node, liar, host=honest.address.host)
        for silent in range(100, 105):
            say(link, msgtype="addr", peers=[["10.0.0.%d:7000" % silent, liar]])
    world.run(1.0)
    raw_link(node, honest.nodeid, port=6000, host=honest.address.host)
    began = world.now
    while not node.book.proven([honest.nodeid]):
        world.run(TICK)
        assert world.now - began < 15.0


def test_a_crowd_of_strangers_neither_keeps_out_nor_hides_the_nodes_that_we_know():
    """They take no more than seven eighths of the seats, whatever they say and however many they are."""
    world = World(6)
    nodes = [world.node(number, max_peers=32) for number in range(1, 4)]
    world.run(5.0)
    victim, friend = nodes[0], nodes[2]
    for link in [peer.link for peer in victim.table.up()]:
        link.end("closed")
    crowd = [raw_link(victim, new_id(), host="10.0.4.%d" % number) for number in range(1, 101)]
    assert len([link for link in crowd if link.open]) == 28
    world.run(10.0)
    assert friend.nodeid in victim.peers()
    back = raw_link(victim, new_id(), port=6000, host=friend.address.host)
    assert back.open
    assert not raw_link(victim, new_id(), port=6001, host=friend.address.host).open


def test_probes_leave_room_for_dials():
    """A hundred peers behind firewalls: their addresses never answer, and nobody waits for it."""
    world = World(14)
    node = world.node(1, max_peers=500, probe_interval=5)
    node.connect = lambda *args: None  # swallowed: neither an answer nor a failure
    for number in range(1, 101):
        raw_link(node, new_id(), port=6000, host="10.0.4.%d" % number)
    world.run(60.0)
    probes = [address for _, address, probe in node.dials if probe]
    assert len(probes) == len(set(probes)) <= MAX_PROBES
    say(raw_link(node, new_id()), msgtype="addr", peers=[["10.0.5.1:6000", new_id()]])
    assert node.dials[-1][1:] == (Address("10.0.5.1", 6000), False)


def test_every_claimed_address_has_its_turn_when_probes_fail():
    world = World(15)
    node = world.node(1, max_peers=500)
    for number in range(1, 41):
        raw_link(node, new_id(), port=6000, host="10.0.4.%d" % number)
    world.run(5.0)
    assert len({address for _, address, probe in node.dials if probe}) == 40
    assert not node.survey.reach._under_way


def test_a_name_that_leads_to_ourselves_and_to_others_stays_worth_dialing():
    world = World(16)
    node = world.node(2, bootstrap=["cluster.test:6000"])
    order = Order(Address("cluster.test", 6000))
    for is_only_one in (False, True):
        link = SimulatedLink(node, node.address, Address("10.0.0.2", 40000), order)
        link.other = SimulatedLink(node, node.address, node.address)
        come_back(node, link)
        assert node.count("self") == 1
        assert node.book.knows_as_mine(node.address)
        # The connector dials what is known as ours only if the name has no other address.
        assert node.book.knows_as_mine(Address("cluster.test", 6000)) == is_only_one
    assert node.count("refused") == 0


def test_loopback_addresses_are_believed_only_from_loopback():
    world = World(6)
    node = world.node(1)
    far, near = raw_link(node, new_id()), raw_link(node, new_id(), host="127.0.0.1")
    say(far, msgtype="addr", peers=[["127.0.0.1:7000", new_id()]])
    assert node.dials == []
    say(near, msgtype="addr", peers=[["127.0.0.1:7000", new_id()]])
    assert [str(address) for _, address, _ in node.dials] == ["127.0.0.1:7000"]


def test_loopback_addresses_are_passed_on_only_to_loopback():
    world = World(7)
    node = world.node(1)
    far, near = raw_link(node, new_id()), raw_link(node, new_id(), host="127.0.0.1")
    for link in (far, near):
        where = Address(link.remote.host, 7000)
        say(link, msgtype="addr", peers=[str(where)])
        node.book.note_found(where, link.peer.nodeid, world.now)
    asker = raw_link(node, new_id(), host="127.0.0.2")
    say(asker, msgtype="getaddr")
    assert sorted(a for a, _ in asker.said[-1]["peers"]) == ["10.0.0.77:7000", "127.0.0.1:7000"]
    say(far, msgtype="getaddr")
    assert far.said[-1]["peers"] == []


def test_an_addr_has_a_hundred_entries_at_the_most_drawn_at_random():
    world = World(8)
    node = world.node(1, max_peers=1000)
    for number in range(1, 151):
        link = raw_link(node, new_id(), port=6000, host="10.0.3.%d" % number)
        node.book.note_found(Address(link.remote.host, 6000), link.peer.nodeid, world.now)
    asker = raw_link(node, new_id())
    draws = []
    for _ in range(2):
        say(asker, msgtype="getaddr")
        draws.append([address for address, _ in asker.said[-1]["peers"]])
    assert [len(draw) for draw in draws] == [100, 100]
    assert set(draws[0]) != set(draws[1])


def test_an_address_grows_stale_when_its_node_has_not_answered_for_240_s():
    world = World(9)
    node = world.node(1, ping_interval=1000, ping_timeout=1000)
    link = raw_link(node, new_id(), port=6000)
    node.book.note_found(Address("10.0.0.77", 6000), link.peer.nodeid, world.now)
    asker = raw_link(node, new_id())
    world.run(239.0)
    say(asker, msgtype="getaddr")
    assert len(asker.said[-1]["peers"]) == 1
    world.run(2.0)
    say(asker, msgtype="getaddr")
    assert asker.said[-1]["peers"] == []


def test_a_duplicate_makes_us_ask_whether_the_old_connection_still_lives():
    """It may be half dead: the other end crashed, or its cable was out, and it redials."""
    world = World(10)
    node = world.node(1)
    nodeid = new_id()
    old = raw_link(node, nodeid)
    world.run(3.0)
    old.arrive(messages.PONG[:-1])
    before = len([m for m in old.said if m["msgtype"] == "ping"])
    again = raw_link(node, nodeid)
    world.run(TICK)
    assert len([m for m in old.said if m["msgtype"] == "ping"]) == before + 1
    world.run(RIVAL_PATIENCE)
    assert again.said[-1]["reason"] == "duplicate"
    assert node.count("conflict") == 0


def test_whom_we_dial_in_vain_is_told_when_the_reason_is_new():
    world = World(12)
    node = world.node(2)
    world.run(300.0)
    assert len(node.dials) > 5
    assert node.count("refused") == 1


def test_a_uuid_is_one_and_comes_from_the_dice():
    made = {messages.new_uuid(random.Random(seed)) for seed in range(200)}
    assert len(made) == 200
    assert all(is_nodeid(text) for text in made)
    assert all(text[14] == "4" and text[19] in "89ab" for text in made)
    assert messages.new_uuid(random.Random(7)) == messages.new_uuid(random.Random(7))


def test_what_turned_out_to_be_ourselves_is_not_probed_again_either():
    """Someone on our own machine says that it listens where we do."""
    world = World(17)
    node = world.node(1, probe_interval=1)
    raw_link(node, new_id(), port=6000, host="10.0.0.1")
    world.run(20.0)
    assert len(node.dials) == 1
    assert node.count("self") == 0  # and that is between us and the prober


def test_a_newcomer_is_dialed_back_at_once_only_by_who_has_dialed_nobody():
    """Where many start together, everyone would dial everyone twice."""
    world, first, second = lonely_pair(19, probe_interval=600)
    began = world.now
    for node in (first, second):
        for number in range(3):
            raw_link(node, new_id(), port=6000, host="10.0.0.%d" % (50 + number))
    world.run(5.0)
    of_first, of_second = (
        [at - began for at, _, probe in node.dials if probe and at >= began]
        for node in (first, second)
    )
    assert of_first == [0.0] * 3
    assert len(of_second) == 3
    assert min(of_second) >= 0.5
    assert max(of_second) <= 3.0 + 2 * TICK


def test_a_claimed_address_is_probed_once_an_interval():
    world = World(18)
    node = world.node(1, probe_interval=10)
    raw_link(node, new_id(), port=6000)
    world.run(9.0)
    assert len(node.dials) == 1
    world.run(12.0)
    assert len(node.dials) == 3


def test_whoever_asks_again_is_told_again():
    """A person who dials wants an answer, also if it is the same as before."""
    world = World(19)
    node = world.node(1)
    for _ in range(3):
        node.overlay.dial(Address("10.0.9.9", 6000))
        world.run(0.5)
    assert node.count("refused") == 3
    for _ in range(3):
        node.overlay.dial(node.address)
        world.run(0.5)
    assert node.count("self") == 3


# -- one's own addresses, and whatever answers elsewhere --------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_nodes_that_know_only_a_load_balancer_find_each_other(seed):
    """It leads each of them to itself, sooner or later to the others."""
    world = World(seed)
    balancer = Address("10.0.9.9", 6000)
    behind = world.balancers[balancer] = []
    nodes = []
    for number in range(1, 5):
        nodes.append(world.node(number, bootstrap=[str(balancer)]))
        behind.append(nodes[-1])
        world.run(10.0)
    world.run(60.0)
    assert mesh(nodes)
    assert nodes[0].count("self") == 1  # while it was the only one there


def test_a_lone_node_says_once_which_address_is_its_own_and_tries_it_again():
    world = World(3)
    node = world.node(1, bootstrap=["10.0.0.1:6000"])
    world.run(3600.0)
    assert node.count("self") == 1
    assert 300 <= len(node.dials) <= 500  # every 8 to 12 s
    assert node.count("refused") == 0


def test_an_address_of_our_own_that_leads_elsewhere_is_dialed_again_in_time():
    """In a large network too, and to an address that only a peer has named."""
    world = World(4)
    nodes = [world.node(number, bootstrap=["10.0.0.1:6000"]) for number in range(1, 5)]
    balancer = Address("10.0.9.9", 6000)
    world.balancers[balancer] = [nodes[0]]
    world.run(5.0)
    nodes[0].overlay.dial(balancer)
    world.run(5.0)
    assert nodes[0].count("self") == 2  # that one, and its bootstrap list
    assert nodes[0].book.knows_as_mine(balancer)
    far = world.node(9, bootstrap=[])  # nobody else leads to it
    world.balancers[balancer] = [far]
    world.run(1.5 * MINE_FOR)
    assert mesh(nodes + [far])
    assert not nodes[0].book.knows_as_mine(balancer)


def come_back(node, link):
    """The node's dial leads to itself: it accepts, and answers with its hello."""
    accepted = SimulatedLink(node, Address("10.0.0.99", 40000), link.remote)
    accepted.other = link
    link.send(node.overlay.first_line(link))
    accepted.arrive(json.dumps(link.said[-1]).encode())
    link.arrive(json.dumps(accepted.said[0]).encode())


def dialed_link(node, nodeid, host="10.0.0.55"):
    """A link that a node has dialed to find ``nodeid``; our hello is said."""
    order = Order(Address(host, 6000), False, nodeid)
    link = SimulatedLink(node, order.address, Address("10.0.0.99", 40000), order)
    link.other = SimulatedLink(node, node.address, order.address)
    link.other.other, link.other.open = link, False
    link.send(node.overlay.first_line(link))
    return link


def test_only_the_hello_with_our_own_token_is_an_echo():
    world = World(5)
    node = world.node(1)
    one, other = (dialed_link(node, new_id(), host) for host in ("10.0.0.55", "10.0.0.56"))
    assert one.said[0]["token"] != other.said[0]["token"]
    come_back(node, one)
    assert node.events("self") == [{"address": "10.0.0.55:6000"}]
    other.arrive(json.dumps(other.said[0]).encode())
    (refused,) = [fields for name, fields in node.told if name == "refused"]
    assert refused == {"address": "10.0.0.56:6000", "reason": "protocol", "why": "echo"}
    assert node.book.knows_as_mine(one.target)
    assert not node.book.knows_as_mine(other.target)


def outcome_of_bye(connected):
    """The last outcome for a proven node whose address says bye and no hello."""
    _, first, second = lonely_pair(1)
    if not connected:
        second.alive = False
        first.table.get(second.nodeid).link.end("closed")
    link = dialed_link(first, second.nodeid, second.address.host)
    link.is_our_probe = True
    say(link, msgtype="bye", reason="full")
    return first.survey.reach.all()[second.nodeid]


def test_a_bye_without_hello_proves_nothing_while_a_connection_stands():
    assert outcome_of_bye(connected=True).dial == "ok"


def test_a_bye_without_hello_is_a_failure_once_the_connection_is_lost():
    found = outcome_of_bye(connected=False)
    assert (found.dial, found.why) == ("reset", "turned-away")


def test_a_peer_that_answers_no_ping_is_reported_at_once():
    world, first, second = lonely_pair(2, ping_interval=5.0, ping_timeout=2.0, probe_interval=600.0)
    world.cut.add(second)
    until = world.now + 8.0
    while first.table.get(second.nodeid) and world.now < until:
        world.run(TICK)
    (link,) = first.survey.own_row().links
    assert (link["direction"], link["dial"], link["why"]) == ("none", "timeout", "no-pong")


def test_a_peer_that_has_dropped_us_is_not_said_to_be_silent():
    world, first, second = lonely_pair(3)
    second.table.get(first.nodeid).link.close("timeout")
    while first.table.get(second.nodeid):
        world.run(0.001)
    assert first.survey.reach.all()[second.nodeid].dial == "ok"
