"""Two connections that say one nodeid: nobody takes a peer's place, and two who claim it are reported."""

import json
import socket
import threading
from types import SimpleNamespace

import pytest

from p2p_plain.common.address import Address
from p2p_plain.common.errors import Refused
from p2p_plain.node import messages
from p2p_plain.node.messages import Ping
from p2p_plain.node.rivals import PENDING, Question
from tests.support import (
    LARGE_ID, PATIENCE, SMALL_ID, RawListener, RawPeer, new_id, wait_until,
)
from tests.support.simulation import TICK, SimulatedLink, World, lonely_pair, mesh, raw_link, say

THIEF = Address("10.0.0.66", 6000)


def host_of(node, nodeid):
    """The host at the other end of the connection with that peer."""
    peer = node.table.get(nodeid)
    return None if peer is None else peer.link.remote.host


# -- nobody takes a peer's place --------------------------------------------------------------


@pytest.mark.parametrize("thief_dials", [True, False])
@pytest.mark.parametrize("nodeid", [SMALL_ID, LARGE_ID])
@pytest.mark.parametrize("honest_dialed", [True, False])
def test_a_peer_that_has_answered_a_ping_keeps_its_place(honest_dialed, nodeid, thief_dials):
    """Also in its first 10 s, whoever dials whom, and whichever nodeid is smaller."""
    world = World(1)
    node = world.node(1)
    honest = world.node(2, nodeid=nodeid, bootstrap=["10.0.0.1:6000"] if honest_dialed else [])
    if not honest_dialed:
        node.overlay.dial(honest.address)
    world.run(1.0)
    assert mesh([node, honest])
    thief = world.node(66, nodeid=nodeid, bootstrap=[])
    if thief_dials:
        thief.overlay.dial(node.address)
    else:
        node.overlay.dial(thief.address)
    world.run(4.0)
    assert host_of(node, nodeid) == honest.address.host
    assert (node.count("peer_up"), node.count("peer_down"), thief.count("peer_up")) == (1, 0, 0)
    (conflict,) = node.events("conflict")
    assert conflict["nodeid"] == nodeid
    assert (conflict["address"], conflict["other"]) == ("10.0.0.2:6000", str(THIEF))


@pytest.mark.parametrize("version", [None, 1])
def test_a_thief_that_answers_like_an_older_program_is_reported_too(version):
    """It came first, and says no token.  So the owner is kept out, and not for ever without notice."""
    world = World(2)
    node = world.node(1)
    fields = {} if version is None else {"version": version}
    thief = raw_link(node, SMALL_ID, host=THIEF.host, **fields)
    keep_answering(world, thief)
    world.run(1.0)
    owner = world.node(2, nodeid=SMALL_ID)
    world.run(3.0)
    assert host_of(node, SMALL_ID) == THIEF.host
    (conflict,) = node.events("conflict")
    assert (conflict["address"], conflict["other"]) == ("10.0.0.66:40000", "10.0.0.2:6000")
    world.run(1500.0)
    assert 2 <= node.count("conflict") <= 3
    (refused,) = owner.events("refused")
    assert refused == {"address": "10.0.0.1:6000", "reason": "duplicate"}


def keep_answering(world, link):
    """Have the deaf end of a raw link answer pings."""
    link.arrive(messages.PONG[:-1])
    world.later(TICK, keep_answering, world, link)


def test_a_rival_that_says_nothing_is_sent_away_and_reported():
    world, first, second = lonely_pair()
    rival = raw_link(first, second.nodeid, host=THIEF.host)
    say(rival, msgtype="ping")
    say(rival, msgtype="getaddr")
    say(rival, msgtype="getlinks")
    world.run(1.0)
    assert [line["msgtype"] for line in rival.said] == ["hello", "bye"]
    assert rival.said[-1]["reason"] == "duplicate"
    assert first.count("conflict") == 1


def test_a_conflict_is_reported_seldom_and_counted_each_time():
    world, first, second = lonely_pair()
    for number in range(10):
        raw_link(first, second.nodeid, host="10.0.9.%d" % number)
        world.run(5.0)
    assert first.count("conflict") == 1
    assert first.overlay.membership.rivals.conflicts() == 10
    world.run(60.0)
    raw_link(first, second.nodeid, host="10.0.9.99")
    world.run(5.0)
    assert first.count("conflict") == 2


def test_conflicts_about_many_nodes_are_reported_a_few_at_a_time():
    world = World(1)
    node = world.node(1)
    peers = [world.node(number, bootstrap=["10.0.0.1:6000"]) for number in range(2, 14)]
    world.run(5.0)
    for peer in peers:
        raw_link(node, peer.nodeid, host=THIEF.host)
    world.run(5.0)
    assert node.count("conflict") == 8
    assert node.overlay.membership.rivals.conflicts() == 12


def test_a_crowd_of_rivals_is_refused_at_once():
    """Only some are asked about."""
    world, first, second = lonely_pair()
    crowd = [raw_link(first, second.nodeid, host="10.0.9.%d" % number) for number in range(20)]
    assert len([link for link in crowd if link.open]) == 8
    world.run(10 * TICK)
    assert not any(link.open for link in crowd)
    assert host_of(first, second.nodeid) == second.address.host


def test_a_machine_that_was_resumed_twice_from_one_snapshot_is_reported():
    """By the nodes that both dial, and by both when one dials the other."""
    world = World(3)
    node = world.node(1)
    twins = [world.node(number, nodeid=SMALL_ID, bootstrap=["10.0.0.1:6000"]) for number in (2, 3)]
    world.run(5.0)
    (conflict,) = node.events("conflict")
    assert {conflict["address"], conflict["other"]} == {"10.0.0.2:6000", "10.0.0.3:6000"}
    twins[0].overlay.dial(twins[1].address)
    world.run(1.0)
    (conflict,) = twins[0].events("conflict")
    assert (conflict["nodeid"], conflict["other"]) == (SMALL_ID, "10.0.0.3:6000")
    (conflict,) = twins[1].events("conflict")
    assert (conflict["address"], conflict["other"]) == ("10.0.0.3:6000", "10.0.0.2:6000")
    assert twins[0].count("self") == 0
    assert not twins[0].book.knows_as_mine(twins[1].address)


# -- what is harmless --------------------------------------------------------------------------


@pytest.mark.parametrize("old", ["", "dialer", "dialed"])
@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_a_node_with_two_names_of_another_is_no_conflict(seed, hosts, old):
    """Neither does a node of the last version look like one."""
    world = World(seed)
    first = world.node(1, bootstrap=[])
    names = ["10.0.0.1:6000", "10.0.%d.1:6001" % (hosts - 1)]
    for name in names:
        world.towns[Address(name[:-5], int(name[-4:]))] = first
    second = world.node(2, bootstrap=names)
    if old:
        grow_old(second if old == "dialer" else first)
    world.run(300.0)
    assert mesh([first, second])
    for node in (first, second):
        assert (node.count("peer_up"), node.count("peer_down"), node.count("conflict")) == (1, 0, 0)
        assert node.count("refused") == 0
    if old != "dialer":
        assert len([address for _, address, probe in second.dials if not probe]) <= 3


def grow_old(node):
    """Have it hang up on a second connection at once, and say nothing of tokens."""

    def refuse(link, hello, holder, now):
        raise Refused("duplicate")

    receive = node.overlay.receive

    def receive_plainly(link, message):
        return receive(link, message._replace(token=None) if isinstance(message, Ping) else message)

    node.overlay.membership._ask_about = refuse
    node.overlay.receive = receive_plainly


def test_a_question_may_arrive_before_the_hello_that_it_is_about(monkeypatch):
    """The two connections are of different speed."""
    world, first, second = lonely_pair(3)
    world.towns[Address("10.0.9.1", 6000)] = first
    arrive = SimulatedLink.arrive

    def arrive_late(link, line):
        late = link.node is second and link.target == Address("10.0.9.1", 6000)
        world.later(0.5 if late else 0.0, arrive, link, line)

    monkeypatch.setattr(SimulatedLink, "arrive", arrive_late)
    second.overlay.dial(Address("10.0.9.1", 6000))
    world.run(5.0)
    assert first.count("conflict") == second.count("conflict") == 0


@pytest.mark.parametrize("offset", [0.0, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_a_tie_between_nodes_with_two_addresses_is_decided_without_a_flap(seed, offset):
    """For one round trip only one of them knows that a ping was answered."""
    world = World(seed)
    one, other = nodes = [world.node(number, bootstrap=[]) for number in (1, 2)]
    for node in nodes:  # each calls from another address than the one where it is dialed
        node.calls_from = "10.0.9.%s" % node.address.host[-1]
    if seed % 2:
        one, other = other, one
    one.overlay.dial(other.address)
    world.run(offset)
    other.overlay.dial(one.address)
    world.run(30.0)
    assert mesh(nodes)
    for node in nodes:
        assert (node.count("peer_up"), node.count("peer_down"), node.count("conflict")) == (1, 0, 0)
    links = [node.table.get(node_.nodeid).link for node, node_ in ((one, other), (other, one))]
    assert links[0].other is links[1]


@pytest.mark.parametrize("roams", [False, True])
def test_a_node_that_has_lost_its_connection_is_let_in_once_the_old_one_is_dead(roams):
    """We have not noticed the loss.  It may come back from another address, and is no conflict."""
    world, first, second = lonely_pair(1, ping_timeout=5.0)
    if roams:
        second.calls_from = "10.0.9.9"
    for node in (first, second):
        (peer,) = node.table.up()
        if node is second:
            peer.link.reset()  # nobody tells the other end
    world.run(20.0)
    assert mesh([first, second])
    assert host_of(first, second.nodeid) in ("10.0.9.9", "10.0.0.2")
    for node in (first, second):
        assert (node.count("conflict"), node.count("refused")) == (0, 0)


# -- addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bare", [True, False])
def test_newcomers_do_not_hear_of_a_listener_that_says_the_nodeid_of_a_peer(bare):
    """A stranger names it, alone or among others.  The honest node is connected."""
    world = World(4)
    hub, honest = world.node(1), world.node(2)
    world.run(5.0)
    liar = raw_link(hub, new_id(), host=THIEF.host)
    world.node(66, nodeid=honest.nodeid, bootstrap=[])
    say(liar, msgtype="addr", peers=[str(THIEF)] + ([] if bare else ["10.0.0.99:6000"]))
    world.run(5.0)
    assert THIEF in [address for _, address, _ in hub.dials]
    newcomers = [world.node(number, bootstrap=["10.0.0.1:6000"]) for number in range(3, 9)]
    world.run(10.0)
    assert [host_of(node, honest.nodeid) for node in newcomers] == [honest.address.host] * 6
    assert THIEF not in [kept.address for kept in hub.book.kept(world.now).proven]
    (conflict,) = hub.events("conflict")
    assert (conflict["nodeid"], conflict["other"]) == (honest.nodeid, str(THIEF))


def test_a_second_address_is_advertised_once_its_node_says_that_it_is_there():
    world = World(5)
    hub, second = world.node(1), world.node(2)
    other = Address("10.0.9.2", 6000)
    world.towns[other] = second
    world.run(5.0)
    hub.overlay.dial(other)
    world.run(5.0)
    asker = raw_link(hub, new_id())

    def known():
        say(asker, msgtype="getaddr")
        return {place for place, _ in asker.said[-1]["peers"]}

    assert known() == {"10.0.0.2:6000"}
    second.table.get(hub.nodeid).link.send(messages.encode_addr([(other, second.nodeid)]))
    world.run(5.0)
    assert known() == {"10.0.0.2:6000", "10.0.9.2:6000"}
    assert hub.count("conflict") == 0


@pytest.mark.parametrize("seed", range(3))
def test_a_node_that_was_found_behind_a_forwarded_port_can_be_dialed_there_for_good(seed):
    """It does not know that address itself, and later it dials us."""
    world = World(seed)
    forwarded = Address("10.0.9.2", 7000)
    second = world.node(2, bootstrap=["10.0.0.1:6000"])
    world.towns[forwarded] = world.towns.pop(second.address)
    world.run(2.0)
    first = world.node(1, bootstrap=[str(forwarded)])
    world.run(5.0)
    first.table.get(second.nodeid).link.reset()
    second.table.get(first.nodeid).link.reset()
    second.overlay.dial(first.address)
    world.run(0.2)
    assert first.table.get(second.nodeid).link.direction == "inbound"
    world.run(300.0)
    found = first.survey.reach.all()[second.nodeid]
    assert (found.dial, found.address) == ("ok", forwarded)
    assert first.count("reach") == first.count("conflict") == 0


def test_hearsay_stops_no_dial_of_our_own_bootstrap():
    """A stranger says that a connected node lives there."""
    world = World(6)
    node = world.node(2)  # its bootstrap, 10.0.0.1, is down
    others = [world.node(number, bootstrap=["10.0.0.2:6000"]) for number in (3, 4, 5)]
    world.run(5.0)
    liar = raw_link(node, new_id())
    keep_answering(world, liar)
    say(liar, msgtype="addr", peers=[["10.0.0.1:6000", others[0].nodeid]])
    world.run(20.0)
    bootstrap = world.node(1, bootstrap=[])
    world.run(60.0)
    assert mesh([bootstrap, node] + others) or bootstrap.nodeid in node.peers()


def test_the_bootstrap_is_dialed_though_a_stranger_has_its_nodeid():
    """The stranger came while it was away.  It is reported when it is back, and so is the stranger."""
    world = World(7)
    bootstrap = world.node(1, bootstrap=[])
    node = world.node(2)
    others = [world.node(number, bootstrap=["10.0.0.2:6000"]) for number in (3, 4, 5)]
    world.run(30.0)
    bootstrap.crash()
    world.run(5.0)
    thief = raw_link(node, bootstrap.nodeid, host=THIEF.host)
    keep_answering(world, thief)
    world.run(60.0)
    began = world.now
    world.node(1, nodeid=bootstrap.nodeid, bootstrap=[])
    world.run(400.0)
    assert [at for at, address, probe in node.dials if at > began and address == bootstrap.address]
    assert node.count("conflict") >= 1
    assert others[0].nodeid in node.peers()


# -- the wire ----------------------------------------------------------------------------------


def test_a_token_is_known_only_to_the_nodes_at_its_two_ends():
    """And by each only as what it was: nobody can pass off another connection."""
    world, first, second = lonely_pair()
    (ours,), (theirs,) = first.table.up(), second.table.up()
    token = next(line["token"] for line in theirs.link.said if line["msgtype"] == "hello")

    def answer(asked, nodeid, text):
        return asked.overlay.membership.rivals.answer_to(nodeid, text)

    assert answer(first, second.nodeid, token.upper()) == "heard"
    assert answer(second, first.nodeid, token) == "said"
    assert answer(second, new_id(), token) == answer(first, new_id(), token) == "unknown"
    second.overlay.membership.rivals.note_said("abcd")  # and its hello is on the way
    assert answer(second, first.nodeid, "abcd") == "pending"
    ours.link.arrive(json.dumps({"msgtype": "ping", "token": token}).encode())
    world.run(1.0)
    assert {"msgtype": "pong", "token": token, "known": "heard"} in ours.link.said


# -- real sockets ------------------------------------------------------------------------------


def test_a_thief_at_another_address_gets_neither_the_place_nor_a_message(make_node):
    """The node has dialed the peer a moment ago; the thief's dial would win the tie."""
    node = make_node()
    with RawListener() as listener:
        node.dial(listener.address)
        with listener.accept(SMALL_ID) as honest:
            honest.become_peer()
            wait_until(lambda: node.peers() and node.peers()[0].rtt_ms is not None)
            address = "127.0.0.2", 0
            sock = socket.create_connection(("127.0.0.1", node.port), PATIENCE, address)
            with RawPeer(sock, SMALL_ID) as thief:
                thief.hello(port=1234)
                thief.say("ping")
                answering = threading.Thread(target=honest.hear, args=("message",))
                answering.start()
                assert [m["msgtype"] for m in thief.hear_to_the_end()] == ["hello", "bye"]
            (conflict,) = wait_until(
                lambda: [e for e in node.events(timeout=0.05) if e["event"] == "conflict"]
            )
            node.send(SMALL_ID, "for the honest one")
            answering.join(PATIENCE)
    assert conflict["nodeid"] == SMALL_ID
    assert (conflict["address"], conflict["other"]) == (listener.address, "127.0.0.2:1234")
    assert node.counters()["conflicts"] == 1


@pytest.mark.parametrize("first, direction, same", [(object(), "inbound", True), (None, "inbound", False), (object(), "outbound", False)])
def test_a_member_whose_hello_is_held_back_on_the_way_is_at_both_ends(first, direction, same):
    """Without a secret somebody may have overheard the token."""
    link = SimpleNamespace(direction=direction, heard_token="1f", token="1f", first=first)
    question = Question(link, Address("192.0.2.1", 6000), True)
    question.answered, question.answer = True, PENDING
    assert question.verdict() is same
