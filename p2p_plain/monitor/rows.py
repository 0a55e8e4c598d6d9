"""The last row of every node, kept with its age, also when that node is gone.

A *row* is what one node has measured to each other one: how long a ping takes on the standing
connection, and whether a fresh dial gets there.  Each node sends its own row to its peers.
Together the rows are the matrix, and any node that is asked (``getlinks``) answers with all of it.

A row about one of our peers is believed only if it comes from that peer itself.  Rows of nodes
that are not our peers come second-hand, and the one measured last wins.

Rows are kept as the bytes that came: as Python objects they would take ten times the room.  Most are
kept unread.  Every node sends its row to everyone, few of them are ever looked at, and reading them
all took half of the processor time of 64 nodes.  So the first row of each peer is read when it comes,
and after that one now and then, and one after each change in whom that peer is connected to: a row
has a number for that in its first bytes.  Errors in those are reported to the sender.  The others are
read when somebody asks.
"""

from threading import Lock

from ..common.errors import PeerMisbehaved
from ..common.typing import Dict, FrozenSet, List, NamedTuple, Optional
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

ROWS_A_SECOND = 20
"""Most rows that a node gets from all its peers together: each costs it up to a millisecond (64
links).  So among 64 nodes a row goes out every 3 s at the earliest, also after changes: when
many start at once, everything changes all the time."""

READ_AGAIN_AFTER = 5.0
READ_EVERY = 300.0
"""Seconds for which rows of a peer are kept unread after one that was read: at first, and then four
times as long each time, up to ``READ_EVERY``.  A row with other ``changes`` than the last one read
waits for ``READ_AGAIN_AFTER`` at the most."""


class Row(NamedTuple):
    """One node's row as it came, and what it said when it was last read."""

    nodeid: str
    line: bytes
    measured_at: float
    """On the clock of this node."""
    connected: FrozenSet[str] = frozenset()
    """The nodeids to which it has a connection, as of ``read_at``."""
    changes: Optional[int] = None
    read_at: float = 0.0
    unread_for: float = READ_AGAIN_AFTER / 4
    unread: bool = False
    """True if it came from its author, and has been kept unread."""

    def is_unchanged(self, line: bytes) -> bool:
        """True if a new row of the same node says what was read, as to whom it is connected to.

        As far as is known: programs of the last version do not number their changes.
        """
        return self.changes is None or line.startswith(beginning_of_row(self.nodeid, self.changes))


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
        with self._lock:
            known = self._rows.get(row.nodeid)
            if known is not None and known.measured_at > measured_at and row.nodeid != source:
                return False
            if known is None and len(self._rows) >= MAX_ROWS and not self._make_room_locked(peers):
                return False
            known = known or Row(row.nodeid, row.line, measured_at)
            known = known._replace(line=row.line, measured_at=measured_at, unread=False)
            self._rows[row.nodeid] = _read(known, row, now)
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
            if now - known.read_at >= READ_AGAIN_AFTER and not known.is_unchanged(line):
                return False
            self._rows[source] = known._replace(line=line, measured_at=now, unread=True)
            return True

    def overdue(self, peers: FrozenSet[str], now: float) -> List[Row]:
        """Return the rows of ``peers`` that came too soon to be read at once, and should be read now.

        So the last row of a burst is read even if the next one comes a minute later.
        """
        with self._lock:
            return [
                row
                for nodeid, row in self._rows.items()
                if row.unread
                and nodeid in peers
                and now - row.read_at >= READ_AGAIN_AFTER
                and not row.is_unchanged(row.line)
            ]

    def read(self, row: Links, now: float) -> None:
        """Note what a row says that was kept unread.  A newer one may have come meanwhile."""
        with self._lock:
            known = self._rows.get(row.nodeid)
            if known is not None:
                self._rows[row.nodeid] = _read(known, row, now)

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

    def witnesses(self, peers: FrozenSet[str]) -> Dict[str, List[str]]:
        """Return the nodes that are neither ``peers`` nor this one: the peers connected to each."""
        with self._lock:
            connected = [(row.nodeid, row.connected) for row in self._rows.values()]
        found: Dict[str, List[str]] = {}
        for source, targets in connected:
            for nodeid in targets - peers - {self._nodeid}:
                found.setdefault(nodeid, []).extend([source] if source in peers else [])
        return found

    def _make_room_locked(self, peers: FrozenSet[str]) -> bool:
        """Drop the oldest row of a node that is no peer."""
        others = [nodeid for nodeid in self._rows if nodeid not in peers]
        if not others:
            return False
        del self._rows[min(others, key=lambda nodeid: self._rows[nodeid].measured_at)]
        return True


def _read(row: Row, links: Links, now: float) -> Row:
    """Return a kept row with what ``links``, it or one shortly before it, has said."""
    return row._replace(
        connected=frozenset(link["nodeid"] for link in links.links if is_connected(link)),
        changes=links.changes,
        read_at=now,
        unread_for=min(4 * row.unread_for, READ_EVERY),
    )


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
