"""Where a node listens, and which of its addresses it advertises."""

import socket

import pytest

from p2p_plain import Node
from p2p_plain.common.errors import CannotStart
from tests.support import RawPeer, wait_until


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


def own_addresses_heard_by(host, node):
    """What a node advertises of itself to a peer that dials it there."""
    with RawPeer(socket.create_connection((host, node.port), 5)) as peer:
        peer.hello()
        return peer.hear("addr")["peers"]


@ipv6
def test_a_node_on_all_addresses_advertises_the_one_that_the_connection_uses(make_node):
    """Never the wildcard itself: nobody can dial 0.0.0.0."""
    node = make_node(bind=None)
    assert own_addresses_heard_by("127.0.0.1", node) == [
        ["127.0.0.1:%d" % node.port, node.nodeid]
    ]
    assert own_addresses_heard_by("::1", node) == [["[::1]:%d" % node.port, node.nodeid]]
    assert not any(address.startswith(("0.0.0.0", "[::]")) for address in node.addresses)


def test_a_node_on_all_of_ipv4_advertises_the_one_that_the_connection_uses(make_node):
    node = make_node(bind="0.0.0.0")
    assert own_addresses_heard_by("127.0.0.2", node) == [
        ["127.0.0.2:%d" % node.port, node.nodeid]
    ]


@ipv6
def test_nodes_on_ipv6_alone_find_each_other(make_node):
    first = make_node(bind="::1")
    second = make_node(bind="::1", bootstrap="[::1]:%d" % first.port)
    third = make_node(bind="::1", bootstrap="[::1]:%d" % second.port)
    wait_until(lambda: all(len(node.peers()) == 2 for node in (first, second, third)))
    assert all(p.address.startswith("[::1]:") for p in third.peers())


@ipv6
def test_a_node_on_ipv6_alone_is_not_advertised_at_the_ipv4_address_it_dials_from(make_node):
    """Its hello names a port; that port on its IPv4 address reaches nobody."""
    hub = make_node(bind=None)
    only6 = make_node(bind="::1", bootstrap="127.0.0.1:%d" % hub.port)
    wait_until(lambda: hub.peers() and hub.peers()[0].rtt_ms)
    wanted = ["[::1]:%d" % only6.port, only6.nodeid]
    with RawPeer.dial(hub) as asker:
        asker.become_peer()

        def advertised():
            asker.say("getaddr")
            return asker.hear("addr")["peers"]

        wait_until(lambda: wanted in advertised())
        assert advertised() == [wanted]


@ipv6
def test_a_mesh_of_nodes_on_ipv4_on_ipv6_and_on_both(make_node):
    both = make_node(bind=None)
    only4 = make_node(bind="127.0.0.1", bootstrap="127.0.0.1:%d" % both.port)
    only6 = make_node(bind="::1", bootstrap="[::1]:%d" % both.port)
    wait_until(lambda: all(len(node.peers()) == 2 for node in (both, only4, only6)))


def test_advertise_is_what_others_are_told(make_node):
    node = make_node(advertise="203.0.113.7:7000")
    assert own_addresses_heard_by("127.0.0.1", node) == [["203.0.113.7:7000", node.nodeid]]
    assert node.addresses == ("203.0.113.7:7000",)


def test_a_name_to_advertise_is_told_as_the_address_it_has(make_node, monkeypatch):
    node = make_node(advertise="localhost:7000", bind="127.0.0.1")
    (told,) = own_addresses_heard_by("127.0.0.1", node)
    assert told[0] in ("127.0.0.1:7000", "[::1]:7000")

    def no_such_name(host, *args):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with pytest.raises(CannotStart, match="gateway"):
        Node(port=0, advertise="gateway.test:7000").start()
