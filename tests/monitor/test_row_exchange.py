"""Rows over real sockets: what `getlinks` is answered with, and what a bad row costs."""

from p2p_plain.monitor.row_messages import beginning_of_row
from tests.support import RawPeer


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
