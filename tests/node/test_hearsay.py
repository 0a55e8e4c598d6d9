"""Addresses that only other nodes have named: whatever listens there learns nothing about us before it is a node."""

import json

import pytest

from p2p_plain.node.myself import Myself
from tests.support import RawListener, RawPeer, new_id, wait_until
from tests.support.simulation import SimulatedNode, World, mesh

BARE = {"msgtype", "nodeid", "version", "probe", "token"}


@pytest.fixture
def named(make_node):
    """A node, and a listener that a peer of it has named, with the nodeid said to be there."""
    node = make_node(name="web-07", network="lab")
    with RawListener() as home, RawPeer.dial(node) as gossip:
        gossip.become_peer(network="lab")
        nodeid = new_id()
        gossip.say("addr", peers=[[home.address, nodeid], ["0.0.0.0:1", new_id()]])
        yield node, home, nodeid


def test_whatever_listens_there_learns_neither_name_nor_network(named):
    """Nor the program, the port or the status page."""
    _, home, _ = named
    with home.accept() as stranger:
        line = stranger.hear_line()
        assert json.loads(line.decode()).keys() == BARE
        stranger.say_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        rest = b"".join(stranger.hear_line() or b"" for _ in range(3))
        assert b"web-07" not in line + rest and b"lab" not in line + rest
    with home.accept() as stranger:  # a second try says no more
        assert stranger.hear_any().keys() == BARE


def test_a_node_that_lets_guests_join_is_joined_on_the_same_connection(named):
    node, home, nodeid = named
    with home.accept(nodeid) as peer:
        peer.hear("hello")
        peer.hello(network="lab", joins=True)
        join = peer.hear("join")
        assert (join["name"], join["network"], join["nodeid"]) == ("web-07", "lab", node.nodeid)
        assert join["port"] == node.port and not join.keys() & {"probe", "token", "joins"}
        assert peer.hear("addr")["peers"] == [["127.0.0.1:%d" % node.port, node.nodeid]]
        assert peer.answers_ping()
        peer.say("pong")
        wait_until(lambda: nodeid in [one.nodeid for one in node.peers()])


def test_a_node_of_an_older_version_is_dialed_again_at_once(named):
    node, home, nodeid = named
    with home.accept(nodeid) as peer:
        peer.hear("hello")
        peer.hello(network="lab")
        assert peer.hear_to_the_end() == []
    with home.accept(nodeid) as peer:
        hello = peer.hear("hello")
        assert hello["name"] == "web-07" and "probe" not in hello
        peer.hello(network="lab")
        peer.hear("ping")
        peer.say("pong")
        wait_until(lambda: nodeid in [one.nodeid for one in node.peers()])


def test_a_node_of_another_network_is_not_told_ours(named):
    _, home, nodeid = named
    with home.accept(nodeid) as peer:
        peer.hear("hello")
        peer.hello(network="elsewhere", joins=True)
        assert [(m["reason"], m["detail"]) for m in peer.hear_to_the_end()] == [
            ("network", "network another one here, 'elsewhere' there")
        ]


def test_a_claim_is_probed_without_name_and_network(make_node):
    node = make_node(name="web-07", network="lab")
    with RawListener() as home, RawPeer.dial(node) as peer:
        peer.become_peer(network="lab", port=home.port)
        with home.accept() as probe:
            assert probe.hear_any().keys() == BARE


# -- the other end ---------------------------------------------------------------------------------


def test_a_guest_that_joins_is_a_peer_like_any_other(make_node):
    """Its lines may be long from then on, and its silence is not that of a guest."""
    node = make_node(network="lab")
    with RawPeer.dial(node) as guest:
        guest.hello(probe=True)
        assert guest.hear_any()["joins"] is True
        guest.say("join", nodeid=guest.nodeid, name="late", network="lab")
        assert [guest.hear_any()["msgtype"] for _ in range(3)] == ["addr", "getaddr", "ping"]
        guest.say("pong")
        guest.say("ping", padding="x" * 5000)
        assert guest.hear("pong")
        peer = wait_until(lambda: node.peers())[0]
        assert (peer.nodeid, peer.name, peer.direction) == (guest.nodeid, "late", "inbound")


@pytest.mark.parametrize(
    "join, reason",
    [
        ({"network": "elsewhere"}, "network"),
        ({"nodeid": "OWN"}, "self"),
        ({"port": "80"}, "protocol"),
        ({"nodeid": None}, "protocol"),
    ],
)
def test_a_join_is_judged_like_a_hello(make_node, join, reason):
    node = make_node()
    with RawPeer.dial(node) as guest:
        guest.hello(probe=True)
        guest.hear("hello")
        join = dict({"nodeid": guest.nodeid}, **join)
        guest.say("join", **{k: node.nodeid if v == "OWN" else v for k, v in join.items()})
        said = guest.hear_to_the_end()
        assert [m["reason"] for m in said if m["msgtype"] == "bye"] == [reason]
    assert node.peers() == []


def test_only_a_guest_may_join(make_node):
    node = make_node()
    for hello in (None, {}):
        with RawPeer.dial(node) as peer:
            if hello is not None:
                peer.become_peer()
            peer.say("join", nodeid=peer.nodeid)
            assert peer.hear_to_the_end()[-1]["reason"] == "protocol"


# -- old and new in one network --------------------------------------------------------------------


class OldSelf(Myself):
    """Says nothing of joining."""

    def hello(self, link, joins=False):
        return super().hello(link)


class OldNode(SimulatedNode):
    """A node of the version before: it dials with its whole hello, and takes no ``join``."""

    def __init__(self, *args):
        super().__init__(*args)
        for part in (self.overlay, self.overlay.membership):
            for name, value in list(vars(part).items()):
                if isinstance(value, Myself):
                    setattr(part, name, OldSelf(*value))

    def dial(self, order):
        super().dial(order._replace(hearsay=False))


@pytest.mark.parametrize("old", [{1}, {2}, {1, 3, 5}, {2, 4, 6}, set()])
def test_old_and_new_nodes_are_a_mesh_within_seconds(old, monkeypatch):
    """Whoever is the one that all others were given, and without a connection that comes and goes."""
    for seed in range(3):
        world = World(seed)
        nodes = []
        for number in range(1, 7):
            kind = OldNode if number in old else SimulatedNode
            monkeypatch.setattr("tests.support.simulation.SimulatedNode", kind)
            nodes.append(world.node(number, bootstrap=["10.0.0.1:6000"] if number > 1 else []))
        world.run(5.0)
        assert mesh(nodes)
        assert [node.count("peer_down") for node in nodes] == [0] * 6
