"""The last row of every node, kept with its age, also when that node is gone.

A *row* is what one node has measured to each other one: how long a ping takes on the standing
connection, and whether a fresh dial gets there.  Each node sends its own row to its peers.
Together the rows are the matrix, and any node that is asked (``getlinks``) answers with all of it.

A row about one of our peers is believed only if it comes from that peer itself.  Rows of nodes
that are not our peers come second-hand, and the one measured last wins.

Rows are kept as the bytes that came: as Python objects they would take ten times the room.  Most are
kept unread.  Every node sends its row to everyone, few of them are ever looked at, and reading them
all took half of the processor time of 64 nodes.  So the first row of each peer is read when it comes,
and after that one now and then.  Errors in those are reported to the sender.  The others are read
when somebody asks.
"""

from threading import Lock

from ..common.errors import PeerMisbehaved
from ..common.typing import Dict, FrozenSet, List, NamedTuple
from ..node import messages
from .row_messages import Links, beginning_of_row, is_connected

MAX_ROWS = 512
"""Rows kept, those of nodes that are gone included.  At the longest (64 KiB) they take 32 MiB; a
network of 64 takes one."""

FORGET_AFTER = 24 * 3600.0
"""Seconds after which a row is dropped: its node has been gone for a day."""

STALE_AFTER_INTERVALS = 3
"""A row older than so many ping intervals is not shown as current: at least two of the rows that its
node should have sent since are missing."""

READ_AGAIN_AFTER = 5.0
READ_EVERY = 300.0
"""Seconds for which rows of a peer are kept unread after one that was read: at first, and then four
times as long each time, up to ``READ_EVERY``."""


class Row(NamedTuple):
    """One node's row as it came."""

    nodeid: str
    line: bytes
    measured_at: float
    """On the clock of this node."""
    connected: FrozenSet[str]
    """The nodeids to which it has a connection, as of ``read_at``."""
    read_at: float
    unread_for: float
    unread: bool = False
    """True if it came from its author, and nobody has looked into it yet."""


class Rows:
    """The rows of all nodes but our own.  Any thread may call any method."""

    def __init__(self, nodeid: str) -> None:
        self._nodeid = nodeid
        self._lock = Lock()
        # Guarded by _lock.
        self._rows: Dict[str, Row] = {}

    def heard(self, row: Links, source: str, peers: FrozenSet[str], now: float) -> bool:
        """Note a row that the peer ``source`` sent; True if it is believed."""
        if row.nodeid == self._nodeid or (row.nodeid != source and row.nodeid in peers):
            return False
        measured_at = now - row.age
        if row.age > FORGET_AFTER:
            return False
        connected = frozenset(link["nodeid"] for link in row.links if is_connected(link))
        with self._lock:
            known = self._rows.get(row.nodeid)
            if known is not None and known.measured_at > measured_at and row.nodeid != source:
                return False
            if known is None and len(self._rows) >= MAX_ROWS and not self._make_room_locked(peers):
                return False
            again = READ_AGAIN_AFTER if known is None else min(4 * known.unread_for, READ_EVERY)
            self._rows[row.nodeid] = Row(row.nodeid, row.line, measured_at, connected, now, again)
            return True

    def keep(self, line: bytes, source: str, now: float) -> bool:
        """Keep a line unread if it is the own row of peer ``source``, and it is not time to read one.

        Return False if it was not kept.
        """
        if not line.startswith(beginning_of_row(source)):
            return False
        with self._lock:
            known = self._rows.get(source)
            if known is None or now - known.read_at >= known.unread_for:
                return False
            self._rows[source] = known._replace(line=line, measured_at=now, unread=True)
            return True

    def forget(self, nodeid: str) -> None:
        """Drop the row of a node that has left for good, or whose address another node has."""
        with self._lock:
            self._rows.pop(nodeid, None)

    def all(self, now: float) -> List[Row]:
        """Return the rows that are at most a day old."""
        with self._lock:
            old = [n for n, row in self._rows.items() if now - row.measured_at > FORGET_AFTER]
            for nodeid in old:
                del self._rows[nodeid]
            return list(self._rows.values())

    def is_larger_than(self, peers: FrozenSet[str]) -> bool:
        """True if somebody is connected to a node that is neither one of ``peers`` nor this one."""
        with self._lock:
            seen = [row.connected for row in self._rows.values()]
        return any(connected - peers - {self._nodeid} for connected in seen)

    def _make_room_locked(self, peers: FrozenSet[str]) -> bool:
        """Drop the oldest row of a node that is no peer."""
        others = [nodeid for nodeid in self._rows if nodeid not in peers]
        if not others:
            return False
        del self._rows[min(others, key=lambda nodeid: self._rows[nodeid].measured_at)]
        return True


def read_row(row: Row, now: float) -> Links:
    """Return a kept row as an object, with its age now.

    Raises ``PeerMisbehaved`` if something is wrong that its author has not been told yet.
    """
    links = messages.parse(row.line)
    assert isinstance(links, Links)  # so it begins
    if row.unread and links.wrong:
        raise PeerMisbehaved(links.wrong)
    age = max(0.0, now - row.measured_at)  # another thread may have heard it after ``now``
    return links._replace(age=age)
