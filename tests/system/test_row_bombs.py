"""Rows as bombs: what a crowd of liars and of readers that do not read costs a node."""

import json
import sys
import urllib.request

import pytest

from p2p_plain.monitor import row_exchange
from tests.support import Program, RawPeer, new_id, wait_until

UNKNOWN = {"msgtype": "links", "age": 1, "links": [{"nodeid": new_id(), "x": [[]] * 21500}]}
"""A row of 65 kB, most of which we do not know; as Python objects it takes 1.2 MB."""


def known():
    """A row of 65 kB in which we know every field, and none of the nodes."""
    figures = {"rtt_ms": 1.5, "rtt_p50_ms": 1.25, "rtt_max_ms": 1.75, "jitter_ms": 0.5, "dial_ms": 2.5}
    link = dict(figures, direction="inbound", dial="ok", up_s=7.5, lost=3, loss_pct=4, loss_segs=5)
    return {"msgtype": "links", "age": 1, "links": [dict(link, nodeid=new_id()) for _ in range(236)]}


def peak_mb(pid):
    with open("/proc/%d/status" % pid) as file:
        (line,) = [line for line in file if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.long
def test_rows_and_those_who_ask_for_them_take_a_bounded_memory():
    """512 rows from 8 peers; 40 who ask for all rows and read nothing; and the status page."""
    options = ("--port", "0", "--bind", "127.0.0.1", "--max-rate", "0", "--http", "0")
    crowd = []
    with Program(*options) as program:
        page = "http://%s/" % program.wait_for("listening")[0]["http"]
        for number in range(8):
            peer = RawPeer.dial(program.port)
            crowd.append(peer)
            peer.become_peer(version=1)
            row = UNKNOWN if number % 2 else known()
            for nodeid in [peer.nodeid, *(new_id() for _ in range(63))]:
                row["nodeid"] = nodeid
                peer.say_raw(json.dumps(row, separators=(",", ":")).encode() + b"\n")
        for peer in crowd:
            assert peer.answers_ping()
        for _ in range(40):
            guest = RawPeer.dial(program.port)
            crowd.append(guest)
            guest.hello(probe=True)
            guest.say("getlinks")
        for path in ("page.json", "matrix.json", "metrics"):
            urllib.request.urlopen(page + path, timeout=20).read()
        assert peak_mb(program.process.pid) < 150
    for peer in crowd:
        peer.sock.close()


def test_an_honest_node_that_asks_for_many_rows_is_not_hung_up_on(make_node, monkeypatch):
    """They are read at full speed: 6 MB, which 200 messages a second would take 30 s to pay for."""
    monkeypatch.setattr(row_exchange, "ANSWER_BYTES_A_SECOND", row_exchange.ANSWER_BYTES)
    monkeypatch.setattr(row_exchange, "ROWS_A_SECOND", 1000)  # it hears of the crowd at once
    hub = make_node(ping_timeout=30)
    downs = []
    hub.on("peer_down", downs.append)
    asker = make_node(bootstrap=hub, ping_interval=1, ping_timeout=2, probe_interval=600)
    row = {"msgtype": "links", "links": [{"nodeid": new_id(), "lost_why": "x" * 64, "name": "y" * 40} for _ in range(250)]}
    crowd = []
    for _ in range(150):
        peer = RawPeer.dial(hub)
        peer.become_peer(version=1)
        row["nodeid"] = peer.nodeid
        peer.say_raw(json.dumps(row).encode() + b"\n")
        crowd.append(peer)
    try:
        heard = ("in", "links")
        wait_until(lambda: asker.counters()["messages"].get(heard, 0) > 150)
        assert not downs
        assert len(asker.peers()) == 1
    finally:
        for peer in crowd:
            peer.sock.close()
