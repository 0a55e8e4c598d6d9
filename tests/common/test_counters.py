"""Counters: messages by type, bytes, round trips, failed dials."""

from p2p_plain.common.counters import BUCKETS, Histogram, Tally, Traffic
from tests.support import RawPeer, new_id, wait_until


def test_a_histogram_counts_up_to_each_bound_and_those_above_all():
    pings = Histogram()
    for seconds in (0.00005, 0.0003, 0.0003, 19.0, 100.0):
        pings.add(seconds)
    buckets, total, count = pings.read()
    assert [bound for bound, _ in buckets] == list(BUCKETS)
    found = dict(buckets)
    assert (found[0.00005], found[0.00025], found[0.0005], found[20.0]) == (1, 1, 3, 4)
    assert (round(total, 5), count) == (119.00065, 5)


def test_a_tally_counts_words():
    tally = Tally()
    for word in ("refused", "timeout", "refused"):
        tally.count(word)
    assert tally.counts() == {"refused": 2, "timeout": 1}


def test_traffic_adds_up():
    one, other = Traffic(), Traffic()
    one.received["ping"], one.bytes_in = 2, 50
    other.received["ping"], other.sent["pong"], other.bytes_out = 1, 3, 60
    one.add(other)
    assert (one.received, one.sent, one.bytes_in, one.bytes_out) == ({"ping": 3}, {"pong": 3}, 50, 60)


def test_a_node_counts_messages_also_of_connections_that_have_ended(make_node):
    node = make_node()
    with RawPeer.dial(node) as peer:
        peer.become_peer()
        for _ in range(5):
            assert peer.answers_ping()
        peer.say_raw(b'{"msgtype":"ping"}\n' * 3 + b'{"msgtype":"later"}\n{"msgtype":"getaddr"}\n')
        for _ in range(3):
            peer.hear("pong")
        peer.hear("addr")
        found = node.counters()
        assert found["messages"]["in", "ping"] == 8
        assert found["messages"]["in", "hello"] == found["messages"]["out", "hello"] == 1
        assert found["messages"]["in", "unknown"] == found["messages"]["in", "getaddr"] == 1
        assert found["messages"]["out", "pong"] == 8
        assert found["messages"]["out", "addr"] == 2
        assert found["pings"]["count"] >= 1
        assert 0 < found["pings"]["sum"] < 60
        body = "x" * 1000
        peer.say("message", id=new_id(), **{"from": peer.nodeid, "body": body})
        assert peer.answers_ping()
        peer.say_raw(b"nonsense\n")
        peer.hear_to_the_end()
    wait_until(lambda: not node._sessions.all())
    found = node.counters()
    assert found["messages"]["in", "message"] == 1
    assert found["messages"]["out", "bye"] == 1
    assert found["bytes"]["in"] > 1000
    assert found["bytes"]["out"] > 300


def test_a_forwarded_message_is_counted_in_any_spelling(make_node):
    node = make_node()
    with RawPeer.dial(node) as one, RawPeer.dial(node) as other:
        one.become_peer()
        other.become_peer()
        text = '{ "body": 1, "id": "%s", "from": "%s", "msgtype": "message" }\n'
        one.say_raw((text % (new_id(), one.nodeid)).encode())
        other.hear("message")
        assert node.counters()["messages"]["out", "message"] == 1


def test_failed_dials_are_counted_by_reason(make_node):
    with RawPeer.dial(make_node()) as unused:
        port = unused.sock.getsockname()[1]  # taken, and nobody listens there
        node = make_node(bootstrap="127.0.0.1:%d" % port)
        wait_until(lambda: node.counters()["dial_failures"].get("refused"))
