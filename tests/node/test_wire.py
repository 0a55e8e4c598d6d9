"""What the wire promises beyond the rules that `scripts/conformance.py` plays.

Those rules play against a node that is dialed.  Here it is dialed or dials, and its events count.
"""

import re
import socket
import time

import pytest

from p2p_plain import __version__
from tests.support import RawListener, RawPeer, new_id, wait_until


def collect(node, name):
    """The events of that name, in a list that grows."""
    found = []
    node.on(name, found.append)
    return found


@pytest.fixture(params=["inbound", "outbound"])
def connect(request, make_node):
    """``connect(**settings)``: a node and a raw peer, connected in either direction."""
    opened = []

    def go(**settings):
        if request.param == "inbound":
            node = make_node(**settings)
            peer = RawPeer.dial(node)
        else:
            listener = RawListener()
            opened.append(listener.sock)
            node = make_node(bootstrap=listener.address, **settings)
            peer = listener.accept()
        opened.append(peer.sock)
        return node, peer

    yield go
    for sock in opened:
        sock.close()


# -- hello -------------------------------------------------------------------------------------


def test_hello_has_all_its_fields(connect):
    """The side that dials sends it at once, the other one after it has received hello."""
    node, peer = connect(name="web-07", network="lab")
    dialed = peer.sock.getpeername()[1] != node.port
    if not dialed:
        peer.hello(network="lab")
    hello = peer.hear_any()
    token = hello.pop("token", "")
    assert bool(re.match("[0-9a-f]{16}$", token)) == dialed
    assert hello == {
        "msgtype": "hello",
        "nodeid": node.nodeid,
        "port": node.port,
        "name": "web-07",
        "network": "lab",
        "version": 1,
        "agent": "p2p_plain/" + __version__,
        "observed": "127.0.0.1:%d" % peer.sock.getsockname()[1],
    }


def test_after_hello_each_side_says_where_it_is_asks_for_addresses_and_pings(connect):
    node, peer = connect()
    peer.hello()
    peer.hear("hello")
    assert peer.hear("addr")["peers"] == [["127.0.0.1:%d" % node.port, node.nodeid]]
    assert peer.hear("getaddr") == {"msgtype": "getaddr"}
    assert peer.hear("ping") == {"msgtype": "ping"}


def test_a_peer_that_knows_only_the_article_is_a_full_member(connect):
    """Its hello has a nodeid and nothing else, and its addr has bare strings."""
    node, peer = connect()
    peer.say_raw(b'{"nodeid": "%s", "msgtype": "hello"}\n' % peer.nodeid.encode())
    peer.hear("hello")
    peer.say_raw(b'{"msgtype": "addr", "peers": ["127.0.0.1:1", "127.0.0.1:2"]}\n')
    assert peer.answers_ping()
    info = wait_until(lambda: node.peers())[0]
    assert (info.nodeid, info.name) == (peer.nodeid, "")


@pytest.mark.parametrize(
    "hello, after, reason",
    [
        ({"msgtype": "ping"}, b"", "protocol"),
        ({}, b'{"msgtype": "hello", "nodeid": "%s"}\n' % new_id().encode(), "protocol"),
        ({"padding": "x" * 4096}, b"", "protocol"),
        ({"network": "elsewhere"}, b"", "network"),
        ({"nodeid": "OWN"}, b"", "self"),
    ],
    ids=["no hello", "a second hello", "too long", "network", "self"],
)
def test_a_node_that_is_dialed_is_held_to_the_rules_as_well(make_node, hello, after, reason):
    """It is told why, and is no peer any more."""
    with RawListener() as home:
        node = make_node(bootstrap=home.address)
        with home.accept() as peer:
            hello = dict({"msgtype": "hello", "nodeid": peer.nodeid}, **hello)
            if hello["nodeid"] == "OWN":
                hello["nodeid"] = node.nodeid.upper()
            peer.say(**hello)
            peer.say_raw(after)
            peer.sock.shutdown(socket.SHUT_WR)
            assert peer.hear_to_the_end()[-1]["reason"] == reason
        wait_until(lambda: not node.peers())


def test_an_address_that_leads_to_the_node_itself_is_reported_once(make_node):
    node = make_node()
    found = collect(node, "self")
    node.dial("127.0.0.1:%d" % node.port)
    wait_until(lambda: found)
    assert node.peers() == []


# -- ping --------------------------------------------------------------------------------------


def test_each_round_trip_is_reported(connect):
    """A pong without a ping makes none."""
    node, peer = connect(ping_interval=0.1)
    rtts = collect(node, "rtt")
    peer.hello()
    for _ in range(2):
        peer.hear("ping")
        peer.say_raw(b'{"msgtype": "pong"}\n' * 2)
    wait_until(lambda: len(rtts) >= 2)
    assert len(rtts) == 2
    assert all(0 < event["rtt_ms"] < 5000 for event in rtts)
    assert {event["nodeid"] for event in rtts} == {peer.nodeid}


# -- addresses, full -----------------------------------------------------------------------------


def test_a_peer_without_a_pong_is_not_advertised(make_node):
    with RawListener() as home:
        node = make_node(bootstrap=home.address)
        with home.accept() as silent, RawPeer.dial(node) as asker:
            silent.hello()
            silent.say("getaddr")
            asker.become_peer()
            wait_until(lambda: len(node.peers()) == 2)
            asker.say("getaddr")
            assert asker.hear("addr")["peers"] == []
            silent.say("pong")
            assert asker.hear("addr")["peers"] == [[home.address, silent.nodeid]]


def test_a_full_node_advertises_its_peers_to_those_that_it_refuses(make_node):
    with RawListener() as home:
        node = make_node(bootstrap=home.address, max_peers=1)
        with home.accept() as inside, RawPeer.dial(node) as late:
            inside.become_peer()
            wait_until(lambda: node.peers() and node.peers()[0].rtt_ms)
            late.hello()
            said = late.hear_to_the_end()
            assert [message["msgtype"] for message in said] == ["hello", "addr", "bye"]
            assert said[1]["peers"] == [[home.address, inside.nodeid]]


def test_being_refused_by_a_full_node_is_no_peer_up_and_no_peer_down(make_node):
    with RawListener() as full, RawListener() as elsewhere:
        node = make_node(bootstrap=full.address)
        ups, downs = collect(node, "peer_up"), collect(node, "peer_down")
        refused = collect(node, "refused")
        with full.accept() as peer:
            peer.hear("hello")
            peer.hello()
            peer.say("addr", peers=[[elsewhere.address, new_id()]])
            peer.say("bye", reason="full")
            elsewhere.accept().sock.close()  # it has learned where else to go
            peer.hear_to_the_end()  # closing with unread bytes would destroy our bye
        wait_until(lambda: (full.address, "full") in [(e["address"], e["reason"]) for e in refused])
        assert (ups, downs) == ([], [])


# -- guests --------------------------------------------------------------------------------------


def test_a_guest_may_stay_longer_than_a_handshake_takes(make_node, monkeypatch):
    """So the commands look at a network without becoming a part of it."""
    monkeypatch.setattr("p2p_plain.node.session.HANDSHAKE_TIMEOUT", 0.2)
    node = make_node()
    ups = collect(node, "peer_up")
    with RawPeer.dial(node) as guest:
        guest.hello(probe=True)
        guest.hear("hello")
        deadline = time.monotonic() + 0.4
        while time.monotonic() < deadline:
            assert guest.answers_ping()
        guest.say("getlinks")
        assert guest.hear("links")["nodeid"] == node.nodeid
    assert ups == []


def test_a_guest_that_falls_silent_is_disconnected(make_node, monkeypatch):
    monkeypatch.setattr("p2p_plain.node.session.GUEST_TIMEOUT", 0.2)
    node = make_node()
    with RawPeer.dial(node) as guest:
        guest.hello(probe=True)
        said = guest.hear_to_the_end()
        assert [message["msgtype"] for message in said] == ["hello", "bye"]
        assert said[1]["reason"] == "timeout"
