"""Rows over real sockets: what `getlinks` is answered with, and what a bad row costs."""

import pytest

from p2p_plain.monitor.row_messages import beginning_of_row
from tests.support import RawPeer, new_id


def test_getlinks_is_answered_with_every_row_the_own_one_first(make_node):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer(name="raw", version=1)
        links = [{"nodeid": node.nodeid}]
        peer.say("links", nodeid=peer.nodeid, name="raw", age=0, links=links)
        assert peer.answers_ping()
        peer.say("getlinks")
        own, other, end = [peer.hear("links") for _ in range(3)]
        assert (own["nodeid"], own["name"], own["age"]) == (node.nodeid, node.name, 0)
        (link,) = own["links"]
        assert (link["nodeid"], link["name"], link["direction"]) == (peer.nodeid, "raw", "inbound")
        assert link["rtt_ms"] > 0
        assert {"address", "dial", "rtt_max_ms", "jitter_ms", "up_s"} <= set(link)
        assert (other["nodeid"], other["links"]) == (peer.nodeid, links)
        assert (end["links"], end["end"]) == ([], True)
        assert [row["nodeid"] for row in node.matrix()] == [node.nodeid, peer.nodeid]


def test_a_bad_row_that_was_kept_unread_ends_the_connection_when_somebody_asks(make_node):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer(version=1)
        for links in (b"[]", b'[{"nodeid":7}]'):  # the first is read when it arrives
            peer.say_raw(beginning_of_row(peer.nodeid) + b'"links":%s}\n' % links)
        assert peer.answers_ping()
        assert [row["nodeid"] for row in node.matrix()] == [node.nodeid]
        bye = peer.hear("bye")
        assert (bye["reason"], bye["detail"]) == ("protocol", "links: nodeid is not a UUID")


ODD = {"name": "a\u202eb", "lag_ms": -1, "links": [7, {"nodeid": "x"}]}


def test_whoever_forwards_a_bad_row_is_not_its_author(make_node):
    """It may read less strictly than we do; what is wrong is left out."""
    node = make_node()
    author, third = new_id(), new_id()
    with RawPeer.dial(node) as peer:
        peer.become_peer(version=1)
        links = ODD["links"] + [{"nodeid": third, "dial": "?", "name": "\x1b", "rtt_ms": 2}]
        peer.say("links", **dict(ODD, nodeid=author, links=links))
        assert peer.answers_ping()
        for _ in range(2):  # read when it came, and again for each who asks
            _, row = node.matrix()
            assert (row["nodeid"], row["name"], row["lag_ms"]) == (author, None, None)
            assert row["links"] == [{"nodeid": third, "rtt_ms": 2}]
        assert peer.answers_ping()


@pytest.mark.parametrize("field", ["name", "lag_ms", "links"])
def test_the_author_of_a_bad_row_is_told(make_node, field):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer(version=1)
        peer.say("links", **dict({"links": []}, nodeid=peer.nodeid, **{field: ODD[field]}))
        bye = peer.hear("bye")
        assert (bye["reason"], bye["detail"][: len("links: ") + 3]) == ("protocol", "links: " + field[:3])


def test_a_row_heard_second_hand_is_no_fault_of_its_author_when_that_becomes_a_peer(make_node):
    """What another node made of it may be wrong."""
    node = make_node()
    author = new_id()
    with RawPeer.dial(node) as forwarder:
        forwarder.become_peer(version=1)
        forwarder.say("links", **dict(ODD, nodeid=author, links=[7]))
        assert forwarder.answers_ping()
        with RawPeer.dial(node, author) as peer:
            peer.become_peer(version=1)
            assert author in [row["nodeid"] for row in node.matrix()]
            assert peer.answers_ping()
