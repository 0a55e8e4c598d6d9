"""The last events: which are kept, and where a client goes on."""

import pytest

from p2p_plain.web.feed import PIECE_BYTES, Feed


def test_round_trips_do_not_displace_other_events():
    feed = Feed("life")
    feed.add({"event": "peer_up"})
    for _ in range(5000):
        feed.add({"event": "rtt", "rtt_ms": 1.0})
    data, last = feed.after(0, 0)
    assert data.startswith(b'id: life-1\ndata: {"event": "peer_up"}\n\n')
    assert (data.count(b"id: "), last) == (501, 5001)


def test_large_events_do_not_fill_the_memory():
    feed = Feed("life")
    for _ in range(100):
        feed.add({"event": "message", "body": "x" * 60000})
    position, sizes = 0, []
    while position < 100:
        data, position = feed.after(position, 0)
        sizes.append(len(data))
    assert sum(sizes) < 1100000
    assert max(sizes) < PIECE_BYTES + 61000  # what a client holds that follows and reads nothing


@pytest.mark.parametrize("id", ["", "deadbeef-2", "x", "2", "life-", "life--1", "life-x", "-2"])
def test_a_client_with_an_unknown_id_gets_everything(id):
    """The number of another life, before the node was restarted, means nothing in this one."""
    feed = Feed("life")
    for _ in range(3):
        feed.add({"event": "self"})
    assert feed.position(id) == 0
    assert feed.position("life-2") == 2
    assert feed.position("life-9") == 3
