"""A made-up node for the status page, and rows for it."""

from p2p_plain.common.config import Config
from p2p_plain.monitor.row_messages import Links
from tests.support import new_id


def link(nodeid, name="peer", dial="ok", direction="outbound", ms=0.3, **fields):
    """Return a link of a row, as on the wire."""
    said = {"nodeid": nodeid, "name": name, "dial": dial, "direction": direction}
    if direction != "none":
        said.update(rtt_ms=ms, rtt_p50_ms=ms, rtt_max_ms=ms * 2, jitter_ms=0.1, up_s=60.0)
    said.update(fields)
    return said


def full_mesh(names):
    """Return the rows of nodes that all reach each other; of two, the first one dialed."""
    ids = [new_id() for _ in names]
    return [
        Links(
            ids[i],
            tuple(
                link(
                    ids[j],
                    names[j],
                    direction="outbound" if i < j else "inbound",
                    address="192.0.2.%d:6000" % (j + 1),
                )
                for j in range(len(names))
                if j != i
            ),
            name=names[i],
        )
        for i in range(len(names))
    ]


class PageNode:
    """What the page needs of a node; it knows the rows that it is given."""

    def __init__(self, rows, http=()):
        self._rows = rows
        self.nodeid, self.name = rows[0].nodeid, rows[0].name
        self.addresses = ("192.0.2.1:6000",)
        self.config = Config(ping_interval=1.0, network="lab")
        self._listeners = []
        self.http = dict(http)

    def rows(self):
        return self._rows

    def stale_after(self):
        return 3.0

    def peers(self):
        return []

    def counters(self):
        return {
            "messages": {("in", "pong"): 7, ("out", "ping"): 8},
            "bytes": {"in": 700, "out": 800},
            "dial_failures": {"timeout": 2},
            "inbound_failures": {"closed": 5},
            "lost": {},
            "segments": {},
            "large_packets": {},
            "dropped": {"forwarded": 3},
            "conflicts": 0,
            "pings": {"buckets": [(0.0005, 5), (0.001, 6)], "sum": 0.0125, "count": 7},
            "uptime_seconds": 12.5,
            "lag_seconds": 0.0002,
            "http": self.http,
        }

    def on(self, event, callback):
        assert event == "*"
        self._listeners.append(callback)

    def emit(self, event, **fields):
        fields.update(event=event, time="2026-01-02T03:04:05.678Z")
        for callback in self._listeners:
            callback(fields)
